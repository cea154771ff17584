"""`stap figure`: the attention of a model, or its training curves, as a figure for papers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.options import DeviceOption, UnusedSeedOption
from stap.errors import CheckpointError, CorpusError, StapError
from stap.reports.figures import SUFFIXES, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stap.captioning.captioner import Captioner
    from stap.corpora.corpus import Clip


ATTENTION = "Attention"


class Kind(StrEnum):
    """The kinds of figures."""

    attention = "attention"
    curves = "curves"


def figure(
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND", help="attention: over frames and places, for each word; curves: losses and scores of the training."
        ),
    ],
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder that `stap train` wrote; for curves, `stap pretrain`'s too.")
    ],
    clip: Annotated[
        str | None, typer.Argument(metavar="CLIP", help="attention: a video file, or the id of a clip of the run's corpus.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="File to write; its suffix is the format: .png, .svg or .pdf.")
    ] = Path("figure.png"),
    frames: Annotated[
        int, typer.Option(min=1, help="Maximum number of frames in the filmstrip.", rich_help_panel=ATTENTION)
    ] = 10,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Beam width; 1 is greedy. Default: the model's recipe.", rich_help_panel=ATTENTION)
    ] = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Draw a figure for a paper.

    attention: a filmstrip, and for each word the weights of its frames and of the places in one. curves: losses and scores by epoch.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise StapError(
            f"{out}: figures are written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}. Give --out one of these suffixes."
        )
    if kind is Kind.curves:
        if clip is not None:
            raise StapError(f"curves are drawn for a whole run, but {clip!r} names a clip. Leave it out, or draw `attention`.")
        from stap.reports.curves import curves_figure, run_curves

        _save(curves_figure(run_curves(run)), out)
        return
    if clip is None:
        raise StapError("attention is drawn for one clip. Name a video file or a clip of the run's corpus after the run.")
    from stap.captioning.captioner import load
    from stap.reports.attention_figure import attention_figure
    from stap.reports.clip import clip_from_file

    if not run.is_dir():
        raise CheckpointError(f"{run}: no such folder. Expected a model folder, as `stap train` writes it.")
    captioner = load(run, device)
    found = _find(clip, captioner)
    _save(attention_figure(clip_from_file(captioner, found.path, video_id=found.id, beam_width=beam), frames=frames), out)


def _find(name: str, captioner: Captioner) -> Clip:
    """The clip of that name: a file, or one of the corpus that the model was trained on."""
    from stap.corpora.corpus import Clip
    from stap.corpora.loading import load_corpus_with_files

    path = Path(name)
    if path.is_file():
        return Clip(path.stem, path, "test", ())
    settings = captioner.run.recipe.corpus
    try:
        clips = load_corpus_with_files(settings.model_copy(update={"available_only": True})).clips
    except StapError as error:
        raise CorpusError(f"{name}: no such file, and the corpus of the run cannot be searched for it: {error}") from error
    found = next((clip for clip in clips if clip.id == name), None)
    if found is None:
        raise CorpusError(
            f"{name}: no such file, and none of the {len(clips)} clips with a video in {settings.root} is called so "
            f"(the first is {clips[0].id}). Name a video file or one of these clips."
        )
    return found


def _save(drawn: Figure, out: Path) -> None:
    save_figure(out, drawn)
    print(out)

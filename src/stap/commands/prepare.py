"""`stap prepare`: check a corpus before training on it."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stap.commands.shared.console import complain, interruptible, progress, say, warn
from stap.commands.shared.limits import AllowPlaylistsOption, with_playlists
from stap.commands.shared.option_groups import with_option_groups
from stap.commands.shared.options import OverridesArgument, UnusedDeviceOption, UnusedSeedOption
from stap.commands.shared.outputs import result_file
from stap.files import json_text, printable

if TYPE_CHECKING:
    from stap.corpora.check import CorpusReport, WordCounts
    from stap.corpora.problems import Kind, Problem
    from stap.recipes.settings import Recipe

SHOWN = 5  # problems of one kind that are printed
BASES = {"msrvtt": "msrvtt/lstap-attention"}
OTHER_BASE = "msvd/lstap-attention"

TITLES: dict[Kind, str] = {
    "file": "caption files",
    "encoding": "places that are not UTF-8",
    "line": "lines or records that cannot be used",
    "caption": "empty captions",
    "name": "names that do not agree",
    "split": "splits that do not agree",
    "count": "counts",
    "no caption": "clips or videos without captions",
    "no video": "clips without a video file",
    "video": "video files that are damaged",
    "same video": "video files with the same content",
    "same caption": "captions that others of their clip repeat (kept, as published)",
    "no words": "captions without words",
    "long caption": "training captions that are too long",
}
TOKENIZERS: tuple[dict[str, Any], ...] = (
    {},
    {"special_characters": "remove"},
    {"lowercase": False},
    {"tokenizer": "ptb"},
)


class CorpusName(StrEnum):
    """The layouts that can be prepared."""

    msvd = "msvd"
    msrvtt = "msrvtt"
    vatex = "vatex"
    folder = "folder"


CORPUS, CHECKS, RESULTS = "Corpus", "Checks", "Results"


@dataclass(frozen=True)
class CorpusOptions:
    """Where the corpus is, and how much of it is expected."""

    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a corpus in its published layout, instead of --videos and --captions.",
            rich_help_panel=CORPUS,
        ),
    ] = None
    videos: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the video files.", rich_help_panel=CORPUS)] = (
        None
    )
    captions: Annotated[
        list[Path] | None,
        typer.Option("--captions", metavar="FILE", help="A caption file; may be given several times.", rich_help_panel=CORPUS),
    ] = None
    available_only: Annotated[
        bool,
        typer.Option(
            "--available-only", help="Skip clips without a video file, for trials on part of a corpus.", rich_help_panel=CORPUS
        ),
    ] = False
    other_counts: Annotated[
        bool, typer.Option("--other-counts", help="Accept counts other than the published ones.", rich_help_panel=CORPUS)
    ] = False
    allow_playlists: AllowPlaylistsOption = False


@dataclass(frozen=True)
class CheckOptions:
    """What is checked, and where the results are written."""

    tokenizers: Annotated[
        bool,
        typer.Option("--tokenizers", help="Also count the words of each tokenizer (ptb needs Java).", rich_help_panel=CHECKS),
    ] = False
    frames: Annotated[
        int, typer.Option(min=0, help="Frames to decode from each video as a check; 0: none.", rich_help_panel=CHECKS)
    ] = 3
    workers: Annotated[int, typer.Option(min=1, help="Videos to read at the same time.", rich_help_panel=CHECKS)] = 2
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a recipe of the corpus.", rich_help_panel=RESULTS)
    ] = None
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the whole report as JSON.", rich_help_panel=RESULTS)
    ] = None


@with_option_groups
def prepare(
    name: Annotated[CorpusName, typer.Argument(metavar="NAME", help="msvd, msrvtt, vatex, or folder for your own videos.")],
    corpus: CorpusOptions,
    checks: CheckOptions,
    overrides: OverridesArgument = None,
    device: UnusedDeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Check a corpus: counts, captions, words and video files.

    Prints its counts next to the published ones, errors and warnings, and the next command. Nothing in the corpus is changed.
    The exit status is 1 if there are errors.
    """
    from stap.corpora.check import check_corpus

    recipe = _recipe(name.value, overrides or [], corpus)
    with interruptible("Nothing is written; run the same command again."), progress("prepare") as on_progress:
        found = check_corpus(
            recipe.corpus,
            recipe.text,
            frames=checks.frames,
            workers=checks.workers,
            expect_published=not corpus.other_counts,
            on_progress=on_progress,
        )
    print("\n".join([*_counts(found), "", *_words(found, recipe, checks.tokenizers), *_problems(found.problems)]))
    if checks.report is not None:
        with result_file(checks.report) as stream:
            print(json_text(found.to_dict()), file=stream)
    if found.small_validation:
        warn(found.small_validation)
    if found.errors:
        complain(f"{len(found.errors)} of {len(found.problems)} problems are errors. Correct them before training.")
        raise typer.Exit(1)
    print(f"\nNext: {_next_command(recipe, checks.write)}")


def _recipe(name: str, overrides: list[str], options: CorpusOptions) -> Recipe:
    """The recipe with the corpus and text rules of the command line."""
    from stap.recipes.files import load_recipe
    from stap.recipes.settings import CorpusSettings

    base = load_recipe(BASES.get(name, OTHER_BASE), with_playlists(overrides, options.allow_playlists))
    given = {
        "kind": name,
        "root": options.root,
        "videos": options.videos,
        "captions": tuple(options.captions or ()),
        "available_only": options.available_only,
    }
    if options.root is None and not options.captions and base.corpus.root is None:
        given["root"] = options.videos  # your own folder may hold both
    corpus = CorpusSettings(**{**base.corpus.model_dump(), **{key: value for key, value in given.items() if value}})
    return base.model_copy(update={"corpus": corpus})


def _counts(report: CorpusReport) -> Iterator[str]:
    from stap.reports.text_table import text_table

    rows: list[tuple[str, ...]] = [(report.name, "clips", "published", "captions", "published", "video files")]
    for split in report.splits:
        published = (_shown(split.published_clips), _shown(split.published_captions))
        numbers = (f"{split.clips:,}", published[0], f"{split.captions:,}", published[1], f"{split.videos:,}")
        rows.append((split.split, *numbers))
    sums = [
        [getattr(split, name) for split in report.splits]
        for name in ("clips", "published_clips", "captions", "published_captions", "videos")
    ]
    rows.append(("all", *(_shown(None if None in column else sum(column)) for column in sums)))
    yield text_table(rows)


def _words(report: CorpusReport, recipe: Recipe, tokenizers: bool) -> Iterator[str]:
    from stap.corpora.published import WORDS
    from stap.reports.text_table import text_table

    if report.words is None:
        yield "words: no training caption has one"
        return
    counted = [report.words, *(_other_tokenizers(report, recipe) if tokenizers else ())]
    rows = [("words", "training", "all splits", "known", "of training text", "a caption", "too long", "no words")]
    rows += [
        (
            words.rules, f"{words.train:,}", f"{words.every_split:,}", f"{words.vocabulary:,}", f"{100 * words.known:.2f} %",
            f"{words.mean_length:.2f}", f"{words.too_long:,}", f"{words.without_words:,}",
        )
        for words in counted
    ]  # fmt: skip
    yield text_table(rows)
    if report.name in WORDS:
        yield f"published: {WORDS[report.name]}"


def _other_tokenizers(report: CorpusReport, recipe: Recipe) -> Iterator[WordCounts]:
    from stap.corpora.check import count_words
    from stap.corpora.loading import load_annotations
    from stap.corpora.problems import Problems

    clips = load_annotations(recipe.corpus, Problems()).clips
    for change in TOKENIZERS:
        words = count_words(clips, recipe.text.model_copy(update=change))
        if words is not None and report.words is not None and words.rules != report.words.rules:
            yield words


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    """Errors, then warnings, grouped by kind, in the order in which they were found."""
    for is_error, heading in ((True, "error"), (False, "warning")):
        groups: dict[Kind, list[str]] = {}
        for problem in problems:
            if problem.is_error == is_error:
                groups.setdefault(problem.kind, []).append(problem.sentence)
        for kind, sentences in groups.items():
            yield f"\n{heading}: {TITLES[kind]} ({len(sentences):,})"
            yield from (f"  {printable(sentence)}" for sentence in sentences[:SHOWN])
            if len(sentences) > SHOWN:
                yield f"  and {len(sentences) - SHOWN:,} more; --report FILE lists them all"


def _next_command(recipe: Recipe, write: Path | None) -> str:
    """The next command; with `write`, the recipe is written and named in it."""
    import yaml

    from stap.recipes.settings import CorpusSettings, TextSettings

    corpus = recipe.corpus.model_dump(mode="json", exclude_defaults=True) | {"kind": recipe.corpus.kind}
    text = recipe.text.model_dump(mode="json", exclude_defaults=True)
    assert CorpusSettings(**corpus) == recipe.corpus
    assert TextSettings(**text) == recipe.text
    if write is not None:
        with result_file(write) as stream:
            yaml.safe_dump({"name": write.stem, "corpus": corpus, "text": text}, stream, sort_keys=False, allow_unicode=True)
        say(f"{write}: written. It holds the corpus and the text rules; everything else has its default.")
        return f"stap extract {shlex.quote(str(write))}"
    settings = {
        f"{section}.{key}": value for section, part in (("corpus", corpus), ("text", text)) for key, value in part.items()
    }
    overrides = [f"{key}={_as_yaml(value)}" for key, value in settings.items()]
    return shlex.join(["stap", "extract", recipe.name, *overrides])


def _as_yaml(value: Any) -> str:
    """The value on one line; text without quotes if YAML reads it back unchanged."""
    import yaml

    with contextlib.suppress(yaml.YAMLError):
        if isinstance(value, str) and yaml.safe_load(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _shown(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"

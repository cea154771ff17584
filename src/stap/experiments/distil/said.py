"""What the teacher said about each video, written as it is said: an interrupted run asks about the others only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stap.captioning.protocol import VideoCaptioner
from stap.captioning.video_caption import VideoCaption
from stap.errors import ConfigError, StapError
from stap.experiments.distil.clips import Said, SourceClip
from stap.experiments.distil.request import Request
from stap.files import read_bytes, write_atomically
from stap.recipes.streams import differences
from stap.teachers.loading import load

__all__ = ["Teacher", "ask_teacher"]

VIDEOS_AT_A_TIME = 32  # asked about before their answers are written
FILE = "said.jsonl"


@dataclass(frozen=True)
class Teacher:
    """Who was asked, and how.   licence: of what it says.   seconds: a clip's caption by beam took, decoding included; the mean."""

    asked: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    licence: str
    parameters: int
    seconds: float

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.asked["teacher"])

    @property
    def revision(self) -> str | None:
        """The commit on the Hub, or the checksum of the weights of a folder."""
        return str(self.fingerprint.get("revision") or self.fingerprint["weights_sha256"][:12])


def ask_teacher(
    request: Request, clips: Sequence[SourceClip], say: Callable[[str], None], on_progress: Callable[[int, int, str], None]
) -> tuple[Teacher, dict[str, list[Said]]]:
    """The captions of each video, the beam's first. Videos of which nothing can be said are named and left out.

    Raises ConfigError where the folder holds what another teacher said, CheckpointError and others as `load` does.
    """
    file = request.out / FILE
    asked = {
        "teacher": request.teacher,
        "prompt": request.prompt,
        "beam_width": request.beam_width,
        "draws": asdict(request.draws),
    }
    header, answers = _said_before(file)
    if header and (others := differences(header["asked"], asked)):
        raise ConfigError(
            f"{file}: what the teacher said when it was asked otherwise: {'; '.join(others)}. Choose another --out."
        )
    todo = [clip for clip in clips if clip.id not in answers]
    if todo or not header:
        captioner = load(request.teacher, str(request.device), request.limits, prompt=request.prompt)
        told: dict[str, Any] = {
            "asked": asked,
            "fingerprint": dict(captioner.fingerprint),
            "licence": captioner.licence,
            "parameters": captioner.parameters,
        }
        if header and (others := differences(header["fingerprint"], told["fingerprint"])):
            raise ConfigError(f"{file}: what another model of this name said: {'; '.join(others)}. Choose another --out.")
        header = told
        _licence(request, header)  # before the work
        write_atomically(file, b"".join(_line(one) for one in (header, *answers.values())))
        with file.open("ab") as growing:
            for part in _parts(todo):
                for answer in _ask(captioner, part, request):
                    growing.write(_line(answer))
                    answers[answer["video"]] = answer
                    on_progress(len(answers), len(clips), answer["video"])
                growing.flush()
    for answer in answers.values():
        if answer["error"]:
            say(f"  {answer['error']}")
    known = {clip.id for clip in clips}
    said = {
        one["video"]: [Said(**each) for each in one["captions"]]
        for one in answers.values()
        if one["captions"] and one["video"] in known
    }
    if not said:
        raise StapError(
            f"{request.videos}: {request.teacher} said nothing about any of {len(clips)} videos; the reasons are above."
        )
    seconds = [captions[0].seconds for captions in said.values()]
    return Teacher(**header | {"licence": _licence(request, header)}, seconds=sum(seconds) / len(seconds)), said


def _licence(request: Request, header: Mapping[str, Any]) -> str:
    """The licence of what the teacher says. Raises ConfigError where nobody states one."""
    if request.output_licence:
        return request.output_licence
    if header["licence"]:
        return f"{header['licence']} (the model's own, as its card states)"
    if header["fingerprint"]["kind"] == "stap":
        return "not stated; a model of stap"
    raise ConfigError(
        f"--output-licence: the model card of {request.teacher} states no licence. Say under which licence you may use what it says, for example "
        '--output-licence "MIT"; it is recorded in the model card of the student.'
    )


def _ask(captioner: VideoCaptioner, clips: Sequence[SourceClip], request: Request) -> Iterator[dict[str, Any]]:
    """The lines about these videos, in their order."""
    errors: dict[Path, str] = {}
    paths = [clip.path for clip in clips]

    def fail(path: Path, error: StapError) -> None:
        errors[path] = str(error)

    began = time.perf_counter()
    best = {one.path: one for one in captioner.caption_many(paths, beam_width=request.beam_width, on_error=fail)}
    by_beam = round((time.perf_counter() - began) / len(paths), 4)
    began = time.perf_counter()
    drawn = {one.path: one for one in captioner.caption_many(list(best), draws=request.draws, on_error=fail)}
    by_drawing = round((time.perf_counter() - began) / max(1, len(best)) / request.draws.count, 4)
    for clip in clips:
        captions = [_said(best[clip.path], "beam", by_beam)] if clip.path in best else []
        if clip.path in drawn:
            first = drawn[clip.path]
            captions.append(_said(first, "sample", by_drawing))
            captions += [
                Said(one.caption, _mean(first, one.caption, one.score), "sample", by_drawing) for one in first.alternatives
            ]
        yield {
            "video": clip.id,
            "captions": [asdict(one) for one in captions if one.caption],
            "error": errors.get(clip.path),
        }


def _said(caption: VideoCaption, by: Literal["beam", "sample"], seconds: float) -> Said:
    return Said(caption.caption, _mean(caption, caption.caption, caption.score), by, seconds)


def _mean(caption: VideoCaption, text: str, score: float) -> float:
    """The mean over tokens; our own models' scores are sums over the words and the end."""
    return round(score if caption.provenance else score / (len(text.split()) + 1), 5)


def _parts(clips: Sequence[SourceClip]) -> Iterator[Sequence[SourceClip]]:
    return (clips[first : first + VIDEOS_AT_A_TIME] for first in range(0, len(clips), VIDEOS_AT_A_TIME))


def _said_before(file: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The first line and those of videos; a last line that was cut short does not count. Raises ConfigError for another file."""
    if not file.exists():
        return {}, {}
    lines = read_bytes(file, ConfigError, "Choose another --out.").split(b"\n")[:-1]
    try:
        header, *answers = [json.loads(line) for line in lines]
        if header.keys() != {"asked", "fingerprint", "licence", "parameters"}:
            raise ValueError("another first line")
        return header, {one["video"]: one for one in answers}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{file}: not what `stap distil` writes ({error}). Move it away, or choose another --out.") from error


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"

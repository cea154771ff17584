"""Options of `stap caption`, in groups."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.console import say
from stap.errors import ConfigError

if TYPE_CHECKING:
    from stap.captioning.protocol import VideoCaptioner
    from stap.decoding.draw import Draws
    from stap.programmes.caption_files import CaptionPlan
    from stap.programmes.documents import DocumentRules
    from stap.programmes.live import LiveSource
    from stap.recipes.settings import VideoLimits

__all__ = ["FileOptions", "Format", "LiveOptions", "ShotOptions", "SubtitleOptions", "WordOptions", "load_captioner"]

WORDS, SHOTS, SUBTITLES, FILES, LIVE = "Choice of words", "Long videos", "Subtitles", "Many files", "Live"
MANIFEST = "captions-manifest.jsonl"
_BEAM_WIDTH = 5  # of a search whose alternatives are kept


class Format(StrEnum):
    """How captions are written."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    srt = "srt"
    vtt = "vtt"
    ttml = "ttml"
    html = "html"

    @property
    def is_of_one_video(self) -> bool:
        """Whether a file holds the captions of one video only."""
        return self in (Format.srt, Format.vtt, Format.ttml, Format.html)

    @property
    def names_the_video(self) -> bool:
        """Whether its path is in the file."""
        return self not in (Format.srt, Format.vtt, Format.ttml)

    @property
    def suffix(self) -> str:
        """Of files in it."""
        return ".txt" if self is Format.text else f".{self.value}"


class Detector(StrEnum):
    """How shots are found; `stap.programmes.detectors.DETECTORS` has the same names, and imports NumPy."""

    adaptive = "adaptive"
    content = "content"
    hash = "hash"
    histogram = "histogram"
    threshold = "threshold"
    transnetv2 = "transnetv2"
    window = "window"


class Below(StrEnum):
    """What becomes of a caption that the model is not sure of."""

    mark = "mark"
    leave_out = "leave-out"


class Kind(StrEnum):
    """The kinds of a WebVTT track."""

    captions = "captions"
    subtitles = "subtitles"
    descriptions = "descriptions"


@dataclass(frozen=True)
class WordOptions:
    """How the words of a caption are chosen."""

    beam: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Beam width; 1 is greedy. Default: the model's recipe; of the Hub's captioners 1.",
            rich_help_panel=WORDS,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What a model that chats is asked. Default: for one plain sentence.", rich_help_panel=WORDS
        ),
    ] = None
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw each caption at random instead of searching.", rich_help_panel=WORDS)
    ] = False
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="With --sample: below 1 keeps to probable words, above 1 varies more. Default: 1.",
            rich_help_panel=WORDS,
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed of --sample; nothing else is random.", rich_help_panel=WORDS)
    ] = None

    keep_alternatives: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Keep the K next best captions too (json, jsonl), of a beam of at least K + 1, or K more draws of --sample. The Hub's "
            "captioners have them with --sample only.",
            rich_help_panel=WORDS,
        ),
    ] = 0

    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors",
            help="Keep the vector of each clip or shot in the model's joint space too (json, jsonl), as `stap index` reads it.",
            rich_help_panel=WORDS,
        ),
    ] = False

    @property
    def beam_width(self) -> int | None:
        """Of the search; None for the captioner's own."""
        if self.keep_alternatives and not self.sample:
            return max(self.keep_alternatives + 1, self.beam or _BEAM_WIDTH)
        return self.beam

    def draws(self) -> Draws | None:
        """What --sample asks for. Raises ConfigError for options that do not go together."""
        if self.temperature is not None and not (self.sample and self.temperature > 0):
            raise ConfigError(f"--temperature {self.temperature:g}: expected --sample, and a temperature above 0.")
        if self.sample and self.beam is not None:
            raise ConfigError("--sample draws words and --beam searches for them. Give one of the two.")
        if not self.sample:
            return None
        from stap.decoding.draw import Draws

        return Draws(1 + self.keep_alternatives, 1.0 if self.temperature is None else self.temperature, self.seed or 0)


@dataclass(frozen=True)
class ShotOptions:
    """How a long video is divided, and which of its captions are kept."""

    whole: Annotated[
        bool | None,
        typer.Option(
            "--whole/--shots",
            help="Caption each file as one clip, or shot by shot. Default: shot by shot if it is longer than a minute.",
            rich_help_panel=SHOTS,
        ),
    ] = None
    detector: Annotated[
        Detector,
        typer.Option(
            help="How shots are found: PySceneDetect's detectors; transnetv2, a network that finds dissolves too; or a fixed window (--window).",
            rich_help_panel=SHOTS,
        ),
    ] = Detector.adaptive
    window: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Length of --detector window.", rich_help_panel=SHOTS)
    ] = 10.0
    min_shot: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.0, help="Shorter shots are joined with the next one.", rich_help_panel=SHOTS),
    ] = 0.5
    max_shot: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Longer shots are divided.", rich_help_panel=SHOTS)
    ] = 30.0
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Join neighbouring shots with the same caption.", rich_help_panel=SHOTS),
    ] = False
    min_confidence: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0.0,
            max=1.0,
            help="Mark captions whose words have a lower mean probability (geometric), or leave them out (--below).",
            rich_help_panel=SHOTS,
        ),
    ] = 0.0
    below: Annotated[
        Below, typer.Option(help="What --min-confidence does: mark with (?), or leave-out.", rich_help_panel=SHOTS)
    ] = Below.mark

    def plan(self, words: WordOptions, subtitles: SubtitleOptions, jobs: int, has_pictures: bool) -> CaptionPlan:
        """How videos are captioned. Raises ConfigError for options that contradict each other."""
        from stap.programmes.caption_files import CaptionPlan
        from stap.programmes.shots import ShotRules

        return CaptionPlan(
            ShotRules(self.detector.value, self.min_shot, self.max_shot, self.window),
            self.whole,
            words.beam_width,
            words.draws(),
            self.merge,
            self.min_confidence,
            "mark" if self.below is Below.mark else "leave-out",
            words.keep_alternatives,
            jobs=jobs,
            pictures=has_pictures,
            answers=words.vectors,
            words_per_minute=subtitles.speaking_rate if subtitles.describe else None,
        )


@dataclass(frozen=True)
class SubtitleOptions:
    """What a cue may hold."""

    line_length: Annotated[
        int, typer.Option(metavar="N", min=8, help="Characters of a line; a cue has two.", rich_help_panel=SUBTITLES)
    ] = 42
    reading_speed: Annotated[
        float, typer.Option(metavar="N", min=1.0, help="Characters a second that a reader reads.", rich_help_panel=SUBTITLES)
    ] = 17.0
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="Kind of the WebVTT track. Default: captions; with --describe descriptions.", rich_help_panel=SUBTITLES
        ),
    ] = None
    describe: Annotated[
        bool,
        typer.Option(
            "--describe",
            help="An audio description: captions are placed in the pauses of the sound, and shots without one are listed.",
            rich_help_panel=SUBTITLES,
        ),
    ] = False
    speaking_rate: Annotated[
        float, typer.Option(metavar="N", min=1.0, help="Words a minute of --describe.", rich_help_panel=SUBTITLES)
    ] = 160.0

    def rules(self) -> DocumentRules:
        """For the writers."""
        from stap.programmes.cues import CueRules
        from stap.programmes.documents import DocumentRules

        speed = float("inf") if self.describe else self.reading_speed  # what is spoken has its time already
        kind = self.kind or (Kind.descriptions if self.describe else Kind.captions)
        return DocumentRules(CueRules(self.line_length, characters_per_second=speed), kind.value)


@dataclass(frozen=True)
class FileOptions:
    """A file of captions for each video."""

    beside: Annotated[
        bool, typer.Option("--beside", help="Write a file for each video, next to it.", rich_help_panel=FILES)
    ] = False
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a file for each video, below DIR as the videos lie in their folder.",
            rich_help_panel=FILES,
        ),
    ] = None
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Only videos of such names, or paths in their folder: '*.mkv'.", rich_help_panel=FILES
        ),
    ] = None
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="No videos of such names.", rich_help_panel=FILES)
    ] = None
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON lines of what became of each video; what it says is done is skipped. Default: captions-manifest.jsonl in DIR, or "
            "in the first folder given.",
            rich_help_panel=FILES,
        ),
    ] = None
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Long videos that are decoded at the same time.", rich_help_panel=FILES)
    ] = 2
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say which videos would be captioned, and into what files.", rich_help_panel=FILES),
    ] = False

    @property
    def are_one_a_video(self) -> bool:
        """Whether each video gets a file of its own. Raises ConfigError for options that need that, or contradict each other."""
        if self.beside and self.into is not None:
            raise ConfigError("--beside writes next to the videos, and --into into another folder. Give one of the two.")
        wanted = self.beside or self.into is not None
        others = {
            "--include": self.include,
            "--exclude": self.exclude,
            "--manifest": self.manifest,
            "--dry-run": self.dry_run,
        }
        given = [name for name, value in others.items() if value]
        if given and not wanted:
            raise ConfigError(f"{given[0]}: expected --beside or --into DIR, which write a file for each video.")
        return wanted

    def manifest_of(self, paths: list[Path]) -> Path:
        """Where the manifest is."""
        folder = self.into or next((path for path in paths if path.is_dir()), paths[0].parent)
        return self.manifest or folder / MANIFEST


@dataclass(frozen=True)
class LiveOptions:
    """A source that goes on, in place of files."""

    live: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Caption a source as it comes, each shot as soon as it has ended: a file at its own pace, - for standard input, or an "
            "address that FFmpeg opens.",
            rich_help_panel=LIVE,
        ),
    ] = None
    live_speed: Annotated[
        float,
        typer.Option(
            metavar="X", min=0.0, help="Read a file at X times its own pace; 0 is as fast as it goes.", rich_help_panel=LIVE
        ),
    ] = 1.0

    live_rate: Annotated[
        float | None,
        typer.Option(
            metavar="FPS",
            min=0.01,
            help="L-STAP reads so many frames a second as they come, and keeps its states only. Default: it sees the frames of each shot "
            "that it would see in a file.",
            rich_help_panel=LIVE,
        ),
    ] = None

    def source(self, limits: VideoLimits) -> LiveSource:
        """The one that was named."""
        from stap.programmes.live import LiveSource

        assert self.live is not None, "asked for where it is"
        return LiveSource(sys.stdin.buffer if self.live == "-" else self.live, limits, self.live_speed)


def load_captioner(model: str | None, device: str, limits: VideoLimits, words: WordOptions) -> VideoCaptioner:
    """The captioner of --model; without it the one that is suggested for the device, which is said."""
    from torch.profiler import record_function

    from stap.teachers.loading import load, suggested

    if model is None:
        chosen = suggested(device)
        say(f"stap: {chosen}")
        model = chosen.name
    with record_function("loading the model"):
        return load(model, device, limits, prompt=words.prompt, alternatives=words.keep_alternatives)

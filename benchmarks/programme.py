"""A generated programme with known cuts and scenes: shots found, facts recalled, peak memory, and speed next to decoding alone.

    python -m benchmarks.programme [--minutes 60] [--height 720] [--model FOLDER] [--detector adaptive] [--keep FOLDER]

Scenes follow each other by hard cuts, fades through black and dissolves; some hold a flash; the frame rate varies. A found cut counts if it
lies in the transition, or within 0.1 seconds of it. Without --model the demo's model has random weights, which does not change the speed, and
no facts are counted. With --keep the programme stays in a folder, and is taken from there the next time. It is captioned as
`stap caption --shots` does, in a process whose memory is measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from benchmarks.table import Row, markdown

from stap.programmes.detectors import DETECTORS, build_detector
from stap.scenes.dials import SceneDials
from stap.scenes.facts import facts_recalled
from stap.scenes.plan import plan_scenes
from stap.scenes.render import render

TRANSITIONS = ("hard", "hard", "fade", "hard", "dissolve", "hard")
FADE_FRAMES, BLACK_FRAMES, DISSOLVE_FRAMES, FLASH_FRAMES = 10, 6, 12, 2
TOLERANCE_SECONDS = 0.1
DIALS = SceneDials(seconds=5.0, frame_rate=25)
STEPS_MS = (40, 40, 40, 80)  # between frames: the rate varies


@dataclass
class Part:
    """A scene of the programme.   start, end: seconds, in the middle of the transitions.   cut_from, cut_to: of the one into it."""

    start: float
    end: float
    transition: str
    cut_from: float
    cut_to: float
    facts: dict[str, Any]


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--caption"]:
        print(json.dumps(caption(Path(arguments[1]), arguments[2] or None, arguments[3])))
    else:
        print(markdown(rows(*arguments)))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--model", default="")
    parser.add_argument("--detector", choices=DETECTORS, default="adaptive")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        name = f"programme-{arguments.minutes:g}-{arguments.height}"
        film, truth = folder / f"{name}.mp4", folder / f"{name}.json"
        if not truth.exists():  # it is written last
            write_in_its_own_process(film, truth, 60 * arguments.minutes, arguments.height)
        parts = [Part(**part) for part in json.loads(truth.read_text())]
        alone = decode(film)
        line = [sys.executable, "-m", "benchmarks.programme", "--caption", str(film), arguments.model, arguments.detector]
        found = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return report(parts, found, alone, bool(arguments.model))


def write_in_its_own_process(film: Path, truth: Path, seconds: float, height: int) -> None:
    """The encoder's threads are gone when the programme is read."""
    film.parent.mkdir(parents=True, exist_ok=True)
    writer = multiprocessing.get_context("spawn").Process(target=write_programme, args=(film, truth, seconds, height))
    writer.start()
    writer.join()


def report(parts: list[Part], found: dict[str, Any], alone: float, has_model: bool) -> list[Row]:
    seconds = parts[-1].end
    cuts = [shot["start"] for shot in found["shots"][1:]]
    true = parts[1:]
    hits = {part.start: [cut for cut in cuts if is_in(cut, part)] for part in true}
    by_kind = {
        kind: [bool(hits[part.start]) for part in true if part.transition == kind] for kind in dict.fromkeys(TRANSITIONS)
    }
    kinds = ", ".join(f"{kind} {sum(each)} of {len(each)}" for kind, each in by_kind.items())
    right = sum(any(is_in(cut, part) for part in true) for cut in cuts)
    what = f"a programme of {seconds / 60:.1f} minutes"
    made = [
        Row(
            f"{what}, shot by shot: multiple of real time", "decoding alone", alone / found["seconds"], goal=0.85, at_least=True,
            bound="cores shared by the decoder and the networks",
            detail=f"{seconds / found['seconds']:.1f}x against {seconds / alone:.1f}x; peak memory {found['peak_mib']:.0f} MiB",
        ),
        Row(f"{what}: cuts that are right, of those found", "", right / max(1, len(cuts)), detail=f"{right} of {len(cuts)}"),
        Row(f"{what}: cuts that are found", "", sum(map(bool, hits.values())) / max(1, len(true)), detail=kinds),
    ]  # fmt: skip
    if has_model:
        recalled, total = facts(parts, found["shots"])
        made.append(Row(f"{what}: facts recalled per shot", "", recalled / total, detail=f"{recalled} of {total}"))
    return made


def is_in(cut: float, part: Part) -> bool:
    return part.cut_from - TOLERANCE_SECONDS <= cut <= part.cut_to + TOLERANCE_SECONDS


def facts(parts: list[Part], shots: list[dict[str, Any]]) -> tuple[int, int]:
    """Facts of the scenes in the caption of the shot that shows most of each."""
    counts = [0, 0]
    for part in parts:
        shown = max(shots, key=lambda shot: min(shot["end"], part.end) - max(shot["start"], part.start))
        for recalled, total in facts_recalled(shown["caption"], part.facts).values():
            counts[0], counts[1] = counts[0] + recalled, counts[1] + total
    return counts[0], counts[1]


def decode(film: Path) -> float:
    """Seconds of decoding every frame, with a thread a core, and nothing else."""
    started = time.perf_counter()
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass
    return time.perf_counter() - started


def caption(film: Path, model: str | None, detector: str) -> dict[str, Any]:
    """What `stap caption --shots` finds, in this process; loading the model is not counted."""
    from benchmarks.caption_folder import make_captioner

    from stap.captioning.captioner import load
    from stap.commands.shared.cores import polite_threads
    from stap.commands.shared.memory import keep_freed_memory
    from stap.errors import StapError
    from stap.programmes.caption_files import CaptionPlan, caption_files
    from stap.programmes.shots import ShotRules

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder, polite_threads():
        captioner = load(model, "cpu") if model else make_captioner(Path(folder))
        build_detector(detector)  # imports PySceneDetect and OpenCV, which takes seconds once
        started = time.perf_counter()
        [(_, found)] = caption_files([film], captioner, CaptionPlan(whole=False, rules=ShotRules(detector), jobs=1))
        seconds = time.perf_counter() - started
    if isinstance(found, StapError):
        raise found
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    shots = [{"start": one.start_seconds, "end": one.end_seconds, "caption": one.text} for one in found.captions]
    return {"seconds": seconds, "peak_mib": int(peak.split()[1]) / 1024, "shots": shots}


def write_programme(film: Path, truth: Path, seconds: float, height: int) -> None:
    """The film, and its parts as JSON. Pictures are four to three, the square scene stretched."""
    scenes = plan_scenes(max(3, round(seconds / DIALS.seconds)), 1, DIALS)
    parts: list[Part] = []
    clock = Frames(film, height)
    held: np.ndarray | None = None  # the end of the scene before, to dissolve into this one
    for number, scene in enumerate(scenes):
        pictures = render(scene, DIALS)
        transition = TRANSITIONS[number % len(TRANSITIONS)] if number else "hard"
        begun = clock.seconds
        if transition == "fade" and held is not None:
            for k in range(FADE_FRAMES):
                clock.add((held[-1] * (1 - k / FADE_FRAMES)).astype(np.uint8))
            for _ in range(BLACK_FRAMES):
                clock.add(np.zeros_like(held[-1]))
            pictures = fade_in(pictures)
        elif transition == "dissolve" and held is not None:
            pictures = dissolve(held[-1], pictures)
        ended = clock.seconds + {"hard": 0.0, "fade": 0.04 * FADE_FRAMES, "dissolve": 0.05 * DISSOLVE_FRAMES}[transition]
        middle = (begun + ended) / 2
        if parts:
            parts[-1].end = middle
        if number % 5 == 4:
            pictures[len(pictures) // 2 :][:FLASH_FRAMES] = 250
        for picture in pictures:
            clock.add(picture)
        parts.append(Part(middle, clock.seconds, transition, begun, ended, scene.facts()))
        held = pictures
    clock.close()
    truth.write_text(json.dumps([asdict(part) for part in parts]))


def fade_in(pictures: np.ndarray) -> np.ndarray:
    faded = pictures.copy()
    for k in range(FADE_FRAMES):
        faded[k] = (pictures[k] * (k / FADE_FRAMES)).astype(np.uint8)
    return faded


def dissolve(before: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    mixed = pictures.copy()
    for k in range(DISSOLVE_FRAMES):
        part = (k + 1) / (DISSOLVE_FRAMES + 1)
        mixed[k] = (part * pictures[k].astype(np.float32) + (1 - part) * before).astype(np.uint8)
    return mixed


class Frames:
    """Writes frames of a variable rate."""

    def __init__(self, film: Path, height: int) -> None:
        self.container = av.open(str(film), "w")
        self.stream = self.container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        self.height, self.width = height, height * 4 // 3 // 2 * 2
        self.stream.height, self.stream.width, self.stream.pix_fmt = self.height, self.width, "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, 1000)
        self.at_ms = self.count = 0

    @property
    def seconds(self) -> float:
        """When the next frame appears."""
        return self.at_ms / 1000

    def add(self, picture: np.ndarray) -> None:
        """Encode (height, width, 3) uint8 as the next frame."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(self.width, self.height, "yuv420p")
        frame.pts, frame.time_base = self.at_ms, Fraction(1, 1000)
        self.container.mux(self.stream.encode(frame))
        self.at_ms += STEPS_MS[self.count % len(STEPS_MS)]
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self.container.mux(self.stream.encode())
        self.container.close()


if __name__ == "__main__":
    main()

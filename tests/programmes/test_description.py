"""Audio description: pauses between speech that espeak-ng makes, and captions that fit into them."""

import json
import shutil
import subprocess
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch

from films import scenes
from stap.programmes.description import Pause, described, placed, read_pauses
from stap.programmes.documents import DocumentRules, document
from stap.programmes.timed import CaptionedVideo, TimedCaption

RATE = 22_050  # espeak-ng's


def test_captions_are_spoken_in_the_first_pause_that_is_long_enough() -> None:
    pauses = [Pause(1, 2), Pause(4, 9), Pause(20, 30)]
    five = "one two three four five"  # 2.5 seconds at 120 words a minute
    captions = [
        TimedCaption(0, 5, five, alternatives=(("one two three", -1.0), ("one two", -2.0))),
        TimedCaption(5, 8, five),
        TimedCaption(8, 12, five),
        TimedCaption(21, 23.5, five),
        TimedCaption(23.5, 30, " "),
    ]
    spoken, left = placed(captions, pauses, 120)
    assert [(one.start_seconds, one.end_seconds, one.text) for one in spoken] == [
        (1, 2, "one two"), (5, 7.5, five), (21, 23.5, five),
    ]  # fmt: skip
    assert left == [captions[2], captions[4]]
    crowded = [TimedCaption(0, 10, "one two"), TimedCaption(0, 10, "three four"), TimedCaption(0, 10, "five six")]
    spoken, left = placed(crowded, [Pause(0, 2.5)], 120)
    assert [(one.start_seconds, one.end_seconds) for one in spoken] == [(0, 1), (1.2, 2.2)]
    assert left == crowded[2:]


@pytest.fixture(scope="module")
def spoken_film(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Five seconds of silence, a sentence, six seconds of silence, a sentence; sound begins a second before the pictures."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("no espeak-ng here: install it (Debian: apt-get install espeak-ng)")
    folder = tmp_path_factory.mktemp("spoken")
    sentence = folder / "sentence.wav"
    subprocess.run([program, "-w", sentence, "The quick brown fox jumps over the lazy dog, and then it sleeps."], check=True)
    with wave.open(str(sentence)) as file:
        assert file.getframerate() == RATE
        speech = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    sound = np.concatenate([np.zeros(5 * RATE, np.int16), speech, np.zeros(6 * RATE, np.int16), speech])
    seconds = len(speech) / RATE
    path = folder / "film.mkv"
    write_film(path, sound)
    return SimpleNamespace(path=path, speech=[(5, 5 + seconds), (11 + seconds, 11 + 2 * seconds)], seconds=len(sound) / RATE)


def write_film(path: Path, sound: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=5), container.add_stream("pcm_s16le", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for first in range(0, len(sound), RATE):
            part = av.AudioFrame.from_ndarray(sound[None, first : first + RATE], format="s16", layout="mono")
            part.rate, part.pts = RATE, first
            container.mux(audio.encode(part))
        for k, picture in enumerate(scenes(*[25] * (len(sound) // RATE // 5))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = k + 5
            container.mux(video.encode(frame))
        container.mux([*video.encode(), *audio.encode()])


def test_pauses_lie_between_what_is_said(spoken_film: Any) -> None:
    threads = torch.get_num_threads()
    pauses = read_pauses(spoken_film.path, spoken_film.seconds)
    assert torch.get_num_threads() == threads
    (first, end), (second, _) = spoken_film.speech
    assert [(one.start_seconds, one.end_seconds) for one in pauses[:2]] == [
        (0, pytest.approx(first - 0.2, abs=0.3)), (pytest.approx(end + 0.2, abs=0.5), pytest.approx(second - 0.2, abs=0.3)),
    ]  # fmt: skip
    for pause in pauses:
        assert pause.end_seconds <= first + 0.1 or pause.start_seconds >= end - 0.6


def test_no_description_is_spoken_over_what_is_said_and_the_others_are_listed(spoken_film: Any) -> None:
    captions = tuple(TimedCaption(k, k + 2.0, "a square moves over the wall") for k in range(0, 16, 2))
    video = described(CaptionedVideo(spoken_film.path, spoken_film.seconds, captions), 200)
    assert [one.start_seconds for one in video.captions] == [
        0,
        2,
        *(one for one in (10, 12) if one + 1.8 < spoken_film.speech[1][0]),
    ]
    assert len(video.captions) + len(video.not_placed) == len(captions)
    for one in video.captions:
        assert all(one.end_seconds <= start or one.start_seconds >= end for start, end in spoken_film.speech)
    [sentence] = video.warnings
    assert sentence.startswith(
        f"{spoken_film.path}: {len(video.not_placed)} shots have no pause that is long enough (seconds): 4.0-6.0, 6.0-8.0"
    )
    assert [one["start_seconds"] for one in json.loads(document(video, "json")[0])["not_placed"]] == [
        one.start_seconds for one in video.not_placed
    ]
    text, left_out = document(video, "vtt", DocumentRules(kind="descriptions"))
    assert text.startswith("WEBVTT\nKind: descriptions\n\n1\n00:00:00.000 --> 00:00:01.800\na square moves over the wall\n")
    assert left_out == ()


def test_a_video_without_sound_is_one_pause_and_bad_sound_is_said(make_video, tmp_path: Path) -> None:
    assert read_pauses(make_video(), 0.5) == [Pause(0.0, 0.5)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    captions = (TimedCaption(0, 2, "a"),)
    video = described(CaptionedVideo(bad, 2, captions), 160)
    assert (video.captions, video.not_placed) == ((), captions)
    assert video.warnings[0].startswith(f"{bad}: its sound could not be read (")

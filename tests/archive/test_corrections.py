"""Corrected captions become a corpus that `stap train` reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raising import error_of
from stap.archive.corrections import write_corpus
from stap.archive.records import ArchivedShot, ArchivedVideo, shot_id
from stap.corpora.loading import load_corpus_with_files
from stap.errors import ArchiveError
from stap.files import sha256_of_file
from stap.recipes.settings import CorpusSettings
from stap.video.clips import FrameStream


def archived(path: Path, seconds: float) -> ArchivedVideo:
    status = path.stat()
    return ArchivedVideo(sha256_of_file(path), path, status.st_size, status.st_mtime_ns, seconds, "m")


def shot(video: ArchivedVideo, start: float, end: float, caption: str) -> ArchivedShot:
    return ArchivedShot(shot_id(video.content, start), video.path, video.content, start, end, caption, author="Ann")


def test_clips_hold_the_frames_of_their_shots(make_video, number_shown, tmp_path: Path) -> None:
    film, clip = archived(make_video("film.mp4", 100), 4.0), archived(make_video("clip.mkv", 30), 1.2)
    gone = replace(film, content="0" * 64, path=tmp_path / "gone.mp4")
    shots = [
        shot(film, 2.0, 3.0, "a \"b\", c"), shot(film, 0.4, 1.2, "first"), shot(film, 3.0, 4.0, "last"),
        shot(clip, 0.0, 1.2, "all of it"), shot(gone, 0.0, 1.0, "lost"),
    ]  # fmt: skip
    out = tmp_path / "corpus"
    written, problems = write_corpus(shots, {one.content: one for one in (film, clip, gone)}, out)
    assert (written, problems) == (
        4, [f"{gone.path}: is missing, so 1 corrections are left out. Index the folder where it is now."],
    )  # fmt: skip
    corpus = load_corpus_with_files(CorpusSettings(kind="folder", root=out))
    frames = {one.captions[0]: [number_shown(picture) for picture in FrameStream(one.path, None)] for one in corpus.clips}
    assert frames == {
        'a "b", c': list(range(50, 75)), "first": list(range(10, 30)), "last": list(range(75, 100)), "all of it": list(range(30)),
    }  # fmt: skip
    assert len({one.split for one in corpus.clips if one.captions[0] != "all of it"}) == 1  # of one video
    assert (
        error_of(ArchiveError, write_corpus, shots, {}, out) == f"{out}: is not empty. Name a new folder for the corrections."
    )


def test_odd_pictures_lose_a_row(make_video, tmp_path: Path) -> None:
    pictures = [np.full((33, 97, 3), 128, np.uint8)] * 25
    film = archived(make_video("odd.mkv", pictures, codec="ffv1", pix_fmt="bgr0"), 1.0)
    assert write_corpus([shot(film, 0.0, 0.5, "half")], {film.content: film}, tmp_path / "out")[0] == 1
    [clip] = (tmp_path / "out" / "clips").iterdir()
    assert next(iter(FrameStream(clip, None))).shape == (32, 96, 3)


def test_a_damaged_video_stops_no_other(make_video, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    broken, film = archived(bad, 9.0), archived(make_video(), 0.48)
    videos = {one.content: one for one in (broken, film)}
    written, [problem] = write_corpus([shot(broken, 0, 1, "a"), shot(film, 0, 0.48, "b")], videos, tmp_path / "out")
    assert written == 1
    assert problem.startswith(f"{bad}: 1 corrections are left out: ")


@pytest.mark.parametrize("caption", ["=1+1", "a\nb", 'x"y', "é 自行车"])
def test_any_caption_is_read_as_it_was(make_video, tmp_path: Path, caption: str) -> None:
    film = archived(make_video(), 0.48)
    write_corpus([shot(film, 0, 0.48, caption)], {film.content: film}, tmp_path / "out")
    [clip] = load_corpus_with_files(CorpusSettings(kind="folder", root=tmp_path / "out")).clips
    assert clip.captions == (caption,)

"""The corpus of a reproduction: what stops it, what is only left out, and that a check is made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from raising import error_of
from stap.corpora.corpus import Clip, Corpus
from stap.errors import CorpusError
from stap.experiments.reproduce.corpus import clips_digest, existing_stores, limited, prepare_corpus
from stap.features.store import FeatureStore, VideoFeatures
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import Recipe


def corpus_of(**sizes: int) -> Corpus:
    clips = [Clip(f"{split}{k}", Path("x"), split, ("a",)) for split, size in sizes.items() for k in range(size)]  # type: ignore[arg-type]
    return Corpus("some", tuple(clips))


def test_a_trial_keeps_every_split_and_its_share() -> None:
    chosen = limited(corpus_of(train=60, validation=5, test=35), 20)
    assert [len(chosen.split(split)) for split in ("train", "validation", "test")] == [12, 1, 7]
    assert limited(corpus_of(train=60, validation=5, test=35), 20) == chosen
    assert limited(corpus_of(train=2, test=1), 3) == corpus_of(train=2, test=1)
    assert [clip.id for clip in limited(corpus_of(train=4, test=4), 4).clips] == ["train0", "train2", "test0", "test2"]
    error = error_of(CorpusError, limited, corpus_of(train=60, validation=5, test=35), 2)
    assert error == "--data 2: some has clips in 3 splits. Give at least 3."


def test_the_digest_tells_captions_and_splits_apart() -> None:
    a = Clip("a", Path("x"), "train", ("one", "two"))
    others = [
        Clip("b", a.path, "train", a.captions),
        Clip("a", a.path, "test", a.captions),
        Clip("a", a.path, "train", ("one",)),
    ]
    digests = {clips_digest([clip]) for clip in (a, *others)}
    assert len(digests) == 4
    assert clips_digest([Clip("a", Path("elsewhere"), "train", a.captions)]) in digests


@pytest.fixture
def recipe(make_video: Callable[..., Path], tmp_path: Path) -> Recipe:
    """Four clips in MSR-VTT's layout; video3 has no file."""
    videos = [{"video_id": f"video{k}", "split": split} for k, split in enumerate(("train", "train", "validate", "test"))]
    sentences = [{"video_id": video["video_id"], "caption": "a thing moves"} for video in videos]
    info = {"info": {"name": "small"}, "videos": videos, "sentences": sentences}
    (tmp_path / "videodatainfo.json").write_text(json.dumps(info))
    for k in (0, 1, 2):
        make_video(f"TrainValVideo/video{k}.mp4", frames=4 + k)
    return recipe_from_dict({"corpus": {"kind": "msrvtt", "root": str(tmp_path), "available_only": True}})


def test_a_missing_clip_is_told_and_left_out_and_the_check_is_made_once(recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    decoded: list[str] = []
    out = tmp_path / "out"
    for _ in range(2):
        checked = prepare_corpus(recipe, out, say=told.append, on_progress=lambda done, total, name: decoded.append(name))
    sentence = f"video3: no video file {tmp_path / 'video3.mp4'}, nor one of that name with another suffix."
    assert (checked.problems, told) == ((sentence,), [f"  {sentence}"] * 2)
    assert sorted(decoded) == ["video0", "video1", "video2"]
    assert [clip.id for clip in checked.corpus.clips] == ["video0", "video1", "video2"]
    assert checked.in_all == {"train": 2, "validation": 1, "test": 1}
    (out / "check.json").write_text('{"of": ')  # as if half-written
    assert prepare_corpus(recipe, out, say=told.append).corpus == checked.corpus
    (tmp_path / "TrainValVideo/video1.mp4").write_bytes(b"no video any more")
    assert "video1" in prepare_corpus(recipe, out, say=told.append).problems[-1]


def test_a_clip_with_stored_features_needs_no_file(recipe: Recipe, tmp_path: Path) -> None:
    features = recipe.features.model_copy(update={"store": tmp_path / "store"})
    stored = recipe.model_copy(update={"features": features})
    FeatureStore(tmp_path / "store", {"kind": "grid"}).write("video3", VideoFeatures({"grid": torch.ones(1, 1, 1)}))
    told: list[str] = []
    checked = prepare_corpus(stored, tmp_path / "out", stores=existing_stores([stored]), say=told.append)
    assert [clip.id for clip in checked.corpus.clips] == ["video0", "video1", "video2", "video3"]
    assert (checked.problems, told) == ((), [])
    for path in tmp_path.glob("TrainValVideo/*"):
        path.unlink()
    checked = prepare_corpus(stored, tmp_path / "out", stores=existing_stores([stored]), say=told.append)
    assert [clip.id for clip in checked.corpus.clips] == ["video3"]
    assert error_of(CorpusError, prepare_corpus, recipe, tmp_path / "out", say=told.append) == (
        "small: none of 4 clips has a video file or stored features. "
        f"Expected files in {tmp_path}, {tmp_path / 'TrainValVideo'}."
    )


def test_captions_in_another_encoding_stop_everything_before_the_work(recipe: Recipe, tmp_path: Path) -> None:
    captions = tmp_path / "videodatainfo.json"
    captions.write_bytes(captions.read_bytes().replace(b"a thing", b"a caf\xe9", 1))
    with pytest.raises(CorpusError) as caught:
        prepare_corpus(recipe, tmp_path / "out", say=lambda line: None)
    first, finding, last = str(caught.value).splitlines()
    assert first == "1 error in the caption files; nothing was trained:"
    assert finding.startswith(f"  - {captions}, line 1: not UTF-8 (byte 0xe9 at ")
    assert last == f"{tmp_path / 'out' / 'check.json'} lists them all. Correct the files and check them with `stap prepare`."

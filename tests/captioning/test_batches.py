"""Epoch plans, padded batches and reading ahead."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies
from torch import Tensor

from stap.captioning.batches import CaptionedVideos, epoch_plan, read_ahead, read_videos
from stap.corpora.corpus import Clip
from stap.errors import CorpusError, FeatureError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.recipes.settings import TextSettings
from stap.text.rules import TextRules
from stap.text.special_ids import EOS, PAD
from stap.text.vocabulary import Vocabulary


@given(
    counts=strategies.lists(strategies.integers(1, 9), min_size=1, max_size=12),
    batch_size=strategies.integers(1, 6),
    captions_per_video=strategies.integers(1, 5),
    seed=strategies.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_plan_shows_every_caption_once_and_spreads_each_video(
    counts: list[int], batch_size: int, captions_per_video: int, seed: int
) -> None:
    plan = epoch_plan(counts, batch_size, captions_per_video, (seed, 1))
    groups = [group for batch in plan for group in batch]
    for video, count in enumerate(counts):
        mine = [group.captions for group in groups if group.video == video]
        assert len(mine) == -(-count // captions_per_video)
        assert all(len(captions) == captions_per_video for captions in mine)
        shown = Counter(caption for captions in mine for caption in captions)
        assert set(shown) == set(range(count))
        # Only a last group is filled up, and with as many different captions as the video has.
        assert sum(shown.values()) - count < captions_per_video
        assert all(len(set(captions)) == min(captions_per_video, count) for captions in mine)
        per_batch = [sum(group.video == video for group in batch) for batch in plan]
        assert max(per_batch) - min(per_batch) <= 1  # never twice where once is possible
    sizes = [len(batch) for batch in plan]
    assert len(plan) == -(-len(groups) // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_plan_depends_on_its_seed_only() -> None:
    counts = [3, 5, 2, 4, 4]
    assert epoch_plan(counts, 3, 2, (1, 1)) == epoch_plan(counts, 3, 2, (1, 1))
    assert epoch_plan(counts, 3, 2, (1, 1)) != epoch_plan(counts, 3, 2, (1, 2))
    assert epoch_plan(counts, 3, 2, (1, 1)) != epoch_plan(counts, 3, 2, (2, 1))


def test_videos_meet_all_others_in_the_course_of_epochs() -> None:
    met = Counter()
    for epoch in range(200):
        for batch in epoch_plan([1] * 8, 4, 1, (1, epoch)):
            met.update((a.video, b.video) for a in batch for b in batch if a.video < b.video)
    assert len(met) == 28
    assert min(met.values()) > 50  # of 200 * 3 / 7 = 86 expected


def video(frames: int, value: float, regions: int = 2) -> dict[str, Tensor]:
    return {
        "grid": torch.full((frames, regions, 3), value, dtype=torch.float16),
        "times_seconds": torch.arange(float(frames)),
        "motion": torch.tensor([value, -value], dtype=torch.float16),
    }


def store_of(folder: Path, videos: dict[str, dict[str, Tensor]]) -> FeatureStreams:
    """One store that holds two streams, and times that no model is given."""
    store = FeatureStore(folder, {"kind": "made up"})
    for video_id, arrays in videos.items():
        store.write(video_id, VideoFeatures(arrays))
    return FeatureStreams({"grid": store, "motion": store})


def test_streams_are_padded_with_zeros_and_say_so(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"a": video(1, 0.5), "b": video(3, 2.0)})
    batch = read_videos(store.read, ["a", "b"]).to("cpu")
    assert sorted(batch.streams) == ["grid", "motion"]
    grid = torch.zeros(2, 3, 2, 3)
    grid[0, :1], grid[1] = 0.5, 2.0
    assert batch.streams["grid"].dtype == torch.float32
    assert torch.equal(batch.streams["grid"], grid)
    assert torch.equal(batch.streams["motion"], torch.tensor([[0.5, -0.5], [2.0, -2.0]]))
    assert torch.equal(batch.is_padding["grid"], torch.tensor([[False, True, True], [False, False, False]]))
    assert list(batch.is_padding) == ["grid"]
    assert batch.video_numbers.tolist() == [0, 1]


def test_every_sequence_has_a_length_of_its_own(tmp_path: Path) -> None:
    """STAT's streams: each is padded to its own longest video, from a store of its own."""
    sizes = {"frames": (6,), "motion": (5,), "regions": (2, 4)}
    lengths = {"a": {"frames": 3, "motion": 1, "regions": 2}, "b": {"frames": 1, "motion": 4, "regions": 2}}
    stores = {name: FeatureStore(tmp_path, {"kind": name, "feature_size": size[-1]}) for name, size in sizes.items()}
    arrays = {
        video_id: {name: torch.randn(count, *sizes[name]) for name, count in counts.items()}
        for video_id, counts in lengths.items()
    }
    for video_id, streams in arrays.items():
        for name, array in streams.items():
            stores[name].write(video_id, VideoFeatures({name: array, "times_seconds": torch.arange(float(len(array)))}))
    batch = read_videos(FeatureStreams(stores).read, ["a", "b"])
    assert sorted(batch.streams) == sorted(batch.is_padding) == sorted(sizes)
    for name, size in sizes.items():
        longest = max(counts[name] for counts in lengths.values())
        assert batch.streams[name].shape == (2, longest, *size)
        for row, video_id in enumerate("ab"):
            count = lengths[video_id][name]
            assert torch.equal(batch.streams[name][row, :count], arrays[video_id][name])
            assert not batch.streams[name][row, count:].any()
            assert batch.is_padding[name][row].tolist() == [False] * count + [True] * (longest - count)


def test_a_vector_beside_a_sequence_is_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {"kind": "motion", "feature_size": 5})
    store.write("a", VideoFeatures({"motion": torch.ones(5)}))
    store.write("b", VideoFeatures({"motion": torch.ones(5, 5)}))
    with pytest.raises(FeatureError) as caught:
        read_videos(FeatureStreams({"motion": store}).read, ["a", "b"])
    assert str(caught.value) == (
        "b: stream motion has the shape (5, 5), but (5,) in a; expected the same sizes in all videos of a store but for the number of "
        "frames. Make the features again."
    )


def test_captions_follow_their_video(tmp_path: Path) -> None:
    store = store_of(tmp_path, {name: video(2, 1 + number) for number, name in enumerate("abc")})
    clips = [
        Clip("a", Path("a.mp4"), "train", ("red", "red red red", "!")),
        Clip("b", Path("b.mp4"), "train", ("...",)),
        Clip("c", Path("c.mp4"), "train", ("blue blue", "blue", "green")),
    ]
    vocabulary = Vocabulary.build(caption for clip in clips for caption in clip.captions)
    red, blue, green = (vocabulary.words.index(word) for word in ("red", "blue", "green"))
    videos = CaptionedVideos(clips, vocabulary, store, TextRules(TextSettings(max_words=2)))
    assert videos.video_ids == ["a", "c"]
    [groups] = videos.epoch(batch_size=4, captions_per_video=3, seed=(1, 1))
    batch, captions = videos.batch(groups)
    assert captions.captions_per_video == 3
    assert sorted(batch.video_numbers.tolist()) == [0, 1]
    expected = {
        0: {(red, EOS, PAD), (red, red, EOS)},  # cut after two words; one of the two is there twice
        1: {(blue, blue, EOS), (blue, EOS, PAD), (green, EOS, PAD)},
    }
    for row, number in enumerate(batch.video_numbers.tolist()):
        assert bool((batch.streams["grid"][row] == 1 + 2 * number).all())
        assert {tuple(words) for words in captions.words[3 * row : 3 * row + 3].tolist()} == expected[number]


def test_clips_without_words_are_refused(tmp_path: Path) -> None:
    clips = [Clip("a", Path("a.mp4"), "train", ("...",))]
    with pytest.raises(CorpusError) as caught:
        CaptionedVideos(clips, Vocabulary.build(["a"]), store_of(tmp_path, {}), TextRules(TextSettings(max_words=2)))
    assert str(caught.value) == "none of the 1 clips has a caption with words. Check the corpus folder and its splits."


def test_features_of_other_sizes_are_refused(tmp_path: Path) -> None:
    without_motion = {name: array for name, array in video(2, 1).items() if name != "motion"}
    store = store_of(tmp_path, {"a": video(2, 1), "b": video(2, 1, regions=4), "c": without_motion})
    for other, message in {
        "b": "b: stream grid has the shape (2, 4, 3), but (2, 2, 3) in a; expected the same sizes in all videos of a store but for the "
        "number of frames. Make the features again.",
        "c": f"c: {store.stores['motion'].folder} holds grid (2, 2, 3), times_seconds (2,) of it, and no stream 'motion'. "
        "Run `stap extract` with the same recipe first.",
    }.items():
        with pytest.raises(FeatureError) as caught:
            read_videos(store.read, ["a", other])
        assert str(caught.value) == message


def test_read_ahead_keeps_the_order_and_works_in_another_thread() -> None:
    threads = set()

    def make(item: int) -> int:
        threads.add(threading.current_thread().name)
        return item * item

    assert list(read_ahead(make, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert threading.current_thread().name not in threads
    assert list(read_ahead(make, [])) == []


def test_read_ahead_stays_a_few_items_ahead() -> None:
    made: list[int] = []
    items = read_ahead(made.append, range(100), depth=2)
    next(items)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    items.close()
    assert len(made) <= 4


def test_errors_come_through_read_ahead_in_their_place() -> None:
    def make(item: int) -> int:
        if item == 2:
            raise FeatureError("damaged")
        return item

    items = read_ahead(make, range(5))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(FeatureError, match=r"^damaged$"):
        next(items)

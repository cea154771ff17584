"""Padded batches and reading ahead."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raising import error_of
from stap.captioning.batches import read_ahead, read_videos
from stap.errors import FeatureError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams


def video(frames: int, value: float, regions: int = 2) -> dict[str, Tensor]:
    return {
        "grid": torch.full((frames, regions, 3), value, dtype=torch.float16),
        "times_seconds": torch.arange(float(frames)),
        "motion": torch.tensor([value, -value], dtype=torch.float16),
    }


def store_of(folder: Path, videos: dict[str, dict[str, Tensor]]) -> FeatureStreams:
    """Two streams, and times that no model is given."""
    stores = {name: FeatureStore(folder, {"kind": name, "feature_size": size}) for name, size in (("grid", 3), ("motion", 2))}
    for video_id, arrays in videos.items():
        for store in stores.values():
            store.write(video_id, VideoFeatures(arrays))
    return FeatureStreams(stores)


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
    assert error_of(FeatureError, read_videos, FeatureStreams({"motion": store}).read, ["a", "b"]) == (
        "b: stream motion has the shape (5, 5), but (5,) in a; expected the same sizes in all videos of a store, except for the number of "
        "frames. Extract the features again."
    )


def test_features_of_other_sizes_are_refused(tmp_path: Path) -> None:
    without_motion = {name: array for name, array in video(2, 1).items() if name != "motion"}
    store = store_of(tmp_path, {"a": video(2, 1), "b": video(2, 1, regions=4), "c": without_motion})
    for other, message in {
        "b": "b: stream grid has the shape (2, 4, 3), but (2, 2, 3) in a; expected the same sizes in all videos of a store, except for the "
        "number of frames. Extract the features again.",
        "c": f"c: {store.stores['motion'].folder} holds grid (2, 2, 3), times_seconds (2,) of it, and no stream 'motion'. "
        "Run `stap extract` with the same recipe first.",
    }.items():
        assert error_of(FeatureError, read_videos, store.read, ["a", other]) == message


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

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from raising import error_of
from stap.errors import FeatureError, VideoError
from stap.features.extract import ExtractionReport, extract
from stap.features.grid import GridExtractor, PreparedVideo
from stap.features.store import FeatureStore, VideoFeatures
from stap.recipes.settings import FeatureSettings, VideoLimits
from stap.recipes.streams import StreamSpec


class CountingExtractor:
    """Stands in for GridExtractor: frames are the number in the file's name, features tell the file, calls are counted."""

    spec = StreamSpec("grid", 3)
    weights_file = None
    limits = VideoLimits()
    images_per_call, shares_calls = 10, True
    has_random_weights = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[int] = []
        self.read_names: list[str] = []
        self.taken = 0  # videos that the network has been given
        self.most_waiting = 0
        self._seconds, self._lock = seconds, threading.Lock()

    def extract(self, path: Path) -> VideoFeatures:
        return self.finish(self.read(path), name=str(path))

    def finish(self, video: PreparedVideo, *, name: str) -> VideoFeatures:
        return self.package(self(self.normalise(video.images_uint8)), video, name=name)

    def read(self, path: Path, *, threads: int | None = None) -> PreparedVideo:
        if path.stem.startswith("bad"):
            raise VideoError(f"{path.name}: no frame could be decoded.")
        if path.stem.startswith("odd"):
            raise ZeroDivisionError("inside the decoder")
        time.sleep(self._seconds)
        with self._lock:
            self.read_names.append(path.name)
            self.most_waiting = max(self.most_waiting, len(self.read_names) - self.taken)
        count = int(path.stem)
        images = torch.full((count, 1, 1, 3), count, dtype=torch.uint8)
        return PreparedVideo(images, torch.zeros(count), (f"{path.name}: a warning.",) if count == 7 else ())

    def normalise(self, images_uint8: Tensor) -> Tensor:
        return images_uint8.float()

    def __call__(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return images[:, :, 0, :]

    def package(self, features: Tensor, video: PreparedVideo, *, name: str) -> VideoFeatures:
        self.taken += 1
        if len(features) == 9:
            raise FeatureError(f"{name}: the features are not finite numbers.")
        return VideoFeatures({"grid": features, "times_seconds": video.times_seconds}, video.warnings)


def items(*names: str) -> list[tuple[str, Path]]:
    return [(f"v{name}", Path(f"{name}.mp4")) for name in names]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features", {"kind": "grid"})


def run(todo: Sequence[tuple[str, Path]], extractor: object, store: FeatureStore, **more: object) -> ExtractionReport:
    return extract(todo, extractor, store, **more)  # type: ignore[arg-type]


def test_real_videos_get_the_features_that_each_has_alone(settings: FeatureSettings, clip: Callable[..., Path]) -> None:
    videos = [(f"v{k}", clip(f"{k}.mp4", frames=frames, seed=k)) for k, frames in enumerate([1, 8, 3, 5, 40])]
    extractor = GridExtractor(settings)
    store = FeatureStore(settings.store, extractor.spec.fingerprint)
    report = extract(videos, extractor, store)
    assert (report.written, report.already_there, report.failed) == (5, 0, ())
    assert len(report.warnings) == 1  # of the video with a single frame
    for (video_id, path), frames in zip(videos, [1, 4, 3, 4, 4], strict=True):
        stored, alone = store.read(video_id), extractor.extract(path).arrays
        assert stored["grid"].shape == (frames, 4, 96)
        assert torch.allclose(stored["grid"], alone["grid"], rtol=1e-5, atol=1e-5)
        assert torch.equal(stored["times_seconds"], alone["times_seconds"])
    assert extract(videos, extractor, store) == ExtractionReport(0, 5, (), ())


def test_the_same_run_gives_the_same_bits(settings: FeatureSettings, clip: Callable[..., Path], tmp_path: Path) -> None:
    videos = [(f"v{k}", clip(f"{k}.mp4", frames=3 + k, seed=k)) for k in range(4)]
    extractor = GridExtractor(settings)
    stores = [FeatureStore(tmp_path / name, extractor.spec.fingerprint) for name in "ab"]
    for store, workers in zip(stores, (1, 3), strict=True):
        extract(videos, extractor, store, workers=workers)
    for video_id, _ in videos:
        name = f"{video_id}.safetensors"
        assert (stores[0].folder / name).read_bytes() == (stores[1].folder / name).read_bytes()


def test_on_a_processor_the_bits_of_a_video_depend_on_no_other(
    settings: FeatureSettings, clip: Callable[..., Path], tmp_path: Path
) -> None:
    """ResNet-10-t computes 16 images at once in another order than 4."""
    torch.manual_seed(1)
    weights = tmp_path / "resnet10t.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet10t", pretrained=False).state_dict(), weights)
    extractor = GridExtractor(settings.model_copy(update={"backbone": "resnet10t", "weights": str(weights), "image_size": 96}))
    videos = [(f"v{k}", clip(f"{k}.mp4", height=96, width=128, seed=k)) for k in range(4)]
    store = FeatureStore(settings.store, extractor.spec.fingerprint)
    extract(videos, extractor, store)
    for video_id, path in videos:
        assert torch.equal(store.read(video_id)["grid"], extractor.extract(path).arrays["grid"])


def test_bad_videos_are_listed_and_the_others_stored(store: FeatureStore) -> None:
    seen: list[tuple[int, int, str]] = []
    todo = [*items("1", "bad", "9", "7", "odd", "2"), ("", Path("3.mp4"))]
    report = run(todo, CountingExtractor(), store, on_progress=lambda *call: seen.append(call))
    assert report == ExtractionReport(
        written=3,
        already_there=0,
        failed=(
            ("vbad", "bad.mp4: no frame could be decoded."),
            ("v9", "9.mp4: the features are not finite numbers."),
            ("vodd", "odd.mp4: ZeroDivisionError: inside the decoder"),
            (
                "",
                "'': cannot be a video id in a feature store. Expected 1 to 243 bytes when quoted as a file name, found 0. "
                "Choose another id.",
            ),
        ),
        warnings=("7.mp4: a warning.",),
    )
    assert sorted(store.video_ids()) == ["v1", "v2", "v7"]
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert {total for _, total, _ in seen} == {7}
    assert sorted(video_id for _, _, video_id in seen) == sorted(video_id for video_id, _ in todo)


def test_short_videos_share_a_call_and_none_is_mixed_up(store: FeatureStore) -> None:
    extractor = CountingExtractor()
    run(items("3", "4", "2", "5", "25", "1", "6"), extractor, store)
    assert extractor.calls == [9, 5, 25, 7]
    for count in (3, 4, 2, 5, 25, 1, 6):
        grid = store.read(f"v{count}")["grid"]
        assert len(grid) == count
        assert bool((grid == count).all())


def test_what_is_there_is_left_alone_and_what_is_damaged_made_again(store: FeatureStore) -> None:
    run(items("1", "2", "3"), CountingExtractor(), store)
    (store.folder / "v2.safetensors").write_bytes(b"half")
    extractor, seen = CountingExtractor(), []
    report = run(items("1", "2", "3", "4"), extractor, store, on_progress=lambda *call: seen.append(call))
    assert (report.written, report.already_there) == (2, 2)
    assert sorted(extractor.read_names) == ["2.mp4", "4.mp4"]
    assert seen == [(1, 4, "v1"), (2, 4, "v3"), (3, 4, "v2"), (4, 4, "v4")]


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, force = [], os.fsync

    def full_after_two_videos(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:  # two for each file, its own and the folder's: extractor.json and two videos
            raise OSError(errno.ENOSPC, "No space left on device")
        force(descriptor)

    extractor = CountingExtractor()
    todo = [(f"v{k}", Path("10.mp4")) for k in range(40)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_after_two_videos)
        with pytest.raises(FeatureError) as caught:
            run(todo, extractor, store)
    assert str(caught.value) == (
        f"{store.folder}/v2.safetensors: cannot be written (No space left on device). "
        "What was there before is kept; make room or choose another folder, and run again."
    )
    assert len(extractor.read_names) < 15  # it did not go on decoding
    assert sorted(path.name for path in store.folder.iterdir()) == ["extractor.json", "v0.safetensors", "v1.safetensors"]
    assert run(todo, CountingExtractor(), store) == ExtractionReport(38, 2, (), ())


def test_an_interrupted_run_is_finished_by_the_next(store: FeatureStore) -> None:
    todo = [(f"v{k}", Path("10.mp4")) for k in range(30)]

    def interrupt(done: int, total: int, video_id: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(todo, CountingExtractor(0.001), store, on_progress=interrupt)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:  # nothing waits for a decoder that is at work
        time.sleep(0.01)
    assert threading.active_count() == before
    assert sorted(store.video_ids()) == ["v0", "v1", "v2"]
    assert not list(store.folder.glob("*.tmp"))
    assert run(todo, CountingExtractor(), store).written == 27


def test_memory_is_bounded_when_the_network_is_slow(store: FeatureStore) -> None:
    class SlowNetwork(CountingExtractor):
        def __call__(self, images: Tensor) -> Tensor:
            time.sleep(0.005)
            return super().__call__(images)

    extractor = SlowNetwork()
    run([(f"v{k}", Path("10.mp4")) for k in range(40)], extractor, store, workers=2)
    assert 3 <= extractor.most_waiting <= 3 * 2 + 2  # those ahead, one in the network, and one that begins the next call


def test_an_id_given_twice_is_refused_before_any_work(store: FeatureStore) -> None:
    extractor = CountingExtractor()
    assert (
        error_of(FeatureError, run, [("v", Path("1.mp4")), ("v", Path("2.mp4"))], extractor, store)
        == "'v' is given twice, for 1.mp4 and 2.mp4. Give every video its own id, once."
    )
    assert extractor.read_names == []


def test_nothing_to_do(store: FeatureStore) -> None:
    assert run([], CountingExtractor(), store) == ExtractionReport(0, 0, (), ())


def test_random_weights_are_refused(store: FeatureStore) -> None:
    extractor = CountingExtractor()
    extractor.has_random_weights = True
    assert error_of(FeatureError, run, items("1"), extractor, store) == (
        "features.weights is 'random', and such features mean nothing. Give 'pretrained' or a weights file."
    )

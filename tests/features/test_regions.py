from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import get_model_weights
from torchvision.models.detection import FasterRCNN, faster_rcnn
from torchvision.ops import box_iou, roi_align

from raising import error_of
from stap.captioning.batches import read_videos
from stap.errors import CheckpointError, FeatureError
from stap.features.networks.faster_rcnn import build_detector
from stap.features.regions import DecodedVideo, RegionExtractor, category_name
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams
from stap.recipes.settings import RegionSettings
from stap.recipes.streams import differences
from stap.video import sample_frames

SMALL, LARGE = "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn"
# Finest and coarsest level that regions are pooled from, as powers of two, and the names of the maps.
LEVELS = {SMALL: (5, 5), LARGE: (2, 5)}


def write_detector(path: Path, name: str) -> Path:
    """A detector with the true names and shapes and random weights under which pictures are told apart and boxes are scored."""
    torch.manual_seed(1)
    detector = getattr(faster_rcnn, name)(weights=None, weights_backbone=None)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of the pictures below
    with torch.no_grad():
        detector.backbone.body(torch.randn(4, 3, 96, 128))
        torch.nn.init.normal_(detector.roi_heads.box_predictor.cls_score.weight, std=0.03)
    torch.save(detector.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("detector") / "detector.pth", SMALL)


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """Each detector is built once for all tests, and given to the next as it was."""
    built: dict[tuple[str, str], FasterRCNN] = {}

    def build(name: str, weights: str) -> FasterRCNN:
        if (name, weights) not in built:
            built[name, weights] = build_detector(name, weights)
        built[name, weights].transform.min_size = (320,) if name == SMALL else (800,)
        return built[name, weights]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stap.features.regions.build_detector", build)
        yield


def changed(settings: RegionSettings, **fields: object) -> RegionSettings:
    return settings.model_copy(update=fields)


@pytest.fixture
def settings(detector_file: Path) -> RegionSettings:
    return RegionSettings(
        detector=SMALL, weights=str(detector_file), frames=3, regions=4, min_score=0.02, image_size=96, stored_as="float32"
    )


@pytest.fixture
def video(clip: Callable[..., Path]) -> Path:
    return clip("a.mp4", frames=8, height=64, width=96)


def test_arrays_of_a_video(settings: RegionSettings, video: Path) -> None:
    extractor = RegionExtractor(settings)
    arrays = extractor.extract(video).arrays
    assert extractor.spec.stream == "regions"
    assert {name: (tuple(array.shape), array.dtype) for name, array in arrays.items()} == {
        "regions": ((3, 4, 1024), torch.float32),
        "boxes": ((3, 4, 4), torch.float32),
        "labels": ((3, 4), torch.int32),
        "scores": ((3, 4), torch.float32),
        "region_is_padding": ((3, 4), torch.bool),
        "times_seconds": ((3,), torch.float32),
    }
    boxes = arrays["boxes"][~arrays["region_is_padding"]]
    assert len(boxes) > 4
    assert bool((boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, 2:] > boxes[:, :2]).all())
    assert bool((arrays["scores"].diff(dim=1) <= 0).all())
    assert bool((arrays["labels"][~arrays["region_is_padding"]] > 0).all())
    assert not arrays["regions"].is_inference()


@pytest.mark.parametrize("name", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_features_are_the_box_head_of_the_boxes_that_are_returned(
    settings: RegionSettings, video: Path, tmp_path: Path, name: str
) -> None:
    """Again with plain roi_align on the level of the pyramid that its paper's formula names (Lin et al. 2017, equation 1)."""
    weights = write_detector(tmp_path / "detector.pth", name)
    extractor = RegionExtractor(changed(settings, detector=name, weights=str(weights), min_score=0.0))
    arrays = extractor.extract(video).arrays
    detector = build_detector(name, str(weights))
    images = extractor.read(video).images_uint8.permute(0, 3, 1, 2).float() / 255
    _, _, height, width = images.shape
    assert (height, width) == (96, 144)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    padded = torch.zeros(3, 3, 96, 160)  # to multiples of 32
    padded[:, :, :, :144] = (images - mean) / std
    lowest, highest = LEVELS[name]
    with torch.no_grad():
        maps = detector.backbone(padded)
        for t, n in np.ndindex(3, 4):
            box = arrays["boxes"][t, n] * torch.tensor([width, height, width, height])
            side = float(((box[2] - box[0]) * (box[3] - box[1])).sqrt())
            level = int(np.clip(np.floor(4 + np.log2(side / 224) + 1e-6), lowest, highest))
            pooled = roi_align(
                maps[str(level - lowest)][t : t + 1], [box[None]], 7, spatial_scale=2.0**-level, sampling_ratio=2
            )
            expected = detector.roi_heads.box_head(pooled)[0]
            assert torch.allclose(arrays["regions"][t, n], expected, rtol=1e-3, atol=1e-4), (t, n)
    assert not arrays["region_is_padding"].any()
    assert float(arrays["regions"].std(dim=(0, 1)).mean()) > 0.01  # regions differ


@pytest.mark.parametrize(("height", "width"), [(64, 96), (16, 160)])
@pytest.mark.slow
def test_boxes_labels_and_scores_are_the_detectors_own(
    settings: RegionSettings, clip: Callable[..., Path], height: int, width: int
) -> None:
    """The detector called as torchvision documents it; duplicates taken out by plain loops over its answer.

    The second video is 960 pixels wide at its short side of 96, and the detector takes 640: it scales once more.
    """
    video = clip("a.mp4", frames=8, height=height, width=width)
    extractor = RegionExtractor(changed(settings, min_score=0.0, duplicate_overlap=0.3))
    arrays = extractor.extract(video).arrays
    detector = build_detector(SMALL, settings.weights)
    detector.transform.min_size, detector.roi_heads.score_thresh, detector.roi_heads.detections_per_img = (96,), 0.0, 1000
    images = extractor.read(video).images_uint8.permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        detections = detector(list(images))
    duplicates = 0
    for t, found in enumerate(detections):
        kept: list[int] = []
        for place in range(len(found["scores"])):
            overlaps = box_iou(found["boxes"][place : place + 1], found["boxes"][kept])
            if len(kept) < 4 and not bool((overlaps > 0.3).any()):
                kept.append(place)
            elif len(kept) < 4:
                duplicates += 1
        assert arrays["labels"][t].tolist() == found["labels"][kept].tolist()
        assert torch.allclose(arrays["scores"][t], found["scores"][kept])
        right, bottom = 96 * width / height, 96
        assert torch.allclose(
            arrays["boxes"][t], found["boxes"][kept] / torch.tensor([right, bottom, right, bottom]), atol=1e-5
        )
    assert duplicates > 0 or width == 160


def test_fewer_regions_than_places_are_padding(settings: RegionSettings, video: Path) -> None:
    scores = RegionExtractor(changed(settings, min_score=0.0)).extract(video).arrays["scores"]
    threshold = float(scores.flatten().sort().values[5])  # of the 12 regions, six have a higher score
    arrays = RegionExtractor(changed(settings, min_score=threshold)).extract(video).arrays
    padding = arrays["region_is_padding"]
    assert int((~padding).sum()) == 6
    assert torch.equal(arrays["scores"], torch.where(scores > threshold, scores, 0.0))
    assert padding.tolist() == [sorted(row) for row in padding.tolist()]  # padding comes last
    assert all(not arrays[name][padding].any() for name in ("regions", "boxes", "labels", "scores"))
    assert arrays["regions"][~padding].any(dim=1).all()


def test_a_video_without_any_region_is_an_error_that_names_it(settings: RegionSettings, video: Path) -> None:
    assert error_of(FeatureError, RegionExtractor(changed(settings, min_score=0.99999)).extract, video) == (
        f"{video}: no region was detected in any of its 3 frames (scores above 0.99999 count). "
        "Lower regions.min_score, or leave the video out."
    )


def test_frames_are_sampled_as_the_grid_s(settings: RegionSettings, video: Path) -> None:
    extractor = RegionExtractor(settings)
    read, frames = extractor.read(video), sample_frames(video, 3, short_side=96)
    assert np.array_equal(read.images_uint8.numpy(), frames.rgb_uint8)
    assert read.times_seconds.tolist() == frames.times_seconds.tolist()
    ended = extractor.finish(DecodedVideo(read.images_uint8, read.times_seconds, ("a warning.",)), name="a.mp4")
    assert ended.warnings == ("a warning.",)


def test_a_frame_does_not_depend_on_the_others(settings: RegionSettings, video: Path) -> None:
    extractor = RegionExtractor(changed(settings, min_score=0.0))
    images = extractor.read(video).images_uint8
    assert extractor.images_per_call < len(images)
    for alone, together in zip((next(iter(extractor(image[None]))) for image in images), extractor(images), strict=True):
        assert torch.allclose(alone.features, together.features, rtol=1e-3, atol=1e-3)
        assert torch.equal(alone.labels, together.labels)


@pytest.mark.slow
def test_a_batch_tells_missing_regions_from_others(settings: RegionSettings, clip: Callable[..., Path], tmp_path: Path) -> None:
    """From two videos through the store to what STAT takes for missing."""
    paths = {
        name: clip(f"{name}.mp4", frames=frames, height=64, width=96, seed=frames) for name, frames in (("a", 8), ("b", 2))
    }
    scores = RegionExtractor(changed(settings, min_score=0.0)).extract(paths["a"]).arrays["scores"]
    threshold = float(scores.flatten().sort().values[4])
    extractor = RegionExtractor(changed(settings, min_score=threshold, stored_as="float16"))
    store = FeatureStore(tmp_path / "store", extractor.spec.fingerprint)
    for name, path in paths.items():
        store.write(name, extractor.extract(path))
    streams = FeatureStreams({"regions": store})
    batch = read_videos(streams.read, ["a", "b"])
    assert batch.streams["regions"].shape == (2, 3, 4, 1024)
    assert batch.is_padding["regions"].tolist() == [[False] * 3, [False, False, True]]
    is_missing = (batch.streams["regions"] == 0).all(dim=-1)
    for row, (name, frames) in enumerate((("a", 3), ("b", 2))):
        assert torch.equal(is_missing[row, :frames], store.read(name)["region_is_padding"])
    assert int(is_missing[0].sum()) == 5


def test_the_detectors_own_size(settings: RegionSettings) -> None:
    assert RegionExtractor(changed(settings, image_size=None)).short_side == 320


@pytest.mark.slow
def test_the_fingerprint_holds_every_setting(settings: RegionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = write_detector(tmp_path / "again.pth", SMALL)
    fingerprint = RegionExtractor(changed(settings, weights=str(again))).spec.fingerprint
    assert RegionExtractor(settings).spec.fingerprint == fingerprint  # the file's name plays no part
    changes = {"frames": 2, "regions": 5, "min_score": 0.5, "duplicate_overlap": 0.5, "image_size": 64, "stored_as": "float16"}
    for name, value in changes.items():
        other = RegionExtractor(changed(settings, **{name: value})).spec.fingerprint
        [difference] = differences(fingerprint, other)
        assert difference.startswith(f"{name}: ")
    assert changes.keys() | {"detector", "weights"} == RegionSettings.model_fields.keys()
    assert fingerprint["kind"] == "regions"


def test_what_is_stored_comes_back(settings: RegionSettings, video: Path, tmp_path: Path) -> None:
    extractor = RegionExtractor(changed(settings, stored_as="float16"))
    features = extractor.extract(video)
    store = FeatureStore(tmp_path / "store", extractor.spec.fingerprint)
    store.write("a", features)
    back = store.read("a")
    assert all(torch.equal(back[name], array) for name, array in features.arrays.items())
    assert back["regions"].dtype == torch.float16


@pytest.mark.slow
def test_pretrained_weights_give_torchvisions_own_detector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: RegionSettings
) -> None:
    """Both from the same bytes, as if they had been fetched; torchvision's builder sets an epsilon that the file does not hold."""
    published = get_model_weights(LARGE).COCO_V1
    state = torch.load(write_detector(tmp_path / "detector.pth", LARGE), weights_only=True)
    state = {name: value.clamp(min=1e-4) if name.endswith("running_var") else value for name, value in state.items()}
    monkeypatch.setattr(type(published), "get_state_dict", lambda self, *args, **kwargs: dict(state))
    monkeypatch.setattr("stap.features.pretrained.socket.getaddrinfo", lambda *args: [])
    theirs = faster_rcnn.fasterrcnn_resnet50_fpn(weights=published).eval()
    ours = build_detector(LARGE, "pretrained")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.backbone(image)["0"]
        assert torch.allclose(ours.backbone(image)["0"], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
        for module in ours.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-5
        assert not torch.allclose(ours.backbone(image)["0"], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
def test_a_detector_of_other_labels(settings: RegionSettings, video: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    path = tmp_path / "four.pth"
    torch.save(
        faster_rcnn.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=4).state_dict(), path
    )
    extractor = RegionExtractor(changed(settings, weights=str(path), min_score=0.0))
    assert extractor.spec.fingerprint["labels"] == 4
    assert set(extractor.extract(video).arrays["labels"].flatten().tolist()) <= {1, 2, 3}
    assert (category_name(3, 4), category_name(1, 91), category_name(18, 91)) == ("label 3", "person", "dog")


def test_weights_of_another_network(settings: RegionSettings, detector_file: Path, resnet_weights: Path) -> None:
    assert error_of(CheckpointError, RegionExtractor, changed(settings, weights=str(resnet_weights))) == (
        f"{resnet_weights}: these are no weights of a Faster R-CNN: roi_heads.box_predictor.cls_score.bias is missing. "
        "Check regions.weights."
    )
    with pytest.raises(CheckpointError) as caught:
        RegionExtractor(changed(settings, detector=LARGE))
    assert str(caught.value).startswith(
        f"{detector_file}: these weights do not fit fasterrcnn_resnet50_fpn: missing: backbone.body.bn1"
    )
    assert str(caught.value).endswith(" more. Check regions.detector.")


def test_features_that_cannot_be_stored(settings: RegionSettings, clip: Callable[..., Path]) -> None:
    one_frame = clip("a.mp4", frames=1)
    extractor = RegionExtractor(changed(settings, min_score=0.0, stored_as="float16"))
    head = extractor.detector.roi_heads.box_head
    for value, problem in [
        (70000.0, "the largest feature of its regions is 70000, and float16 ends at 65504. Use regions.stored_as=float32."),
        (float("nan"), "the features of its regions are not finite numbers. Check the detector's weights."),
        (
            0.0,
            "the features of a region are 0 everywhere, as only those of a missing one may be. Check the detector's weights.",
        ),
    ]:
        calls = iter((False, True))  # the detector's own call of its head, and the one for the features
        hook = head.register_forward_hook(lambda _, __, out: torch.full_like(out, value) if next(calls) else out)  # noqa: B023
        with pytest.raises(FeatureError) as caught:
            extractor.finish(extractor.read(one_frame), name="a.mp4")
        hook.remove()
        assert str(caught.value) == f"a.mp4: {problem}"

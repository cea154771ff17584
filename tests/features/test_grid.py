from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

from raising import error_of
from stap.errors import CheckpointError, ConfigError, FeatureError, ShapeError, VideoError
from stap.features.grid import GridExtractor, PreparedVideo
from stap.recipes.settings import FeatureSettings
from stap.video import Frames, sample_frames


def changed(settings: FeatureSettings, **fields: object) -> FeatureSettings:
    return settings.model_copy(update=fields)


def frames_of(rgb_uint8: np.ndarray) -> Frames:
    return Frames(np.ascontiguousarray(rgb_uint8), np.arange(len(rgb_uint8), dtype=float), float(len(rgb_uint8)))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def prepared(count: int) -> PreparedVideo:
    return PreparedVideo(torch.zeros(count, 64, 64, 3, dtype=torch.uint8), torch.arange(float(count)), ("a warning.",))


def test_preprocessing_is_crop_and_scaling_pixel_by_pixel(settings: FeatureSettings) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    extractor = GridExtractor(changed(settings, mean=mean, std=std, crop=0.8))
    assert extractor.short_side == 80
    rgb = noise(2, 80, 101, 3)
    images = extractor.normalise(extractor.cropped(frames_of(rgb)))
    assert (images.shape, images.dtype) == ((2, 3, 64, 64), torch.float32)
    top, left = 8, 18  # (80 - 64) / 2 and (101 - 64) / 2, rounded to even
    for t, channel, y, x in [(0, 0, 0, 0), (1, 2, 63, 63), (0, 1, 5, 40), (1, 0, 62, 1)]:
        expected = (float(rgb[t, top + y, left + x, channel]) / 255 - mean[channel]) / std[channel]
        assert float(images[t, channel, y, x]) == pytest.approx(expected, abs=1e-6)


def test_preprocessing_agrees_with_timms_own(settings: FeatureSettings) -> None:
    extractor = GridExtractor(changed(settings, crop=None))
    side = extractor.short_side
    assert side == 67  # 64 / 0.95, rounded down
    transform = timm.data.create_transform((3, 64, 64), crop_pct=0.95, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    for height, width in [(side, side + 21), (side + 8, side)]:
        rgb = noise(1, height, width, 3)  # its shorter side is already what both resize to
        expected = transform(Image.fromarray(rgb[0]))
        assert torch.allclose(extractor.normalise(extractor.cropped(frames_of(rgb)))[0], expected, atol=1e-5)


def test_a_video_that_already_has_the_size_is_not_resampled(settings: FeatureSettings, clip: Callable[..., Path]) -> None:
    path = clip("a.mp4", height=64, width=64)
    video = GridExtractor(settings).read(path)
    assert np.array_equal(video.images_uint8.numpy(), sample_frames(path, 4).rgb_uint8)


def test_frames_of_another_size_are_refused(settings: FeatureSettings) -> None:
    assert error_of(ShapeError, GridExtractor(settings).cropped, frames_of(noise(1, 50, 80, 3))) == (
        "Frames of 80x50 pixels were given, the shorter side should be 64. "
        "Sample them with sample_frames(path, 4, short_side=64)."
    )


def test_features_are_the_networks_last_map(settings: FeatureSettings, resnet_weights: Path) -> None:
    extractor = GridExtractor(settings)
    network = timm.create_model("test_resnet", pretrained=False).eval()
    network.load_state_dict(safetensors.torch.load_file(resnet_weights))
    images = extractor.normalise(extractor.cropped(frames_of(noise(3, 64, 64, 3))))
    with torch.no_grad():
        last = network.forward_features(images)  # (3, 96, 2, 2)
    found = extractor(images)
    assert (extractor.grid_size, extractor.feature_size, found.shape) == ((2, 2), 96, (3, 4, 96))
    assert torch.allclose(found, torch.stack([last[:, :, y, x] for y in range(2) for x in range(2)], 1), atol=1e-5)
    assert float(found.std()) > 0.1


def test_results_do_not_depend_on_the_batch(settings: FeatureSettings) -> None:
    extractor = GridExtractor(settings)
    images = torch.randn(extractor.images_per_call + 2, 3, 64, 64)
    together = extractor(images)
    assert torch.allclose(
        torch.cat([extractor(part) for part in images.split([1, 2, 3, 4, 24])]), together, rtol=1e-5, atol=1e-5
    )
    assert torch.allclose(extractor(images.flip(0)).flip(0), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stored_as", ["float16", "float32"])
def test_a_video_becomes_grid_and_times(settings: FeatureSettings, clip: Callable[..., Path], stored_as: str) -> None:
    features = GridExtractor(changed(settings, stored_as=stored_as)).extract(clip("a.mp4", frames=8))
    grid, times = features.arrays["grid"], features.arrays["times_seconds"]
    assert (grid.shape, grid.dtype, grid.device.type) == ((4, 4, 96), getattr(torch, stored_as), "cpu")
    assert (times.tolist(), times.dtype) == ([0.125, 0.375, 0.625, 0.875], torch.float32)
    assert not grid.is_inference()  # models may be trained on it
    assert features.warnings == ()


def test_one_frame_and_a_file_that_is_no_video(settings: FeatureSettings, clip: Callable[..., Path], tmp_path: Path) -> None:
    extractor = GridExtractor(settings)
    features = extractor.extract(clip("one.mp4", frames=1))
    assert features.arrays["grid"].shape == (1, 4, 96)
    assert len(features.warnings) == 1
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError):
        extractor.extract(tmp_path / "text.mp4")


def test_values_beyond_float16_are_an_error_not_infinity(settings: FeatureSettings) -> None:
    grid = torch.zeros(2, 4, 96)
    grid[1, 2, 3] = -70000
    half, full = GridExtractor(changed(settings, stored_as="float16")), GridExtractor(settings)
    assert error_of(FeatureError, half.package, grid, prepared(2), name="clip.mp4") == (
        "clip.mp4: the largest feature is 70000, and float16 ends at 65504. Use features.stored_as=float32."
    )
    assert full.package(grid, prepared(2), name="clip.mp4").arrays["grid"][1, 2, 3] == -70000
    assert half.package(grid.clamp(-65504), prepared(2), name="clip.mp4").arrays["grid"][1, 2, 3] == -65504
    assert half.package(grid.clamp(-1), prepared(2), name="clip.mp4").warnings == ("a warning.",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_numbers_are_an_error(settings: FeatureSettings, value: float) -> None:
    grid = torch.zeros(2, 4, 96)
    grid[0, 0, 0] = value
    assert error_of(FeatureError, GridExtractor(settings).package, grid, prepared(2), name="clip.mp4") == (
        "clip.mp4: the features are not finite numbers. Check the weights, or use features.precision=float32."
    )


def test_bfloat16_is_close_and_not_the_same(settings: FeatureSettings) -> None:
    images = torch.randn(2, 3, 64, 64)
    exact, rounded = GridExtractor(settings)(images), GridExtractor(changed(settings, precision="bfloat16"))(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).norm() / exact.norm()) < 0.02


def test_the_fingerprint_says_how_features_are_made(settings: FeatureSettings) -> None:
    extractor = GridExtractor(settings)
    expected = {
        "kind": "grid",
        "backbone": "test_resnet",
        "backbone_options": {},
        "weights_sha256": extractor.spec.fingerprint["weights_sha256"],
        "layer": "last map",
        "image_size": 64,
        "crop": 1.0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "frames": 4,
        "sampling": "uniform presentation time",
        "precision": "float32",
        "stored_as": "float32",
        "grid": [2, 2],
        "feature_size": 96,
    }
    assert extractor.spec.fingerprint == expected
    assert json.loads(json.dumps(extractor.spec.fingerprint)) == expected
    assert len(extractor.spec.fingerprint["weights_sha256"]) == 64
    assert extractor.weights_file == Path(settings.weights)


def test_the_fingerprint_knows_weights_by_content_and_not_by_file(settings: FeatureSettings, tmp_path: Path) -> None:
    weights = safetensors.torch.load_file(settings.weights)
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "w.pth")
    same = GridExtractor(changed(settings, weights=str(tmp_path / "w.pth")))
    assert same.spec.fingerprint == GridExtractor(settings).spec.fingerprint
    weights["conv1.0.weight"][0, 0, 0, 0] += 1e-6
    torch.save(weights, tmp_path / "w.pth")
    other = GridExtractor(changed(settings, weights=str(tmp_path / "w.pth")))
    assert [key for key, value in other.spec.fingerprint.items() if value != same.spec.fingerprint[key]] == ["weights_sha256"]


def test_the_backbones_own_image_size_and_crop(settings: FeatureSettings) -> None:
    extractor = GridExtractor(changed(settings, image_size=None, crop=None))
    assert (extractor.image_size, extractor.crop, extractor.short_side) == (160, 0.95, 168)
    assert extractor.grid_size == (5, 5)


def test_settings_that_cannot_work(settings: FeatureSettings) -> None:
    with pytest.raises(ConfigError):
        GridExtractor(changed(settings, backbone="test_resnett"))
    assert error_of(CheckpointError, GridExtractor, changed(settings, backbone="test_convnext")).startswith(
        f"{settings.weights}: these weights do not fit test_convnext: missing: "
    )


def test_random_weights_are_said_to_be_random(settings: FeatureSettings) -> None:
    a, b = GridExtractor(changed(settings, weights="random")), GridExtractor(changed(settings, weights="random"))
    assert (a.has_random_weights, a.weights_file) == (True, None)
    assert a.spec.fingerprint["weights_sha256"] != b.spec.fingerprint["weights_sha256"]
    assert not GridExtractor(settings).has_random_weights


def test_a_device_without_enough_memory(settings: FeatureSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    extractor = GridExtractor(settings)
    monkeypatch.setattr(extractor.network, "forward_features", too_large)
    assert error_of(FeatureError, extractor, torch.zeros(1, 3, 64, 64)) == (
        "The memory of cpu does not hold 32 images of 64 pixels in this backbone. "
        "Use features.precision=bfloat16, a smaller features.image_size, or another device."
    )


def test_fewer_images_at_a_time_where_memory_runs_out(
    settings: FeatureSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extractor, images, sizes = GridExtractor(settings), torch.randn(5, 3, 64, 64), []
    expected, forward = extractor(images), extractor.network.forward_features

    def limited(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        if len(part) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
        return forward(part)

    monkeypatch.setattr(extractor.network, "forward_features", limited)
    assert torch.allclose(extractor(images), expected, atol=1e-5)
    assert sizes == [5, 3, 2, 1, 2]
    assert caplog.messages[0] == "memory ran out: computing 3 at a time instead of 5, with the same result"


@pytest.mark.slow
def test_resnet152_at_224_gives_7x7x2048(settings: FeatureSettings, clip: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "resnet152.safetensors"
    with torch.device("meta"):
        weights = timm.create_model("resnet152", pretrained=False).state_dict()
    safetensors.torch.save_file(
        {key: torch.full(value.shape, 0.01, dtype=torch.bfloat16) for key, value in weights.items()}, path
    )
    extractor = GridExtractor(FeatureSettings(weights=str(path), frames=1, stored_as="float32"))
    assert (extractor.spec.fingerprint["backbone"], extractor.short_side) == ("resnet152", 235)
    features = extractor.extract(clip("a.mp4", height=240, width=320))
    assert features.arrays["grid"].shape == (1, 49, 2048)


@pytest.mark.slow
def test_real_videos_through_mobilenet_with_imagenet_weights(stap_data: Path) -> None:
    settings = FeatureSettings(
        backbone="mobilenetv2_100",
        backbone_options={"pad_type": "same"},
        weights=str(stap_data / "backbone" / "mobilenetv2_100_imagenet.safetensors"),
        mean=(128 / 255,) * 3,
        std=(127 / 255,) * 3,
        frames=3,
    )
    extractor = GridExtractor(settings)
    assert (extractor.grid_size, extractor.feature_size) == ((7, 7), 1280)
    clips = [
        *sorted((stap_data / "msvd" / "YouTubeClips").glob("*.avi"))[:2],
        stap_data / "msrvtt" / "TestVideo" / "video7202.mp4",
    ]
    grids = [extractor.extract(path).arrays["grid"] for path in clips]
    assert all(grid.shape == (3, 49, 1280) for grid in grids)
    assert all(grid.min() >= 0 and 5.9 < grid.max() <= 6 for grid in grids)  # it ends with ReLU6
    descriptions = torch.nn.functional.normalize(torch.stack([grid.float().mean(1) for grid in grids]), dim=2)  # (3, 3, 1280)
    alike = torch.einsum("atd,bsd->abts", descriptions, descriptions).mean((2, 3))  # frames of one video are more alike
    assert all(alike[a, a] > alike[a, b] + 0.05 for a in range(3) for b in range(3) if a != b)

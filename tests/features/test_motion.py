"""Motion features: which frames a clip has, what the network is shown, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torchvision.models import get_model_weights

from raising import error_of
from stap.errors import CheckpointError, ConfigError, FeatureError, VideoError
from stap.features import motion
from stap.features.clip_preprocessing import ClipPreprocessing
from stap.features.extract import extract
from stap.features.extractor import TwoStepExtractor
from stap.features.motion import MotionExtractor, choose_clips
from stap.features.motion_networks import C3D_PREPROCESSING, I3D_PREPROCESSING, build_motion_network
from stap.features.networks.torchvision_video import known_networks, sampling_of
from stap.features.store import FeatureStore
from stap.features.streams import check_array
from stap.recipes.settings import MotionSettings

# torchvision's smallest network on small pictures: 0.1 s a clip.
SMALL = MotionSettings(
    network="r3d_18", weights="random", per="clip", frame_rate=8, clip_frames=4, clip_stride=2, resize=32, image_size=32
)


@pytest.fixture(scope="module")
def extractor() -> MotionExtractor:
    torch.manual_seed(0)
    return MotionExtractor(SMALL)


def changed(extractor: MotionExtractor, monkeypatch: pytest.MonkeyPatch, **settings: object) -> MotionExtractor:
    """The same network under other settings, which it need not be built again for."""
    monkeypatch.setattr(extractor, "settings", extractor.settings.model_copy(update=settings))
    return extractor


# --- which frames -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "clip_frames", "stride", "expected"),
    [
        (16, 16, 8, [(0, 16)]),
        (35, 16, 8, [(0, 16), (8, 24), (16, 32)]),  # the last three frames fill no clip
        (10, 3, 4, [(0, 3), (4, 7)]),
        (5, 16, 8, [(0, 16)]),  # too short: one clip, for which the frames are repeated
        (9, None, 1, [(0, 9)]),
        (100, None, 1, [(0, 100)]),
        (101, None, 1, [(0, 50), (50, 101)]),
        (301, None, 1, [(0, 75), (75, 150), (150, 225), (225, 301)]),
    ],
)
def test_the_frames_of_each_clip(count: int, clip_frames: int | None, stride: int, expected: list[tuple[int, int]]) -> None:
    found = choose_clips(count, clip_frames, stride, shortest=clip_frames or 9, longest=100)
    assert [(clip.start, clip.stop) for clip in found] == expected


@pytest.mark.parametrize(("clip_frames", "stride"), [(4, 2), (4, 4), (3, 7), (1, 1), (5, 1)])
def test_clips_are_cut_from_a_stream_as_from_a_list(clip_frames: int, stride: int) -> None:
    frames = torch.arange(40)
    clips = choose_clips(40, clip_frames, stride, shortest=clip_frames, longest=100)
    found = list(motion._cut(iter(frames), clips))
    assert len(found) == len(clips) > 3
    for clip, cut in zip(clips, found, strict=True):
        assert cut.tolist() == list(clip)


def test_a_clip_is_what_the_network_is_shown(
    extractor: MotionExtractor, clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The features of every clip, one by one, from pictures taken by hand."""
    path = clip("a.mp4", frames=9)
    features = extractor.extract(path)
    frames = torch.stack([extractor.network.preprocessing.cropped(picture) for picture in extractor.read(path).stream])
    assert frames.shape == (9, 32, 32, 3)
    expected = torch.cat([extractor(frames[start : start + 4].unsqueeze(0)) for start in (0, 2, 4)])
    found = features.arrays["motion"]
    assert (found.shape, found.dtype, found.is_inference()) == ((3, 512), torch.float32, False)
    assert torch.allclose(found, expected, atol=1e-5)
    assert float((found[0] - found[2]).abs().max()) > 1e-3
    assert features.arrays["times_seconds"].tolist() == pytest.approx(
        [2 / 8, 4 / 8, 6 / 8]
    )  # frames are shown at (k + 0.5) / 8
    assert features.warnings == ()
    video = changed(extractor, monkeypatch, per="video").extract(path)
    assert video.arrays.keys() == {"motion"}
    assert torch.allclose(video.arrays["motion"], expected.mean(0), atol=1e-5)


def test_a_long_video_is_decoded_while_the_network_is_at_work(
    extractor: MotionExtractor, clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("a.mp4", frames=9)
    expected = extractor.extract(path).arrays["motion"]
    assert isinstance(extractor.read(path).frames, list)
    monkeypatch.setattr(motion, "DECODED_AHEAD", 5)
    assert not isinstance(extractor.read(path).frames, list)
    assert torch.equal(extractor.extract(path).arrays["motion"], expected)


def test_a_short_video_is_repeated_and_says_so(extractor: MotionExtractor, clip: Callable[..., Path]) -> None:
    path = clip("short.mp4", frames=3)
    features = extractor.extract(path)
    frames = torch.stack(list(extractor.read(path).frames))
    expected = extractor(frames[[0, 1, 2, 0]].unsqueeze(0))
    assert torch.allclose(features.arrays["motion"], expected, atol=1e-5)
    assert features.warnings == (f"{path}: 3 frames where r3d_18 needs 4; the video is repeated to fill a clip.",)
    path = clip("one.mp4", frames=1)
    assert (
        extractor.extract(path).warnings[-1] == f"{path}: 1 frame where r3d_18 needs 4; the video is repeated to fill a clip."
    )


def test_a_file_that_is_no_video(extractor: MotionExtractor, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError):
        extractor.extract(tmp_path / "text.mp4")


def test_many_videos_into_the_store(
    extractor: MotionExtractor, clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor, "has_random_weights", False)  # which are refused otherwise
    (tmp_path / "text.mp4").write_text("no video")
    items = [("a", clip("a.mp4", frames=9)), ("text", tmp_path / "text.mp4"), ("short", clip("short.mp4", frames=3))]
    store = FeatureStore(tmp_path / "store", extractor.spec.fingerprint)
    report = extract(items, extractor, store)
    assert (report.written, [video_id for video_id, _ in report.failed], len(report.warnings)) == (2, ["text"], 1)
    for video_id, path in (items[0], items[2]):
        expected = extractor.extract(path).arrays
        found = store.read(video_id)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        check_array(found["motion"], extractor.spec, source=video_id, remedy="")


# --- what the network is shown ------------------------------------------------------------------------------------------------


def test_i3d_sees_pixels_from_minus_one_to_one() -> None:
    clip = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 1, 3)
    found = I3D_PREPROCESSING.normalised(clip)
    assert found.shape == (1, 3, 1, 1, 1)
    assert torch.allclose(found.flatten(), torch.tensor([-1, -0.6, 1]))
    assert (I3D_PREPROCESSING.short_side, I3D_PREPROCESSING.image_size) == (256, 224)


def test_c3d_sees_blue_first_less_the_mean() -> None:
    clip = torch.tensor([[[10, 20, 30], [200, 100, 0]]], dtype=torch.uint8).view(1, 1, 1, 2, 3)  # two pixels
    found = C3D_PREPROCESSING.normalised(clip)[0, :, 0, 0]  # (3, 2)
    assert torch.allclose(
        found, torch.tensor([[30 - 90, 0 - 90], [20 - 98, 100 - 98], [10 - 102, 200 - 102]]).float(), atol=1e-4
    )


def test_c3d_with_the_mean_of_every_pixel() -> None:
    cube = torch.rand(3, 16, 128, 171) * 255
    cropped = C3D_PREPROCESSING.cropped_cube(cube)
    assert torch.equal(cropped, cube[:, :, 8:120, 29:141])  # floor((171 - 112) / 2), as in Caffe
    clip = torch.randint(0, 256, (2, 16, 112, 112, 3), dtype=torch.uint8)
    found = C3D_PREPROCESSING.normalised(clip, cropped)
    for n, channel, t, y, x in [(0, 0, 0, 0, 0), (1, 2, 15, 111, 3), (0, 1, 7, 50, 60)]:
        assert float(found[n, channel, t, y, x]) == pytest.approx(
            float(clip[n, t, y, x, 2 - channel]) - float(cropped[channel, t, y, x]), abs=1e-3
        )


def test_pictures_of_another_shape_are_squeezed_and_then_cropped() -> None:
    picture = np.zeros((128, 228, 3), dtype=np.uint8)  # 16:9
    picture[:, :114] = 200
    found = C3D_PREPROCESSING.cropped(picture)
    assert (found.shape, found.dtype) == ((112, 112, 3), torch.uint8)
    assert found[:, :55].eq(200).all()  # the edge was in the middle, at 85.5 of 171, and is now at 56.5 of 112
    assert found[:, 58:].eq(0).all()
    square = ClipPreprocessing(32, 24, (0, 0, 0), (1, 1, 1))
    picture = np.random.default_rng(0).integers(0, 256, (32, 41, 3), dtype=np.uint8)
    assert np.array_equal(square.cropped(picture), picture[4:28, 8:32])


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "mvit_v2_s", "swin3d_t"])
def test_torchvisions_own_transforms(name: str) -> None:
    """On pictures that already have the size to which both resize."""
    network = get_model_weights(name).DEFAULT.transforms()
    own = build_preprocessing(name)
    size = network.resize_size if len(network.resize_size) == 2 else [256, 341]
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    expected = network(torch.from_numpy(pictures).permute(0, 3, 1, 2))  # (3, T, S, S)
    found = own.normalised(torch.stack([own.cropped(picture) for picture in pictures]).unsqueeze(0))[0]
    assert torch.allclose(found, expected, atol=1e-5)


def build_preprocessing(name: str) -> ClipPreprocessing:
    with torch.device("meta"):
        return build_motion_network(MotionSettings(network=name, weights="random")).preprocessing


# --- networks -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_video_goes_through_i3d_in_one_pass(clip: Callable[..., Path]) -> None:
    torch.manual_seed(1)
    extractor = MotionExtractor(MotionSettings(weights="random", resize=200, image_size=193))
    path = clip("a.mp4", frames=4)  # half a second: 12 frames at 25 per second
    features = extractor.extract(path)
    frames = torch.stack(list(extractor.read(path).frames))
    assert frames.shape == (12, 193, 193, 3)
    images = frames.permute(3, 0, 1, 2).unsqueeze(0) / 127.5 - 1
    with torch.no_grad():
        expected = extractor.network.module(images)[0]
    assert features.arrays.keys() == {"motion"}
    assert torch.allclose(features.arrays["motion"], expected, atol=1e-4 * float(expected.abs().max()))
    assert extractor.spec.fingerprint["clip_frames"] == "whole video"


@pytest.mark.slow
def test_bfloat16_rounds_the_features() -> None:
    torch.manual_seed(1)
    extractor = MotionExtractor(MotionSettings(network="r3d_18", weights="random", clip_frames=4, image_size=32))
    clips = torch.randint(0, 256, (1, 4, 32, 32, 3), dtype=torch.uint8)
    expected = extractor(clips)[0]
    extractor.settings = extractor.settings.model_copy(update={"precision": "bfloat16"})
    rounded = extractor(clips)[0]
    assert 0 < float((rounded - expected).norm() / expected.norm()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("mvit_v2_s", marks=pytest.mark.slow), "r2plus1d_18", "s3d", "swin3d_t"])
def test_torchvisions_networks_give_what_their_last_layer_is_given(name: str) -> None:
    torch.manual_seed(2)
    frames, size = {"mvit_v2_s": (16, 224), "s3d": (14, 224)}.get(name, (4, 32))
    network = build_motion_network(
        MotionSettings(network=name, weights="random", clip_frames=max(frames, sampling_of(name).shortest))
    )
    clips = torch.randn(1, 3, frames, size, size)
    with torch.no_grad():
        pooled, logits = network.module(clips, "pool"), network.module(clips, "logits")
    assert (pooled.shape, logits.shape) == ((1, network.feature_size), (1, 400))
    last = [module for module in network.module.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv3d)][-1]
    expected = pooled @ last.weight.flatten(1).T + last.bias
    assert torch.allclose(expected, logits, atol=1e-4)


@pytest.mark.slow
def test_torchvision_weights_from_a_file_with_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = build_motion_network(MotionSettings(network="mc3_18", weights="random")).module.network.state_dict()
    weights["fc.weight"], weights["fc.bias"] = torch.randn(5, 512), torch.randn(5)
    safetensors.torch.save_file(weights, tmp_path / "mc3.safetensors")
    settings = MotionSettings(network="mc3_18", weights=str(tmp_path / "mc3.safetensors"), layer="logits")
    extractor = MotionExtractor(settings)
    assert extractor.spec.fingerprint["feature_size"] == 5
    assert extractor.weights_file == tmp_path / "mc3.safetensors"
    assert torch.equal(extractor.network.module.network.fc.bias, weights["fc.bias"])
    with pytest.raises(CheckpointError) as caught:
        MotionExtractor(settings.model_copy(update={"network": "r3d_18"}))
    assert str(caught.value).startswith(f"{tmp_path}/mc3.safetensors: these weights do not fit r3d_18: of another shape: ")
    assert str(caught.value).endswith(" Check motion.network.")


def test_every_torchvision_network_is_known() -> None:
    assert known_networks() == [
        "mc3_18", "mvit_v1_b", "mvit_v2_s", "r2plus1d_18", "r3d_18", "s3d", "swin3d_b", "swin3d_s", "swin3d_t"
    ]  # fmt: skip
    documented = {name: get_model_weights(name).DEFAULT.meta["_docs"] for name in known_networks()}
    for name, text in documented.items():
        sampling = sampling_of(name)
        assert f"frame_rate={sampling.frame_rate:g}" in text
        assert f"clip_len={sampling.clip_frames}`" in text


# --- the fingerprint and the errors -------------------------------------------------------------------------------------------


def test_the_fingerprint_says_how_features_are_made(extractor: MotionExtractor) -> None:
    expected = {
        "kind": "motion",
        "network": "r3d_18",
        "weights_sha256": extractor.spec.fingerprint["weights_sha256"],
        "layer": "pool",
        "per": "clip",
        "frame_rate": 8.0,
        "sampling": "shown at (k + 0.5) / frame rate",
        "clip_frames": 4,
        "clip_stride": 2,
        "frames_per_pass": None,
        "shorter_videos": "repeated to 4 frames",
        "resize": 32,
        "image_size": 32,
        "crop_rounding": "nearest",
        "mean": [0.43216, 0.394666, 0.37645],
        "std": [0.22803, 0.22145, 0.216989],
        "channel_order": "rgb",
        "interpolation": "bicubic",
        "mean_cube": False,
        "precision": "float32",
        "stored_as": "float32",
        "feature_size": 512,
    }
    assert extractor.spec.fingerprint == expected
    assert json.loads(json.dumps(extractor.spec.fingerprint)) == expected
    assert (extractor.spec.stream, extractor.weights_file, extractor.has_random_weights) == ("motion", None, True)
    assert isinstance(extractor, TwoStepExtractor)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"network": "i3dd"},
            "motion.network: there is no network 'i3dd'; did you mean i3d? Expected one of i3d, c3d, "
            + ", ".join(known_networks())
            + ".",
        ),
        ({"layer": "fc6"}, "motion.layer: i3d has no layer 'fc6'; it has logits, pool."),
        ({"network": "r3d_18", "layer": "fc"}, "motion.layer: r3d_18 has no layer 'fc'; it has pool, logits."),
        ({"image_size": 192}, "motion.image_size is 192, and i3d needs at least 193 pixels."),
        ({"clip_frames": 8}, "motion.clip_frames is 8, and i3d needs at least 9."),
        ({"frame_rate": 0}, "motion.frame_rate is 0, and more than 0 frames per second were expected."),
        (
            {"image_size": 300},
            "motion.image_size is 300, more than the shorter side of the frames, 256. Set a larger motion.resize too.",
        ),
        ({"network": "c3d", "clip_frames": 8}, "motion.clip_frames is 8, and c3d takes 16 only. Leave it out."),
        ({"network": "c3d", "image_size": 96}, "motion.image_size is 96, and c3d takes 112 only. Leave it out."),
        ({"network": "mvit_v2_s", "clip_frames": 8}, "motion.clip_frames is 8, and mvit_v2_s needs at least 16."),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_work(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught, torch.device("meta"):
        build_motion_network(MotionSettings(**{"weights": "random", **settings}))
    assert str(caught.value) == expected


def test_what_nobody_can_fetch_is_named() -> None:
    assert error_of(CheckpointError, MotionExtractor, MotionSettings()) == (
        "motion.weights is 'pretrained', and no weights of i3d can be fetched. Fetch both files of "
        "data/checkpoints/rgb_scratch_kin600/model.ckpt (Kinetics-600, as L-STAP used it) or .../rgb_imagenet from "
        "github.com/google-deepmind/kinetics-i3d, and set motion.weights=.../model.ckpt."
    )


def test_clips_that_the_network_cannot_take(extractor: MotionExtractor) -> None:
    assert error_of(ConfigError, extractor, torch.zeros(1, 4, 32, 32, 4, dtype=torch.uint8)).startswith(
        "r3d_18 cannot take clips of 4 frames of 32 pixels ("
    )


def test_a_device_without_enough_memory(extractor: MotionExtractor, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(extractor.network.module, "forward", too_large)
    assert error_of(FeatureError, extractor, torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8)) == (
        "The memory of cpu does not hold 2 x 4 frames of 32 pixels in r3d_18. Use a smaller motion.frames_per_pass, "
        "motion.precision=bfloat16, or another device."
    )


@pytest.mark.parametrize(
    ("value", "stored_as", "expected"),
    [
        (float("nan"), "float32", "the features are not finite numbers. Check the weights, or use motion.precision=float32."),
        (70000.0, "float16", "the largest feature is 70000, and float16 ends at 65504. Use motion.stored_as=float32."),
    ],
)
def test_features_that_cannot_be_stored(
    extractor: MotionExtractor,
    clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    stored_as: str,
    expected: str,
) -> None:
    path = clip("a.mp4", frames=4)
    monkeypatch.setattr(extractor.network.module, "forward", lambda clips, layer: torch.full((len(clips), 512), value))
    monkeypatch.setattr(extractor, "stored_type", getattr(torch, stored_as))
    assert error_of(FeatureError, extractor.extract, path) == f"{path}: {expected}"


# --- real clips ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_clips_through_c3d_at_full_size(stap_data: Path) -> None:
    torch.manual_seed(5)
    extractor = MotionExtractor(MotionSettings(network="c3d", weights="random", per="clip", clip_stride=64))
    path = stap_data / "msrvtt" / "TestVideo" / "video7202.mp4"
    features = extractor.extract(path)
    count = len(extractor.read(path).stream)
    clips = len(range(0, count - 15, 64)) if count >= 16 else 1
    assert features.arrays["motion"].shape == (clips, 4096)
    assert float(features.arrays["motion"].min()) >= 0
    assert torch.equal(extractor.extract(path).arrays["motion"], features.arrays["motion"])


@pytest.mark.slow
def test_a_real_clip_through_i3d_at_full_size(stap_data: Path) -> None:
    torch.manual_seed(6)
    extractor = MotionExtractor(MotionSettings(weights="random", frame_rate=12.5))
    features = extractor.extract(stap_data / "msvd" / "YouTubeClips" / "778mkceE0UQ_40_46.avi")
    assert features.arrays["motion"].shape == (600,)
    assert features.warnings == ()

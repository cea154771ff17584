"""Grid, motion and regions of real files by the real networks: one store each, one batch, one model folder, one caption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from stap.captioning.batches import read_videos
from stap.captioning.captioner import load
from stap.captioning.model_folder import model_for, save_description, save_weights
from stap.captioning.protocol import SampledClip
from stap.features.extract import extract
from stap.features.extractor import TwoStepExtractor, build_extractors, specs_of, weights_files
from stap.features.networks.faster_rcnn import build_detector
from stap.features.networks.i3d import I3D
from stap.features.store import FeatureStore
from stap.features.streams import open_streams
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import FeatureSettings
from stap.video import Frames, sample_frames
from stap.video.clips import FrameStream
from stap.video.sampling import Sampling
from vocabularies import vocabulary_of

DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.mark.slow
def test_three_streams_from_files_to_a_caption(settings: FeatureSettings, clip: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    safetensors.torch.save_file(I3D(5).state_dict(), tmp_path / "i3d.safetensors")
    safetensors.torch.save_file(build_detector(DETECTOR, "random").state_dict(), tmp_path / "detector.safetensors")
    recipe = recipe_from_dict(
        {
            "features": settings.model_dump(mode="json"),
            "motion": {"weights": str(tmp_path / "i3d.safetensors"), "per": "clip", "clip_frames": 9, "clip_stride": 9, "frame_rate": "native", "resize": 193, "image_size": 193},
            "regions": {"detector": DETECTOR, "weights": str(tmp_path / "detector.safetensors"), "frames": 2, "regions": 3, "min_score": 0.0, "image_size": 96},
            "model": {
                "kind": "stat",
                "hidden_size": 8,
                "attention_size": 8,
                "embedding_size": 8,
                "stat": {"global_from": "grid", "positions": 4, "project_global": True},
            },
            "decoding": {"beam_width": 1, "max_words": 4},
        }
    )  # fmt: skip
    extractors = build_extractors(recipe)
    assert all(isinstance(extractor, TwoStepExtractor) for extractor in extractors)
    videos = [(name, clip(f"{name}.mp4", frames=frames, seed=frames)) for name, frames in (("a", 10), ("b", 20))]
    for extractor in extractors:
        report = extract(videos, extractor, FeatureStore(settings.store, extractor.spec.fingerprint))
        assert (report.written, report.failed) == (2, ())
    streams = open_streams(recipe.features, extractors)
    batch = read_videos(streams.read, ["a", "b"]).to("cpu")
    assert {name: tuple(stream.shape) for name, stream in batch.streams.items()} == {
        "grid": (2, 4, 4, 96),
        "motion": (2, 2, 5),
        "regions": (2, 2, 3, 1024),
    }
    assert {name: padding.tolist() for name, padding in batch.is_padding.items()} == {
        "grid": [[False] * 4] * 2,
        "motion": [[False, True], [False, False]],
        "regions": [[False] * 2] * 2,
    }
    vocabulary = vocabulary_of(["a red ball rises"])
    save_description(tmp_path / "run", recipe, vocabulary, specs_of(extractors), weights_files(extractors))
    model = model_for(recipe, vocabulary, streams.specs)
    save_weights(tmp_path / "run", model)
    for name in ("i3d", "detector"):
        (tmp_path / f"{name}.safetensors").unlink()
    captioner = load(tmp_path / "run", "cpu")
    assert specs_of(captioner.extractors) == specs_of(extractors)
    caption = captioner.caption(videos[0][1])
    assert caption.attention.shape == (len(caption.words), 4)
    assert len(caption.times_seconds) == 4
    shot = SampledClip(Path("shot"), tuple(frames_of(videos[0][1], sampling) for sampling in captioner.samplings))
    [seen] = captioner.caption_frames([shot])
    assert seen.words == caption.words
    assert seen.score == pytest.approx(caption.score, abs=1e-4)
    assert torch.equal(seen.times_seconds, caption.times_seconds)


def frames_of(path: Path, sampling: Sampling) -> Frames:
    """The frames that a sampling asks for."""
    if sampling.count is not None:
        return sample_frames(path, sampling.count, short_side=sampling.short_side)
    stream = FrameStream(path, sampling.frame_rate, short_side=sampling.short_side)
    return Frames(np.stack(list(stream)), stream.times_seconds, stream.duration_seconds, stream.warnings)

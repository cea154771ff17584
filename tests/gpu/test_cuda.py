"""What runs on a GPU is what runs on a processor: every model's loss, gradients and captions; training, resumption, extraction, captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stap.cli import main
from stap.decoding.beam import beam_search
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import InputSettings, ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS, PAD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU here"),
]

STAT = STATSettings(global_from="grid", motion_from="differences", local_from="grid", positions=None, mask_attention=True)
MODELS = {
    "lrcn": ModelSettings(kind="lrcn"),
    "lstap-mean": ModelSettings(kind="lstap", pooling="mean"),
    "lstap-attention": ModelSettings(
        kind="lstap",
        pooling="attention",
        negatives="all",
        inputs=InputSettings(place_embedding=1.0, time_embedding=1.0, differences=True),
    ),
    "stat": ModelSettings(kind="stat", stat=STAT),
    "lstap-stat": ModelSettings(kind="lstap-stat", stat=STAT),
}


def batch() -> tuple[VideoBatch, CaptionBatch]:
    generator = torch.Generator().manual_seed(1)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 5])
    grid = torch.randn(3, 5, 4, 16, generator=generator).masked_fill(padding[..., None, None], 0)
    words = torch.tensor([[4, 5, 6, EOS, PAD], [4, 7, EOS, PAD, PAD], [8, 5, 9, 6, EOS]] * 2)[:6]
    return VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(3)), CaptionBatch(words, captions_per_video=2)


@pytest.mark.parametrize("name", MODELS)
def test_loss_gradients_and_captions_are_those_of_the_processor(name: str) -> None:
    sizes = {"hidden_size": 16, "attention_size": 16, "embedding_size": 16, "dropout": 0.0, "word_dropout": 0.0}
    torch.manual_seed(0)
    spec = {"grid": StreamSpec("grid", 16, grid=(2, 2), frames=5)}
    model = build_model(MODELS[name].model_copy(update=sizes), spec, vocabulary_size=12)
    videos, captions = batch()

    def computed(device: str) -> tuple[torch.Tensor, list[torch.Tensor], list[list[tuple[int, ...]]]]:
        model.to(device).train()
        loss = model.loss(videos.to(device), CaptionBatch(captions.words.to(device), captions.captions_per_video)).total
        model.zero_grad()
        loss.backward()
        gradients = [p.grad.cpu().clone() for p in model.parameters() if p.grad is not None]
        model.eval()
        found = beam_search(model, model.encode(videos.to(device)), width=3, max_words=6)
        return loss.detach().cpu(), gradients, [[tuple(one.words) for one in clip] for clip in found]

    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        (loss, gradients, found), (loss_gpu, gradients_gpu, found_gpu) = computed("cpu"), computed("cuda")
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.testing.assert_close(loss_gpu, loss, rtol=1e-5, atol=1e-5)
    for expected, gradient in zip(gradients, gradients_gpu, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
    assert found_gpu == found


def test_the_whole_path_on_the_gpu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Scenes, pretraining, features, training that is resumed, evaluation without Java, a caption of a file."""
    scenes, run = tmp_path / "scenes", tmp_path / "run"
    assert main(["scenes", str(scenes), "--videos", "24", "--seed", "1"]) == 0, capfd.readouterr().err
    overrides = [f"corpus.root={scenes}", f"features.store={tmp_path / 'features'}", "text.min_count=1"]
    small = [*overrides, "pretraining.epochs=1", "pretraining.batch_size=8"]
    assert main(["pretrain", "demo/quick", *small, "--out", str(tmp_path / "pre"), "--device", "cuda"]) == 0, (
        capfd.readouterr().err
    )
    weights = [f"features.weights={tmp_path / 'pre' / 'backbone.safetensors'}"]
    assert main(["extract", "demo/quick", *overrides, *weights, "--device", "cuda"]) == 0, capfd.readouterr().err
    line = [
        "train",
        "demo/quick",
        *overrides,
        *weights,
        "training.validation_clips=4",
        "training.precision=bfloat16",
        "--out",
        str(run),
    ]
    assert main([*line, "training.epochs=2", "--device", "cuda"]) == 0, capfd.readouterr().err
    assert main([*line, "training.epochs=2", "--device", "cuda", "--resume"]) == 0, capfd.readouterr().err
    capfd.readouterr()
    video = next(iter(sorted(scenes.rglob("*.mp4"))))
    assert main(["caption", str(video), "--model", str(run), "--device", "cuda", "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)

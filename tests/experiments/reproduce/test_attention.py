"""The effective number of frames and places that attention covers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from stap.captioning.captions import ClipCaption
from stap.corpora.corpus import Clip
from stap.decoding.greedy import greedy
from stap.experiments.reproduce.attention import effective_number, effective_numbers
from stap.features.streams import FeatureStreams
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS

R, LENGTHS = 4, (5, 3)
OVER_A_GRID = STATSettings(
    global_from="grid", motion_from=None, local_from="grid", positions=None, mask_attention=True, project_global=True
)


def test_effective_number() -> None:
    weights = torch.tensor([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [0, 0, 0]])
    torch.testing.assert_close(
        effective_number(weights), torch.tensor([1.0, 3.0, 2.0, 1.0], dtype=torch.double), atol=1e-6, rtol=0
    )


def entropy_of(weights: list[float]) -> float:
    return -sum(w * math.log(w) for w in weights if w)


@pytest.mark.parametrize("kind", ["stat", "lstap", "lrcn"])
def test_the_mean_over_words_and_frames_equals_one_video_at_a_time(kind: str) -> None:
    torch.manual_seed(1)
    settings = ModelSettings(kind=kind, hidden_size=6, attention_size=5, embedding_size=4, stat=OVER_A_GRID)
    model = build_model(settings, {"grid": StreamSpec("grid", 3, grid=(2, 2))}, vocabulary_size=9).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    grids = {f"clip{b}": torch.randn(length, R, 3) for b, length in enumerate(LENGTHS)}
    store = cast(FeatureStreams, SimpleNamespace(read=lambda clip: {"grid": grids[clip]}))
    captions, frames, places = {}, [], []
    for clip, grid in grids.items():
        memory = model.encode(
            VideoBatch({"grid": grid[None]}, {"grid": torch.zeros(1, len(grid), dtype=torch.bool)}, torch.zeros(1))
        )
        [hypothesis] = greedy(model, memory, max_words=len(grid) - 1)  # captions of different lengths
        captions[clip] = ClipCaption("", (), hypothesis)
        frames += [math.exp(entropy_of(weights)) for weights in hypothesis.attention.weights.tolist()]
        if memory.pooling_weights is not None:
            places += [math.exp(entropy_of(weights)) for weights in memory.pooling_weights[0].tolist()]
        state, before = model.start(memory), BOS
        for word in [*hypothesis.words, EOS]:
            step = model.step(memory, state, torch.tensor([before]))
            state, before = step.state, word
            if kind == "stat":
                spatial = step.attentions["local"].places
                assert spatial is not None
                places += [math.exp(entropy_of(weights)) for weights in spatial[0].tolist()]
    clips = [cast(Clip, SimpleNamespace(id=clip)) for clip in grids]
    numbers: dict[str, Any] = effective_numbers(model, store, clips, captions)
    assert len(frames) > 3
    assert numbers["frames"] == pytest.approx(sum(frames) / len(frames), abs=1e-5)
    if kind == "lrcn":
        assert numbers["places"] is None
    else:
        assert numbers["places"] == pytest.approx(sum(places) / len(places), abs=1e-5)
        assert numbers["places"] < R - 0.01

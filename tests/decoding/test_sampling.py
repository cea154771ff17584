"""Sampled captions have the model's probabilities, and end at their EOS."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from stap.decoding.sampling import draw, sample
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel, Memory
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS, PAD, UNK

V, B, T, R, D = 6, 2, 3, 4, 5
KINDS = ["lstap", "lrcn", "stat", "stat-mm17", "lstap-stat"]


def model_of(kind: str) -> tuple[CaptionModel, VideoBatch]:
    """A small model in float64 and eval mode, far from even probabilities, and two videos."""
    torch.manual_seed(3)
    streams = {name: StreamSpec(name, D, grid=(2, 2)) for name in ("grid", "frames", "motion", "regions")}
    settings = ModelSettings(hidden_size=D, attention_size=3, embedding_size=4, kind=kind)
    model = build_model(settings, streams, vocabulary_size=V).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    arrays = {"grid": (B, T, R, D), "frames": (B, T, D), "motion": (B, T, D), "regions": (B, T, R, D)}
    if kind not in ("stat", "stat-mm17"):
        del arrays["motion"]
    values = {name: torch.randn(shape, dtype=torch.double) for name, shape in arrays.items()}
    return model, VideoBatch(values, {name: torch.zeros(B, T, dtype=torch.bool) for name in values}, torch.arange(B))


def every_caption(longest: int) -> Tensor:
    """(N, longest): all captions of these words that end with EOS, and those that `longest` words cut off."""
    finished: list[list[int]] = []
    begun: list[list[int]] = [[]]
    for _ in range(longest):
        finished += [[*words, EOS] for words in begun]
        begun = [[*words, word] for words in begun for word in (UNK, 4, 5)]
    return torch.tensor([words + [PAD] * (longest - len(words)) for words in finished + begun])


def of_video(memory: Memory, video: int) -> Memory:
    return memory.select(torch.tensor([video]))


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_one_step_after_the_other_and_sum_to_one(kind: str) -> None:
    model, videos = model_of(kind)
    captions = every_caption(3)
    both = CaptionBatch(captions.repeat(B, 1), len(captions))
    with torch.no_grad():
        memory = model.encode(videos)
        found = model.log_probabilities(memory, both)
        stepped = CaptionModel.log_probabilities(model, memory, both)
    torch.testing.assert_close(found, stepped, atol=1e-10, rtol=0)
    rows = torch.arange(len(both.words))[:, None].expand_as(both.words)[both.words != PAD]
    of_captions = torch.zeros(len(both.words), dtype=torch.double).index_add(0, rows, found)
    assert of_captions.view(B, -1).exp().sum(dim=1).tolist() == pytest.approx([1, 1], abs=1e-12)


@pytest.mark.parametrize("kind", ["lstap", "stat"])
def test_captions_come_as_often_as_they_are_probable(kind: str) -> None:
    model, videos = model_of(kind)
    captions, draws = every_caption(2), 4000
    with torch.no_grad():
        memory = model.encode(videos)
        torch.manual_seed(1)
        drawn = sample(model, memory, draws, max_words=2).view(B, draws, -1).tolist()
        for video in range(B):
            batch = CaptionBatch(captions, len(captions))
            rows = torch.arange(len(captions))[:, None].expand_as(captions)[captions != PAD]
            found = model.log_probabilities(of_video(memory, video), batch)
            expected = torch.zeros(len(captions), dtype=torch.double).index_add(0, rows, found).exp()
            counts = Counter(map(tuple, drawn[video]))
            assert set(counts) <= set(map(tuple, captions.tolist()))
            for caption, probability in zip(captions.tolist(), expected.tolist(), strict=True):
                deviation = (probability * (1 - probability) / draws) ** 0.5
                assert counts[tuple(caption)] / draws == pytest.approx(probability, abs=5 * deviation + 1e-4)


def test_nothing_follows_the_end_and_no_special_word_comes() -> None:
    model, videos = model_of("lstap")
    with torch.no_grad():
        model.decoder.output.weight[PAD] += 100 * model.decoder.output.weight[EOS].abs()  # would always come
        words = sample(model, model.encode(videos), 200, max_words=12)
    assert words.shape[1] <= 12
    assert not (words == BOS).any()
    for row in words.tolist():
        length = row.index(EOS) + 1 if EOS in row else len(row)
        assert PAD not in row[:length]
        assert set(row[length:]) <= {PAD}


def test_what_is_impossible_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(6, 5)
    places = torch.tensor([[0.0], [0.2499], [0.25], [0.9], [0.99999994], [1.0]])  # 1.0 comes by rounding only
    monkeypatch.setattr(torch, "rand_like", lambda like: places)
    assert draw(probabilities).tolist() == [1, 1, 3, 3, 3, 3]

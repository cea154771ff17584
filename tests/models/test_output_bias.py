"""The output layer's bias: which models have one, and where it starts."""

from __future__ import annotations

import math

import pytest
import torch

from stap.models.build import build_model
from stap.models.caption_model import CaptionModel
from stap.models.output_bias import start_at_frequencies, word_counts
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS, UNK

V = 7
STREAMS = {name: StreamSpec(name, 5, grid=(2, 2)) for name in ("grid", "frames", "motion", "regions")}
KINDS = ["lstap", "lrcn", "stat", "stat-mm17", "lstap-stat"]


def model_of(kind: str, bias: str | None) -> CaptionModel:
    settings = ModelSettings(hidden_size=5, attention_size=3, embedding_size=4, kind=kind, output_bias=bias)
    return build_model(settings, STREAMS, vocabulary_size=V)


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_only_stat_s_decoder_has_one_as_in_the_papers(kind: str) -> None:
    bias = model_of(kind, None).output_bias
    assert (bias is not None) == ("stat" in kind)
    assert bias is None or not bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_setting_holds_for_every_model(kind: str) -> None:
    assert model_of(kind, "none").output_bias is None
    for setting in ("zero", "frequency"):  # the frequencies are known when training begins
        bias = model_of(kind, setting).output_bias
        assert bias is not None
        assert not bias.any()


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_predicted_by_frequency_where_nothing_else_is_known(kind: str) -> None:
    model = model_of(kind, "frequency").eval()
    captions = [[4, 5, 4, EOS], [4, UNK, EOS]]  # word 6 is in no training caption
    start_at_frequencies(model.output_bias, word_counts(captions, V))
    with torch.no_grad():
        model.decoder.output.weight.zero_()
        logits = model.decoder.output(torch.zeros(model.decoder.output.in_features))
    expected = {EOS: 2 / 7, UNK: 1 / 7, 4: 3 / 7, 5: 1 / 7, 6: 0.5 / 7}
    first = V - len(logits)
    assert first in (0, EOS)
    assert {word: math.exp(logits[word - first]) for word in expected} == pytest.approx(expected, rel=1e-6)
    assert logits.isfinite().all()

"""Words hidden from the decoder in training."""

import pytest
import torch

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.word_dropout import WordDropout
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS


def test_whole_words_are_hidden_with_that_probability_and_none_is_scaled():
    torch.manual_seed(1)
    embedded = torch.randn(100, 30, 4)
    hidden = WordDropout(0.3)(embedded)
    is_zero = (hidden == 0).all(dim=2)
    assert torch.equal(hidden[~is_zero], embedded[~is_zero])
    assert is_zero.float().mean().item() == pytest.approx(0.3, abs=0.03)  # 3 standard deviations of 3000 draws: 0.025


@pytest.mark.parametrize("kind", ["lstap", "lrcn", "lstap-stat"])
def test_it_is_for_training_and_for_the_decoder_alone(kind):
    torch.manual_seed(1)
    settings = ModelSettings(kind=kind, hidden_size=4, attention_size=3, embedding_size=3, dropout=0.0, word_dropout=0.6)
    model = build_model(settings, {"grid": StreamSpec("grid", 5, grid=(1, 3))}, vocabulary_size=9).double()
    videos = VideoBatch(
        {"grid": torch.randn(2, 4, 3, 5, dtype=torch.double)}, {"grid": torch.zeros(2, 4, dtype=torch.bool)}, torch.arange(2)
    )
    captions = CaptionBatch(torch.tensor([[4, 5, 6, EOS], [6, 7, 8, EOS]]), captions_per_video=1)
    first, second = (model.train().loss(videos, captions).parts for _ in range(2))
    assert first["caption"] != second["caption"]
    assert first["matching"] == second["matching"]
    first, second = (model.eval().loss(videos, captions).parts for _ in range(2))
    assert first["caption"] == second["caption"]

"""What changed since the frame before, beside what is there."""

import pytest
import torch

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.differences import with_differences
from stap.recipes.settings import ModelSettings
from stap.text.special_ids import EOS


def test_each_location_beside_its_change():
    grid = torch.randn(2, 4, 3, 5)
    read = with_differences(grid)
    assert read.shape == (2, 4, 3, 10)
    for b in range(2):
        for t in range(4):
            for j in range(3):
                change = grid[b, t, j] - grid[b, t - 1, j] if t else torch.zeros(5)
                assert read[b, t, j].tolist() == [*grid[b, t, j].tolist(), *change.tolist()]


def test_of_one_frame_nothing_has_changed():
    assert with_differences(torch.ones(1, 1, 2, 3))[..., 3:].tolist() == [[[[0.0] * 3] * 2]]


@pytest.mark.parametrize("kind", ["lstap", "lrcn", "lstap-stat"])
def test_the_encoder_reads_them_and_padding_changes_nothing(kind):
    def make(**options):
        torch.manual_seed(1)
        settings = ModelSettings(kind=kind, hidden_size=4, attention_size=3, embedding_size=3, dropout=0.0, **options)
        return build_model(settings, vocabulary_size=9, feature_size=5, grid_size=(1, 3)).double().eval()

    grid, padding = torch.randn(2, 4, 3, 5, dtype=torch.double), torch.zeros(2, 4, dtype=torch.bool)
    padding[1, 2:] = True
    videos = VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(2))
    model = make(frame_differences=True)
    memory = model.encode(videos)
    encoder = model.encoder
    torch.testing.assert_close(memory.embedding, encoder(with_differences(grid), padding).h)
    alone = VideoBatch({"grid": grid[1:, :2]}, {"grid": padding[1:, :2]}, torch.tensor([1]))
    torch.testing.assert_close(memory.embedding[1:], model.encode(alone).embedding)
    captions = CaptionBatch(torch.tensor([[4, 5, EOS], [6, 7, EOS]]), captions_per_video=1)
    assert model.loss(videos, captions).total.isfinite()
    assert sum(p.numel() for p in encoder.parameters()) > sum(p.numel() for p in make().encoder.parameters())

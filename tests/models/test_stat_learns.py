"""That STAT and lstap-stat learn: each recalls a caption of each video after a few updates."""

import pytest
import torch

from stap.decoding.greedy import greedy
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS, PAD

CAPTIONS = [(4, 5, 6), (4, 7), (8, 5, 9, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stat", "stat-mm17", "lstap-stat"])
def test_captions_are_learned_by_heart(kind):
    torch.manual_seed(0)
    stat = STATSettings(
        global_from="grid",
        motion_from="differences",
        local_from="grid",
        positions=None,
        mask_attention=True,
    )
    sizes = {"hidden_size": 16, "attention_size": 16, "embedding_size": 16}
    settings = ModelSettings(kind=kind, dropout=0.0, attention_penalty=0.70602, penalty_captions=1, stat=stat, **sizes)
    model = build_model(settings, {"grid": StreamSpec("grid", 16, grid=(2, 2))}, vocabulary_size=10)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 5])
    grid = torch.randn(3, 5, 4, 16).masked_fill(padding[..., None, None], 0)
    videos = VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(3))
    captions = CaptionBatch(torch.tensor([[*row, EOS, *[PAD] * (4 - len(row))] for row in CAPTIONS]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        loss = model.loss(videos, captions)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    model.eval()
    assert loss.parts["word"].item() < 0.1
    assert [one.words for one in greedy(model, model.encode(videos), max_words=6)] == CAPTIONS

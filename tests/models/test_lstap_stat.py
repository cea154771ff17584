"""STAT's attention over L-STAP's states."""

import pytest
import torch

from gradients import check_loss_gradients
from stap.decoding.beam import beam_search
from stap.errors import ShapeError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS, PAD

B, T, R, D, H, E, A, V = 3, 4, 3, 5, 4, 3, 3, 9


def make(stat=None, **options):
    torch.manual_seed(1)
    settings = {"hidden_size": H, "embedding_size": E, "attention_size": A, "attention_penalty": 0.70602}
    settings |= {"stat": STATSettings(**(stat or {}))} | options
    model = build_model(
        ModelSettings(kind="lstap-stat", **settings), {"grid": StreamSpec("grid", D, grid=(1, R))}, vocabulary_size=V
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def videos():
    torch.manual_seed(2)
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 2:] = True
    grid = torch.randn(B, T, R, D, dtype=torch.double).masked_fill(padding[..., None, None], 0)
    return VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(B))


@pytest.fixture
def captions():
    rows = [[4, 5, 6, EOS], [7, EOS], [8, 4, EOS], [5, EOS], [6, 7, EOS], [EOS]]
    words = torch.full((6, 5), PAD)
    for n, row in enumerate(rows):
        words[n, : len(row)] = torch.tensor(row)
    return CaptionBatch(words, captions_per_video=2)


def test_the_decoder_looks_at_lstap_s_states_and_at_the_cells(videos):
    model = make()
    pooled = model.encoder(videos.streams["grid"], videos.is_padding["grid"])
    memory = model.encode(videos)
    torch.testing.assert_close(memory.keys.streams["global"].values, pooled.states)
    torch.testing.assert_close(memory.start.h, pooled.h)
    torch.testing.assert_close(memory.pooling_weights, pooled.weights)
    cells = torch.tanh(model.local_projection.linear(videos.streams["grid"]))
    attention = model.decoder.attention
    for b, length in enumerate([T, 2, T]):
        streams = {"global": pooled.states[b : b + 1, :length], "local": cells[b : b + 1, :length]}
        seen = attention(pooled.h[b : b + 1], attention.keys(streams))
        alone = memory.select(torch.tensor([b]))
        step = model.step(alone, model.start(alone), torch.tensor([BOS]))
        for name, weights in seen.weights.items():
            found = step.attentions["local"].places if name == "spatial" else step.attentions[name].weights
            torch.testing.assert_close(found[:, :length], weights)
            assert (found[:, length:] == 0).all()


def test_the_matching_loss_is_lstap_s(videos, captions):
    model = make(matching_weight=0.4)
    losses = model.loss(videos, captions)
    assert list(losses.parts) == ["caption", "word", "attention", "matching"]
    penalty = 0.70602 * 32 * losses.parts["attention"]
    torch.testing.assert_close(losses.total, losses.parts["caption"] + penalty + 0.4 * losses.parts["matching"])

    lstap = build_model(
        ModelSettings(kind="lstap", hidden_size=H, embedding_size=E, attention_size=A, matching_weight=0.4),
        {"grid": StreamSpec("grid", D)},
        vocabulary_size=V,
    ).double()
    lstap.encoder.load_state_dict(model.encoder.state_dict())
    lstap.sentence_encoder.load_state_dict(model.sentence_encoder.state_dict())
    with torch.no_grad():
        lstap.embedding.weight[EOS:] = model.embedding.weight
        lstap.embedding.weight[:EOS] = 0
    torch.testing.assert_close(lstap.loss(videos, captions).parts["matching"], losses.parts["matching"])
    assert losses.parts["matching"] > 0
    assert "matching" not in make(matching_weight=0.0).loss(videos, captions).parts


@pytest.mark.parametrize("stat", [{}, {"local_pooling": "mean"}])
@pytest.mark.slow
def test_loss_gradients(stat, videos, captions):
    check_loss_gradients(make(stat), videos, captions)


def test_a_batch_equals_its_items(videos, captions):
    model = make(penalty_on_padding=False, matching_weight=0.0)
    together, alone = model.loss(videos, captions), []
    for b, length in enumerate([T, 2, T]):
        grid = videos.streams["grid"][b : b + 1, :length]
        video = VideoBatch({"grid": grid}, {"grid": torch.zeros(1, length, dtype=torch.bool)}, torch.tensor([b]))
        rows = captions.words[2 * b : 2 * b + 2]
        rows = rows[:, : int((rows != PAD).sum(1).max())]
        alone.append(model.loss(video, CaptionBatch(rows, 2)))
    torch.testing.assert_close(together.total, torch.stack([one.total for one in alone]).mean(), atol=1e-11, rtol=0)


def test_a_beam_of_several_videos_is_that_of_each(videos):
    model = make()
    memory = model.encode(videos)
    together = beam_search(model, memory, width=3, max_words=5)
    for b in range(B):
        [alone] = beam_search(model, memory.select(torch.tensor([b])), width=3, max_words=5)
        assert [one.words for one in alone] == [one.words for one in together[b]]
        assert together[b][0].attention.weights.shape[1] == [T, 2, T][b]


def test_the_motion_vector_starts_the_encoder(videos):
    model = make(motion_size=6)
    motion = torch.randn(B, 6).double()
    with_motion = VideoBatch(dict(videos.streams) | {"motion": motion}, videos.is_padding, videos.video_numbers)
    expected = model.encoder(videos.streams["grid"], videos.is_padding["grid"], motion)
    torch.testing.assert_close(model.encode(with_motion).start.h, expected.h)
    with pytest.raises(ValueError, match=r"^the motion stream is missing: expected \(B, 6\)\.$"):
        model.encode(videos)


def test_a_missing_grid_is_named(videos):
    frames = VideoBatch({"frames": torch.zeros(B, T, D)}, {"frames": videos.is_padding["grid"]}, videos.video_numbers)
    with pytest.raises(ShapeError, match=r"^the batch has the streams frames; expected 'grid'\.$"):
        make().encode(frames)

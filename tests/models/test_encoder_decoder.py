import pytest
import torch

from gradients import check_loss_gradients
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS, PAD

B, T, R, D, H, E, A, V = 3, 4, 3, 5, 4, 3, 3, 9


def make(**options):
    torch.manual_seed(1)
    settings = {"hidden_size": H, "embedding_size": E, "attention_size": A, "dropout": 0.0} | options
    model = build_model(ModelSettings(**settings), {"grid": StreamSpec("grid", D)}, vocabulary_size=V).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.fixture
def videos():
    torch.manual_seed(2)
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 2:] = True
    return VideoBatch({"grid": torch.randn(B, T, R, D, dtype=torch.double)}, {"grid": padding}, torch.arange(B))


@pytest.fixture
def captions():
    rows = [[4, 5, 6, EOS], [7, EOS], [8, 4, EOS], [5, EOS], [6, 7, EOS], [EOS]]
    words = torch.full((6, 5), PAD)
    for n, row in enumerate(rows):
        words[n, : len(row)] = torch.tensor(row)
    return CaptionBatch(words, captions_per_video=2)


def parameters(model):
    decoder = model.decoder
    named = {
        "W_key": decoder.attention.key.weight,
        "b_key": decoder.attention.key.bias,
        "W_query": decoder.attention.query.weight,
        "w": decoder.attention.score.weight[0],
        "embedding": model.embedding.weight,
        "W_x": decoder.word_gates.weight,
        "b": decoder.word_gates.bias,
        "W_phi": decoder.context_gates.weight,
        "U": decoder.recurrent_gates.weight,
        "W_out": decoder.output.weight,
    }
    return {name: value.tolist() for name, value in named.items()}


@pytest.mark.parametrize("kind", ["lstap", "lrcn"])
def test_loss_equals_the_papers_equations(kind, videos, captions, reference):
    model = make(kind=kind)
    losses = model.loss(videos, captions)
    memory = model.encode(videos)
    lengths = [T, 2, T]
    total, states_of = 0.0, {}
    for n, words in enumerate(captions.words.tolist()):
        b = n // 2
        states_of[b] = memory.states[b, : lengths[b]].tolist()
        words = words[: words.index(EOS) + 1]
        rows, _ = reference.decode(
            [BOS, *words[:-1]], states_of[b], states_of[b][-1], memory.start.c[b].tolist(), parameters(model)
        )
        total -= sum(row[word] for row, word in zip(rows, words, strict=True))
    assert losses.parts["caption"].item() == pytest.approx(total / 6, abs=1e-10)

    lstm = model.sentence_encoder.lstm
    start = torch.tanh(lstm.learned_start).tolist()
    sentences = []
    for words in captions.words.tolist():
        embedded = [[model.embedding.weight[word].tolist()] for word in words[: words.index(EOS) + 1]]
        states, _, _ = reference.lstap(
            embedded, start[:H], start[H:], lstm.input_weight.tolist(), lstm.input_bias.tolist(), lstm.recurrent_weight.tolist()
        )
        sentences.append(states[-1])
    matching = reference.matching_loss({b: s[-1] for b, s in states_of.items()}, sentences, [0, 0, 1, 1, 2, 2], 0.2)
    assert matching > 0
    assert losses.parts["matching"].item() == pytest.approx(matching, abs=1e-10)
    assert losses.total.item() == pytest.approx(total / 6 + 0.4 * matching, abs=1e-10)


def test_steps_equal_teacher_forcing_and_attention_equals_the_reference(videos, captions, reference):
    model = make()
    memory = model.encode(videos)
    state = model.start(memory, 2)
    hidden, attention = model.decoder.teacher_forced(memory, state, model.embedding(captions.inputs))
    looks = []
    for step_number, words in enumerate(captions.inputs.unbind(1)):
        step = model.step(memory, state, words)
        torch.testing.assert_close(step.logits, model.decoder.logits(hidden[:, step_number]), atol=1e-12, rtol=0)
        state = step.state
        looks.append(step.attention.weights)
    torch.testing.assert_close(attention, torch.stack(looks, dim=1), atol=1e-12, rtol=0)
    states = memory.states[1, :2].tolist()
    _, expected = reference.decode(
        captions.inputs[2].tolist(), states, states[-1], memory.start.c[1].tolist(), parameters(model)
    )
    torch.testing.assert_close(torch.stack(looks)[:, 2, :2], torch.tensor(expected, dtype=torch.double), atol=1e-10, rtol=0)
    assert torch.stack(looks)[:, 2, 2:].detach().abs().max().item() == 0


@pytest.mark.parametrize(("options", "chooses"), [({}, True), ({"pooling": "mean"}, False), ({"kind": "lrcn"}, False)], ids=str)
def test_only_attention_pooling_has_local_weights(options, chooses, videos):
    weights = make(**options).encode(videos).pooling_weights
    assert (weights.shape == (B, T, R)) if chooses else (weights is None)


@pytest.mark.parametrize("kind", ["lstap", "lrcn"])
def test_without_motion_size_the_motion_stream_is_not_read(kind, videos, captions):
    model = make(kind=kind)
    motion = torch.randn(B, 6, dtype=torch.double)
    more = VideoBatch(videos.streams | {"motion": motion}, videos.is_padding, videos.video_numbers)
    assert model.loss(more, captions).total == model.loss(videos, captions).total


@pytest.mark.parametrize("kind", ["lstap", "lrcn"])
def test_stat_s_penalty_on_the_decoder_s_attention(kind, videos, captions, reference):
    model = make(kind=kind, attention_penalty=0.5, penalty_captions=32, penalty_on_padding=False)
    losses, memory, total = model.loss(videos, captions), model.encode(videos), 0.0
    for n, words in enumerate(captions.words.tolist()):
        states = memory.states[n // 2, : [T, 2, T][n // 2]].tolist()
        read = [BOS, *words[: words.index(EOS)]]
        _, looks = reference.decode(read, states, states[-1], memory.start.c[n // 2].tolist(), parameters(model))
        total += sum((1 - sum(look[t] for look in looks)) ** 2 for t in range(len(states))) / len(states)
    assert losses.parts["attention"].item() == pytest.approx(total / 6, abs=1e-10)
    plain = make(kind=kind).loss(videos, captions)
    assert "attention" not in plain.parts
    assert losses.total.item() == pytest.approx(plain.total.item() + 0.5 * 32 * total / 6, abs=1e-9)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_equals_that_of_padded_captions(label_smoothing, videos, captions):
    model = make(matching_weight=0.0)
    model.label_smoothing = label_smoothing
    parts = model.loss(videos, captions).parts
    memory = model.encode(videos)
    hidden, _ = model.decoder.teacher_forced(memory, model.start(memory, 2), model.embedding(captions.inputs))
    padded, words = model.decoder.logits(hidden).flatten(0, 1), captions.words.flatten()
    expected = torch.nn.functional.cross_entropy(
        padded, words, ignore_index=PAD, reduction="sum", label_smoothing=label_smoothing
    )
    torch.testing.assert_close(parts["caption"], expected / 6, atol=1e-12, rtol=0)
    torch.testing.assert_close(parts["word"], expected / 15, atol=1e-12, rtol=0)


def test_only_words_reach_the_output_layer(videos, captions):
    model, rows = make(), []
    model.decoder.output.register_forward_hook(lambda _, given, __: rows.append(given[0].shape))
    model.loss(videos, captions)
    assert rows == [(15, H)]  # 4 + 2 + 3 + 2 + 3 + 1 of 6 x 5 places


def test_dropout_in_the_loss_drops_and_rescales_the_states_of_words(videos, captions, monkeypatch):
    model, given = make(dropout=0.5), []
    hidden = []
    teacher_forced = model.decoder.teacher_forced
    monkeypatch.setattr(model.decoder, "teacher_forced", lambda *a: hidden.append(read := teacher_forced(*a)) or read)
    model.decoder.output.register_forward_hook(lambda _, args, __: given.append(args[0]))
    model.loss(videos, captions)
    states, dropped = hidden[0][0][captions.words != PAD], given[0]
    kept = dropped != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(dropped[kept], 2 * states[kept])


@pytest.mark.parametrize("attention_penalty", [0.0, 0.7])
def test_loss_gradients(attention_penalty, videos, captions):
    check_loss_gradients(make(attention_penalty=attention_penalty), videos, captions)


def test_a_batch_equals_its_items_and_padded_words_change_nothing(videos, captions):
    model = make(matching_weight=0.0)
    together = model.loss(videos, captions).parts["caption"]
    alone = []
    for b, length in enumerate([T, 2, T]):
        video = VideoBatch(
            {"grid": videos.streams["grid"][b : b + 1, :length]},
            {"grid": torch.zeros(1, length, dtype=torch.bool)},
            torch.tensor([b]),
        )
        rows = captions.words[2 * b : 2 * b + 2]
        longest = int((rows != PAD).sum(1).max())
        alone.append(model.loss(video, CaptionBatch(rows[:, :longest], 2)).parts["caption"])
    torch.testing.assert_close(together, torch.stack(alone).mean(), atol=1e-12, rtol=0)


def test_several_captions_of_a_video_equal_the_video_given_several_times(videos, captions):
    model = make()
    repeated = torch.arange(B).repeat_interleave(2)
    pairs = VideoBatch(
        {"grid": videos.streams["grid"][repeated]},
        {"grid": videos.is_padding["grid"][repeated]},
        videos.video_numbers[repeated],
    )
    together, apart = model.loss(videos, captions), model.loss(pairs, CaptionBatch(captions.words, 1))
    torch.testing.assert_close(together.total, apart.total, atol=1e-12, rtol=0)


def test_the_matching_loss_over_all_negatives(videos, captions):
    model = make(negatives="all")
    memory = model.encode(videos)
    sentences = model.sentence_encoder(model.embedding(captions.words), captions.is_padding)
    cosine = torch.nn.functional.cosine_similarity(memory.embedding[:, None], sentences[None], dim=2)
    expected = 0.0
    for n in range(6):
        wrong_videos = [0.2 - cosine[n // 2, n] + cosine[b, n] for b in range(B) if b != n // 2]
        wrong_sentences = [0.2 - cosine[n // 2, n] + cosine[n // 2, m] for m in range(6) if m // 2 != n // 2]
        expected += sum(max(0.0, s.item()) for s in wrong_videos) / 2 + sum(max(0.0, s.item()) for s in wrong_sentences) / 4
    assert model.loss(videos, captions).parts["matching"].item() == pytest.approx(expected / 6, abs=1e-10)
    assert expected > 0


def test_dropout_is_only_on_the_state_before_the_output_layer(videos, captions):
    model = make(dropout=0.5)
    memory = model.encode(videos)
    state = model.start(memory)
    words = torch.full((B,), BOS)
    first, second = model.step(memory, state, words), model.step(memory, state, words)
    assert not torch.equal(first.logits, second.logits)
    torch.testing.assert_close(first.state.h, second.state.h, atol=0, rtol=0)
    model.eval()
    assert torch.equal(model.step(memory, state, words).logits, model.step(memory, state, words).logits)

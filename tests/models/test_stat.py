"""STAT against loops written from the description of its released code, and the properties that the description promises."""

import importlib.util
import itertools
import math
import pathlib

import pytest
import torch

from gradients import check_loss_gradients
from raising import error_of
from stap.decoding.beam import beam_search
from stap.decoding.greedy import greedy
from stap.errors import ConfigError, ShapeError
from stap.models.attention import EvenAttention
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import attentions_of
from stap.models.stat.decoder import DropoutMasks
from stap.recipes.settings import ModelSettings, STATSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS, PAD

B, T, R, H, E, A, V = 3, 5, 2, 4, 3, 6, 9  # V counts PAD and BOS, which have no row
POSITIONS = 6
SIZES = {"frames": H, "motion": 5, "regions": 3}
LENGTHS = {"frames": (5, 2, 4), "motion": (3, 4, 1), "regions": (5, 2, 4)}
ROWS = [[4, 5, 6, EOS], [7, EOS], [8, 4, EOS], [5, EOS], [6, 7, EOS], [EOS]]
WIDE = {"local_from": "grid", "global_from": "grid", "motion_from": "differences"}


def _load(name):
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loops = _load("stat_reference")


def make(kind="stat", sizes=SIZES, grid_size=None, stat=None, **options):
    torch.manual_seed(1)
    attention = STATSettings(**({"positions": POSITIONS} | (stat or {})))
    settings = {"hidden_size": H, "embedding_size": E, "attention_size": A, "dropout": 0.5, "attention_penalty": 0.70602}
    settings |= {"stat": attention} | options
    model = build_model(
        ModelSettings(kind=kind, **settings),
        {name: StreamSpec(name, size, grid=grid_size) for name, size in sizes.items()},
        vocabulary_size=V,
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.fixture
def videos():
    torch.manual_seed(2)
    shapes = {"frames": (H,), "motion": (5,), "regions": (R, 3)}
    streams, is_padding = {}, {}
    for name, shape in shapes.items():
        lengths = torch.tensor(LENGTHS[name])
        is_padding[name] = torch.arange(max(LENGTHS[name])) >= lengths[:, None]
        values = torch.randn(B, max(LENGTHS[name]), *shape, dtype=torch.double)
        values[is_padding[name]] = 0
        streams[name] = values
    return VideoBatch(streams, is_padding, torch.arange(B))


@pytest.fixture
def captions():
    words = torch.full((6, 5), PAD)
    for n, row in enumerate(ROWS):
        words[n, : len(row)] = torch.tensor(row)
    return CaptionBatch(words, captions_per_video=2)


@pytest.fixture
def grids():
    torch.manual_seed(3)
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 2:] = True
    grid = torch.randn(B, T, 3, H, dtype=torch.double).masked_fill(padding[..., None, None], 0)
    return VideoBatch({"grid": grid}, {"grid": padding}, torch.arange(B))


def checkpoint(model):
    """The parameters under the released checkpoint's keys and in its layout."""
    decoder, spatial = model.decoder, model.decoder.attention.spatial
    temporal = model.decoder.attention.temporal
    modules = {
        "ff_state": model.initial_h,
        "ff_memory": model.initial_c,
        "ff_local": model.local_projection and model.local_projection.linear,
        "ff_motion": model.motion_projection,
        "ff_logit_lstm": decoder.hidden_output,
        "ff_logit_ctxglm": decoder.context_output,
        "ff_logit": decoder.output,
    }
    named = {"Wemb": model.embedding.weight}
    for key, module in modules.items():
        if module is not None:
            named |= {f"{key}_W": module.weight.T, f"{key}_b": module.bias}
    named |= {"decoder_W": decoder.word_gates.weight.T, "decoder_b": decoder.word_gates.bias}
    named |= {"decoder_U": decoder.recurrent_gates.weight.T, "decoder_Wc": decoder.context_gates.weight.T}
    named |= {"decoder_W_sel": decoder.gate.weight.T, "decoder_b_sel": decoder.gate.bias}
    looks = {"l": spatial} | {
        short: temporal[name] for short, name in (("g", "global"), ("m", "motion"), ("lt", "local")) if name in temporal
    }
    for short, module in looks.items():
        if isinstance(module, EvenAttention):
            continue
        named |= {f"decoder_Wc{short}_att": module.key.weight.T, f"decoder_b{short}_att": module.key.bias}
        named |= {f"decoder_Wd{short}_att": module.query.weight.T, f"decoder_U{short}_att": module.score.weight.T}
        named[f"decoder_c{short}_att"] = module.score.bias
    return {key: value.tolist() for key, value in named.items()}


def filled(videos, name, b):
    """The stream of one video, filled up with zeros to all positions."""
    stream = videos.streams[name][b].tolist()
    nothing = torch.zeros_like(videos.streams[name][b, 0]).tolist()
    return [*stream[: LENGTHS[name][b]], *[nothing] * (POSITIONS - LENGTHS[name][b])]


def halves(words, share=0.5):
    return [([share] * (3 * H), [share] * H, [share] * E)] * words


def reference_steps(model, videos, captions, masks=None, kind="stat"):
    """For each caption the loops' steps, padded ones included."""
    p, found = checkpoint(model), []
    for n, row in enumerate(captions.words.tolist()):
        previous = [None, *[word - EOS for word in row[:-1]]]
        previous = [word if word is None or word >= 0 else None for word in previous]
        mask = [float(word != PAD) for word in row]
        b, is_local = n // captions.captions_per_video, model.main == "local"
        streams = [
            filled(videos, name, b) if name == "regions" or not is_local else None for name in ("frames", "motion", "regions")
        ]
        found.append(loops.read(*streams, previous, mask, p, masks[n] if masks else halves(len(row)), kind))
    return found


def likelihood(steps, row):
    return -sum(step["log_probabilities"][word - EOS] for step, word in zip(steps, row, strict=True) if word != PAD)


@pytest.mark.parametrize("stat", [{}, {"temporal_pooling": "mean"}, {"global_from": None, "motion_from": None}])
@pytest.mark.parametrize("kind", ["stat", "stat-mm17"])
def test_loss_equals_the_loops(kind, stat, videos, captions):
    model = make(kind, stat=stat).eval()
    losses = model.loss(videos, captions)
    steps = reference_steps(model, videos, captions, kind="stat" if kind == "stat" else "mm17")
    expected = sum(likelihood(own, row) for own, row in zip(steps, captions.words.tolist(), strict=True)) / 6
    penalty = sum(loops.penalty([[step["looks"] for step in own] for own in steps]).values()) / 6
    assert losses.parts["caption"].item() == pytest.approx(expected, abs=1e-10)
    assert losses.parts["word"].item() == pytest.approx(expected * 6 / sum(map(len, ROWS)), abs=1e-10)
    assert losses.parts["attention"].item() == pytest.approx(penalty, abs=1e-10)
    assert losses.total.item() == pytest.approx(expected + 0.70602 * 32 * penalty, abs=1e-9)


def test_training_multiplies_by_zeros_and_ones_in_three_places(videos, captions):
    model = make()
    masks = DropoutMasks(*(torch.bernoulli(torch.full((6, 5, size), 0.5).double()) for size in (3 * H, H, E)))
    memory = model.encode(videos)
    taught = model.decoder.teach(memory.keys, model.start(memory, 2), model.embed(captions.inputs), captions.is_padding, masks)
    as_lists = [
        list(zip(*(mask[n].tolist() for mask in (masks.gates, masks.hidden, masks.output)), strict=True)) for n in range(6)
    ]
    steps = reference_steps(model, videos, captions, as_lists)
    expected = torch.tensor([[step["log_probabilities"] for step in own] for own in steps], dtype=torch.double)
    torch.testing.assert_close(taught.logits.log_softmax(1), expected[~captions.is_padding], atol=1e-10, rtol=0)
    torch.testing.assert_close(taught.state.h[4].tolist(), steps[4][-1]["h"], atol=1e-10, rtol=0)


def test_evaluation_equals_training_with_every_mask_a_half(videos, captions):
    model = make()
    memory = model.encode(videos)
    given = (memory.keys, model.start(memory, 2), model.embed(captions.inputs), captions.is_padding)
    halves = DropoutMasks(*(torch.full((6, 5, size), 0.5).double() for size in (3 * H, H, E)))
    torch.manual_seed(5)
    trained = model.decoder.teach(*given, halves).logits
    drawn = model.decoder.teach(*given).logits
    model.eval()
    torch.testing.assert_close(model.decoder.teach(*given).logits, trained, atol=1e-14, rtol=0)
    assert not torch.allclose(drawn, trained)


def test_drawn_masks_are_zeros_and_ones_afresh_for_every_step_caption_and_unit():
    model = make()
    masks = model.decoder.draw(200, 20, model.embedding.weight)
    for mask in (masks.gates, masks.hidden, masks.output):
        assert mask.unique().tolist() == [0, 1]
        assert mask.mean().item() == pytest.approx(0.5, abs=0.02)
        assert (mask.std(dim=0) > 0).all()
        assert (mask.std(dim=1) > 0).all()


def test_every_attention_is_returned_and_equals_the_loops(videos, captions):
    model = make().eval()
    memory = model.encode(videos)
    state = model.start(memory, 2)
    steps = reference_steps(model, videos, captions)
    for t, words in enumerate(captions.inputs[:, :2].unbind(1)):
        step = model.step(memory, state, words)
        state = step.state
        weights = weights_of(step)
        assert {name: tuple(found.shape) for name, found in weights.items()} == {
            "global": (6, POSITIONS),
            "motion": (6, POSITIONS),
            "local": (6, POSITIONS),
            "spatial": (6, POSITIONS, R),
        }
        assert step.attention is step.attentions["global"]
        for name, found in weights.items():
            torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]), atol=1e-12, rtol=0)
            assert (found >= 0).all()
            for n in range(6):
                torch.testing.assert_close(found[n].tolist(), steps[n][t]["looks"][name], atol=1e-10, rtol=0)


def weights_of(step):
    """Every attention's weights, those over places as 'spatial'."""
    weights = {name: attention.weights for name, attention in step.attentions.items()}
    return weights | {"spatial": step.attentions["local"].places}


def test_every_attention_names_its_stream_and_positions(videos):
    model = make(stat={"positions": 3}).eval()
    memory = model.encode(videos)
    step = model.step(memory, model.start(memory), torch.full((B,), BOS))
    assert {name: found.positions.stream for name, found in step.attentions.items()} == {
        "global": "frames",
        "motion": "motion",
        "local": "regions",
    }
    # Five in three parts, the longer ones first; two and a padded position; four in three parts.
    for name in ("global", "local"):
        positions = step.attentions[name].positions
        assert [positions.of_video(b).indices[0].tolist() for b in range(B)] == [[0, 2, 4], [0, 1], [0, 2, 3]]
    assert [step.attentions["motion"].positions.of_video(b).indices.shape[1] for b in range(B)] == [3, 3, 1]


def test_without_global_vectors_the_attention_is_that_over_the_regions_frames(videos):
    """With motion, whose sequence is another one, and of other lengths."""
    model = make(stat={"global_from": None, "positions": None, "mask_attention": True}).eval()
    memory = model.encode(videos)
    step = model.step(memory, model.start(memory), torch.full((B,), BOS))
    assert step.attention is step.attentions["local"]
    assert step.attention.positions.stream == memory.positions.stream == "regions"
    assert step.attention.weights.shape == (B, max(LENGTHS["regions"]))
    for decode in (greedy, lambda *given, **limits: [best for best, *_ in beam_search(*given, **limits)]):
        for b, found in enumerate(decode(model, memory, max_words=3)):
            assert found.attention.positions.indices.tolist() == [list(range(LENGTHS["regions"][b]))]
            assert found.attention.weights.shape == (len(found.words), LENGTHS["regions"][b])
            if found.words:
                torch.testing.assert_close(found.attention.weights[0], step.attention.weights[b, : LENGTHS["regions"][b]])


def padded(logits, captions):
    """(M, rows) of real words -> (N, L, rows), not a number on padding."""
    everywhere = torch.full((*captions.words.shape, logits.shape[1]), math.nan, dtype=logits.dtype)
    everywhere[~captions.is_padding] = logits.detach()
    return everywhere


def test_steps_equal_teaching(videos, captions):
    model = make().eval()
    memory = model.encode(videos)
    state = model.start(memory, 2)
    taught = padded(model.teach(memory, captions).logits, captions)
    for t, words in enumerate(captions.inputs.unbind(1)):
        step = model.step(memory, state, words)
        state = step.state
        is_real = ~captions.is_padding[:, t]
        torch.testing.assert_close(step.logits[is_real][:, EOS:], taught[is_real, t], atol=1e-12, rtol=0)
        assert torch.isneginf(step.logits[:, :EOS]).all()


@pytest.mark.parametrize("dimension", ["regions", "frames", "motion", "places in time"])
def test_the_order_of_regions_and_of_positions_does_not_matter(dimension, videos, captions):
    model = make(stat={"positions": 5}).eval()
    order = torch.tensor([1, 0]) if dimension == "regions" else torch.tensor([2, 0, 4, 1, 3])
    videos = VideoBatch(
        {
            "frames": torch.randn(B, 5, H).double(),
            "motion": torch.randn(B, 5, 5).double(),
            "regions": torch.randn(B, 5, R, 3).double(),
        },
        {name: torch.zeros(B, 5, dtype=torch.bool) for name in SIZES},
        torch.arange(B),
    )
    name, axis = {"regions": ("regions", 2), "places in time": ("regions", 1)}.get(dimension, (dimension, 1))
    streams = dict(videos.streams) | {name: videos.streams[name].index_select(axis, order)}
    shuffled = VideoBatch(streams, videos.is_padding, videos.video_numbers)
    before, after = (model.teach(model.encode(batch), captions).logits for batch in (videos, shuffled))
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)
    moved = VideoBatch(dict(videos.streams) | {name: videos.streams[name] * 1.1}, videos.is_padding, videos.video_numbers)
    assert not torch.allclose(model.teach(model.encode(moved), captions).logits, before)


def test_the_state_stays_after_a_caption_s_end_and_padded_words_do_not_count(videos, captions):
    model = make().eval()
    memory = model.encode(videos)
    longer = CaptionBatch(torch.nn.functional.pad(captions.words, (0, 3), value=PAD), 2)
    short, long = model.teach(memory, captions), model.teach(memory, longer)
    torch.testing.assert_close(long.state.h, short.state.h, atol=0, rtol=0)
    torch.testing.assert_close(long.state.c, short.state.c, atol=0, rtol=0)
    first, second = model.loss(videos, captions), model.loss(videos, longer)
    assert second.parts["caption"].item() == pytest.approx(first.parts["caption"].item(), abs=1e-12)
    assert second.parts["attention"].item() != pytest.approx(first.parts["attention"].item(), abs=1e-3)


def test_one_region_leaves_nothing_to_choose(captions):
    model = make().eval()
    one = VideoBatch(
        {
            "frames": torch.randn(B, 4, H).double(),
            "motion": torch.randn(B, 4, 5).double(),
            "regions": torch.randn(B, 4, 1, 3).double(),
        },
        {name: torch.zeros(B, 4, dtype=torch.bool) for name in SIZES},
        torch.arange(B),
    )
    step = model.step(model.encode(one), model.start(model.encode(one)), torch.full((B,), BOS))
    assert (step.attentions["local"].places == 1).all()
    averaged = make(stat={"local_pooling": "mean"}).eval()
    averaged.load_state_dict({name: value for name, value in model.state_dict().items() if "spatial" not in name})
    expected = averaged.step(averaged.encode(one), averaged.start(averaged.encode(one)), torch.full((B,), BOS))
    torch.testing.assert_close(step.logits, expected.logits, atol=1e-12, rtol=0)


def test_the_penalty_doubles_with_the_batch_where_it_is_summed(videos, captions):
    twice = torch.arange(B).repeat(2)
    doubled = VideoBatch(
        {name: stream[twice] for name, stream in videos.streams.items()},
        {name: padding[twice] for name, padding in videos.is_padding.items()},
        twice,
    )
    both = CaptionBatch(captions.words.repeat(2, 1), 2)
    for penalty_captions, factor in ((None, 2), (32, 1)):
        model = make(penalty_captions=penalty_captions).eval()
        one, two = model.loss(videos, captions), model.loss(doubled, both)
        assert two.parts["caption"].item() == pytest.approx(one.parts["caption"].item(), abs=1e-12)
        penalties = [(loss.total - loss.parts["caption"]).item() for loss in (one, two)]
        assert penalties[1] == pytest.approx(factor * penalties[0], rel=1e-12)
        assert penalties[0] > 1


def test_the_penalty_of_a_batch_of_the_size_it_is_meant_for_is_the_sum(videos, captions):
    meant, summed = make(penalty_captions=6).eval(), make(penalty_captions=None).eval()
    assert meant.loss(videos, captions).total.item() == pytest.approx(summed.loss(videos, captions).total.item(), abs=1e-12)


def test_the_size_of_the_released_model():
    settings = ModelSettings(kind="stat", attention_size=1024, embedding_size=512)
    with torch.device("meta"):
        sizes = {"frames": 1024, "motion": 4096, "regions": 4096}
        published = build_model(
            settings, {name: StreamSpec(name, size) for name, size in sizes.items()}, vocabulary_size=20_000 + EOS
        )
        msvd = build_model(
            settings, {name: StreamSpec(name, size) for name, size in sizes.items()}, vocabulary_size=13_012 + EOS
        )
    assert sum(parameter.numel() for parameter in published.parameters()) == 50_927_141
    assert sum(parameter.numel() for parameter in msvd.parameters()) == 43_764_441


def test_fresh_weights():
    torch.manual_seed(0)
    settings = ModelSettings(kind="stat", hidden_size=64, attention_size=64, embedding_size=32)
    model = build_model(
        settings,
        {name: StreamSpec(name, size) for name, size in {"frames": 64, "motion": 96, "regions": 80}.items()},
        vocabulary_size=52,
    )
    named = dict(model.named_parameters())
    orthogonal = {name for name in named if name.endswith("query.weight")} | {"initial_h.weight", "initial_c.weight"}
    blocks = [("decoder.recurrent_gates.weight", block) for block in named["decoder.recurrent_gates.weight"].chunk(4)]
    for name, weight in [*((name, named[name]) for name in orthogonal), *blocks]:
        torch.testing.assert_close(weight @ weight.T, torch.eye(64), atol=1e-5, rtol=0, msg=name)
    for name, parameter in named.items():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif name not in orthogonal and name != "decoder.recurrent_gates.weight":
            assert parameter.std().item() == pytest.approx(0.01, rel=0.35), name
    assert len(orthogonal) == 6


SMALL = {
    "stat": {},
    "stat-mm17": {},
    "masked": {"mask_attention": True, "positions": None},
    "temporal only": {"motion_from": None, "local_from": None},
    "without local": {"local_from": None},
    "averaged": {"local_pooling": "mean"},
    "spatial only": {"temporal_pooling": "mean"},
    "local only": {"global_from": None, "motion_from": None},
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_loss_gradients(name, videos, captions):
    check_loss_gradients(make("stat-mm17" if name == "stat-mm17" else "stat", stat=SMALL[name]).eval(), videos, captions)


@pytest.mark.parametrize("name", ["stat", "masked", "averaged", "spatial only", "local only"])
def test_a_batch_equals_its_items(name, videos, captions):
    model = make(stat=SMALL[name], penalty_on_padding=False).eval()
    together = model.loss(videos, captions)
    alone = []
    for b in range(B):
        cut = {key: stream[b : b + 1, : LENGTHS[key][b]] for key, stream in videos.streams.items()}
        padding = {key: torch.zeros(stream.shape[:2], dtype=torch.bool) for key, stream in cut.items()}
        rows = captions.words[2 * b : 2 * b + 2]
        rows = rows[:, : int((rows != PAD).sum(1).max())]
        alone.append(model.loss(VideoBatch(cut, padding, torch.tensor([b])), CaptionBatch(rows, 2)))
    for part in ("caption", "attention"):
        torch.testing.assert_close(
            together.parts[part], torch.stack([one.parts[part] for one in alone]).mean(), atol=1e-12, rtol=0
        )


def test_several_captions_of_a_video_equal_the_video_given_several_times(videos, captions):
    model = make().eval()
    repeated = torch.arange(B).repeat_interleave(2)
    pairs = VideoBatch(
        {name: stream[repeated] for name, stream in videos.streams.items()},
        {name: padding[repeated] for name, padding in videos.is_padding.items()},
        repeated,
    )
    together, apart = model.loss(videos, captions), model.loss(pairs, CaptionBatch(captions.words, 1))
    torch.testing.assert_close(together.total, apart.total, atol=1e-10, rtol=0)


def test_memory_of_chosen_videos(videos, captions):
    model = make(stat={"mask_attention": True}).eval()
    chosen = torch.tensor([2, 0])
    memory = model.encode(videos)
    words = torch.full((2,), BOS)
    expected = model.step(memory, model.start(memory), torch.full((B,), BOS)).logits[chosen]
    part = memory.select(chosen)
    torch.testing.assert_close(model.step(part, model.start(part), words).logits, expected, atol=1e-12, rtol=0)
    assert part.positions.indices.tolist() == memory.positions.indices[chosen].tolist()


def test_what_is_masked_is_not_seen(videos, captions):
    regions = videos.streams["regions"].clone()
    regions[0, 1, 1] = 0  # a region that is missing
    regions[2, 2] = 0  # a frame without any
    batch = VideoBatch(dict(videos.streams) | {"regions": regions}, videos.is_padding, videos.video_numbers)
    model = make(stat={"mask_attention": True}).eval()
    memory = model.encode(batch)
    step = model.step(memory, model.start(memory), torch.full((B,), BOS))
    for attention in step.attentions.values():
        for b, length in enumerate(LENGTHS[attention.positions.stream]):
            assert (attention.weights[b, length:] == 0).all()
    local = step.attentions["local"]
    assert local.places[0, 1].tolist() == [1, 0]
    assert local.places[2, 2].tolist() == [0, 0]
    assert local.weights[2, 2].item() == 0
    torch.testing.assert_close(local.weights.sum(1), torch.ones(B).double())
    assert model.loss(batch, captions).total.isfinite()


def test_attentions_of_a_given_caption(videos):
    model = make().eval()
    memory = model.encode(videos)
    words = torch.tensor([[4, 5], [6, EOS], [7, 8]])
    attentions = attentions_of(model, memory, words)
    state, expected = model.start(memory), []
    for before in (torch.full((B,), BOS), words[:, 0]):
        step = model.step(memory, state, before)
        state = step.state
        expected.append(step.attentions["local"].places)
    torch.testing.assert_close(attentions["local"].places, torch.stack(expected, dim=1).flatten(0, 1))
    assert attentions["motion"].weights.shape == (B * 2, POSITIONS)
    of_one = attentions["local"].of_video(1)
    torch.testing.assert_close(of_one.places, torch.stack([found[1, :2] for found in expected]))


def test_greedy_is_a_beam_of_one_and_a_wide_beam_finds_the_best(videos):
    model = make().eval()
    memory = model.encode(videos)
    first, narrow = greedy(model, memory, max_words=3), beam_search(model, memory, width=1, max_words=3)
    assert [one.words for one in first] == [one[0].words for one in narrow]
    wide = beam_search(model, memory, width=V**3, max_words=3)
    for b in range(B):
        best = max(
            ((score(model, memory, b, words), words) for words in spoken(2)),
            key=lambda found: found[0],
        )
        assert wide[b][0].words == best[1]
        assert wide[b][0].score == pytest.approx(best[0], abs=1e-10)


def spoken(longest):
    words = range(EOS + 1, V)
    return [caption for length in range(longest + 1) for caption in itertools.product(words, repeat=length)]


def score(model, memory, b, words):
    memory = memory.select(torch.tensor([b]))
    state, before, total = model.start(memory), BOS, 0.0
    for word in [*words, EOS]:
        step = model.step(memory, state, torch.tensor([before]))
        logits = step.logits[0].tolist()
        total += logits[word] - math.log(sum(math.exp(value) for value in logits))
        state, before = step.state, word
    return total


@pytest.mark.parametrize("options", [{}, {"motion_from": None}, {"local_pooling": "mean"}])
def test_a_grid_is_enough(options, grids, captions):
    model = make(sizes={"grid": H}, grid_size=(1, 3), stat=WIDE | {"positions": 4} | options).eval()
    losses = model.loss(grids, captions)
    assert losses.total.isfinite()
    memory = model.encode(grids)
    torch.testing.assert_close(memory.keys.streams["global"].values[0], grids.streams["grid"][0, [0, 2, 3, 4]].mean(dim=1))
    assert memory.positions.stream == memory.select(torch.tensor([0])).positions.stream == "grid"
    assert memory.positions.indices[0].tolist() == [0, 2, 3, 4]
    assert memory.positions.is_padding.tolist() == [[False] * 4, [False, False, True, True], [False] * 4]


def test_a_place_embedding_tells_places_apart(grids):
    turned = VideoBatch({"grid": grids.streams["grid"].flip(2)}, grids.is_padding, grids.video_numbers)
    for deviation in (0.0, 0.3):
        inputs = {"place_embedding": deviation}
        model = make(sizes={"grid": H}, grid_size=(1, 3), stat=WIDE | {"motion_from": None}, inputs=inputs).eval()
        first, second = ((memory := model.encode(batch)) and model.step(memory, model.start(memory), torch.full((B,), BOS)) for batch in (grids, turned))  # fmt: skip
        assert torch.allclose(first.logits[:, EOS:], second.logits[:, EOS:]) is (deviation == 0)


def test_a_projected_global_stream(videos, captions):
    sizes = SIZES | {"frames": 7}
    wide = VideoBatch(dict(videos.streams) | {"frames": torch.randn(B, 5, 7).double()}, videos.is_padding, videos.video_numbers)
    model = make(sizes=sizes, stat={"project_global": True}).eval()
    assert model.loss(wide, captions).total.isfinite()
    frames = torch.nn.functional.pad(wide.streams["frames"], (0, 0, 0, 1))
    torch.testing.assert_close(model.encode(wide).keys.streams["global"].values, torch.tanh(model.global_projection(frames)))


@pytest.mark.parametrize("penalty_on_padding", [True, False])
def test_the_loss_of_real_words_equals_the_padded_one(penalty_on_padding, videos, captions):
    """Every word's logits, dropout included, and a cross-entropy that leaves padding out."""
    model = make(penalty_on_padding=penalty_on_padding)
    model.label_smoothing = 0.1
    longer = CaptionBatch(torch.nn.functional.pad(captions.words, (0, 3), value=PAD), 2)
    everywhere, rows = torch.zeros(6, 8, dtype=torch.bool), []
    model.decoder.output.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[:-1].numel()))
    memory = model.encode(videos)
    torch.manual_seed(7)
    masks = model.decoder.draw(6, 8, memory.start.h)
    embedded = model.embed(longer.inputs)
    # What is read after the end of a caption comes from states that go on, but no logit of it counts.
    taught = model.decoder.teach(memory.keys, model.start(memory, 2), embedded, everywhere, masks)
    expected = torch.nn.functional.cross_entropy(
        taught.logits, (longer.words - EOS).flatten(), ignore_index=PAD - EOS, reduction="sum", label_smoothing=0.1
    )
    torch.manual_seed(7)
    losses = model.loss(videos, longer)
    torch.testing.assert_close(losses.parts["caption"], expected / 6, atol=1e-10, rtol=0)
    assert rows == [6 * 8, sum(map(len, ROWS))]


def test_label_smoothing_counts_the_words_that_have_a_row(videos, captions):
    model = make().eval()
    logits = padded(model.teach(model.encode(videos), captions).logits, captions).log_softmax(2)
    model.label_smoothing = 0.1
    expected = 0.0
    for n, row in enumerate(captions.words.tolist()):
        for t, word in enumerate(row):
            if word != PAD:
                expected -= 0.9 * logits[n, t, word - EOS].item() + 0.1 * logits[n, t].mean().item()
    assert model.loss(videos, captions).parts["caption"].item() == pytest.approx(expected / 6, abs=1e-10)


@pytest.mark.parametrize("kind", ["stat", "stat-mm17"])
def test_bfloat16_comes_near(kind, videos, captions):
    model = make(kind, stat={"mask_attention": True}).float().eval()
    floats = VideoBatch(
        {name: stream.float() for name, stream in videos.streams.items()}, videos.is_padding, videos.video_numbers
    )
    expected = model.loss(floats, captions)
    expected.total.backward()
    gradient = model.embedding.weight.grad.clone()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(floats, captions)
    losses.total.backward()
    assert losses.total.item() == pytest.approx(expected.total.item(), rel=0.03)
    torch.testing.assert_close(model.embedding.weight.grad, gradient, atol=0.1 * float(gradient.abs().max()), rtol=0)


def without(videos, name):
    kept = {other: stream for other, stream in videos.streams.items() if other != name}
    return VideoBatch(kept, {other: videos.is_padding[other] for other in kept}, videos.video_numbers)


def test_a_missing_stream_is_named(videos):
    model = make()
    with pytest.raises(ShapeError, match=r"^the batch has the streams frames, motion; expected 'regions'\.$"):
        model.encode(without(videos, "regions"))


@pytest.mark.parametrize(
    ("name", "stream", "sentence"),
    [
        ("frames", torch.zeros(B, 5, 6), "frames (3, 5, 6): expected a sequence (B, T, 4)."),
        ("motion", torch.zeros(B, 4, 6), "motion (3, 4, 6): expected a sequence (B, T, 5)."),
        ("motion", torch.zeros(B, 5), "motion (3, 5): expected a sequence (B, T, 5)."),
        ("regions", torch.zeros(B, 5, 3), "regions (3, 5, 3): expected a sequence (B, T, R, 3)."),
    ],
)
def test_a_stream_of_another_size_is_named_with_both_shapes(name, stream, sentence, videos):
    padding = {} if stream.dim() == 2 else {name: torch.zeros(stream.shape[:2], dtype=torch.bool)}
    others = without(videos, name)
    batch = VideoBatch(dict(others.streams) | {name: stream}, dict(others.is_padding) | padding, others.video_numbers)
    assert error_of(ShapeError, make().encode, batch) == sentence


def test_a_grid_of_other_locations_is_named(grids):
    model = make(sizes={"grid": H}, grid_size=(4,), stat=WIDE)
    assert error_of(ShapeError, model.encode, grids) == "grid (3, 5, 3, 4): expected 4 locations."


@pytest.mark.parametrize(
    ("sizes", "options", "sentence"),
    [
        (
            {"grid": H},
            {},
            "model.stat.global_from needs the stream 'frames', but the features have grid. Extract that stream too, or take another one.",
        ),
        (
            {"frames": H, "motion": 5},
            {},
            "model.stat.local_from needs the stream 'regions', but the features have frames, motion. Extract that stream too, or take another one.",
        ),
        (
            {"frames": H, "grid": 5},
            {"motion_from": "differences", "local_from": None},
            "model.stat.motion_from is 'differences': expected features with a grid of known size.",
        ),
        (
            SIZES | {"frames": 7},
            {},
            "the global vectors have 7 values and model.hidden_size is 4; expected the same number, for they are added. Set model.stat.project_global: true to bring them to that size.",
        ),
    ],
)
def test_features_that_do_not_fit_are_told_before_training(sizes, options, sentence):
    assert error_of(ConfigError, make, sizes=sizes, stat=options) == sentence


def test_a_model_of_grids_says_so():
    assert (
        error_of(ConfigError, make, "lstap", sizes={"frames": 4})
        == "model.kind lstap needs the stream 'grid', but the features have frames. Extract a grid (features.backbone names its network), or take another kind."
    )

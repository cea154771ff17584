"""Beam search over a batch of clips, against the same search clip by clip and against one hypothesis at a time.

    python -m benchmarks.beam [--clips 100]

The clips are encoded beforehand; their captions must be the same. Weights are random but for what ends a caption: one unit of the
decoder counts words, and the end becomes probable at about nine, as in the captions of MSR-VTT.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import torch
from benchmarks.table import Row, against, markdown

from stap.decoding.beam import beam_search
from stap.decoding.steps import IMPOSSIBLE
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import DecoderState, Memory
from stap.models.encoder_decoder import EncoderDecoder
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import BOS, EOS, PAD

WIDTH, MOST_WORDS, WORDS = 5, 30, 9
T, D, H, A, E, V = 16, 128, 256, 128, 256, 4543

Captions = list[tuple[int, ...]]


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(given)
    model = make_model()
    with torch.inference_mode():
        memory = encoded(model, options.clips)
        found = together(model, memory)
        assert found == clip_by_clip(model, memory) == hypothesis_by_hypothesis(model, memory)
        print(f"{sum(map(len, found)) / len(found):.1f} words a caption", file=sys.stderr)
        limit = products(rows_of_steps(model, memory))
        fast, of_products = against(lambda: together(model, memory), limit, options.repeats)
        _, by_clip = against(lambda: clip_by_clip(model, memory), lambda: together(model, memory), options.repeats)
        _, by_row = against(lambda: hypothesis_by_hypothesis(model, memory), lambda: together(model, memory), options.repeats)
    what = f"beam {WIDTH} of {options.clips} clips, H={H}, V={V:,}"
    bound = f"the decoder's matrix products: the whole search takes {of_products:.2f} times as long"
    rate = f"times faster; {options.clips / fast:.0f} clips a second"
    return [
        Row(what, "clip by clip, five hypotheses together, same captions", by_clip, 10, bound, at_least=True, detail=rate),
        Row(what, "one hypothesis at a time, same captions", by_row, 20, bound, at_least=True, detail=rate),
        Row(what, "its matrix products", of_products),
    ]


def make_model() -> EncoderDecoder:
    torch.manual_seed(0)
    settings = ModelSettings(kind="lrcn", hidden_size=H, attention_size=A, embedding_size=E)
    model = build_model(settings, {"grid": StreamSpec("grid", D, grid=(1,), frames=T)}, vocabulary_size=V)
    assert isinstance(model, EncoderDecoder)
    with torch.no_grad():
        model.embedding.weight.normal_()
        model.decoder.output.weight.normal_(std=0.6)
        count_words(model)
    return model.eval()


def count_words(model: EncoderDecoder) -> None:
    """Hidden unit 0 grows with each word and unit 1 stays at tanh(1), which unit 0 reaches after WORDS words: then the end is probable."""
    decoder = model.decoder
    for linear in (decoder.word_gates, decoder.context_gates, decoder.recurrent_gates):
        linear.weight.view(4, H, -1)[:, :2] = 0
    open_gate, ready = 20.0, 10.0  # `ready`: a good word's logit
    decoder.word_gates.bias.view(4, H)[:, :2] = torch.tensor(
        [[open_gate, open_gate], [open_gate, -open_gate], [open_gate, open_gate], [1 / WORDS, open_gate]]
    )
    slope = 40.0
    decoder.output.weight[EOS] = 0
    decoder.output.weight[EOS, 0] = slope
    decoder.output.weight[EOS, 1] = ready / math.tanh(1) - slope


def encoded(model: EncoderDecoder, clips: int) -> Memory:
    grid = torch.randn(clips, T, 1, D)
    memory = model.encode(VideoBatch({"grid": grid}, {"grid": torch.zeros(clips, T, dtype=torch.bool)}, torch.arange(clips)))
    memory.start.c[:, 0] = torch.linspace(-0.4, 0.4, clips)  # longer captions first
    return memory


def together(model: EncoderDecoder, memory: Memory) -> Captions:
    return [best.words for best, *_ in beam_search(model, memory, width=WIDTH, max_words=MOST_WORDS)]


def clip_by_clip(model: EncoderDecoder, memory: Memory) -> Captions:
    clips = [memory.select(torch.tensor([video])) for video in range(memory.size)]
    return [words for clip in clips for words in together(model, clip)]


def hypothesis_by_hypothesis(model: EncoderDecoder, memory: Memory) -> Captions:
    return [plain_search(model, memory.select(torch.tensor([video]))) for video in range(memory.size)]


def plain_search(model: EncoderDecoder, memory: Memory) -> tuple[int, ...]:
    """The same search in lists: each hypothesis of a clip calls the model by itself."""
    live: list[tuple[tuple[int, ...], float, DecoderState]] = [((), 0.0, model.start(memory))]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(MOST_WORDS):
        continued = []
        for words, score, state in live:
            said = model.step(memory, state, torch.tensor([words[-1] if words else BOS]))
            gains = said.logits[0].log_softmax(0)
            gains[[PAD, BOS]] = IMPOSSIBLE
            best = gains.topk(2 * WIDTH)
            pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
            continued += [(score + gain, words, word, said.state) for gain, word in pairs]
        continued.sort(key=lambda one: -one[0])
        finished += [(score, words) for score, words, word, _ in continued[:WIDTH] if word == EOS]
        finished = sorted(finished, key=lambda one: -one[0])[:WIDTH]
        least = finished[-1][0] if len(finished) == WIDTH else IMPOSSIBLE
        going_on = [one for one in continued if one[2] != EOS][:WIDTH]
        live = [((*words, word), score, state) for score, words, word, state in going_on if score > least]
        if not live:
            break
    return finished[0][1]


def rows_of_steps(model: EncoderDecoder, memory: Memory) -> list[int]:
    """How many rows each step of the search has."""
    rows: list[int] = []
    handle = model.decoder.output.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    together(model, memory)
    handle.remove()
    return rows


def products(rows: list[int]) -> Callable[[], None]:
    """The products of so many rows with the decoder's weights: queries, gates and words."""
    weights = [torch.randn(outputs, inputs) for inputs, outputs in ((H, A), (E, 4 * H), (H, 4 * H), (H, 4 * H), (H, V))]
    states = [torch.randn(count, H) for count in rows]

    def limit() -> None:
        for state in states:
            for weight in weights:
                state @ weight.T

    return limit


if __name__ == "__main__":
    main()

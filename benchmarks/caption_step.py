"""A training step on captions with the lengths of human ones, compared with the matrix products of its words and frames.

L-STAP over one location a frame (16 videos of 28 frames with 5 captions each, H = 256, 4,543 words), Adam. The lengths of the captions are
those of MSR-VTT's annotations, shared between tests and benchmarks as STAP_DATA (see CONTRIBUTING.md).

    python -m benchmarks.caption_step [--implementation reference]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.table import CannotRunError, Row, against, markdown

from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.teacher_forcing import Blocks
from stap.recipes.files import load_recipe
from stap.recipes.streams import StreamSpec
from stap.text.special_ids import EOS, UNK
from stap.training.optimizer import build_optimizer
from stap.training.step import update

B, K, T, D, H, A, E, V, LONGEST = 16, 5, 28, 1536, 256, 128, 128, 4543, 30
ANNOTATIONS = Path("features/videodatainfo.json")


def lengths_of_captions() -> list[int]:
    """Words of each caption of MSR-VTT's annotations, with the end."""
    data = os.environ.get("STAP_DATA")
    if not data or not (Path(data) / ANNOTATIONS).is_file():
        raise CannotRunError(f"set STAP_DATA to the folder that holds {ANNOTATIONS}")
    sentences = json.loads((Path(data) / ANNOTATIONS).read_text())["sentences"]
    return [min(LONGEST, len(re.findall(r"\w+", sentence["caption"])) + 1) for sentence in sentences]


def random_batch(lengths: list[int], draw: random.Random) -> tuple[VideoBatch, CaptionBatch]:
    chosen = draw.choices(lengths, k=B * K)
    words = torch.zeros(B * K, max(chosen), dtype=torch.long)
    for row, length in enumerate(chosen):
        words[row, :length] = torch.randint(UNK + 1, V, (length,))
        words[row, length - 1] = EOS
    videos = VideoBatch({"grid": torch.randn(B, T, 1, D)}, {"grid": torch.zeros(B, T, dtype=torch.bool)}, torch.arange(B))
    return videos, CaptionBatch(words, K)


def products(words: int) -> Callable[[], None]:
    """The products with weights of as many words, and their gradients: of the encoder, decoder, sentence encoder and output layer."""
    sizes = [(B * T, D, 4 * H, False), (B * T, H, 4 * H, True), (words, H, V, True), (words, H, A, True)]
    sizes += [(words, E, 4 * H, True), (words, H, 4 * H, True)] * 2 + [(words, H, 4 * H, True)]
    made = [(torch.randn(n, a), torch.randn(b, a), torch.randn(n, b), needs_input) for n, a, b, needs_input in sizes]

    def compute() -> None:
        for x, weight, gradient, needs_input in made:
            x @ weight.T
            gradient.T @ x
            if needs_input:
                gradient @ weight

    return compute


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--implementation", choices=["auto", "reference"], default="auto")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args(given)
    recipe = load_recipe("msrvtt/lstap-mean")
    changed = {"hidden_size": H, "attention_size": A, "embedding_size": E, "motion_size": None}
    settings = recipe.model.model_copy(update=changed | {"implementation": options.implementation})
    torch.manual_seed(0)
    model = build_model(settings, {"grid": StreamSpec("grid", D, grid=(1, 1), frames=T)}, vocabulary_size=V)
    adam = recipe.training.optimizer.model_copy(update={"kind": "adam", "learning_rate": 1e-3})
    optimizer, (videos, captions) = build_optimizer(adam, model), random_batch(lengths_of_captions(), random.Random(0))
    words = int(captions.lengths.sum())
    limit = products(words)
    predicted: list[int] = []
    model.get_submodule("decoder.output").register_forward_hook(lambda _, given, __: predicted.append(len(given[0])))

    def step() -> None:
        update(model, optimizer, (videos, captions), recipe.training)

    taken, ratio = against(step, limit, options.repeats)
    computed = sum(b * k for b, k in Blocks(captions.lengths.view(B, K)).sizes)
    what = f"a training step on people's captions, {words} words of {captions.words.numel()} places"
    detail = f"{B * K / taken:.0f} captions a second"
    return [
        Row(what, "the products of its real words and frames", ratio, 2, "Adam, softmax, and elementwise work", detail=detail),
        Row(
            "the share of the decoder's recurrence that is padding",
            "nothing",
            1 - words / computed,
            bound="captions of a video differ in length",
        ),
        Row("the share of the output layer's work that is padding", "nothing", 1 - words / predicted[0], 0.05),
    ]


if __name__ == "__main__":
    main()

"""Time of a training step of frame-sentence matching, as a multiple of that of its image network.

    python -m benchmarks.pretraining [--rounds 15]

The demo's networks on random frames in memory: the whole update (pixels, network, sentences, loss, Muon) against forward and backward of the
network, in turn in one process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from benchmarks.table import Row, against, markdown

from stap.features.grid import GridExtractor
from stap.models.matching import matching_loss
from stap.recipes.files import load_recipe
from stap.training.optimizer import build_optimizer
from stap.training.pretraining.pretrain import FrameSentenceModel

WORDS, LENGTHS = 150, (6, 14)  # about those of the scenes


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    whole, network = make_update()
    seconds, ratio = against(whole, network, parser.parse_args(given).rounds)
    return [
        Row(
            "an update of pretraining on frames in memory, the demo's sizes",
            "its image network forward and backward",
            ratio,
            goal=1.15,
            bound="the products of the sentences' LSTM and of Muon",
            detail=f"{1000 * seconds:.0f} ms",
        )
    ]


def make_update() -> tuple[Callable[[], None], Callable[[], None]]:
    """The whole update, and the network's part of it."""
    torch.manual_seed(1)
    recipe = load_recipe("demo/quick")
    settings = recipe.pretraining
    extractor = GridExtractor(recipe.features.model_copy(update={"weights": "random"}))
    model = FrameSentenceModel(extractor, WORDS, settings).train()
    optimizer = build_optimizer(settings.optimizer, model)
    N, K, side = settings.batch_size, settings.captions_per_frame, extractor.image_size
    images = torch.randint(0, 256, (N, side, side, 3), dtype=torch.uint8)
    words = torch.randint(4, WORDS, (N * K, LENGTHS[1]))
    lengths = torch.randint(LENGTHS[0], LENGTHS[1] + 1, (N * K, 1))
    words = words.masked_fill(torch.arange(LENGTHS[1]) >= lengths, 0)
    of_frame = torch.arange(N)
    of_sentence = of_frame.repeat_interleave(K)
    in_memory = extractor.normalise(images)

    def whole() -> None:
        frames, sentences = model.embed_frames(extractor.normalise(images)), model.embed_sentences(words)
        loss = matching_loss(frames, sentences, of_frame, of_sentence, settings.margin, negatives=settings.early_negatives)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()

    def network() -> None:
        optimizer.zero_grad(set_to_none=True)
        model.embed_frames(in_memory).sum().backward()

    return whole, network


if __name__ == "__main__":
    main()

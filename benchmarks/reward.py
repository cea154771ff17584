"""What the reward costs of a step with training.objective=cider.

800 videos with 20 references each, and a step of L-STAP (H=256) on 64 of them with 5 samples each: the sizes of msrvtt/features. References
and samples are words drawn by frequency, a tenth of them the end of a sentence.

    python -m benchmarks.reward
"""

from __future__ import annotations

import argparse
import statistics
import sys
from types import SimpleNamespace
from typing import Any, cast

import torch
from benchmarks.table import Row, clocked, markdown

from stap.decoding.sampling import sample
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.output_bias import start_at_frequencies
from stap.recipes.settings import ModelSettings, TrainingSettings
from stap.recipes.streams import StreamSpec
from stap.text.ptb import PTBTokenizer
from stap.text.special_ids import EOS, UNK
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary
from stap.training.optimizer import build_optimizer
from stap.training.self_critical import Reward, SelfCritical
from stap.training.step import update

VIDEOS, REFERENCES, WORDS, FRAMES, SIZE = 800, 20, 2700, 50, 128
BATCH, SAMPLES = 64, 5


class Spaces(PTBTokenizer):
    """The scorer's tokenizer without Java: it runs before the first step, not in it."""

    def tokenize(self, captions: Any, *, keep: bool = False) -> list[str]:
        """The captions."""
        return list(captions)


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args(given).repeats
    torch.manual_seed(0)
    counts = torch.zeros(WORDS + len(SPECIAL_WORDS), dtype=torch.double)
    counts[UNK + 1 :] = 0.9 / torch.arange(1, WORDS + 1) / (1 / torch.arange(1, WORDS + 1)).sum()  # Zipf
    counts[EOS] = 0.1
    settings = ModelSettings(
        hidden_size=256, attention_size=128, embedding_size=128, pooling="mean", matching_weight=0, output_bias="frequency"
    )
    model = build_model(settings, {"grid": StreamSpec("grid", SIZE, grid=(1, 1))}, vocabulary_size=len(counts))
    assert model.output_bias is not None
    start_at_frequencies(model.output_bias, counts * 1e6)
    videos = VideoBatch(
        {"grid": torch.randn(BATCH, FRAMES, 1, SIZE)},
        {"grid": torch.zeros(BATCH, FRAMES, dtype=torch.bool)},
        torch.arange(BATCH),
    )
    reward = reward_of(counts)
    objective, training = SelfCritical(reward, samples=SAMPLES, max_words=30), TrainingSettings()
    optimizer = build_optimizer(training.cider.optimizer, model)
    nothing = CaptionBatch(torch.full((BATCH, 1), EOS))
    samples = sample(model.eval(), model.encode(videos), SAMPLES)

    def step() -> None:
        update(model, optimizer, (videos, nothing), training, objective=objective)

    rounds = [(clocked(lambda: reward(videos.video_numbers, samples)), clocked(step)) for _ in range(repeats + 1)][1:]
    ratio = statistics.median(rewarding / whole for rewarding, whole in rounds)
    detail = f"{statistics.median(one for one, _ in rounds):.3g} s of {statistics.median(whole for _, whole in rounds):.3g} s"
    return [Row("CIDEr as reward, 320 samples", "a step with training.objective=cider", ratio, 0.33, "", detail=detail)]


def reward_of(counts: torch.Tensor) -> Reward:
    """Of VIDEOS videos whose references are as long, and of as frequent words, as the samples."""
    words = [f"word{number}" for number in range(WORDS)]
    lengths = torch.poisson(torch.full((VIDEOS, REFERENCES), 9.0)).long().clamp_min(3).tolist()
    drawn = iter(torch.multinomial(counts[UNK + 1 :], sum(map(sum, lengths)), replacement=True).tolist())
    clips = [
        SimpleNamespace(captions=[" ".join(words[next(drawn)] for _ in range(length)) for length in group]) for group in lengths
    ]
    videos = SimpleNamespace(clips=clips, vocabulary=Vocabulary((*SPECIAL_WORDS, *words)))
    return Reward(cast(Any, videos), Spaces())


if __name__ == "__main__":
    main()

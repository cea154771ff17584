"""Shared parts of greedy and beam search: hypotheses, a `step` of the model, and `forbid`, which rules words out.

Rows are grouped as in `CaptionModel`: rows b * K ... b * K + K - 1 continue video b. The memory is never copied for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stap.errors import CheckpointError
from stap.models.caption_model import Attention, CaptionModel, DecoderState, Memory, Positions
from stap.text.special_ids import BOS, EOS, PAD, UNK

__all__ = [
    "IMPOSSIBLE",
    "Hypothesis",
    "NextWord",
    "Rows",
    "check_numbers",
    "check_positive",
    "forbid",
    "hypotheses",
    "positions_by_video",
    "step",
]

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    """A caption of one video.

    words: ids, without BOS and EOS.   score: sum of the words' log-probabilities, that of EOS included.
    attention: the model's main one, a row per word, over the video's own positions, on the CPU.
    is_finished: False where `max_words` were written and no EOS came; the score then has no EOS.
    """

    words: tuple[int, ...]
    score: float
    attention: Attention
    is_finished: bool = True


@dataclass(frozen=True)
class Rows:
    """Hypotheses of l words, one per row. words: (N, l).   scores: (N,), -inf in rows to ignore.   attention: (N, l, F)."""

    state: DecoderState
    words: Tensor
    scores: Tensor
    attention: Tensor

    @classmethod
    def start(cls, model: CaptionModel, memory: Memory) -> Rows:
        """One row per video."""
        dtype = torch.promote_types(memory.start.h.dtype, torch.float32)
        scores = memory.start.h.new_zeros(memory.size, dtype=dtype)
        words = torch.empty(memory.size, 0, dtype=torch.int64, device=scores.device)
        attention = memory.start.h.new_empty(memory.size, 0, memory.positions.indices.shape[1])
        return cls(model.start(memory), words, scores, attention)

    def select(self, rows: Tensor) -> Rows:
        """The given rows, in that order."""
        return Rows(self.state.select(rows), self.words[rows], self.scores[rows], self.attention[rows])

    def extended(self, following: NextWord, rows: Tensor, words: Tensor, scores: Tensor) -> Rows:
        """The given rows, each with one more word, and their new scores."""
        return Rows(
            following.state.select(rows),
            torch.cat([self.words[rows], words[:, None]], dim=1),
            scores,
            torch.cat([self.attention[rows], following.attention[rows, None]], dim=1),
        )


@dataclass(frozen=True)
class NextWord:
    """log_probabilities: (N, V).   state: after reading the last word.   attention: (N, F)."""

    log_probabilities: Tensor
    state: DecoderState
    attention: Tensor


def step(model: CaptionModel, memory: Memory, rows: Rows) -> NextWord:
    """Read the last word of each row and give the log-probabilities of the next, in float32 or better."""
    if rows.words.shape[1]:
        last = rows.words[:, -1]
    else:
        last = torch.full_like(rows.scores, BOS, dtype=torch.int64)
    said = model.step(memory, rows.state, last)
    logits = said.logits.to(torch.promote_types(said.logits.dtype, torch.float32))
    return NextWord(logits.log_softmax(dim=1), said.state, said.attention.weights)


def forbid(log_probabilities: Tensor, words: Tensor, no_repeat_ngram: int = 0, *, unknown: bool = False) -> None:
    """Rule out, in place, PAD, BOS and each word that would repeat an n-gram of its row; the rest keeps its probability.

    log_probabilities: (N, V).   words: (N, l), what each row has so far.   unknown: rule out UNK too.
    """
    log_probabilities[:, [PAD, BOS, UNK] if unknown else [PAD, BOS]] = IMPOSSIBLE
    if 0 < no_repeat_ngram <= words.shape[1]:
        ngrams = words.unfold(1, no_repeat_ngram, 1)  # (N, l - n + 1, n)
        ending = words[:, words.shape[1] - no_repeat_ngram + 1 :]  # (N, n - 1), the beginning of the next n-gram
        rows, places = (ngrams[:, :, :-1] == ending[:, None]).all(dim=2).nonzero(as_tuple=True)
        log_probabilities[rows, ngrams[rows, places, -1]] = IMPOSSIBLE


def positions_by_video(positions: Positions) -> list[Positions]:
    """The positions of each video without padding, on the CPU."""
    on_cpu = Positions(positions.stream, positions.indices.cpu(), positions.is_padding.cpu())
    return [on_cpu.of_video(video) for video in range(positions.size)]


def hypotheses(rows: Rows, of_rows: Iterable[Positions]) -> list[Hypothesis]:
    """The rows as captions.   of_rows: for each row the positions of its video, of `positions_by_video`."""
    attentions = rows.attention.cpu()
    attentions = attentions.to(torch.promote_types(attentions.dtype, torch.float32))
    found = []
    for words, score, attention, positions in zip(rows.words.tolist(), rows.scores.tolist(), attentions, of_rows, strict=True):
        is_finished = EOS in words
        length = words.index(EOS) if is_finished else len(words)
        own = attention[:length, : positions.indices.shape[1]].clone()  # a view would keep the attention of all rows
        found.append(Hypothesis(tuple(words[:length]), score, Attention(positions, own), is_finished))
    return found


def check_positive(**settings: int) -> None:
    """Raise ValueError for the first setting below 1."""
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more.")


def check_numbers(scores: Tensor) -> None:
    """Raise CheckpointError if one is not a number."""
    if bool(scores.isnan().any()):
        raise CheckpointError(
            "the model gave a word probability that is not a number. Its weights are damaged or its training diverged: "
            "copy the model folder again, or train with a lower learning rate."
        )

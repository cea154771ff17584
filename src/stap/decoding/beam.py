"""From a model's word probabilities to captions: greedy and beam search over whole batches of videos.

Four roles: `step` asks the model for the next word's log-probabilities, `forbid` rules words out, `choose` picks the best
continuations, and `rank` orders finished captions. Greedy, beam search and STAT's shrinking beam differ in how they choose.
`best_captions` decodes as a recipe says.

Rows are grouped as in `CaptionModel`: rows b * K ... b * K + K - 1 continue video b. The memory is never copied for them.
Ties: of equally probable continuations the one of the lower row comes first, then the one with the lower word id.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stap.errors import CheckpointError
from stap.models.caption_model import Attention, CaptionModel, DecoderState, Memory, Positions
from stap.recipes.settings import DecodingSettings
from stap.text.special_ids import BOS, EOS, PAD

__all__ = [
    "Hypothesis",
    "beam_search",
    "best_captions",
    "choose",
    "choose_into",
    "forbid",
    "greedy",
    "rank",
    "shrinking_beam_search",
    "step",
]

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    """A caption of one video.

    words: ids, without BOS and EOS.   score: sum of the words' log-probabilities, that of EOS included.
    attention: a row a word, over the video's own positions, on the CPU.
    is_finished: False where `max_words` were written and no EOS came; the score then has no EOS.
    """

    words: tuple[int, ...]
    score: float
    attention: Attention
    is_finished: bool = True


@dataclass(frozen=True)
class Beams:
    """Unfinished hypotheses, one a row. words: (N, l).   scores: (N,), -inf in rows to ignore.   attention: (N, l, T)."""

    state: DecoderState
    words: Tensor
    scores: Tensor
    attention: Tensor

    @classmethod
    def start(cls, model: CaptionModel, memory: Memory, width: int) -> Beams:
        """`width` rows a video, of which only the first counts, because all are the same. Raises ValueError if width < 1."""
        _check_positive(width=width)
        rows, positions = memory.size * width, memory.positions.indices.shape[1]
        dtype = torch.promote_types(memory.start.h.dtype, torch.float32)
        scores = memory.start.h.new_full((memory.size, width), IMPOSSIBLE, dtype=dtype)
        scores[:, 0] = 0
        words = torch.empty(rows, 0, dtype=torch.int64, device=scores.device)
        return cls(model.start(memory, width), words, scores.flatten(), memory.start.h.new_empty(rows, 0, positions))

    def select(self, rows: Tensor) -> Beams:
        """The hypotheses of the given rows."""
        return Beams(self.state.select(rows), self.words[rows], self.scores[rows], self.attention[rows])


@dataclass(frozen=True)
class NextWord:
    """log_probabilities: (N, V).   state: after reading the last word.   attention: (N, T)."""

    log_probabilities: Tensor
    state: DecoderState
    attention: Tensor


def best_captions(model: CaptionModel, memory: Memory, settings: DecodingSettings) -> list[Hypothesis]:
    """The best caption of each video as a recipe says; a beam width of 1 is greedy. The model should be in eval mode."""
    limits = {"max_words": settings.max_words, "no_repeat_ngram": settings.no_repeat_ngram}
    if settings.beam_width == 1:
        return greedy(model, memory, **limits)
    search = shrinking_beam_search if settings.shrinking_beam else beam_search
    found = search(model, memory, width=settings.beam_width, length_normalisation=settings.length_normalisation, **limits)
    return [best for best, *_ in found]


@torch.inference_mode()
def greedy(model: CaptionModel, memory: Memory, *, max_words: int = 30, no_repeat_ngram: int = 0) -> list[Hypothesis]:
    """The most probable word at each step, one caption a video. The model should be in eval mode (dropout off).

    no_repeat_ngram: no sequence of this many words comes twice; 0 is off.
    """
    _check_positive(max_words=max_words)
    beams = Beams.start(model, memory, 1)
    is_finished = torch.zeros(memory.size, dtype=torch.bool, device=beams.words.device)
    for _ in range(max_words):
        following = step(model, memory, beams)
        forbid(following.log_probabilities, beams.words, no_repeat_ngram)
        gained, words = following.log_probabilities.max(dim=1)  # of equal ones the first
        _check(gained)
        beams = Beams(
            following.state,
            torch.cat([beams.words, words.masked_fill(is_finished, PAD)[:, None]], dim=1),
            beams.scores + gained.masked_fill(is_finished, 0),
            torch.cat([beams.attention, following.attention[:, None]], dim=1),
        )
        is_finished |= words == EOS
        if is_finished.all():
            break
    positions = _each(memory)
    return [
        _hypothesis(*row)
        for row in zip(beams.words.tolist(), beams.scores.tolist(), beams.attention.cpu(), positions, strict=True)
    ]


@torch.inference_mode()
def beam_search(
    model: CaptionModel,
    memory: Memory,
    *,
    width: int = 5,
    max_words: int = 30,
    length_normalisation: float = 0.0,
    no_repeat_ngram: int = 0,
) -> list[list[Hypothesis]]:
    """The best `width` captions found for each video, best first. The model should be in eval mode (dropout off).

    A continuation by EOS counts if it is among the `width` best continuations of its video, so that width 1 is greedy;
    `width` unfinished hypotheses go on beside those that ended. A video is done when no unfinished hypothesis can still
    enter its list: scores only fall, so this loses nothing. A hypothesis of `max_words` words without EOS is kept,
    unfinished, and ranks after all finished ones; fewer than `width` come back where there are no more captions.

    length_normalisation: rank by score / length ** this, where length counts the EOS; 0 is off. `score` is never divided.
    no_repeat_ngram: no sequence of this many words comes twice; 0 is off.
    """
    _check_positive(max_words=max_words)
    beams = Beams.start(model, memory, width)
    kept: list[list[Hypothesis]] = [[] for _ in range(memory.size)]
    positions = _each(memory)
    for _ in range(max_words):
        following = step(model, memory, beams)
        forbid(following.log_probabilities, beams.words, no_repeat_ngram)
        beams, ended, videos = choose(beams, following, width)
        _keep(kept, ended, videos, positions, width, length_normalisation)
        hopeless = _bound(beams.scores, max_words, length_normalisation) <= _entry(
            kept, width, length_normalisation, beams.scores
        )
        beams = replace(beams, scores=beams.scores.masked_fill(hopeless, IMPOSSIBLE))
        if hopeless.all():
            break
    rows = (beams.scores > IMPOSSIBLE).nonzero()[:, 0]
    _keep(kept, beams.select(rows), rows // width, positions, width, length_normalisation)
    return kept


@torch.inference_mode()
def shrinking_beam_search(
    model: CaptionModel,
    memory: Memory,
    *,
    width: int = 5,
    max_words: int = 50,
    length_normalisation: float = 0.0,
    no_repeat_ngram: int = 0,
) -> list[list[Hypothesis]]:
    """Beam search as the released code of STAT does it (and Yao et al. 2015 before it): up to `width` captions, best first.

    It differs from `beam_search` three times. Each finished caption takes a place of the beam for good; a video is done when
    all `width` are taken, although what was pruned could have been better; and a caption that `max_words` cuts off is ranked
    among the finished ones, by its score alone. So it favours short captions even more.

    length_normalisation: of the last ranking; the published code has none.
    """
    _check_positive(max_words=max_words)
    beams = Beams.start(model, memory, width)
    kept: list[list[Hypothesis]] = [[] for _ in range(memory.size)]
    positions = _each(memory)

    def keep(beams: Beams, videos: Tensor) -> None:
        rows = zip(videos.tolist(), beams.words.tolist(), beams.scores.tolist(), beams.attention.cpu(), strict=True)
        for video, words, score, attention in rows:
            kept[video].append(_hypothesis(words, score, attention, positions[video]))

    for _ in range(max_words):
        following = step(model, memory, beams)
        forbid(following.log_probabilities, beams.words, no_repeat_ngram)
        free = torch.tensor([width - len(video) for video in kept], device=beams.scores.device)
        beams, ended, videos = choose_into(beams, following, free)
        keep(ended, videos)
        if not bool((beams.scores > IMPOSSIBLE).any()):
            break
    rows = (beams.scores > IMPOSSIBLE).nonzero()[:, 0]
    keep(beams.select(rows), rows // width)
    return [sorted(video, key=lambda one: -_value(one, length_normalisation)) for video in kept]


def step(model: CaptionModel, memory: Memory, beams: Beams) -> NextWord:
    """Read the last word of each row and give the log-probabilities of the next, in float32 or better."""
    if beams.words.shape[1]:
        last = beams.words[:, -1]
    else:
        last = torch.full_like(beams.scores, BOS, dtype=torch.int64)
    given = model.step(memory, beams.state, last)
    logits = given.logits.to(torch.promote_types(given.logits.dtype, torch.float32))
    return NextWord(logits.log_softmax(dim=1), given.state, given.attention.weights)


def forbid(log_probabilities: Tensor, words: Tensor, no_repeat_ngram: int = 0) -> None:
    """Rule out, in place, PAD, BOS and each word that would repeat an n-gram of its row; the rest keeps its probability.

    log_probabilities: (N, V).   words: (N, l), what each row has so far.
    """
    log_probabilities[:, [PAD, BOS]] = IMPOSSIBLE
    if 0 < no_repeat_ngram <= words.shape[1]:
        ngrams = words.unfold(1, no_repeat_ngram, 1)  # (N, l - n + 1, n)
        ending = words[:, words.shape[1] - no_repeat_ngram + 1 :]  # (N, n - 1), the beginning of the next n-gram
        rows, places = (ngrams[:, :, :-1] == ending[:, None]).all(dim=2).nonzero(as_tuple=True)
        log_probabilities[rows, ngrams[rows, places, -1]] = IMPOSSIBLE


def choose(beams: Beams, following: NextWord, width: int) -> tuple[Beams, Beams, Tensor]:
    """The `width` best continuations of each video that go on; and those that end, with the number of their video (M,).

    An end counts if it is among the `width` best continuations of its video.
    """
    totals = beams.scores[:, None] + following.log_probabilities  # (N, V)
    vocabulary_size = totals.shape[1]
    totals = totals.view(len(totals) // width, width * vocabulary_size)
    best = _highest(totals, 2 * width)  # each row can end once, so that at least `width` go on
    scores = totals.gather(1, best)
    is_end = best % vocabulary_size == EOS  # (B, 2K)
    rows = best // vocabulary_size + width * torch.arange(len(best), device=best.device)[:, None]

    def extended(places: Tensor) -> Beams:  # places: (M, 2), video and column
        chosen = tuple(places.unbind(dim=1))
        return _extend(beams, following, rows[chosen], best[chosen] % vocabulary_size, scores[chosen])

    rank_going_on = is_end.byte().sort(dim=1, stable=True).indices[:, :width]
    going_on = torch.zeros_like(is_end).scatter_(1, rank_going_on, True).nonzero()
    ends = (is_end & (scores > IMPOSSIBLE))[:, :width].nonzero()
    return extended(going_on), extended(ends), ends[:, 0]


def choose_into(beams: Beams, following: NextWord, free: Tensor) -> tuple[Beams, Beams, Tensor]:
    """The best `free` (B,) continuations of each video: those that go on; and those that end, with the number of their video (M,).

    Rows that are left over have the score -inf.
    """
    totals = beams.scores[:, None] + following.log_probabilities  # (N, V)
    width, vocabulary_size = len(totals) // len(free), totals.shape[1]
    totals = totals.view(len(free), width * vocabulary_size)
    best = _highest(totals, width)
    ranks = torch.arange(width, device=best.device)
    scores = totals.gather(1, best).masked_fill(ranks >= free[:, None], IMPOSSIBLE)  # (B, K)
    rows = best // vocabulary_size + width * torch.arange(len(best), device=best.device)[:, None]
    is_end = (best % vocabulary_size == EOS) & (scores > IMPOSSIBLE)
    ends = tuple(is_end.nonzero().unbind(dim=1))
    ended = _extend(beams, following, rows[ends], best[ends] % vocabulary_size, scores[ends])
    scores = scores.masked_fill(is_end, IMPOSSIBLE)
    going_on = _extend(beams, following, rows.flatten(), best.flatten() % vocabulary_size, scores.flatten())
    return going_on, ended, ends[0]


def rank(hypotheses: list[Hypothesis], count: int, length_normalisation: float = 0.0) -> list[Hypothesis]:
    """The best `count` hypotheses: finished ones first, then by score (normalised); equal ones stay in their order."""
    return sorted(hypotheses, key=lambda one: (not one.is_finished, -_value(one, length_normalisation)))[:count]


def _value(hypothesis: Hypothesis, length_normalisation: float) -> float:
    length = len(hypothesis.words) + hypothesis.is_finished
    return hypothesis.score / math.pow(length, length_normalisation)


def _bound(scores: Tensor, max_words: int, length_normalisation: float) -> Tensor:
    """The best value that a continuation can reach: no further loss, and the largest length to divide by."""
    return scores / math.pow(max_words, length_normalisation)


def _entry(kept: list[list[Hypothesis]], width: int, length_normalisation: float, like: Tensor) -> Tensor:
    """(N,): the value that a hypothesis of each row must exceed to enter the list of its video."""
    entries = [
        _value(video[-1], length_normalisation) if len(video) == width and video[-1].is_finished else IMPOSSIBLE
        for video in kept
    ]
    return like.new_tensor(entries).repeat_interleave(width)


def _keep(
    kept: list[list[Hypothesis]],
    beams: Beams,
    videos: Tensor,
    positions: list[Positions],
    width: int,
    length_normalisation: float,
) -> None:
    """Add the hypotheses of `beams` to the lists of their videos, which stay the best `width` in order."""
    rows = zip(videos.tolist(), beams.words.tolist(), beams.scores.tolist(), beams.attention.cpu(), strict=True)
    for video, words, score, attention in rows:
        found = _hypothesis(words, score, attention, positions[video])
        kept[video] = rank([*kept[video], found], width, length_normalisation)


def _extend(beams: Beams, following: NextWord, rows: Tensor, words: Tensor, scores: Tensor) -> Beams:
    """The hypotheses of the given rows, each with one more word."""
    return Beams(
        following.state.select(rows),
        torch.cat([beams.words[rows], words[:, None]], dim=1),
        scores,
        torch.cat([beams.attention[rows], following.attention[rows, None]], dim=1),
    )


def _highest(values: Tensor, count: int) -> Tensor:
    """Columns of the `count` highest values of each row, highest first; of equal values the lower column first.

    torch.topk leaves open which of equal values it takes, and in what order.
    """
    highest, columns = values.topk(count + 1, dim=1)
    _check(highest)
    if bool((highest[:, -1] == highest[:, count - 1]).any()):  # torch.topk may have left out a lower column
        columns = _lowest_columns(values, highest[:, count - 1 : count], count)
    columns = columns[:, :count].sort(dim=1).values
    order = values.gather(1, columns).sort(dim=1, descending=True, stable=True).indices
    return columns.gather(1, order)


def _lowest_columns(values: Tensor, least: Tensor, count: int) -> Tensor:
    """Columns of all values above `least` (N, 1), and of the first ones equal to it, `count` a row."""
    above = values > least
    tied = values == least
    tied &= tied.cumsum(dim=1) <= count - above.sum(dim=1, keepdim=True)
    return (above | tied).nonzero()[:, 1].view(-1, count)


def _check_positive(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more.")


def _check(values: Tensor) -> None:
    if bool(values.isnan().any()):
        raise CheckpointError(
            "the model gave a word probability that is not a number. Its weights are damaged or its training diverged: "
            "copy the model folder again, or train with a lower learning rate."
        )


def _each(memory: Memory) -> list[Positions]:
    """The positions of each video, on the CPU."""
    positions = memory.positions
    on_cpu = Positions(positions.stream, positions.indices.cpu(), positions.is_padding.cpu())
    return [on_cpu.select(torch.tensor([video])) for video in range(memory.size)]


def _hypothesis(words: list[int], score: float, attention: Tensor, positions: Positions) -> Hypothesis:
    is_finished = EOS in words
    length = words.index(EOS) if is_finished else len(words)
    return Hypothesis(tuple(words[:length]), score, Attention(positions, attention[:length]).of_video(0), is_finished)

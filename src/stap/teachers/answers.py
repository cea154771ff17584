"""What a captioner of transformers says: by beam search, or drawn at random; with the mean log-probability of its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from stap.decoding.draw import Draws, Noise

__all__ = ["MOST_TOKENS", "Answer", "answer", "quietly"]

MOST_TOKENS = 80  # of an answer; one plain sentence has fewer


@dataclass(frozen=True)
class Answer:
    """tokens: ids, without the end.   score: mean log-probability of the tokens, the end included.   is_finished: False if it was cut."""

    tokens: tuple[int, ...]
    score: float
    is_finished: bool


@torch.inference_mode()
def answer(
    model: Any, inputs: Mapping[str, Tensor], *, beam_width: int, draws: Draws | None, names: Sequence[str]
) -> list[list[Answer]]:
    """For each row the best answer, or `draws.count` drawn ones.   names: of the rows, for the noise. The model's own settings play no part."""
    own = model.generation_config
    ends = _ends(model)
    chosen: dict[str, Any] = {"num_beams": beam_width, "do_sample": False}
    processors = LogitsProcessorList()
    if draws is not None:  # the model "samples" from what one word is left in
        chosen = {"do_sample": True, "top_k": 0, "num_return_sequences": draws.count}
        processors.append(_Drawing(draws.noise(names), draws.temperature))
    settings = GenerationConfig(
        max_new_tokens=MOST_TOKENS,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else min(ends, default=None),
        return_dict_in_generate=True,
        output_logits=True,
        **chosen,
    )
    with quietly(), _pictures_once(model, beam_width if draws is None else draws.count):
        said = model.generate(**inputs, generation_config=settings, logits_processor=processors)
    beams = said.get("beam_indices")
    steps = len(said.logits) if beams is None else int((beams >= 0).sum(1).max())
    tokens = said.sequences[:, said.sequences.shape[1] - steps :]  # (N, L), without the prompt
    gained = _log_probabilities(said.logits, tokens, beams)
    found = [_answer(*row, ends) for row in zip(tokens.tolist(), gained.tolist(), strict=True)]
    per_row = len(found) // len(names)
    return [found[first : first + per_row] for first in range(0, len(found), per_row)]


@contextmanager
def quietly() -> Iterator[None]:
    """Without the progress bars and remarks of transformers, which belong to its own command lines."""
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()


@contextmanager
def _pictures_once(model: Any, copies: int) -> Iterator[None]:
    """GIT's encoder of pictures runs once a clip and not once a hypothesis, which takes most of its time.   copies: hypotheses a clip."""
    encoder = getattr(getattr(model, "git", None), "image_encoder", None)
    if encoder is None or copies == 1:
        yield
        return
    encode = encoder.forward

    def once(pixel_values: Tensor, **options: Any) -> Any:  # (B * copies, 3, S, S), the copies of a clip next to each other
        found = encode(pixel_values[::copies], **options)
        found.last_hidden_state = found.last_hidden_state.repeat_interleave(copies, dim=0)
        return found

    encoder.forward = once
    try:
        yield
    finally:
        del encoder.forward  # the class's own again


class _Drawing(LogitsProcessor):
    """Leaves one word a row: the one that is drawn, by the noise of that row."""

    def __init__(self, noise: Noise, temperature: float) -> None:
        self.noise, self.temperature = noise, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: (N, V)."""
        logits = scores.float()
        drawn = (logits / self.temperature + self.noise(logits)).argmax(dim=1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


def _log_probabilities(logits: Sequence[Tensor], tokens: Tensor, beams: Tensor | None) -> Tensor:
    """(N, L): of each token, by the model's own probabilities.   logits: of each step, (rows, V).   beams: (N, L), the row of each token."""
    gained = torch.zeros(tokens.shape, device=tokens.device)
    for number in range(tokens.shape[1]):
        rows = torch.arange(len(tokens), device=tokens.device) if beams is None else beams[:, number].clamp(min=0)
        step = logits[number].float().log_softmax(dim=1)[rows]
        gained[:, number] = step.gather(1, tokens[:, number : number + 1])[:, 0]
    return gained


def _answer(tokens: Sequence[int], gained: Sequence[float], ends: frozenset[int]) -> Answer:
    length = next((place for place, token in enumerate(tokens) if token in ends), None)
    if length is None:
        return Answer(tuple(tokens), sum(gained) / max(len(tokens), 1), is_finished=False)
    return Answer(tuple(tokens[:length]), sum(gained[: length + 1]) / (length + 1), is_finished=True)


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end an answer. BLIP, whose `generate` is its own, ends with the separator."""
    if model.config.model_type == "blip":
        return frozenset([model.config.text_config.sep_token_id])
    own = model.generation_config.eos_token_id
    return frozenset(own if isinstance(own, list) else [] if own is None else [own])

"""STAT's word LSTM: attention, gate, recurrence and the deep output, as the authors' released code computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stap.models.caption_model import DecoderState
from stap.models.stat_attention import STATAttention, STATKeys

__all__ = ["DropoutMasks", "STATDecoder", "Taught", "normal_or_orthogonal"]


@dataclass(frozen=True)
class DropoutMasks:
    """What three places of the decoder are multiplied by, for N captions of L words.

    gates: (N, L, 3H), input, forget and output gate before the sigmoid.   hidden: (N, L, H).   output: (N, L, E).
    """

    gates: Tensor
    hidden: Tensor
    output: Tensor


@dataclass(frozen=True)
class Taught:
    """Captions read under teacher forcing: logits (N, L, rows), the last state, and each attention's sum over the steps."""

    logits: Tensor
    state: DecoderState
    attention_sums: Mapping[str, Tensor]


class STATDecoder(nn.Module):
    """One LSTM layer that is told the previous word and what was seen, and an output layer that reads both again.

    Gates are stored in the order input, forget, output, candidate. `rows` is the number of words that it can say.

    Dropout is not rescaled: training multiplies by zeros and ones, evaluation by the share of ones. It stands on the gates'
    pre-activations (not the candidate's), on the state that the output layer reads, and on the output layer's hidden units.
    """

    def __init__(
        self,
        attention: STATAttention,
        *,
        rows: int,
        hidden_size: int,
        embedding_size: int,
        dropout: float,
        gate: bool = True,
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__()
        C, H, E = attention.context_size, hidden_size, embedding_size
        self.kept = 1 - dropout
        self.attention = attention
        self.gate = nn.Linear(H, 1) if gate else None
        self.word_gates = nn.Linear(E, 4 * H)
        self.recurrent_gates = nn.Linear(H, 4 * H, bias=False)
        self.context_gates = nn.Linear(C, 4 * H, bias=False)
        self.hidden_output = nn.Linear(H, E)
        self.context_output = nn.Linear(C, E)
        self.output = nn.Linear(E, rows)
        self._initialise(forget_bias)

    def step(self, keys: STATKeys, state: DecoderState, embedded: Tensor) -> tuple[Tensor, DecoderState, Mapping[str, Tensor]]:
        """Read one embedded word a row, (N, E), and predict the next: logits (N, rows), the next state, and `STATAttended.weights`."""
        masks = self.draw(len(embedded), 1, embedded)
        state, context, weights = self._advance(keys, state, self.word_gates(embedded), masks.gates[:, 0])
        logits = self._predict(state.h, context, embedded, DropoutMasks(masks.gates, masks.hidden[:, 0], masks.output[:, 0]))
        return logits, state, weights

    def teach(
        self,
        keys: STATKeys,
        state: DecoderState,
        embedded: Tensor,
        is_padding: Tensor,
        masks: DropoutMasks | None = None,
        *,
        sum_over_padding: bool = True,
    ) -> Taught:
        """Read whole captions, (N, L, E), under teacher forcing; what does not depend on the recurrence is done for all words.

        is_padding: (N, L) bool, True after a caption's end: the state stays as it is there.
        sum_over_padding: whether the sums of the attention include those steps.   masks: by default drawn.
        """
        masks = self.draw(embedded.shape[0], embedded.shape[1], embedded) if masks is None else masks
        hidden, contexts = [], []
        sums: dict[str, Tensor] = {}
        words = zip(self.word_gates(embedded).unbind(1), is_padding.unbind(1), masks.gates.unbind(1), strict=True)
        for word_gates, is_over, gate_mask in words:
            following, context, weights = self._advance(keys, state, word_gates, gate_mask)
            state = _carried(state, following, is_over[:, None])
            hidden.append(state.h)
            contexts.append(context)
            for name, weight in weights.items():
                counted = weight if sum_over_padding else weight.masked_fill(is_over.view(-1, *[1] * (weight.dim() - 1)), 0)
                sums[name] = sums[name] + counted if name in sums else counted
        logits = self._predict(torch.stack(hidden, dim=1), torch.stack(contexts, dim=1), embedded, masks)
        return Taught(logits, state, sums)

    def draw(self, captions: int, words: int, like: Tensor) -> DropoutMasks:
        """Masks for N captions of L words: zeros and ones in training, the share of ones in evaluation."""
        H, E = self.recurrent_gates.in_features, self.output.in_features

        def mask(size: int) -> Tensor:
            share = like.new_full((), self.kept).expand(captions, words, size)
            return torch.bernoulli(share) if self.training and self.kept < 1 else share

        return DropoutMasks(mask(3 * H), mask(H), mask(E))

    def _advance(
        self, keys: STATKeys, state: DecoderState, word_gates: Tensor, gate_mask: Tensor
    ) -> tuple[DecoderState, Tensor, Mapping[str, Tensor]]:
        """The next state, the gated context that led to it, and where that came from."""
        seen = self.attention(state.h, keys)
        context = seen.context if self.gate is None else torch.sigmoid(self.gate(state.h)) * seen.context
        gates = word_gates + self.recurrent_gates(state.h) + self.context_gates(context)
        size = gate_mask.shape[1]
        i, f, o = torch.sigmoid(gates[:, :size] * gate_mask).chunk(3, dim=1)
        c = f * state.c + i * torch.tanh(gates[:, size:])
        return DecoderState(o * torch.tanh(c), c), context, seen.weights

    def _predict(self, h: Tensor, context: Tensor, embedded: Tensor, masks: DropoutMasks) -> Tensor:
        read = self.hidden_output(h * masks.hidden) + embedded + self.context_output(context)
        logits: Tensor = self.output(torch.tanh(read) * masks.output)
        return logits

    @torch.no_grad()
    def _initialise(self, forget_bias: float) -> None:
        H = self.recurrent_gates.in_features
        layers = [self.word_gates, self.context_gates, self.hidden_output, self.context_output, self.output]
        for layer in layers if self.gate is None else [*layers, self.gate]:
            normal_or_orthogonal(layer)
        for block in self.recurrent_gates.weight.chunk(4):
            nn.init.orthogonal_(block)
        self.word_gates.bias[H : 2 * H] = forget_bias


def normal_or_orthogonal(layer: nn.Linear) -> None:
    """The released code's rule: an orthogonal matrix where it is square, otherwise Gaussian; the bias 0."""
    if layer.in_features == layer.out_features:
        nn.init.orthogonal_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _carried(before: DecoderState, after: DecoderState, is_over: Tensor) -> DecoderState:
    return DecoderState(torch.where(is_over, before.h, after.h), torch.where(is_over, before.c, after.c))

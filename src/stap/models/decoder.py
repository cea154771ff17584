"""The attentive word LSTM (Francis & Huet 2019, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stap.models.attention import AdditiveAttention
from stap.models.caption_model import Attention, DecoderState, Memory, Step
from stap.models.implementation import Implementation
from stap.models.teacher_forcing import Blocks, DecoderWeights, read_captions

__all__ = ["AttentiveDecoder", "StatesMemory"]


@dataclass(frozen=True)
class StatesMemory(Memory):
    """`Memory` and what this decoder attends to.

    states: (B, T, H), of the encoder.   keys: (B, T, A), the states projected for the attention.
    """

    states: Tensor = field(kw_only=True)
    keys: Tensor = field(kw_only=True)

    def select(self, videos: Tensor) -> StatesMemory:
        """The memory of the given videos, in that order."""
        return StatesMemory(**vars(super().select(videos)), states=self.states[videos], keys=self.keys[videos])


class AttentiveDecoder(nn.Module):
    """At each word: attend to the encoder's states, equations (15)-(17), then read the word and the context, (18)-(25).

    Gates are stored in the order input, forget, output, candidate. The embedding is given from outside, because the
    sentence encoder of the matching loss reads the same one. output_bias: equation (25) has none.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int,
        embedding_size: int,
        attention_size: int,
        dropout: float,
        forget_bias: float,
        output_bias: bool = False,
        implementation: Implementation = "auto",
    ) -> None:
        """implementation: 'reference' reads captions word by word; the others with `read_captions`, equal to rounding."""
        super().__init__()
        self.implementation = implementation
        self.attention = AdditiveAttention(hidden_size, hidden_size, attention_size)
        self.word_gates = nn.Linear(embedding_size, 4 * hidden_size)
        self.context_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.recurrent_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary_size, bias=output_bias)
        with torch.no_grad():
            for gates in (self.word_gates, self.context_gates, self.recurrent_gates):
                for gate in gates.weight.chunk(4):
                    (nn.init.orthogonal_ if gates is self.recurrent_gates else nn.init.xavier_uniform_)(gate)
            self.word_gates.bias.zero_()
            self.word_gates.bias[hidden_size : 2 * hidden_size] = forget_bias
            if output_bias:
                self.output.bias.zero_()

    def step(self, memory: StatesMemory, state: DecoderState, embedded: Tensor) -> Step:
        """Read one embedded word per row, (N, E), and predict the next: logits (N, V)."""
        state, attention = self._advance(memory, state, self.word_gates(embedded))
        attentions = {"frames": Attention(memory.positions, attention)}
        return Step(self.logits(state.h), state, attentions, main="frames")

    def teacher_forced(
        self, memory: StatesMemory, state: DecoderState, embedded: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read whole captions, (N, L, E): the state after each word, (N, L, H), and its attention, (N, L, T).

        lengths: (N,) int64, the words of each caption, 1 to L; what follows them means nothing. None: L words each.
        """
        if self.implementation == "reference" or torch.is_autocast_enabled(embedded.device.type):
            return self._word_by_word(memory, state, embedded)
        (N, L, _), B = embedded.shape, memory.size
        of_caption = lengths if lengths is not None else torch.full((N,), L, device=embedded.device)
        blocks = Blocks(of_caption.view(B, N // B))
        places, videos = blocks.places(L), blocks.videos
        weights = DecoderWeights(
            self.context_gates.weight, self.recurrent_gates.weight, self.attention.query.weight, self.attention.score.weight[0]
        )
        hidden, attention = read_captions(
            blocks.sizes,
            self.word_gates(embedded.flatten(0, 1)[places]),
            (state.h[blocks.rows], state.c[blocks.rows]),
            (memory.states[videos], memory.keys[videos], memory.positions.is_padding[videos]),
            weights,
        )
        whole = hidden.new_zeros(N * L, hidden.shape[1]), hidden.new_zeros(N * L, attention.shape[1])
        return whole[0].index_copy(0, places, hidden).view(N, L, -1), whole[1].index_copy(0, places, attention).view(N, L, -1)

    def _word_by_word(self, memory: StatesMemory, state: DecoderState, embedded: Tensor) -> tuple[Tensor, Tensor]:
        hidden, attentions = [], []
        for word_gates in self.word_gates(embedded).unbind(1):
            state, attention = self._advance(memory, state, word_gates)
            hidden.append(state.h)
            attentions.append(attention)
        return torch.stack(hidden, dim=1), torch.stack(attentions, dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Equation (25) before its softmax: (..., H) -> (..., V)."""
        predicted: Tensor = self.output(self.dropout(hidden))
        return predicted

    def _advance(self, memory: StatesMemory, state: DecoderState, word_gates: Tensor) -> tuple[DecoderState, Tensor]:
        seen = self.attention(state.h, memory.keys, memory.states, memory.positions.is_padding)
        gates = word_gates + self.context_gates(seen.context) + self.recurrent_gates(state.h)
        i, f, o, candidate = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(candidate)
        return DecoderState(torch.sigmoid(o) * torch.tanh(c), c), seen.weights

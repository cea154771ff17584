"""What STAT and its kin share: words and rows, starting, stepping, and the loss with the doubly stochastic penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from stap.models.attention_penalty import attention_penalty, penalty_weight
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import Attention, CaptionModel, DecoderState, Losses, Memory, Positions, Step
from stap.models.stat_attention import STATAttention, STATKeys
from stap.models.stat_decoder import STATDecoder, Taught
from stap.models.word_dropout import WordDropout
from stap.recipes.settings import ModelSettings
from stap.text.special_ids import EOS, PAD

__all__ = ["STATMemory", "STATModel"]


@dataclass(frozen=True)
class STATMemory(Memory):
    """`Memory` and everything that STAT's attention reads.

    sequences: the positions of 'global', 'motion' and 'local', those that there are.   main: which of them the memory's are.
    """

    keys: STATKeys = field(kw_only=True)
    sequences: Mapping[str, Positions] = field(kw_only=True)
    main: str = field(kw_only=True)

    def select(self, videos: Tensor) -> STATMemory:
        """The memory of the given videos, in that order."""
        return STATMemory(
            **vars(super().select(videos)),
            keys=self.keys.select(videos),
            sequences={name: positions.select(videos) for name, positions in self.sequences.items()},
            main=self.main,
        )


class STATModel(CaptionModel):
    """A captioning model with STAT's decoder. Subclasses bring `encode`, which gives a STATMemory.

    Words have rows as in the released code: EOS, UNK and the words, so that id k of the vocabulary is row k - 2 of the embedding
    and of the output. PAD and BOS have none: BOS is read as the zero vector, and neither is ever said (logit -inf).
    """

    def __init__(
        self, attention: STATAttention, settings: ModelSettings, vocabulary_size: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        rows = vocabulary_size - EOS
        self.settings = settings
        self.label_smoothing = label_smoothing
        self.word_dropout = WordDropout(settings.word_dropout)
        self.embedding = nn.Embedding(rows, settings.embedding_size)
        self.decoder = STATDecoder(
            attention,
            rows=rows,
            hidden_size=settings.hidden_size,
            embedding_size=settings.embedding_size,
            dropout=settings.dropout,
            gate=settings.stat.gate,
            forget_bias=settings.forget_bias,
        )
        nn.init.normal_(self.embedding.weight, std=0.01)

    def embed(self, words: Tensor) -> Tensor:
        """(...) int64 ids -> (..., E); BOS and PAD are zero vectors."""
        embedded: Tensor = self.embedding((words - EOS).clamp_min(0))
        return embedded.masked_fill((words < EOS).unsqueeze(-1), 0)

    def start(self, memory: Memory, rows_per_video: int = 1) -> DecoderState:
        """The memory's start state, once for each row."""
        return DecoderState(
            memory.start.h.repeat_interleave(rows_per_video, dim=0), memory.start.c.repeat_interleave(rows_per_video, dim=0)
        )

    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        """Read one word a row and predict the next. Attentions: 'global', 'motion' and, with its places, 'local'."""
        assert isinstance(memory, STATMemory)
        logits, state, weights = self.decoder.step(memory.keys, state, self.embed(words))
        attentions = {
            name: Attention(positions, weights[name], weights.get("spatial") if name == "local" else None)
            for name, positions in memory.sequences.items()
        }
        return Step(pad(logits, (EOS, 0), value=float("-inf")), state, attentions, memory.main)

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """The captions' cross-entropy and the weighted doubly stochastic penalty on every attention.

        Cross-entropy is summed over the words of a caption and averaged over captions. parts: 'caption', 'attention' (the penalty,
        averaged over captions), if it has a weight, and, for reading, 'word': the cross-entropy of a word.
        """
        memory = self.encode(batch)
        assert isinstance(memory, STATMemory)
        return self._caption_losses(memory, captions)

    def _caption_losses(self, memory: STATMemory, captions: CaptionBatch) -> Losses:
        taught = self.teach(memory, captions)
        summed = cross_entropy(
            taught.logits.flatten(0, 1),
            (captions.words - EOS).flatten(),
            ignore_index=PAD - EOS,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        caption = summed / len(captions.words)
        parts = {"caption": caption, "word": summed.detach() / (~captions.is_padding).sum()}
        weight, sums = penalty_weight(self.settings, len(captions.words)), taught.attention_sums
        if not weight:
            return Losses(caption, parts)
        padding = {name: memory.keys.padding_of(name) for name in sums}
        parts["attention"] = penalty = attention_penalty(sums, padding, memory.size)
        return Losses(caption + weight * penalty, parts)

    def teach(self, memory: STATMemory, captions: CaptionBatch) -> Taught:
        """Read the captions under teacher forcing; the logits have a column for each row, that of EOS first."""
        return self.decoder.teach(
            memory.keys,
            self.start(memory, captions.captions_per_video),
            self.word_dropout(self.embed(captions.inputs)),
            captions.is_padding,
            sum_over_padding=self.settings.penalty_on_padding,
        )

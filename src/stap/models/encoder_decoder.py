"""L-STAP and LRCN as captioning models: a recurrent encoder, the attentive decoder and the matching loss."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.profiler import record_function

from stap.errors import ShapeError
from stap.models.attention_penalty import attention_penalty, penalty_weight
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel, DecoderState, Losses, Memory, Positions, Step, word_log_probabilities
from stap.models.decoder import AttentiveDecoder, StatesMemory
from stap.models.inputs import InputStage
from stap.models.losses import caption_losses, select_words
from stap.models.lrcn import LRCN
from stap.models.lstap import LSTAP, Pooled
from stap.models.matching import SentenceEncoder, caption_matching_loss
from stap.models.word_dropout import WordDropout
from stap.recipes.settings import ModelSettings

__all__ = ["EncoderDecoder"]


class EncoderDecoder(CaptionModel):
    """L-STAP and LRCN: the encoder's last state starts the decoder, equations (13) and (14), which attends to all of them.

    Streams: 'grid' (B, T, R, D); 'motion' (B, M) where the settings give motion_size.
    """

    def __init__(
        self,
        inputs: InputStage,
        encoder: LSTAP | LRCN,
        settings: ModelSettings,
        vocabulary_size: int,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        H, E = settings.hidden_size, settings.embedding_size
        self.settings = settings
        self.inputs = inputs
        self.encoder = encoder
        self.embedding = nn.Embedding(vocabulary_size, E)
        self.word_dropout = WordDropout(settings.word_dropout)
        self.decoder = AttentiveDecoder(
            vocabulary_size,
            H,
            E,
            settings.attention_size,
            settings.dropout,
            settings.forget_bias,
            output_bias=settings.output_bias in ("zero", "frequency"),
            implementation=settings.implementation,
        )
        self.sentence_encoder = SentenceEncoder(E, H, settings.forget_bias) if settings.matching_weight else None
        self.label_smoothing = label_smoothing
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    @property
    def output_bias(self) -> nn.Parameter | None:
        """Of all words."""
        return cast("nn.Parameter | None", self.decoder.output.bias)

    @record_function("encoder")
    def encode(self, batch: VideoBatch) -> StatesMemory:
        """Encode the grids, and where the settings give motion_size start from the motion vectors."""
        if "grid" not in batch.streams:
            raise ShapeError(f"the batch has the streams {', '.join(batch.streams) or 'none'}; expected 'grid'.")
        padding = batch.is_padding["grid"]
        motion = batch.streams.get("motion") if self.settings.motion_size else None
        grid, marks = self.inputs.apart(batch.streams["grid"], padding)
        pooled: Pooled = self.encoder(grid, padding, motion, marks)
        return self.memory_of(pooled, padding)

    def memory_of(self, pooled: Pooled, is_padding: Tensor) -> StatesMemory:
        """What the decoder attends to, of videos that the encoder has read.   is_padding: (B, T)."""
        return StatesMemory(
            states=pooled.states,
            keys=self.decoder.attention.keys(pooled.states),
            positions=Positions.all_of("grid", is_padding),
            start=DecoderState(pooled.h, pooled.c),
            embedding=pooled.h,
            pooling_weights=pooled.weights,
        )

    def step(self, memory: Memory, state: DecoderState, words: Tensor) -> Step:
        """Read one word per row and predict the next."""
        assert isinstance(memory, StatesMemory)
        return self.decoder.step(memory, state, self.embedding(words))

    def sentences(self, captions: CaptionBatch) -> Tensor:
        """(N, H): the sentence encoder's last states; see `CaptionModel.sentences`."""
        assert self.sentence_encoder is not None, "see has_joint_space"
        encoded: Tensor = self.sentence_encoder(self.embedding(captions.words), captions.is_padding)
        return encoded

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """Equation (28): the captions' cross-entropy, equation (26), and the weighted matching loss, equation (27); with
        `attention_penalty`, STAT's penalty on the decoder's attention too.

        Cross-entropy is summed over the words of a caption and averaged over captions. parts: 'caption', 'matching', 'attention'
        (the penalty), those that there are, and, for reading, 'word': the cross-entropy of a word.
        """
        memory = self.encode(batch)
        reads_padding = bool(self.settings.attention_penalty) and self.settings.penalty_on_padding
        logits, attention = self._read(memory, captions, None if reads_padding else captions.lengths)
        losses = caption_losses(logits, select_words(captions.words, captions), len(captions.words), self.label_smoothing)
        total, parts = losses.total, losses.parts
        if weight := penalty_weight(self.settings, len(captions.words)):
            parts["attention"] = penalty = self._attention_penalty(memory, attention, captions)
            total = total + weight * penalty
        if self.has_joint_space:
            sentences = self.sentences(captions)
            parts["matching"] = matching = caption_matching_loss(memory.embedding, sentences, batch, captions, self.settings)
            total = total + self.settings.matching_weight * matching
        return Losses(total, parts)

    def log_probabilities(self, memory: Memory, captions: CaptionBatch) -> Tensor:
        """As `CaptionModel.log_probabilities`, in one pass over whole captions."""
        assert isinstance(memory, StatesMemory)
        logits, _ = self._read(memory, captions, captions.lengths)
        return word_log_probabilities(logits, select_words(captions.words, captions))

    def _read(self, memory: StatesMemory, captions: CaptionBatch, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The logits of all W words, (W, V), and the attention, (N, L, T), under teacher forcing; see `AttentiveDecoder.teacher_forced`."""
        state = self.start(memory, captions.captions_per_video)
        embedded = self.word_dropout(self.embedding(captions.inputs))
        hidden, attention = self.decoder.teacher_forced(memory, state, embedded, lengths)
        return self.decoder.logits(select_words(hidden, captions)), attention

    def _attention_penalty(self, memory: StatesMemory, attention: Tensor, captions: CaptionBatch) -> Tensor:
        if not self.settings.penalty_on_padding:
            attention = attention.masked_fill(captions.is_padding.unsqueeze(-1), 0)
        return attention_penalty({"frames": attention.sum(dim=1)}, {"frames": memory.positions.is_padding}, memory.size)

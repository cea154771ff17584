"""STAT's two-stage attention over L-STAP's states and the cells of its grid."""

from __future__ import annotations

from torch import Tensor
from torch.profiler import record_function

from stap.errors import ShapeError
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import DecoderState, Losses, Positions
from stap.models.inputs import InputStage
from stap.models.lstap import LSTAP, Pooled
from stap.models.matching import SentenceEncoder, caption_matching_loss
from stap.models.stat.decoder import STATAttention
from stap.models.stat.model import PlaceProjection, STATMemory, STATModel
from stap.recipes.settings import ModelSettings

__all__ = ["LSTAPSTAT"]


class LSTAPSTAT(STATModel):
    """STAT's decoder behind L-STAP's encoder; not in the papers. STAT's temporal attention reads L-STAP's states, its spatial
    attention the cells of the grid. The decoder starts from L-STAP's last state. L-STAP's matching loss is added.

    Streams: 'grid' (B, T, R, D); 'motion' (B, M) where the settings give motion_size. All frames are kept, padding is masked.
    """

    def __init__(
        self,
        inputs: InputStage,
        encoder: LSTAP,
        settings: ModelSettings,
        *,
        vocabulary_size: int,
        label_smoothing: float = 0.0,
    ) -> None:
        H, E = settings.hidden_size, settings.embedding_size
        attention = STATAttention(
            H,
            attention_size=settings.attention_size,
            global_size=H,
            local_size=H,
            local_pooling=settings.stat.local_pooling,
            temporal_pooling=settings.stat.temporal_pooling,
        )
        super().__init__(attention, settings, vocabulary_size, label_smoothing)
        self.inputs = inputs
        self.encoder = encoder
        self.local_projection = PlaceProjection(inputs.size, H)
        self.sentence_encoder = SentenceEncoder(E, H, settings.forget_bias) if settings.matching_weight else None

    @record_function("encoder")
    def encode(self, batch: VideoBatch) -> STATMemory:
        """Encode the grid, and compute every key."""
        if "grid" not in batch.streams:
            raise ShapeError(f"the batch has the streams {', '.join(batch.streams) or 'none'}; expected 'grid'.")
        is_padding = batch.is_padding["grid"]
        grid = self.inputs(batch.streams["grid"], is_padding)
        motion = batch.streams.get("motion") if self.settings.motion_size else None
        pooled: Pooled = self.encoder(grid, is_padding, motion)
        keys = self.decoder.attention.keys(
            {"global": pooled.states, "local": self.local_projection(grid)},
            {"global": is_padding, "local": is_padding.unsqueeze(-1).expand(grid.shape[:3])},
        )
        positions = Positions.all_of("grid", is_padding)
        return STATMemory(
            positions=positions,
            start=DecoderState(pooled.h, pooled.c),
            embedding=pooled.h,
            pooling_weights=pooled.weights,
            sequences={"global": positions, "local": positions},
            main="global",
            keys=keys,
        )

    def sentences(self, captions: CaptionBatch) -> Tensor:
        """(N, H): the sentence encoder's last states; see `CaptionModel.sentences`."""
        assert self.sentence_encoder is not None, "see has_joint_space"
        encoded: Tensor = self.sentence_encoder(self.embed(captions.words), captions.is_padding)
        return encoded

    def loss(self, batch: VideoBatch, captions: CaptionBatch) -> Losses:
        """`STATModel.loss` and L-STAP's weighted matching loss, equation (27), as the part 'matching'."""
        memory = self.encode(batch)
        losses = self._caption_losses(memory, captions)
        if not self.has_joint_space:
            return losses
        sentences = self.sentences(captions)
        matching = caption_matching_loss(memory.embedding, sentences, batch, captions, self.settings)
        return Losses(losses.total + self.settings.matching_weight * matching, losses.parts | {"matching": matching})

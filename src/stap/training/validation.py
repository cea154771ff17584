"""Validation: losses, captions and scores on clips that training does not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch

from stap.captioning.batches import CaptionedVideos, read_ahead
from stap.captioning.captions import caption_clips
from stap.models.caption_model import CaptionModel
from stap.recipes.settings import DecodingSettings, Recipe
from stap.scoring.metrics import Scorer
from stap.text.rules import TextRules
from stap.text.vocabulary import Vocabulary
from stap.training.epoch import mean_losses

if TYPE_CHECKING:
    from stap.corpora.corpus import Clip
    from stap.features.streams import FeatureStreams

__all__ = ["LOG_LIKELIHOOD", "Validator", "choose_clips"]

LOG_LIKELIHOOD = "log-likelihood"
METRICS = ("bleu", "rouge", "cider")  # METEOR takes longer than the rest together


def choose_clips(clips: Sequence[Clip], count: int | None, seed: int) -> list[Clip]:
    """All clips, or `count` of them drawn from the seed, in their order."""
    if count is None or count >= len(clips):
        return list(clips)
    return [clips[index] for index in sorted(np.random.default_rng(seed).choice(len(clips), count, replace=False))]


class Validator:
    """Asked after an epoch for the losses and scores of a model. Captions are greedy, for speed, whatever the recipe's beam."""

    def __init__(
        self,
        recipe: Recipe,
        clips: Sequence[Clip],
        vocabulary: Vocabulary,
        rules: TextRules,
        store: FeatureStreams,
        device: torch.device,
    ) -> None:
        self.recipe, self.vocabulary, self.store, self.device = recipe, vocabulary, store, device
        self.clips = clips
        self.videos = CaptionedVideos(clips, vocabulary, store, rules)
        self.scorer = (
            Scorer({clip.id: clip.captions for clip in clips}, METRICS) if recipe.training.best_by == "CIDEr" else None
        )
        self.decoding: DecodingSettings = recipe.decoding.model_copy(update={"beam_width": 1})

    @torch.inference_mode()
    def losses(self, model: CaptionModel) -> dict[str, float]:
        """The loss and its parts, with every caption once, without dropout: means over the captions. Leaves the model in eval mode.

        Where a video's captions are no multiple of captions_per_video, some of them count twice, as in training.
        """
        settings = self.recipe.training
        plan = self.videos.epoch(settings.batch_size, settings.captions_per_video, seed=[self.recipe.seed])
        model.eval()
        names: list[str] = []
        rows, counts = [], []
        for videos, captions in read_ahead(self.videos.batch, plan):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                losses = model.loss(videos.to(self.device), captions.to(self.device))
            names = ["loss", *losses.parts]
            rows.append(torch.stack([losses.total, *losses.parts.values()]).float())
            counts.append(len(captions.words))
        return mean_losses(names, torch.stack(rows), counts)

    def scores(self, model: CaptionModel, losses: Mapping[str, float]) -> dict[str, float]:
        """What models are compared by, higher is better: BLEU, ROUGE-L and CIDEr of the captions that the model writes.

        With training.best_by log-likelihood: that of the validation captions, summed over a caption's words and averaged over
        captions, from the losses; then nothing is written, and no scorer (Java) is needed.
        """
        if self.scorer is None:
            return {LOG_LIKELIHOOD: -losses["caption"]}
        captions = caption_clips(model, self.vocabulary, self.store, self.clips, self.decoding, self.device)
        return self.scorer.score({video_id: found.caption for video_id, found in captions.items()}).corpus

    def __enter__(self) -> Validator:
        """The validator itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the scorer."""
        if self.scorer is not None:
            self.scorer.close()

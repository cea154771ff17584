"""What a training refuses before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from stap.errors import ConfigError, FeatureError
from stap.features.streams import FeatureStreams
from stap.recipes.settings import Recipe, TrainingSettings

__all__ = ["check_motion", "check_objective", "check_parts"]


def check_motion(motion_size: int | None, store: FeatureStreams, video_id: str) -> None:
    """Raises FeatureError unless the store has the motion vectors that model.motion_size promises. None promises nothing."""
    if not motion_size:
        return
    motion = store.read(video_id).get("motion")
    wrong = f"{video_id}: model.motion_size is {motion_size}, but its features have "
    if motion is None:
        raise FeatureError(
            f"{wrong}no motion stream. Give the recipe a section motion and run `stap extract`, "
            "or leave model.motion_size empty to learn the start state."
        )
    if motion.dim() > 1:
        raise FeatureError(
            f"{wrong}a motion stream of {tuple(motion.shape)}; expected one vector a video. Set motion.per to video and run "
            "`stap extract`, or leave model.motion_size empty to learn the start state."
        )
    if len(motion) != motion_size:
        raise FeatureError(f"{wrong}a motion stream of {tuple(motion.shape)}. Set model.motion_size to {len(motion)}.")


def check_objective(settings: TrainingSettings) -> None:
    """Raises ConfigError if a model that has learned nothing would be trained by its rewards."""
    if settings.objective == "cider" and settings.initial_weights is None:
        raise ConfigError(
            "training.objective cider begins with a model that cross-entropy has trained: fresh weights get no reward. Name its folder with "
            "--from, or as training.initial_weights."
        )


def check_parts(recipe: Recipe, batches: Sequence[Sequence[object]], processes: int) -> None:
    """Raises ConfigError if these batches, or the recipe's loss, cannot be divided among so many processes."""
    if (smallest := min(map(len, batches))) < processes:
        raise ConfigError(f"{processes} processes: the smallest batch has {smallest} videos, and each process needs one.")
    if processes > 1 and recipe.model.attention_penalty and not recipe.model.penalty_captions:
        raise ConfigError(
            f"{processes} processes: model.attention_penalty is weighed by the number of captions in a batch, and each process sees "
            f"a part. Set model.penalty_captions={recipe.training.batch_size * recipe.training.captions_per_video}."
        )

"""A model folder and a split of a corpus -> captions, scores and facts recalled: what `stap evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stap.captioning.captions import ClipCaption, caption_clips, embed_sentences
from stap.captioning.model_folder import Run, load_run
from stap.corpora.corpus import Clip
from stap.corpora.loading import load_corpus
from stap.errors import CorpusError
from stap.experiments.facts import Counts, recall_facts
from stap.features.streams import open_run_streams
from stap.scoring.diagnosis import Variety, variety
from stap.scoring.metrics import Scorer, Scores
from stap.scoring.retrieval import Retrieval, retrieval

__all__ = ["Evaluation", "evaluate", "retrieve", "score_clips"]


@dataclass(frozen=True)
class Evaluation:
    """A model's captions of a split, and their scores.

    captions: by clip id.   references: the clips' own captions.
    words: the captions as the metrics see them, by clip id: see Scorer.words.
    facts: kind of fact -> (recalled, in all), over the clips that come with facts (generated scenes); empty without any.
    retrieval: how well the clips' own captions find them in the model's joint space, and they their captions; None without one.
    """

    run: Run
    split: str
    captions: Mapping[str, ClipCaption]
    references: Mapping[str, Sequence[str]]
    scores: Scores
    words: Mapping[str, str]
    facts: Mapping[str, Counts]
    retrieval: Retrieval | None = None

    def variety(self) -> Variety:
        """Lengths, distinct words and repetition of the captions."""
        return variety(self.words.values())

    def to_json(self) -> dict[str, Any]:
        """What `stap evaluate --out` writes; `stap score` reads its captions."""
        return {
            "model": str(self.run.folder),
            "split": self.split,
            "scores": self.scores.corpus,
            "facts": {kind: {"recalled": recalled, "total": total} for kind, (recalled, total) in self.facts.items()},
            **({"retrieval": self.retrieval.to_json()} if self.retrieval else {}),
            "captions": [
                {
                    "video_id": video_id,
                    "caption": found.caption,
                    "score": found.hypothesis.score,
                    "scores": self.scores.per_video[video_id],
                    "references": list(self.references[video_id]),
                }
                for video_id, found in self.captions.items()
            ],
        }


def evaluate(
    model: Path | str,
    split: str = "test",
    *,
    corpus: Path | None = None,
    store: Path | None = None,
    beam_width: int | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Caption a split with the features in the store, and score the captions with all metrics.

    corpus, store: where these are now, if not where the model's recipe says.   beam_width: instead of the recipe's.
    Raises CorpusError if the split has no clips, FeatureError if their features are not in the store.
    """
    run = load_run(model, device)
    settings = run.recipe.corpus.model_copy(update={} if corpus is None else {"root": corpus, "videos": None})
    features = open_run_streams(run.recipe.features, run.streams, store)
    whole = load_corpus(settings)
    clips = (whole.only(features, "features in every stream") if settings.available_only else whole).split(split)
    if not clips:
        raise CorpusError(f"{settings.root}: no clips in the split {split!r}. Choose another split.")
    decoding = run.recipe.decoding.model_copy(update={} if beam_width is None else {"beam_width": beam_width})
    captions = caption_clips(run.model, run.vocabulary, features, clips, decoding, device)
    return replace(score_clips(run, split, clips, captions), retrieval=retrieve(run, clips, captions, device))


def retrieve(
    run: Run, clips: Sequence[Clip], captions: Mapping[str, ClipCaption], device: torch.device | str = "cpu"
) -> Retrieval | None:
    """Each caption of a clip looks for the clip among all of them, and each clip for its captions; None without a joint space."""
    if not run.model.has_joint_space:
        return None
    sentences = [caption for clip in clips for caption in clip.captions]
    embedded = embed_sentences(run.model.eval(), run.vocabulary, run.recipe.text, sentences, device)
    videos = [captions[clip.id].embedding for clip in clips]
    rows = np.repeat(np.arange(len(clips)), [len(clip.captions) for clip in clips])
    return retrieval(torch.stack([one for one in videos if one is not None]).numpy(), embedded.numpy(), rows)


def score_clips(
    run: Run, split: str, clips: Sequence[Clip], captions: Mapping[str, ClipCaption], sharing: Scorer | None = None
) -> Evaluation:
    """Score a model's captions of these clips of a split with all metrics.   sharing: as of `Scorer`."""
    references = {clip.id: clip.captions for clip in clips}
    predictions = {video_id: found.caption for video_id, found in captions.items()}
    with Scorer(references, remember=True, sharing=sharing) as scorer:
        scores, words = scorer.score(predictions), scorer.words(predictions)
    return Evaluation(run, split, captions, references, scores, words, recall_facts(clips, predictions))

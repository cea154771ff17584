"""Training batches: the videos and captions of each step of an epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from stap.captioning.batches import pad_words, read_videos
from stap.corpora.corpus import Clip, Corpus
from stap.errors import CorpusError
from stap.features.streams import FeatureStreams
from stap.models.batch import CaptionBatch, VideoBatch
from stap.recipes.settings import TextSettings, TrainingSettings
from stap.text.rules import TextRules, TokenizedClip
from stap.text.vocabulary import Vocabulary

__all__ = ["Batch", "CaptionedVideos", "Group", "choose_clips", "epoch_plan", "tokenized_corpus"]

OPEN_FILES = 49_152  # memory-mapped, one per video and stream; Linux allows a process 65,530 mappings

Batch = tuple[VideoBatch, CaptionBatch]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Group:
    """One video in a batch: its number in the split, and the numbers of its captions in the batch."""

    video: int
    captions: tuple[int, ...]


def tokenized_corpus(corpus: Corpus, text: TextSettings) -> tuple[list[TokenizedClip[Clip]], Vocabulary]:
    """The captions for training, in one call of the tokenizer: the clips with a usable caption, and the vocabulary.

    Test captions are tokenized only if the vocabulary counts them. Raises CorpusError if no training clip has a usable caption.
    """
    rules = TextRules(text)
    clips = [clip for clip in corpus.clips if clip.split != "test" or text.vocabulary_from == "all"]
    tokenized = rules.tokenized(clips)
    usable = [one for one in tokenized if one.training_words]
    if not any(one.clip.split == "train" for one in usable):
        raise CorpusError(f"{corpus.name}: no training clip has a caption. Check corpus.kind and corpus.root.")
    return usable, rules.vocabulary(tokenized)


def choose_clips(clips: Sequence[Item], count: int | None, seed: int) -> list[Item]:
    """All clips, or `count` of them drawn from the seed, in their order."""
    if count is None or count >= len(clips):
        return list(clips)
    return [clips[index] for index in sorted(np.random.default_rng(seed).choice(len(clips), count, replace=False))]


class CaptionedVideos:
    """Clips with their captions as word ids, to be cut into batches.

    captions: by video, each caption as ids with EOS at its end.
    """

    def __init__(self, clips: Sequence[TokenizedClip[Clip]], vocabulary: Vocabulary, store: FeatureStreams) -> None:
        """clips: each with training words."""
        self.clips = [one.clip for one in clips]
        self.captions = [[vocabulary.encode(words, len(words)) for words in one.training_words] for one in clips]
        self.vocabulary = vocabulary
        self._read = lru_cache(OPEN_FILES // len(store.stores))(store.read)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def digest(self) -> dict[str, Any]:
        """What identifies these captions: counts for people, and a hash."""
        content = json.dumps([self.vocabulary.words, [clip.id for clip in self.clips], self.captions]).encode()
        return {
            "clips": len(self.clips),
            "captions": sum(map(len, self.captions)),
            "words": len(self.vocabulary),
            "sha256": hashlib.sha256(content).hexdigest()[:12],
        }

    def one_pass(self, settings: TrainingSettings, seed: Sequence[int]) -> list[list[Group]]:
        """Batches that show every caption once; see `epoch_plan`."""
        return epoch_plan([len(captions) for captions in self.captions], settings.batch_size, settings.captions_per_video, seed)

    def epoch(self, settings: TrainingSettings, seed: int, number: int, first_step: int) -> list[list[Group]]:
        """The batches of training epoch `number` (from 1), which begins with update `first_step`.

        One pass over the captions, or with training.epoch_updates that many batches of passes that follow each other.
        """
        if not settings.epoch_updates:
            return self._pass(settings, seed, number)
        length = len(self._pass(settings, seed, 1))  # of every pass
        plan: list[list[Group]] = []
        while len(plan) < settings.epoch_updates:
            passes, within = divmod(first_step + len(plan), length)
            plan += self._pass(settings, seed, passes + 1)[within:][: settings.epoch_updates - len(plan)]
        return plan

    def _pass(self, settings: TrainingSettings, seed: int, number: int) -> list[list[Group]]:
        return self.one_pass(settings, (seed, number if settings.reshuffle else 1))

    def batch(self, groups: Sequence[Group]) -> Batch:
        """The features, in the type they are stored in, and the captions of these groups."""
        numbers = [group.video for group in groups]
        videos = read_videos(self._read, [self.clips[number].id for number in numbers], numbers)
        rows = [self.captions[group.video][caption] for group in groups for caption in group.captions]
        return videos, CaptionBatch(pad_words(rows), captions_per_video=len(groups[0].captions))


def epoch_plan(
    caption_counts: Sequence[int], batch_size: int, captions_per_video: int, seed: Sequence[int]
) -> list[list[Group]]:
    """The batches of an epoch that shows every caption once, in an order drawn from `seed`.

    Each video's captions are shuffled and cut into groups of `captions_per_video`; a last group that is too small is filled
    with other captions of the same video. As few batches as possible hold all groups, equally many each (up to one), and
    groups of one video go to different batches as long as it has no more groups than there are batches.
    """
    random = np.random.default_rng(list(seed))
    groups = [_groups_of(video, count, captions_per_video, random) for video, count in enumerate(caption_counts)]
    number_of_batches = -(-sum(map(len, groups)) // batch_size)
    batches: list[list[Group]] = [[] for _ in range(number_of_batches)]
    load = np.zeros(number_of_batches)
    for video in random.permutation(len(groups)):
        for first in range(0, len(groups[video]), number_of_batches):
            part = groups[video][first : first + number_of_batches]
            emptiest = np.argsort(load + random.random(number_of_batches))[: len(part)]  # equal loads in random order
            load[emptiest] += 1
            for batch, group in zip(emptiest, part, strict=True):
                batches[batch].append(group)
    return batches


def _groups_of(video: int, captions: int, size: int, random: np.random.Generator) -> list[Group]:
    order = random.permutation(captions)
    groups = [order[first : first + size] for first in range(0, captions, size)]
    if groups and len(groups[-1]) < size:
        others = random.permutation(np.setdiff1d(order, groups[-1]))
        filled = np.concatenate([groups[-1], others])[:size]
        groups[-1] = np.resize(filled, size)  # a video with fewer captions than `size` shows some of them again
    return [Group(video, tuple(map(int, group))) for group in groups]

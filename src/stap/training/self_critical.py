"""CIDEr as the objective: self-critical sequence training (Rennie et al. 2017) with the mean of the other samples as baseline (Luo 2020).

Of each video K captions are sampled; each has its CIDEr-D as reward. The gradient of the expected reward is estimated by that of

    1/N  sum over the N captions of  (reward - mean reward of the video's other samples) * log-probability of the caption

which is right on average whatever the baseline, as long as it does not depend on the caption itself. A caption's words end with its EOS,
whose log-probability is trained; an EOS is a word of captions and references for the reward too, or else CIDEr would gain from sentences
that break off. What comes after it does not count.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor

from stap.decoding.sampling import sample
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.caption_model import CaptionModel, Losses
from stap.models.losses import select_words
from stap.scoring.cider_d import CiderD
from stap.text.ptb import PTBTokenizer
from stap.text.special_ids import BOS, EOS, PAD
from stap.training.batches import CaptionedVideos

__all__ = ["Reward", "SelfCritical", "advantages"]

END = "<eos>"


class Reward:
    """CIDEr-D of captions, given as word ids, against the references of the training videos, which give the document frequencies too.

    The scorer's tokenizer (Java) reads the references and the vocabulary once, when a reward is made; its answers are kept on disk.
    """

    def __init__(self, videos: CaptionedVideos, tokenizer: PTBTokenizer | None = None) -> None:
        """The references are the clips' own captions, as they are scored, not as they are trained on."""
        tokenizer = tokenizer or PTBTokenizer()
        tokenized = iter(tokenizer.tokenize(list(chain.from_iterable(clip.captions for clip in videos.clips)), keep=True))
        references = [[[*next(tokenized).split(), END] for _ in clip.captions] for clip in videos.clips]
        self._cider = CiderD(references)
        # Some words are several tokens for the scorer: man's is man 's.
        spelt = [tuple(tokens.split()) for tokens in tokenizer.tokenize(videos.vocabulary.words, keep=True)]
        self._tokens = [(), (), (END,), *spelt[EOS + 1 :]]
        assert (PAD, BOS, EOS) == (0, 1, 2)

    def __call__(self, video_numbers: Tensor, words: Tensor) -> Tensor:
        """(B,) numbers of videos, (B * K, L) captions of them -> (B, K) float64, on the CPU."""
        captions = [[token for word in row for token in self._tokens[word]] for row in words.tolist()]
        each = len(captions) // len(video_numbers)
        numbers = [number for number in video_numbers.tolist() for _ in range(each)]
        scores = [self._cider.score(number, caption) for number, caption in zip(numbers, captions, strict=True)]
        return torch.tensor(scores, dtype=torch.float64).view(-1, each)


def advantages(rewards: Tensor) -> Tensor:
    """(B, K) rewards of each video's samples -> (B, K), each less the mean of the others of its video."""
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


class SelfCritical:
    """An objective for `stap.training.step.update`: it reads a batch's videos, and samples captions instead of reading any."""

    def __init__(self, reward: Reward, *, samples: int, max_words: int) -> None:
        """samples: K, of each video.   max_words: of the longest sample."""
        self.reward, self.samples, self.max_words = reward, samples, max_words

    def __call__(self, model: CaptionModel, videos: VideoBatch, captions: CaptionBatch) -> Losses:
        """The loss whose gradient moves the model towards more reward; captions are not read.

        Videos are encoded once. Captions are sampled and scored without dropout: the model is left in eval mode. parts, for reading only:
        'reward', the mean CIDEr-D of the samples, and 'words', their mean length.
        """
        model.eval()
        memory = model.encode(videos)
        sampled = CaptionBatch(sample(model, memory, self.samples, max_words=self.max_words), self.samples)
        rewards = self.reward(videos.video_numbers, sampled.words)
        log_probabilities = model.log_probabilities(memory, sampled)
        gains = advantages(rewards).to(log_probabilities).flatten()  # (N,)
        of_words = select_words(gains[:, None].expand_as(sampled.words), sampled)
        total = -(of_words * log_probabilities).sum() / len(gains)
        words = log_probabilities.new_tensor(len(log_probabilities) / len(gains))
        return Losses(total, {"reward": rewards.mean().to(log_probabilities), "words": words})

"""CIDEr as the objective: the gradient is that of the expected reward, exactly, where all captions can be listed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stap.corpora.corpus import Clip
from stap.decoding import sampling
from stap.features.store import FeatureStore
from stap.features.streams import FeatureStreams
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel
from stap.recipes.settings import ModelSettings
from stap.recipes.streams import StreamSpec
from stap.scoring.cider_d import CiderD
from stap.text.ptb import PTBTokenizer
from stap.text.rules import TokenizedClip
from stap.text.special_ids import EOS, PAD, UNK
from stap.text.vocabulary import Vocabulary
from stap.training import self_critical
from stap.training.batches import CaptionedVideos
from stap.training.self_critical import Reward, SelfCritical, advantages

CAPTIONS = torch.tensor([[EOS, PAD], [UNK, EOS], [4, EOS], [UNK, UNK], [UNK, 4], [4, UNK], [4, 4]])  # all, of up to two words
REWARDS = torch.tensor([0.1, 0.7, 2.0, 0.0, 0.4, 1.1, 0.9], dtype=torch.double)
STREAMS = {name: StreamSpec(name, 3, grid=(1, 2)) for name in ("grid", "frames", "motion", "regions")}


class Spaces(PTBTokenizer):
    """In place of the real one, which starts Java."""

    def tokenize(self, captions, *, keep=False):  # type: ignore[no-untyped-def]
        assert keep
        return [caption.lower().replace("'s", " 's").rstrip(".") for caption in captions]


def model_and_video(kind: str) -> tuple[CaptionModel, VideoBatch]:
    torch.manual_seed(5)
    settings = ModelSettings(hidden_size=3, attention_size=2, embedding_size=2, kind=kind, dropout=0.5, word_dropout=0.5)
    model = build_model(settings, STREAMS, vocabulary_size=5).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    shapes = {"grid": (1, 2, 2, 3)} if kind == "lstap" else {"frames": (1, 2, 3), "motion": (1, 2, 3), "regions": (1, 2, 2, 3)}
    values = {name: torch.randn(shape, dtype=torch.double) for name, shape in shapes.items()}
    return model, VideoBatch(
        values, {name: torch.zeros(1, 2, dtype=torch.bool) for name in values}, torch.zeros(1, dtype=torch.long)
    )


def reward_of_listed(video_numbers: Tensor, words: Tensor) -> Tensor:
    numbers = [(row == CAPTIONS).all(dim=1).nonzero().item() for row in words]
    return REWARDS[numbers].view(len(video_numbers), -1)


def gradient(model: CaptionModel) -> Tensor:
    found = [torch.zeros_like(one) if one.grad is None else one.grad for one in model.parameters()]
    return torch.cat([one.flatten() for one in found])


@pytest.mark.parametrize(("kind", "samples"), [("lstap", 2), ("lstap", 3), ("stat", 2)])
def test_its_gradient_is_on_average_that_of_the_expected_reward(
    kind: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, video = model_and_video(kind)
    model.eval()
    memory = model.encode(video)
    words = model.log_probabilities(memory, CaptionBatch(CAPTIONS, len(CAPTIONS)))
    rows = torch.arange(len(CAPTIONS))[:, None].expand_as(CAPTIONS)[CAPTIONS != PAD]
    probabilities = torch.zeros_like(REWARDS).index_add(0, rows, words).exp()
    (-(probabilities * REWARDS).sum()).backward()
    exact = gradient(model)
    assert exact.abs().max() > 1e-3

    expected = torch.zeros_like(exact)
    objective = SelfCritical(reward_of_listed, samples=samples, max_words=2)  # type: ignore[arg-type]
    chosen = probabilities.detach()
    for drawn in itertools.combinations_with_replacement(range(len(CAPTIONS)), samples):
        orders = len(set(itertools.permutations(drawn)))
        monkeypatch.setattr(self_critical, "sample", lambda *_, numbers=drawn, **__: CAPTIONS[list(numbers)])
        model.train()  # dropout must not matter
        model.zero_grad()
        objective(model, video, CaptionBatch(CAPTIONS[:1])).total.backward()
        expected += orders * chosen[list(drawn)].prod() * gradient(model)
    torch.testing.assert_close(expected, exact, atol=1e-12, rtol=1e-9)


def test_the_baseline_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]])
    assert advantages(rewards).tolist() == [[1 - 4, 2 - 3.5, 6 - 1.5], [0, 0, 0]]


def test_the_reward_is_cider_with_the_end_as_a_word(tmp_path: Path) -> None:
    references = (("A man's dog runs.", "a dog runs"), ("a dog sits on a mat",), ("The man's hat",))
    vocabulary = Vocabulary(("<pad>", "<bos>", "<eos>", "<unk>", "a", "dog", "man's", "runs"))
    clips = [Clip(f"video{number}", Path("x.mp4"), "train", group) for number, group in enumerate(references)]
    store = FeatureStreams({"grid": FeatureStore(tmp_path, {"kind": "grid", "feature_size": 3})})
    videos = CaptionedVideos([TokenizedClip(clip, (), (["a"],)) for clip in clips], vocabulary, store)
    reward = Reward(videos, Spaces())
    rows = [[4, 6, 5, 7, EOS], [4, 6, 5, 7, PAD], [4, 5, EOS, PAD, PAD], [UNK, EOS, PAD, PAD, PAD]]
    found = reward(torch.tensor([0, 1]), torch.tensor(rows))
    as_tokens = [[[*text.lower().replace("'s", " 's").rstrip(".").split(), "<eos>"] for text in group] for group in references]
    cider = CiderD(as_tokens)
    whole = ["a", "man", "'s", "dog", "runs"]
    expected = [
        [cider.score(0, [*whole, "<eos>"]), cider.score(0, whole)],
        [cider.score(1, ["a", "dog", "<eos>"]), cider.score(1, ["<unk>", "<eos>"])],
    ]
    assert found.tolist() == expected
    assert expected[0][0] > expected[0][1] > 0  # breaking off costs


def test_samples_are_what_the_model_says_without_dropout() -> None:
    model, video = model_and_video("lstap")
    torch.manual_seed(2)
    losses = SelfCritical(reward_of_listed, samples=4, max_words=2)(model, video, CaptionBatch(CAPTIONS[:1]))  # type: ignore[arg-type]
    torch.manual_seed(2)
    sampled = sampling.sample(model.eval(), model.encode(video), 4, max_words=2)
    assert losses.parts["reward"].item() == pytest.approx(
        reward_of_listed(video.video_numbers, sampled).mean().item(), rel=1e-12
    )
    assert losses.parts["words"].item() == (sampled != PAD).sum().item() / 4

import pytest
import torch

from stap.models.matching import cosine_similarity, ranking_loss


def test_hardest_negative_by_hand():
    similarity = torch.tensor([[0.9, 0.8, 0.1], [0.3, 0.5, 0.45], [0.2, 0.6, 0.7]])
    numbers = torch.arange(3)
    # sentence 0: videos max(0.2-0.9+0.3, ...)=0, sentences 0.2-0.9+0.8=0.1; sentence 1: video 0 gives 0.2-0.5+0.8=0.5,
    # sentence 2 gives 0.2-0.5+0.45=0.15; sentence 2: videos 0.2-0.7+0.45<0, sentence 1 gives 0.2-0.7+0.6=0.1
    assert ranking_loss(similarity, numbers, numbers, 0.2).item() == pytest.approx((0.1 + 0.5 + 0.15 + 0.1) / 3, abs=1e-6)
    # all negatives: sentence 1 has videos 0.5 and 0.3, sentence 0.15 and 0 (0.2-0.5+0.3 = 0)
    mean = (0.1 / 2 + (0.5 + 0.3) / 2 + 0.15 / 2 + 0.1 / 2) / 3
    assert ranking_loss(similarity, numbers, numbers, 0.2, hardest=False).item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("hardest", [True, False])
def test_negatives_always_belong_to_another_video(hardest):
    similarity = torch.tensor([[0.1, 0.9, 0.95], [0.1, 0.9, 0.95]], requires_grad=True)  # one video, given twice
    loss = ranking_loss(similarity, torch.tensor([7, 7]), torch.tensor([7, 7, 7]), 0.2, hardest=hardest)
    assert loss.item() == 0


@pytest.mark.parametrize("hardest", [True, False])
def test_equals_plain_loops(hardest, reference):
    torch.manual_seed(0)
    videos, sentences = torch.randn(4, 6).double(), torch.randn(8, 6).double()
    of = torch.arange(4).repeat_interleave(2)
    similarity = cosine_similarity(videos, sentences)
    loss = ranking_loss(similarity, torch.arange(4), of, 0.3, hardest=hardest)
    if hardest:
        expected = reference.matching_loss(dict(enumerate(videos.tolist())), sentences.tolist(), of.tolist(), 0.3)
    else:
        expected = 0.0
        for n in range(8):
            right = reference.cosine(videos[n // 2].tolist(), sentences[n].tolist())
            wrong_v = [reference.cosine(videos[k].tolist(), sentences[n].tolist()) for k in range(4) if k != n // 2]
            wrong_s = [reference.cosine(videos[n // 2].tolist(), sentences[m].tolist()) for m in range(8) if m // 2 != n // 2]
            expected += sum(max(0, 0.3 - right + s) for s in wrong_v) / 3 + sum(max(0, 0.3 - right + s) for s in wrong_s) / 6
        expected /= 8
    assert expected > 0
    assert loss.item() == pytest.approx(expected, abs=1e-10)

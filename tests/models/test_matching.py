import math

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
    assert ranking_loss(similarity, numbers, numbers, 0.2, negatives="all").item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("negatives", ["hardest", "all", "violations"])
def test_negatives_always_belong_to_another_video(negatives):
    similarity = torch.tensor([[0.1, 0.9, 0.95], [0.1, 0.9, 0.95]], requires_grad=True)  # one video, given twice
    loss = ranking_loss(similarity, torch.tensor([7, 7]), torch.tensor([7, 7, 7]), 0.2, negatives=negatives)
    assert loss.item() == 0
    loss.backward()
    assert (similarity.grad == 0).all()


def counted(hinges, negatives):
    hinges = [max(0.0, hinge) for hinge in hinges]
    if negatives == "hardest":
        return max(hinges)
    if negatives == "all":
        return sum(hinges) / len(hinges)
    return math.sqrt(sum(hinge**2 for hinge in hinges) + 1e-6) - 1e-3


@pytest.mark.parametrize("negatives", ["hardest", "all", "violations"])
@pytest.mark.parametrize("of_row", [[0, 1, 2, 3], [2, 0, 0, 1, 3, 2, 2]], ids=["a row each", "several rows"])
def test_equals_plain_loops(negatives, of_row, reference):
    """Every pair of a row and a sentence of its video counts; a sentence with several rows has their mean."""
    torch.manual_seed(0)
    rows, sentences = torch.randn(len(of_row), 6).double(), torch.randn(8, 6).double()
    of = [0, 0, 1, 1, 2, 2, 3, 3]
    loss = ranking_loss(cosine_similarity(rows, sentences), torch.tensor(of_row), torch.tensor(of), 0.3, negatives=negatives)

    def cosine(r, n):
        return reference.cosine(rows[r].tolist(), sentences[n].tolist())

    expected = 0.0
    for n in range(8):
        own = [r for r in range(len(of_row)) if of_row[r] == of[n]]
        for r in own:
            wrong_rows = [0.3 - cosine(r, n) + cosine(q, n) for q in range(len(of_row)) if of_row[q] != of[n]]
            wrong_sentences = [0.3 - cosine(r, n) + cosine(r, m) for m in range(8) if of[m] != of[n]]
            expected += (counted(wrong_rows, negatives) + counted(wrong_sentences, negatives)) / len(own) / 8
    assert expected > 0
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    if negatives == "hardest" and len(of_row) == 4:
        matching = reference.matching_loss(dict(enumerate(rows.tolist())), sentences.tolist(), of, 0.3)
        assert loss.item() == pytest.approx(matching, abs=1e-10)


def test_of_many_small_violations_the_root_is_between_the_mean_and_the_sum():
    similarity = torch.full((9, 9), 0.5).double()
    similarity[range(9), range(9)] = 0.6
    numbers = torch.arange(9)
    mean, root = (ranking_loss(similarity, numbers, numbers, 0.2, negatives=negatives) for negatives in ("all", "violations"))
    assert mean.item() == pytest.approx(2 * 0.1)  # 8 wrong ones, all by 0.1
    assert root.item() == pytest.approx(2 * math.sqrt(8) * 0.1, abs=3e-3)

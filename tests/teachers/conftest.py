"""Short answers, and videos of moving squares with times of their own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stap.teachers import answers

MOST_TOKENS = 8


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_TOKENS", MOST_TOKENS)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video_in: Callable[..., Path]) -> list[Path]:
    """Videos of 48 x 32 pixels: ten frames at uneven times, ten at even ones, three, ten at even ones."""
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(3)
    uneven = [0, 100, 300, 400, 900, 1500, 2100, 2200, 2900, 3100]
    made = []
    for number, (count, times) in enumerate(((10, uneven), (10, None), (3, None), (10, None))):
        pictures = random.integers(0, 255, (count, 32, 48, 3), dtype=np.uint8)
        made.append(make_video_in(folder, f"{number}.mp4", pictures, times=times, frame_rate=10))
    return made

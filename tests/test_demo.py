"""The demo, very small: everything it promises is there, what is finished is not done again, and an interruption costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stap.demo import DemoResult, DemoSize, run_demo

pytestmark = pytest.mark.slow

TINY = DemoSize(
    "demo/quick",
    videos=40,
    overrides=(
        "features.backbone=test_resnet",
        "features.backbone_options={}",
        "features.image_size=48",
        "features.frames=4",
        "pretraining.epochs=2",
        "pretraining.batch_size=8",
        "pretraining.frames_per_video=2",
        "pretraining.joint_size=16",
        "model.hidden_size=16",
        "training.epochs=2",
        "training.validate_every=1",
        "decoding.beam_width=2",
    ),
)


class Told(list[str]):
    """The lines of progress; a line that begins with `stop_at` interrupts the demo."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, line: str) -> None:
        self.append(line)
        if self.stop_at and line.startswith(self.stop_at):
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only lose by more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult, Told]:
    out, told = tmp_path_factory.mktemp("demo") / "my demo", Told()
    return out, run_demo(out, size=TINY, compare=True, seed=3, progress=told), told


def test_everything_is_there(finished: tuple[Path, DemoResult, Told]) -> None:
    out, result, _ = finished
    assert sorted(path.name for path in out.iterdir()) == [
        "corpus", "features", "lrcn", "model", "pretraining", "report.html", "stages.json",
    ]  # fmt: skip
    assert result.model == out / "model"
    assert (out / "model" / "backbone.safetensors").is_file()
    assert [outcome.name for outcome in result.outcomes] == ["L-STAP", "LRCN", "most frequent caption"]
    assert all(len(outcome.captions) == 5 for outcome in result.outcomes)
    assert 0 <= result.outcomes[2].values["facts"] < 1

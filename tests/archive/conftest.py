"""What the tests of the archive share: a model, videos and an archive of them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stap.captioning.captioner import load
from stap.cli import main
from tiny_models import save_model, save_video


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model, three videos, and an archive of them; tests that write copy what they need."""
    work = tmp_path_factory.mktemp("world")
    model = save_model(work / "model")
    videos = [save_video(work / "videos" / "a folder" / f"{seed}.mp4", seed) for seed in (1, 2, 3)]
    archive = work / "archive"
    assert main(["index", str(work / "videos"), "--archive", str(archive), "--model", str(model), "--no-isolate"]) == 0
    return SimpleNamespace(
        model=model, folder=work / "videos", videos=videos, archive=Path(archive), captioner=load(model, "cpu")
    )

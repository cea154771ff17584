"""From video files to the table: the real clips of both corpora, and generated scenes in MSVD's layout, in very small sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from stap.cli import main
from stap.experiments.reproduce.request import Request
from stap.experiments.reproduce.rows import METRICS, CorpusName
from stap.experiments.reproduce.run import reproduce
from stap.experiments.reproduce.tables import rows_named
from stap.features.networks.c3d import C3D
from stap.features.networks.faster_rcnn import build_detector
from stap.features.networks.i3d import I3D
from stap.recipes.files import load_recipe
from stap.scenes import SceneDials, write_scenes
from stap.scenes.msvd_layout import write_msvd_layout

DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn"
SMALL = (
    "model.hidden_size=8", "model.attention_size=8", "model.embedding_size=8", "model.stat.project_global=true",
    "training.epochs=1", "training.epoch_updates=2", "training.batch_size=2", "training.best_by=log-likelihood",
    "decoding.beam_width=1", "decoding.max_words=4",
)  # fmt: skip
MOTION = {
    "i3d": ("motion.network=i3d", "motion.layer=logits", "motion.clip_frames=9", "motion.frame_rate=1", "motion.resize=193", "motion.image_size=193"),
    "c3d": ("motion.frame_rate=2",),  # fc6 of 16 frames, as the recipes of STAT have it
}  # fmt: skip
REAL = (
    "features.backbone=mobilenetv2_100", "features.backbone_options={pad_type: same}", "features.frames=3", "features.image_size=96",
    "features.mean=[0.502, 0.502, 0.502]", "features.std=[0.498, 0.498, 0.498]",
    f"regions.detector={DETECTOR}", "regions.frames=1", "regions.regions=3", "regions.min_score=0", "regions.image_size=96",
    *SMALL,
)  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random values under the true names and shapes of I3D and a Faster R-CNN."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    made = {"i3d": I3D(600), "c3d": C3D(), DETECTOR: build_detector(DETECTOR, "random")}
    for name, network in made.items():
        safetensors.torch.save_file(network.state_dict(), folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in made}


LEFT_OUT = (
    "1,963 of 1,970 clips have neither a video nor features and are left out: the scores do not compare with published ones."
)
TRIAL = "A trial on 6 of 10,000 clips (--data 6): the scores say nothing about the systems."


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "rows", "network", "counts", "limit", "remark"), [
    ("msvd", "lstap-attention,stat", "i3d", {"train": 4, "validation": 0, "test": 3}, None, LEFT_OUT),
    ("msrvtt", "stat", "c3d", {"train": 4, "validation": 0, "test": 2}, 6, TRIAL),
])  # fmt: skip
def test_the_real_clips_go_through_every_stage(
    corpus: CorpusName,
    rows: str,
    network: str,
    counts: dict[str, int],
    limit: int | None,
    remark: str,
    stap_data: Path,
    networks: dict[str, Path],
    tmp_path: Path,
) -> None:
    weights = {name: networks[name] for name in (network, DETECTOR)}
    weights["mobilenetv2_100"] = stap_data / "backbone/mobilenetv2_100_imagenet.safetensors"
    settings = (*REAL, *MOTION[network])
    request = Request(corpus, tmp_path, rows_named("msvd", rows), {"root": stap_data / corpus}, weights, settings, limit=limit)
    lines: list[str] = []
    found = reproduce(request, say=lines.append)
    assert found.is_complete, [result.errors for result in found.rows]
    assert found.remarks[0] == remark
    streams = {"lstap-attention": 2, "stat": 3}  # grid and motion; frames, motion and regions
    assert sum("already there" in line for line in lines) == sum(streams[row.key] for row in rows_named("msvd", rows))
    for result in found.rows:
        [outcome] = result.outcomes
        assert (set(outcome.scores), outcome.clips) == (set(METRICS), counts)
        folder = tmp_path / result.folders[0]
        captions = json.loads((folder / "captions.json").read_text())
        assert len(captions["captions"]) == counts["test"]
        assert captions["scores"] == outcome.scores
        recipe = load_recipe(folder / "recipe.yaml")
        assert (recipe.name, recipe.seed) == (f"{corpus}/{result.row.key}", 1)
        assert recipe.motion is not None
        assert recipe.motion.network == network
        assert recipe.model.motion_size == (None if result.row.key.startswith("stat") else 600)
        assert "<html" in (folder / "report.html").read_text()
    assert {path.name for path in tmp_path.glob("table.*")} == {"table.md", "table.html", "table.json"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 scenes in MSVD's layout, one of whose videos is cut short and one is missing."""
    out = tmp_path_factory.mktemp("scenes") / "corpus"
    corpus = write_scenes(out, videos=24, seed=1, dials=SceneDials(seconds=1.0, pixels=64), workers=1)
    clips = write_msvd_layout(corpus, out).clips
    clips[1].path.unlink()
    whole = clips[2].path.read_bytes()
    clips[2].path.unlink()  # another name of the file in MSR-VTT's layout, which stays as it is
    clips[2].path.write_bytes(whole[:200])
    return out


@pytest.fixture(scope="module")
def grid_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small backbone with random values."""
    path = tmp_path_factory.mktemp("grid") / "grid.safetensors"
    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


@pytest.fixture
def small(scenes: Path, grid_weights: Path, tmp_path: Path) -> Request:
    """Two rows that need nothing but a grid."""
    settings = ("features.backbone=test_resnet", "features.image_size=48", "features.frames=3", "motion=null", *SMALL)
    return Request(
        "msvd", tmp_path / "out", rows_named("msvd", "lrcn,lstap-mean"), {"root": scenes}, {"test_resnet": grid_weights}, settings,
        seeds=(1,), other_counts=True,
    )  # fmt: skip


class Lines(list[str]):
    """The lines of progress; the second that begins with `stop_at` interrupts."""

    def __init__(self, stop_at: str = "nothing") -> None:
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, line: str) -> None:
        self.append(line)
        if sum(line.strip().startswith(self.stop_at) for line in self) == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_scenes_in_msvd_s_layout_interrupted_and_continued(small: Request, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        reproduce(small, say=Lines("epoch 1/1"))  # the second row is trained and not scored
    file = tmp_path / "out/rows/lrcn/seed-1/outcome.json"
    first, lines = file.stat().st_mtime_ns, Lines()
    assert "Not finished: lstap-mean." in (tmp_path / "out/table.md").read_text()
    found = reproduce(small, say=lines)
    assert found.is_complete
    assert file.stat().st_mtime_ns == first
    assert "  seed 1: finished before" in lines
    assert not any("epoch 1/1" in line for line in lines)
    assert any(line.endswith("0 written, 22 already there, 1 failed") for line in lines)
    assert found.rows[0].outcomes[0].clips == {"train": 17, "validation": 2, "test": 3}
    assert found.remarks[0].startswith("1 of 24 clips have neither a video nor features and are left out")
    assert "test_resnet made no features of 1 clips, which are left out of its rows: vid3." in found.remarks
    file.write_text(file.read_text()[:40])  # as if half-written by something else
    again = reproduce(replace(small, rows=small.rows[:1]), say=Lines())
    assert again.rows[0].outcomes[0].scores == found.rows[0].outcomes[0].scores


@pytest.mark.slow
def test_what_fails_is_reported_and_the_rest_goes_on(small: Request, tmp_path: Path, make_weights: Callable[..., Path]) -> None:
    rows = rows_named("msvd", "lrcn,lstap-mean,stat-temporal-only")
    settings = tuple(setting for setting in small.overrides if setting != "motion=null")
    request = replace(small, rows=rows, overrides=settings, weights={**small.weights, "i3d": make_weights("detector")}, limit=9)
    (request.run_folder(rows[2], 1)).mkdir(parents=True)
    found = reproduce(request, say=Lines())
    reasons = {result.row.key: result.errors for result in found.rows}
    assert reasons["stat-temporal-only"] == ()
    assert reasons["lrcn"] == reasons["lstap-mean"]
    [reason] = reasons["lrcn"]
    assert reason.startswith(f"no features of i3d. {tmp_path / 'detector.safetensors'}: holds the weights of another network")
    assert "Not finished: lrcn, lstap-mean." in found.remarks
    other = reproduce(
        replace(request, rows=rows[2:], weights=small.weights, overrides=(*settings, "training.l2=0.5")), say=Lines()
    )
    [error] = other.rows[0].errors
    assert error == (
        f"Seed 1: {request.run_folder(rows[2], 1)}: was begun with another recipe or other data: training.l2: expected 0.0001, found 0.5. "
        "Continue with the same, or begin in another folder."
    )


@pytest.mark.slow
def test_a_wrong_checksum_of_the_weights(small: Request, tmp_path: Path) -> None:
    """A byte of I3D's file is changed: the row that needs it says so, the other is finished."""
    path = tmp_path / "i3d.pth"
    torch.save(I3D(600).state_dict(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    settings = tuple(setting for setting in small.overrides if setting != "motion=null")
    rows = rows_named("msvd", "lrcn,stat-temporal-only")
    request = replace(small, rows=rows, overrides=settings, weights={**small.weights, "i3d": path}, limit=9)
    lrcn, stat = reproduce(request, say=Lines()).rows
    [reason] = lrcn.errors
    assert re.fullmatch(
        rf"no features of i3d\. {path}: 'i3d/data/\d+' in it does not match its checksum\. Fetch or write it again\.", reason
    )
    assert stat.errors == ()
    assert stat.outcomes


@pytest.fixture
def make_weights(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes weights of another network."""

    def make(name: str) -> Path:
        path = tmp_path / f"{name}.safetensors"
        safetensors.torch.save_file({"roi_heads.box_predictor.cls_score.bias": torch.zeros(91)}, path)
        return path

    return make


def test_the_command_refuses_what_fits_no_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["reproduce", "msvd", "--rows", "lcrn", *out]) == 1
    assert capsys.readouterr().err.startswith("stap: lcrn: no such row. Did you mean lrcn? Choose among ")
    assert main(["reproduce", "msvd", "--weights", "i3d", *out]) == 1
    assert capsys.readouterr().err == (
        "stap: --weights i3d: expected NETWORK=FILE, for example --weights i3d=weights/model.ckpt.\n"
    )
    assert main(["reproduce", "msvd", "--rows", "lrcn", "--root", str(tmp_path / "nowhere"), *out]) == 1
    assert "nowhere: no such folder. Expected the folder of MSVD" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("table.*"))

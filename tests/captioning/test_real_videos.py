"""Real pictures and real sentences, where STAP_DATA names them: MSVD and MSR-VTT, and files of every codec."""

import json
from pathlib import Path

import av
import pytest
import torch

from stap.cli import main
from stap.corpora.corpus import Clip
from stap.corpora.loading import load_corpus_with_files
from stap.recipes.settings import CorpusSettings
from stap.text.words import tokenize

CAPTIONS_LEARNED = 2  # of each clip's twenty or more


@pytest.fixture(scope="module")
def clips(stap_data: Path) -> list[Clip]:
    """The real clips of both corpora whose files are there."""
    corpora = [CorpusSettings(kind=kind, root=stap_data / kind, available_only=True) for kind in ("msvd", "msrvtt")]
    return [clip for settings in corpora for clip in load_corpus_with_files(settings).clips]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A network this small is faster so, above all on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(clips: list[Clip], stap_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """L-STAP on grid features of a MobileNetV2 trained on ImageNet, taught these clips by the commands a user would run."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "TrainValVideo").mkdir()
    for clip in clips:
        (folder / "TrainValVideo" / f"{clip.id}{clip.path.suffix}").symlink_to(clip.path)
    videos = [{"video_id": clip.id, "split": "train"} for clip in clips]
    sentences = [{"video_id": clip.id, "caption": caption} for clip in clips for caption in clip.captions[:CAPTIONS_LEARNED]]
    (folder / "videodatainfo.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""
        name: real-clips
        corpus: {{root: {folder}}}
        features:
          backbone: mobilenetv2_100
          weights: {stap_data}/backbone/mobilenetv2_100_imagenet.safetensors
          backbone_options: {{pad_type: same}}
          mean: [0.502, 0.502, 0.502]
          std: [0.498, 0.498, 0.498]
          frames: 5
          store: {folder}/store
        model: {{hidden_size: 64, attention_size: 32, embedding_size: 48, dropout: 0.0}}
        training: {{epochs: 40, batch_size: 10, captions_per_video: {CAPTIONS_LEARNED}, optimizer: {{kind: adam, learning_rate: 0.01}}}}
        """
    )
    assert main(["extract", str(recipe)]) == 0
    assert main(["train", str(recipe), "--out", str(folder / "model")]) == 0
    return folder / "model"


@pytest.mark.slow
def test_a_human_caption_is_reproduced_for_each_clip(
    model: Path, clips: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["caption", *(str(clip.path) for clip in clips), "--model", str(model)]) == 0
    said = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    not_human = {
        clip.id: said[str(clip.path)]
        for clip in clips
        if said[str(clip.path)].split() not in [tokenize(caption) for caption in clip.captions]
    }
    assert len(said) == len(clips) >= 20
    assert not_human == {}


@pytest.mark.slow
def test_every_file_that_ffmpeg_decodes_gets_a_caption(
    model: Path, stap_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And each of the others a reason."""
    files = sorted(path for path in (stap_data / "videos").rglob("*") if path.is_file())
    capsys.readouterr()
    status = main(["caption", *map(str, files), "--model", str(model)])
    answer = capsys.readouterr()
    captioned = {line.split("\t")[0] for line in answer.out.splitlines()}
    refused = {line.removeprefix("stap: ").split(": ")[0] for line in answer.err.splitlines() if line.startswith("stap: /")}
    assert captioned == {str(path) for path in files if has_frames(path)}
    assert refused == {str(path) for path in files} - captioned
    assert status == (1 if refused else 0)


def has_frames(path: Path) -> bool:
    """Whether FFmpeg gives a picture of the first video stream."""
    try:
        with av.open(str(path)) as container:
            return any(True for _ in container.decode(video=0))
    except (av.FFmpegError, IndexError):
        return False

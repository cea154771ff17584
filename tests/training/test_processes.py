"""Training by several processes: the same gradient, the same run, and errors that reach the user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stap.corpora.corpus import Clip, Corpus
from stap.errors import ConfigError, FeatureError, StapError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.batch import CaptionBatch, VideoBatch
from stap.models.build import build_model
from stap.models.caption_model import CaptionModel
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import ModelSettings, Recipe
from stap.recipes.streams import StreamSpec
from stap.training.loop import EpochSummary, fit
from stap.training.processes import ALONE, Processes, joined, launch
from stap.training.resume import state_file

pytestmark = pytest.mark.slow  # every process imports PyTorch

CPU = torch.device("cpu")
VIDEOS, CAPTIONS, WORDS = 5, 3, 9


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def model_of(negatives: str) -> CaptionModel:
    torch.manual_seed(1)
    settings = ModelSettings.model_validate(
        {
            "hidden_size": 6,
            "attention_size": 4,
            "embedding_size": 5,
            "dropout": 0.0,
            "negatives": negatives,
            "matching_weight": 2.0,
        }
    )
    return build_model(settings, {"grid": StreamSpec("grid", 3, grid=(2, 2))}, vocabulary_size=WORDS).double()


def gradients(processes: Processes, negatives: str) -> dict[str, Tensor]:
    """Of one update on five videos with three captions each, one more in the first part than in the second."""
    random = torch.Generator().manual_seed(2)
    grid = torch.randn(VIDEOS, 4, 4, 3, generator=random, dtype=torch.double)
    words = torch.randint(3, WORDS, (VIDEOS, CAPTIONS, 5), generator=random)
    words[::2, 1, 3:] = 0
    numbers = torch.tensor(processes.part(range(VIDEOS)))
    videos = VideoBatch({"grid": grid[numbers]}, {"grid": torch.zeros(len(numbers), 4, dtype=torch.bool)}, numbers)
    captions = CaptionBatch(words[numbers].flatten(0, 1), CAPTIONS)
    model = model_of(negatives).train()
    processes.backward(model.loss(videos, captions).total, len(captions.words), model.parameters())
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


NEGATIVES = ("hardest", "all", "violations")


def write_gradients(folder: Path) -> int:
    with joined(CPU) as processes:
        found = {f"{kind} {name}": gradient for kind in NEGATIVES for name, gradient in gradients(processes, kind).items()}
        save_file(found, folder / str(processes.rank))
    return torch.get_num_threads()


def test_the_gradient_is_that_of_the_whole_batch_in_every_process(tmp_path: Path) -> None:
    assert launch(2, write_gradients, tmp_path) == 1
    assert torch.get_num_threads() == 2
    parts = [load_file(tmp_path / name) for name in ("0", "1")]
    for kind in NEGATIVES:
        for name, alone in gradients(ALONE, kind).items():
            first, second = (part[f"{kind} {name}"] for part in parts)
            assert torch.equal(first, second)
            torch.testing.assert_close(first, alone, rtol=1e-9, atol=1e-12)
            assert alone.abs().max() > 0


def exchange(folder: Path) -> None:
    with joined(CPU) as processes:
        rows = processes.mean(torch.tensor([[1.0 + processes.rank, 2.0]]), counts=[3 - 2 * processes.rank])
        found = (
            rows.tolist(),
            processes.all_gather(f"rank {processes.rank}"),
            processes.broadcast("first" if processes.is_first else None),
            list(processes.part(range(5))),
            processes.numbers(2).tolist(),
        )
    (folder / f"{processes.rank}.json").write_text(json.dumps(found))


def test_processes_exchange_what_they_have(tmp_path: Path) -> None:
    launch(2, exchange, tmp_path)
    for rank in (0, 1):
        rows, gathered, first, part, numbers = json.loads((tmp_path / f"{rank}.json").read_text())
        assert rows == [[1.25, 2.0]]
        assert (gathered, first) == (["rank 0", "rank 1"], "first")
        assert (part, numbers) == (([0, 2, 4], [0, 2]) if rank == 0 else ([1, 3], [1, 3]))


def refuse() -> None:
    raise FeatureError("video7: damaged.")


def go_wrong() -> None:
    raise IndexError("7 of 3")


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def only(rank: int, work: Callable[[], None]) -> None:
    """The work in the process of this rank, while the others wait for it."""
    with joined(CPU) as processes:
        if processes.rank == rank:
            work()
        processes.all_gather("still there?")


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (refuse, FeatureError, "video7: damaged."),
        (go_wrong, StapError, "training process {rank}: IndexError: 7 of 3"),
        (
            be_killed,
            StapError,
            "training process {rank} was killed (exit -9), probably out of memory. "
            "Use fewer processes or smaller batches, and continue with --resume.",
        ),
    ],
)
def test_the_first_error_of_any_process_ends_all(
    capfd: pytest.CaptureFixture[str], rank: int, work: Callable[[], None], kind: type[StapError], message: str
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(kind) as caught:
        launch(2, only, rank, work)
    assert type(caught.value) is kind
    assert str(caught.value) == message.format(rank=rank)
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is before


def test_one_process_is_this_one() -> None:
    assert launch(1, os.getpid) == os.getpid()
    with joined(CPU) as processes:
        assert processes == ALONE


def test_gpus_must_be_there() -> None:
    found = torch.cuda.device_count()
    count = found + 2
    with pytest.raises(ConfigError, match=rf"^{count} processes on cuda: each needs a GPU of its own, found {found}\."):
        launch(count, join, "cuda")


def join(device: str) -> None:
    with joined(torch.device(device)):
        pass


def test_another_number_than_torchrun_s_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"^--processes 3: torchrun started 2 processes\. Leave out --processes\.$"):
        launch(3, refuse)


SLEEPERS = """
import os, pathlib, sys, time
from stap.training.processes import launch

def sleep(folder):
    (pathlib.Path(folder) / os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    try:
        launch(2, sleep, sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_all(tmp_path: Path, number: signal.Signals, status: int) -> None:
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    launcher = subprocess.Popen([sys.executable, tmp_path / "sleepers.py", tmp_path], stderr=subprocess.PIPE, text=True)
    files = [tmp_path / "0", tmp_path / "1"]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    launcher.send_signal(number)
    _, said = launcher.communicate(timeout=60)
    assert (launcher.returncode, said) == (status, "")
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def corpus_of_balls() -> Corpus:
    words = [(colour, act) for colour in ("red", "green", "blue") for act in ("rises", "falls", "spins")]
    return Corpus(
        "balls", tuple(Clip(f"video{n}", Path(f"{n}.mp4"), "train", (f"a {a} ball {b}",) * 2) for n, (a, b) in enumerate(words))
    )


@pytest.fixture
def corpus() -> Corpus:
    return corpus_of_balls()


@pytest.fixture
def store(tmp_path: Path) -> FeatureStreams:
    return store_of_balls(tmp_path / "features")


def store_of_balls(folder: Path) -> FeatureStreams:
    store = FeatureStore(folder, {"kind": "grid", "frames": 4, "feature_size": 6, "grid": [1, 2]})
    random = torch.Generator().manual_seed(1)
    for number, clip in enumerate(corpus_of_balls().clips):
        store.write(clip.id, VideoFeatures({"grid": torch.randn(2 + number % 3, 2, 6, generator=random).half()}))
    return FeatureStreams({"grid": store})


def recipe_of(dropout: float = 0.0, batch_size: int = 3, **model: object) -> Recipe:
    return recipe_from_dict(
        {
            "name": "tiny",
            "model": {"hidden_size": 16, "attention_size": 8, "embedding_size": 8, "dropout": dropout} | model,
            "training": {
                "batch_size": batch_size,
                "captions_per_video": 2,
                "epochs": 4,
                "optimizer": {"kind": "adam", "learning_rate": 0.01},
            },
        }
    )


def test_two_processes_learn_what_one_learns(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    one = fit(recipe_of(), corpus, store, tmp_path / "one")
    two = launch(2, fit, recipe_of(), corpus, store, tmp_path / "two")
    for here, there in zip(one.history, two.history, strict=True):
        assert here.training == pytest.approx(there.training, rel=1e-4)
    assert one.history[-1].training["word"] < 0.95 * one.history[0].training["word"]


def test_two_processes_train_for_cider(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    fit(recipe_of(), corpus, store, tmp_path / "before")
    update = {"objective": "cider", "initial_weights": tmp_path / "before", "epochs": 10}
    recipe = recipe_of()
    optimizer = recipe.training.cider.optimizer.model_copy(update={"learning_rate": 0.02})
    cider = recipe.training.cider.model_copy(update={"optimizer": optimizer})
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=update | {"cider": cider})})
    result = launch(2, fit, recipe, corpus, store, tmp_path / "after")
    rewards = [summary.training["reward"] for summary in result.history]
    assert sum(rewards[-3:]) > 1.1 * sum(rewards[:3]) > 0


TRAINING = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from test_processes import corpus_of_balls, recipe_of, store_of_balls
from stap.training.loop import fit

folder = pathlib.Path({folder!r})
fit(recipe_of(), corpus_of_balls(), store_of_balls(folder / "features"), folder / "torchrun", on_epoch=print)
"""


def test_torchrun_trains_like_processes(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    (tmp_path / "training.py").write_text(TRAINING.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    launch(2, fit, recipe_of(), corpus, store, tmp_path / "launched")
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", tmp_path / "training.py"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [f"epoch {n}/4" for n in (1, 2, 3, 4)]
    launched, torchrun = (load_file(state_file(tmp_path / run)) for run in ("launched", "torchrun"))
    assert launched.keys() == torchrun.keys()
    assert all(torch.equal(launched[name], torchrun[name]) for name in launched)


def stop(summary: EpochSummary) -> None:
    raise StapError(f"stopped after epoch {summary.epoch}")


def test_stopped_and_continued_they_learn_the_same(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    launch(2, fit, recipe_of(dropout=0.3), corpus, store, tmp_path / "whole")
    with pytest.raises(StapError, match=r"^stopped after epoch 1$"):
        launch(2, fit, recipe_of(dropout=0.3), corpus, store, tmp_path / "parts", on_epoch=stop)
    launch(2, fit, recipe_of(dropout=0.3), corpus, store, tmp_path / "parts", resume=True)
    whole, parts = (load_file(state_file(tmp_path / run)) for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_batches_that_cannot_be_divided_are_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    with pytest.raises(ConfigError, match="2 processes: the smallest batch has 1 videos"):
        launch(2, fit, recipe_of(batch_size=1), corpus, store, tmp_path / "run")
    stat = {"kind": "lstap", "attention_penalty": 0.5, "penalty_captions": None}
    with pytest.raises(ConfigError, match=r"Set model\.penalty_captions=6"):
        launch(2, fit, recipe_of(**stat), corpus, store, tmp_path / "run")


def test_the_command_starts_processes_and_says_an_error_once(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: tiny\ncorpus: {{kind: folder, root: {tmp_path / 'nowhere'}}}\n")
    line = [sys.executable, "-m", "stap.cli", "train", recipe, "--out", tmp_path / "run", "--device", "cpu", "--processes", "2"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [said] = done.stderr.splitlines()
    assert said.startswith(f"stap: {tmp_path / 'nowhere'}")

"""Training by several processes: the same gradient, the same run, and errors that reach the user."""

from __future__ import annotations

import json
import os
import signal
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
from stap.training.loop import fit
from stap.training.processes import ALONE, Processes, several_processes

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
    return build_model(settings, vocabulary_size=WORDS, feature_size=3, grid_size=(2, 2)).double()


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


def write_gradients(processes: Processes, file: Path) -> None:
    save_file({f"{kind} {name}": grad for kind in NEGATIVES for name, grad in gradients(processes, kind).items()}, file)


NEGATIVES = ("hardest", "all", "violations")


def test_the_gradient_is_that_of_the_whole_batch_in_every_process(tmp_path: Path) -> None:
    with several_processes(2, CPU, write_gradients, tmp_path / "1") as processes:
        assert torch.get_num_threads() == 1
        write_gradients(processes, tmp_path / "0")
    assert torch.get_num_threads() == 2
    parts = [load_file(tmp_path / name) for name in ("0", "1")]
    for kind in NEGATIVES:
        for name, alone in gradients(ALONE, kind).items():
            first, second = (part[f"{kind} {name}"] for part in parts)
            assert torch.equal(first, second)
            torch.testing.assert_close(first, alone, rtol=1e-9, atol=1e-12)
            assert alone.abs().max() > 0


def exchange(processes: Processes, folder: Path) -> None:
    rows = processes.mean(torch.tensor([[1.0 + processes.rank, 2.0]]), counts=[3 - 2 * processes.rank])
    found = (
        rows.tolist(),
        processes.together(f"rank {processes.rank}"),
        processes.of_first("first" if processes.is_first else None),
        list(processes.part(range(5))),
        processes.numbers(2).tolist(),
    )
    (folder / f"{processes.rank}.json").write_text(json.dumps(found))


def test_what_processes_tell_each_other(tmp_path: Path) -> None:
    with several_processes(2, CPU, exchange, tmp_path) as processes:
        exchange(processes, tmp_path)
    for rank in (0, 1):
        rows, together, first, part, numbers = json.loads((tmp_path / f"{rank}.json").read_text())
        assert rows == [[1.25, 2.0]]
        assert (together, first) == (["rank 0", "rank 1"], "first")
        assert (part, numbers) == (([0, 2, 4], [0, 2]) if rank == 0 else ([1, 3], [1, 3]))


def refuse(processes: Processes) -> None:
    raise FeatureError("video7: damaged.")


def go_wrong(processes: Processes) -> None:
    raise IndexError("7 of 3")


def be_killed(processes: Processes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("follow", "kind", "said"),
    [
        (refuse, FeatureError, "^video7: damaged.$"),
        (go_wrong, StapError, "^training process 1: IndexError: 7 of 3$"),
        (be_killed, StapError, "^training process 1 was ended from outside .*memory.*--resume"),
    ],
)
def test_why_another_process_ended_is_said_here(follow: Callable[[Processes], None], kind: type[StapError], said: str) -> None:
    with pytest.raises(kind, match=said), several_processes(2, CPU, follow) as processes:
        processes.together("still there?")


def test_an_error_here_ends_the_others() -> None:
    with pytest.raises(FeatureError, match="mine"), several_processes(2, CPU, wait_for_ever):
        raise FeatureError("mine")


def wait_for_ever(processes: Processes) -> None:
    processes.together("never answered")


def test_gpus_must_be_there() -> None:
    there = torch.cuda.device_count()
    wanted = there + 2
    with (
        pytest.raises(ConfigError, match=rf"{wanted} processes on cuda: each needs a GPU of its own, and there are {there}"),
        several_processes(wanted, torch.device("cuda"), refuse),
    ):
        pass


@pytest.fixture
def corpus() -> Corpus:
    words = [(colour, act) for colour in ("red", "green", "blue") for act in ("rises", "falls", "spins")]
    return Corpus(
        "balls", tuple(Clip(f"video{n}", Path(f"{n}.mp4"), "train", (f"a {a} ball {b}",) * 2) for n, (a, b) in enumerate(words))
    )


@pytest.fixture
def store(tmp_path: Path, corpus: Corpus) -> FeatureStreams:
    store = FeatureStore(tmp_path / "features", {"kind": "grid", "frames": 4, "feature_size": 6, "grid": [1, 2]})
    random = torch.Generator().manual_seed(1)
    for number, clip in enumerate(corpus.clips):
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
    two = fit(recipe_of(), corpus, store, tmp_path / "two", processes=2)
    for here, there in zip(one.history, two.history, strict=True):
        assert here.training == pytest.approx(there.training, rel=1e-4)
    assert one.history[-1].training["word"] < 0.95 * one.history[0].training["word"]


def test_stopped_and_continued_they_learn_the_same(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    fit(recipe_of(dropout=0.3), corpus, store, tmp_path / "whole", processes=2)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe_of(dropout=0.3), corpus, store, tmp_path / "parts", processes=2, on_epoch=stop)
    fit(recipe_of(dropout=0.3), corpus, store, tmp_path / "parts", processes=2, resume=True)
    whole, parts = (load_file(tmp_path / run / "state" / "last.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_what_cannot_be_divided_is_refused(tmp_path: Path, corpus: Corpus, store: FeatureStreams) -> None:
    with pytest.raises(ConfigError, match="2 processes: the smallest batch has 1 videos"):
        fit(recipe_of(batch_size=1), corpus, store, tmp_path / "run", processes=2)
    stat = {"kind": "lstap", "attention_penalty": 0.5, "penalty_captions": None}
    with pytest.raises(ConfigError, match=r"Say the number: model\.penalty_captions=6"):
        fit(recipe_of(**stat), corpus, store, tmp_path / "run", processes=2)

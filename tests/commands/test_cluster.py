"""`--cluster`: what workers do is what one process does, whatever becomes of the workers."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raising import error_of
from stap.cli import main
from stap.commands.shared import cluster
from stap.commands.shared.cluster import File, Marks, Place, Worker, pool_of
from stap.commands.shared.spread import Extraction
from stap.errors import ConfigError, StapError, VideoError
from stap.video import threads
from tiny_models import save_model, save_video


def files_in(folder: Path, count: int) -> list[File]:
    found = [File(f"v{number}", folder / f"{number}.mp4") for number in range(count)]
    for file in found:
        file.path.write_bytes(b"video")
    return found


@pytest.fixture(autouse=True)
def place_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker in this process changes what belongs to the process."""
    monkeypatch.setattr(threads, "_share", None)
    monkeypatch.chdir(Path.cwd())
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@dataclass
class DiedError(Exception):
    """Stands in for the end of a process."""


class Names:
    """Work whose process dies of some files as often as they say."""

    def __init__(self, **deaths: int) -> None:
        self.deaths, self.blocks = deaths, list[list[str]]()

    def begin(self) -> None:
        pass

    def __call__(self, files: Sequence[File]) -> list[str]:
        self.blocks.append([file.name for file in files])
        for file in files:
            if self.deaths.get(file.name, 0) > 0:
                self.deaths[file.name] -= 1
                raise DiedError
        return [file.name for file in files]


@pytest.fixture
def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies cleans nothing up."""
    original = Worker._done

    def done(self: Worker, files: Sequence[File]) -> Any:
        end, found = Marks.end, None
        with monkeypatch.context() as patch:
            patch.setattr(Marks, "end", lambda *_: None)
            found = original(self, files)
        end(self.marks, files)
        return found

    monkeypatch.setattr(Worker, "_done", done)


def restarted(worker: Worker, files: Sequence[File]) -> tuple[list[tuple[list[File], Any]], int]:
    """The results of a block, which the worker gets again as often as it dies, and how often that was."""
    for deaths in range(20):
        try:
            return worker.results(files), deaths
        except DiedError:
            continue
    raise AssertionError("it never ends")


@pytest.mark.usefixtures("no_end")
@pytest.mark.parametrize("deaths", [{}, {"v1": 1}, {"v1": 99}, {"v0": 99, "v3": 99}, {"v0": 2}])
def test_a_file_that_two_processes_die_of_is_given_up_and_no_other(deaths: dict[str, int], tmp_path: Path) -> None:
    files, marks, work = files_in(tmp_path, 4), Marks(tmp_path / "marks"), Names(**deaths)
    with marks.kept():
        worker = Worker(work, marks, Place(1))
        found, died = restarted(worker, files)
        assert sorted(file.name for some, _ in found for file in some) == ["v0", "v1", "v2", "v3"]
        given_up = {some[0].name for some, result in found if isinstance(result, VideoError)}
        alone = sum(block == [name] for name in given_up for block in work.blocks)
        assert (len(given_up), alone) == (sum(times > 1 for times in deaths.values()), len(given_up))
        assert died <= 1 + len(deaths)
    assert len(list(marks.folder.glob("*"))) == len(given_up)
    assert {file.name for file in files if Marks(marks.folder).verdict(file)} == given_up


def test_a_given_up_file_says_what_to_do_and_is_tried_again_when_it_is_another(tmp_path: Path) -> None:
    [file], marks = files_in(tmp_path, 1), Marks(tmp_path / "marks")
    with marks.kept():
        error = marks.give_up(file)
    [verdict] = marks.folder.iterdir()
    assert (
        str(marks.verdict(file))
        == str(error)
        == (
            f"{file.path}: two processes that read it died. It is damaged, malicious, or needs more memory than there is. Get it again or "
            f"re-encode it; to try it once more as it is, delete {verdict}."
        )
    )
    file.path.write_bytes(b"another video")
    assert marks.verdict(file) is None


def test_an_interrupted_run_condemns_nothing(tmp_path: Path) -> None:
    [file], marks = files_in(tmp_path, 1), Marks(tmp_path / "marks")
    for _ in range(3):  # killed with its workers while the file was open, so nothing was removed
        with marks.kept():
            assert marks.begins(file, 1)
            left = [(path, path.read_bytes()) for path in marks.folder.glob("*.open*")]
        marks.folder.mkdir(exist_ok=True)
        for path, content in left:
            path.write_bytes(content)
    with marks.kept():
        assert [path.name for path in marks.folder.glob("*.open*")] == []
        assert error_of(ConfigError, Marks(marks.folder).kept().__enter__).startswith(f"{marks.folder}: ")


def test_a_worker_elsewhere_says_so_with_its_first_block(tmp_path: Path) -> None:
    worker = Worker(Names(), Marks(tmp_path / "not here"), Place(1))
    assert error_of(StapError, worker, {"files": b""}).startswith(f"{tmp_path / 'not here'}: is not the same folder on ")
    assert isinstance(Worker(Names(), Marks(tmp_path), Place(1, 1, tmp_path / "no")).failure, StapError)


def test_workers_that_die_while_they_load_are_not_started_without_end(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks")
    with marks.kept():
        with pytest.raises(DiedError), marks.starting(5):
            raise DiedError  # an error is no death
        for number in range(5):
            (marks.folder / f"{number}.open-start").touch()
        assert str(Worker(Names(), marks, Place(1)).failure) == (
            "the workers of the cluster die while they load their networks, 5 processes so far; probably memory ran out. Use fewer workers: "
            "--cluster-workers."
        )


LAPTOP, GPUS = {"CPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "expected"),
    [
        ([LAPTOP], "auto", None, (4, 2, 0)),
        ([LAPTOP], "auto", 2, (2, 4, 0)),
        ([{"CPU": 1.0}], "auto", None, (1, 1, 0)),
        ([{"CPU": 2.0}], "cpu", 2, (2, 1, 0)),
        ([LAPTOP, GPUS, GPUS], "auto", None, (8, 8, 1)),
        ([LAPTOP, GPUS, GPUS], "cuda", 3, (3, 8, 1)),
        ([LAPTOP, {"CPU": 32.0}], "cpu", None, (20, 2, 0)),
        ([{"CPU": 3.0}, {"CPU": 32.0}], "cpu", 2, (2, 16, 0)),
        ([GPUS], "cpu", None, (16, 2, 0)),
    ],
)
def test_workers_share_what_there_is(
    nodes: list[dict[str, float]], device: str, workers: int | None, expected: tuple[int, int, int]
) -> None:
    assert pool_of(nodes, device, workers) == expected


def test_workers_that_there_are_not() -> None:
    assert error_of(ConfigError, pool_of, [GPUS], "cuda:1", None) == (
        "--device cuda:1: --cluster gives each worker its GPU. Expected auto, cpu or cuda."
    )
    assert error_of(ConfigError, pool_of, [LAPTOP], "cuda", None) == (
        "--device cuda: the cluster has no GPU. Use --device auto or cpu."
    )
    assert error_of(ConfigError, pool_of, [GPUS], "auto", 5) == (
        "--cluster-workers 5: the cluster has 4 GPUs. Use at most one worker for each."
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--cluster", "auto", "--model", "m"],
            "--cluster: expected --beside or --into DIR, which write a file for each video.",
        ),
        (["--cluster", "auto", "--beside"], "--cluster: expected --model MODEL, so that all workers caption by the same one."),
        (
            ["--cluster", "auto", "--beside", "--shard", "1/2"],
            "--shard and --cluster both divide the videos. Give one of them.",
        ),
        (["--cluster-workers", "2", "--beside"], "--cluster-workers: expected --cluster ADDRESS, whose workers these are."),
    ],
)
def test_options_that_miss_another(options: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", "films", *options]) == 1
    assert capsys.readouterr().err == f"stap: {expected}\n"


def test_without_the_extra_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["caption", "films", "--cluster", "auto", "--beside", "--model", "m"]) == 1
    assert capsys.readouterr().err == (
        "stap: --cluster needs the package ray, which is not installed. Install it with: pip install 'stap[cluster]'\n"
    )


# With Ray


@dataclass
class PoisonedExtraction(Extraction):
    """Extraction in which 'poison' ends its process, and 'unlucky' does so once."""

    def __call__(self, files: Sequence[File]) -> Any:
        for file in files:
            once = file.path.with_suffix(".died")
            if file.name == "poison" or (file.name == "unlucky" and not once.exists()):
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(files)


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Any]:
    """A cluster of two workers of one core, which every test of this run shares."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'stap[cluster]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "")
        os.environ.update(cluster.RAY)
        import ray

        try:
            ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="CRITICAL", **cluster.ALONE)
        except (RuntimeError, OSError, TimeoutError) as error:
            pytest.skip(f"Ray cannot start on this machine: {error}")
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not see the tests
        yield ray
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_workers_and_two_kills_give_the_bits_of_one_process(
    ray_here: Any, tmp_path: Path, make_video: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import safetensors.torch
    import timm

    from films import scene

    torch.manual_seed(1)
    safetensors.torch.save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / "resnet10t.safetensors")
    for number in range(18):
        make_video(f"films/{number:02}.mp4", list(scene(number, 8)))
    shutil.copy(tmp_path / "films/00.mp4", tmp_path / "films/poison.mp4")
    shutil.copy(tmp_path / "films/01.mp4", tmp_path / "films/unlucky.mp4")
    (tmp_path / "films/bad.mp4").write_bytes(b"no video")
    captions = "".join(f"{path.name},a film,train\n" for path in sorted((tmp_path / "films").iterdir()))
    (tmp_path / "films/captions.csv").write_text(f"video,caption,split\n{captions}")
    (tmp_path / "recipe.yaml").write_text(
        f"corpus: {{kind: folder, root: {tmp_path}/films}}\n"
        f"features: {{backbone: resnet10t, weights: {tmp_path}/resnet10t.safetensors, frames: 4, image_size: 64}}\n"
    )
    monkeypatch.chdir(tmp_path)

    def extract(store: str, *options: str) -> tuple[int, str]:
        capsys.readouterr()
        line = [
            "extract",
            "recipe.yaml",
            f"features.store={store}",
            "--no-isolate",
            "--device",
            "cpu",
            "--workers",
            "1",
            *options,
        ]
        status = main(line)
        out, err = capsys.readouterr()
        assert out == ""
        return status, err

    def stored(store: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path(store).rglob("*.safetensors")}

    monkeypatch.setattr("stap.commands.extract.Extraction", PoisonedExtraction)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert extract("alone")[0] == 1
    torch.set_num_threads(threads)
    status, err = extract("spread", "--cluster", "auto", "--cluster-workers", "2")
    assert status == 1
    lines = [line for line in err.splitlines() if not line.startswith("extract: ")]
    assert lines[0].endswith(": 19 written, 0 already there, 2 failed."), err
    assert lines[1].startswith("stap: bad: "), err
    assert lines[2].startswith(f"stap: poison: {tmp_path}/films/poison.mp4: two processes that read it died."), err
    assert len(lines) == 3, err
    expected = stored("alone")
    assert stored("spread") == {name: content for name, content in expected.items() if name != "poison.safetensors"}
    # Again: what is there is left alone, and the poison is not opened.
    (tmp_path / "films/poison.died").unlink()
    missing = next(Path("spread").rglob("05.safetensors"))
    missing.unlink()
    before = {path: path.stat().st_mtime_ns for path in Path("spread").rglob("*.safetensors")}
    status, err = extract("spread", "--cluster", "auto", "--cluster-workers", "2")
    assert status == 1
    assert ": 1 written, 18 already there, 2 failed." in err
    assert not (tmp_path / "films/poison.died").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert stored("spread") == {name: content for name, content in expected.items() if name != "poison.safetensors"}
    # An error of the work itself reaches the command as it is.
    monkeypatch.setattr("stap.commands.extract.Extraction", Extraction)
    shutil.rmtree("spread")
    status, err = extract("spread", "features.weights=none.safetensors", "--cluster", "auto")
    assert (status, err.count("\n")) == (1, 1), err
    assert "none.safetensors" in err


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_captions_and_an_archive_of_workers_are_those_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "model")
    for number in range(5):
        save_video(tmp_path / "films" / f"{number}.mp4", number)
    (tmp_path / "films/bad.mp4").write_bytes(b"no video")
    threads = torch.get_num_threads()

    def run(*words: object) -> str:
        capsys.readouterr()
        torch.set_num_threads(1)
        assert main([*map(str, words), "--model", str(model), "--no-isolate", "--device", "cpu"]) == 1
        torch.set_num_threads(threads)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    spread = ("--cluster", "auto", "--cluster-workers", 2)
    caption = ("caption", tmp_path / "films", "--format", "json", "--into")
    run(*caption, tmp_path / "alone")
    assert "6 videos: 5 done, 1 failed." in run(*caption, tmp_path / "spread", *spread)
    assert {path.name: path.read_bytes() for path in (tmp_path / "spread").glob("*.json")} == {
        path.name: path.read_bytes() for path in (tmp_path / "alone").glob("*.json")
    }
    again = run(*caption, tmp_path / "spread")  # alone: what workers did is known
    assert "6 videos: 1 failed, 5 skipped." in again
    pytest.importorskip("lancedb")
    from stap.archive.store import Archive

    index = ("index", tmp_path / "films", "--archive")
    run(*index, tmp_path / "one")
    assert "Videos: 5 added, 1 failed." in run(*index, tmp_path / "two", *spread)
    with Archive.open(tmp_path / "one") as one, Archive.open(tmp_path / "two") as two:
        for video in one.videos():
            [ours], [theirs] = one.shots_of(video.path), two.shots_of(video.path)
            assert replace(ours, score=0.0, confidence=0.0) == replace(theirs, score=0.0, confidence=0.0)
            assert (ours.score, ours.confidence) == pytest.approx((theirs.score, theirs.confidence), abs=1e-4)
            assert one.vector(ours.id) == pytest.approx(two.vector(ours.id), abs=1e-5)
            assert one.picture(ours.id) == two.picture(ours.id) != b""

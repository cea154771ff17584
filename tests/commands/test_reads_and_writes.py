"""No command writes over what it reads, by whatever name, or over what it does not write."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from stap.cli import app, main
from stap.commands.shared.reads_and_writes import CAPTIONS, COMMANDS, CORPUS_RECIPE, EVALUATION, PAGE, SCORES, Kind

COMMAND_OBJECTS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

# A line of each command with a file IN that it reads and a file OUT that it writes.
FILES = [
    "caption IN --model run --out OUT",
    "caption films other.mp4 IN --model run --format json --out OUT",
    "score IN references.json --out OUT",
    "score predictions.json IN --out OUT",
    "score predictions.json references.json --against IN --out OUT",
    "score predictions.json references.json --training IN --out OUT",
    "score predictions.json references.json --frequencies IN --save-frequencies OUT",
    "prepare folder --videos films --captions IN --report OUT",
    "prepare folder --videos films --captions IN --write OUT",
    "prepare folder corpus.captions=[IN] corpus.root=films --write OUT",
    "evaluate --model run --corpus IN --out OUT",
    "evaluate --model run --corpus IN --report OUT",
    "figure attention run IN --out OUT",
]
# A line with a folder IN that is read and OUT that is written.
FOLDERS = [
    "train recipe.yaml corpus.root=IN --out OUT",
    "train recipe.yaml features.store=IN --out OUT",
    "train recipe.yaml --from IN --out OUT",
    "train recipe.yaml training.initial_weights=IN --out OUT",
    "pretrain recipe.yaml corpus.videos=IN --out OUT",
    "extract recipe.yaml corpus.root=IN features.store=OUT",
    "import stat-npz model.npz --words words.pkl --features IN --out OUT",
    "import-features IN --stream frames --out OUT",
    "reproduce msvd --root IN --out OUT",
    "reproduce msvd --videos IN --captions c.txt --out OUT",
]
# A line whose output folder holds the file that it reads.
INSIDE = [
    ("train OUT/config.json --out OUT", "config.json"),
    ("pretrain OUT/config.json --out OUT", "config.json"),
    ("train recipe.yaml features.weights=OUT/backbone.safetensors --out OUT", "backbone.safetensors"),
    ("import stat-npz OUT/model.safetensors --words words.pkl --out OUT", "model.safetensors"),
    ("import stat-npz model.npz --words OUT/vocabulary.json --out OUT", "vocabulary.json"),
    ("evaluate --model OUT --out OUT/metrics.json", "metrics.json"),
    ("figure attention OUT OUT/x.png --out OUT/x.png", "x.png"),
]
NAMES: dict[str, Callable[[Path, Path], Path]] = {
    "itself": lambda path, folder: path,
    "a link": lambda path, folder: linked(path, folder, os.symlink),
    "a relative path": lambda path, folder: Path(os.path.relpath(path)),
    "a path with a detour": lambda path, folder: path.parent / "films" / ".." / path.name,
    "a linked folder": lambda path, folder: linked(path.parent, folder, os.symlink) / path.name,
}


def linked(path: Path, folder: Path, link: Callable[[Path, Path], None]) -> Path:
    other = folder / f"other{path.suffix}"
    link(path, other)
    return other


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the test, which is the current one, with a recipe and a folder of videos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "recipe.yaml").write_text("corpus: {root: corpus}\n")
    return tmp_path


def refusal(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(line.split()) == 1, line
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    return err


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("line", FILES)
def test_a_file_that_is_read_is_not_written(line: str, name: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = there / "in.png"
    path.write_text("precious")
    out = NAMES[name](path, there / "links")
    err = refusal(line.replace("IN", str(path)).replace("OUT", str(out)), capsys)
    assert err.startswith(f"stap: {out}: this file is read")
    assert err.endswith("would be written. Name another output.\n")
    assert path.read_text() == "precious"


@pytest.mark.parametrize("line", FILES)
def test_a_hard_link_is_the_same_file(line: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = there / "in.png"
    path.write_text("precious")
    out = linked(path, there, os.link)
    assert "this file is read" in refusal(line.replace("IN", str(path)).replace("OUT", str(out)), capsys)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["itself", "a link", "a relative path"])
@pytest.mark.parametrize("line", FOLDERS)
def test_a_folder_that_is_read_is_not_written(line: str, name: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = there / "in"
    path.mkdir()
    out = NAMES[name](path, there / "links")
    assert "this folder is read" in refusal(line.replace("IN", str(path)).replace("OUT", str(out)), capsys)
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(("line", "file"), INSIDE)
def test_an_input_inside_the_output_folder(line: str, file: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (there / "out").mkdir()
    path = there / "out" / file
    path.write_text('{"name": "mine"}')
    assert "this file is read" in refusal(line.replace("OUT", str(path.parent)), capsys)
    assert path.read_text() == '{"name": "mine"}'


@pytest.mark.parametrize("line", ["evaluate --model run --out a --report a", "prepare folder --write a --report a"])
def test_two_outputs_are_two_files(line: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(line, capsys) == "stap: a: is named as two outputs. Give each a file of its own.\n"


@pytest.mark.parametrize("line", [line for line in FILES if "IN --" in line])
@pytest.mark.parametrize("content", [b"\0\0\0\x20ftypisom", b"video,caption,split\na.mp4,a man,train\n", b'{"videos": []}\n'])
def test_a_file_of_another_kind_is_not_replaced(
    line: str, content: bytes, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stap caption -o *.mp4`: the shell gives the first film to -o."""
    out = there / ("out.png" if line.startswith("figure") else "out.dat")
    out.write_bytes(content)
    err = refusal(line.replace("IN", "in.mp4").replace("OUT", str(out)), capsys)
    assert err.startswith(f"stap: {out}: exists and is not ")
    assert out.read_bytes() == content


def test_captions_are_not_written_under_the_name_of_a_video(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal("caption a.mp4 --model run --out b.MP4", capsys) == (
        "stap: b.MP4: is the name of a video, but the output is captions. Name another output.\n"
    )


@pytest.mark.parametrize(
    "line", ["train recipe.yaml --out .", "pretrain recipe.yaml --out .", "import stat-npz m.npz --words w.pkl --out ."]
)
def test_somebodys_readme_is_not_replaced(line: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (there / "README.md").write_text("# My project\n")
    assert "README.md: exists and is not a model card." in refusal(line, capsys)
    assert (there / "README.md").read_text() == "# My project\n"


@pytest.mark.parametrize(
    ("kind", "content", "is_ours"),
    [
        (CAPTIONS, b"films/a.mp4\ta man reads a caption\nfilms/b.mp4\t\n", True),
        (CAPTIONS, b'[\n  {\n    "path": "a.mp4"', True),
        (CAPTIONS, b"[]\n", True),
        (CAPTIONS, b"", True),
        (CAPTIONS, b"x\ty\n" * 40_000, True),
        (CAPTIONS, b'[{"videoID": "x"}]', False),
        (CAPTIONS, b"vid1 A man.\nvid1 A dog.\n", False),
        (CAPTIONS, b"\xef\xbb\xbfVideo\tCaption\na\tb\n", False),
        (CAPTIONS, b'{"a": "b"}\n', False),
        (SCORES, b'{\n  "corpus": {', True),
        (SCORES, b'{"a": ["x"]}', False),
        (EVALUATION, b'{\n  "model": "runs/my"', True),
        (CORPUS_RECIPE, b"name: my\ncorpus:\n  kind: folder\n  captions:\n  - c.csv\ntext: {}\n", True),
        (CORPUS_RECIPE, b"name: my\ncorpus: {}\ntraining: {epochs: 3}\n", False),
        (PAGE, b'<!doctype html>\n<html>\n<meta name="generator" content="stap">\n', True),
        (PAGE, b"<!doctype html>\n<html>\n", False),
    ],
)
def test_what_is_of_a_kind(kind: Kind, content: bytes, is_ours: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert kind.is_in(path) is is_ours


def test_standard_output_is_not_appended_to_an_input(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = there / "references.json"
    path.write_text("precious")
    saved = os.dup(1)
    try:
        with path.open("a") as file, capfd.disabled():
            os.dup2(file.fileno(), 1)
            status = main(["score", "predictions.json", str(path)])
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert (status, path.read_text()) == (1, "precious")


@pytest.mark.parametrize("verb", COMMAND_OBJECTS)
def test_the_table_knows_every_file_of_every_command(verb: str) -> None:
    parameters = {one.name: one for one in COMMAND_OBJECTS[verb].params}
    files = {name for name, one in parameters.items() if "Path" in str(one.type_descriptor.annotation)}
    assert files <= COMMANDS[verb].named <= parameters.keys()

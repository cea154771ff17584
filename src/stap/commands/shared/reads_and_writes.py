"""What every command reads and writes, in one table; an output that would replace an input is refused before any work.

Refused are: one file as input and output, by whatever name (link, upper or lower case, relative path); one file as two outputs; an
output folder that is an input folder; standard output that the shell appends to an input; and an output that exists and holds
something else than this command writes, such as the video that `-o *.mp4` took out of a shell's list.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from stap.commands.shared.outputs import check_result_file
from stap.errors import StapError

__all__ = ["COMMANDS", "Kind", "Output", "ReadsAndWrites", "check_reads_and_writes"]

LOOKED_AT = 65_536  # bytes of an existing output that tell what it holds

Parameters = Mapping[str, Any]  # of a command line, by the names of the command's parameters


@dataclass(frozen=True)
class Kind:
    """What a command writes into a file.   what: for sentences.   is_ours: whether the first bytes of a file are of this kind."""

    what: str
    is_ours: Callable[[bytes], bool]

    def is_in(self, path: Path) -> bool:
        """Whether the file is empty or of this kind. Raises OSError."""
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
        return not head or self.is_ours(head.removeprefix(b"\xef\xbb\xbf"))


def _begins(what: str, pattern: bytes) -> Kind:
    return Kind(what, lambda head: re.match(pattern, head) is not None)


def _json(what: str, *first_keys: str) -> Kind:
    return _begins(what, rb'\s*\{\s*("(' + "|".join(first_keys).encode() + rb')"|\})')


def _is_captions(head: bytes) -> bool:
    """Lines with a tab, or our list in JSON; a table that names its columns is somebody's corpus. A single line may say anything."""
    if re.match(rb"\s*[\[{<]", head):
        return re.match(rb'\s*\[\s*(\]|\{\s*"(path|video_id)")', head) is not None
    lines = [line for line in head.split(b"\n") if line.strip()]
    whole = lines[:-1] if len(head) == LOOKED_AT else lines
    names_columns = re.match(rb'(?i)([^\n]*[,;\t])?"?(captions?|sentence|description)"?\s*([,;\t\r\n]|\Z)', head) is not None
    return b"\0" not in head and not names_columns and (len(lines) == 1 or all(b"\t" in line for line in whole))


CAPTIONS = Kind("captions", _is_captions)
CAPTION_FILES = {
    "jsonl": _begins("captions in JSON lines", rb'\{"path": '),
    "csv": _begins("captions in CSV", rb"path,start_seconds,end_seconds,caption"),
    "srt": _begins("subtitles in SubRip", rb"1\r?\n\d\d:\d\d:\d\d,\d\d\d --> "),
    "vtt": _begins("subtitles in WebVTT", rb"WEBVTT\nKind: "),
    "ttml": _begins("subtitles in TTML", rb'(?s)<\?xml[^\n]*\?>\s*<tt xmlns="http://www.w3.org/ns/ttml"'),
}
MANIFEST = _begins("a manifest of `stap caption`", rb'\{"input": ')
SCORES = _json("scores", "corpus")
EVALUATION = _json("captions and scores", "model")
CORPUS_REPORT = _json("a report of `stap prepare`", "name")
CORPUS_RECIPE = _begins("a recipe of `stap prepare`", rb"((name|corpus|text):[^\n]*\n([ -][^\n]*\n)*)+\Z")
FREQUENCIES = _begins("document frequencies", rb"\x1f\x8b")
PAGE_START = rb"(?is)\s*<!doctype html>"
PAGE = _begins("a page of stap", PAGE_START + rb'.*<meta name="generator" content="stap">')
TABLE = _begins("a table of `stap reproduce`", rb"# ")
FIGURES = {
    ".png": _begins("a PNG figure", rb"\x89PNG\r\n\x1a\n"),
    ".svg": _begins("an SVG figure", rb"(?s)\s*<\?xml.*<svg"),
    ".pdf": _begins("a PDF figure", rb"%PDF-"),
}
WEIGHTS = _begins("weights", rb"(?s).{8}\{")
MODEL_FOLDER = {
    "README.md": _begins("a model card", rb"---\s*library_name: stap"),
    "config.json": _json("the settings of a run", "recipe"),
    "features.json": _begins("fingerprints of features", rb"\s*\{"),
    "metrics.json": _json("the metrics of a run", "best", "history"),
    "vocabulary.json": _json("a vocabulary of stap", "words"),
    **dict.fromkeys(("model.safetensors", "backbone.safetensors", "motion.safetensors", "regions.safetensors"), WEIGHTS),
}
# Tables that an earlier stap wrote do not name their generator.
TABLE_PAGE = _begins(
    "a table of `stap reproduce`", PAGE_START + rb'.*(<meta name="generator" content="stap">|\.scores td\.links)'
)
TABLES = {"table.md": TABLE, "table.html": TABLE_PAGE, "table.json": _json("a table of `stap reproduce`", "corpus")}
DEMO = {"metrics.json": _json("the metrics of a demo", "recipe"), "report.html": PAGE}
DISTILLATION = {
    "metrics.json": _json("the metrics of a distillation", "agreement_with_teacher"),
    "report.html": PAGE,
    "said.jsonl": _json("what a teacher said", "asked"),
}


@dataclass(frozen=True)
class Output:
    """A file that a command writes, or a folder.   kind: what a file will hold; None for a folder."""

    path: Path
    kind: Kind | None = None


@dataclass(frozen=True)
class ReadsAndWrites:
    """Of a command.   named: its parameters that name files or folders.   reads, writes: from the parameters of a line."""

    named: frozenset[str]
    reads: Callable[[Parameters], Iterable[Path]]
    writes: Callable[[Parameters], Iterable[Output]]


def check_reads_and_writes(command: str, parameters: Parameters) -> None:
    """Raise StapError if a line would write over what it reads, or over what this command does not write."""
    known = COMMANDS[command]
    writes = list(known.writes(parameters))
    reads = [path for path in known.reads(parameters) if path.exists()] if writes or not sys.stdout.isatty() else []
    for output in writes:
        for read in reads:
            _check_apart(output, read)
    for first, second in combinations(writes, 2):
        if _are_the_same(first.path, second.path):
            raise StapError(f"{second.path}: is named as two outputs. Give each a file of its own.")
    for output in writes:
        if output.kind is not None:
            _check_content(output.path, output.kind)
    _check_stdout(reads)


def _check_apart(output: Output, read: Path) -> None:
    if not _are_the_same(output.path, read):
        return
    other = "" if str(read) == str(output.path) else f" (as {read})"
    what = "folder" if output.path.is_dir() else "file"
    raise StapError(f"{output.path}: this {what} is read{other}, and would be written. Name another output.")


def _are_the_same(first: Path, second: Path) -> bool:
    """By whatever names; of two that are not there, by their absolute names in lower case."""
    try:
        return first.samefile(second)
    except OSError:
        if first.exists() or second.exists():
            return False
    return os.path.realpath(first).casefold() == os.path.realpath(second).casefold()


def _check_content(path: Path, kind: Kind) -> None:
    from stap.video.files import VIDEO_SUFFIXES  # its package is heavy

    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise StapError(f"{path}: is the name of a video, but the output is {kind.what}. Name another output.")
    if path.is_file() and not _holds(path, kind):
        raise StapError(f"{path}: exists and is not {kind.what}. It is not replaced: name another output, or remove it.")


def _holds(path: Path, kind: Kind) -> bool:
    try:
        return kind.is_in(path)
    except OSError as error:
        raise StapError(f"{path}: cannot be written ({error.strerror}). Name another output.") from error


def _check_stdout(reads: Iterable[Path]) -> None:
    """Refuse `stap ... >> FILE` where FILE is read."""
    try:
        stdout = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # no file behind it
        return
    for read in reads:
        if read.is_file() and os.path.samestat(stdout, read.stat()):
            raise StapError(f"{read}: this file is read, and standard output is sent to it. Send it to another file.")


# The table


def _paths(*given: Any) -> Iterator[Path]:
    """Those that were given: a path, several, or none; a name that is no file, such as msvd:test, does no harm."""
    for one in given:
        if isinstance(one, (list, tuple)):
            yield from _paths(*one)
        elif one:
            yield Path(one)


def _optional(path: Any, kind: Kind) -> Iterator[Output]:
    """A result file, if one was named. Raises StapError at once if it cannot be written."""
    if path:
        check_result_file(Path(path))
        yield Output(Path(path), kind)


def _folder(path: Any, files: Mapping[str, Kind]) -> Iterator[Output]:
    """A folder, and the files that are written right in it."""
    yield Output(Path(path))
    yield from (Output(Path(path) / name, kind) for name, kind in files.items())


def _recipe_of(parameters: Parameters) -> Any:
    from stap.recipes.files import load_recipe

    return load_recipe(parameters["recipe"], parameters["overrides"] or ())


def _of_recipe(parameters: Parameters) -> Iterator[Path]:
    """What a recipe names: its own file, the corpus, weights and imported features."""
    recipe = _recipe_of(parameters)
    sections = [one for one in (recipe.features, recipe.motion, recipe.regions) if one is not None]
    weights = [*(one.weights for one in sections), recipe.pretraining.initial_weights]
    yield from _of_corpus(recipe.corpus)
    yield from _paths(parameters["recipe"], *weights, *recipe.features.imported.values())
    yield from _run_files(recipe.training.initial_weights)


def _of_corpus(corpus: Any) -> Iterator[Path]:
    """Folders and caption files of a corpus, those that lie in its folder among them."""
    yield from _paths(corpus.root, corpus.videos, corpus.captions)
    if corpus.root is not None:
        yield from (corpus.root / file for file in corpus.captions)


def _of_prepared(parameters: Parameters) -> Iterator[Path]:
    from stap.recipes.files import load_recipe
    from stap.recipes.settings import Recipe

    recipe = load_recipe("msvd/lstap-attention", parameters["overrides"] or ()) if parameters["overrides"] else Recipe()
    yield from _of_corpus(recipe.corpus)
    yield from _of_options(parameters)


def _of_options(parameters: Parameters) -> Iterator[Path]:
    """The corpus as the options of `stap prepare` and `stap reproduce` name it."""
    root, captions = parameters["root"], parameters["captions"] or []
    yield from _paths(root, parameters["videos"], captions)
    if root:
        yield from (Path(root) / file for file in captions)


def _of_reproduction(parameters: Parameters) -> Iterator[Path]:
    yield from _of_options(parameters)
    yield from _paths([text.partition("=")[2] for text in parameters["weights"] or []])


def _nothing(parameters: Parameters) -> Iterator[Any]:
    return iter(())


def _run_files(run: Any) -> Iterator[Path]:
    """A model folder, if one was named, and its files; nothing of a model that is to be fetched from the Hub."""
    if run is not None:
        yield from _paths(run, [Path(run) / name for name in MODEL_FOLDER])


def _entry(
    named: str,
    reads: Callable[[Parameters], Iterable[Path]] = _nothing,
    writes: Callable[[Parameters], Iterable[Output]] = _nothing,
) -> ReadsAndWrites:
    return ReadsAndWrites(frozenset(named.split()), reads, writes)


def _model_folder(given: Parameters) -> Iterator[Output]:
    return _folder(given["out"], MODEL_FOLDER)


def _figure(given: Parameters) -> Iterator[Output]:
    kind = FIGURES.get(Path(given["out"]).suffix.lower())
    return _optional(given["out"], kind) if kind else iter(())  # another suffix is refused by the command itself


def _captions(given: Parameters) -> Iterator[Output]:
    yield from _optional(given["out"], {**CAPTION_FILES, "html": PAGE}.get(str(given["output_format"]), CAPTIONS))
    yield from _optional(given["manifest"], MANIFEST)
    if given["into"]:
        yield Output(Path(given["into"]))


def _tables(given: Parameters) -> Iterator[Output]:
    named = given.get("out") or f"reproduce-{getattr(given['name'], 'value', given['name'])}"
    return _folder(named, TABLES)


COMMANDS: Mapping[str, ReadsAndWrites] = {
    "demo": _entry("out", writes=lambda given: _folder(given["out"], DEMO)),
    "caption": _entry(
        "paths model out into manifest live",
        lambda given: [*_paths(given["paths"], given["live"]), *(_run_files(given["model"]) if given["model"] else ())],
        _captions,
    ),
    "distil": _entry(
        "videos teacher recipe captions out",
        lambda given: [*_paths(given["videos"], given["recipe"], given["captions"]), *_run_files(given["teacher"])],
        lambda given: _folder(given["out"], DISTILLATION),
    ),
    "index": _entry(
        "paths model archive",
        lambda given: [*_paths(given["paths"]), *(_run_files(given["model"]) if given["model"] else ())],
        lambda given: _folder(given["archive"], {}),
    ),
    "search": _entry(
        "archive like model out",
        lambda given: [*_paths(given["archive"], given["like"]), *(_run_files(given["model"]) if given["model"] else ())],
        lambda given: _optional(given["out"], CAPTION_FILES.get(str(given["output_format"]), CAPTIONS)),
    ),
    "scenes": _entry("out", writes=lambda given: _folder(given["out"], {})),
    "prepare": _entry(
        "root videos captions write report",
        _of_prepared,
        lambda given: [*_optional(given["write"], CORPUS_RECIPE), *_optional(given["report"], CORPUS_REPORT)],
    ),
    "pretrain": _entry("recipe out", _of_recipe, _model_folder),
    "extract": _entry("recipe", _of_recipe, lambda given: _folder(_recipe_of(given).features.store, {})),
    "train": _entry(
        "recipe out start",
        lambda given: [*_of_recipe(given), *_paths(_recipe_of(given).features.store), *_run_files(given["start"])],
        _model_folder,
    ),
    "import": _entry(
        "file words features out", lambda given: _paths(given["file"], given["words"], given["features"]), _model_folder
    ),
    "import-features": _entry(
        "sources mapping out",
        lambda given: _paths(given["sources"], given["mapping"]),
        lambda given: _folder(given["out"], {}),
    ),
    "evaluate": _entry(
        "model corpus store out report",
        lambda given: [*_run_files(given["model"]), *_paths(given["corpus"], given["store"])],
        lambda given: [*_optional(given["out"], EVALUATION), *_optional(given["report"], PAGE)],
    ),
    "score": _entry(
        "predictions references captions against training frequencies save_frequencies out",
        lambda given: _paths(
            *(given[name] for name in ("predictions", "references", "captions", "against", "training", "frequencies"))
        ),
        lambda given: [*_optional(given["out"], SCORES), *_optional(given["save_frequencies"], FREQUENCIES)],
    ),
    "compare": _entry("out", writes=lambda given: _folder(given["out"], TABLES)),
    "reproduce": _entry("root videos captions weights out", _of_reproduction, _tables),
    "figure": _entry("run clip out", lambda given: [*_run_files(given["run"]), *_paths(given["clip"])], _figure),
    "serve": _entry(
        "archive model token_file",
        lambda given: [*_paths(given["token_file"]), *(_run_files(given["model"]) if given["model"] else ())],
    ),
    "recipes": _entry("name"),
    "doctor": _entry(""),
}

"""The command line: it assembles the commands, and turns errors into one sentence on stderr and an exit status.

Exit status: 0 done, 1 something failed, 2 the command line is invalid, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from stap.commands.caption import caption
from stap.commands.compare import compare
from stap.commands.demo import demo
from stap.commands.distil import distil
from stap.commands.doctor import doctor
from stap.commands.evaluate import evaluate
from stap.commands.extract import extract
from stap.commands.figure import figure
from stap.commands.import_ import import_
from stap.commands.import_features import import_features
from stap.commands.index import index
from stap.commands.prepare import prepare
from stap.commands.pretrain import pretrain
from stap.commands.recipes import recipes
from stap.commands.reproduce import reproduce
from stap.commands.scenes import scenes
from stap.commands.score import score
from stap.commands.search import search
from stap.commands.serve import serve
from stap.commands.shared.console import complain, safe_streams, say_interrupted
from stap.commands.shared.cores import polite_threads
from stap.commands.shared.interruption import INTERRUPTED, Interruption, has_been_said
from stap.commands.shared.memory import keep_freed_memory
from stap.commands.shared.options import GroupedCommand
from stap.commands.train import train
from stap.errors import StapError

__all__ = ["app", "main"]

OFFLINE = "HF_HUB_OFFLINE"  # see stap.features.offline, whose room is heavy

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes cut long sentences short
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo,
    caption,
    scenes,
    prepare,
    pretrain,
    extract,
    train,
    import_,
    import_features,
    distil,
    index,
    search,
    serve,
    evaluate,
    score,
    compare,
    reproduce,
    figure,
    recipes,
    doctor,
):
    app.command(verb.__name__.rstrip("_").replace("_", "-"), cls=GroupedCommand)(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        import stap

        print(f"stap {stap.__version__}")
        raise typer.Exit


@app.callback()
def stap(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; say what is missing. Also after a command, or HF_HUB_OFFLINE=1.")
    ] = False,
) -> None:
    """Captions for videos, by learned spatio-temporal pooling (L-STAP), from a video file to a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    keep_freed_memory()
    interruption = Interruption()
    with safe_streams():
        try:
            with interruption, _offline_if_asked(words), polite_threads():
                status = _run(words)
        except KeyboardInterrupt:  # before or after the command itself
            interruption.has_come = True
        if not interruption.has_come:
            return status
        if not has_been_said.is_set():
            say_interrupted("Run the same line again.")
        return INTERRUPTED


@contextmanager
def _offline_if_asked(words: list[str]) -> Iterator[None]:
    """Take --offline out of the words, wherever it stands, and tell the run, and the processes that it starts, by the environment."""
    own = words[: words.index("--")] if "--" in words else words
    if "--offline" not in own:
        yield
        return
    words[: len(own)] = [word for word in own if word != "--offline"]
    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(arguments, prog_name="stap")
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    except StapError as error:
        complain(str(error))
    except OSError as error:
        complain(_about_files(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; torch may not be imported
            raise
        complain(
            f"the GPU's memory is full. Try a smaller training.batch_size, or --device cpu. ({str(error).splitlines()[0]})"
        )
    return _flushed(1)


def _flushed(status: int) -> int:
    """The exit status once all of stdout is out; 1 if it cannot be written, which Python would only say when the program has ended."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if status == 0:
            complain(f"standard output: {_about_files(error)}")
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or 1
    return status


def _about_files(error: OSError) -> str:
    """An error of the operating system as a sentence that says what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full. Complete files are kept: free some space and run the same command again."
    return f"{where}{error.strerror or error}. Check that the path is right and that you may read or write it."


if __name__ == "__main__":  # torchrun -m stap.cli train ...
    sys.exit(main())

"""SIGINT, SIGTERM and SIGHUP end a command within five seconds, whatever it does, and leave what is done."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Two captions, and then a call that neither returns nor notices a signal: in the main thread, or in one that decodes.
STUCK = """
import hashlib, signal, sys
from pathlib import Path
from types import SimpleNamespace
from stap.captioning.batches import read_ahead
from stap.cli import main
from stap.files import replacing
from stap.programmes import caption_files
from stap.programmes.timed import CaptionedVideo, TimedCaption
from stap.teachers import loading

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored

def stuck(path):
    if path.name == "2.mp4":
        with replacing(Path(sys.argv[2]) / "half.bin") as temporary:
            temporary.write_bytes(b"half")
            print("stuck", file=sys.stderr, flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    return path

def captions(paths, *_):
    for path in (map(stuck, paths) if sys.argv[1] == "main" else read_ahead(stuck, paths, depth=1)):
        whole = SimpleNamespace(to_json=lambda: {"path": str(path)})
        yield path, CaptionedVideo(path, 1.0, (TimedCaption(0.0, 1.0, "a man"),), whole=whole)

loading.load = lambda *_, **__: None
caption_files.caption_files = captions
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("thread", ["main", "reading"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stuck_command_is_ended_and_keeps_its_captions(name: str, thread: str, tmp_path: Path) -> None:
    videos = [tmp_path / f"{n}.mp4" for n in range(4)]
    for video in videos:
        video.touch()
    out = tmp_path / "captions.json"
    line = ["caption", *videos, "--model", "none", "--format", "json", "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, thread, str(tmp_path), *map(str, line)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "stuck\n"
    time.sleep(0.3)  # the caption before is written by another thread
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "stap: interrupted. The captions made until then are written.\n"
    assert [entry["path"] for entry in json.loads(out.read_text())] == [str(video) for video in videos[:2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, *(video.name for video in videos)])


IGNORED = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from stap.cli import main; {}"


def test_an_ignored_signal_stays_ignored() -> None:
    """As under nohup."""
    program = IGNORED.format("main(['--version']); print(signal.getsignal(signal.SIGHUP))")
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[1] in ("1", "Handlers.SIG_IGN")


def test_the_handlers_of_a_program_are_given_back() -> None:
    from stap.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


FINALIZED = """
import os, signal, time
from stap.commands.shared.interruption import Interruption

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # where the handler raises
            pass

try:
    with Interruption():
        Finalized()
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_while_an_object_is_finalized_ends_the_block_and_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FINALIZED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


AT_THE_EDGES = """
import contextlib, os, signal, socket, sys
from stap import cli
from stap.commands.shared import interruption

def send():
    os.kill(os.getpid(), signal.SIGTERM)

@contextlib.contextmanager
def around():
    if sys.argv[1] == "before":
        send()
    yield
    if sys.argv[1] == "after":
        send()

def entered(real=socket.socketpair):
    send()
    return real()

if sys.argv[1] == "entered":
    interruption.socket.socketpair = entered
cli.polite_threads = around
sys.exit(cli.main(["recipes"]))
"""


@pytest.mark.parametrize("moment", ["entered", "before", "after"])
@pytest.mark.slow
def test_a_signal_before_or_after_the_command_itself_is_an_interruption(moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_EDGES, moment], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "stap: interrupted. Run the same line again.\n")

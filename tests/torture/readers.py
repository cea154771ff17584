"""Damaged and hostile files of every format that stap reads: a result or a sentence that names the file, and nothing in them runs.

The trials run in a process of their own with 8 GiB of address space and 20 seconds a trial. It writes down each trial before it begins, so
that one that kills it is known.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.torture.outcome import Outcome

from stap.errors import StapError

TRIALS = 150  # of each format
MEMORY = 8 << 30  # bytes of address space, of which PyTorch's libraries take about two
SECONDS = 20
CANARY = "ran"
TEXTS = (".json", ".jsonl", ".yaml", ".csv", ".tsv", ".txt")


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Damage each sample again and again. Whatever ends the process is a failure too, and the rest is done by another one."""
    outcome, first = Outcome(), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    while True:
        command = [sys.executable, "-m", "tests.torture.readers", str(folder), str(share), str(seed), str(first)]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
        for line in lines:
            if "what" in line:
                outcome.counts[line["what"]] += 1
                if line["failure"]:
                    outcome.failures.append(line["failure"])
        if ended.returncode == 0 or not lines:
            if ended.returncode:
                outcome.failures.append(f"the process ended with {ended.returncode}: {ended.stderr[-500:]}")
            return outcome
        outcome.failures.append(f"{lines[-1].get('trial')}: ended the process ({ended.returncode}): {ended.stderr[-300:]}")
        first = lines[-1]["number"] + 1


def _trials(folder: Path, share: float, seed: int, first: int) -> None:
    from tests.torture.samples import samples

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, in the middle of a library's code too
    home = folder / f"from-{first}"
    home.mkdir()
    os.chdir(home)  # where a payload would leave its mark
    number = 0
    for sample in samples(home):
        whole = sample.file.read_bytes()
        draw = random.Random(f"{seed} {sample.name}")
        for trial, (how, damaged) in enumerate(_damaged(whole, sample.file, draw, max(2, round(share * TRIALS)))):
            if number >= first:
                name = f"{sample.name}, trial {trial} ({how})"
                print(json.dumps({"number": number, "trial": name}), flush=True)
                print(json.dumps(_outcome_of(name, sample.read, sample.file, damaged) | {"number": number}), flush=True)
            number += 1
        sample.file.unlink(missing_ok=True)
        sample.file.write_bytes(whole)


def _outcome_of(name: str, read: Callable[[], Any], file: Path, damaged: bytes | None) -> dict[str, str]:
    """damaged: None for a named pipe."""
    file.unlink(missing_ok=True)
    if damaged is None:
        os.mkfifo(file)
    else:
        file.write_bytes(damaged)
    signal.alarm(SECONDS)
    what, failure = "read", ""
    try:
        read()
    except StapError as error:
        what = "refused"
        if str(file) not in str(error) and str(file.parent) not in str(error):
            failure = f"{name}: a sentence without the file: {str(error)[:200]}"
        elif len(str(error)) > 5000 or "\x1b" in str(error):
            failure = f"{name}: no sentence to show: {str(error)[:200]!r}"
    except BaseException as error:
        what, failure = "raised", f"{name}: {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    if Path(CANARY).exists():
        Path(CANARY).unlink()
        failure = f"{name}: its payload ran"
    return {"what": what, "failure": failure}


class _Payload:
    """What an ordinary unpickler would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (CANARY,)


def _damaged(whole: bytes, file: Path, draw: random.Random, count: int) -> Iterator[tuple[str, bytes | None]]:
    """So many damaged contents, each with what was done; a few of them are made on purpose."""
    if "annotations" not in file.parts:  # COCO takes what is no file for absent, and names the folder that it looked in
        yield "a named pipe", None
    for made in list(_on_purpose(whole, file))[: count - 1]:
        yield made
        count -= 1
    changes: list[Callable[[bytes, random.Random], bytes]] = [_bit, _byte, _number, _cut, _left_out, _repeated, _zeros]
    if file.suffix in TEXTS:
        changes += [_token] * 6
    for _ in range(count - 1):
        change = draw.choice(changes)
        content = whole
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            content = change(content, draw) or b"\0"
        yield change.__name__.strip("_"), content


def _on_purpose(whole: bytes, file: Path) -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    for protocol in (0, 2, 4):
        yield f"a pickle, protocol {protocol}", pickle.dumps({"video1": _Payload()}, protocol)
    if zipfile.is_zipfile(io.BytesIO(whole)):
        yield from _archives(whole)
    if file.suffix in TEXTS:
        for name, text in HOSTILE.items():
            yield name, text.encode("utf-8", "surrogatepass")
        yield "UTF-16", whole.decode("utf-8", "replace").encode("utf-16")
        yield "cp1252", whole + b"\x92"


def _archives(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """The archive with a payload in the place of each member, and with a member that expands to a gigabyte."""
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    array = io.BytesIO()
    with contextlib.suppress(Exception):
        np.save(array, np.array([_Payload()], dtype=object), allow_pickle=True)
    for name, payload in (("a payload", pickle.dumps(_Payload())), ("an array of payloads", array.getvalue())):
        for replaced in list(members)[:3]:
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as archive:
                for member, inside in members.items():
                    archive.writestr(member, payload if member == replaced else inside)
            yield f"{name} as {replaced}", content.getvalue()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (member, inside) in enumerate(members.items()):
            archive.writestr(member, bytes(1 << 26) if number < 2 else inside)
    yield "a bomb", content.getvalue()


HOSTILE = {
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "5,000 digits": "9" * 5000,
    "a value of 5,000 digits": '{"seed": ' + "9" * 5000 + ', "videos": ' + "9" * 5000 + "}",
    "NaN": '{"recipe": NaN, "seed": Infinity, "words": [NaN]}',
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a tag": "name: !!python/object/apply:os.mkdir [ran]\n",
    "an impossible day": "name: 2023-02-30\nseed: 2023-13-45\n",
    "a surrogate": '{"words": ["<pad>", "<bos>", "<eos>", "<unk>", "\ud800"], "a": "\ud800"}',
    "zero bytes": "a\0b,c\0d\n" * 3,
    "a terminal's escapes": "\x1b[2J\x1b]0;owned\x07: \x1b[31m\n",
    "a list": "[1, 2]",
    "null": "null",
    "one long line": "x" * 3_000_000,
    "quotes": '"' * 1001,
}
TOKENS = (b"NaN", b"-1", b"1e400", b"null", b"[]", b"{}", b'""', b"true", b"9" * 50, b"9" * 5000, b"[" * 2000, b"\\ud800", b"\x1b[2J", b"2023-02-30",
          b"\xff", b"\xef\xbb\xbf", b"&a *a", b"0" * 30, b"1.5", b"\n", b'"', b",", b":", b"-" * 3, b"../../etc/passwd", b"/dev/zero")  # fmt: skip


def _bit(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    bit = draw.randrange(8 * len(changed))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _byte(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] = draw.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _number(content: bytes, draw: random.Random) -> bytes:
    """4 or 8 bytes become a length beyond the file, as lengths are stored."""
    size = draw.choice((4, 8))
    value = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**34, 2**62, 2**63, 2**64 - 1)) % 2 ** (8 * size)
    place = draw.randrange(max(1, len(content) - size))
    return content[:place] + value.to_bytes(size, draw.choice(("little", "big"))) + content[place + size :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _left_out(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 200) :]


def _repeated(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[max(0, start - draw.randint(1, 200)) : start] * draw.randint(1, 5) + content[start:]


def _zeros(content: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(content)), draw.randint(1, 100)
    return content[:start] + bytes(length) + content[start + length :]


def _token(content: bytes, draw: random.Random) -> bytes:
    """A value, or what is between two marks, becomes another."""
    marks = [place for place, byte in enumerate(content) if byte in b':,[]{}" \n\t'] or [0]
    start = draw.choice(marks) + 1
    end = draw.choice([place for place in marks if place >= start][:3] or [start])
    return content[:start] + draw.choice(TOKENS) + content[end:]


if __name__ == "__main__":
    _trials(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

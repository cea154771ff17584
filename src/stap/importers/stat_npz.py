"""The checkpoint that the authors of STAT released (.npz, written by Theano), and its word list.

Nothing in it is executed: arrays are read with pickling off, and the word list either from JSON or by the unpickler of pickles.py. Weights are stored as (in, out) there and as (out, in) here. Word k there is word k + 2 here, because
the end of a sentence is 0 there and EOS here, and <unk> is 1 there and UNK here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stap.errors import CheckpointError
from stap.files import one_line, read_json
from stap.importers.numpy_files import npz_names, read_npz
from stap.importers.pickles import load_plain_pickle
from stap.importers.strangers import reading
from stap.text.special_ids import EOS
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary

__all__ = ["PARAMETERS", "StatCheckpoint", "read_stat_npz"]

NOT_PARAMETERS = {"history_errs"}  # the course of the training, which the authors' code stores with the weights
STREAMS = {"frames": "G", "motion": "M", "regions": "L"}

# Their name -> (our name, its axes there). V words, E embedding, H hidden; G, M, L: the features. 4H: input, forget, output, candidate.
_ATTENTION = {"l": "spatial", "g": "temporal.global", "m": "temporal.motion", "lt": "temporal.local"}
PARAMETERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Wemb": ("embedding.weight", ("V", "E")),
    "ff_state_W": ("initial_h.weight", ("G", "H")),
    "ff_state_b": ("initial_h.bias", ("H",)),
    "ff_memory_W": ("initial_c.weight", ("G", "H")),
    "ff_memory_b": ("initial_c.bias", ("H",)),
    "ff_local_W": ("local_projection.linear.weight", ("L", "H")),
    "ff_local_b": ("local_projection.linear.bias", ("H",)),
    "ff_motion_W": ("motion_projection.weight", ("M", "H")),
    "ff_motion_b": ("motion_projection.bias", ("H",)),
    "decoder_W": ("decoder.word_gates.weight", ("E", "4H")),
    "decoder_b": ("decoder.word_gates.bias", ("4H",)),
    "decoder_U": ("decoder.recurrent_gates.weight", ("H", "4H")),
    "decoder_Wc": ("decoder.context_gates.weight", ("H", "4H")),
    **{
        f"decoder_{theirs}{which}_att": (f"decoder.attention.{module}.{ours}", axes)
        for which, module in _ATTENTION.items()
        for theirs, ours, axes in (
            ("Wc", "key.weight", ("H", "H")),
            ("b", "key.bias", ("H",)),
            ("Wd", "query.weight", ("H", "H")),
            ("U", "score.weight", ("H", "1")),
            ("c", "score.bias", ("1",)),
        )
    },
    "decoder_W_sel": ("decoder.gate.weight", ("H", "1")),
    "decoder_b_sel": ("decoder.gate.bias", ()),
    "ff_logit_lstm_W": ("decoder.hidden_output.weight", ("H", "E")),
    "ff_logit_lstm_b": ("decoder.hidden_output.bias", ("E",)),
    "ff_logit_ctxglm_W": ("decoder.context_output.weight", ("H", "E")),
    "ff_logit_ctxglm_b": ("decoder.context_output.bias", ("E",)),
    "ff_logit_W": ("decoder.output.weight", ("E", "V")),
    "ff_logit_b": ("decoder.output.bias", ("V",)),
}
# The arrays that say how large each axis is.
_MEASURED_BY = {
    "V": ("Wemb", 0),
    "E": ("Wemb", 1),
    "H": ("decoder_U", 0),
    "G": ("ff_state_W", 0),
    "M": ("ff_motion_W", 0),
    "L": ("ff_local_W", 0),
}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class StatCheckpoint:
    """The released checkpoint under stap's names.

    weights: parameters of `models/stat`, as (out, in), float32.   feature_sizes: of the streams frames, motion and regions.
    """

    weights: dict[str, torch.Tensor]
    vocabulary: Vocabulary
    hidden_size: int
    embedding_size: int
    feature_sizes: dict[str, int]


def read_stat_npz(file: Path, words: Path) -> StatCheckpoint:
    """The checkpoint in a .npz with its words. Sizes are those of the arrays.

    words: word to number from 2 on, as a pickle (worddict.pkl) or JSON; numbers that it does not use keep their rows, called
    <unused 13012> ..., so that probabilities stay what they are.
    Raises CheckpointError that lists every problem of the file, StapError for the words.
    """
    arrays = _read_npz(file)
    sizes = _checked_sizes(file, arrays)
    return StatCheckpoint(
        weights={PARAMETERS[name][0]: _tensor(name, arrays[name]) for name in PARAMETERS},
        vocabulary=_vocabulary(words, sizes["V"]),
        hidden_size=sizes["H"],
        embedding_size=sizes["E"],
        feature_sizes={stream: sizes[axis] for stream, axis in STREAMS.items()},
    )


def _read_npz(file: Path) -> Arrays:
    if not file.exists():
        raise CheckpointError(f"{file}: no such file. Name the .npz that the authors of STAT released.")
    names = npz_names(file, _reading)
    return read_npz(file, [name for name in names if name not in NOT_PARAMETERS], _reading)


def _reading(file: Path) -> AbstractContextManager[None]:
    advice = "Expected the file that the authors of STAT released; copy it again."
    return reading(file, CheckpointError, "cannot be read as .npz of plain arrays", advice)


def _checked_sizes(file: Path, arrays: Arrays) -> dict[str, int]:
    """The size of each axis. Raises CheckpointError that lists all names and shapes that do not fit."""
    sizes = {
        axis: arrays[name].shape[place]
        for axis, (name, place) in _MEASURED_BY.items()
        if name in arrays and arrays[name].ndim == len(PARAMETERS[name][1])
    }
    problems = [f"{name} is missing" for name in PARAMETERS if name not in arrays]
    problems += [f"{name} is not known" for name in arrays if name not in PARAMETERS]
    for name, (_, axes) in PARAMETERS.items():
        if name in arrays:
            problems += _problems_of(name, arrays[name], [_size(axis, sizes) for axis in axes])
    if not problems and sizes["G"] != sizes["H"]:
        problems.append(
            f"ff_state_W reads {sizes['G']} global features, and the contexts have {sizes['H']}, which are added to them"
        )
    if problems:
        raise CheckpointError(
            f"{file}: not the checkpoint that STAT's code writes; {len(problems)} "
            f"problem{'s' if len(problems) > 1 else ''}:\n" + "\n".join(f"  - {problem}" for problem in problems)
        )
    return sizes


def _size(axis: str, sizes: Mapping[str, int]) -> int | None:
    """None where the array that has this size is missing."""
    if axis == "4H":
        return 4 * sizes["H"] if "H" in sizes else None
    return 1 if axis == "1" else sizes.get(axis)


def _problems_of(name: str, array: NDArray[Any], expected: list[int | None]) -> list[str]:
    if array.dtype.kind != "f":
        return [f"{name} holds {array.dtype}, expected floating-point numbers"]
    if len(array.shape) != len(expected) or any(
        size is not None and size != given for given, size in zip(array.shape, expected, strict=True)
    ):
        shown = ", ".join("any" if size is None else str(size) for size in expected)
        return [f"{name} has the shape {array.shape}, expected ({shown}{',' if len(expected) == 1 else ''})"]
    return [] if np.isfinite(array).all() else [f"{name} holds NaN or infinite values"]


def _tensor(name: str, array: NDArray[Any]) -> torch.Tensor:
    transposed = array if name == "Wemb" else array.T
    return torch.from_numpy(np.array(transposed, dtype=np.float32, ndmin=1, order="C"))


def _vocabulary(path: Path, rows: int) -> Vocabulary:
    numbers = _read_words(path)
    words = [*SPECIAL_WORDS, *(f"<unused {number}>" for number in range(2, rows))]
    for word, number in numbers.items():
        if number < rows:  # the others were <unk> in training
            words[number + EOS] = word
    return Vocabulary(tuple(words))


def _read_words(path: Path) -> dict[str, int]:
    if path.suffix == ".json":
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error)}). Expected {{word: number}}.") from error
    else:
        found = load_plain_pickle(path)
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path}: expected a dictionary of words and their numbers from 2 on, as in worddict.pkl.")
    wrong = [
        f"{word!r}: {number!r}"
        for word, number in found.items()
        if not isinstance(word, str) or not word or type(number) is not int or number < 2
    ]
    if wrong or len(set(found.values())) < len(found):
        shown = ", ".join(wrong[:5]) or "one number for two words"
        raise CheckpointError(
            f"{path}: expected each word with a number of its own from 2 on (0 ends a sentence, 1 is <unk>); found {shown}."
        )
    return found

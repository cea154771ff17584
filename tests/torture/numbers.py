"""NaN, infinities and flipped bits in features, weights, states and losses: an error that names the file or clip, never another result."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors
import safetensors.torch
import torch
from tests.torture.kills import CORPUS, RECIPE
from tests.torture.outcome import Outcome
from torch import Tensor

from stap.captioning.model_folder import load_run, read_tensors
from stap.errors import StapError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import FeatureStreams
from stap.models.caption_model import Losses
from stap.models.encoder_decoder import EncoderDecoder
from stap.recipes.files import recipe_from_dict
from stap.training.loop import fit
from stap.training.resume import state_file
from stap.training.skipped import MOST_IN_A_ROW

FLIPS, VALUES, LOSSES = 400, 40, 60  # bits of each file, values in each file, trainings
STRANGE = (math.nan, math.inf, -math.inf)
RECORDS = [clip.id for clip in CORPUS.clips]


def run(folder: Path, share: float, seed: int) -> Outcome:
    """Damage features, weights and state bit by bit and value by value, then losses."""
    outcome, draw = Outcome(), random.Random(seed)
    store = _store(folder / "features")
    fit(recipe_from_dict(RECIPE), CORPUS, FeatureStreams({"grid": store}), folder / "run")
    files: dict[str, tuple[Path, Callable[[], Any]]] = {
        "features": (store.folder / f"{RECORDS[3]}.safetensors", lambda: FeatureStore.at(store.folder).read(RECORDS[3])),
        "weights": (folder / "run" / "model.safetensors", lambda: dict(load_run(folder / "run").model.state_dict())),
        "state": (state_file(folder / "run"), lambda: read_tensors(state_file(folder / "run"))[0]),
    }
    for name, (path, read) in files.items():
        _damage(outcome, draw, name, path, read, share)
    for trial in range(max(2, round(share * VALUES))):
        _train_on(outcome, draw, folder / f"values-{trial}", store)
    for trial in range(max(2, round(share * LOSSES))):
        _train_with(outcome, draw, folder / f"losses-{trial}", store)
    return outcome


def _damage(outcome: Outcome, draw: random.Random, name: str, path: Path, read: Callable[[], Any], share: float) -> None:
    whole, expected = path.read_bytes(), {key: tensor.clone() for key, tensor in read().items()}
    bits = draw.sample(range(8 * len(whole)), min(8 * len(whole), max(2, round(share * FLIPS))))
    for bit in bits:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        _expect(outcome, f"{name}, bit {bit}", path, read, expected)
    for _ in range(max(2, round(share * VALUES))):
        path.write_bytes(whole)
        key, value = _write_value(path, draw)
        _expect(outcome, f"{name}, {value} in {key}", path, read, None)
    path.write_bytes(whole)


def _write_value(path: Path, draw: random.Random) -> tuple[str, float]:
    """One value of a file becomes NaN or infinite; as an earlier stap wrote it, without a checksum."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = {key: text for key, text in (file.metadata() or {}).items() if key != "crc32c"}
    tensors = safetensors.torch.load(path.read_bytes())
    key = draw.choice(sorted(key for key, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()))
    value = draw.choice(STRANGE)
    tensors[key].view(-1)[draw.randrange(tensors[key].numel())] = value
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    return key, value


def _expect(outcome: Outcome, name: str, path: Path, read: Callable[[], Any], expected: dict[str, Tensor] | None) -> None:
    """An error that names the file; or, after a flip in what is no value, the same tensors as before."""
    try:
        found = read()
    except StapError as error:
        outcome.counts["refused"] += 1
        if str(path.parent) not in str(error):
            outcome.failures.append(f"{name}: a sentence without the file: {error}")
    except Exception as error:
        outcome.failures.append(f"{name}: {type(error).__name__}: {error}")
    else:
        outcome.counts["the same"] += 1
        same = expected is not None and found.keys() == expected.keys()
        if expected is None or not same or not all(torch.equal(found[key], expected[key]) for key in expected):
            outcome.failures.append(f"{name}: other numbers were read without a word")


def _train_on(outcome: Outcome, draw: random.Random, folder: Path, store: FeatureStore) -> None:
    """One value of one clip is no number: training or validation stops with its name."""
    clip = draw.choice(RECORDS)
    damaged = _store(folder / "features")
    features = {name: tensor.clone() for name, tensor in store.read(clip).items()}
    grid = features["grid"].view(-1)
    grid[draw.randrange(len(grid))] = draw.choice(STRANGE)
    damaged.write(clip, VideoFeatures(features))
    outcome.counts["trainings on a value that is no number"] += 1
    try:
        fit(recipe_from_dict(RECIPE), CORPUS, FeatureStreams({"grid": damaged}), folder / "run")
    except StapError as error:
        if clip not in str(error):
            outcome.failures.append(f"{clip}: a sentence without the clip: {error}")
    else:
        outcome.failures.append(f"{clip}: trained on a value that is no number")


def _train_with(outcome: Outcome, draw: random.Random, folder: Path, store: FeatureStore) -> None:
    """Losses that are no numbers, of training steps drawn at random: counted, or the end after three in a row. 3 epochs of 2 steps."""
    wrong = set(draw.sample(range(6), draw.choice((0, 1, 2, 3, 4))))
    pairs = [{0, 1}, {2, 3}, {4, 5}]  # of an epoch: without any step it has no loss
    rows = [set(range(first, first + MOST_IN_A_ROW)) for first in range(6)]
    should_end = any(row <= wrong for row in (*rows, *pairs))
    value, steps, plain = draw.choice(STRANGE), 0, EncoderDecoder.loss

    def loss(model: Any, videos: Any, captions: Any) -> Losses:
        nonlocal steps
        found = plain(model, videos, captions)
        if not model.training:
            return found
        steps += 1
        return Losses(found.total * value, found.parts) if steps - 1 in wrong else found

    outcome.counts["trainings with losses that are no numbers"] += 1
    name = f"losses {sorted(wrong)} are {value}"
    try:
        with mock.patch.object(EncoderDecoder, "loss", loss):
            result = fit(recipe_from_dict(RECIPE), CORPUS, FeatureStreams({"grid": store}), folder)
    except StapError as error:
        if not should_end:
            outcome.failures.append(f"{name}: {error}")
        return
    weights = load_run(folder).model.state_dict()
    if should_end or sum(summary.skipped for summary in result.history) != len(wrong):
        outcome.failures.append(f"{name}: {[summary.skipped for summary in result.history]} were skipped, and the run went on")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        outcome.failures.append(f"{name}: the weights are no numbers")


def _store(folder: Path) -> FeatureStore:
    store = FeatureStore(folder, {"kind": "grid", "feature_size": 3, "grid": [1, 2]})
    generator = torch.Generator().manual_seed(1)
    for clip in CORPUS.clips:
        grid = torch.randn(2, 2, 3, generator=generator).half()
        store.write(clip.id, VideoFeatures({"grid": grid, "times_seconds": torch.arange(2.0)}))
    return store

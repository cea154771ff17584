"""A small sound file of every format that stap reads, and the function that reads it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.torch
import torch
from tests.importers.conftest import _write_checkpoint

from stap.captioning.model_folder import load_run, save_description, save_metrics, save_weights
from stap.corpora.loading import load_annotations
from stap.corpora.problems import Problems
from stap.features.imported import read_mapping
from stap.features.store import FeatureStore, VideoFeatures
from stap.importers.array_files import list_arrays, read_array
from stap.importers.c3d import read_mean
from stap.importers.stat_npz import PARAMETERS, read_stat_npz
from stap.importers.weights import read_weights
from stap.models.build import build_model
from stap.recipes.files import load_recipe, recipe_from_dict, recipe_to_yaml
from stap.recipes.settings import CorpusSettings
from stap.recipes.streams import StreamSpec
from stap.reports.curves import run_curves
from stap.scoring.cider import DocumentFrequencies, read_document_frequencies, write_document_frequencies
from stap.scoring.predictions import read_predictions
from stap.scoring.references import read_references
from stap.text.vocabulary import SPECIAL_WORDS, Vocabulary
from stap.training.optimizer import build_optimizer
from stap.training.resume import Progress, load_state, save_state, state_file

__all__ = ["Sample", "samples"]


@dataclass(frozen=True)
class Sample:
    """name: of the format.   file: sound, to be damaged.   read: all that stap reads of it."""

    name: str
    file: Path
    read: Callable[[], Any]


def samples(folder: Path) -> list[Sample]:
    """One of each format, in folders of their own."""
    found = [*_model_folder(folder / "run"), *_state(folder / "state"), *_store(folder / "store"), *_arrays(folder / "arrays")]
    found += [*_weights(folder / "weights"), *_stat(folder / "stat"), *_captions(folder), *_scores(folder / "scores")]
    recipe = _written(folder / "recipe.yaml", recipe_to_yaml(load_recipe("msvd/stat")))
    mapping = _written(folder / "mapping.txt", "vid1 video1\nvid2 video2\n")
    return [
        *found,
        Sample("recipe", recipe, lambda: load_recipe(recipe)),
        Sample("mapping", mapping, lambda: read_mapping(mapping)),
    ]


def _written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


RECIPE = {"name": "tiny", "model": {"hidden_size": 3, "attention_size": 2, "embedding_size": 2}}
ORDER = ["video1", "video2"]
VOCABULARY = Vocabulary((*SPECIAL_WORDS, "a", "ball", "rises"))
FINGERPRINT = {"kind": "grid", "backbone": "made up", "frames": 4, "grid": [2, 3], "feature_size": 6}


def _model() -> Any:
    recipe = recipe_from_dict(RECIPE)
    return recipe, build_model(recipe.model, {"grid": StreamSpec("grid", 6)}, vocabulary_size=len(VOCABULARY))


def _model_folder(folder: Path) -> list[Sample]:
    recipe, model = _model()
    save_description(folder, recipe, VOCABULARY, {"grid": StreamSpec.from_fingerprint("grid", FINGERPRINT)})
    save_weights(folder, model)
    record = {"epoch": 1, "training": {"loss": 2.5}, "validation": {"loss": 3.0}, "scores": {"CIDEr": 0.5}, "is_best": True}
    save_metrics(folder, recipe, {"best": record, "history": [record]})
    names = ("config.json", "vocabulary.json", "features.json", "model.safetensors")
    found = [Sample(name, folder / name, lambda: load_run(folder)) for name in names]
    return [*found, Sample("metrics.json", folder / "metrics.json", lambda: run_curves(folder))]


def _state(folder: Path) -> list[Sample]:
    recipe, model = _model()
    optimizer = build_optimizer(recipe.training.optimizer, model)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    save_state(folder, recipe, Progress(), model, optimizer)
    return [Sample("state", state_file(folder), lambda: load_state(folder, recipe, model, optimizer))]


def _store(folder: Path) -> list[Sample]:
    store = FeatureStore(folder, FINGERPRINT)
    store.write("video7", VideoFeatures({"grid": torch.randn(4, 6, 6).half(), "times_seconds": torch.arange(4.0)}))
    return [
        Sample("features", store.folder / "video7.safetensors", lambda: FeatureStore.at(store.folder).read("video7")),
        Sample("extractor.json", store.folder / "extractor.json", lambda: FeatureStore.at(store.folder)),
    ]


def _arrays(folder: Path) -> list[Sample]:
    folder.mkdir()
    values = np.random.default_rng(1).normal(size=(5, 6)).astype("f4")
    np.save(folder / "a.npy", values)
    np.savez(folder / "a.npz", values=values)
    np.savez_compressed(folder / "b.npz", values=values)
    (folder / "a.pkl").write_bytes(pickle.dumps({"video1": values, "video2": values[:2]}, protocol=2))
    with h5py.File(folder / "a.h5", "w") as file:
        file["video1"] = values
        file.create_dataset("group/video2", data=values, compression="gzip", chunks=(2, 6))
        file["group/video2"].attrs["source"] = "text"
    files = [folder / name for name in ("a.npy", "a.npz", "b.npz", "a.pkl", "a.h5")]
    found = [Sample(file.name, file, lambda file=file: [read_array(array) for array in list_arrays(file)]) for file in files]
    mean = folder / "mean.npy"
    np.save(mean, values)
    return [*found, Sample("mean.npy", mean, lambda: read_mean(mean))]


def _weights(folder: Path) -> list[Sample]:
    folder.mkdir()
    tensors = {"conv.weight": torch.randn(3, 2, 2), "conv.bias": torch.randn(3)}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "new.pth")
    torch.save({"model": tensors}, folder / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(tensors, folder / "net.safetensors")
    arrays = {f"RGB/net/conv_{number}/w": np.arange(number, dtype="f4") for number in range(1, 30)}
    _write_checkpoint(folder / "model.ckpt", arrays)
    found = [
        Sample(name, folder / name, lambda name=name: read_weights(folder / name))
        for name in ("new.pth", "old.pth", "net.safetensors")
    ]
    parts = ("model.ckpt.index", "model.ckpt.data-00000-of-00001")
    return [*found, *(Sample(name, folder / name, lambda: read_weights(folder / "model.ckpt")) for name in parts)]


def _stat(folder: Path) -> list[Sample]:
    folder.mkdir()
    sizes = {"V": 11, "E": 4, "H": 6, "4H": 24, "G": 6, "M": 5, "L": 7, "1": 1}
    arrays = {name: np.ones([sizes[axis] for axis in axes], "f4") for name, (_, axes) in PARAMETERS.items()}
    np.savez(folder / "model.npz", history_errs=np.zeros(2), **arrays)
    words = {"a": 2, "man": 3, "is": 4}
    (folder / "words.pkl").write_bytes(pickle.dumps(words, protocol=0))
    (folder / "words.json").write_text(json.dumps(words))
    plain = folder / "model.npz"
    return [
        Sample("stat npz", plain, lambda: read_stat_npz(plain, folder / "words.json")),
        Sample("worddict.pkl", folder / "words.pkl", lambda: read_stat_npz(plain, folder / "words.pkl")),
        Sample("worddict.json", folder / "words.json", lambda: read_stat_npz(plain, folder / "words.json")),
    ]


def _captions(folder: Path) -> list[Sample]:
    msrvtt = {
        "videos": [{"video_id": f"video{n}", "id": n, "split": split, "category": 1, "start time": 0.0, "end time": 2.0, "url": "u"}
                   for n, split in enumerate(("train", "validate", "test"))],
        "sentences": [{"sen_id": n, "video_id": f"video{n}", "caption": "a ball rises"} for n in range(3)],
    }  # fmt: skip
    vatex = [{"videoID": "abcdefghijk_000003_000013", "enCap": ["a ball rises"] * 2, "chCap": ["球"] * 2}]
    coco = {
        "images": [{"id": 1, "file_name": "1.jpg", "cocoid": 1}],
        "annotations": [{"image_id": 1, "id": 2, "caption": "a ball"}],
    }
    karpathy = {"dataset": "coco", "images": [{"filename": "1.jpg", "filepath": "train2014", "split": "train", "cocoid": 1,
                                               "sentences": [{"raw": "a ball"}]}]}  # fmt: skip
    ids = [f"{letter * 11}_1_10" for letter in "abc"]
    msvd = "".join(f"{name} a ball rises\n" for name in ids)
    table = (
        "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
        + "aaaaaaaaaaa,1,10,1,clean,5,English,a ball\n" * 3
    )
    texts = {
        ("msrvtt", "videodatainfo.json"): json.dumps(msrvtt),
        ("vatex", "vatex_training_v1.0.json"): json.dumps(vatex),
        ("coco", "annotations/captions_train2014.json"): json.dumps(coco),
        ("coco", "dataset_coco.json"): json.dumps(karpathy),
        ("msvd", "AllVideoDescriptions.txt"): msvd,
        ("msvd", "youtube_mapping.txt"): "".join(f"{name} vid{n}\n" for n, name in enumerate(ids, 1)),
        ("msvd", "MSR Video Description Corpus.csv"): table,
        ("folder", "captions.csv"): "video,caption,split\na.mp4,a ball,train\nb.mp4,a cube,test\n",
        ("folder", "captions.tsv"): "video\tcaption\na.mp4\ta ball\nb.mp4\ta cube\n",
        ("folder", "captions.jsonl"): '{"video": "a.mp4", "caption": "a ball"}\n{"video": "b.mp4", "captions": ["x y", "z"]}\n',
    }
    found = []
    for (kind, name), text in texts.items():
        root = folder / f"corpus-{len(found)}"
        if name == "youtube_mapping.txt":
            _written(root / "AllVideoDescriptions.txt", msvd)
        file = _written(root / name, text)
        settings = CorpusSettings(kind=kind, root=root)
        found.append(Sample(f"{kind}: {name}", file, lambda settings=settings: load_annotations(settings, Problems())))
    return found


def _scores(folder: Path) -> list[Sample]:
    captions = [{"video_id": f"video{n}", "caption": "a ball rises"} for n in range(3)]
    references = {f"video{n}": ["a ball rises", "a ball"] for n in range(3)}
    files = {
        "a.json": json.dumps(captions),
        "b.json": json.dumps({"video1": "a ball"}),
        "a.jsonl": "".join(json.dumps(one) + "\n" for one in captions),
        "a.txt": "a ball\na cube\n",
        "a.tsv": "video1\ta ball\nvideo2\ta cube\n",
        "a.csv": "video,caption\nvideo1,a ball\nvideo2,a cube\n",
    }
    found = []
    for name, text in files.items():
        file = _written(folder / name, text)
        found.append(Sample(f"predictions {file.suffix}", file, lambda file=file: read_predictions(file, ORDER)))
        file = _written(folder / "references" / name, json.dumps(references) if name == "b.json" else text)
        found.append(Sample(f"references {file.suffix}", file, lambda file=file: read_references(file)))
    file = folder / "frequencies.json.gz"
    write_document_frequencies(file, DocumentFrequencies(3, {("a", "ball"): 2, ("a",): 3}, "corpus"))
    return [*found, Sample("frequencies", file, lambda: read_document_frequencies(file))]

"""Features of others: every format gives the same store, and what does not fit is named."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from raising import error_of
from stap.errors import FeatureError
from stap.features.imported import import_features, open_imported, read_mapping
from stap.features.store import FeatureStore
from stap.importers.array_files import find_files

Arrays = dict[str, np.ndarray]


def arrays_of(*shape: int, videos: int = 3) -> Arrays:
    """Random features of vid1 ..., each with a frame more than the one before."""
    random = np.random.default_rng(1)
    return {
        f"vid{number}": random.standard_normal((shape[0] + number, *shape[1:])).astype(np.float32)
        for number in range(1, videos + 1)
    }


def one_hdf5(folder: Path, arrays: Arrays) -> None:
    with h5py.File(folder / "all.h5", "w") as file:
        for video_id, array in arrays.items():
            file[video_id] = array


def hdf5_a_video(folder: Path, arrays: Arrays) -> None:
    """STAT's layout."""
    for video_id, array in arrays.items():
        with h5py.File(folder / f"msvd_{video_id}_google.h5", "w") as file:
            file[video_id] = array


def npy_a_video(folder: Path, arrays: Arrays) -> None:
    for video_id, array in arrays.items():
        np.save(folder / f"{video_id}.npy", array)


def npz_a_video(folder: Path, arrays: Arrays) -> None:
    for video_id, array in arrays.items():
        np.savez_compressed(folder / f"{video_id}.npz", features=array)


def one_pickle(folder: Path, arrays: Arrays) -> None:
    (folder / "all.pkl").write_bytes(pickle.dumps(arrays, 2))


def pickled_lists(folder: Path, arrays: Arrays) -> None:
    lists = {video_id: [[float(value) for value in row] for row in array] for video_id, array in arrays.items()}
    (folder / "all.pickle").write_bytes(pickle.dumps(lists, 2))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize("write", [one_hdf5, hdf5_a_video, npy_a_video, npz_a_video, one_pickle, pickled_lists])
def test_every_format_gives_the_same_store(source: Path, tmp_path: Path, write: Callable[[Path, Arrays], None]) -> None:
    arrays, seen = arrays_of(2, 5), []
    write(source, arrays)
    report = import_features([source], tmp_path / "store", "frames", on_progress=lambda *call: seen.append(call))
    assert (report.written, report.already_there, report.failed) == (3, 0, ())
    assert seen == [(1, 3, "vid1"), (2, 3, "vid2"), (3, 3, "vid3")]
    store = open_imported(tmp_path / "store", "frames")
    assert store.folder == report.store.folder
    assert sorted(store.video_ids()) == sorted(arrays)
    for video_id, array in arrays.items():
        read = store.read(video_id)
        assert list(read) == ["frames"]
        assert torch.equal(read["frames"], torch.from_numpy(array))
    again = import_features([source], tmp_path / "store", "frames")
    assert (again.store.folder, again.written, again.already_there) == (store.folder, 0, 3)


@pytest.mark.parametrize(
    ("stream", "shape", "sizes"),
    [
        ("frames", (2, 5), {"shape": ["T", 5], "feature_size": 5}),
        ("motion", (2, 5), {"shape": ["T", 5], "feature_size": 5}),
        ("regions", (2, 4, 5), {"shape": ["T", 4, 5], "feature_size": 5, "regions": 4}),
        ("grid", (2, 9, 5), {"shape": ["T", 9, 5], "feature_size": 5, "grid": [9]}),
        ("grid", (2, 5), {"shape": ["T", 1, 5], "feature_size": 5, "grid": [1]}),
    ],
)
def test_the_fingerprint_says_that_it_is_imported_and_from_what(
    source: Path, tmp_path: Path, stream: str, shape: tuple[int, ...], sizes: dict[str, object]
) -> None:
    one_hdf5(source, arrays_of(*shape))
    file = source / "all.h5"
    made = import_features([file], tmp_path / "store", stream).store.fingerprint
    assert made == {
        "kind": "imported",
        "stream": stream,
        "stored_as": "float32",
        "source_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "ids": "as in the source",
        **sizes,
    }
    assert import_features([file], tmp_path / "store", stream, stored_as="float16").store.fingerprint["stored_as"] == "float16"


def test_a_vector_a_frame_is_a_grid_of_one_location(source: Path, tmp_path: Path) -> None:
    arrays = arrays_of(2, 5)
    one_hdf5(source, arrays)
    store = import_features([source], tmp_path / "store", "grid").store
    for video_id, array in arrays.items():
        assert store.read(video_id)["grid"].squeeze(1).tolist() == np.asarray(array, dtype=np.float32).tolist()


def test_frames_are_averaged(source: Path, tmp_path: Path) -> None:
    arrays = arrays_of(4, 5)  # 5, 6 and 7 frames
    one_hdf5(source, arrays)
    store = import_features([source], tmp_path / "store", "grid", average=3).store
    for video_id, array in arrays.items():
        means = [np.asarray(array[first : first + 3], dtype=np.float64).mean(axis=0) for first in range(0, len(array), 3)]
        np.testing.assert_allclose(store.read(video_id)["grid"].squeeze(1).numpy(), means, rtol=1e-6)
    plain = import_features([source], tmp_path / "store", "grid").store
    assert store.fingerprint == plain.fingerprint | {"frames_averaged": 3}
    assert error_of(FeatureError, import_features, [source], tmp_path / "store", "regions", average=2) == (
        "regions of several frames are not the same objects, so they have no mean. Leave out --average."
    )


def test_one_vector_a_video(source: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        np.save(source / f"vid{number}.npy", np.full(6, number, dtype=np.float64))
    np.save(source / "vid3.npy", np.ones((2, 6)))
    report = import_features([source], tmp_path / "store", "motion")
    assert report.store.fingerprint["shape"] == [6]
    assert report.store.read("vid2")["motion"].tolist() == [2] * 6
    assert report.failed == (
        (
            "vid3",
            f"{source}/vid3.npy: stream motion has the shape (2, 6), expected (6,). Check the stream and the source.",
        ),
    )


def test_the_hash_of_many_files_is_of_their_names_and_contents(source: Path, tmp_path: Path) -> None:
    npy_a_video(source, arrays_of(2, 5))
    made = import_features([source], tmp_path / "store", "frames").store.fingerprint
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(source.iterdir())]
    assert made["source_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    moved = source.rename(tmp_path / "elsewhere")
    assert import_features([moved], tmp_path / "store", "frames").already_there == 3
    np.save(moved / "vid1.npy", np.ones((2, 5)))
    changed = import_features([moved], tmp_path / "store", "frames")
    assert (changed.written, changed.store.fingerprint["source_sha256"] != made["source_sha256"]) == (3, True)


def test_a_mapping_replaces_the_ids(source: Path, tmp_path: Path) -> None:
    for name in ("-4wsuPCjDBc_5_15", "-7KMZQEsJW4_205_208", "unknown_1_2"):
        np.save(source / f"{name}.npy", np.ones((2, 3)))
    mapping = tmp_path / "youtube_mapping.txt"
    mapping.write_text("-4wsuPCjDBc_5_15 vid1\n-7KMZQEsJW4_205_208 vid2\n")
    report = import_features([source], tmp_path / "store", "frames", mapping=mapping)
    assert sorted(report.store.video_ids()) == ["vid1", "vid2"]
    assert report.store.fingerprint["ids"] == hashlib.sha256(mapping.read_bytes()).hexdigest()
    assert report.failed == (
        ("unknown_1_2", f"{source}/unknown_1_2.npy: {mapping} has no line that begins with 'unknown_1_2'. Add it."),
    )


def test_a_mapping_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfa vid1\r\nb vid2\r\n")
    assert read_mapping(tmp_path / "ids.txt") == {"a": "vid1", "b": "vid2"}


def test_files_that_macos_leaves_are_not_features(stap_data: Path, tmp_path: Path) -> None:
    apple = Path(shutil.copytree(stap_data / "field/features/apple", tmp_path / "apple"))
    (apple / "._video0.npy").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (apple / "__MACOSX").mkdir()
    (apple / "__MACOSX" / "._video1.npy").write_bytes(b"\0\5\x16\7")
    assert [name for name, _ in find_files([apple])] == ["video0.npy", "video1.npy", "video2.npy"]


def test_two_files_of_one_name_have_their_folders_in_their_ids(source: Path, tmp_path: Path) -> None:
    for folder, name in (("kitchen", "0001"), ("street", "0001"), ("street", "0002")):
        (source / folder).mkdir(exist_ok=True)
        np.save(source / folder / f"{name}.npy", np.ones((2, 3)))
    report = import_features([source], tmp_path / "store", "frames")
    assert sorted(report.store.video_ids()) == ["kitchen/0001", "street/0001", "street/0002"]
    (source / "kitchen" / "0001.npy").rename(source / "kitchen" / "0003.npy")
    assert sorted(import_features([source], tmp_path / "other", "frames").store.video_ids()) == ["0001", "0002", "0003"]


def test_the_published_mapping(stap_data: Path) -> None:
    ids = read_mapping(stap_data / "msvd" / "youtube_mapping.txt")
    assert len(ids) == 1970
    assert ids["-4wsuPCjDBc_5_15"] == "vid1"


@pytest.mark.parametrize("text", ["a\n", "a b\na c\n", "a b c\n"])
def test_a_mapping_of_another_form_names_the_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(text)
    number, line = (2, "a c") if text.startswith("a b\n") else (1, text.strip())
    error = error_of(FeatureError, read_mapping, file)
    assert error == f"{file}, line {number}: {line!r}. Expected 'source id, space, new id', each source id once."


def test_what_does_not_fit_is_listed_and_the_others_go_on(source: Path, tmp_path: Path) -> None:
    with h5py.File(source / "all.h5", "w") as file:
        file["a"] = np.ones((3, 8, 5))
        file["another width"] = np.ones((3, 8, 6))
        file["fewer regions"] = np.ones((3, 7, 5))
        file["no detection"] = np.ones((3, 0, 5))
        file["not a number"] = np.full((3, 8, 5), np.nan)
        file["one rank less"] = np.ones((3, 5))
        file["too large"] = np.full((1, 8, 5), 70000.0)
        file["words"] = np.bytes_("hello")
        file["z"] = np.ones((1, 8, 5))
        file["zeros"] = np.zeros((2, 8, 5))
    (source / "broken.h5").write_bytes(b"half")
    np.save(source / "z.npy", np.ones((1, 8, 5)))
    report = import_features([source], tmp_path / "store", "regions", stored_as="float16")
    check, where = "Check the stream and the source.", f"{source}/all.h5"
    failed = dict(report.failed)
    assert failed.pop("broken.h5").startswith(f"{source}/broken.h5: cannot be read (")
    assert failed == {
        "another width": f"{where}: another width: stream regions has the shape (3, 8, 6), expected (T, 8, 5). {check}",
        "fewer regions": f"{where}: fewer regions: stream regions has the shape (3, 7, 5), expected (T, 8, 5). {check}",
        "no detection": f"{where}: no detection: stream regions has the shape (3, 0, 5), which holds no region; expected (T, 8, 5) with "
        f"at least one of each. {check}",
        "not a number": f"{where}: not a number: holds NaN or infinite values. Expected features.",
        "one rank less": f"{where}: one rank less: stream regions has the shape (3, 5), expected (T, 8, 5). {check}",
        "too large": f"{where}: too large: the largest feature is 70000, and float16 ends at 65504. Store them as float32.",
        "words": f"{where}: words: holds |S5 values. Expected an array of numbers for each video.",
        "zeros": f"{where}: zeros: stream regions, of shape (2, 8, 5), is 0 everywhere; expected features. {check}",
        "z": f"{source}/z.npy: {where}: z is of the same video, 'z'. Import one of them.",
    }
    assert (report.written, sorted(report.store.video_ids())) == (2, ["a", "z"])


def test_nothing_usable_is_an_error(source: Path, tmp_path: Path) -> None:
    np.save(source / "vid1.npy", np.ones(3))
    assert error_of(FeatureError, import_features, [source], tmp_path / "store", "grid") == (
        f"nothing could be imported from {source}. The first reason: {source}/vid1.npy: stream grid has the shape (3,), expected "
        "(T, R, D). Check the stream and the source."
    )
    assert not (tmp_path / "store").exists()


def test_an_unknown_stream_is_refused(source: Path, tmp_path: Path) -> None:
    assert error_of(FeatureError, import_features, [source], tmp_path / "store", "region") == (
        "'region': no such stream; did you mean regions? Expected one of grid, frames, motion, regions."
    )


def test_sources_that_are_none(source: Path) -> None:
    (source / "notes.txt").write_text("a")
    for given, message in {
        source: f"{source}: no file of features in this folder. Expected .h5, .hdf5, .hdf, .npy, .npz, .pkl, .pickle, .p.",
        source / "none.h5": f"{source}/none.h5: no such file or folder. Name the features to import.",
        source
        / "notes.txt": f"{source}/notes.txt: features are not read from '.txt' files. Expected .h5, .hdf5, .hdf, .npy, .npz, .pkl, "
        ".pickle, .p.",
    }.items():
        assert error_of(FeatureError, find_files, [given]) == message


def test_groups_are_part_of_the_name_and_links_lead_nowhere(source: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["vid9"] = np.ones((2, 3))
    with h5py.File(source / "all.h5", "w") as file:
        file["train/vid1"] = np.ones((2, 3))
        file["outside"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "vid9")
        layout = h5py.VirtualLayout((2, 3), float)
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "vid9", (2, 3))
        file.create_virtual_dataset("virtual", layout)
    report = import_features([source], tmp_path / "store", "frames")
    assert list(report.store.video_ids()) == ["train/vid1"]
    assert report.failed == (
        ("virtual", f"{source}/all.h5: virtual: its values are in another file. Write a file that holds them itself."),
    )


def test_archives_of_several_arrays_are_refused(source: Path, tmp_path: Path) -> None:
    np.savez(source / "vid1.npz", features=np.ones((2, 3)), boxes=np.ones((2, 4)))
    np.save(source / "vid2.npy", np.ones((2, 3)))
    assert import_features([source], tmp_path / "store", "frames").failed == (
        (
            "vid1.npz",
            f"{source}/vid1.npz: holds 2 arrays (features, boxes). Expected one in the file of each video; write that one alone.",
        ),
    )


class MakesFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_malicious_files_are_listed_and_their_code_never_run(source: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    (source / "evil.pkl").write_bytes(pickle.dumps({"vid1": MakesFolder(mark)}))
    np.save(source / "vid2.npy", np.array([MakesFolder(mark)], dtype=object), allow_pickle=True)
    np.savez(source / "vid3.npz", features=np.array([MakesFolder(mark)], dtype=object))
    np.save(source / "vid4.npy", np.ones((2, 3)))
    report = import_features([source], tmp_path / "store", "frames")
    assert list(report.store.video_ids()) == ["vid4"]
    assert {name for name, _ in report.failed} == {"evil.pkl", "vid2", "vid3"}
    assert "it asks for posix.mkdir" in dict(report.failed)["evil.pkl"]
    assert not mark.exists()


def test_opening_what_is_not_there_or_ambiguous(source: Path, tmp_path: Path) -> None:
    FeatureStore(tmp_path / "store", {"kind": "grid"})
    assert error_of(FeatureError, open_imported, tmp_path / "store", "frames") == (
        f"{tmp_path}/store: no imported features of the stream 'frames'. Run `stap import-features` and set "
        "features.imported.frames to the folder that it prints."
    )
    npy_a_video(source, arrays_of(2, 5))
    stores = [import_features([source], tmp_path / "store", "frames", stored_as=kind).store for kind in ("float16", "float32")]  # type: ignore[arg-type]
    assert error_of(FeatureError, open_imported, tmp_path / "store", "frames") == (
        f"{tmp_path}/store: holds 2 imports of the stream 'frames': {', '.join(sorted(store.folder.name for store in stores))}. "
        "Set features.imported.frames to one of these folders."
    )
    assert open_imported(stores[0].folder, "frames").fingerprint == stores[0].fingerprint


def test_a_store_whose_description_was_changed_is_refused(source: Path, tmp_path: Path) -> None:
    npy_a_video(source, arrays_of(2, 5))
    folder = import_features([source], tmp_path / "store", "frames").store.folder
    made = json.loads((folder / "extractor.json").read_text())
    (folder / "extractor.json").write_text(json.dumps(made | {"feature_size": 6}))
    with pytest.raises(FeatureError) as caught:
        open_imported(folder, "frames")
    changed = FeatureStore(tmp_path / "other", made | {"feature_size": 6}).folder.name
    assert str(caught.value) == (
        f"{folder}/extractor.json: belongs to a folder of the name {changed}; it was changed by hand, or the "
        "folder renamed. Restore them."
    )

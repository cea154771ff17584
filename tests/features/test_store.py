from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from raising import error_of
from stap.errors import FeatureError
from stap.features.store import FeatureStore, VideoFeatures, _quoted
from stap.files.writers import is_leftover_name, start_of, temporary_beside
from stap.importers import checksums
from stap.recipes.streams import differences

FINGERPRINT = {"kind": "grid", "frames": 30, "crop": 0.875, "grid": (7, 7)}


def features(value: float = 1.5, dtype: torch.dtype = torch.float16) -> VideoFeatures:
    return VideoFeatures({"grid": torch.full((3, 4, 5), value, dtype=dtype), "times_seconds": torch.tensor([0.5, 1.5, 2.5])})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "features", FINGERPRINT)
    store.begin()
    return store


def names(store: FeatureStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_write_then_read_is_the_identity(store: FeatureStore) -> None:
    written = {"grid": torch.randn(3, 4, 5).half(), "times_seconds": torch.rand(3), "wide": torch.randn(2, 6)[:, ::2]}
    store.write("video7", VideoFeatures(written))
    read = store.read("video7")
    assert read.keys() == written.keys()
    assert all(torch.equal(read[name], written[name]) and read[name].dtype == written[name].dtype for name in written)
    assert "video7" in store
    assert "video8" not in store
    assert 7 not in store
    assert names(store) == ["extractor.json", "video7.safetensors"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps on this system")
def test_reading_maps_the_file_instead_of_copying_it(store: FeatureStore) -> None:
    store.write("large", VideoFeatures({"grid": torch.zeros(1 << 20)}))
    array = store.read("large")["grid"]
    mapped = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if "large.safe" in line]
    assert any(int(start, 16) <= array.data_ptr() < int(end, 16) for start, end in mapped)


def test_the_folder_is_named_by_the_fingerprint_and_holds_it(store: FeatureStore, tmp_path: Path) -> None:
    assert store.folder.parent == tmp_path / "features"
    assert len(store.folder.name) == 12
    assert json.loads((store.folder / "extractor.json").read_text()) == FINGERPRINT | {"grid": [7, 7]} == store.fingerprint
    reordered = dict(reversed(FINGERPRINT.items())) | {"grid": [7, 7]}
    assert FeatureStore(tmp_path / "features", reordered).folder == store.folder
    assert FeatureStore(tmp_path / "features", FINGERPRINT | {"frames": 16}).folder != store.folder


def test_a_folder_written_by_an_earlier_stap_is_found_again(tmp_path: Path) -> None:
    grid = {
        "kind": "grid",
        "backbone": "resnet50",
        "backbone_options": {},
        "weights_sha256": "0" * 64,
        "frames": 30,
        "sampling": "segment centres",
        "image_size": 224,
        "crop": 0.875,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "stored_as": "float16",
        "grid": [7, 7],
        "feature_size": 2048,
    }
    folders = [FeatureStore(tmp_path, fingerprint).folder.name for fingerprint in (FINGERPRINT, grid)]
    assert folders == ["cc5bb8c72da1", "a303640f19c7"]  # another name would orphan every store that was extracted


def test_differences_are_readable() -> None:
    other = {"kind": "grid", "frames": 16, "grid": [7, 7], "mean": [0.5, 0.5, 0.5]}
    assert differences(FINGERPRINT, other) == [
        "crop: expected 0.875, found none",
        "frames: expected 30, found 16",
        "mean: expected none, found [0.5, 0.5, 0.5]",
    ]
    assert differences(FINGERPRINT, FINGERPRINT | {"grid": [7, 7]}) == []


ODD_IDS = [
    "a/b/c.mp4",
    "..",
    ".hidden",
    "a b%20c",
    "Zug fährt ein 列车",
    "a\\b:c*?",
    "x.tmp",
    "line\nend",
    "\udcff",
    "-1",
    "%2Fa",
    "/a",
]


@pytest.mark.parametrize("video_id", ODD_IDS)
def test_any_id_has_its_own_file_in_the_folder(store: FeatureStore, video_id: str) -> None:
    store.write(video_id, features())
    assert video_id in store
    assert torch.equal(store.read(video_id)["grid"], features().arrays["grid"])
    assert list(store.video_ids()) == [video_id]
    assert len(names(store)) == 2
    assert not any(name.startswith(".") for name in names(store))


@given(st.lists(st.text(max_size=12), unique=True, max_size=4))
def test_quoting_is_reversible(ids: list[str]) -> None:
    quoted = [_quoted(video_id) for video_id in ids]
    assert [unquote(name, errors="surrogateescape") for name in quoted] == ids
    assert len(set(quoted)) == len(ids)
    assert not any(set(name) & set('/\\:*?"<>|\0\n ') for name in quoted)


@pytest.mark.parametrize(("video_id", "size"), [("", 0), ("x" * 244, 244), ("/" * 82, 246)])
def test_ids_that_no_file_name_can_hold(store: FeatureStore, video_id: str, size: int) -> None:
    assert error_of(FeatureError, store.write, video_id, features()) == (
        f"{video_id!r}: cannot be a video id in a feature store. Expected 1 to 243 bytes when quoted as a file name, found {size}. "
        "Choose another id."
    )
    store.write("x" * 243, features())


def test_missing_features_say_what_to_do(store: FeatureStore) -> None:
    assert error_of(FeatureError, store.read, "video7") == (
        f"{store.folder}: no features of video 'video7'. Run `stap extract` with this recipe first."
    )


def test_missing_features_that_were_made_another_way_are_named(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "features", FINGERPRINT | {"frames": 16})
    other.write("video7", features())
    assert error_of(FeatureError, store.read, "video7") == (
        f"{store.folder}: no features of video 'video7'. {other.folder} has them with another fingerprint: frames: expected 30, found 16. "
        "Run `stap extract` with this recipe first."
    )


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_damaged_features_are_named_and_replaced(store: FeatureStore, kept: int) -> None:
    store.write("video7", features())
    path = store.folder / "video7.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FeatureError) as caught:
        store.read("video7")
    assert str(caught.value).startswith(f"{path}: damaged features (")
    assert str(caught.value).endswith("). Run `stap extract` again, which replaces them.")
    assert "video7" not in store
    store.write("video7", features(2))
    assert float(store.read("video7")["grid"][0, 0, 0]) == 2


@pytest.mark.parametrize("place", [-1, -100, -200])
def test_a_flipped_bit_is_an_error_that_names_the_video(store: FeatureStore, place: int) -> None:
    store.write("video7", VideoFeatures({"grid": torch.randn(3, 4, 50).half()}))
    path = store.folder / "video7.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert error_of(FeatureError, FeatureStore(store.root, FINGERPRINT).read, "video7") == (
        f"{path}: damaged features of 'video7' (its content does not match its checksum). "
        "Delete this file and run `stap extract` again."
    )


def test_files_of_an_earlier_stap_have_no_checksum_and_are_read_unless_a_value_is_no_number(store: FeatureStore) -> None:
    path, arrays = store.folder / "video7.safetensors", features().arrays
    safetensors.torch.save_file(arrays, path, metadata={"video_id": "video7"})
    assert torch.equal(store.read("video7")["grid"], arrays["grid"])
    arrays["grid"][1, 2, 3] = torch.nan
    safetensors.torch.save_file(arrays, path, metadata={"video_id": "video7"})
    for write in (lambda: None, lambda: store.write("video7", VideoFeatures(arrays))):
        write()
        assert error_of(FeatureError, FeatureStore(store.root, FINGERPRINT).read, "video7") == (
            f"{path}: damaged features of 'video7' (grid holds NaN or infinite values). "
            "Delete this file and run `stap extract` again."
        )


def test_a_video_is_compared_with_its_checksum_once(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("video7", features())
    store.write("video8", features())
    compared = []
    damage = checksums.damage
    monkeypatch.setattr(checksums, "damage", lambda *given: compared.append(given) or damage(*given))
    for video_id in ("video7", "video8", "video7", "video8"):
        store.read(video_id)
    assert len(compared) == 2
    store.write("video7", features(2))
    store.read("video7")
    assert len(compared) == 3


def test_ids_that_differ_by_case_are_told_apart_where_file_names_are_not(store: FeatureStore) -> None:
    store.write("aBc", features())
    (store.folder / "aBc.safetensors").rename(store.folder / "abc.safetensors")  # as a case-blind file system would find it
    for use in (lambda: store.read("abc"), lambda: "abc" in store):
        with pytest.raises(FeatureError) as caught:
            use()
        assert str(caught.value) == (
            f"{store.folder}/abc.safetensors: holds the features of 'aBc', not of 'abc'. "
            "Give videos ids that differ by more than upper and lower case."
        )


def test_a_changed_extractor_file_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    path = store.folder / "extractor.json"
    path.write_text(json.dumps(store.fingerprint | {"frames": 31}))
    assert (
        error_of(FeatureError, FeatureStore, tmp_path / "features", FINGERPRINT)
        == f"{path}: was changed by hand: frames: expected 30, found 31. Restore it, or use another store."
    )
    path.write_text("{")
    assert error_of(FeatureError, FeatureStore, tmp_path / "features", FINGERPRINT).startswith(
        f"{path}: cannot be read as JSON ("
    )


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half_written(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("before", features())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        for video_id in ("new", "before"):
            with pytest.raises(FeatureError) as caught:
                store.write(video_id, features(9))
            assert str(caught.value) == (
                f"{store.folder}/{video_id}.safetensors: cannot be written (No space left on device). "
                "What was there before is kept; make room or choose another folder, and run again."
            )
    assert names(store) == ["before.safetensors", "extractor.json"]
    assert float(store.read("before")["grid"][0, 0, 0]) == 1.5


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeatureError) as caught:
        FeatureStore(tmp_path / "file" / "store", FINGERPRINT).begin()
    folder = FeatureStore(tmp_path / "elsewhere", FINGERPRINT).folder.name
    assert str(caught.value) == (
        f"{tmp_path}/file/store/{folder}/extractor.json: cannot be written (Not a directory). "
        "What was there before is kept; make room or choose another folder, and run again."
    )


def test_files_of_killed_runs_are_cleared_and_those_at_work_left(store: FeatureStore, tmp_path: Path) -> None:
    ours = temporary_beside(store.folder / "a.safetensors")
    dead = ours.with_name(
        ours.name.replace(f"-{start_of(os.getpid())}-", "-1-")
    )  # this process's number, of an earlier process
    for file in (ours, dead):
        file.touch()
    os.utime(ours, (time.time() - 4000, time.time() - 4000))  # a clock an hour off
    assert list(store.video_ids()) == []
    FeatureStore(tmp_path / "features", FINGERPRINT).begin()
    assert (dead.exists(), ours.exists()) == (False, True)


def test_a_write_leaves_a_temporary_name_that_is_cleared(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that `write` really uses while it writes are those that a later run removes."""
    seen: list[Path] = []
    force = os.fsync

    def spy(descriptor: int) -> None:
        seen.extend(store.folder.glob(".*"))
        force(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", spy)
        store.write("video7", features())
    [temporary] = seen
    assert is_leftover_name(temporary.name)
    assert temporary.suffix == ".safetensors"


def test_opening_creates_nothing_and_says_what_the_folder_holds(tmp_path: Path) -> None:
    assert error_of(FeatureError, FeatureStore.open, tmp_path / "typo", FINGERPRINT) == (
        f"{tmp_path}/typo: no such feature store (stream grid). Run `stap extract` first, or name the folder that it filled."
    )
    FeatureStore(tmp_path / "typo", FINGERPRINT)
    assert list(tmp_path.iterdir()) == []
    FeatureStore(tmp_path / "some", {"kind": "motion"}).begin()
    with pytest.raises(FeatureError) as caught:
        FeatureStore.open(tmp_path / "some", FINGERPRINT)
    begins = f"{tmp_path}/some: no features of this fingerprint (stream grid, folder {FeatureStore(tmp_path, FINGERPRINT).folder.name}). "
    ends = ". Run `stap extract` with this recipe first, or name another store."
    assert str(caught.value) == f"{begins}It holds motion{ends}"
    other = FeatureStore(tmp_path / "some", FINGERPRINT | {"frames": 16})
    other.begin()
    assert (
        error_of(FeatureError, FeatureStore.open, tmp_path / "some", FINGERPRINT)
        == f"{begins}{other.folder.name} differs in frames: expected 30, found 16{ends}"
    )
    assert len(list((tmp_path / "some").iterdir())) == 2
    assert FeatureStore.open(tmp_path / "some", other.fingerprint).folder == other.folder


def test_a_file_is_never_seen_half_written(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the forced write, the only whole file under the final name is the old one."""
    store.write("video7", features(1))
    seen = []
    force = os.fsync

    def spy(descriptor: int) -> None:
        seen.append(float(safetensors.torch.load_file(store.folder / "video7.safetensors")["grid"][0, 0, 0]))
        force(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    store.write("video7", features(2))
    assert seen == [1, 2]  # the file, before its rename; then the folder, after it


WRITER = """
import itertools, sys, torch
from pathlib import Path
from stap.features.store import FeatureStore, VideoFeatures
store = FeatureStore(Path(sys.argv[1]), {"kind": "grid"})
for k in itertools.count():
    store.write(f"video{k % 50}", VideoFeatures({"grid": torch.full((400_000,), float(k))}))
"""


@pytest.mark.slow
def test_writers_killed_at_any_moment_leave_a_good_store(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(2)]  # both fill one store
    deadline = time.monotonic() + 25
    while len(list(tmp_path.glob("*/*.safetensors"))) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    store = FeatureStore(tmp_path, {"kind": "grid"})
    ids = list(store.video_ids())
    assert len(ids) >= 30
    for video_id in ids:
        grid = store.read(video_id)["grid"]
        assert int(grid[0]) % 50 == int(video_id.removeprefix("video"))
        assert bool((grid == grid[0]).all())

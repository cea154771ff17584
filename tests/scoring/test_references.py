"""References from files: every shape that is read, and what is refused, with the sentence."""

import json

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.references import read_references

REFERENCE_SHAPES = (
    'Expected MSR-VTT\'s videodatainfo.json, MSVD\'s AllVideoDescriptions.txt, or JSON: {"video1": ["a caption", ...], ...} '
    'or [{"video_id": "video1", "caption": "a caption"}, ...].'
)


@pytest.fixture
def file(tmp_path):
    """Write text or JSON into a file of this name."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
        return path

    return write


def test_files_that_cannot_be_read(tmp_path):
    error = error_of(ScoringError, read_references, tmp_path / "none.json")
    assert error == f"{tmp_path}/none.json: cannot be read (No such file or directory). Name a file with captions."
    (tmp_path / "latin.json").write_bytes(b'{"a": "caf\xe9"}')
    error = error_of(ScoringError, read_references, tmp_path / "latin.json")
    assert error == f"{tmp_path}/latin.json: not UTF-8 text (invalid continuation byte at byte 10). Save it as UTF-8."


MSRVTT = {
    "videos": [
        {"video_id": "video0", "split": "train"},
        {"video_id": "video1", "split": "validate"},
        {"video_id": "video2", "split": "test"},
    ],
    "sentences": [
        {"video_id": "video2", "caption": "a", "sen_id": 0},
        {"video_id": "video0", "caption": "b", "sen_id": 1},
        {"video_id": "video2", "caption": "a", "sen_id": 2},
        {"video_id": "video1", "caption": "c", "sen_id": 3},
    ],
}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, {"video2": ["a", "a"], "video0": ["b"], "video1": ["c"]}),
        ("train", {"video0": ["b"]}),
        ("validation", {"video1": ["c"]}),
        ("validate", {"video1": ["c"]}),
        ("test", {"video2": ["a", "a"]}),
    ],
)
def test_references_of_msrvtt(file, split, expected):
    assert read_references(file("videodatainfo.json", MSRVTT), split=split) == expected


@pytest.mark.parametrize(
    "content",
    [
        {"a": ["x", "y"], "b": ["z"]},
        {"references": {"a": ["x", "y"], "b": "z"}},
        [{"video_id": "a", "caption": "x"}, {"video_id": "b", "caption": "z"}, {"video_id": "a", "caption": "y"}],
        {
            "annotations": [
                {"image_id": "a", "caption": "x"},
                {"image_id": "b", "caption": "z"},
                {"image_id": "a", "caption": "y"},
            ]
        },
    ],
)
def test_other_references(file, content):
    assert read_references(file("references.json", content)) == {"a": ["x", "y"], "b": ["z"]}


MSVD = "# a heading\n\nclipA_1_2 A man.\nclipB_3_4 A\x85dog\u2028runs \r\nclipA_1_2 \ufeffHe.\nclipC_5_6 A cat.\n"
MAPPING = "clipA_1_2 vid1200\nclipB_3_4 vid1201\nclipC_5_6 vid1301\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("r.tsv", "id\tcaption\na\tx\nb\tz\na\ty\n"), ("r.jsonl", '{"id":"a","caption":["x","y"]}\n{"id":"b","caption":"z"}\n')],
)
def test_references_in_lines(file, name, content):
    assert read_references(file(name, content)) == {"a": ["x", "y"], "b": ["z"]}


def test_videos_come_in_the_order_of_the_split(file):
    swapped = {**MSRVTT, "videos": [{"video_id": f"video{k}", "split": "test"} for k in (9, 2, 0, 1)]}
    assert list(read_references(file("videodatainfo.json", swapped)).items())[:2] == [("video9", []), ("video2", ["a", "a"])]
    file("youtube_mapping.txt", "clipA_1_2 vid1301\nclipB_3_4 vid1400\nclipC_5_6 vid1303\n")
    assert list(read_references(file("AllVideoDescriptions.txt", MSVD), split="test")) == ["vid1301", "vid1303", "vid1400"]


def test_references_of_msvd_without_the_mapping(file):
    path = file("AllVideoDescriptions.txt", MSVD)
    assert read_references(path) == {
        "clipA_1_2": ["A man.", "\ufeffHe."],
        "clipB_3_4": ["A\x85dog\u2028runs "],
        "clipC_5_6": ["A cat."],
    }
    assert error_of(ScoringError, read_references, path, split="test") == (
        f"{path}: the splits of MSVD are in youtube_mapping.txt, which is not in {path.parent}. Put it there."
    )


def test_references_of_msvd_by_split_and_name(file):
    path = file("AllVideoDescriptions.txt", MSVD)
    file("youtube_mapping.txt", MAPPING)
    assert list(read_references(path)) == ["vid1200", "vid1201", "vid1301"]
    assert read_references(path, split="train") == {"vid1200": ["A man.", "\ufeffHe."]}
    assert list(read_references(path, split="validation")) == ["vid1201"]
    assert list(read_references(path, split="test", like=["vid1301"])) == ["vid1301"]
    assert read_references(path, split="test", like={"clipC_5_6": "x"}) == {"clipC_5_6": ["A cat."]}
    assert list(read_references(path, like=["something else"])) == ["vid1200", "vid1201", "vid1301"]


@pytest.mark.parametrize(
    ("name", "content", "split", "message"),
    [
        ("r.json", {"a": ["x"]}, "test", "these references have no splits. Leave the split out, or give a corpus' own file."),
        ("r.json", {"a": [3]}, None, f"the references of video a are [3]. {REFERENCE_SHAPES}"),
        (
            "r.json",
            {"videos": [], "sentences": [{}]},
            None,
            f"not in MSR-VTT's layout (KeyError: 'video_id'). {REFERENCE_SHAPES}",
        ),
        ("r.txt", "clip caption\nclip\n", None, "line 2: 'clip' is not a clip name, a space and a caption."),
        (
            "r.json",
            {"videos": [{"video_id": "a", "split": "test"}], "sentences": [{"video_id": "a", "caption": "x"}]},
            "train",
            "no caption of split 'train' (it has test).",
        ),
        (
            "r.json",
            {"videos": [{"video_id": "a", "split": "test"}], "sentences": [{"video_id": "b", "caption": "x"}]},
            "test",
            "a caption belongs to b, which is not among the videos. Use a whole file.",
        ),
        ("r.tsv", "a\tx\n", "test", "these references have no splits. Leave the split out, or give a corpus' own file."),
    ],
)
def test_references_that_are_refused(file, name, content, split, message):
    path = file(name, content)
    assert error_of(ScoringError, read_references, path, split=split).removeprefix(str(path)).lstrip(":, ") == message


def test_an_unknown_split(tmp_path):
    error = error_of(ScoringError, read_references, tmp_path / "any.json", split="dev")
    assert error == "there is no split 'dev'. The splits are train, validation and test."


def test_the_published_corpora(stap_data):
    msvd = read_references(stap_data / "msvd/AllVideoDescriptions.txt")
    assert (len(msvd), sum(map(len, msvd.values()))) == (1970, 80839)
    sizes = {
        split: len(read_references(stap_data / "msvd/AllVideoDescriptions.txt", split=split)) for split in ("train", "test")
    }
    assert sizes == {"train": 1200, "test": 670}
    msrvtt = read_references(stap_data / "msrvtt/train_val_videodatainfo.json", split="validation")
    assert (len(msrvtt), sum(map(len, msrvtt.values()))) == (497, 9940)

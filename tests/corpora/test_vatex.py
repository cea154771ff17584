import json

import pytest

from raising import error_of
from stap.corpora.loading import load_annotations, load_corpus_with_files
from stap.corpora.problems import Problems
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

LAYOUT = "VATEX's layout: a list of objects with 'videoID', 'enCap' and 'chCap'"
TRAIN, VALIDATION, TEST = "vatex_training_v1.0.json", "vatex_validation_v1.0.json", "vatex_public_test_english_v1.1.json"


def record(video_id, english=("a cat",), chinese=("一只猫",)):
    return {"videoID": video_id, "enCap": list(english), "chCap": list(chinese)}


@pytest.fixture
def root(tmp_path):
    """The published files, one clip each; the test file has no Chinese captions."""
    (tmp_path / TRAIN).write_text(json.dumps([record("-01K1HxqPB8_000011_000021", ["A man.", "B"], ["一个男人"])]))
    (tmp_path / VALIDATION).write_text(json.dumps([record("b_000000_000010")]))
    (tmp_path / TEST).write_text(json.dumps([{"videoID": "c_000000_000010", "enCap": ["c"]}]))
    (tmp_path / "videos").mkdir()
    for name in ("-01K1HxqPB8_000011_000021.mp4", "b_000000_000010.webm", "c_000000_000010.mp4"):
        (tmp_path / "videos" / name).touch()
    return tmp_path


def test_the_split_is_that_of_the_file(root):
    corpus = load_corpus_with_files(CorpusSettings(kind="vatex", root=root))
    assert corpus.name == "VATEX"
    assert [(clip.id, clip.split, clip.path.name, clip.captions) for clip in corpus.clips] == [
        ("-01K1HxqPB8_000011_000021", "train", "-01K1HxqPB8_000011_000021.mp4", ("A man.", "B")),
        ("b_000000_000010", "validation", "b_000000_000010.webm", ("a cat",)),
        ("c_000000_000010", "test", "c_000000_000010.mp4", ("c",)),
    ]


def test_files_may_be_named_one_by_one(root):
    given = CorpusSettings(kind="vatex", captions=(root / VALIDATION, root / TEST), videos=root / "videos")
    assert [clip.split for clip in load_corpus_with_files(given).clips] == ["validation", "test"]


def test_chinese_captions_where_there_are_any(root):
    problems = Problems()
    clips = load_annotations(CorpusSettings(kind="vatex", root=root, language="chinese"), problems).clips
    assert [clip.captions for clip in clips] == [("一个男人",), ("一只猫",)]
    assert [(problem.sentence, problem.is_error) for problem in problems] == [
        (
            f"{root / TEST}: no 'chCap' in it, so test is empty. The captions of this language are not in this file.",
            False,
        )
    ]


def test_a_missing_test_file_leaves_the_others(root):
    (root / TEST).unlink()
    problems = Problems()
    clips = load_annotations(CorpusSettings(kind="vatex", root=root), problems).clips
    assert [clip.split for clip in clips] == ["train", "validation"]
    assert [problem.sentence for problem in problems] == [f"{root / TEST}: not there, so test is empty."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"videos": [], "sentences": []},
            f"no list of objects with 'videoID'. Expected {LAYOUT}. This looks like a file of MSR-VTT: read it with corpus.kind=msrvtt.",
        ),
        (
            {"images": [], "annotations": []},
            f"no list of objects with 'videoID'. Expected {LAYOUT}. This looks like captions of images (COCO), which have no videos.",
        ),
        (
            {"v_1": {"timestamps": [[0, 1]], "sentences": ["a"]}},
            f"no list of objects with 'videoID'. Expected {LAYOUT}. This looks like a file of ActivityNet Captions: "
            "cut the clips, and read a table of them with corpus.kind=folder.",
        ),
        (["a"], f"no list of objects with 'videoID'. Expected {LAYOUT}."),
        (
            [record("a", [3])],
            "{'videoID': 'a', 'enCap': [3]}. Expected text in 'videoID' and a list of texts in 'enCap'.",
        ),
    ],
)
def test_other_files_are_recognised(root, content, message):
    (root / TRAIN).write_text(json.dumps(content))
    assert (
        error_of(CorpusError, load_corpus_with_files, CorpusSettings(kind="vatex", root=root)) == f"{root / TRAIN}: {message}"
    )
    problems = Problems()
    clips = load_annotations(CorpusSettings(kind="vatex", root=root), problems).clips
    assert [clip.split for clip in clips] == ["validation", "test"]  # a check goes on with the other files
    assert [problem.sentence for problem in problems] == [f"{root / TRAIN}: {message}"]


def test_a_name_that_tells_no_split_is_refused(root):
    (root / TEST).rename(root / "more.json")
    assert error_of(CorpusError, load_annotations, CorpusSettings(kind="vatex", captions=(root / "more.json",))) == (
        f"{root / 'more.json'}: its name does not tell which split it is. Expected 'train', 'val' or 'test' in it, "
        f"as in {TRAIN}; rename it."
    )


def test_one_clip_in_two_splits_is_named(root):
    (root / TEST).write_text(json.dumps([record("b_000000_000010")]))
    assert error_of(CorpusError, load_annotations, CorpusSettings(kind="vatex", root=root)) == (
        "VATEX: two clips are called b_000000_000010, one in validation, one in test. "
        "Expected distinct names, each in one split."
    )


def test_msrvtt_recognises_vatex(root):
    (root / TRAIN).rename(root / "videodatainfo.json")
    with pytest.raises(CorpusError, match=r"This looks like a file of VATEX: read it with corpus\.kind=vatex\.$"):
        load_annotations(CorpusSettings(kind="msrvtt", root=root))

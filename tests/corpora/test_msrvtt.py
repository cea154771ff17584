import json
from collections import Counter

import pytest

from raising import error_of
from stap.corpora.loading import load_annotations, load_corpus_with_files
from stap.corpora.problems import Problems
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings

LAYOUT = "MSR-VTT's layout: an object with a list 'videos' (video_id, split) and a list 'sentences' (video_id, caption)"


def load(root, **settings):
    """The corpus with its videos."""
    return load_corpus_with_files(CorpusSettings(kind="msrvtt", root=root, **settings))


def content(videos, sentences, **more):
    return {
        "videos": [{"video_id": video, "split": split} for video, split in videos],
        "sentences": [{"video_id": video, "caption": caption} for video, caption in sentences],
        **more,
    }


@pytest.fixture
def published(tmp_path):
    """Two files and folders as MSR-VTT has them."""
    train = content(
        [("video0", "train"), ("video1", "validate")], [("video1", "A dog."), ("video0", "a cat"), ("video0", "cats")]
    )
    test = content([("video2", "test")], [("video2", "a  bird ")])
    (tmp_path / "train_val_videodatainfo.json").write_text(json.dumps(train))
    (tmp_path / "test_videodatainfo.json").write_text(json.dumps(test))
    for name in ("TrainValVideo/video0.mp4", "TrainValVideo/video1.avi", "TestVideo/video2.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def whole(tmp_path, value):
    path = tmp_path / "videodatainfo.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    (tmp_path / "video0.mp4").touch()
    return path


def test_published_files_are_read(published):
    corpus = load_corpus_with_files(CorpusSettings(kind="msrvtt", root=published))
    assert corpus.name == "MSR-VTT"
    assert [(clip.id, clip.split, clip.captions) for clip in corpus.clips] == [
        ("video0", "train", ("a cat", "cats")),
        ("video1", "validation", ("A dog.",)),
        ("video2", "test", ("a  bird ",)),  # unchanged
    ]
    assert [clip.path.relative_to(published).as_posix() for clip in corpus.clips] == [
        "TrainValVideo/video0.mp4",
        "TrainValVideo/video1.avi",  # whatever its suffix
        "TestVideo/video2.mp4",
    ]
    assert all(clip.facts is None for clip in corpus.clips)


def test_videos_may_lie_in_one_other_folder(published, tmp_path_factory):
    videos = tmp_path_factory.mktemp("all")
    for number in range(3):
        (videos / f"video{number}.mp4").touch()
    corpus = load(published, videos=videos)
    assert [clip.path for clip in corpus.clips] == [videos / f"video{number}.mp4" for number in range(3)]


def test_missing_videos_are_an_error_or_left_out(published):
    (published / "TrainValVideo" / "video1.avi").unlink()
    assert error_of(CorpusError, load, published) == (
        f"{published}: 1 of 3 clips have no video file: {published / 'TrainValVideo' / 'video1.mp4'}. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one."
    )
    assert [clip.id for clip in load(published, available_only=True).clips] == ["video0", "video2"]


def test_no_video_at_all_is_an_error_even_then(published):
    for path in published.rglob("video*.*"):
        path.unlink()
    with pytest.raises(CorpusError) as caught:
        load(published, available_only=True)
    folders = f"{published / 'TestVideo'}, {published / 'TrainValVideo'}"
    assert str(caught.value) == f"{published}: no clip has a video file. Expected them in {folders}."


def test_a_missing_file_is_named(published):
    file = published / "test_videodatainfo.json"
    file.unlink()
    assert error_of(CorpusError, load, published) == f"{file}: no such file. Expected {LAYOUT}."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not JSON (line 1: Expecting property name enclosed in double quotes). Expected {layout}."),
        ("[]", "no list of objects called 'videos'. Expected {layout}."),
        ({"videos": [], "sentences": ["a cat"]}, "no list of objects called 'sentences'. Expected {layout}."),
        (
            content([("video0", "train")], [("video0", "a"), ("video7", "b")]),
            "a sentence belongs to video7, which is not among the videos. Expected {layout}.",
        ),
        (
            content([("video0", "train"), ("video1", "test")], [("video0", "a")]),
            "1 of 2 videos have no sentence: video1. Expected at least one each.",
        ),
        (
            content([("video0", "holdout")], [("video0", "a")]),
            "video0 is in split 'holdout'. Expected one of train, validate, test.",
        ),
        (
            content([("video0", "train")], [("video0", None)]),
            "'caption' is None in {{'video_id': 'video0', 'caption': None}}. Expected text.",
        ),
    ],
)
def test_malformed_files_are_explained(tmp_path, value, message):
    path = whole(tmp_path, value)
    assert error_of(CorpusError, load, tmp_path) == f"{path}: {message.format(layout=LAYOUT)}"


def test_another_encoding_is_explained(tmp_path):
    path = whole(tmp_path, "")
    path.write_bytes('{"videos": "café"}'.encode("latin1"))
    assert error_of(CorpusError, load, tmp_path) == (
        f"{path}, line 1: not UTF-8 (byte 0xe9 at 15 of the line). Expected {LAYOUT}. "
        "Convert it, for example: iconv -f latin1 -t utf-8 videodatainfo.json"
    )


def test_two_videos_of_one_name_are_refused(tmp_path):
    whole(tmp_path, content([("video0", "train"), ("video0", "test")], [("video0", "a")]))
    with pytest.raises(CorpusError, match="two clips are called video0"):
        load(tmp_path)


def test_facts_are_attached_and_must_be_complete(tmp_path):
    whole(tmp_path, content([("video0", "train")], [("video0", "a")], info={"name": "scenes"}))
    (tmp_path / "facts.json").write_text(json.dumps({"video0": {"brief": True}}))
    corpus = load(tmp_path)
    assert corpus.name == "scenes"
    assert corpus.clips[0].facts == {"brief": True}
    (tmp_path / "facts.json").write_text("{}")
    assert error_of(CorpusError, load, tmp_path) == (
        f"{tmp_path / 'facts.json'}: no facts of 1 videos, the first is video0. Write the scenes again, or remove the file."
    )


@pytest.mark.slow
def test_the_published_counts(stap_data):
    corpus = load_annotations(CorpusSettings(kind="msrvtt", root=stap_data / "msrvtt"))
    assert corpus.name == "MSR-VTT"
    clips = corpus.clips
    assert Counter(clip.split for clip in clips) == {"train": 6513, "validation": 497, "test": 2990}
    assert sum(len(clip.captions) for clip in clips) == 200_000
    assert {len(clip.captions) for clip in clips} == {20}


@pytest.mark.slow
def test_the_real_clips_are_found(stap_data):
    corpus = load_corpus_with_files(CorpusSettings(kind="msrvtt", root=stap_data / "msrvtt", available_only=True))
    files = [*(stap_data / "msrvtt").glob("T*/*.mp4")]
    assert sorted(clip.path for clip in corpus.clips) == sorted(files)
    assert corpus.split("train")
    assert corpus.split("test")


def test_a_check_goes_on_after_a_missing_file_and_wrong_records(published):
    (published / "test_videodatainfo.json").unlink()
    file = published / "train_val_videodatainfo.json"
    videos = [("video0", "train"), ("video1", "holdout"), ("video0", "validate"), ("video3", "train")]
    sentences = [("video0", "a"), ("video1", "b"), ("video7", "c"), ("video0", None), ("video0", "d")]
    file.write_text(json.dumps(content(videos, sentences)))
    problems = Problems()
    corpus = load_annotations(CorpusSettings(kind="msrvtt", root=published), problems)
    assert [(clip.id, clip.split, clip.captions) for clip in corpus.clips] == [("video0", "train", ("a", "d"))]
    assert [(problem.kind, problem.sentence) for problem in problems] == [
        ("split", f"{file}: video1 is in split 'holdout'. Expected one of train, validate, test."),
        ("name", f"{file}: a sentence belongs to video7, which is not among the videos. Expected {LAYOUT}."),
        ("line", f"{file}: 'caption' is None in {{'video_id': 'video0', 'caption': None}}. Expected text."),
        ("no caption", f"{file}: 1 of 4 videos have no sentence: video3. Expected at least one each."),
        ("file", f"{published / 'test_videodatainfo.json'}: no such file. Expected {LAYOUT}."),
        (
            "split",
            "MSR-VTT: two clips are called video0, one in train, one in validation. Expected distinct names, each in one split.",
        ),
    ]

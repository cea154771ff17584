"""Predictions from files: every shape that is read, and what is refused, with the sentence."""

import json

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.predictions import read_predictions
from stap.video import VIDEO_SUFFIXES

EXPECTED = {"video1": "a man\u2028runs", "video2": "a dog"}

PREDICTION_SHAPES = (
    'Expected JSON: {"video1": "a caption", ...}, {"video1": ["a caption"], ...}, '
    '[{"video_id": "video1", "caption": "a caption"}, ...], or one of these under "predictions", "captions" or "results".'
)


@pytest.fixture
def file(tmp_path):
    """Write text or JSON into a file of this name."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        EXPECTED,
        {video: [caption] for video, caption in EXPECTED.items()},
        [{"video_id": video, "caption": caption} for video, caption in EXPECTED.items()],
        [{"image_id": video, "caption": [caption]} for video, caption in EXPECTED.items()],
        [{"id": video, "caption": caption, "score": -1.5} for video, caption in EXPECTED.items()],
        [{"path": f"clips/{video}.mp4", "caption": caption} for video, caption in EXPECTED.items()],
        {"model": "x", "predictions": EXPECTED},
        {"reported": {"CIDEr": 0.5}, "captions": EXPECTED},
        {"predictions": [{"video_id": video, "caption": caption} for video, caption in EXPECTED.items()]},
        {video: [{"caption": caption}] for video, caption in EXPECTED.items()},  # as pycocoevalcap takes them
        {f"{video}.mp4": caption for video, caption in EXPECTED.items()},
        {
            "version": "VERSION 1.0",  # MSR-VTT's challenge
            "result": [{"video_id": video, "caption": caption} for video, caption in EXPECTED.items()],
        },
        {"results": {video: [{"sentence": caption, "timestamp": [0, 1]}] for video, caption in EXPECTED.items()}},
    ],
)
def test_shapes_of_predictions(file, content):
    assert read_predictions(file("predictions.json", content)) == EXPECTED


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_the_name_of_any_video_file_stands_for_its_id(file, suffix):
    assert read_predictions(file("p.json", {f"clips/clip{suffix}": "a", f"clips/OTHER{suffix.upper()}": "b"})) == {
        "clip": "a",
        "OTHER": "b",
    }


def test_a_byte_order_mark_and_numbers_as_ids(file):
    assert read_predictions(file("p.json", '\ufeff[{"image_id": 7, "caption": "a"}]')) == {"7": "a"}


def test_a_video_named_like_a_wrapper(file):
    assert read_predictions(file("p.json", {"captions": "a man"})) == {"captions": "a man"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": "x", "a": "y"}', "'a' occurs twice in one object. Give each video once."),
        (
            [{"id": "a", "caption": "x"}, {"id": "a", "caption": "x"}],
            "video a has more than one caption. Give exactly one per video.",
        ),
        ({"a": ["x", "y"]}, "video a has more than one caption. Give exactly one per video."),
        ({"a": []}, "video a has no caption. Give exactly one per video."),
        ({"a.mp4": "x", "a.avi": "x"}, "video a has more than one caption. Give exactly one per video."),
        ([{"id": None, "caption": "x"}], f"entry 0 of the list has no video id and caption. {PREDICTION_SHAPES}"),
        ({"a": None}, f"the prediction for video a is None. {PREDICTION_SHAPES}"),
        ([{"video_id": "a"}], f"entry 0 of the list has no video id and caption. {PREDICTION_SHAPES}"),
        (["a man"], f"entry 0 of the list has no video id and caption. {PREDICTION_SHAPES}"),
        ('"a man"', f"holds a string. {PREDICTION_SHAPES}"),
        ("null", f"holds null. {PREDICTION_SHAPES}"),
        ("a man", f"not JSON (Expecting value: line 1 column 1 (char 0)). {PREDICTION_SHAPES}"),
    ],
)
def test_predictions_that_are_refused(file, content, message):
    path = file("p.json", content)
    assert error_of(ScoringError, read_predictions, path) == f"{path}: {message}"


LINES_OF_JSON = "".join(json.dumps({"video_id": video, "caption": caption}) + "\n" for video, caption in EXPECTED.items())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", LINES_OF_JSON),
        ("p.tsv", "video1\ta man\u2028runs\nvideo2\ta dog\n"),
        ("p.tsv", "\ufeffvideo_id\tcaption\r\nvideo1\ta man\u2028runs\r\nvideo2\ta dog\r\n"),
        ("p.txt", "clips/video1.avi\ta man\u2028runs\nclips/video2.mp4\ta dog"),  # as `stap caption` prints
        ("p.txt", "a man\u2028runs\na dog\n"),
        ("p.txt", "a man\u2028runs\r\na dog"),
    ],
)
def test_lines(file, name, content):
    assert read_predictions(file(name, content), order=["video1", "video2"]) == EXPECTED


def test_a_tab_inside_a_caption_stays(file):
    assert read_predictions(file("p.tsv", "a\tone\ttwo\n")) == {"a": "one\ttwo"}
    assert read_predictions(file("p.txt", "one\ttwo\nthree\n"), order=["a", "b"]) == {"a": "one\ttwo", "b": "three"}


def test_empty_lines_of_plain_text_are_captions(file):
    assert read_predictions(file("p.txt", "\na dog\n\n"), order=["a", "b", "c"]) == {"a": "", "b": "a dog", "c": ""}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", '{"id": "a", "caption": "x"}\nx\n', 'line 2: not JSON (Expecting value at column 1). Expected a line '
         '{"video_id": "video1", "caption": "a caption"} for each video.'),
        ("p.jsonl", '["a", "x"]\n', 'line 1 has no video id and caption. Expected a line '
         '{"video_id": "video1", "caption": "a caption"} for each video.'),
        ("p.tsv", "a\tx\nb x\n", "line 2: 'b x' is not a video id, a tab and a caption."),
        ("p.tsv", "a\tx\na\tx\n", "video a has more than one caption. Give exactly one per video."),
        ("p.txt", "x\ny\n", "2 lines, and the references have 3 videos. Expected one caption per line, ordered as the references, "
         "vid1 to vid3; or a .tsv file with ids."),
        ("p.txt", "x\ny\nz\n\n", "4 lines, and the references have 3 videos. Expected one caption per line, ordered as the "
         "references, vid1 to vid3; or a .tsv file with ids."),
    ],
)  # fmt: skip
def test_lines_that_are_refused(file, name, content, message):
    path = file(name, content)
    assert (
        error_of(ScoringError, read_predictions, path, order=["vid1", "vid2", "vid3"]).removeprefix(str(path)).lstrip(":, ")
        == message
    )


def test_plain_text_needs_the_order(file):
    path = file("p.txt", "a man\n")
    assert error_of(ScoringError, read_predictions, path) == (
        f"{path}: plain text has no video ids, so the order of the videos must be given. Give it, or a .tsv file."
    )

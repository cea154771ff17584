"""Predictions from files: every shape that is read, and what is refused, with the sentence."""

import json

import pytest

from stap.errors import ScoringError
from stap.scoring.predictions import read_predictions

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
    ],
)
def test_shapes_of_predictions(file, content):
    assert read_predictions(file("predictions.json", content)) == EXPECTED


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
            "video a has more than one caption. Give exactly one a video.",
        ),
        ({"a": ["x", "y"]}, "video a has more than one caption. Give exactly one a video."),
        ({"a": []}, "video a has no caption. Give exactly one a video."),
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
    with pytest.raises(ScoringError) as raised:
        read_predictions(path)
    assert str(raised.value) == f"{path}: {message}"

"""Names of videos: which clip a path means, and that two clips of one base name are never taken for each other."""

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.matching import distinct_ids, match_names

BOTH = ["kitchen/0001", "street/0001"]


@pytest.mark.parametrize(
    ("name", "ids", "means"),
    [
        ("films/kitchen/0001.mp4", BOTH, "kitchen/0001"),
        ("/data/films/street/0001.MKV", BOTH, "street/0001"),
        ("./kitchen/0001", BOTH, "kitchen/0001"),
        ("films/kitchen/0001.mp4", ["0001"], "0001"),
        ("0001.mp4", ["kitchen/0001"], "kitchen/0001"),
        ("films/kitchen/0001.mp4", ["0001", "kitchen/0001"], "kitchen/0001"),
        ("0001.mp4", ["0001", "kitchen/0001"], "0001"),
        ("a/video0.gif", ["video0.avi", "video0.gif"], "video0.gif"),
        ("video7", ["video7", "video70"], "video7"),
        ("films/xkitchen/0001.mp4", ["kitchen/0001"], None),
        ("films/other/0002.mp4", BOTH, None),
        ("other/0001.mp4", BOTH, None),
        ("a\\tb.mp4", ["x/a\tb"], "x/a\tb"),  # as a line of `stap caption` shows it
        ("caf\\udce9.mp4", ["caf\udce9"], "caf\udce9"),
        ("v1.2", ["v1.2"], "v1.2"),
        ("", ["a"], None),
    ],
)
def test_what_a_name_means(name: str, ids: list[str], means: str | None) -> None:
    assert match_names([name], ids) == ({} if means is None else {name: means})


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        (["0001.mp4"], BOTH, "0001.mp4 may be kitchen/0001 or street/0001. Name the video by its path, such as kitchen/0001."),
        (
            ["a/video0.mp4"],
            ["video0.avi", "video0.gif"],
            "a/video0.mp4 may be video0.avi or video0.gif. Name the video by its path, such as video0.avi.",
        ),
        (
            ["kitchen/0001.mp4", "street/0001.mp4"],
            ["0001"],
            "kitchen/0001.mp4 and street/0001.mp4 would both be scored as 0001. Give one caption per video; of two videos of one "
            "name, keep the folders that tell them apart in the references.",
        ),
    ],
)
def test_an_ambiguous_name_is_an_error_that_names_both(names: list[str], ids: list[str], message: str) -> None:
    assert error_of(ScoringError, match_names, names, ids) == message


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a/x.mp4", "b/y.mp4", "z"], ["x", "y", "z"]),
        (["a/x.mp4", "b/x.mp4", "b/y.mp4"], ["a/x", "b/x", "b/y"]),
        (["a.mp4", "a.avi"], ["a", "a"]),  # which the readers refuse
        (["a.mp4", "a"], ["a", "a"]),
    ],
)
def test_ids_of_names(names: list[str], ids: list[str]) -> None:
    assert list(distinct_ids(names).values()) == ids

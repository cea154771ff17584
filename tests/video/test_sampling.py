from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stap.video.sampling import choose_frames


def frames_shown(pts: list[int], start: int, end: int, count: int) -> list[int]:
    """The definition, in exact fractions: at each wanted time, the last frame that has appeared by then."""
    if len(pts) <= count:
        return list(range(len(pts)))
    chosen = []
    for k in range(count):
        time = start + (k + Fraction(1, 2)) * Fraction(end - start, count)
        shown = max((place for place, appears in enumerate(pts) if appears <= time), default=0)
        if shown not in chosen:
            chosen.append(shown)
    return chosen


@st.composite
def timelines(draw: st.DrawFn) -> tuple[list[int], int, int]:
    start = draw(st.integers(-(10**12), 10**12))
    gaps = draw(st.lists(st.integers(1, 10**6) | st.just(512), min_size=1, max_size=60))
    pts = [start]
    for gap in gaps[:-1]:
        pts.append(pts[-1] + gap)
    return pts, start, pts[-1] + gaps[-1]


@given(timelines(), st.integers(1, 40))
def test_each_frame_is_the_one_shown_at_its_time(timeline, count):
    pts, start, end = timeline
    chosen = choose_frames(pts, start, end, count)
    assert chosen == frames_shown(pts, start, end, count)
    assert chosen == sorted(set(chosen))
    assert 1 <= len(chosen) <= count


@given(timelines(), st.integers(1, 40), st.integers(1, 1000), st.integers(-(10**9), 10**9))
def test_the_choice_knows_no_clock(timeline, count, finer, later):
    pts, start, end = timeline
    again = choose_frames([later + finer * stamp for stamp in pts], later + finer * start, later + finer * end, count)
    assert again == choose_frames(pts, start, end, count)


@pytest.mark.parametrize(
    ("frames", "count", "expected"),
    [
        (10, 1, [5]),
        (10, 2, [2, 7]),
        (10, 5, [1, 3, 5, 7, 9]),
        (9, 3, [1, 4, 7]),
        (10, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (3, 30, [0, 1, 2]),
        (1, 1, [0]),
        (0, 4, []),
    ],
)
def test_constant_frame_rate(frames, count, expected):
    assert choose_frames(range(0, 512 * frames, 512), 0, 512 * frames, count) == expected


def test_a_frame_that_appears_exactly_at_a_wanted_time_is_shown():
    assert choose_frames([0, 5, 10, 15], 0, 20, 2) == [1, 3]
    assert choose_frames([0, 6, 10, 16], 0, 20, 2) == [0, 2]


def test_a_long_still_passage_gives_its_frame_once():
    assert choose_frames([0, 1, 2, 3, 97, 98, 99], 0, 100, 5) == [3]

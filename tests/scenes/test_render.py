"""What a scene is said to show is measured on its pixels: where the coloured object is, how large, and when."""

import numpy as np
import pytest

from stap.scenes.background import drifting_background
from stap.scenes.dials import SceneDials
from stap.scenes.lexicon import COLOURS, PAIR_EVENTS, SINGLE_EVENTS
from stap.scenes.plan import Scene, SceneEvent, SceneObject
from stap.scenes.render import render

PLAIN = SceneDials(noise=0, texture=0, max_distractors=0)
NUMBERS = range(3)


def scene(*events, number=0, brief=False, size="medium", shape="square", distractors=0):
    """Red does it; in a pair, with or to blue."""
    if events[0] in PAIR_EVENTS:
        objects = (SceneObject("red", shape, size), SceneObject("blue", "circle", size))
        return Scene(number, 3, "train", "pair", objects, (SceneEvent(events[0], (0, 1)),), brief, distractors)
    kind = "single" if len(events) == 1 else "sequence"
    told = tuple(SceneEvent(event, (0,)) for event in events)
    return Scene(number, 3, "train", kind, (SceneObject("red", shape, size),), told, brief, distractors)


def pixels_of(frames, colour):
    """(T, h, w) bool: near the colour."""
    return np.abs(frames.astype(int) - COLOURS[colour]).max(axis=-1) < 45


def track(frames, colour="red"):
    """Centres (T, 2) as x, y and areas (T,) in pixels; centres are nan where the colour is not seen."""
    centres, areas = [], []
    for seen in pixels_of(frames, colour):
        y, x = np.nonzero(seen)
        areas.append(len(x))
        centres.append((x.mean(), y.mean()) if len(x) else (np.nan, np.nan))
    return np.array(centres), np.array(areas)


def turns(centres, around):
    """Signed turns of the centres around a point."""
    away = centres - around
    angles = np.unwrap(np.arctan2(away[:, 1], away[:, 0]))
    return (angles[-1] - angles[0]) / (2 * np.pi)


def steps_back(values):
    """How often the direction of a path changes, small wobbles left out."""
    moves = np.diff(values)
    signs = np.sign(moves[np.abs(moves) > 0.5])
    return int((signs[1:] != signs[:-1]).sum())


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("event", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)], ids=lambda value: str(value)
)
def test_straight_moves_cross_a_third_of_the_frame_one_way(event, axis, sign, number):
    centres, _ = track(render(scene(event, number=number), PLAIN))
    assert (centres[-1, axis] - centres[0, axis]) * sign > 96 / 3
    assert (np.diff(centres[:, axis]) * sign > -0.3).all()
    assert np.ptp(centres[:, 1 - axis]) < 96 / 8


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("brief", [False, True])
def test_circling_goes_around_once_or_more(number, brief):
    centres, _ = track(render(scene("circle", number=number, brief=brief), PLAIN))
    middle = (centres.max(axis=0) + centres.min(axis=0)) / 2
    assert 0.95 < abs(turns(centres, middle)) < 1.7
    assert np.ptp(centres, axis=0).min() > 25


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("brief", "corners"), [(False, 3), (True, 2)])
def test_zigzag_turns_back_across_while_it_gets_along(number, brief, corners):
    centres, _ = track(render(scene("zigzag", number=number, brief=brief, size="small"), PLAIN))
    back = [steps_back(centres[:, axis]) for axis in (0, 1)]
    assert sorted(back) == [0, corners]
    across = int(np.argmax(back))
    assert np.ptp(centres[:, across]) > 20
    assert abs(centres[-1, 1 - across] - centres[0, 1 - across]) > 96 / 3


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("brief", "hops"), [(False, 3), (True, 2)])
def test_bouncing_comes_down_again_and_again(number, brief, hops):
    centres, _ = track(render(scene("bounce", number=number, brief=brief), PLAIN))
    height = centres[:, 1].max() - centres[:, 1]
    assert height.max() > 20
    in_air = height > height.max() / 2
    assert (np.diff(in_air.astype(int)) == 1).sum() == hops
    assert height[0] < 1
    assert height[-1] < 1


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("event", "sign"), [("grow", 1), ("shrink", -1)])
def test_growing_and_shrinking_change_the_area_five_times(event, sign, number):
    centres, areas = track(render(scene(event, number=number), PLAIN))
    assert (areas[-1] / areas[0]) ** sign > 4.5
    assert np.ptp(centres, axis=0).max() < 1


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("shape", ["square", "triangle", "star", "cross", "heart"])
def test_spinning_changes_the_outline_in_place(shape, number):
    frames = render(scene("spin", number=number, shape=shape, size="large"), PLAIN)
    seen = pixels_of(frames, "red")
    first, changed = seen[0], (seen != seen[0]).sum(axis=(1, 2))
    assert changed.max() > first.sum() * 0.15
    centres, areas = track(frames)
    assert np.ptp(centres, axis=0).max() < 4
    assert np.ptp(areas) < areas.mean() * 0.1


@pytest.mark.parametrize("number", NUMBERS)
def test_a_flash_is_seen_for_a_moment(number):
    frames = render(scene("flash", number=number, brief=True), PLAIN)
    _, areas = track(frames)
    seen = areas > 0
    assert 4 <= seen.sum() <= len(frames) / 4
    assert (np.diff(seen.astype(int)) == 1).sum() == 1
    assert not seen[0]
    assert not seen[-1]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("event", ["left", "grow", "collide", "orbit"])
def test_a_brief_event_takes_about_a_quarter_of_the_time(event, number):
    frames = render(scene(event, number=number, brief=True), PLAIN)
    moving = (frames[1:] != frames[:-1]).any(axis=(1, 2, 3))
    assert 0.2 < moving.mean() < 0.36
    start, end = np.flatnonzero(moving)[[0, -1]]
    assert moving[start : end + 1].all()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_sequence_happens_in_its_order(number):
    up_then_right, _ = track(render(scene("up", "right", number=number, size="small"), PLAIN))
    half = len(up_then_right) // 2
    first, second = up_then_right[half] - up_then_right[0], up_then_right[-1] - up_then_right[half]
    assert first[1] < -20
    assert abs(first[0]) < 8
    assert second[0] > 20
    assert abs(second[1]) < 8
    _, areas = track(render(scene("shrink", "grow", number=number), PLAIN))
    half = len(areas) // 2
    assert areas[half] < areas[0] / 4
    assert areas[half] < areas[-1] / 4


@pytest.mark.parametrize("number", NUMBERS)
def test_colliding_objects_come_together_and_part(number):
    frames = render(scene("collide", number=number), PLAIN)
    (red, _), (blue, _) = track(frames), track(frames, "blue")
    apart = np.hypot(*(red - blue).T)
    nearest = int(apart.argmin())
    assert 0.3 < nearest / len(frames) < 0.7
    assert apart[nearest] < 25
    assert apart[0] > apart[nearest] + 15
    assert apart[-1] > apart[nearest] + 10
    for centres in (red, blue):
        assert np.ptp(centres, axis=0).max() > 8


@pytest.mark.parametrize("number", NUMBERS)
def test_the_follower_goes_the_same_way_behind_the_other(number):
    frames = render(scene("follow", number=number, size="small"), PLAIN)
    (red, _), (blue, _) = track(frames), track(frames, "blue")
    way = blue[-1] - blue[0]
    way = way / np.hypot(*way)
    assert (red[-1] - red[0]) @ way > 20
    assert (((blue - red) @ way) > 8).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_passing_behind_is_hidden_in_the_middle_and_seen_on_both_sides(number):
    frames = render(scene("behind", number=number), PLAIN)
    (red, red_area), (blue, blue_area) = track(frames), track(frames, "blue")
    assert red_area.min() < red_area.max() / 3
    assert np.ptp(blue_area) < blue_area.max() * 0.06  # only its soft edge changes
    assert np.ptp(blue, axis=0).max() < 1
    start, end = red[0] - blue[0], red[-1] - blue[0]
    assert start @ end < -100


@pytest.mark.parametrize("number", NUMBERS)
def test_orbiting_goes_around_the_other(number):
    frames = render(scene("orbit", number=number), PLAIN)
    (red, _), (blue, _) = track(frames), track(frames, "blue")
    assert np.ptp(blue, axis=0).max() < 1
    assert 0.9 < abs(turns(red, blue[0])) < 1.6


@pytest.mark.parametrize("event", [*SINGLE_EVENTS, *PAIR_EVENTS])
@pytest.mark.parametrize("size", ["small", "large"])
def test_objects_stay_inside_the_frame(event, size):
    for number in NUMBERS:
        frames = render(scene(event, number=number, size=size, brief=event == "flash"), PLAIN)
        edges = np.concatenate([frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]], axis=1)
        background = np.median(frames, axis=(0, 1, 2))
        assert np.abs(edges - background).max() < 60, f"number {number}"


def test_sizes_differ_clearly():
    areas = [np.median(track(render(scene("left", size=size), PLAIN))[1]) for size in ("small", "medium", "large")]
    assert areas[1] / areas[0] > 1.7
    assert areas[2] / areas[1] > 1.7


def test_the_strongest_texture_stays_between_black_and_white():
    """Drawing relies on it: a larger difference of colours would overflow."""
    extremes = [drifting_background(2, 96, 40, np.random.default_rng(seed)) for seed in range(12)]
    assert min(canvas.min() for canvas in extremes) == 0
    assert max(canvas.max() for canvas in extremes) <= 255


def test_a_scene_looks_the_same_every_time_and_its_number_changes_it():
    dials = SceneDials()
    first = render(scene("left", distractors=2), dials)
    assert first.dtype == np.uint8
    assert first.shape[1:] == (96, 96, 3)
    np.testing.assert_array_equal(first, render(scene("left", distractors=2), dials))
    other = render(scene("left", number=1, distractors=2), dials)
    assert first.shape != other.shape or (first != other).any()


def test_length_and_size_follow_the_dials():
    frames = [render(scene("left", number=n), SceneDials(pixels=64, seconds=2, frame_rate=10)) for n in range(20)]
    assert {clip.shape[1:] for clip in frames} == {(64, 64, 3)}
    lengths = [len(clip) for clip in frames]
    assert min(lengths) >= 18
    assert max(lengths) <= 22
    assert len(set(lengths)) > 1


def test_the_background_is_textured_noisy_drifting_and_grey():
    for number in range(6):
        frames = render(scene("flash", number=number, brief=True), SceneDials(max_distractors=0))
        empty = frames[:3].astype(float)  # before the flash
        assert empty[0].mean(axis=-1).std() > 10  # texture
        saturation = np.ptp(empty.mean(axis=(0, 1, 2)))
        assert saturation < 40
    still = render(scene("flash", brief=True), SceneDials(texture=0)).astype(float)
    assert still[1].std(axis=(0, 1)) == pytest.approx(6, abs=0.6)  # the noise alone
    assert np.corrcoef(still[0].ravel() - still[0].mean(), still[1].ravel() - still[1].mean())[0, 1] < 0.2  # new in each frame


def test_the_texture_drifts_in_one_direction():
    frames = render(scene("flash", number=2, brief=True), SceneDials(noise=0)).astype(float).mean(axis=-1)
    middle = frames[0, 34:62, 34:62]
    shifts = [(dy, dx) for dy in range(-34, 35) for dx in range(-34, 35)]

    def shift_at(index):
        differences = [np.abs(frames[index, 34 + dy : 62 + dy, 34 + dx : 62 + dx] - middle).mean() for dy, dx in shifts]
        assert min(differences) < 1
        return np.array(shifts[int(np.argmin(differences))])

    half, whole = shift_at(len(frames) // 2), shift_at(len(frames) - 1)
    assert np.hypot(*whole) > 4
    assert np.abs(whole - 2 * half).max() <= 2


def test_distractors_are_smaller_than_small_objects_and_stay_there():
    frames = render(scene("flash", size="small", brief=True, distractors=2), SceneDials(noise=0, texture=0)).astype(int)
    background = np.median(frames[0], axis=(0, 1))
    extra = (np.abs(frames[0] - background).max(axis=-1) > 40).sum()
    always = (np.abs(frames - background).max(axis=-1) > 40).sum(axis=(1, 2))
    _, area = track(frames.astype(np.uint8))
    assert 20 < extra / 2 < area.max() * 0.65
    assert always.min() > extra * 0.7

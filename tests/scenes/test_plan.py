import itertools
from collections import Counter

import pytest

from raising import error_of
from stap.errors import CorpusError
from stap.scenes.dials import SceneDials
from stap.scenes.lexicon import COLOURS, PAIR_EVENTS, SHAPES, SINGLE_EVENTS, SPINNING_SHAPES
from stap.scenes.plan import Combination, combinations, held_out_combinations, plan_scenes

EVENTS = (*SINGLE_EVENTS, *PAIR_EVENTS)


@pytest.fixture(scope="module")
def scenes():
    return plan_scenes(2400, 1, SceneDials())


def combinations_of(scene):
    pairs = [(scene.objects[index], event.event) for event in scene.events for index in event.objects]
    return {Combination(thing.colour, thing.shape, event) for thing, event in pairs}


def test_the_variety_that_the_corpus_promises():
    assert len(COLOURS) >= 8
    assert len(SHAPES) >= 6
    assert len(EVENTS) == 15
    assert {"left", "right", "up", "down", "circle", "zigzag", "grow", "shrink", "spin", "flash", "bounce"} == set(
        SINGLE_EVENTS
    )
    assert {"collide", "follow", "behind", "orbit"} == set(PAIR_EVENTS)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 77])
def test_each_event_holds_out_one_shape_of_each_colour(seed):
    held_out = held_out_combinations(seed)
    for event in EVENTS:
        mine = [c for c in held_out if c.event == event]
        assert Counter(c.colour for c in mine) == dict.fromkeys(COLOURS, 1)
        shapes = Counter(c.shape for c in mine)
        assert set(shapes) == set(SPINNING_SHAPES if event == "spin" else SHAPES)
        assert max(shapes.values()) <= 2
    possible = sum(len(combinations(event)) for event in EVENTS)
    assert len(held_out) == 8 * 15
    assert possible == 14 * 8 * 7 + 8 * 5


def test_the_splits_have_the_promised_sizes(scenes):
    assert Counter(scene.split for scene in scenes) == {"train": 1900, "validation": 200, "test": 300}
    assert [scene.number for scene in scenes] == list(range(2400))


def test_test_scenes_show_only_what_training_and_validation_never_show(scenes):
    seen = {c for scene in scenes if scene.split != "test" for c in combinations_of(scene)}
    tested = [combinations_of(scene) for scene in scenes if scene.split == "test"]
    assert all(wanted and not wanted & seen for wanted in tested)
    assert all(scene.facts()["held_out"] == (scene.split == "test") for scene in scenes)


def test_validation_scenes_show_seen_combinations(scenes):
    trained = {c for scene in scenes if scene.split == "train" for c in combinations_of(scene)}
    validated = {c for scene in scenes if scene.split == "validation" for c in combinations_of(scene)}
    assert validated <= trained


def test_training_shows_every_pair_of_values_in_other_combinations(scenes):
    trained = {c for scene in scenes if scene.split == "train" for c in combinations_of(scene)}
    visible = {c for event in EVENTS for c in combinations(event)}
    for pair in (lambda c: (c.colour, c.shape), lambda c: (c.colour, c.event), lambda c: (c.shape, c.event)):
        assert {pair(c) for c in trained} == {pair(c) for c in visible}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_mixes_the_kinds_alike(scenes, split):
    kinds = Counter(scene.kind for scene in scenes if scene.split == split)
    total = kinds.total()
    assert kinds["pair"] / total == pytest.approx(0.28, abs=0.01)
    assert kinds["sequence"] / total == pytest.approx(0.30, abs=0.01)
    assert set(kinds) == {"single", "sequence", "pair"}


def test_single_events_come_equally_often(scenes):
    counts = Counter(scene.events[0].event for scene in scenes if scene.kind == "single" and scene.split == "train")
    assert set(counts) == set(SINGLE_EVENTS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_scenes_can_be_told_apart(scenes):
    for scene in scenes:
        first, *rest = scene.objects
        assert all((first.colour, first.shape) != (other.colour, other.shape) for other in rest)
        assert len({event.event for event in scene.events}) == len(scene.events)
        if scene.events[0].event == "behind":
            sizes = ["small", "medium", "large"]
            assert sizes.index(scene.objects[0].size) <= sizes.index(scene.objects[1].size)
        if any(event.event == "spin" for event in scene.events):
            assert first.shape in SPINNING_SHAPES


def test_one_to_three_objects_by_default(scenes):
    totals = Counter(len(scene.objects) + scene.distractors for scene in scenes)
    assert set(totals) == {1, 2, 3}
    assert min(totals.values()) > 300


def test_the_same_seed_gives_the_same_scenes_and_another_seed_others():
    assert plan_scenes(50, 4, SceneDials()) == plan_scenes(50, 4, SceneDials())
    assert plan_scenes(50, 4, SceneDials()) != plan_scenes(50, 5, SceneDials())


def test_dials_move_their_shares():
    def facts(**dials):
        return [scene.facts() for scene in plan_scenes(300, 1, SceneDials(**dials))]

    assert all(f["small"] for f in facts(small_share=1))
    assert not any(f["small"] for f in facts(small_share=0))
    assert all(f["brief"] for f in facts(brief_share=1))
    flashes = [f["events"][0]["event"] == "flash" for f in facts(brief_share=0)]
    assert [f["brief"] for f in facts(brief_share=0)] == flashes
    assert {f["distractors"] for f in facts(max_distractors=0)} == {0}
    assert {f["distractors"] for f in facts(max_distractors=6)} == set(range(7))
    assert {f["kind"] for f in facts(two_object_share=1, sequence_share=0)} == {"pair"}
    assert {f["kind"] for f in facts(two_object_share=0, sequence_share=1)} == {"sequence"}


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_has_held_out_sequences_and_pairs(seed):
    scenes = plan_scenes(200, seed, SceneDials())
    tested = Counter(scene.kind for scene in scenes if scene.split == "test")
    assert set(tested) == {"single", "sequence", "pair"}


def test_the_smallest_corpus_has_a_scene_in_each_split():
    assert [scene.split for scene in plan_scenes(3, 1, SceneDials())] == ["train", "validation", "test"]


def test_combinations_of_spinning_leave_out_round_shapes():
    assert {c.shape for c in combinations("spin")} == set(SHAPES) - {"circle", "ring"}
    assert len(set(itertools.chain.from_iterable(combinations(event) for event in EVENTS))) == 824


def test_dials_report_all_problems_at_once():
    assert error_of(CorpusError, SceneDials, pixels=47, small_share=1.5, two_object_share=0.8, sequence_share=0.7) == (
        "These scenes cannot be made: pixels is 47, expected an even number of at least 48; small_share is 1.5, expected 0 to 1; "
        "two_object_share + sequence_share is 1.5, expected at most 1. Change the dials."
    )
    with pytest.raises(
        CorpusError, match=r"^These scenes cannot be made: seconds x frame_rate is 6.0, expected at least 10 frames"
    ):
        SceneDials(seconds=0.5)
    with pytest.raises(CorpusError, match="noise is -1, expected 0 to 40"):
        SceneDials(noise=-1)
    with pytest.raises(CorpusError, match="max_distractors is -1, expected 0 or more"):
        SceneDials(max_distractors=-1)

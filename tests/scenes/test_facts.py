import pytest

from stap.scenes.dials import SceneDials
from stap.scenes.facts import KINDS, facts_recalled
from stap.scenes.grammar import references
from stap.scenes.plan import plan_scenes


def facts(objects, *events):
    things = [dict(zip(("colour", "shape", "size"), (*thing.split(), "medium"), strict=True)) for thing in objects]
    indices = list(range(len(things)))
    return {"objects": things, "events": [{"event": event, "objects": indices} for event in events]}


LEFT = facts(["red circle"], "left")
GROW_LEFT = facts(["red star"], "grow", "left")
FOLLOW = facts(["red star", "blue square"], "follow")
COLLIDE = facts(["red star", "blue square"], "collide")
BEHIND = facts(["green ring", "green heart"], "behind")
ORBIT = facts(["white cross", "black circle"], "orbit")


def recalled(caption, wanted):
    """'colour shape event order' as digits."""
    found = facts_recalled(caption, wanted)
    assert tuple(found) == KINDS
    return " ".join(str(found[kind][0]) for kind in KINDS)


def test_totals_count_what_the_scene_has():
    assert facts_recalled("", LEFT) == {"colour": (0, 1), "shape": (0, 1), "event": (0, 1), "order": (0, 0)}
    assert facts_recalled("", GROW_LEFT) == {"colour": (0, 1), "shape": (0, 1), "event": (0, 2), "order": (0, 1)}
    assert facts_recalled("", FOLLOW) == {"colour": (0, 2), "shape": (0, 2), "event": (0, 1), "order": (0, 0)}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red circle moves to the left", "1 1 1 0"),
        ("The small RED ball is sliding left, slowly.", "1 1 1 0"),
        ("a crimson disc moved from the right side to the left side", "1 1 1 0"),
        ("a ball that is red travels leftwards", "1 1 1 0"),
        ("a red circle comes in from the right", "1 1 1 0"),
        ("a blue circle moves left", "0 1 1 0"),
        ("a red square moves left", "1 0 1 0"),
        ("a red thing moves left", "1 0 1 0"),
        ("a circle moves left", "0 1 1 0"),
        ("a red circle moves right", "1 1 0 0"),
        ("a red circle moves from left to right", "1 1 0 0"),
        ("a red circle on the left grows", "1 1 0 0"),
        ("a red circle moves in a circle", "1 1 0 0"),
        ("a red circle moves left in a zigzag", "1 1 0 0"),
        ("a man is riding a horse", "0 0 0 0"),
        ("a red circle moves left over a white background", "1 1 1 0"),
        ("the red ball moves and then the ball goes left", "1 1 1 0"),
    ],
)
def test_one_object_and_one_event(caption, expected):
    assert recalled(caption, LEFT) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "a blue square a red circle a green star moves right left up down",
        "red blue green circle square star grows shrinks left right up",
        "a blue circle and a red circle move right and then left",
    ],
)
def test_listing_everything_does_not_pay(caption):
    found = facts_recalled(caption, LEFT)
    assert found["event"] == (0, 1)
    assert found["colour"][0] + found["shape"][0] <= 1


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red star grows and then moves left", "1 1 2 1"),
        ("first the red star gets bigger, then it slides to the left", "1 1 2 1"),
        ("after growing, the red star moves left", "1 1 2 1"),
        ("a red star moves left after getting larger", "1 1 2 1"),
        ("a red star moves left once it has grown", "1 1 2 1"),
        ("before moving left a red star expands", "1 1 2 1"),
        ("a red star expands before moving left", "1 1 2 1"),
        ("a red star gets bigger. after that it goes left", "1 1 2 1"),
        ("a red star moves left and then grows", "1 1 2 0"),
        ("a red star grows after moving left", "1 1 2 0"),
        ("after moving left, the red star grows", "1 1 2 0"),
        ("a red star moves left before growing", "1 1 2 0"),
        ("a red star grows while moving left", "1 1 2 0"),
        ("a red star grows", "1 1 1 0"),
        ("a red star grows and then moves right", "1 1 1 0"),
        ("a red star moves up and then grows and then moves left", "1 1 1 0"),
    ],
)
def test_sequences_and_their_order(caption, expected):
    assert recalled(caption, GROW_LEFT) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red star follows a blue square", "2 2 1 0"),
        ("a blue square is chased by a red star", "2 2 1 0"),
        ("a blue box is followed by the red star", "2 2 1 0"),
        ("the blue square leads the red star", "2 2 1 0"),
        ("a red star goes after a blue square", "2 2 1 0"),
        ("a blue square follows a red star", "2 2 0 0"),
        ("a red star is followed by a blue square", "2 2 0 0"),
        ("a red star and a blue square follow each other", "2 2 1 0"),
        ("a blue star follows a red square", "0 2 1 0"),  # each colour stands with the wrong shape
        ("a blue star follows a blue square", "1 2 1 0"),
        ("a green star follows a blue square", "1 2 1 0"),
        ("a red star follows a red star", "1 1 1 0"),
        ("a star follows a square", "0 2 1 0"),
        ("a red star moves left followed by moving up", "1 1 0 0"),
        ("a red star hits a blue square", "2 2 0 0"),
        ("a red star follows a zigzag path", "1 1 0 0"),
    ],
)
def test_who_follows_whom(caption, expected):
    assert recalled(caption, FOLLOW) == expected


@pytest.mark.parametrize(
    ("caption", "wanted", "expected"),
    [
        ("a blue square and a red star collide", COLLIDE, "2 2 1 0"),
        ("a blue square bumps into a red star", COLLIDE, "2 2 1 0"),
        ("a red star bounces off a blue square", COLLIDE, "2 2 1 0"),
        ("a red star bounces off the floor", COLLIDE, "1 1 0 0"),
        ("a red star crashed into the blue box", COLLIDE, "2 2 1 0"),
        ("a green hoop slides behind a green heart", BEHIND, "2 2 1 0"),
        ("a green ring is hidden by a green heart", BEHIND, "2 2 1 0"),
        ("a green heart is in front of a green donut", BEHIND, "2 2 1 0"),
        ("a green heart passes behind a green ring", BEHIND, "2 2 0 0"),
        ("a green ring follows a green heart in front of a moving background", BEHIND, "2 2 0 0"),
        ("a white plus sign circles around a black ball", ORBIT, "2 2 1 0"),
        ("a white cross orbits a black disc", ORBIT, "2 2 1 0"),
        ("a white cross circles a black dot", ORBIT, "2 2 1 0"),
        ("a black circle is circled by a white cross", ORBIT, "2 2 1 0"),
        ("a black circle goes around a white cross", ORBIT, "2 2 0 0"),
        ("a white cross goes around in circles", ORBIT, "1 1 0 0"),
    ],
)
def test_events_of_two_objects(caption, wanted, expected):
    assert recalled(caption, wanted) == expected


@pytest.mark.parametrize(
    ("event", "captions"),
    [
        ("up", ["a red circle rises", "a red circle went straight up", "a red circle climbs to the top"]),
        ("down", ["a red circle falls down", "a red circle sank", "a red circle is dropping"]),
        ("circle", ["a red circle circles", "a red circle makes a big loop", "a red circle follows a circular path"]),
        ("zigzag", ["a red circle zig-zags", "a red circle goes up in a zigzag", "a red circle moves from side to side"]),
        ("bounce", ["a red circle jumps", "a red circle moves up and down", "a red circle bounces to the right"]),
        ("grow", ["a red circle became much bigger", "a red circle increases in size", "a red circle swells"]),
        ("shrink", ["a red circle shrank", "a red circle gets smaller and smaller", "a red circle grows smaller"]),
        ("spin", ["a red circle turns", "a red circle rotated on the spot", "a red circle spins around in circles"]),
        (
            "flash",
            ["a red circle pops up briefly", "a red circle appears and vanishes", "a red circle is visible for a moment"],
        ),
    ],
)
def test_other_peoples_words_for_single_events(event, captions):
    for caption in captions:
        assert recalled(caption, facts(["red circle"], event)) == "1 1 1 0", caption


def test_every_reference_recalls_exactly_the_facts_that_it_names():
    for scene in plan_scenes(400, 5, SceneDials()):
        several = len(scene.events)
        for reference in references(scene):
            assert facts_recalled(reference.sentence, scene.facts()) == {
                "colour": (sum(reference.names_colour), len(scene.objects)),
                "shape": (sum(reference.names_shape), len(scene.objects)),
                "event": (several, several),
                "order": (int(several == 2), int(several == 2)),
            }, reference.sentence


def test_references_of_other_scenes_recall_little():
    scenes = plan_scenes(400, 6, SceneDials())

    def share(captions):
        counts = [facts_recalled(c, scene.facts()).values() for scene, c in zip(scenes, captions, strict=True)]
        return sum(r for kinds in counts for r, _ in kinds) / sum(n for kinds in counts for _, n in kinds)

    own = [references(scene)[0].sentence for scene in scenes]
    assert share(own) > 0.97
    assert share([*own[1:], own[0]]) < 0.25
    assert share(["a red circle moves left"] * len(scenes)) < 0.25

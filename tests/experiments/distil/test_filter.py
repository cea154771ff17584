"""What a student does not learn from: one caption for each reason, and shares of the least probable and the least agreed."""

from __future__ import annotations

import pytest

from raising import error_of
from stap.errors import ConfigError
from stap.experiments.distil.clips import Said
from stap.experiments.distil.filter import FilterSettings, filter_captions

KEEP = FilterSettings(improbable=0, disagreeing=0)


def said(*captions: str, score: float = -1.0) -> list[Said]:
    return [Said(caption, score, "sample", 0.1) for caption in captions]


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("a dog", "length"),
        ("", "length"),
        (" ".join(f"word{number}" for number in range(31)), "length"),
        ("a dog dog dog runs", "repetition"),
        ("a dog runs and a dog runs", "repetition"),
        ("ball red ball red ball", "repetition"),
        ("a dog 跑步 in the park", "script"),
        ("собака runs in the park", "script"),
        ("a dog runs <|im_end|> fast", "script"),
        ("a dog runs </s> fast", "script"),
        ("a dog \ufffd runs fast", "script"),
        ("A dog runs!", None),
        ("a very very big dog runs", None),
        ("a café in São Paulo at 9 o'clock", None),
    ],
)
def test_each_reason(caption: str, reason: str | None) -> None:
    found = filter_captions({"v": said("a man walks along a road", caption)}, KEEP)
    assert [one.reason for one in found.dropped] == ([reason] if reason else [])
    assert found.counts == {name: int(name == reason) for name in found.counts}


def test_the_script_is_that_of_most_captions() -> None:
    chinese = said("一只狗在跑步", "一个男人在走路", "ジャンプする 男 人")
    found = filter_captions({"v": [*chinese, *said("a dog runs away")]}, FilterSettings(1, 30, 0, 0))
    assert [(one.said.caption, one.reason) for one in found.dropped] == [("a dog runs away", "script")]


def test_a_duplicate_of_the_same_video_alone() -> None:
    captions = {"a": said("a dog runs fast", "A dog runs fast.", "a cat runs fast"), "b": said("a dog runs fast")}
    found = filter_captions(captions, KEEP)
    assert [(one.video, one.said.caption, one.reason) for one in found.dropped] == [("a", "A dog runs fast.", "duplicate")]
    assert {video: len(kept) for video, kept in found.kept.items()} == {"a": 2, "b": 1}


def test_the_least_probable_share_of_what_is_left() -> None:
    captions = {f"v{number}": [Said(f"a dog runs to place {number}", -number, "beam", 0.1)] for number in range(10)}
    captions["short"] = said("no", score=-99.0)
    found = filter_captions(captions, FilterSettings(improbable=0.25, disagreeing=0))
    assert {one.video: one.reason for one in found.dropped} == {
        "short": "length",
        "v9": "log-probability",
        "v8": "log-probability",
    }
    assert "v9" not in found.kept


def test_what_the_teacher_s_other_captions_contradict() -> None:
    """Of each video three captions agree and one does not; a video of one caption has nobody to agree with."""
    captions = {
        "a": said(
            "a dog runs across the park", "the dog runs across a park", "some goats eat cheese", "a dog runs in the park"
        ),
        "b": said("two cats sleep on one sofa", "cats sleep on one sofa", "two cats sleep on sofas", "fire burns down houses"),
        "c": said("this is said only once here"),
    }
    found = filter_captions(captions, FilterSettings(improbable=0, disagreeing=0.25))
    assert {(one.video, one.said.caption) for one in found.dropped} == {
        ("a", "some goats eat cheese"),
        ("b", "fire burns down houses"),
    }
    assert {one.reason for one in found.dropped} == {"consensus"}
    assert len(found.kept["c"]) == 1


def test_examples_come_in_turn_of_each_reason() -> None:
    captions = {
        f"v{number}": said("no", f"yes yes yes {number} it is", f"a good caption of video {number}") for number in range(5)
    }
    found = filter_captions(captions, KEEP)
    assert [one.reason for one in found.examples(4)] == ["length", "repetition", "length", "repetition"]
    assert len(found.examples(100)) == 10


def test_shares() -> None:
    assert error_of(ConfigError, FilterSettings, improbable=1.0) == (
        "--drop-improbable 1: expected a share from 0 to below 1, such as 0.05."
    )

"""What is listed of the frames that a decoder gives, on a decoder that gives whatever a test wants."""

from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from stap.video.inventory import take_inventory
from stap.video.timeline import Timeline


@dataclass
class Decoder:
    """Stands in for a source: gives frames of these times, those in `damaged` (by their order) marked so."""

    times: list
    damaged: tuple = ()
    faults: int = 0

    def packets(self, skipped):
        return []

    def frames(self, packets):
        for order, pts in enumerate(self.times):
            yield SimpleNamespace(pts=pts, duration=10, is_corrupt=order in self.damaged)


def timeline(pts, has_own_times=True) -> Timeline:
    return Timeline(
        np.array(pts), pts[0], pts[-1] + 10, Fraction(1, 100), np.arange(len(pts)), (), has_own_times, len(pts), Fraction(10)
    )


@pytest.mark.parametrize(
    ("decoder", "pts", "orders"),
    [
        (Decoder([0, 10, 20, 30]), [0, 10, 20, 30], [0, 1, 2, 3]),
        (Decoder([0, 20, 30], faults=1), [0, 20, 30], [0, 1, 2]),
        (Decoder([0, 10, 20, 30], damaged=(0, 2)), [10, 30], [1, 3]),
        (Decoder([0, 10], damaged=(0, 1)), [0, 10], [0, 1]),
        (Decoder([0, 20, 10, 30], faults=1), [0, 10, 20, 30], [0, 2, 1, 3]),
        (Decoder([5, 10, None, 30]), [10, 30], [1, 3]),
        (Decoder([]), [], []),
    ],
)
def test_frames_with_times_of_their_own(decoder, pts, orders):
    inventory = take_inventory(decoder, timeline([0, 10, 20, 30]))
    assert (inventory.pts.tolist(), inventory.orders.tolist()) == (pts, orders)
    assert (len(inventory), inventory.total, inventory.faults) == (len(pts), len(decoder.times), decoder.faults)


@pytest.mark.parametrize(
    ("decoder", "pts", "orders"),
    [
        (Decoder([0, 20, 10, 30]), [0, 10, 20, 30], [0, 1, 2, 3]),
        (Decoder([None] * 4, damaged=(1,)), [0, 20, 30], [0, 2, 3]),
        (Decoder([3, 9, 6]), [3, 6, 9], [0, 1, 2]),
        (Decoder([None] * 2), [0, 20], [0, 1]),
        (Decoder([]), [], []),
    ],
)
def test_frames_known_by_their_order(decoder, pts, orders):
    inventory = take_inventory(decoder, timeline([0, 10, 20, 30], has_own_times=False))
    assert (inventory.pts.tolist(), inventory.orders.tolist()) == (pts, orders)


def test_a_sound_decoder_that_contradicts_the_clock_is_right():
    inventory = take_inventory(Decoder([0, 20, 10, 30, 40]), timeline([0, 10, 20, 30, 40]))
    assert inventory.orders.tolist() == [0, 1, 2, 3, 4]
    assert [inventory.seconds(pts) for pts in inventory.pts] == [0, 0.2, 0.4, 0.6, 0.7]
    assert inventory.clock is not None


@pytest.mark.parametrize(
    ("decoder", "is_damaged", "start"),
    [
        (Decoder([10, 20, 30]), False, 10),  # the first frame is hidden, or cannot be decoded without what came before
        (Decoder([0, 10, 20, 30], damaged=(0,)), False, 10),
        (Decoder([10, 20, 30], faults=1), True, 0),
        (Decoder([0, 10, 20, 30], damaged=(2,)), True, 0),
    ],
)
def test_damage_is_a_fault_or_a_marked_frame_behind_the_first_good_one(decoder, is_damaged, start):
    inventory = take_inventory(decoder, timeline([0, 10, 20, 30]))
    assert (inventory.is_damaged, inventory.start) == (is_damaged, start)

"""Threads that decode videos."""

import os
import sys

import pytest

from stap.video import threads
from stap.video.threads import available_cores, keep_to_cores


def test_a_process_may_keep_to_a_part_of_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_share", None)
    every = available_cores()
    keep_to_cores(1)
    assert available_cores() == 1
    keep_to_cores(every + 8)
    assert available_cores() == every


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to some cores")
def test_cores_are_those_that_the_process_may_run_on() -> None:
    all_of_them = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(all_of_them)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, all_of_them)
    assert available_cores() == len(all_of_them)

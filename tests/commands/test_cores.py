import threading
import time
from collections.abc import Callable

import pytest

from stap.commands.shared import cores
from stap.commands.shared.cores import polite_threads


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the threads waited for a core; the test moves it on."""
    total = [0.0]
    monkeypatch.setattr(cores, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(cores, "SECONDS_HELD", 0.0)
    monkeypatch.setattr(cores, "_seconds_waited", lambda: total[0])
    return total


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, waited: list[float]) -> None:
    """Every reading is a second more than the one before."""

    def read() -> float:
        waited[0] += 1.0
        return waited[0]

    monkeypatch.setattr(cores, "_seconds_waited", read)


def team_exists() -> bool:
    return any(thread.name == "one-more-team" for thread in threading.enumerate())


def becomes(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_a_team_exists_while_threads_wait_for_cores(waited: list[float]) -> None:
    with polite_threads():
        time.sleep(0.05)
        assert not team_exists()

        def wait_and_look() -> bool:
            waited[0] += 1.0
            return team_exists()

        assert becomes(wait_and_look)
        assert becomes(lambda: not team_exists())


def test_the_team_ends_with_the_block(waited: list[float], clock: None) -> None:
    with polite_threads():
        assert becomes(team_exists)
    assert becomes(lambda: not team_exists())


def test_what_the_kernel_counts_never_falls() -> None:
    before = cores._seconds_waited()
    assert 0 <= before <= cores._seconds_waited()

"""Figures as files: whole or not at all."""

import resource
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from stap.errors import StapError
from stap.reports.figures import SUFFIXES, save_figure


@pytest.mark.parametrize("room_bytes", [0, 4096, 8192, 16384])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.slow
def test_a_figure_that_does_not_fit_is_a_sentence_and_no_file(suffix: str, room_bytes: int, tmp_path: Path) -> None:
    """Matplotlib's own writers fail otherwise where no byte can be written."""
    figure = Figure()
    for axes in figure.subplots(2, 2).flat:
        axes.plot(np.random.default_rng(1).random(2000))
    path = tmp_path / f"figure{suffix}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        with pytest.raises(StapError, match=rf"^{path}: cannot be written \(File too large\)"):
            save_figure(path, figure)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    save_figure(path, figure)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]

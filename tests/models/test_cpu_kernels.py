"""The compiled tanh; the kernels themselves are compared with the equations by the tests of the recurrences."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stap.models.cpu_kernels as kernels


def bent(values: np.ndarray) -> np.ndarray:
    """tanh, through the half of the gates that is not a sigmoid."""
    gates = np.concatenate([np.zeros(3, values.dtype), values])
    nothing = np.zeros_like(gates)
    kernels._make_gates(gates, nothing, nothing, 1)
    return gates[3:]


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_tanh_is_exact_to_rounding(dtype: type, error: float) -> None:
    values = np.linspace(-20, 20, 400_001, dtype=dtype)
    assert np.abs(bent(values) - np.tanh(values.astype(np.float64))).max() < error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_a_finite_number_stays_so(dtype: type) -> None:
    found = bent(np.array([np.nan, np.inf, -np.inf, 0, 88, -1e30] * 4, dtype))
    np.testing.assert_allclose(found, np.array([np.nan, 1, -1, 0, 1, -1] * 4, dtype), atol=3e-7, rtol=0)


@pytest.mark.slow
def test_without_a_folder_for_machine_code_it_is_compiled_each_time(tmp_path: Path) -> None:
    copied = tmp_path / "stap_kernels.py"
    copied.write_text(Path(kernels.__file__).read_text())
    code = (
        "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []; import numpy as np, stap_kernels as k; "
        "g = np.ones(4); k._make_gates(g, np.zeros(4), np.zeros(4), 1); assert abs(g[3] - np.tanh(1)) < 1e-12"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

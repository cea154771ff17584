import importlib.util
import pathlib

import pytest


@pytest.fixture(scope="session")
def reference():
    """The float64 loops of reference.py."""
    spec = importlib.util.spec_from_file_location("reference", pathlib.Path(__file__).parent / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""A caption's first second is imports: PyTorch's compiler is not among them, and works afterwards."""

import subprocess
import sys

import pytest

BEFORE_AND_AFTER = """
import sys
import stap.captioning.captioner

assert not [name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))]
import torch
from torchvision.ops import roi_align

boxes = torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
assert roi_align(torch.ones(1, 1, 4, 4), boxes, 2).shape == (1, 1, 2, 2)
compiled = torch.compile(lambda x: x + 1, backend="eager")
assert compiled(torch.ones(2)).tolist() == [2, 2]
assert "torch._dynamo.symbolic_convert" in sys.modules
"""


@pytest.mark.slow
def test_the_compiler_is_not_imported_and_works_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE_AND_AFTER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

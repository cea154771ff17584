"""torchvision and timm without PyTorch's compiler, whose import takes longer than that of PyTorch itself.

Both import torch._dynamo as they are imported: torchvision's `roi_align` for a question that it may ask later, timm to leave functions of
two of its models out of compilation. No network needs it to run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["without_compiler"]

COMPILER, ITS_UTILITIES = "torch._dynamo", "torch._dynamo.utils"


@contextmanager
def without_compiler() -> Iterator[None]:
    """For import statements: torch._dynamo is not imported by them. It can be afterwards, and is used where it is there already."""
    if COMPILER in sys.modules:
        yield
        return
    compiler, utilities = ModuleType(COMPILER), ModuleType(ITS_UTILITIES)
    compiler.__dict__.update(utils=utilities, disable=_left_as_it_is)
    utilities.__dict__.update(is_compile_supported=_is_compile_supported)
    sys.modules.update({COMPILER: compiler, ITS_UTILITIES: utilities})
    try:
        yield
    finally:
        for name in (COMPILER, ITS_UTILITIES):
            del sys.modules[name]


def _left_as_it_is(function: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """torch.compiler.disable where nothing is compiled."""
    return function if function is not None else lambda decorated: decorated


def _is_compile_supported(device_type: str) -> Any:
    ask: Callable[[str], Any] = import_module(ITS_UTILITIES).is_compile_supported
    return ask(device_type)

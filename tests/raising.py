"""What a call says when it fails."""

from collections.abc import Callable
from typing import Any

import pytest


def error_of(error_type: type[Exception], call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The message of the error of this type that a call with these arguments must raise."""
    with pytest.raises(error_type) as caught:
        call(*arguments, **options)
    return str(caught.value)

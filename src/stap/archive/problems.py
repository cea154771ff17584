"""Answers that refuse: JSON that says what was expected, what was given and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import JSONResponse

from stap.errors import StapError

__all__ = ["Refusal", "RequestError"]


class Refusal(BaseModel):
    """Why a request was refused.   error: all of it as one text."""

    error: str
    expected: str
    given: str
    to_do: str


class RequestError(StapError):
    """A request that is refused with a status of HTTP."""

    def __init__(self, status: int, expected: str, given: str, to_do: str, headers: Mapping[str, str] | None = None) -> None:
        """expected, given: without a full stop.   to_do: a sentence."""
        super().__init__(f"expected {expected}, got {given}. {to_do}")
        self.status, self.headers = status, headers
        self.refusal = Refusal(error=str(self), expected=expected, given=given, to_do=to_do)

    def response(self) -> JSONResponse:
        """The answer. What a client sent comes back in ASCII: half a character has no UTF-8."""
        return JSONResponse(self.refusal.model_dump(), self.status, self.headers)

"""Who may come in: by which names the page is asked for, with which token, and from where a change is sent."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stap.archive.problems import RequestError
from stap.errors import ConfigError
from stap.files import printable, read_bytes

__all__ = ["ENTRANCE", "Access", "Guard", "OneTimeLink", "given_token", "is_loopback"]

ENTRANCE = "/enter"  # all that is answered without a token
SHORTEST_TOKEN, LARGEST_BODY = 16, 16_384  # characters, bytes
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",  # the page brings its own
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
TOKEN_ADVICE = f"Give at least {SHORTEST_TOKEN} letters, digits and marks without spaces, for example: openssl rand -hex 32"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def given_token(text: str | None, file: Path | None) -> str | None:
    """The token of a file, or else of the environment; None where neither gives one. Raises ConfigError for one that could be guessed."""
    if file is not None:
        where, text = str(file), read_bytes(file, ConfigError, "Name the file of the token.").decode("utf-8", "replace").strip()
    elif text:
        where = "STAP_ARCHIVE_TOKEN"
    else:
        return None
    if not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},}}", text):
        raise ConfigError(f"{where}: not a token ({len(text)} characters). {TOKEN_ADVICE}")
    return text


@dataclass(frozen=True)
class Access:
    """The address that is listened on, the token, and further names of this machine.

    host: an address or a name.   token: None, which only a loopback address may have: everybody on this machine comes in.
    names: by which a proxy, or a name server, knows the page.
    Raises ConfigError for another address without a token.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(f"{self.host}: other machines reach this address, so a token is needed, and none was given.")

    def answers_to(self, host: str) -> bool:
        """Whether a Host header names this server. A stranger's name that leads here, by a name server of theirs, does not."""
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d+)?", host, re.ASCII):
            return False
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        address = _address(name)
        if address is not None:
            return address.is_loopback or not is_loopback(self.host)
        return name in {"localhost", *(one.lower() for one in (self.host, *self.names, *self._own_names()))}

    def shown_host(self) -> str:
        """The host in the address of the page: a machine that listens on all its addresses has a name."""
        address = _address(self.host)
        if address is not None and address.is_unspecified:
            return socket.gethostname()
        return f"[{self.host}]" if ":" in self.host else self.host

    def _own_names(self) -> tuple[str, ...]:
        return () if is_loopback(self.host) else (socket.gethostname(),)

    def is_token(self, given: str) -> bool:
        """Compared in constant time."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def cookie(self) -> str:
        """What a browser keeps in the token's place: the same after a restart, and not the token."""
        return hmac.new((self.token or "").encode(), b"stap serve", hashlib.sha256).hexdigest()

    def lets_in(self, request: HTTPConnection) -> bool:
        """Whether a request carries the token, or the cookie; everybody where there is no token."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if self.token is None or (kind.lower() == "bearer" and self.is_token(given.strip())):
            return True
        return hmac.compare_digest(request.cookies.get(self.cookie_name(request), "").encode(), self.cookie().encode())

    @staticmethod
    def cookie_name(request: HTTPConnection) -> str:
        """With the port: browsers send a cookie to every port of a host."""
        return f"stap_archive_{request.url.port or ''}"


class OneTimeLink:
    """A word that lets a browser in once."""

    def __init__(self) -> None:
        """A new one."""
        self.code: str | None = secrets.token_urlsafe(32)

    def take(self, given: str) -> bool:
        """Whether it is the word, and for the first time."""
        if self.code is None or not hmac.compare_digest(given.encode(), self.code.encode()):
            return False
        self.code = None
        return True


class Guard:
    """What stands before the application: it refuses strangers, and sets the headers that keep a browser safe."""

    def __init__(self, app: ASGIApp, access: Access, entrance: Callable[[], Response]) -> None:
        """Before this application.   entrance: the page of who asks for the page without a token."""
        self.app, self.access, self.entrance = app, access, entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = _problem_of(HTTPConnection(scope), scope["method"], self.access)
        answer = self.app if problem is None else problem.response()
        if problem is not None and problem.status == 401 and scope["path"] == "/":
            answer = self.entrance()
        await answer(scope, receive, send_safely)


def _problem_of(request: HTTPConnection, method: str, access: Access) -> RequestError | None:
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not access.answers_to(hosts[0]):
        given = " and ".join(map(printable, hosts)) or "none"
        return RequestError(
            400, "the Host header of this server", given, "Use the address that `stap serve` printed, or name it with --name."
        )
    origin = request.headers.get("origin")
    is_entrance = request.url.path == ENTRANCE  # to which browsers send the origin "null", as a form of a page without referrer
    if not is_entrance and method not in SAFE_METHODS and origin is not None and urlsplit(origin).netloc != hosts[0]:
        return RequestError(
            403, "a change sent by this page", f"one sent by {printable(origin)}", "Make it in the page itself."
        )
    length = request.headers.get("content-length", "") if method not in SAFE_METHODS else "0"
    if not re.fullmatch(r"\d{1,9}", length, re.ASCII) or int(length) > LARGEST_BODY:
        given = printable(length[:20]) or "an unknown length"
        return RequestError(413, f"at most {LARGEST_BODY} bytes, with a Content-Length", given, "Send less.")
    if not is_entrance and not access.lets_in(request):
        given = "another one" if "authorization" in request.headers or request.cookies else "none"
        to_do = f"Open {ENTRANCE} and type the token, or send it as `Authorization: Bearer TOKEN`."
        return RequestError(401, "the token of this archive", given, to_do, {"WWW-Authenticate": "Bearer"})
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None

"""`stap serve`: an archive as a page to work in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stap.commands.shared.archive_options import ArchiveModelOption, By, ByOption, archive_captioner
from stap.commands.shared.console import interruptible, say
from stap.commands.shared.options import ArchiveOption, DeviceOption, UnusedSeedOption
from stap.errors import MissingDependencyError, StapError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from stap.archive.access import Access
    from stap.archive.records import Query
    from stap.archive.store import Archive

PORT = 8017


def serve(
    archive: ArchiveOption,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen on this address. All but this machine's own ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds the token. Default: STAP_ARCHIVE_TOKEN in the environment, or a new one, which is printed once. With one of them the "
            "page asks for it on this machine too.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A further name of this server, such as a proxy's. May be repeated."),
    ] = None,
    by: ByOption = By.both,
    model: ArchiveModelOption = None,
    device: DeviceOption = "auto",
    seed: UnusedSeedOption = None,
) -> None:
    """Open an archive as a page: search, play, correct.

    Nothing is loaded from elsewhere, and no file outside the folders of the archive is served. Ctrl-C ends it.
    """
    _check_installed()
    import secrets

    from stap.archive.access import Access, given_token, is_loopback
    from stap.archive.server import create_app
    from stap.archive.store import Archive

    token = given_token(os.environ.get("STAP_ARCHIVE_TOKEN"), token_file)
    with Archive.open(archive) as opened:
        asked = _asked(opened, by, model, device)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(32)
        say(f"Token, which is shown this once: {token}")
    access = Access(host, token, tuple(name or ()))
    app = create_app(archive, access, asked)
    with interruptible("Nothing is lost. Run the same line again."):
        _listen(app, access, port)


def _asked(archive: Archive, by: By, model: str | None, device: str) -> Callable[[str], Query]:
    """What is looked for, of the words that somebody typed."""
    from stap.archive.records import Query

    if by is By.words:
        return Query
    from stap.archive.spaces import sentence_encoder

    encode = sentence_encoder(archive, lambda name: archive_captioner(archive, model or name, device))
    return lambda words: Query("" if by is By.meaning else words, encode(words))


def _check_installed() -> None:
    from importlib import import_module

    for package in ("fastapi", "uvicorn"):
        try:
            import_module(package)
        except ImportError:
            raise MissingDependencyError(
                f"the page of an archive needs the package {package}, which is not installed. Install it with: pip install 'stap[archive]'"
            ) from None


def _listen(app: FastAPI, access: Access, port: int) -> None:
    """Until the first signal; what is being answered then has two seconds more."""
    import socket

    import uvicorn

    from stap.archive.access import ENTRANCE

    try:
        listener = socket.create_server((access.host, port), family=socket.AF_INET6 if ":" in access.host else socket.AF_INET)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python repeats the address
        advice = "Name another --port, or an address of this machine with --host."
        raise StapError(f"{access.host}:{port}: cannot listen there ({reason}). {advice}") from error
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    with listener:
        address = f"http://{access.shown_host()}:{listener.getsockname()[1]}"
        if access.token is not None:
            say(f"To let one browser in, once: {address}{ENTRANCE}?code={app.state.link.code}")
        print(f"{address}/", flush=True)
        uvicorn.Server(settings).run(sockets=[listener])

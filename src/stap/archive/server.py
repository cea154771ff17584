"""The page to work in, and its API: search, shots, key frames, videos with ranges, captions as a track, corrections.

The API describes itself at /api/openapi.json. Whatever is refused is a `Refusal`: what was expected, what was given, what to do.
An archive is opened for each request, so what an indexer adds meanwhile is found; to save a correction it is opened for writing, for
that moment only.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

import stap
from stap.archive import records
from stap.archive.access import ENTRANCE, Access, Guard, OneTimeLink
from stap.archive.media import checked_file, problem_with, track, video_response, zipped_corrections
from stap.archive.problems import Refusal, RequestError
from stap.archive.store import Archive
from stap.errors import ArchiveError, StapError
from stap.files import printable, shortened
from stap.programmes.timed import one_line_of
from stap.reports.page import environment

__all__ = ["create_app"]

MOST_FOUND, MOST_OF_A_VIDEO = 60, 1000
WORDS = "a sentence, or words to look for (at most 500 characters)"
EXPECTED = {  # of each field that a client sends
    "q": WORDS,
    "text": "a caption in one line, with at least one word and at most 500 characters",
    "who": "the name of who corrects, in one line of at most 80 characters",
    "seen": "the caption that was changed",
    "shot": "the id of a shot, as a search returns it",
    "content": "the SHA-256 of a video, as a search returns it",
    "body": "an object in JSON, sent as application/json",
}
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\w[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"

Words = Annotated[str, Query(max_length=500, pattern=r"\w", description=EXPECTED["q"])]
ShotId = Annotated[str, InPath(pattern=r"^[0-9a-z-]{1,64}$", description=EXPECTED["shot"])]
Content = Annotated[str, InPath(pattern=r"^[0-9a-z]{1,64}$", description=EXPECTED["content"])]


class Hit(BaseModel):
    """A shot.   video: the SHA-256 of its file.   name: of its file.   author: who wrote the caption, '' the model."""

    id: str
    video: str
    name: str
    start_seconds: float
    end_seconds: float
    caption: str
    confidence: float
    author: str


class Hits(BaseModel):
    """Shots in order."""

    shots: list[Hit]


class Word(BaseModel):
    """A word of the model's caption and the time it attends to most.   frames, places: see `ArchivedShot.attention`, 0 to 255."""

    word: str
    attends_seconds: float | None
    frames: list[int]
    places: list[int]


class Version(BaseModel):
    """A caption.   author: '' the model.   when: ISO 8601 in UTC, '' of the model's."""

    text: str
    author: str
    when: str


class Shot(Hit):
    """All of a shot.   rows, columns: of the places.   versions: the current one last.   problem: why its video cannot be played, or ''."""

    words: list[Word]
    frame_seconds: list[float]
    rows: int
    columns: int
    versions: list[Version]
    problem: str


class Correction(BaseModel):
    """What a caption is to be.   seen: the caption that was changed; where it is another one by now, nothing is saved."""

    text: Annotated[str, Field(max_length=500, pattern=ONE_LINE, description=EXPECTED["text"])]
    who: Annotated[str, Field(max_length=80, pattern=ONE_LINE, description=EXPECTED["who"])]
    seen: Annotated[str, Field(max_length=10_000, description=EXPECTED["seen"])]


def _opened(request: Request) -> Iterator[Archive]:
    with Archive.open(request.app.state.folder) as archive:
        yield archive


Opened = Annotated[Archive, Depends(_opened)]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal} for status in (400, 401, 403, 422, 503, *statuses)}


router = APIRouter(prefix="/api")


@router.get("/search", responses=_refusals())
def search(archive: Opened, request: Request, q: Words) -> Hits:
    """The shots that fit best, the best first; 60 at most."""
    found = archive.search(replace(request.app.state.asked(q), limit=MOST_FOUND))
    return Hits(shots=[_hit(one.shot) for one in found])


@router.get("/shots/{shot}", responses=_refusals(404))
def one_shot(archive: Opened, shot: ShotId) -> Shot:
    """All of a shot."""
    return _whole(archive, _shot(archive, shot))


@router.get(
    "/shots/{shot}/picture", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}, **_refusals(404)}
)
def picture(archive: Opened, shot: ShotId) -> Response:
    """The key frame of a shot as JPEG."""
    content = archive.picture(_shot(archive, shot).id)
    if not content:
        raise RequestError(404, "a shot with a key frame", f"{shot}, of which none was kept", "Show its caption alone.")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


@router.post("/shots/{shot}/caption", responses=_refusals(404, 409, 413, 423))
def correct(archive: Opened, request: Request, shot: ShotId, correction: Correction) -> Shot:
    """Save a new version of a caption; every earlier one stays."""
    with ExitStack() as writing:
        writing.enter_context(request.app.state.writing)  # clients of this server wait for each other
        try:
            writer = writing.enter_context(Archive.open(archive.folder, write=True))
        except ArchiveError as error:
            to_do = "Nothing was saved. Wait until it has ended, and save again."
            raise RequestError(423, "an archive in which nobody else writes", str(error), to_do) from error
        now = _shot(writer, shot)
        if one_line_of(now.caption) != correction.seen:
            given = f"{one_line_of(now.caption)!r}, by {printable(now.author) or 'the model'} meanwhile"
            to_do = "Nothing was saved. Look at it, and save again to put yours in its place."
            raise RequestError(409, "the caption that you saw", given, to_do)
        writer.correct(shot, correction.text, correction.who)
    return one_shot(archive, shot)


@router.get("/videos/{content}/shots", responses=_refusals(404))
def shots_of_a_video(archive: Opened, content: Content) -> Hits:
    """The shots of a video, in their order in time; the first 1,000 of them."""
    return Hits(shots=[_hit(shot) for shot in archive.shots_of(_video(archive, content).path)[:MOST_OF_A_VIDEO]])


@router.get(
    "/videos/{content}/captions.vtt",
    response_class=Response,
    responses={200: {"content": {"text/vtt": {}}}, **_refusals(404)},
)
def captions(archive: Opened, content: Content) -> Response:
    """The captions of a video as WebVTT."""
    return Response(track(archive.shots_of(_video(archive, content).path)), media_type="text/vtt; charset=utf-8")


@router.get(
    "/videos/{content}/file",
    response_class=Response,
    responses={200: {"content": {"video/*": {}}}, 206: {"content": {"video/*": {}}}, **_refusals(404, 410, 416)},
)
def file(archive: Opened, content: Content, range: Annotated[str | None, Header(include_in_schema=False)] = None) -> Response:
    """The file of a video, or ranges of it."""
    return video_response(checked_file(_video(archive, content), archive.roots), range)


@router.get("/corrections", responses=_refusals())
def corrections(archive: Opened) -> Hits:
    """The shots whose caption somebody corrected, by video and time."""
    return Hits(shots=[_hit(shot) for shot in archive.corrected()])


@router.get(
    "/corrections.zip",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **_refusals(404)},
)
def export(archive: Opened, request: Request) -> Response:
    """Corrected shots as a folder corpus for `stap train`: clips cut out of their videos, and captions.csv.

    problems.txt lists the clips that could not be cut.
    """
    if not archive.corrected():
        raise RequestError(404, "an archive with corrections", "none so far", "Correct a caption first.")
    with request.app.state.exporting:  # one at a time: to cut clips takes all of a core
        content = zipped_corrections(archive)
    headers = {"Content-Disposition": 'attachment; filename="corrections.zip"'}
    return StreamingResponse(_parts(content), media_type="application/zip", headers=headers)


def _parts(content: BinaryIO) -> Iterator[bytes]:
    with content:
        while part := content.read(1 << 20):
            yield part


def _shot(archive: Archive, id: str) -> records.ArchivedShot:
    for shot in archive.shots([id]):
        return shot
    raise RequestError(404, EXPECTED["shot"], f"{id!r}, which is not there", "Search again: it may have been indexed anew.")


def _video(archive: Archive, content: str) -> records.ArchivedVideo:
    found = archive.video(content)
    if found is None:
        given = f"{content!r}, which is not there"
        raise RequestError(404, EXPECTED["content"], given, "Search again: it may have been indexed anew.")
    return found


def _hit(shot: records.ArchivedShot) -> Hit:
    return Hit(
        id=shot.id,
        video=shot.content,
        name=printable(shot.video.name),
        start_seconds=shot.start_seconds,
        end_seconds=shot.end_seconds,
        caption=one_line_of(shot.caption),
        confidence=shot.confidence,
        author=printable(shot.author),
    )


def _whole(archive: Archive, shot: records.ArchivedShot) -> Shot:
    frames, places = ([*shot.attention.get(name, ()), *([] for _ in shot.words)] for name in ("frames", "places"))
    return Shot(
        **_hit(shot).model_dump(),
        words=[
            Word(word=printable(word), attends_seconds=at, frames=of_frames, places=of_places)
            for (word, at), of_frames, of_places in zip(shot.words, frames, places, strict=False)
        ],
        frame_seconds=list(shot.frame_seconds),
        rows=shot.attention.get("rows", 0),
        columns=shot.attention.get("columns", 0),
        versions=[
            Version(text=one_line_of(one.text), author=printable(one.author), when=one.when)
            for one in archive.versions(shot.id)
        ],
        problem=_problem_with(archive, shot),
    )


def _problem_with(archive: Archive, shot: records.ArchivedShot) -> str:
    return problem_with(_video(archive, shot.content), archive.roots)


# The pages


pages = APIRouter(include_in_schema=False)


@pages.get("/")
def page(archive: Opened) -> Response:
    """The page to work in."""
    name = printable(archive.folder.resolve().name)
    return _html("archive.html.j2", 200, name=name, intro=f"{archive.count():,} shots of {len(archive.videos()):,} videos.")


@pages.get(ENTRANCE)
def enter(request: Request, code: str = "") -> Response:
    """Let a browser in by the one-time link, or ask for the token."""
    if request.app.state.link.take(code):
        return _let_in(request)
    return _entrance(401 if code else 200, "This link was used before. Type the token." if code else "Type the token.")


@pages.post(ENTRANCE)
async def enter_by_token(request: Request) -> Response:
    """Let a browser in by the token that somebody typed."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    access: Access = request.app.state.access
    if access.is_token(form.get("token", [""])[0].strip()):
        return _let_in(request)
    return _entrance(401, "This is not the token. It was printed when `stap serve` started, or somebody chose it.")


def _let_in(request: Request) -> Response:
    response = _entrance(200, "", is_open=True)  # a page, not a redirection: browsers keep strict cookies from those
    access: Access = request.app.state.access
    response.set_cookie(
        access.cookie_name(request), access.cookie(), httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


def _entrance(status: int, sentence: str, is_open: bool = False) -> HTMLResponse:
    return _html("archive_entrance.html.j2", status, sentence=sentence, is_open=is_open)


def _html(template: str, status: int, **content: Any) -> HTMLResponse:
    """A page. Its style and script carry a word that is new every time; no others are obeyed."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    text = environment().get_template(template).render(page={"nonce": nonce, **content})
    return HTMLResponse(text, status, {"Content-Security-Policy": policy, "Cache-Control": "no-store"})


# The application


def create_app(folder: Path, access: Access, asked: Callable[[str], records.Query] = records.Query) -> FastAPI:
    """The application for an archive; `app.state.link.code` opens ENTRANCE once.

    asked: what is looked for, of the words that somebody typed; by default full text alone.
    """
    app = FastAPI(
        title="stap archive",
        description="Search and correct an archive of captioned shots.",
        version=stap.__version__,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.folder, app.state.access, app.state.link, app.state.asked = folder, access, OneTimeLink(), asked
    app.state.writing, app.state.exporting = threading.Lock(), threading.Lock()
    app.include_router(router)
    app.include_router(pages)
    for kind, problem_of in _PROBLEMS.items():
        app.add_exception_handler(kind, _answer(problem_of))
    app.add_middleware(
        Guard, access=access, entrance=lambda: _entrance(401, "Other machines can reach this page, so it asks for a token.")
    )
    return app


def _answer(problem_of: Callable[[Any], RequestError]) -> Callable[[Request, Exception], JSONResponse]:
    return lambda request, error: problem_of(error).response()


def _invalid(error: RequestValidationError) -> RequestError:
    first = error.errors()[0]
    name = next((str(part) for part in reversed(first["loc"]) if part in EXPECTED), "body")
    given = shortened(printable(repr(first.get("input"))), 100)
    given = {"missing": "none", "json_invalid": "text that is no JSON"}.get(first["type"], given)
    return RequestError(422, EXPECTED[name], f"{given} as {name}", "Change it, and send it again.")


def _of_http(error: HTTPException) -> RequestError:
    expected = {404: "an address of this server", 405: "a method that this address knows"}
    given = printable(error.detail)
    return RequestError(
        error.status_code, expected.get(error.status_code, "a request of HTTP"), given, "See /api/openapi.json.", error.headers
    )


def _of_stap(error: StapError) -> RequestError:
    return RequestError(
        503,
        "an archive that can be used",
        str(error),
        "Nothing was changed. The archive is a folder on the server: look there.",
    )


_PROBLEMS: dict[type[Exception], Callable[[Any], RequestError]] = {
    RequestError: lambda error: error,
    RequestValidationError: _invalid,
    HTTPException: _of_http,
    StapError: _of_stap,
    Exception: lambda error: RequestError(
        500, "an answer", f"{type(error).__name__} on the server", "See what `stap serve` printed."
    ),
}

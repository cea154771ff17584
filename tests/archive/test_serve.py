"""The API of `stap serve`: what it finds and saves, whom it lets in, and which files it never serves."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from archives import HOSTILE, NAME, captioned, make_archive, serving
from raising import error_of
from stap.archive.access import Access, given_token
from stap.archive.records import Query
from stap.archive.server import create_app
from stap.archive.store import Archive
from stap.cli import main
from stap.errors import ConfigError

HOME = "http://127.0.0.1:8017"
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_video_in: Any) -> Path:
    return make_archive(tmp_path_factory.mktemp("made"), make_video_in)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the archive, to write in; its films are those of `made`."""
    return shutil.copytree(made, tmp_path / "archive")


@pytest.fixture
def client(made: Path) -> Iterator[TestClient]:
    with client_of(made) as found:
        yield found


def client_of(folder: Path, access: Access | None = None, home: str = HOME) -> TestClient:
    return TestClient(create_app(folder, access or Access()), base_url=home, raise_server_exceptions=False)


def hit(client: TestClient, words: str = "repairs") -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/search", params={"q": words}).json()["shots"][0]
    return found


def correction(client: Any, shot: dict[str, Any], text: str, **other: str) -> Any:
    sent = {"text": text, "who": "Ann", "seen": shot["caption"], **other}
    return client.post(f"/api/shots/{shot['id']}/caption", json=sent)


# What is found


def test_a_search_finds_shots_with_their_times(client: TestClient) -> None:
    shot = hit(client)
    assert (shot["caption"], shot["start_seconds"], shot["end_seconds"]) == ("a man repairs a bicycle", 0.0, 2.0)
    assert shot["name"] == r"a <b>film & #1 \u202egepj.webm"  # a mark that turns text around is shown
    assert client.get(f"/api/shots/{shot['id']}/picture").content[:2] == b"\xff\xd8"


def test_all_of_a_shot_has_what_each_word_attends_to(client: TestClient) -> None:
    shot = client.get(f"/api/shots/{hit(client)['id']}").json()
    assert [word["word"] for word in shot["words"]] == ["a", "man", "repairs", "a", "bicycle"]
    assert [word["attends_seconds"] for word in shot["words"]] == [0.25, 0.75, 1.25, 1.75, 0.25]
    assert shot["words"][1]["frames"] == [40, 255, 40, 40]
    assert shot["words"][1]["places"] == [20, 255, 20, 20, 20, 20]
    assert (shot["rows"], shot["columns"], shot["problem"]) == (2, 3, "")
    assert shot["versions"] == [{"text": "a man repairs a bicycle", "author": "", "when": ""}]


def test_the_track_is_text_whatever_a_caption_says(client: TestClient) -> None:
    answer = client.get(f"/api/videos/{hit(client)['video']}/captions.vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert answer.text.count(" --> ") == 3  # one a shot
    assert "&lt;script&gt;document.title = 'taken'&lt;/script&gt;\n--&gt; a" in answer.text


def test_the_shots_of_a_video_come_in_their_order(client: TestClient) -> None:
    shots = client.get(f"/api/videos/{hit(client)['video']}/shots").json()["shots"]
    assert [shot["start_seconds"] for shot in shots] == [0.0, 2.0, 4.0]
    assert shots[2]["caption"] == HOSTILE


@pytest.mark.parametrize("words", ["", " ", "...", "\u202e", "?!"])
def test_a_query_without_words_is_told_what_is_expected(client: TestClient, words: str) -> None:
    answer = client.get("/api/search", params={"q": words})
    assert answer.status_code == 422
    assert answer.json()["expected"] == "a sentence, or words to look for (at most 500 characters)"
    assert answer.json()["given"].endswith(" as q")
    assert answer.json()["to_do"] == "Change it, and send it again."


def test_a_query_is_words_whatever_stands_in_it(client: TestClient) -> None:
    for words in ['"', "man' OR 1=1 --", "man AND (", "*:* man", "a" * 500, "ma\u0000n"]:
        answer = client.get("/api/search", params={"q": words})
        assert answer.status_code == (422 if words == '"' else 200), (words, answer.text)


# Files


def test_a_video_comes_in_ranges(client: TestClient, made: Path) -> None:
    content = (made.parent / "films" / NAME).read_bytes()
    address = f"/api/videos/{hit(client)['video']}/file"
    whole = client.get(address)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    assert whole.headers["content-type"] == "video/webm"
    size = len(content)
    for asked, first, last in [
        ("0-9", 0, 9),
        ("100-", 100, size - 1),
        ("-7", size - 7, size - 1),
        (f"5-{10 * size}", 5, size - 1),
    ]:
        part = client.get(address, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, content[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"


@pytest.mark.parametrize(
    "asked", ["bytes=99999999-", "bytes=9-3", "bytes=-0", "bytes=", "pages=1-2", "bytes=" + "9" * 5000 + "-"]
)
def test_a_range_that_the_file_has_not_is_refused(client: TestClient, made: Path, asked: str) -> None:
    answer = client.get(f"/api/videos/{hit(client)['video']}/file", headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{(made.parent / 'films' / NAME).stat().st_size}"
    assert answer.json()["expected"] == "a range such as bytes=0-1023 within the file"


def other_archive(tmp_path: Path, make_video_in: Any) -> tuple[TestClient, dict[str, Any], Path]:
    """A client of an archive with films of its own, a shot, and the film of the shot."""
    made = make_archive(tmp_path, make_video_in)
    client = client_of(made)
    return client, hit(client), tmp_path / "films" / NAME


@pytest.mark.slow
def test_a_video_that_is_not_what_it_was_is_a_sentence(tmp_path: Path, make_video_in: Any) -> None:
    client, shot, film = other_archive(tmp_path, make_video_in)
    kept = film.rename(tmp_path / "kept.webm")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")

    def check(status: int, given: str) -> None:
        answer = client.get(f"/api/videos/{shot['video']}/file")
        assert (answer.status_code, answer.json()["given"]) == (status, given)
        assert client.get(f"/api/shots/{shot['id']}").json()["problem"] == answer.json()["error"]
        assert str(tmp_path) not in answer.text  # where it lies is nobody's business

    check(410, "no file: it was moved or removed since")
    film.symlink_to(secret)
    check(403, "a link that leads out of them")
    film.unlink()
    film.symlink_to(film)
    check(410, "no file: it was moved or removed since")
    film.unlink()
    os.mkfifo(film)
    check(410, "another file: it was replaced or changed since")
    film.unlink()
    film.write_bytes(b"another")
    check(410, "another file: it was replaced or changed since")
    film.unlink()
    inside = kept.rename(tmp_path / "films" / "renamed.webm")
    film.symlink_to(inside)  # a link within the roots
    assert client.get(f"/api/videos/{shot['video']}/file").content == inside.read_bytes()


@pytest.mark.parametrize("path", ["../secret", "..%2fsecret", "%2e%2e", "%00", "/etc/passwd", "a" * 65, "A", "'"])
def test_no_path_of_a_client_leads_to_a_file(client: TestClient, path: str) -> None:
    for address in (f"/api/videos/{path}/file", f"/api/shots/{path}/picture", f"/{path}", f"/api/videos/{path}/captions.vtt"):
        answer = client.get(address)
        assert answer.status_code in (404, 422), address
        assert answer.json()["expected"]


# Who comes in


@pytest.mark.parametrize(
    ("host", "bound", "status"),
    [
        ("127.0.0.1:8017", "127.0.0.1", 200),
        ("localhost", "127.0.0.1", 200),
        ("LOCALHOST.:1", "127.0.0.1", 200),
        ("[::1]:8017", "127.0.0.1", 200),
        ("evil.example", "127.0.0.1", 400),
        ("127.0.0.1.evil.example", "127.0.0.1", 400),
        ("192.168.1.7:8017", "127.0.0.1", 400),
        ("localhost@evil.example", "127.0.0.1", 400),
        ("127.0.0.1:80:80", "127.0.0.1", 400),
        ("", "127.0.0.1", 400),
        ("192.168.1.7:8017", "0.0.0.0", 200),
        ("films.example", "0.0.0.0", 200),
        ("evil.example", "0.0.0.0", 400),
    ],
)
def test_the_page_answers_to_its_own_names_only(made: Path, host: str, bound: str, status: int) -> None:
    client = client_of(made, Access(bound, TOKEN, ("films.example",)))
    answer = client.get("/api/search?q=man", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["expected"] == "the Host header of this server"


def test_another_address_needs_a_token() -> None:
    assert error_of(ConfigError, lambda: Access("192.168.1.7")) == (
        "192.168.1.7: other machines reach this address, so a token is needed, and none was given."
    )
    for loopback in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        Access(loopback)


def test_without_the_token_nothing_is_shown(made: Path) -> None:
    client = client_of(made, Access("0.0.0.0", TOKEN))
    shot = hit(client_of(made))
    addresses = (
        "/api/search?q=man",
        "/api/openapi.json",
        f"/api/videos/{shot['video']}/file",
        "/nowhere",
        f"/api/shots/{shot['id']}",
    )
    for address in addresses:
        for headers in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": "Bearer"},
            {"Cookie": "stap_archive_8017=x"},
        ):
            answer = client.get(address, headers=headers)
            assert answer.status_code == 401, (address, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["expected"] == "the token of this archive"
    page = client.get("/")
    assert (page.status_code, "Token <input" in page.text, "4 shots" in page.text) == (401, True, False)
    assert client.get(f"/api/search?q=man&token={TOKEN}").status_code == 401  # an address is kept in too many places
    assert client.get("/api/search?q=man", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/api/search?q=man", headers={"Authorization": "Bearer é".encode("latin-1")}).status_code == 401


def test_a_browser_comes_in_by_the_link_once_and_by_the_token(made: Path) -> None:
    app = create_app(made, Access("0.0.0.0", TOKEN))
    link, new = f"/enter?code={app.state.link.code}", lambda: TestClient(app, base_url=HOME)
    client = new()
    answer = client.get(link)
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("stap_archive_8017=")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    assert client.get("/api/search?q=man").status_code == 200
    assert new().get(link).status_code == 401  # used
    assert new().get("/enter?code=").status_code == 200
    client = new()
    assert client.post("/enter", data={"token": "wrong"}).status_code == 401
    assert client.get("/").status_code == 401
    assert client.post("/enter", data={"token": TOKEN}).status_code == 200
    assert client.get("/").status_code == 200


def test_a_token_is_of_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}-of-a-file\n")
    (tmp_path / "short").write_text("secret")
    assert given_token(TOKEN, tmp_path / "token") == f"{TOKEN}-of-a-file"
    assert given_token(TOKEN, None) == TOKEN
    assert given_token("", None) is None
    advice = "Give at least 16 letters, digits and marks without spaces, for example: openssl rand -hex 32"
    assert error_of(ConfigError, lambda: given_token(None, tmp_path / "short")) == (
        f"{tmp_path / 'short'}: not a token (6 characters). {advice}"
    )
    assert (
        error_of(ConfigError, lambda: given_token("a b" * 9, None))
        == f"STAP_ARCHIVE_TOKEN: not a token (27 characters). {advice}"
    )


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", f"{HOME}.evil.example"])
def test_a_change_that_another_page_sends_is_refused(folder: Path, origin: str) -> None:
    client = client_of(folder)
    shot = hit(client)
    sent = {"text": "taken", "who": "Eve", "seen": shot["caption"]}
    answer = client.post(f"/api/shots/{shot['id']}/caption", json=sent, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["expected"]) == (403, "a change sent by this page")
    plain = client.post(f"/api/shots/{shot['id']}/caption", content="{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 422  # what a form of another page may send is no JSON
    assert hit(client)["caption"] == shot["caption"]


def test_every_answer_keeps_a_browser_safe(client: TestClient) -> None:
    shot = hit(client)
    for address in (
        "/",
        "/enter",
        "/api/search?q=man",
        f"/api/videos/{shot['video']}/file",
        "/nowhere",
        f"/api/shots/{shot['id']}/picture",
    ):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    nonces = {client.get("/").headers["content-security-policy"] for _ in range(2)}
    assert len(nonces) == 2


# Corrections


def test_a_correction_is_a_new_version(folder: Path) -> None:
    client = client_of(folder)
    shot = hit(client)
    answer = correction(client, shot, "a woman repairs  a bicycle")
    assert answer.status_code == 200
    assert (answer.json()["caption"], answer.json()["author"]) == ("a woman repairs a bicycle", "Ann")
    assert [(one["text"], one["author"]) for one in answer.json()["versions"]] == [
        ("a man repairs a bicycle", ""),
        ("a woman repairs a bicycle", "Ann"),
    ]
    assert hit(client)["caption"] == "a woman repairs a bicycle"
    late = correction(client, shot, "a child repairs a bicycle", who="Bob")
    assert late.status_code == 409
    assert late.json()["error"] == (
        "expected the caption that you saw, got 'a woman repairs a bicycle', by Ann meanwhile. "
        "Nothing was saved. Look at it, and save again to put yours in its place."
    )
    assert correction(client, hit(client), "a child repairs a bicycle", who="Bob").status_code == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"text": "..."}, "a caption in one line, with at least one word and at most 500 characters"),
        ({"text": "two\nlines"}, "a caption in one line, with at least one word and at most 500 characters"),
        ({"text": "a" * 501}, "a caption in one line, with at least one word and at most 500 characters"),
        ({"text": "\ud800 a"}, "a caption in one line, with at least one word and at most 500 characters"),
        ({"who": " "}, "the name of who corrects, in one line of at most 80 characters"),
        ({"who": None}, "the name of who corrects, in one line of at most 80 characters"),
        ({"seen": 3}, "the caption that was changed"),
    ],
)
def test_a_correction_that_cannot_be_saved_says_why(folder: Path, sent: dict[str, Any], expected: str) -> None:
    client = client_of(folder)
    shot = hit(client)
    whole = {"text": "a cat", "who": "Ann", "seen": shot["caption"], **sent}
    answer = client.post(
        f"/api/shots/{shot['id']}/caption", content=json.dumps(whole), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["expected"]) == (422, expected)
    assert hit(client)["caption"] == shot["caption"]


def test_bodies_that_are_too_large_or_no_json_are_refused(client: TestClient) -> None:
    address = f"/api/shots/{hit(client)['id']}/caption"
    for content in (b"a" * 20_000, iter([b"a"])):  # the second does not say how long it is
        answer = client.post(address, content=content)
        assert (answer.status_code, answer.json()["expected"]) == (413, "at most 16384 bytes, with a Content-Length")
    broken = client.post(address, content="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["given"]) == (422, "text that is no JSON as body")


def test_while_another_writes_nothing_is_lost(folder: Path) -> None:
    client = client_of(folder)
    shot = hit(client)
    with Archive.open(folder, write=True):
        answer = correction(client, shot, "a cat")
        assert answer.status_code == 423
        assert answer.json()["expected"] == "an archive in which nobody else writes"
        assert answer.json()["to_do"] == "Nothing was saved. Wait until it has ended, and save again."
        assert hit(client)["caption"] == shot["caption"]  # it can be read meanwhile
    assert correction(client, shot, "a cat repairs").status_code == 200


@pytest.mark.slow
def test_corrections_export_as_a_folder_corpus_without_what_lies_outside(folder: Path, tmp_path: Path) -> None:
    client = client_of(folder)
    assert client.get("/api/corrections").json() == {"shots": []}
    assert client.get("/api/corrections.zip").json()["given"] == "none so far"
    for words in ("repairs", "rides"):
        shot = hit(client, words)
        assert correction(client, shot, f"a child {words} a bicycle").status_code == 200
    assert [one["caption"] for one in client.get("/api/corrections").json()["shots"]] == [
        "a child repairs a bicycle",
        "a child rides a bicycle",
    ]
    with Archive.open(folder, write=True) as archive:  # of which one now leads out of the roots
        [other] = [video for video in archive.videos() if video.path.name == "other.webm"]
        (tmp_path / "outside").mkdir()
        outside = shutil.copy2(other.path, tmp_path / "outside")
        link = other.path.with_name("link.webm")
        link.symlink_to(outside)
        archive.move(replace(other, path=link))
    try:
        answer = client.get("/api/corrections.zip")
    finally:
        link.unlink()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as corpus:
        corpus.extractall(tmp_path)
    lines = (tmp_path / "corrections" / "captions.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["caption", "a child repairs a bicycle"]
    assert (tmp_path / "corrections" / lines[1].split(",")[0]).stat().st_size > 0
    assert "1 corrections are left out" in (tmp_path / "corrections" / "problems.txt").read_text()


def test_a_search_by_meaning_finds_what_no_word_says(made: Path) -> None:
    def asked(words: str) -> Query:
        return Query("", np.eye(4, dtype=np.float32)[2])

    client = TestClient(create_app(made, Access(), asked), base_url=HOME)
    assert hit(client, "anything")["caption"] == HOSTILE


def test_an_archive_that_is_gone_is_a_sentence(folder: Path) -> None:
    client = client_of(folder)
    shutil.rmtree(folder)
    answer = client.get("/api/search?q=man")
    assert (answer.status_code, answer.json()["expected"]) == (503, "an archive that can be used")


@pytest.mark.slow
def test_fifty_clients_at_once_lose_nothing(folder: Path) -> None:
    """Twenty-five shots, each corrected by two clients that began together."""
    with Archive.open(folder, write=True) as archive:
        path = archive.videos()[-1].path
        archive.add([captioned(path, [f"juggler number{shot}" for shot in range(25)])])
    together = threading.Barrier(50)

    def work(number: int) -> str:
        said = f"juggler number{number % 25} seen by {number}"
        with httpx.Client(base_url=address, timeout=300, trust_env=False) as client:
            together.wait()
            [shot] = client.get(f"/api/search?q=number{number % 25}").json()["shots"]
            assert client.get(f"/api/shots/{shot['id']}/picture").content[:2] == b"\xff\xd8"
            part = client.get(f"/api/videos/{shot['video']}/file", headers={"Range": "bytes=0-3"})
            assert part.content == b"\x1aE\xdf\xa3"
            while (answer := correction(client, shot, said, who=f"n{number}")).status_code == 409:
                shot = client.get(f"/api/shots/{shot['id']}").json()
            assert answer.status_code == 200, answer.text
        return said

    with serving(create_app(folder, Access())) as address, ThreadPoolExecutor(50) as pool:
        said = list(pool.map(work, range(50)))
    with Archive.open(folder) as archive:
        kept = {version.text for shot in archive.shots_of(path) for version in archive.versions(shot.id) if version.author}
    assert kept == set(said)


# The command


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(made: Path) -> None:
    line = "import sys; from stap.cli import main; sys.exit(main())"
    options = ["serve", "--archive", str(made), "--host", "0.0.0.0", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", line, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().rstrip("/\n").rpartition(":")[2]
        address = f"http://127.0.0.1:{port}/api/search?q=bicycle"
        with httpx.Client(trust_env=False) as client:
            refused = client.get(address)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert refused.status_code == 401
    assert process.returncode == 130
    first, second, last = said.splitlines()
    assert first.startswith("Token, which is shown this once: ")
    assert second.startswith("To let one browser in, once: http://")
    assert first.split()[-1] not in second
    assert last == "stap: interrupted. Nothing is lost. Run the same line again."


def test_what_the_command_cannot_do_is_a_sentence(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*options: str) -> str:
        assert main(["serve", "--archive", str(made), *options]) == 1
        return capsys.readouterr().err

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal("--port", str(port)) == (
            f"stap: 127.0.0.1:{port}: cannot listen there (Address already in use). "
            "Name another --port, or an address of this machine with --host.\n"
        )
    monkeypatch.setenv("STAP_ARCHIVE_TOKEN", "short")
    assert refusal().startswith("stap: STAP_ARCHIVE_TOKEN: not a token (5 characters). ")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert refusal() == (
        "stap: the page of an archive needs the package uvicorn, which is not installed. Install it with: pip install 'stap[archive]'\n"
    )

"""The page of `stap serve` in a real browser: with pointer, finger, keyboard and screen reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archives import HOSTILE, NAME, make_archive, serving
from stap.archive.access import Access
from stap.archive.server import create_app
from stap.archive.store import Archive

pytestmark = pytest.mark.slow  # the browser's start takes seconds

PHONE, DESKTOP = {"width": 320, "height": 640}, {"width": 1200, "height": 900}
VIDEO = "document.querySelector('video')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_video_in: Any) -> Path:
    return make_archive(tmp_path_factory.mktemp("page"), make_video_in)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(create_app(folder, Access())) as found:
        yield found


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the page; what the browser complains of, or asks of another host, makes the test fail."""
    complaints: list[str] = []
    contexts = []

    def opened(at: str = address, **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("request", lambda asked: None if asked.url.startswith((at, "data:")) else complaints.append(asked.url))
        page.goto(at)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def wait(page: Any, condition: str) -> None:
    """Until it holds. The page's policy forbids the waiting that Playwright has."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def search(page: Any, words: str, count: int) -> None:
    page.get_by_label("What happens in the shot").fill(words)
    page.get_by_text(f"{count} shots found." if count != 1 else "1 shot found.").wait_for()


def open_shot(page: Any, words: str) -> None:
    search(page, words, 1)
    page.locator(".go").click()
    wait(page, f"{VIDEO}.readyState >= 2 && !{VIDEO}.seeking")


def test_a_search_while_typing_and_the_player_at_the_shot(open_page: Any) -> None:
    page = open_page()
    answers: list[str] = []
    page.on("request", lambda asked: answers.append(asked.url) if "/api/search" in asked.url else None)
    page.get_by_label("What happens in the shot").press_sequentially("bicycle", delay=20)
    page.get_by_text("2 shots found.").wait_for()
    assert len(answers) == 1  # for the whole word, and not for each letter
    assert page.locator(".go .text > bdi").all_inner_texts() == ["a man repairs a bicycle", "a woman rides a bicycle"]
    wait(page, "[...document.querySelectorAll('.go img')].every(one => one.naturalWidth === 64)")
    open_shot(page, "beach")
    assert page.evaluate(f"{VIDEO}.currentTime") == 2
    assert page.evaluate(f"{VIDEO}.paused")  # motion is reduced
    assert page.evaluate("document.querySelector('track').track.cues.length") == 3
    page.get_by_label("What happens in the shot").fill("unicycle")
    page.get_by_text("No shots found. Try other words.").wait_for()
    page.get_by_label("What happens in the shot").fill("...")
    page.get_by_text("There is no word in this.").wait_for()


def test_what_is_hostile_is_text(open_page: Any) -> None:
    page = open_page()
    open_shot(page, "script")
    assert page.locator(".go .text > bdi").inner_text() == HOSTILE
    assert page.get_by_label("Caption", exact=True).input_value() == HOSTILE
    assert page.locator("#title").inner_text() == r"00:04 to 00:06 · a <b>film & #1 \u202egepj.webm"
    assert page.title() == "archive"
    assert page.evaluate("document.querySelectorAll('b, main script').length") == 0
    assert page.evaluate("document.querySelector('track').track.cues[2].getCueAsHTML().textContent").startswith("<script>")


def darkness(page: Any, x: float, y: float) -> int:
    """How much is laid over a point of the frame, 0 to 255; the point in fractions."""
    found: int = page.locator(".screen canvas").evaluate(
        "(canvas, [x, y]) => canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3]", [x, y]
    )
    return found


def test_pointing_at_a_word_shows_what_it_attends_to(open_page: Any) -> None:
    page = open_page()
    open_shot(page, "beach")
    page.get_by_role("button", name="dog", exact=True).hover()  # the second word: frame 1, place 1 of 2 x 3
    wait(page, f"{VIDEO}.currentTime === 2.75")
    assert page.get_by_text("“dog” looks most at 00:02.7").count() == 1
    assert darkness(page, 1 / 2, 1 / 4) == 0
    assert darkness(page, 1 / 6, 3 / 4) == pytest.approx(0.62 * 255 * (1 - 20 / 255), abs=2)
    heights = page.locator("#bars i").evaluate_all("all => all.map(one => parseFloat(one.style.height))")
    assert heights == pytest.approx([15.7, 100, 15.7, 15.7], abs=0.1)
    page.mouse.move(0, 0)
    wait(page, f"{VIDEO}.currentTime === 2")  # where it was
    assert darkness(page, 1 / 6, 3 / 4) == 0
    page.get_by_role("button", name="dog", exact=True).click()
    page.mouse.move(0, 0)
    assert page.locator(".word[aria-pressed=true]").all_inner_texts() == ["dog"]
    assert darkness(page, 1 / 6, 3 / 4) > 0  # a click keeps it


def test_the_keyboard_alone_finds_plays_and_corrects(browser: Any, folder: Path, tmp_path: Path, open_page: Any) -> None:
    copy = shutil.copytree(folder, tmp_path / "archive")
    with serving(create_app(copy, Access())) as address:
        page = open_page(address)
        focus = "(document.activeElement.id || document.activeElement.className)"
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "q"
        page.keyboard.type("bicycle")
        page.get_by_text("2 shots found.").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "corrected"
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "go"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        wait(page, f"{focus} === 'title'")
        wait(page, f"{VIDEO}.readyState >= 2")
        for _ in range(12):  # through the controls of the player
            page.keyboard.press("Tab")
            if page.evaluate(focus).startswith("word"):
                break
        assert page.get_by_text("“a” looks most at 00:00.2").count() == 1
        page.keyboard.press("ArrowRight")
        assert page.get_by_text("“man” looks most at 00:00.7").count() == 1
        page.keyboard.press("Tab")
        assert page.evaluate(focus) == "text"
        page.keyboard.press("Control+A")
        page.keyboard.type("a woman repairs a bicycle")
        page.keyboard.press("Tab")
        page.keyboard.type("Ann")
        page.keyboard.press("Enter")
        page.get_by_text("Saved as a new version.").wait_for()
        assert page.locator(".go .text > bdi").first.inner_text() == "a woman repairs a bicycle"
        with Archive.open(copy, write=True) as archive:
            [shot] = [one for one in archive.shots_of(folder.parent / "films" / NAME) if one.start_seconds == 0]
            archive.correct(shot.id, "a child repairs a bicycle", "Bob")
        page.get_by_label("Caption", exact=True).fill("a girl repairs a bicycle")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("got 'a child repairs a bicycle', by Bob meanwhile").wait_for()
        with Archive.open(copy, write=True):
            page.keyboard.press("Enter")  # again, to replace it
            page.get_by_text("Nothing was saved. Wait until it has ended").wait_for()
        assert page.get_by_label("Caption", exact=True).input_value() == "a girl repairs a bicycle"
        page.keyboard.press("Enter")
        page.get_by_text("Saved as a new version.").wait_for()
        page.get_by_text("Versions of this caption").click()
        assert page.locator("#versions li > bdi").all_inner_texts() == [
            f"a {who} repairs a bicycle" for who in ("man", "woman", "child", "girl")
        ]
        page.keyboard.press("Escape")
        assert page.evaluate(focus) == "go"


def test_a_video_that_was_moved_is_a_sentence(browser: Any, open_page: Any, tmp_path: Path, make_video_in: Any) -> None:
    moved = make_archive(tmp_path, make_video_in)
    (tmp_path / "films" / NAME).unlink()
    with serving(create_app(moved, Access())) as address:
        page = open_page(address)
        search(page, "beach", 1)
        page.locator(".go").click()
        page.get_by_role("alert").get_by_text("no file: it was moved or removed since").wait_for()
        assert page.locator("video").is_hidden()
        assert page.get_by_alt_text("Key frame of the shot").is_visible()
        page.get_by_role("button", name="Back").click()


def test_a_phone(open_page: Any) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    search(page, "bicycle", 2)
    page.locator(".go").first.tap()
    page.locator("#shot").wait_for()
    assert page.locator("#found").is_hidden()  # one thing at a time
    page.get_by_role("button", name="man", exact=True).tap()
    assert page.get_by_text("“man” looks most at").count() == 1
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [320, 320]
    smallest = page.locator("button:visible, input:visible, summary:visible").evaluate_all(
        "all => Math.min(...all.map(one => one.getBoundingClientRect().height))"
    )
    assert smallest >= 24  # WCAG 2.2, 2.5.8
    page.get_by_role("button", name="All shots of this video").tap()
    page.get_by_text("3 shots of a <b>film").wait_for()
    assert page.locator(".go").count() == 3


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_nothing_stands_in_the_way_of_a_screen_reader(open_page: Any, scheme: str, size: dict[str, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: pip install 'stap[dev]'")
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    page = open_page(color_scheme=scheme, viewport=size)

    def check() -> None:
        found = axe.Axe().run(page, options=rules).response["violations"]
        assert [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in found] == []

    search(page, "bicycle", 2)
    check()
    page.locator(".go").first.click()
    wait(page, f"{VIDEO}.readyState >= 1")
    page.get_by_role("button", name="man", exact=True).click()
    page.get_by_text("Versions of this caption").click()
    assert page.locator(".go").evaluate_all("all => all.map(one => one.getAttribute('aria-current'))") == ["true", None]
    check()


def test_a_stranger_types_the_token_once(browser: Any, folder: Path, open_page: Any) -> None:
    with serving(create_app(folder, Access("127.0.0.1", "correct-horse-battery"))) as address:
        page = open_page(address)
        page.get_by_label("Token").fill("correct-horse-battery")
        page.get_by_role("button", name="Open the archive").click()
        search(page, "bicycle", 2)
        page.reload()
        search(page, "bicycle", 2)

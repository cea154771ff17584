"""What a real browser makes of a WebVTT track, and of the page of a video."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from films import scenes
from stap.programmes.cues import cues_of
from stap.programmes.documents import document
from stap.programmes.timed import CaptionedVideo, TimedCaption
from stap.programmes.writers import vtt

pytestmark = pytest.mark.slow  # the browser's start takes seconds

_WRITTEN = io.BytesIO()
Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(_WRITTEN, "jpeg")
PICTURE = _WRITTEN.getvalue()
READ = """() => {
  const track = document.querySelector('track').track;
  return Array.from(track.cues, cue => [Math.round(1000 * cue.startTime), Math.round(1000 * cue.endTime), cue.getCueAsHTML().textContent]);
}"""


@pytest.mark.parametrize("kind", ["captions", "descriptions"])
def test_a_browser_reads_the_cues_of_a_track_exactly(browser: Any, kind: str) -> None:
    said = [
        "a <b>man</b> --> runs",
        "{\\an8}a & b; 1 < 2 \\N &amp;",
        "un café, 一只狗 🐕",
        "a line that is so long that it has to be broken into two",
    ]
    cues, _ = cues_of(TimedCaption(3600.0 * k + 1.5, 3600.0 * k + 9, text) for k, text in enumerate(said))
    source = "data:text/vtt;base64," + base64.b64encode(vtt(cues, kind).encode()).decode()
    page = browser.new_page()
    page.set_content(f"<video><track default kind={kind} srclang=en src='{source}'></video>")
    page.evaluate("document.querySelector('track').track.mode = 'hidden'")
    page.wait_for_function("document.querySelector('track').readyState == 2")
    assert page.evaluate(READ) == [[cue.start_ms, cue.end_ms, cue.text] for cue in cues]
    page.close()


@pytest.fixture(scope="module")
def page_of_a_film(tmp_path_factory: pytest.TempPathFactory, make_video_in: Any) -> Path:
    """A film of three shots and its page; one caption contains markup."""
    folder = tmp_path_factory.mktemp("page")
    film = make_video_in(folder, "a film #1.webm", scenes(50, 50, 50), codec="libvpx")
    said = ["a <b>red</b> square moves", "<script>document.title = 'taken'</script>", "a green square stops"]
    captions = tuple(
        TimedCaption(2.0 * k, 2.0 * k + 2, text, -2.0, 0.7, (("a", 2.0 * k + 0.5), ("square", 2.0 * k + 1.25)), picture=PICTURE)
        for k, text in enumerate(said)
    )
    video = CaptionedVideo(film, 6.0, captions, {"captioner": {"model": "m"}})
    text, _ = document(video, "html", folder=folder)
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder / "page.html"


def open_page(browser: Any, path: Path, **options: Any) -> Any:
    page = browser.new_page(**options)
    page.on("request", lambda request: pytest.fail(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    return page


def test_a_page_plays_from_the_shot_that_is_chosen(browser: Any, page_of_a_film: Path) -> None:
    page = open_page(browser, page_of_a_film)
    assert page.title() == "a film #1.webm"
    assert page.locator(".go").nth(0).inner_text().endswith("a <b>red</b> square moves\nconfidence 70 percent")
    page.evaluate("document.querySelector('video').play = () => Promise.resolve()")  # stays where it is put
    page.locator(".go").nth(1).click()
    page.wait_for_function("document.querySelector('video').currentTime == 2")
    page.wait_for_selector(".shot:nth-child(2)[aria-current]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('video').currentTime == 4")
    page.locator(".shot").nth(2).locator("summary").click()
    page.get_by_role("button", name="square looks at 00:00:05.250").click()
    page.wait_for_function("document.querySelector('video').currentTime == 5.25")
    page.get_by_label("Only captions with").fill("green")
    assert page.locator(".shot:visible").count() == 1
    assert page.locator("#shown").inner_text() == "1 shots"
    assert page.evaluate("document.querySelector('track').track.cues.length") == 3
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_on_the_page_stands_in_the_way_of_a_screen_reader_or_a_phone(
    browser: Any, page_of_a_film: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: pip install 'stap[dev]'")
    page = open_page(browser, page_of_a_film, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("summary").first.click()
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
    assert [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_a_video_that_the_browser_cannot_play_is_said(browser: Any, tmp_path: Path) -> None:
    video = CaptionedVideo(tmp_path / "none.mkv", 6.0, (TimedCaption(0, 6, "a"),))
    (tmp_path / "page.html").write_text(document(video, "html", folder=tmp_path)[0], encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.get_by_text("This browser cannot play the file.").wait_for()
    page.close()

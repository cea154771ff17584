"""The report in a real browser: quiet, alone, and usable with pointer, finger, keyboard and screen reader."""

from pathlib import Path

import numpy as np
import pytest

from stap.reports.clip import ClipReport
from stap.reports.curves import Curve
from stap.reports.page import Report, ScoresRow, ScoresTable, write_report
from stap.reports.places import Boxes, Grid

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'stap[dev]'")

pytestmark = pytest.mark.slow  # the browser's start takes seconds

FRAMES, GRID_CLIP, BOX_CLIP = 12, 0, 1


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its parts: places of a grid, boxes for each word, and no places."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    table = ScoresTable(
        ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr"),
        (
            ScoresRow("L-STAP", (0.53, 0.33, 0.7, 0.8), "stap train msvd/lstap-attention", intervals=((0.5, 0.6),) * 4),
            ScoresRow("L-STAP", (0.55, 0.35, 0.73, 0.87), "the paper, table 2", is_published=True),
        ),
    )
    curves = (
        Curve("training", range(1, 9), [3 / (e + 1) for e in range(8)], "epoch", "loss"),
        Curve("validation", range(1, 9), [3.2 / (e + 1) for e in range(8)], "epoch", "loss"),
    )
    clips = (clip("grid"), clip("boxes"), clip("none"))
    write_report(path, Report("A report", "Of clips.", table, clips, curves, {"Command": "stap evaluate " + "x" * 80}))
    return path


def clip(kind: str) -> ClipReport:
    """Four words over twelve frames; word w looks at frame 3 w most, and the places that weigh most go from left to right."""
    height, width, words = 48, 64, ("a", "man", "is", "running")
    y, x = np.mgrid[:height, :width]
    frames = np.stack([np.stack([x * 4, y * 5, np.full_like(x, 20 * t)], axis=-1) for t in range(FRAMES)]).astype(np.uint8)
    attention = np.exp(-((np.arange(FRAMES) - 3 * np.arange(4)[:, None]) ** 2))
    attention /= attention.sum(axis=1, keepdims=True)
    weights = {
        "grid": np.array([[0.9 if place == t % 4 else 0.1 / 11 for place in range(12)] for t in range(FRAMES)]),
        "boxes": np.array(
            [[[0.85 if place == word else 0.05 for place in range(4)] for _ in range(FRAMES)] for word in range(4)]
        ),
    }
    corners = np.array([[[0.25 * n, 0.2, 0.25 * n + 0.2, 0.8] for n in range(4)]] * FRAMES)
    places = {"grid": Grid(3, 4), "boxes": Boxes(corners, (("man", "dog", "tree", "car"),) * FRAMES)}
    return ClipReport(
        f"video_of_{kind}", words, tuple(f"reference {n}" for n in range(7)), frames, np.arange(FRAMES) / 2, attention,
        weights.get(kind), places.get(kind), score=-3.2, extra={"facts recalled": "3 of 4"},
    )  # fmt: skip


@pytest.fixture
def open_page(browser: "playwright.Browser", report: Path):
    """A function that opens the report; what a browser complains of or asks for makes the test fail."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened(**settings: object) -> "playwright.Page":
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def bars(clip) -> list[float]:
    """What each frame weighs for the word that is shown, of the greatest."""
    return [
        float(value) for value in clip.locator(".frame").evaluate_all("all => all.map(f => f.style.getPropertyValue('--b'))")
    ]


def darkness(clip, x: float, y: float) -> int:
    """How much is laid over a point of the large picture, 0 to 255; the point in fractions."""
    return clip.locator(".stage canvas").evaluate(
        """(canvas, [x, y]) => {
            const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
            return copy.getImageData(0, 0, 1, 1).data[3];
        }""",
        [x, y],
    )


def test_pointing_at_a_word_shows_when_and_where(open_page) -> None:
    page = open_page()
    clip = page.locator(".clip").nth(GRID_CLIP)
    before = clip.locator(".stage").screenshot()
    assert bars(clip) == [0] * FRAMES
    clip.get_by_role("button", name="man").hover()
    expected = np.exp(-((np.arange(FRAMES) - 3) ** 2))
    assert bars(clip) == pytest.approx(expected, abs=0.01)
    assert clip.locator(".stage .time").inner_text() == "1.5 s"  # frame 3
    assert clip.get_by_role("status").inner_text() == "“man”: most attention at 1.5 s (56\u00a0%, upper right)."
    assert darkness(clip, 7 / 8, 1 / 6) == 0  # place 3, which has nearly all the weight
    assert darkness(clip, 3 / 8, 1 / 2) == pytest.approx(0.62 * 255 * (1 - 0.1 / 11 / 0.9), abs=2)
    assert clip.locator(".stage").screenshot() != before
    playwright.expect(clip.locator(".film").nth(11)).to_have_css("opacity", "0.25")  # it fades
    page.mouse.move(0, 0)
    assert bars(clip) == [0] * FRAMES


def test_boxes_differ_from_word_to_word(open_page) -> None:
    clip = open_page().locator(".clip").nth(BOX_CLIP)
    for index, word in enumerate(("a", "man", "is", "running")):
        clip.get_by_role("button", name=word, exact=True).hover()
        found = [darkness(clip, 0.25 * n + 0.1, 0.5) for n in range(4)]
        assert [value < 10 for value in found] == [n == index for n in range(4)]
        assert darkness(clip, 0.1, 0.05) == pytest.approx(0.62 * 255, abs=1)  # outside of all boxes
    assert clip.get_by_role("status").inner_text().endswith("car at the right).")


def test_pointing_at_a_frame_shows_it_and_its_words(open_page) -> None:
    clip = open_page().locator(".clip").nth(BOX_CLIP)
    clip.locator(".frame").nth(6).hover()
    assert clip.locator(".stage .time").inner_text() == "3.0 s"
    assert clip.locator(".stage img").get_attribute("src") == clip.locator(".frame img").nth(6).get_attribute("src")
    shares = clip.locator(".word").evaluate_all("all => all.map(w => Number(w.style.getPropertyValue('--w')))")
    assert shares == pytest.approx([0, 0, 1, 0], abs=0.001)


def test_the_keyboard_reaches_everything(open_page) -> None:
    page = open_page()
    clip = page.locator(".clip").nth(GRID_CLIP)
    focused = "document.activeElement.innerText.trim()"
    page.locator(".wide").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "a"
    assert clip.get_by_role("status").inner_text().startswith("“a”: most attention at 0.0 s")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    pressed = ".word[aria-pressed=true]"
    assert clip.locator(pressed).all_inner_texts() == ["man"]
    page.keyboard.press("Tab")  # the caption is one stop; the frames are the next
    assert page.evaluate("document.activeElement.classList.contains('frame')")
    page.keyboard.press("End")
    assert clip.locator(".stage .time").inner_text() == f"{(FRAMES - 1) / 2} s"
    assert bars(clip)[3] == 1  # still those of the word that was kept
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == "man"
    page.keyboard.press("Escape")
    assert clip.locator(pressed).count() == 0
    page.keyboard.press("End")
    assert page.evaluate(focused).endswith("play")
    page.keyboard.press("Enter")
    assert clip.locator(pressed).all_inner_texts() == ["a"]
    clip.locator(pressed, has_text="man").wait_for()  # it goes on by itself


def test_a_phone(open_page) -> None:
    page = open_page(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    clip = page.locator(".clip").nth(GRID_CLIP)
    clip.get_by_role("button", name="running").tap()
    assert bars(clip)[9] == 1
    clip.get_by_text("Attention in numbers").tap()
    assert page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]") == [320, 320]
    smallest = page.locator(".word").evaluate_all("all => Math.min(...all.map(w => w.getBoundingClientRect().height))")
    assert smallest >= 24  # WCAG 2.2, 2.5.8


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 320)])
def test_nothing_stands_in_the_way_of_a_screen_reader(open_page, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: pip install 'stap[dev]'")
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce")
    clip = page.locator(".clip").nth(GRID_CLIP)
    clip.get_by_role("button", name="man").click()
    clip.get_by_text("Attention in numbers").click()
    page.locator(".clip").nth(BOX_CLIP).get_by_role("button", name="man").hover()
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
    problems = [
        f"{violation['id']}: {violation['help']} {[node['html'][:200] for node in violation['nodes'][:3]]}"
        for violation in found.response["violations"]
    ]
    assert problems == []


def test_it_stands_still_where_that_is_wished_for(open_page) -> None:
    film = open_page(reduced_motion="reduce").locator(".film").first
    assert film.evaluate("film => getComputedStyle(film).transitionDuration") == "0s"

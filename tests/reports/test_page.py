"""The report: everything is in it, nothing outside is asked for, and nothing given can break out of its place."""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from raising import error_of
from stap.errors import ShapeError, StapError
from stap.reports.clip import ClipReport
from stap.reports.curves import Curve
from stap.reports.page import PlainTable, Report, ScoresRow, ScoresTable, write_report
from stap.reports.places import Boxes, Grid

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The tags of a page with their attributes and the text inside each; complains about tags that do not match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.tags.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.tags.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data
        if not self.open or self.open[-1]["tag"] not in ("style", "script"):
            self.text += data

    def all(self, tag, **wanted):
        wanted = {"class" if key == "kind" else key: value for key, value in wanted.items()}
        return [e for e in self.tags if e["tag"] == tag and all(e.get(key) == value for key, value in wanted.items())]


def make_clip(**changes):
    rng = np.random.default_rng(0)
    attention = np.array([[0.7, 0.2, 0.1], [0.1, 0.123, 0.777]])
    weights = np.full((3, 4), 0.1)
    weights[[0, 1, 2], [0, 3, 2]] = 0.7
    values = {
        "video_id": "video7",
        "caption_words": ("hello", "world"),
        "references": tuple(f"reference {i}" for i in range(7)),
        "rgb_uint8": rng.integers(0, 255, (3, 24, 40, 3), dtype=np.uint8),
        "times_seconds": np.array([0.5, 1.5, 2.5]),
        "word_attention": attention,
        "spatial_weights": weights,
        "places": Grid(2, 2),
        "score": -1.234,
        "extra": {"facts recalled": "3 of 4"},
    }
    return ClipReport(**{**values, **changes})


def make_report(*clips, **changes):
    table = ScoresTable(
        ("BLEU-4", "CIDEr"),
        (
            ScoresRow("most frequent", (0.1, 0.5004), "one caption"),
            ScoresRow("LRCN", (0.4, None)),
            ScoresRow("L-STAP", (0.534, 0.5)),
        ),
    )
    curves = (
        Curve("training", [1, 2, 3], [3.0, 2.0, 1.5], "epoch", "loss"),
        Curve("validation", [1, 2, 3], [3.5, math.nan, 2.0], "epoch", "loss"),
        Curve("validation", [1], [0.3], "epoch", "CIDEr"),
    )
    return Report(**{"title": "A title", "intro": "One.\n\nTwo.", "scores": table, "clips": clips, "curves": curves,
                     "how_made": {"seed": "0"}, **changes})  # fmt: skip


@pytest.fixture
def page(tmp_path):
    def write(report):
        path = tmp_path / "report.html"
        write_report(path, report)
        return Page(path.read_text(encoding="utf-8"))

    return write


def frames_of(shown):
    return [image for image in shown.all("img") if image["alt"].startswith("Frame")]


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_words_references_and_numbers_are_there(page):
    shown = page(make_report(make_clip(), make_clip(video_id="video8")))
    words = shown.all("button", kind="word")
    assert [word["text"] for word in words] == ["hello", "world"] * 2
    assert [word["data-percents"] for word in words[:2]] == ["70.0 20.0 10.0", "10.0 12.3 77.7"]
    assert [word["data-frame"] for word in words[:2]] == ["0", "2"]
    assert [item["text"] for item in shown.all("li") if item["text"].startswith("reference")] == [
        f"reference {i}" for i in range(7)
    ] * 2
    assert [cell["text"] for cell in shown.all("td") if "style" in cell][:6] == ["70.0", "20.0", "10.0", "10.0", "12.3", "77.7"]
    for text in ("A title", "One.", "Two.", "video7", "video8", "−1.23", "facts recalled", "3 of 4", "seed"):
        assert text in shown.text


def test_a_word_says_when_and_where(page):
    says = [word["data-says"] for word in page(make_report(make_clip())).all("button", kind="word")]
    assert says == [
        "“hello”: most attention at 0.5 s (70\u00a0%, upper left).",
        "“world”: most attention at 2.5 s (78\u00a0%, lower left).",
    ]
    even = make_clip(word_attention=np.full((2, 3), 1 / 3), spatial_weights=None, places=None)
    says = page(make_report(even)).all("button", kind="word")[0]["data-says"]
    assert says == "“hello”: spread over the clip, most at 0.5 s (33\u00a0%), 1.5 s (33\u00a0%) and 2.5 s (33\u00a0%)."


def test_pictures_are_small_and_show_the_frames(page):
    rgb_uint8 = np.zeros((4, 120, 320, 3), dtype=np.uint8)
    rgb_uint8[1, :, :, 0] = 255
    attention = np.array([[0.7, 0.2, 0.1, 0.0], [0.6, 0.3, 0.1, 0.0]])
    shown = page(
        make_report(
            make_clip(
                rgb_uint8=rgb_uint8,
                times_seconds=np.arange(4) + 0.5,
                word_attention=attention,
                spatial_weights=np.eye(4),
            )
        )
    )
    images = frames_of(shown)
    pictures = [decoded(image["src"]) for image in images]
    # Large are the frame that weighs most for a word, and the middle one, which is shown when no word is chosen.
    assert [(picture.format, picture.size) for picture in pictures] == [
        ("WEBP", (288, 108)), ("WEBP", (128, 48)), ("WEBP", (288, 108)), ("WEBP", (128, 48))
    ]  # fmt: skip
    assert [picture.convert("RGB").getpixel((60, 20))[0] > 200 for picture in pictures] == [False, True, False, False]
    assert [image["alt"] for image in images] == [
        "Frame at 0.5 s; most weight: upper left",
        "Frame at 1.5 s; most weight: upper right",
        "Frame at 2.5 s; most weight: lower left",
        "Frame at 3.5 s; most weight: lower right",
    ]


def weights_of(clip):
    return np.frombuffer(base64.b64decode(clip["data-weights"]), dtype=np.uint8)


def test_the_page_carries_the_weights_of_a_grid(page):
    weights = np.array([[0.4, 0.2, 0.2, 0.2], [0.0, 0.25, 0.25, 0.5], [0.25, 0.25, 0.26, 0.24]])
    [clip] = page(make_report(make_clip(spatial_weights=weights))).all("article")
    assert json.loads(clip["data-places"]) == {"rows": 2, "columns": 2}
    # Of the greatest of the frame, with 0 at 0: what hardly differs looks as if it hardly differed.
    assert weights_of(clip).tolist() == [255, 128, 128, 128, 0, 128, 128, 255, 245, 245, 255, 235]


def test_the_page_carries_the_weights_of_boxes_for_each_word(page):
    corners = np.array([[[0.0, 0.0, 0.5, 0.5], [0.6, -0.1, 1.2, 0.4]]] * 3)
    weights = np.array([[[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], [[0.0, 1.0], [1.0, 0.0], [0.75, 0.25]]])
    boxes = Boxes(corners, (("dog", "cat"),) * 3)
    shown = page(make_report(make_clip(spatial_weights=weights, places=boxes)))
    [clip] = shown.all("article")
    assert json.loads(clip["data-places"]) == {"boxes": [[[0, 0, 500, 500], [600, 0, 1000, 400]]] * 3}
    assert weights_of(clip).tolist() == [255, 28, 255, 255, 64, 255, 0, 255, 255, 0, 255, 85]
    assert [image["alt"] for image in frames_of(shown)] == [f"Frame at {s} s" for s in (0.5, 1.5, 2.5)]
    assert [word["data-says"] for word in shown.all("button", kind="word")] == [
        "“hello”: most attention at 0.5 s (70\u00a0%).",  # 0.9 is less than twice an even share of two boxes
        "“world”: most attention at 2.5 s (78\u00a0%).",
    ]


def test_where_names_what_a_box_holds(page):
    corners = np.zeros((3, 4, 4))
    corners[:, 1] = [0.6, 0.6, 1.0, 1.0]
    weights = np.full((2, 3, 4), 0.1)
    weights[:, :, 1] = 0.7
    clip = make_clip(spatial_weights=weights, places=Boxes(corners, (("dog", "cat", "", ""),) * 3))
    says = [word["data-says"] for word in page(make_report(clip)).all("button", kind="word")]
    assert says[0] == "“hello”: most attention at 0.5 s (70\u00a0%, cat at the lower right)."


@pytest.mark.slow
def test_where_in_words(page):
    def said(place, grid):
        weights = np.full((3, grid.rows * grid.columns), 0.01)
        weights[:, place] = 0.5
        shown = page(make_report(make_clip(spatial_weights=weights, places=grid)))
        return frames_of(shown)[0]["alt"].split(": ")[1]

    assert [said(place, Grid(3, 3)) for place in range(9)] == [
        "upper left", "upper middle", "upper right", "left", "centre", "right", "lower left", "lower middle", "lower right"
    ]  # fmt: skip
    assert [said(place, Grid(1, 7)) for place in range(7)] == ["left"] * 2 + ["centre"] * 3 + ["right"] * 2
    assert [said(place, Grid(2, 2)) for place in range(4)] == ["upper left", "upper right", "lower left", "lower right"]


@pytest.mark.parametrize(("weights", "says_so"), [(None, False), (np.full((3, 4), 0.25), True)])
def test_mean_pooling_has_no_where(page, weights, says_so):
    shown = page(make_report(make_clip(spatial_weights=weights, places=None if weights is None else Grid(2, 2))))
    assert shown.all("canvas") == []
    assert "data-weights" not in shown.all("article")[0]
    assert ("no where to draw" in shown.text) == says_so
    assert "outlined" not in shown.text


def test_the_best_of_each_column_is_marked(page):
    shown = page(make_report())
    cells = [cell["text"] for cell in shown.all("td")]
    assert cells == ["10.0", "50.0 best", "40.0", "–", "53.4 best", "50.0 best"]  # 0.5004 and 0.5 are both shown as 50.0
    assert shown.all("th", scope="rowgroup") == []


def test_published_rows_stand_apart_and_intervals_below_their_values(page):
    rows = (
        ScoresRow("L-STAP", (0.551, 0.867), "paper, table 2", is_published=True),
        ScoresRow("here", (0.5, 0.9), intervals=((0.48, 0.521), None)),
    )
    shown = page(make_report(scores=ScoresTable(("BLEU-4", "CIDEr"), rows)))
    assert [heading["text"] for heading in shown.all("th", scope="rowgroup")] == ["Measured here", "Published"]
    assert [row["text"] for row in shown.all("th", scope="row") if "table" in row["text"] or row["text"] == "here"] == [
        "here",
        "L-STAPpaper, table 2",
    ]
    assert [cell["text"] for cell in shown.all("td") if "style" not in cell] == [
        "50.048.0 to 52.1", "90.0 best", "55.1 best", "86.7"
    ]  # fmt: skip
    assert "its confidence interval" in shown.text


def test_nothing_outside_is_asked_for(page, tmp_path):
    shown = page(make_report(make_clip()))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<iframe|<object|<embed", html)
    for element in shown.tags:
        for key in ("src", "href", "srcset", "action", "data"):
            assert element.get(key, "data:").startswith(("data:", "#"))
    policy = shown.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_text_cannot_become_markup(page):
    evil = "</script><script>alert('x')</script><img src=x onerror=\"y\">"
    clip = make_clip(caption_words=(evil, "b"), references=(evil,), video_id=evil, extra={evil: evil})
    table = ScoresTable((evil,), (ScoresRow(evil, (0.1,), evil),), evil)
    curves = (Curve(evil, [0, 1], [0, 1], evil, evil),)
    plain = PlainTable(evil, evil, (evil, evil), ((evil, evil),))
    shown = page(Report(evil, evil, table, (clip,), curves, {evil: evil}, (plain,)))
    assert len(shown.all("script")) == 1
    assert [image for image in shown.all("img") if image.get("src") == "x"] == []
    assert shown.all("button", kind="word")[0]["text"] == evil
    assert shown.text.count(evil) >= 18


def test_it_works_with_keyboard_and_screen_reader(page):
    shown = page(make_report(make_clip()))
    assert shown.all("html")[0]["lang"] == "en"
    assert [word["tabindex"] for word in shown.all("button", kind="word")] == ["0", "-1"]  # one stop; arrow keys go on
    assert [frame["tabindex"] for frame in shown.all("button", kind="frame")] == ["0", "-1", "-1"]
    assert shown.all("div", role="toolbar")[0]["aria-label"] == "Caption of video7, a button a word: hello world"
    assert len(shown.all("p", role="status")) == 1
    assert all("alt" in image for image in shown.all("img"))
    headings = [element["tag"] for element in shown.tags if re.fullmatch(r"h\d", element["tag"])]
    assert headings == ["h1", "h2", "h2", "h3", "h2", "h2"]
    ids = [element["id"] for element in shown.tags if "id" in element]
    assert len(ids) == len(set(ids))
    for element in shown.tags:
        assert element.get("aria-labelledby", "scores") in ids


def test_parts_that_are_empty_are_left_out(page):
    shown = page(Report("A title", ""))
    assert [element["tag"] for element in shown.tags if element["tag"] in ("section", "table", "svg")] == []
    no_words = make_clip(caption_words=(), word_attention=np.zeros((0, 3)), references=(), score=None, extra={})
    assert "(no words)" in page(make_report(no_words)).text


def test_charts_are_pictures_with_their_values_in_words(page):
    pictures = page(make_report()).all("img")
    assert [picture["alt"] for picture in pictures] == [
        "training: loss 3 at epoch 1, 1.5 at epoch 3. validation: loss 3.5 at epoch 1, 2 at epoch 3",
        "validation: CIDEr 0.3 at epoch 1, 0.3 at epoch 1",
    ]
    for picture in pictures:
        kind, _, content = picture["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"</svg>" in base64.b64decode(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times_seconds": np.zeros(2)}, "clip video7: times_seconds must be (3,) for 3 frames and 2 words, not (2,)."),
        (
            {"word_attention": np.zeros((3, 2))},
            "clip video7: word_attention must be (2, 3) for 3 frames and 2 words, not (3, 2).",
        ),
        ({"places": Grid(3, 3)}, "clip video7: spatial_weights must be (3, 9) for 3 frames and 2 words, not (3, 4)."),
        (
            {"spatial_weights": np.zeros((3, 3, 4))},
            "clip video7: spatial_weights must be (2, 3, 4) for 3 frames and 2 words, not (3, 3, 4).",
        ),
        (
            {"places": None},
            "clip video7: spatial_weights and the places that they lie on belong together; one is missing.",
        ),
        ({"places": Boxes(np.zeros((5, 4, 4)))}, "boxes: corners of 5 frames were given for 3 frames."),
        (
            {"rgb_uint8": np.zeros((3, 4, 4, 3))},
            "clip video7: rgb_uint8 must be (T, height, width, 3) of uint8 with at least one frame, not (3, 4, 4, 3) of float64.",
        ),
    ],
)
def test_parts_of_a_clip_that_do_not_fit(changes, message):
    assert error_of(ShapeError, make_clip, **changes) == message


def test_weights_that_are_none():
    for weights in (np.array([[0.5, np.nan, 0.5]] * 2), np.array([[1.5, -0.5, 0.0]] * 2)):
        with pytest.raises(ValueError, match=r"^clip video7: word_attention must be finite and at least 0\.$"):
            make_clip(word_attention=weights)


@pytest.mark.parametrize(
    ("corners", "names", "message"),
    [
        (np.zeros((3, 4)), (), "boxes: corners must be (frames, boxes, 4), not (3, 4)."),
        (
            np.zeros((3, 2, 4)),
            (("a",),) * 3,
            "boxes: names must be given for each of the (3, 2) (frames, boxes), or not at all.",
        ),
    ],
)
def test_boxes_that_do_not_fit(corners, names, message):
    assert error_of(ShapeError, Boxes, corners, names) == message


def test_a_row_that_does_not_fit_the_columns(tmp_path):
    report = Report("t", "", ScoresTable(("a", "b"), (ScoresRow("x", (0.1,)),)))
    assert error_of(ShapeError, write_report, tmp_path / "r.html", report) == "row 'x' has 1 values for 2 columns."
    row = ScoresRow("x", (0.1, 0.2), intervals=(None,))
    with pytest.raises(ShapeError, match=r"^row 'x' has 1 intervals for 2 columns\.$"):
        write_report(tmp_path / "r.html", Report("t", "", ScoresTable(("a", "b"), (row,))))
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert error_of(StapError, write_report, path, make_report()) == (
        f"{path}: cannot be written (No space left on device). What was there before is kept; "
        "make room or choose another folder, and run again."
    )
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_twelve_clips_of_thirty_frames_stay_small(tmp_path):
    y, x = np.mgrid[:120, :160]
    frames = np.stack([np.stack([(x + 5 * t) % 256, (2 * y) % 256, (x * y // 50) % 256], axis=-1) for t in range(30)]).astype(
        np.uint8
    )
    noisy = np.clip(frames + np.random.default_rng(0).normal(0, 8, frames.shape), 0, 255).astype(np.uint8)
    clip = make_clip(rgb_uint8=noisy, times_seconds=np.arange(30.0), word_attention=np.full((2, 30), 1 / 30),
                     spatial_weights=np.random.default_rng(0).random((30, 49)), places=Grid(7, 7))  # fmt: skip
    write_report(tmp_path / "report.html", make_report(*[clip] * 12))
    assert (tmp_path / "report.html").stat().st_size < 1_500_000

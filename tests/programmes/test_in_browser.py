"""What a real browser makes of a WebVTT track."""

import base64
from typing import Any

import pytest

from stap.programmes.cues import cues_of
from stap.programmes.timed import TimedCaption
from stap.programmes.writers import vtt

pytestmark = pytest.mark.slow  # the browser's start takes seconds

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

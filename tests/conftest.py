"""Fixtures for every test: the folder of real data, a cache of this run (never the user's own), and small videos whose frames tell which frame they are."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported: its kernels run here as Python
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Read when numba is imported, here or in a child. Processes that compile a function for different types at the same time could mix them up.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}"))

_BROWSER_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

_BITS = 12  # a frame's number as a row of black and white bars, lowest bit first
_BAR_WIDTH, _HEIGHT = 8, 32

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder; tests that count runs of Java name one of their own in STAP_CACHE."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch computes in one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only lose by more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stap_data() -> Path:
    """The folder of real videos, captions and predictions that the environment names."""
    folder = os.environ.get("STAP_DATA")
    if not folder:
        pytest.skip("STAP_DATA is not set: the folder of real videos and captions is not here")
    return Path(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'stap[dev]'")
    names = (os.environ.get("STAP_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if name and (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here: install it (Debian: apt-get install chromium), or name one in STAP_CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=_BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def numbered_frame() -> Callable[[int], np.ndarray]:
    """A function from a number below 4096 to a frame (32, 96, 3) uint8 that shows it as bars."""
    return _numbered_frame


@pytest.fixture(scope="session")
def number_shown() -> Callable[[np.ndarray], int]:
    """The inverse of numbered_frame, from a picture of any size."""
    return _number_shown


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a kind of captioner (git, blip, smolvlm, qwen; talker, a git that says words) to the folder of a tiny one with random weights."""
    folder = tmp_path_factory.mktemp("teachers")

    def saved(kind: str) -> Path:
        from tiny_teachers import save_teacher

        return folder / kind if (folder / kind).exists() else save_teacher(kind, folder / kind)

    return saved


@pytest.fixture
def make_video(make_video_in: MakeVideo, tmp_path: Path) -> MakeVideo:
    """A function that writes a video into the test's own folder and returns its path; see _make_video for its settings."""
    return partial(make_video_in, tmp_path)


@pytest.fixture(scope="session")
def make_video_in() -> MakeVideo:
    """The same into a folder of your choice, for fixtures that several tests share."""

    def make(folder: Path, name: str | Path = "clip.mp4", frames: int | Iterable[np.ndarray] = 12, **settings: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_video(path, frames, **settings)
        return path

    return make


def _make_video(
    path: Path,
    frames: int | Iterable[np.ndarray],
    *,
    frame_rate: int | Fraction = 25,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: float | None = None,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    colour: tuple[int, int] | None = None,
) -> None:
    """Write a video file with everything that tests like to vary.

    frames: pictures (height, width, 3) uint8 or frames of PyAV; or a number N, for numbered frames 0 .. N - 1.
    times: when each frame is shown in milliseconds, for a variable frame rate.
    rotation: counterclockwise, in degrees, to be done when the video is shown; then mirrored left to right if `mirrored`.
    colour: the matrix and range that the file states, by their numbers in ITU-T H.273 (range: 1 limited, 2 full).
    """
    pictures = [_numbered_frame(k) for k in range(frames)] if isinstance(frames, int) else list(frames)
    if options is None:
        options = {"preset": "ultrafast", "g": "10", "bf": "2"} if codec == "libx264" else {}
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=frame_rate, options=options)
        first = _as_frame(pictures[0])
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, pix_fmt
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        for k, picture in enumerate(pictures):
            frame = _as_frame(picture)
            if times is not None:
                frame.pts, frame.time_base = times[k], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _as_frame(picture: np.ndarray | VideoFrame) -> VideoFrame:
    return picture if isinstance(picture, VideoFrame) else VideoFrame.from_ndarray(picture, format="rgb24")


def _numbered_frame(number: int) -> np.ndarray:
    assert 0 <= number < 1 << _BITS
    bars = np.array([(number >> bit) & 1 for bit in range(_BITS)], dtype=np.uint8)
    row = np.repeat(16 + 224 * bars, _BAR_WIDTH)
    return np.broadcast_to(row[None, :, None], (_HEIGHT, _BITS * _BAR_WIDTH, 3)).copy()


def _number_shown(rgb: np.ndarray) -> int:
    bars = np.array_split(rgb.mean(axis=(0, 2)), _BITS)
    return sum(int(bar[len(bar) // 4 : -(len(bar) // 4) or None].mean() > 128) << bit for bit, bar in enumerate(bars))

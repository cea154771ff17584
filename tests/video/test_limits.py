"""What a stranger's file may cost, and what it may not do: name other files, hang, fill the memory."""

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from raising import error_of
from stap.commands.shared.limits import LimitOptions, with_playlists
from stap.errors import ConfigError, VideoError
from stap.features.extractor import build_extractors
from stap.recipes.files import load_recipe
from stap.recipes.settings import VideoLimits
from stap.video import sample_frames
from stap.video.budget import Budget
from stap.video.clips import FrameStream
from stap.video.formats import SELF_CONTAINED
from stap.video.source import open_source

PLAYLIST = (
    "this is a playlist, which names other files, and one video file was expected. Give the files themselves, or allow playlists "
    "(--allow-playlists, corpus.limits.playlists=true)."
)
ALLOWED = VideoLimits(playlists=True)
X264 = {"preset": "ultrafast", "g": "10", "bf": "0"}


def hls(*parts: str) -> str:
    lines = "".join(f"#EXTINF:1.0,\n{part}\n" for part in parts)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n"


SCRIPTS = {
    "concat": "ffconcat version 1.0\nfile part.ts\n",
    "hls": hls("part.ts"),
    "master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nother.m3u8\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>\n',
    "behind a mark": "\ufeff#EXTM3U\npart.ts\n",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_playlist_is_refused_before_anything_else_is_opened(make_video, tmp_path, name, script):
    make_video("part.ts", 25, options=X264)
    os.mkfifo(tmp_path / "pipe.ts")  # would hang for ever
    path = tmp_path / name
    path.write_text(script.replace("part.ts", "pipe.ts"))
    assert error_of(VideoError, sample_frames, path) == f"{path}: {PLAYLIST}"
    assert error_of(VideoError, FrameStream, path, 25) == f"{path}: {PLAYLIST}"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "clip.mp4"
        os.mkfifo(path)
    assert error_of(VideoError, sample_frames, path) == (
        f"{path}: this is a device or a pipe, and a video file was expected. Save the video to a file first."
    )


def test_only_containers_that_hold_their_pictures_are_known():
    formats = SELF_CONTAINED.split(",")
    assert not {"concat", "hls", "dash", "imf", "image2", "lavfi", "sdp", "rtsp", "tty", "mlv", "vobsub"} & set(formats)
    assert len(formats) == len(set(formats))
    unknown = [name for name in formats if name not in av.formats_available]
    assert unknown == []


@pytest.mark.parametrize(
    "script", [SCRIPTS["concat"].replace("part.ts", "'part.ts'\nfile again.ts"), hls("part.ts", "again.ts")]
)
def test_an_allowed_playlist_is_read(make_video, number_shown, numbered_frame, tmp_path, script):
    make_video("part.ts", [numbered_frame(k) for k in range(25)], options=X264)
    make_video("again.ts", [numbered_frame(k) for k in range(25, 50)], options=X264)
    path = tmp_path / "list.m3u8"
    path.write_text(script)
    frames = sample_frames(path, 5, limits=ALLOWED)
    assert [number_shown(rgb) for rgb in frames.rgb_uint8] == [5, 15, 25, 35, 45]
    assert frames.duration_seconds == pytest.approx(2)


def test_the_best_variant_of_a_master_is_read(make_video, number_shown, tmp_path):
    """The last of three: as large as the second, with more bits a second."""
    for name, frames in {
        "white": [np.full((16, 16, 3), 255, np.uint8)] * 25,
        "grey": [np.full((32, 96, 3), 99, np.uint8)] * 25,
        "film": 25,
    }.items():
        make_video(f"{name}.ts", frames, options=X264)
        (tmp_path / f"{name}.m3u8").write_text(hls(f"{name}.ts"))
    variants = {"white": 9000, "grey": 1000, "film": 5000}
    path = tmp_path / "master.m3u8"
    path.write_text(
        "#EXTM3U\n" + "".join(f"#EXT-X-STREAM-INF:BANDWIDTH={bits}\n{name}.m3u8\n" for name, bits in variants.items())
    )
    assert [number_shown(rgb) for rgb in sample_frames(path, 5, limits=ALLOWED).rgb_uint8] == [2, 7, 12, 17, 22]


@pytest.mark.parametrize("script", [SCRIPTS["concat"], SCRIPTS["hls"]])
@pytest.mark.parametrize("kind", ["above", "link", "pipe", "itself", "absolute", "network"])
def test_an_allowed_playlist_stays_in_its_folder(make_video, tmp_path, script, kind):
    make_video("secret.ts", 25, options=X264)
    folder = tmp_path / "own"
    folder.mkdir()
    path = folder / "list.m3u8"
    name = {"above": "../secret.ts", "link": "link.ts", "pipe": "pipe.ts", "itself": "list.m3u8"}.get(kind, "part.ts")
    name = {"absolute": str(tmp_path / "secret.ts"), "network": "http://127.0.0.1:9/x.ts"}.get(kind, name)
    if kind == "link":
        (folder / name).symlink_to(tmp_path / "secret.ts")
    if kind == "pipe":
        os.mkfifo(folder / name)
    path.write_text(script.replace("part.ts", name))
    with pytest.raises(VideoError):
        sample_frames(path, 5, limits=ALLOWED)


def test_a_playlist_of_a_hundred_thousand_parts(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text(hls(*["part.ts"] * 100_000))
    assert error_of(VideoError, sample_frames, path, limits=ALLOWED) == (
        f"{path}: this playlist has more than 10,000 parts, which is the limit. Give the parts themselves."
    )


TRUST = "which is the limit. If you trust the file, raise the limit"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"pixels": 3000}, f"its pictures of 96x32 have more than 3,000 pixels, {TRUST} 'pixels'."),
        ({"aspect": 2}, f"its pictures of 96x32 are longer than 2 times their width, {TRUST} 'aspect'."),
        ({"frames": 11}, f"it has more than 11 frames, {TRUST} 'frames'."),
    ],
)
def test_a_file_beyond_its_limits(make_video, limits, sentence):
    path = make_video()
    assert error_of(VideoError, sample_frames, path, limits=VideoLimits(**limits)) == f"{path}: {sentence}"
    assert error_of(VideoError, FrameStream, path, 25, limits=VideoLimits(**limits)) == f"{path}: {sentence}"


def test_pictures_that_are_resized_beyond_their_limits(make_video):
    path = make_video()
    assert error_of(VideoError, sample_frames, path, short_side=256, limits=VideoLimits(pixels=100_000)) == (
        f"{path}: its pictures of 768x256 have more than 100,000 pixels, {TRUST} 'pixels'."
    )
    assert error_of(VideoError, sample_frames, path, 4, short_side=512, limits=VideoLimits(memory_mib=4)) == (
        f"{path}: 4 pictures of it take 9 MiB, more than 4, {TRUST} 'memory_mib'."
    )


def test_a_picture_rate_that_makes_too_many_pictures(make_video):
    path = make_video()
    assert error_of(VideoError, FrameStream, path, 1e9) == f"{path}: it has more than 5,000,000 frames, {TRUST} 'frames'."


@pytest.mark.parametrize("strategy", ["decode", "seek"])
def test_the_deadline_ends_reading(make_video, strategy, monkeypatch):
    """Each packet takes a second by a clock of the test's own."""
    path = make_video(frames=100)
    now = iter(range(10**6))
    monkeypatch.setattr("stap.video.budget.time.perf_counter", lambda: float(next(now)))
    assert error_of(VideoError, sample_frames, path, strategy=strategy, limits=VideoLimits(seconds=20)) == (
        f"{path}: reading it takes more than 20 seconds, {TRUST} 'seconds'."
    )
    assert next(now) < 60


def test_what_is_done_between_pictures_is_not_counted(make_video):
    stream = FrameStream(make_video(), 25, limits=VideoLimits(seconds=0.4))
    for _ in stream:
        time.sleep(0.05)


def test_threads_share_the_memory():
    budget = Budget(Path("x.mp4"), VideoLimits(memory_mib=1024))
    assert [budget.threads(8, *size) for size in ((1920, 1080), (3840, 2160), (7680, 4320), (0, 0))] == [8, 5, 1, 8]


def gif_of(width: int, height: int, frames: int) -> bytes:
    """A GIF whose frames of one pixel lie on a large canvas."""
    frame = bytes.fromhex("21f904000a0000002c000000000100010000020244010021f904000a000000")[:8] + bytes.fromhex(
        "2c0000000001000100000202440100"
    )
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"GIF89a" + size + bytes.fromhex("800000000000ffffff") + frame * frames + b";"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from stap.commands.shared.limits import LimitOptions, with_playlists
from stap.errors import ConfigError, VideoError
from stap.features.extractor import build_extractors
from stap.recipes.files import load_recipe
from stap.video import sample_frames
try:
    sample_frames(sys.argv[1], 3, short_side=256)
except VideoError as error:
    print(error)
else:
    print("frames")
"""


def in_a_process(path: Path) -> str:
    """What sampling prints in a process of little memory; it must end by itself."""
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", [(16000, 16000), (65535, 65535), (65535, 600)])
def test_a_small_file_of_a_huge_canvas_is_refused(tmp_path, size):
    path = tmp_path / "huge.gif"
    path.write_bytes(gif_of(*size, 200))
    assert in_a_process(path).strip() != "frames"


@pytest.mark.parametrize("table", ["stsz", "trun"])
def test_a_small_file_that_claims_millions_of_frames_is_refused(make_video, table):
    options = {"movflags": "frag_keyframe+empty_moov"} if table == "trun" else {}
    path = make_video(options=X264, container_options=options)
    data = bytearray(path.read_bytes())
    at = data.index(table.encode()) + 4
    if table == "stsz":
        data[at + 4 : at + 12] = (1).to_bytes(4) + (100_000_000).to_bytes(4)  # all of one byte
    else:
        data[at : at + 8] = (0x1).to_bytes(4) + (100_000_000).to_bytes(4)  # no field for each
    path.write_bytes(data)
    assert in_a_process(path) == (
        f"{path}: its index claims 100,000,000 frames, and the file has {len(data):,} bytes. It is damaged or made to do harm. "
        "Get it again.\n"
    )


def test_a_header_that_announces_too_many_frames(make_video):
    path = make_video()
    assert (
        error_of(VideoError, sample_frames, path, limits=VideoLimits(frames=3))
        == f"{path}: it has more than 3 frames, {TRUST} 'frames'."
    )


@pytest.mark.parametrize("name", ["slow.gif", "tall.mkv", "cpriv.mp4", "cpipe.mp4"])
def test_hostile_files_of_the_field(stap_data, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((stap_data / "field/hostile" / name).read_bytes())
    os.mkfifo(tmp_path / "pipe.mp4")
    assert in_a_process(path).startswith(f"{path}: ")


def test_a_playlist_of_the_field(stap_data):
    path = stap_data / "field/damage/disc.m3u8"
    frames = sample_frames(path, 30, limits=ALLOWED)
    greys = frames.rgb_uint8.mean(axis=(1, 2, 3))
    assert len(greys) == 30
    assert np.all(np.diff(greys) > 0)
    assert frames.duration_seconds == 4
    with open_source(path, budget=Budget(path, ALLOWED)) as source:
        assert source.container.format.name == "hls"


def test_limits_of_the_command_line():
    assert LimitOptions().limits() == VideoLimits()
    assert LimitOptions(True, ["seconds=9", "pixels=1000"]).limits() == VideoLimits(playlists=True, seconds=9, pixels=1000)
    names = "seconds, pixels, aspect, frames, memory_mib, playlists, isolate"
    advice = f"Expected one of {names} and a number, for example --limit seconds=600."
    assert error_of(ConfigError, LimitOptions(False, ["second=9"]).limits) == (
        f"--limit second=9: Extra inputs are not permitted. {advice}"
    )
    assert error_of(ConfigError, LimitOptions(False, ["seconds=0"]).limits) == (
        f"--limit seconds=0: Input should be greater than 0. {advice}"
    )


def test_limits_of_a_recipe_reach_the_extractors():
    small = ["features.backbone=resnet18", "features.weights=random", "features.image_size=32"]
    recipe = load_recipe("msvd/lstap-mean", with_playlists([*small, "corpus.limits.seconds=7"], True))
    assert recipe.corpus.limits == VideoLimits(seconds=7, playlists=True)
    [extractor] = build_extractors(recipe)
    assert extractor.limits == recipe.corpus.limits
    assert "limits" not in recipe.without_places()["corpus"]

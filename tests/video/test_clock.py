"""Which steps of a clock are believed, and what stands in for the others; then files whose clocks are wrong."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.torture.clocks import bits_of_ts

from stap.video import sample_frames
from stap.video.clips import FrameStream
from stap.video.clock import FINER, longest_step, repair_clock
from stap.video.timeline import is_hidden

MS = Fraction(1, 1000)
MPEG = Fraction(1, 90_000)


def repaired(stamps, *, last=0, usual=40, tick=MS, is_doubtful=False) -> tuple[list[float], float, int]:
    """Times in ticks, where the last frame ends, and the steps that were not believed."""
    clock = repair_clock(stamps, last, Fraction(usual), tick, is_doubtful)
    return [time / FINER for time in clock.times], clock.end / FINER, clock.jumps


@pytest.mark.parametrize(
    ("stamps", "times", "end", "jumps"),
    [
        ([0, 40, 80, 120], [0, 40, 80, 120], 160, 0),
        ([7000, 7040, 7080], [0, 40, 80], 120, 0),
        ([0, 40, 80, 120, 20, 60, 100, 140], [0, 40, 80, 120, 160, 200, 240, 280], 320, 1),  # joined: 20 ms, then on
        ([0, 40, 80, 120, 0, 40, 80, 120], [0, 40, 80, 120, 160, 200, 240, 280], 320, 1),
        ([0, 40, 80, 3_600_000, 3_600_040], [0, 40, 80, 120, 160], 200, 1),  # an hour's gap
        ([0, 40, 80, 2**40, 160, 200, 240], [0, 40, 80, 120, 160, 200, 240], 280, 2),  # one bit flipped
        ([2**40, 40, 80, 120, 160, 200], [0, 40, 80, 120, 160, 200], 240, 1),
        ([0, 40, 80, 120, 160, -(2**40), 240, 280], [0, 40, 80, 120, 160, 200, 240, 280], 320, 2),
        ([0, 0, 0, 0], [0, 40, 80, 120], 160, 0),
        ([None, None, None], [0, 40, 80], 120, 0),
        ([0, 40, None, 120, 160], [0, 40, 80, 120, 160], 200, 0),
        ([0, 0, 40, 80, 120], [0, 20, 40, 80, 120], 160, 0),
        ([90, 10, 70, 30, 20, 80], [0, 40, 80, 120, 160, 200], 240, 3),  # half the steps go back
    ],
)
def test_repair(stamps, times, end, jumps):
    assert repaired(stamps) == (times, end, jumps)


def test_whole_seconds_are_filled_evenly():
    stamps = [second for second in range(4) for _ in range(25)]
    clock = repair_clock(stamps, 0, Fraction(1, 25), Fraction(1), False)
    assert [time / FINER for time in clock.times] == pytest.approx([k / 25 for k in range(100)], abs=1e-3)
    assert clock.end / FINER == pytest.approx(4, abs=1e-3)
    assert (clock.jumps, clock.is_counted) == (0, False)


@pytest.mark.parametrize("lead", [10, 30 * 90_000])
def test_a_clock_that_wraps_around_goes_on(lead):
    stamps = [(2**33 - lead + 3600 * k) % 2**33 for k in range(2000)]
    assert repaired(stamps, usual=3600, tick=MPEG) == ([3600 * k for k in range(2000)], 3600 * 2000, 0)


@pytest.mark.parametrize(
    "seconds",
    [
        [5] * 10,  # slides
        [5] * 10 + [0.04] * 200,  # slides, then a film
        [0.04] * 500 + [45] + [0.04] * 500,  # a screen on which nothing moves for a while
        [0.04] * 500 + [300, 0.04, 120] + [0.04] * 500,  # a lecture
        [3600] * 5,  # a picture an hour
    ],
)
def test_long_frames_of_a_sound_clock_are_believed(seconds):
    stamps = [0, *np.cumsum([round(1000 * step) for step in seconds]).tolist()]
    assert repaired(stamps, last=40) == (stamps, stamps[-1] + 40, 0)
    assert max(seconds) <= longest_step(np.array(seconds), Fraction(1), False)


@pytest.mark.parametrize(
    ("seconds", "longest"),
    [([0.04] * 49, 0.5), ([0.04] * 1500, 6), ([0.04] * 9000, 10), ([5] * 10, 50), ([0.1, 0.1, 0.2, 2, 2, 1, 3], 20)],
)
def test_a_doubtful_clock_is_believed_less(seconds, longest):
    assert longest_step(np.array(seconds), Fraction(1), True) == pytest.approx(longest)


X264 = {"preset": "ultrafast", "g": "10", "bf": "2", "b-adapt": "0"}
JUMP = "what follows a jump is taken to follow the frame before it, which makes"


def shown(frames, number_shown) -> list[int]:
    return [number_shown(rgb) for rgb in frames.rgb_uint8]


def test_two_recordings_joined(make_video, number_shown, numbered_frame, tmp_path):
    """In a transport stream, whose clock begins again."""
    parts = [
        make_video(f"{k}.ts", [numbered_frame(50 * k + n) for n in range(50)], options=X264).read_bytes() for k in range(2)
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    frames = sample_frames(path, 10)
    assert shown(frames, number_shown) == list(range(5, 100, 10))
    assert frames.times_seconds.tolist() == [k / 25 for k in range(5, 100, 10)]
    assert frames.duration_seconds == 4
    assert frames.warnings == (f"{path}: its clock jumps back or far ahead in 1 place; {JUMP} 4.0 seconds.",)
    stream = FrameStream(path, 25)
    assert [number_shown(picture) for picture in stream] == list(range(100))
    assert (stream.duration_seconds, stream.warnings) == (4, frames.warnings)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_an_hour_between_two_frames_is_closed(make_video, number_shown, name):
    times = [40 * k + (3_600_000 if k >= 30 else 0) for k in range(60)]
    path = make_video(name, 60, times=times, options=X264)
    frames = sample_frames(path, 6)
    assert shown(frames, number_shown) == [5, 15, 25, 35, 45, 55]
    assert frames.duration_seconds == pytest.approx(2.4)
    assert frames.warnings == (f"{path}: its clock jumps back or far ahead in 1 place; {JUMP} 2.4 seconds.",)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("times", [[5000 * k for k in range(12)], [0, 40, 80, 120, 160, 900, 940, 980, 1020, 1060, 1100, 1500]])
def test_long_frames_stay_as_they_are(make_video, number_shown, name, times):
    path = make_video(name, 12, times=times, options=X264)
    frames = sample_frames(path, 12)
    assert shown(frames, number_shown) == list(range(12))
    assert frames.times_seconds.tolist() == [time / 1000 for time in times]
    assert frames.warnings == ()


def with_times_of_zero(path: Path) -> Path:
    """An MP4 whose table of times says that every frame lasts no time."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 4
    rows = int.from_bytes(data[at + 4 : at + 8])
    for row in range(rows):
        data[at + 12 + 8 * row : at + 16 + 8 * row] = bytes(4)
    path.write_bytes(data)
    return path


def test_frames_of_one_time_are_taken_by_their_order(make_video, number_shown):
    path = with_times_of_zero(make_video(frames=100, options={"preset": "ultrafast", "bf": "0", "g": "20"}))
    frames = sample_frames(path, 10)
    assert shown(frames, number_shown) == list(range(5, 100, 10))
    assert frames.duration_seconds == 4
    assert frames.warnings == (
        f"{path}: the times of its frames cannot be used; the samples are taken by the order of the frames, at 25 frames a second.",
    )


@pytest.mark.parametrize(
    ("table", "place", "bit"),
    [
        (b"stts", 12, 1),
        (b"stts", 12, 14),
        (b"stts", 12, 24),
        (b"stts", 12, 29),
        (b"elst", 8, 5),
        (b"elst", 8, 20),
        (b"elst", 12, 22),
    ],
)
def test_an_edit_list_that_contradicts_the_index_cuts_nothing_away(make_video, number_shown, table, place, bit):
    """One bit of the ticks of a frame, of the length of the edit or of its start: the edit would leave a few frames, or none."""
    path = make_video(frames=50, options=X264)
    data = bytearray(path.read_bytes())
    at = data.index(table) + 4 + place - 4
    at += 4 if table == b"stts" else 0
    value = int.from_bytes(data[at : at + 4]) ^ 1 << bit
    data[at : at + 4] = value.to_bytes(4)
    path.write_bytes(data)
    frames = sample_frames(path, 10)
    assert shown(frames, number_shown) == list(range(2, 50, 5)) or bit == 1
    assert len(frames.times_seconds) == 10
    assert len(frames.warnings) <= 1


def test_an_edit_list_that_is_right_is_followed(stap_data):
    frames = sample_frames(stap_data / "videos/discard_first_keyframe.mp4", 100)
    assert (len(frames.times_seconds), frames.warnings) == (25, ())


def test_a_clock_of_whole_seconds(make_video, number_shown, tmp_path):
    path = make_video("clip.mkv", 100, times=[1000 * (k // 25) for k in range(100)], options={"preset": "ultrafast", "bf": "0"})
    frames = sample_frames(path, 10)
    assert shown(frames, number_shown) == list(range(5, 100, 10))
    assert frames.duration_seconds == pytest.approx(4, abs=0.01)
    assert frames.warnings == (
        f"{path}: 96 of 100 frames have the time of the frame before them; they are spread evenly up to the next time.",
    )


def test_hidden_frames_are_no_damage(make_video, number_shown):
    """Alternate references of VP8: the encoder's own frames with their bit "show this frame" cleared."""
    path = make_video("clip.webm", 60, codec="libvpx", options={"auto-alt-ref": "0", "deadline": "realtime", "g": "100"})
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    for hidden in (10, 30, 40):
        data = data.replace(packets[hidden], bytes([packets[hidden][0] & ~0x10]) + packets[hidden][1:])
    path.write_bytes(data)
    for frames in (sample_frames(path, 6, strategy="decode"), sample_frames(path, 6, strategy="seek")):
        assert shown(frames, number_shown) == [5, 15, 25, 35, 45, 55]
        assert frames.warnings == ()
    assert shown(sample_frames(path, 60), number_shown) == [k for k in range(60) if k not in (10, 30, 40)]


@pytest.mark.parametrize(
    ("codec", "packet", "hidden"),
    [
        ("vp8", b"\x10rest", False),
        ("vp8", b"\x01rest", True),
        ("vp9", b"\x82rest", False),  # marker 10, profile 00, no existing frame, key frame, shown
        ("vp9", b"\x80rest", True),
        ("vp9", b"\x88rest", False),  # shows an existing frame
        ("vp9", b"\xb1rest", False),  # profile 3 has one bit more
        ("vp9", b"\xb0rest", True),
        ("vp9", b"\x80rest\xc0", False),  # a superframe: a hidden frame and a shown one
        ("h264", b"\x00rest", False),
    ],
)
def test_whether_a_packet_hides_its_frame(codec, packet, hidden):
    assert is_hidden(packet, codec) == hidden


def test_a_start_inside_a_group_of_pictures_is_no_damage(make_video, number_shown):
    path = make_video("clip.ts", 60, options={**X264, "g": "20", "keyint_min": "20", "sc_threshold": "0"})
    data = path.read_bytes()
    with av.open(str(path)) as container:
        fifth = [packet.pos for packet in container.demux(video=0) if packet.size][5]
    path.write_bytes(data[: 2 * 188] + data[fifth:])  # the tables, then from the fifth frame on
    frames = sample_frames(path, 4)
    assert shown(frames, number_shown) == [25, 35, 45, 55]
    assert frames.times_seconds[0] == pytest.approx(0.2)
    assert frames.warnings == ()


def with_later_clock(path: Path, ticks: int) -> None:
    """Add to every time stamp and clock reference of a transport stream, in its 33 bits."""
    data = bytearray(path.read_bytes())
    bits = [bit for _, bit in bits_of_ts(bytes(data))]
    for first in range(0, len(bits), 33):
        stamp = bits[first : first + 33]
        value = sum((data[bit // 8] >> 7 - bit % 8 & 1) << 32 - k for k, bit in enumerate(stamp))
        for k, bit in enumerate(stamp):
            mask = 0x80 >> bit % 8
            data[bit // 8] = data[bit // 8] & ~mask | (mask if ((value + ticks) % 2**33) >> 32 - k & 1 else 0)
    path.write_bytes(data)


@pytest.mark.parametrize(("frame_rate", "frames", "lead_seconds"), [(25, 100, 2), (1, 100, 80)])
def test_a_transport_stream_whose_clock_wraps_around(make_video, number_shown, frame_rate, frames, lead_seconds):
    path = make_video("clip.ts", frames, frame_rate=frame_rate, options=X264)
    with av.open(str(path)) as container:
        start = container.streams.video[0].start_time
    with_later_clock(path, 2**33 - start - 90_000 * lead_seconds)
    sampled = sample_frames(path, 10)
    assert shown(sampled, number_shown) == list(range(5, 100, 10))
    assert sampled.duration_seconds == pytest.approx(frames / frame_rate)
    assert sampled.warnings == ()


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv", "clip.nut"])
def test_empty_packets_show_the_frame_before_for_longer(make_video, number_shown, tmp_path, name):
    whole = make_video(f"whole{Path(name).suffix}", 40, codec="mpeg4")
    path = tmp_path / name
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in (packet for packet in source.demux(video=0) if packet.size):
            for k, content in enumerate((bytes(packet), b"")):
                copy = av.Packet(content) if content else av.Packet(0)
                copy.pts = copy.dts = 2 * packet.pts + k * packet.duration
                copy.duration, copy.time_base, copy.stream = packet.duration, packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe and bool(content)
                target.mux(copy)
    frames = sample_frames(path, 4)
    assert shown(frames, number_shown) == [4, 14, 24, 34]
    assert frames.duration_seconds == pytest.approx(3.16)
    assert frames.warnings == ()


FIELD = Path(os.environ.get("STAP_DATA", "none"), "field")


@pytest.mark.parametrize(
    ("name", "seconds", "warnings"),
    [
        ("timestamps/all_at_zero.mp4", 4, 1),
        ("timestamps/cat_20ms.ts", 4, 1),
        ("timestamps/cat_same_clock.ts", 4, 1),
        ("damage/vp8alt.webm", 4, 0),
        ("damage/midgop.ts", 2.04, 0),
    ],
)
def test_clocks_of_the_field(stap_data, name, seconds, warnings):
    frames = sample_frames(FIELD / name, 30)
    greys = frames.rgb_uint8.mean(axis=(1, 2, 3))
    assert len(greys) == 30
    assert np.all(np.diff(greys) > 0)
    assert (frames.duration_seconds, len(frames.warnings)) == (pytest.approx(seconds), warnings)


@pytest.mark.parametrize(("name", "warnings"), [("hostile/gap.ts", 1), ("hostile/stamp.mp4", 0)])
def test_recordings_of_the_field_with_a_gap(stap_data, name, warnings):
    frames = sample_frames(FIELD / name, 8)
    assert len(frames.times_seconds) == 8
    assert frames.duration_seconds < 5
    assert len(frames.warnings) == warnings

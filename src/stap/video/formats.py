"""Which files are read at all: containers that hold their own pictures; and playlists, which name other files, when asked for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from stap.errors import VideoError

__all__ = ["PLAYLISTS", "SELF_CONTAINED", "check_parts", "is_playlist", "opener_below"]

# FFmpeg's demuxers of pictures (and of sound, so that a sound file is named as one) that open nothing but the file itself. Left out
# besides playlists: devices, network protocols, screens of text, image2 (a name with % is a series of files), mlv and vobsub (which open
# their neighbours) and formats of games.
_VIDEO = (
    "3g2 3gp amv apng asf asf_o av1 avi avs2 avs3 bink cavsvideo cine dhav dirac dnxhd dv evc flic flv gif gxf h261 h263 h264 hevc ivf "
    "jpegxl_anim kux live_flv lvf lxf m4v matroska mjpeg mjpeg_2000 mov mp4 mpeg mpegts mpegvideo mpjpeg msnwctcp mtv mxf mxg nsv nut nuv "
    "obu ogg pmp pva r3d rm roq simbiosis_imx smjpeg smk swf ty vc1 vc1test vivo vvc webm wtv xmv yuv4mpegpipe"
)
_STILLS = (
    "bmp_pipe dds_pipe dpx_pipe exr_pipe gif_pipe hdr_pipe ico j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe pam_pipe pbm_pipe pcx_pipe pgm_pipe "
    "pgmyuv_pipe png_pipe ppm_pipe psd_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe"
)
_SOUND = "aac ac3 aiff amr ape au caf dts eac3 flac mp3 oma tta voc w64 wav wv"
SELF_CONTAINED = ",".join(f"{_VIDEO} {_STILLS} {_SOUND}".split())
PLAYLISTS = "hls,dash,concat,imf"

_BEGINNINGS = (b"#EXTM3U", b"ffconcat version")
_XML = (b"<MPD", b"CompositionPlaylist", b"<AssetMap")
_MOST_PARTS, _MOST_BYTES = 10_000, 4 << 20


def is_playlist(path: Path) -> bool:
    """Whether a file names others instead of holding pictures, by its beginning. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(_BEGINNINGS) or (head.startswith(b"<") and any(name in head for name in _XML))


def check_parts(path: Path) -> None:
    """Raise VideoError unless a playlist is short and, if it is a concat script, names only videos of its own folder or below.

    FFmpeg opens the parts of a concat script by itself; those of other playlists pass through `opener_below`.
    """
    text = path.read_bytes()[: _MOST_BYTES + 1]
    lines = text.decode("utf-8", "surrogateescape").splitlines()
    if len(text) > _MOST_BYTES or sum(not line.startswith("#") for line in lines) > _MOST_PARTS:
        raise VideoError(
            f"{path}: this playlist has more than {_MOST_PARTS:,} parts, which is the limit. Give the parts themselves."
        )
    if text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"ffconcat"):
        for part in _parts_of_script(path, lines):
            if not _is_regular_below(part, path.parent) or is_playlist(part):
                raise _refusal(path, part)


def opener_below(playlist: Path, opened: ExitStack) -> Callable[[str, int, Any], IO[bytes]]:
    """PyAV's `io_open`, for a playlist: opens the playlist and files of its folder or below it, symbolic links resolved.

    opened: closes what FFmpeg leaves open.
    """

    def open_below(url: str, flags: int, options: Any) -> IO[bytes]:
        part = Path(url.removeprefix("file:"))
        if not _is_regular_below(part, playlist.parent):
            raise _refusal(playlist, part)
        return opened.enter_context(part.open("rb"))

    return open_below


def _parts_of_script(path: Path, lines: list[str]) -> Iterator[Path]:
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = ["file"]
        if words[:1] in (["file"], ["stream"], ["exact_stream_id"], ["option"]) and (len(words) != 2 or words[0] != "file"):
            raise VideoError(
                f"{path}: the line {line.strip()[:80]!r} of this script is not read. Use lines such as: file 'part.mp4'"
            )
        if words[:1] == ["file"]:
            yield path.parent / words[1].removeprefix("file:")


def _is_regular_below(part: Path, folder: Path) -> bool:
    try:
        return part.is_file() and part.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False


def _refusal(playlist: Path, part: Path) -> VideoError:
    return VideoError(
        f"{playlist}: this playlist names {part}, and only videos in its own folder or below it were expected. Give the videos themselves."
    )

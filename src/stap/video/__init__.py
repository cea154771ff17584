"""A video file -> frames with their times; and frames -> a video file."""

from stap.video.files import VIDEO_SUFFIXES, find_videos
from stap.video.writing import write_video

__all__ = ["VIDEO_SUFFIXES", "find_videos", "write_video"]

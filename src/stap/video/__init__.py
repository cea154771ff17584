"""A video file -> frames with their times; and frames -> a video file."""

from stap.video.files import VIDEO_SUFFIXES, find_videos
from stap.video.frames import Frames, sample_frames
from stap.video.writing import write_video

__all__ = ["VIDEO_SUFFIXES", "Frames", "find_videos", "sample_frames", "write_video"]

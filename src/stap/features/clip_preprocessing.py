"""Preprocessing for motion networks: frames resized, cropped, and normalised clip by clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ClipPreprocessing"]

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ClipPreprocessing:
    """The preprocessing of a network's training frames.

    resize: pixels of the shorter side, or (height, width) whatever the proportions.   image_size: side of the central crop.
    crop_rounding: of the crop's corner, where it lies between two pixels.   mean, std: of red, green and blue in 0..1.
    """

    resize: int | tuple[int, int]
    image_size: int
    mean: Colour
    std: Colour
    channel_order: Literal["rgb", "bgr"] = "rgb"
    crop_rounding: Literal["down", "nearest"] = "down"

    @property
    def short_side(self) -> int:
        """The shorter side of the pictures that `cropped` is given."""
        return self.resize if isinstance(self.resize, int) else min(self.resize)

    def cropped(self, picture: np.ndarray) -> Tensor:
        """The central square (S, S, 3) of a picture (height, width, 3), both uint8, squeezed to the full size first if there is one."""
        image = torch.from_numpy(np.ascontiguousarray(picture))
        if not isinstance(self.resize, int) and tuple(image.shape[:2]) != self.resize:
            image = _squeezed(image, self.resize)
        top, left = (self._corner(side) for side in image.shape[:2])
        return image[top : top + self.image_size, left : left + self.image_size].contiguous()

    def normalised(self, clips_uint8: Tensor, mean_cube: Tensor | None = None) -> Tensor:
        """(N, T, S, S, 3) uint8 to (N, 3, T, S, S) float32, less the mean, over the standard deviation.

        mean_cube: (3, T, S, S) in the network's order of colours, of pixels in 0..255; in place of the mean.
        """
        x = clips_uint8.permute(0, 4, 1, 2, 3).float()
        mean, std = (255 * torch.tensor(values, device=x.device).view(3, 1, 1, 1) for values in (self.mean, self.std))
        if self.channel_order == "bgr":
            x, mean, std = x.flip(1), mean.flip(0), std.flip(0)
        return (x - (mean if mean_cube is None else mean_cube)) / std

    def cropped_cube(self, cube: Tensor) -> Tensor:
        """(3, T, height, width) of whole pictures to (3, T, S, S), cropped as they are."""
        top, left = (self._corner(side) for side in cube.shape[2:])
        return cube[:, :, top : top + self.image_size, left : left + self.image_size].contiguous()

    def fingerprint(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "resize": self.resize if isinstance(self.resize, int) else list(self.resize),
            "image_size": self.image_size,
            "crop_rounding": self.crop_rounding,
            "mean": list(self.mean),
            "std": list(self.std),
            "channel_order": self.channel_order,
            "interpolation": "bicubic",
        }

    def _corner(self, side: int) -> int:
        half = (side - self.image_size) / 2
        return round(half) if self.crop_rounding == "nearest" else math.floor(half)


def _squeezed(image: Tensor, size: tuple[int, int]) -> Tensor:
    x = image.permute(2, 0, 1).unsqueeze(0).float()
    x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).byte().squeeze(0).permute(1, 2, 0)

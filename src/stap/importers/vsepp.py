"""The checkpoints of VSE++ (Faghri et al. 2018), as their authors' train.py writes them and as they published them.

    {'epoch', 'model': [image encoder, text encoder], 'best_rsum', 'opt': argparse.Namespace, 'Eiters'}

The image encoder is a torchvision network without its classifier under 'cnn.', where DataParallel has put 'module.' before its
names (with ResNets; for VGG before those inside 'features'), and the projection 'fc' into the joint space. A run on precomputed
features has the projection alone. What captioning needs is the network: the L-STAP paper's ResNet-152 was made this way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stap.errors import CheckpointError

__all__ = ["image_network", "is_checkpoint"]

NETWORK, DATA_PARALLEL = "cnn.", "module."


def is_checkpoint(loaded: Any) -> bool:
    """Whether this is what VSE++ saves: under 'model' a list of the two encoders' tensors."""
    model = loaded.get("model") if isinstance(loaded, Mapping) else None
    return (
        isinstance(model, list)
        and len(model) == 2
        and all(isinstance(part, Mapping) and all(isinstance(value, Tensor) for value in part.values()) for part in model)
    )


def image_network(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The weights of the image network under torchvision's names, without projection and text encoder.

    path: how a message calls the file. Raises CheckpointError where there is no such network.
    """
    image_encoder: Mapping[str, Tensor] = checkpoint["model"][0]
    network = {
        str(name).removeprefix(NETWORK).replace(DATA_PARALLEL, "", 1): value
        for name, value in image_encoder.items()
        if str(name).startswith(NETWORK)
    }
    if not network:
        raise CheckpointError(
            f"{path}: a VSE++ checkpoint without an image network (it has {', '.join(sorted(image_encoder))}), trained on "
            "precomputed features. Take a run that trained its network: among the published ones coco_vse++_resnet_restval_finetune."
        )
    return network

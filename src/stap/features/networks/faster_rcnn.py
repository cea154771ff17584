"""torchvision's Faster R-CNNs (Ren et al. 2015) with a feature pyramid, built by name and filled with weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection import faster_rcnn as torchvision_detectors

from stap.errors import CheckpointError
from stap.features.pretrained import fetch_torchvision
from stap.features.weights import load_weights
from stap.importers.weights import read_weights

__all__ = ["CATEGORIES", "build_detector", "fc7_size"]

# The names of the labels of torchvision's weights: COCO's 91, of which 11 are not used and 0 is the background.
CATEGORIES: tuple[str, ...] = tuple(torchvision_detectors.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])

SCORES_BIAS = "roi_heads.box_predictor.cls_score.bias"
# torchvision's weights of this one were trained while its normalisation layers had no epsilon, and need that still.
WITHOUT_EPSILON = frozenset({"fasterrcnn_resnet50_fpn"})


def build_detector(name: str, weights: str = "pretrained") -> FasterRCNN:
    """A detector in evaluation mode, on the CPU.

    name: of torchvision's builders, as in `RegionSettings.detector`.
    weights: 'pretrained' (torchvision's, of COCO), 'random', or a file (see weights.py), which also says how many labels there are.
    Raises CheckpointError for the weights.
    """
    if weights == "random":
        return _build(name, len(CATEGORIES)).eval()
    if weights == "pretrained":
        tensors = fetch_torchvision(get_model_weights(name).COCO_V1, name=name, setting="regions.weights")
    else:
        tensors = read_weights(Path(weights))
    if SCORES_BIAS not in tensors:
        raise CheckpointError(
            f"{weights}: these are no weights of a Faster R-CNN: {SCORES_BIAS} is missing. Check regions.weights."
        )
    detector = _build(name, len(tensors[SCORES_BIAS]))
    load_weights(detector, tensors, network_name=name, source=weights, advice="Check regions.detector.")
    if name in WITHOUT_EPSILON:
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
    return detector.eval()


def fc7_size(detector: FasterRCNN) -> int:
    """D: the number of features of a region, at the input of the layer that scores it."""
    return int(detector.roi_heads.box_predictor.cls_score.in_features)


def _build(name: str, labels: int) -> FasterRCNN:
    build = getattr(torchvision_detectors, name)
    detector: FasterRCNN = build(weights=None, weights_backbone=None, num_classes=labels)
    return detector.requires_grad_(False)

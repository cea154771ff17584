"""The rows of the papers' tables on MSVD and MSR-VTT, with their published numbers and where these were read.

Only numbers with a source are here. The values of Tables 2 and 3 of the L-STAP paper and of the tables of STAT have not been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stap.experiments.reproduce.rows import LSTAP_GROUP, MODERN_GROUP, STAT_GROUP, CorpusName, Published, Row

__all__ = ["OTHERS", "ROWS"]

LSTAP_TABLE_1 = "Francis & Huet 2019 (L-STAP), Table 1"
STAT_ABSTRACT = "Tu et al. 2017 (STAT), abstract"
# Two of STAT's numbers, and systems to compare with, are known from there only.
QUOTED = "as quoted in the README of the code of Multi-modal Feature Fusion Network for Video Captioning; not seen in the paper"
RELATIVE = "computed from the relative gains in Tu et al. 2017 (STAT), abstract: about"

# The paper starts the encoder from I3D's logits, equations (11) and (12); that the baseline did so too is an assumption.
_MOTION = ("motion.network=i3d",)
_FRAMES = "The paper's ResNet-152 was fine-tuned on COCO (VSE++), the recipe's was not, unless --weights gives such a one."
_RELEASED = "As the released code computes it; its authors say that it is better than the paper, without numbers."
_ABLATION = "The numbers are of the paper of 2017, the recipe is the released code's."


def _percent(source: str, **values: float) -> Published:
    names = {"B1": "BLEU-1", "B2": "BLEU-2", "B3": "BLEU-3", "B4": "BLEU-4", "M": "METEOR", "R": "ROUGE-L", "C": "CIDEr"}
    return Published({names[name]: value for name, value in values.items()}, source)


def _modern(model: str, name: str) -> Iterable[Row]:
    backbones = {"clip": "CLIP", "dinov2": "DINOv2", "dinov3": "DINOv3", "siglip2": "SigLIP 2"}
    for key, shown in backbones.items():
        yield Row(f"{model}-{key}", f"{name} on {shown}", MODERN_GROUP)


ROWS: tuple[Row, ...] = (
    Row("lrcn", "LRCN", LSTAP_GROUP, _MOTION, f"{_FRAMES} The values of Table 3 have not been seen."),
    Row("lrcn-matching", "LRCN + matching loss", LSTAP_GROUP, _MOTION, f"{_FRAMES} The values of Table 3 have not been seen."),
    Row("lstap-mean", "L-STAP, mean", LSTAP_GROUP, _MOTION, f"{_FRAMES} The values of Table 3 have not been seen."),
    Row(
        "lstap-attention",
        "L-STAP, attention",
        LSTAP_GROUP,
        _MOTION,
        _FRAMES,
        {"msvd": (_percent(LSTAP_TABLE_1, B1=84.0, B2=74.1, B3=64.5, B4=55.1, R=72.7, M=35.4, C=86.7),)},
    ),
    Row(
        "stat-temporal-only",
        "temporal attention only",
        STAT_GROUP,
        (),
        _ABLATION,
        {
            "msvd": (_percent(f"{RELATIVE} 51.1 / 1.183", B4=43.2),),
            "msrvtt": (_percent(f"{RELATIVE} 37.4 / 1.090", B4=34.3),),
        },
    ),
    Row(
        "stat-without-local",
        "STAT without local features",
        STAT_GROUP,
        (),
        _ABLATION,
        {
            "msvd": (_percent(f"{RELATIVE} 51.1 / 1.101", B4=46.4),),
            "msrvtt": (_percent(f"{RELATIVE} 37.4 / 1.008", B4=37.1),),
        },
    ),
    Row("stat-averaged-regions", "STAT, regions averaged", STAT_GROUP, (), "An ablation of ours."),
    Row("stat-spatial-only", "spatial attention only", STAT_GROUP, (), "An ablation of ours."),
    Row("stat-local-only", "STAT, local features only", STAT_GROUP, (), "An ablation of ours."),
    Row(
        "stat-mm17",
        "STAT, paper of 2017",
        STAT_GROUP,
        (),
        "Regions of torchvision's Faster R-CNN; the authors' were of py-faster-rcnn.",
        {
            "msvd": (_percent(STAT_ABSTRACT, B4=51.1),),
            "msrvtt": (_percent(STAT_ABSTRACT, B4=37.4), _percent(f"{QUOTED}: Tu et al. 2017", M=26.6, C=41.5)),
        },
    ),
    Row("stat", "STAT, released code", STAT_GROUP, (), _RELEASED),
    Row("lstap-stat", "L-STAP with STAT's attention", MODERN_GROUP, _MOTION, _FRAMES),
    *_modern("lstap", "L-STAP"),
    *_modern("stat", "STAT"),
)

# Systems of others: name and published numbers.
OTHERS: Mapping[CorpusName, tuple[tuple[str, Published], ...]] = {
    "msvd": tuple(
        (name, _percent(f"as cited in {LSTAP_TABLE_1}", **values))
        for name, values in {
            "TSL": {"B4": 51.7, "M": 34.0, "C": 74.9},
            "RecNet": {"B4": 52.3, "R": 69.8, "M": 34.1, "C": 80.3},
            "mGRU": {"B1": 82.5, "B2": 72.2, "B3": 63.3, "B4": 53.8, "M": 34.5, "C": 81.2},
            "AGHA": {"B1": 83.1, "B2": 73.0, "B3": 64.3, "B4": 55.1, "M": 35.3, "C": 83.3},
            "SAM": {"B4": 54.0, "M": 35.3, "C": 87.4},
            "E2E (reinforcement learning)": {"B4": 50.3, "R": 70.8, "M": 34.1, "C": 87.5},
            "SibNet": {"B4": 54.2, "R": 71.7, "M": 34.8, "C": 88.2},
        }.items()
    ),
    "msrvtt": tuple(
        (name, _percent(QUOTED, **values))
        for name, values in {
            "MP-LSTM": {"B4": 34.6, "M": 24.6},
            "SA-LSTM": {"B4": 36.3, "M": 25.5, "C": 39.9},
            "M3": {"B4": 38.13, "M": 26.58},
            "DenseLSTM": {"B4": 38.1, "M": 26.6, "C": 42.8},
            "hLSTMat": {"B4": 38.3, "M": 26.3},
            "GRU-EVE": {"B4": 38.3, "M": 28.4, "C": 48.1},
            "RecNet": {"B4": 39.1, "M": 26.6, "C": 42.7},
        }.items()
    ),
}

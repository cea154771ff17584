"""The README.md of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stap.files import markdown_text
from stap.recipes.settings import Recipe

__all__ = ["model_card"]

HEADER = """---
library_name: stap
pipeline_tag: video-text-to-text
tags: [video-captioning]
---
"""
KINDS = {
    "lstap": "L-STAP (Francis & Huet 2019), {pooling} pooling",
    "lrcn": "LRCN (average-pooled frames into an LSTM)",
    "stat": "STAT, as its authors' released code (Tu et al. 2017; Yan et al. 2020)",
    "stat-mm17": "STAT, as in the paper of 2017 (Tu et al. 2017)",
    "lstap-stat": "STAT's attention over the states of L-STAP, {pooling} pooling",
}


def model_card(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """The model card in Markdown: architecture, use, scores and limits.

    metrics: as in metrics.json, {"best": {"epoch": ..., "scores": {...}} or None, ...}.
    """
    best = metrics.get("best") or {}
    parts = [
        HEADER + f"# {' '.join(recipe.name.split())}",
        recipe.description,
        f"A video-captioning model: {KINDS[recipe.model.kind].format(pooling=recipe.model.pooling)}, on {_input_features(recipe)}, "
        f"trained on a corpus in the layout of {recipe.corpus.kind}, seed {recipe.seed}.",
        "## Use\n\n    stap caption video.mp4 --model THIS_FOLDER\n\nor, in Python, `stap.load(\"THIS_FOLDER\").caption(\"video.mp4\")`.",
        "## Scores\n\n" + (_scores(best) if metrics.get("history", True) else "None: the weights were not trained here."),
        "## Limits\n\nOne sentence per video, in the language and vocabulary of the training captions (`vocabulary.json`). On videos unlike the "
        "training data, captions are fluent but wrong. `config.json` holds every setting and the software versions, `features.json` the "
        "fingerprints of the features, `metrics.json` the training history.",
    ]  # fmt: skip
    return markdown_text("\n\n".join(part for part in parts if part) + "\n")


def _input_features(recipe: Recipe) -> str:
    if imported := recipe.features.imported:
        return f"precomputed features ({', '.join(imported)})"
    if recipe.features.backbone is not None:
        return f"{recipe.features.backbone} features of {recipe.features.frames} frames"
    sections = [section for section in ("motion", "regions") if getattr(recipe, section) is not None]
    return f"features of {' and '.join(sections)}"


def _scores(best: Mapping[str, Any]) -> str:
    scores = best.get("scores") or {}
    if not scores:
        return "None: the corpus has no validation clips."
    if "log-likelihood" in scores:
        row = f"| log-likelihood | {scores['log-likelihood']:.2f} |"
        return f"Validation split, mean over captions, epoch {best['epoch']}:\n\n| measure | |\n|---|---|\n{row}"
    rows = "\n".join(f"| {name} | {100 * value:.1f} |" for name, value in scores.items())
    return f"Validation split, greedy decoding, epoch {best['epoch']}:\n\n| metric | % |\n|---|---|\n{rows}"

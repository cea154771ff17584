"""A request to reproduce a table, and the recipe of each of its rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stap.errors import ConfigError
from stap.experiments.reproduce.rows import CorpusName, Row
from stap.experiments.reproduce.scene_rows import QUICK, SceneSize
from stap.recipes.files import load_recipe
from stap.recipes.settings import CorpusSettings, Recipe

__all__ = ["NETWORKS", "Request", "motion_start", "network_of", "scene_recipe"]

# The sections that features come from, and the setting in each that names the network: `features` may have none.
NETWORKS = {"features": "backbone", "motion": "network", "regions": "detector"}
OPTIONAL = ("motion", "regions")
SHARED_SECTIONS = ("corpus", "text", "features", "pretraining")  # of rows on scenes; the others are each row's own


@dataclass(frozen=True)
class Request:
    """A reproduction: a corpus, its rows and seeds, and where everything is.

    place: root, videos and captions of the corpus, as in the recipe's section.   weights: by the name of a network.
    overrides: settings of all rows; those of a section that a row lacks are not for it.   limit: of the videos, for a trial.
    scenes: of the corpus of that name, which is generated: the four settings of an existing corpus do not apply to it.
    """

    corpus: CorpusName
    out: Path
    rows: tuple[Row, ...]
    place: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    limit: int | None = None
    other_counts: bool = False
    scenes: SceneSize = QUICK

    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each row by its key, with the first seed. Raises ConfigError for overrides and weights that fit no row."""
        recipes = {row.key: self._recipe(row) for row in self.rows}
        _check_weights(self.weights, recipes.values())
        for override in self.overrides:
            if not any(_is_for(override, self._without_overrides(row)) for row in self.rows):
                section = override.partition(".")[0]
                what = "a backbone" if section == "features" else f"a section {section}"
                raise ConfigError(f"{override}: none of the rows has {what}. Leave it out, or choose other rows.")
        return recipes

    def run_folder(self, row: Row, seed: int) -> Path:
        """Where the model of a row and a seed is."""
        return self.out / "rows" / row.key / f"seed-{seed}"

    def _without_overrides(self, row: Row) -> Recipe:
        if self.corpus == "scenes":
            return load_recipe(self.scenes.recipe, [*self.scenes.overrides, *row.settings])
        return load_recipe(f"{self.corpus}/{row.key}", row.settings)

    def _recipe(self, row: Row) -> Recipe:
        bare = self._without_overrides(row)
        mine = [override for override in self.overrides if _is_for(override, bare)]
        if self.corpus == "scenes":
            return scene_recipe(self.out, self.scenes, self.seeds[0], [*row.settings, *mine])
        recipe = load_recipe(
            bare.name, [*row.settings, f"features.store={self.out / 'features'}", *mine, f"seed={self.seeds[0]}"]
        )
        # Clips without a video are reported and left out; a table of the others is still useful.
        corpus = {**recipe.corpus.model_dump(), **self.place, "available_only": True}
        changed: dict[str, Any] = {"corpus": CorpusSettings(**corpus)}
        for section, name in _networks(recipe).items():
            if (file := self.weights.get(name)) is not None:
                changed[section] = getattr(recipe, section).model_copy(update={"weights": str(file)})
        return recipe.model_copy(update=changed)

    def shared_recipe(self) -> Recipe:
        """What comes before the rows on scenes: the recipe without the rows' settings. Raises ConfigError."""
        shared = [override for override in self.overrides if override.split(".")[0] in SHARED_SECTIONS]
        return scene_recipe(self.out, self.scenes, self.seeds[0], shared)


def scene_recipe(out: Path, size: SceneSize, seed: int, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that size with its videos and features in the folder `out`. Raises ConfigError."""
    recipe = load_recipe(size.recipe, [*size.overrides, *overrides, f"seed={seed}"])
    corpus = recipe.corpus.model_copy(update={"root": out / "corpus"})
    features = recipe.features.model_copy(update={"store": out / "features"})
    return recipe.model_copy(update={"corpus": corpus, "features": features})


def network_of(section: str, settings: Any) -> str:
    """The name of the network in a section of a recipe."""
    return str(getattr(settings, NETWORKS[section]))


def motion_start(recipe: Recipe, feature_sizes: Mapping[str, int]) -> Recipe:
    """The recipe with the encoder's start state made from the clip's motion, where it has one vector of it: equations (11), (12).

    feature_sizes: D of each stream.
    """
    if recipe.motion is None or recipe.motion.per != "video" or recipe.model.kind in ("stat", "stat-mm17"):
        return recipe
    size = recipe.model.motion_size or feature_sizes.get("motion")
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"motion_size": size})})


def _is_for(override: str, recipe: Recipe) -> bool:
    """Whether a row has the section of a setting, or the network that it replaces. `motion=null` is for all rows."""
    section, dot, name = override.partition("=")[0].partition(".")
    if (section, name) == ("features", "backbone"):
        return recipe.features.backbone is not None
    return not (dot and section in OPTIONAL and getattr(recipe, section) is None)


def _networks(recipe: Recipe) -> dict[str, str]:
    """Section to the name of its network, for the sections of a recipe that name one."""
    sections = {section: getattr(recipe, section) for section in NETWORKS}
    return {
        section: network_of(section, settings)
        for section, settings in sections.items()
        if settings is not None and getattr(settings, NETWORKS[section]) is not None
    }


def _check_weights(weights: Mapping[str, Path], recipes: Iterable[Recipe]) -> None:
    used = sorted({name for recipe in recipes for name in _networks(recipe).values()})
    for name in weights:
        if name not in used:
            near = difflib.get_close_matches(name, used, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--weights {name}: no row uses this network.{hint} The rows use {', '.join(used)}.")

"""The whole path in one run on generated videos: `stap demo`."""

from stap.experiments.demo.run import DemoResult, run_demo
from stap.experiments.reproduce.scene_rows import FULL, QUICK, SceneSize

__all__ = ["FULL", "QUICK", "DemoResult", "SceneSize", "run_demo"]

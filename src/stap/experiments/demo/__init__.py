"""All of it in one run on generated videos: `stap demo`."""

from stap.experiments.demo.run import DemoResult, run_demo
from stap.experiments.demo.steps import FULL, QUICK, DemoSize

__all__ = ["FULL", "QUICK", "DemoResult", "DemoSize", "run_demo"]

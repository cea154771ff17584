"""All of it in one run on generated videos: `stap demo`."""

from stap.demo.run import DemoResult, run_demo
from stap.demo.steps import FULL, QUICK, DemoSize

__all__ = ["FULL", "QUICK", "DemoResult", "DemoSize", "run_demo"]

"""All of it in one run on generated videos: `stap demo`."""

from stap.demo.run import FULL, QUICK, DemoResult, DemoSize, run_demo

__all__ = ["FULL", "QUICK", "DemoResult", "DemoSize", "run_demo"]

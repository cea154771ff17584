"""What commands of stap import, for processes that are forked from one that has it already."""

import torch

import stap.captioning.captioner
import stap.cli
import stap.corpora.check
import stap.experiments.evaluate
import stap.features.extract
import stap.reports.attention_figure
import stap.reports.evaluation_page
import stap.scenes
import stap.training.loop
import stap.video  # noqa: F401

torch.set_num_threads(1)

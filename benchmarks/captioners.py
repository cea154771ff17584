"""Processor seconds a clip of captioners of the Hub on a processor, against our own student (the recipe distil/student), files in, captions out.

    python -m benchmarks.captioners [--videos 8] [--size 240] [--kinds git blip]

Architectures and sizes are those of microsoft/git-base-vatex and Salesforce/blip-image-captioning-base; the weights are random, so nothing is
fetched, and every answer has as many tokens. Greedy, as by default. Processor seconds, which other programs on the cores do not lengthen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from benchmarks.extraction import make_videos
from benchmarks.table import CannotRunError, Row, markdown

from stap.captioning.captioner import Captioner
from stap.captioning.model_folder import load_run, save_description, save_weights
from stap.captioning.protocol import VideoCaptioner
from stap.features.backbone import build_backbone
from stap.features.grid import GridExtractor
from stap.models.build import build_model
from stap.recipes.files import load_recipe
from stap.text.vocabulary import Vocabulary

TOKENS = 12


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=["git", "blip"])
    arguments = parser.parse_args(given)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        videos = [path for _, path in make_videos(Path(folder), arguments.videos, arguments.size)]
        own = student(Path(folder) / "student")
        for kind in arguments.kinds:
            other = teacher(kind, Path(folder) / kind)
            rounds = [(seconds(other, videos), seconds(own, videos)) for _ in range(arguments.rounds)]
            theirs, ours = (statistics.median(column) / len(videos) for column in zip(*rounds, strict=True))
            found.append(
                Row(
                    f"a caption of {kind} on a processor",
                    "one of distil/student",
                    theirs / ours,
                    detail=f"{theirs:.2f} s; {ours:.2f} s",
                )
            )
    return found


def seconds(captioner: VideoCaptioner, videos: list[Path]) -> float:
    started = time.process_time()
    assert len(list(captioner.caption_many(videos))) == len(videos)
    return time.process_time() - started


def student(folder: Path) -> Captioner:
    recipe = load_recipe("distil/student", ["features.image_size=224"])
    folder.mkdir()
    weights = folder / "start.safetensors"
    assert recipe.features.backbone is not None
    backbone = build_backbone(recipe.features.backbone, recipe.features.backbone_options, weights="random", image_size=224)
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}, weights)
    recipe = recipe.model_copy(
        update={"features": recipe.features.model_copy(update={"weights": str(weights), "imported": {}})}
    )
    extractor = GridExtractor(recipe.features)
    vocabulary = Vocabulary.from_counts({f"w{number}": 1 for number in range(3000)})
    model = build_model(recipe.model, {"grid": extractor.spec}, vocabulary_size=len(vocabulary))
    save_description(folder, recipe, vocabulary, {"grid": extractor.spec}, {"features": weights})
    save_weights(folder, model)
    return Captioner(load_run(folder), torch.device("cpu"))


def teacher(kind: str, folder: Path) -> VideoCaptioner:
    """A model of the published size with random weights, through its files as any other."""
    try:
        import transformers
    except ImportError as error:
        raise CannotRunError("transformers is not installed") from error
    from stap.teachers import answers
    from stap.teachers.loading import load

    answers.MOST_TOKENS = TOKENS
    folder.mkdir()
    words = folder / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(30_519))]))
    tokenizer = transformers.BertTokenizer(str(words))
    parts: dict[str, Any] = {
        "git": lambda: (
            transformers.GitForCausalLM(transformers.GitConfig(num_image_with_embedding=6, bos_token_id=2, eos_token_id=3)),
            transformers.GitProcessor(transformers.CLIPImageProcessor(), tokenizer),
        ),
        "blip": lambda: (
            transformers.BlipForConditionalGeneration(
                transformers.BlipConfig(vision_config={"image_size": 384}, text_config={"bos_token_id": 2, "sep_token_id": 3})
            ),
            transformers.BlipProcessor(transformers.BlipImageProcessor(size={"height": 384, "width": 384}), tokenizer),
        ),
    }
    model, processor = parts[kind]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return load(folder, "cpu")


if __name__ == "__main__":
    main()

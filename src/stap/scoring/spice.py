"""SPICE (Anderson et al. 2016), where what it needs is there.

pycocoevalcap carries SPICE 1.0, but not the parser it stands on: Stanford CoreNLP 3.6.0, code and English models, which
pycocoevalcap downloads from nlp.stanford.edu when it is first asked for SPICE. Here nothing is downloaded behind anybody's
back: without the two archives SPICE is refused, with the line that gets them.

pycocoevalcap runs it with `-cache`, whose serializer reaches into Java's own classes; Java 17 and later forbid that
(InaccessibleObjectException), which is why SPICE is known to need Java 8. Without that option the parser starts on Java 25.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stap.errors import MissingDependencyError, ScoringError
from stap.scoring.measures import Kept, Table, mean_score
from stap.text.java import archive, java_command

__all__ = ["Spice", "check_spice"]

PARSER = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
DOWNLOAD = "python -c 'from pycocoevalcap.spice import get_stanford_models as g; g.get_stanford_models()'"


def check_spice() -> Path:
    """SPICE's archive. Raises MissingDependencyError if it cannot run, with the reason and the way out."""
    jar = archive("spice/spice-1.0.jar")
    missing = [name for name in PARSER if not (jar.parent / "lib" / name).is_file()]
    if missing:
        raise MissingDependencyError(
            f"SPICE is unavailable: it needs Stanford CoreNLP 3.6.0, and {jar.parent / 'lib'} has no {' and no '.join(missing)}. "
            f"Get them once (about 400 MB) with: {DOWNLOAD} - or leave 'spice' out of the metrics."
        )
    return jar


class Spice:
    """The F-score of SPICE's tuples; the corpus has the mean of its videos."""

    def __init__(self, references: Sequence[list[str]]) -> None:
        """Raises MissingDependencyError if SPICE cannot run here."""
        self._jar = check_spice()
        self._references = references
        self._kept = Kept(self._each)

    def score(self, captions: Sequence[str]) -> Table:
        """One score: SPICE. Java runs for the captions that are new, and parses their references again (minutes)."""
        return {"SPICE": mean_score(self._kept(captions))}

    def _each(self, videos: list[int], captions: list[str]) -> list[float]:
        pairs = enumerate(zip(videos, captions, strict=True))
        asked = [{"image_id": k, "test": caption, "refs": self._references[video]} for k, (video, caption) in pairs]
        with tempfile.TemporaryDirectory() as folder:
            question, answer = Path(folder, "captions.json"), Path(folder, "scores.json")
            question.write_text(json.dumps(asked), encoding="utf-8")
            command = [
                *java_command(),
                "-Xmx8G",
                "-jar",
                str(self._jar),
                str(question),
                "-out",
                str(answer),
                "-subset",
                "-silent",
            ]
            finished = subprocess.run(command, cwd=self._jar.parent, capture_output=True, check=False)
            if finished.returncode != 0 or not answer.is_file():
                raise ScoringError(_failure(finished))
            scores = {item["image_id"]: _f_score(item) for item in json.loads(answer.read_text(encoding="utf-8"))}
        if scores.keys() != set(range(len(asked))):
            raise ScoringError(f"SPICE was given {len(asked)} captions and scored {len(scores)}. {_ADVICE}")
        return [scores[k] for k in range(len(asked))]


_ADVICE = "It needs about 8 GB of memory; leave 'spice' out of the metrics to go on without it."


def _f_score(item: dict[str, Any]) -> float:
    value = item["scores"]["All"]["f"]
    if not isinstance(value, (int, float)) or value != value:
        raise ScoringError(f"SPICE has no score for a caption (it says {value!r}), so it has no mean. {_ADVICE}")
    return float(value)


def _failure(finished: subprocess.CompletedProcess[bytes]) -> str:
    said = (finished.stderr or finished.stdout).decode(errors="replace").strip()[-2000:]
    return f"SPICE ended with exit status {finished.returncode}. It said: {said or '(nothing)'}. {_ADVICE}"

"""CIDEr with document frequencies counted beforehand: against the formula, and against the COCO scorer's own corpus mode."""

import gzip
import json
import math
from collections import Counter

import pytest

from raising import error_of
from stap.errors import ScoringError
from stap.scoring.cider import (
    Cider,
    DocumentFrequencies,
    count_documents,
    is_frequencies_file,
    read_document_frequencies,
    write_document_frequencies,
)
from stap.scoring.metrics import Scorer

CORPUS = {
    "a": ["A man is cooking.", "a man cooks"],
    "b": ["A man rides a horse.", "a man is riding"],
    "c": ["Two dogs play.", "two dogs are playing in the snow"],
    "d": ["a woman is cooking rice"],
}


@pytest.fixture(scope="module")
def frequencies():
    return count_documents(CORPUS, "a corpus")


def test_videos_are_counted_not_captions(frequencies):
    assert frequencies.videos == 4
    assert {n: frequencies.counts[tuple(n.split())] for n in ("a", "a man", "man is", "is cooking", "two dogs")} == {
        "a": 3, "a man": 2, "man is": 2, "is cooking": 2, "two dogs": 1,
    }  # fmt: skip


def test_the_frequencies_of_the_references_give_the_coco_scorers_cider(frequencies):
    captions = {"a": "a man is cooking", "b": "a horse is cooking", "c": "two dogs", "d": "a woman cooks rice"}
    with Scorer(CORPUS, ["cider"], frequencies=frequencies) as scorer:
        scores = scorer.score(captions)
    assert scores.corpus["CIDEr-fixed-df"] == scores.corpus["CIDEr"] > 0.5
    assert all(video["CIDEr-fixed-df"] == video["CIDEr"] for video in scores.per_video.values())


def formula(candidate, references, frequencies):
    """Vedantam et al. 2015, equation 4, in plain loops."""

    def weigh(sentence, n):
        words = sentence.split()
        counts = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
        return {g: c * math.log(frequencies.videos / max(1, frequencies.counts.get(g, 0))) for g, c in counts.items()}

    total = 0.0
    for n in (1, 2, 3, 4):
        ours = weigh(candidate, n)
        for reference in references:
            theirs = weigh(reference, n)
            dot = sum(min(value, theirs.get(g, 0.0)) * theirs.get(g, 0.0) for g, value in ours.items())
            norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            length = len(candidate.split()) - len(reference.split())
            total += 10 * (dot / norms if norms else 0.0) * math.exp(-(length**2) / 72) / len(references) / 4
    return total


def test_one_caption_alone_has_a_score(frequencies):
    references = ["a man is cooking rice", "a man cooks"]
    with Scorer({"clip": references}, ["cider"], frequencies=frequencies) as scorer:
        scores = scorer.score({"clip": "A man is cooking!"})
    assert scores.corpus["CIDEr"] == 0.0  # every n-gram is in every document
    assert scores.corpus["CIDEr-fixed-df"] == pytest.approx(formula("a man is cooking", references, frequencies), abs=1e-10)
    assert scores.corpus["CIDEr-fixed-df"] > 1


@pytest.mark.slow
def test_a_caption_does_not_depend_on_the_other_videos(frequencies):
    captions = {video: group[0] for video, group in CORPUS.items()}
    with Scorer(CORPUS, ["cider"], frequencies=frequencies) as scorer:
        together = scorer.score(captions).per_video
    for video in CORPUS:
        with Scorer({video: CORPUS[video]}, ["cider"], frequencies=frequencies) as scorer:
            assert (
                scorer.score({video: captions[video]}).per_video[video]["CIDEr-fixed-df"] == together[video]["CIDEr-fixed-df"]
            )


def test_more_videos_than_documents():
    frequencies = DocumentFrequencies(2, {("a",): 2, ("man",): 1}, "two videos")
    references = [["a man"], ["a dog"], ["a man runs"], ["dogs"], ["a man"]]
    captions = ["a man", "a dog", "a man", "dogs", "man"]
    found = Cider(references, frequencies).score(captions)["CIDEr-fixed-df"].per_video
    expected = [formula(caption, group, frequencies) for caption, group in zip(captions, references, strict=True)]
    assert found == pytest.approx(expected, abs=1e-10)


def test_a_file_holds_all_of_it(tmp_path, frequencies):
    path = tmp_path / "corpus.gz"
    write_document_frequencies(path, frequencies)
    assert read_document_frequencies(path) == frequencies
    first = path.read_bytes()
    write_document_frequencies(path, frequencies)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["corpus.gz"]
    assert is_frequencies_file(str(path))
    assert not is_frequencies_file(str(tmp_path / "none"))


def damaged(content):
    return lambda path: path.write_bytes(gzip.compress(json.dumps(content).encode()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_text("{}"),
        damaged([]),
        damaged({"format": "another", "videos": 3, "corpus": "x", "ngrams": {}}),
        lambda path: damaged(json.loads(gzip.decompress(path.read_bytes())) | {"ngrams": {"a": 99}})(path),
        lambda path: damaged(json.loads(gzip.decompress(path.read_bytes())) | {"videos": "4"})(path),
    ],
)
def test_damaged_files_are_refused(tmp_path, frequencies, damage):
    path = tmp_path / "corpus.gz"
    write_document_frequencies(path, frequencies)
    damage(path)
    assert error_of(ScoringError, read_document_frequencies, path) == (
        f"{path}: not a whole file of document frequencies. Expected what `stap score --save-frequencies` writes; "
        "write it again from the corpus."
    )


def test_a_file_that_is_not_there(tmp_path):
    assert error_of(ScoringError, read_document_frequencies, tmp_path / "none") == (
        f"{tmp_path}/none: cannot be read (No such file or directory). Name a file with document frequencies."
    )


def test_one_video_is_no_corpus():
    assert error_of(ScoringError, count_documents, {"a": ["a man"]}, "mine.json") == (
        "document frequencies of mine.json come from 1 video, and then every n-gram is in every video and weighs nothing. "
        "Count them in at least two videos, better in a thousand."
    )

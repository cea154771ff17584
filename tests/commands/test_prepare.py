"""`stap prepare`: what it prints, writes and answers with."""

import json
import re
import shlex

import pytest

from stap.cli import main
from stap.recipes.files import load_recipe


@pytest.fixture
def root(make_video, tmp_path):
    """Three videos of your own."""
    for number, name in enumerate("abc"):
        make_video(f"my videos/{name}.mp4", 12 + number)
    lines = ["video,caption,split", "a,a b,train", "b,c,validation", "c,d,test"]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def run(capsys):
    def command(*arguments):
        status = main(["prepare", *map(str, arguments)])
        return status, *capsys.readouterr()

    return command


def test_a_sound_corpus(root, run):
    videos, captions = root / "my videos", root / "mine.csv"
    status, out, err = run("folder", "--videos", videos, "--captions", captions)
    assert out == (
        "my videos   clips  published  captions  published  video files\n"
        "train           1          -         1          -            1\n"
        "validation      1          -         1          -            1\n"
        "test            1          -         1          -            1\n"
        "all             3          -         3          -            3\n"
        "\n"
        "words                                        training  all splits  known  of training text  a caption  too long  no words\n"
        "simple, lower case, special characters part         2           4      2          100.00 %       1.33         0         0\n"
        "\n"
        f"Next: stap extract msvd/lstap-attention corpus.kind=folder 'corpus.videos={videos}' "
        f"""'corpus.captions=["{captions}"]'\n"""
    )
    assert err == (
        "prepare: 1 of 3\nprepare: 2 of 3\nprepare: 3 of 3\n"
        "stap: warning: my videos: 1 validation clip; expected at least 30 to choose weights by a score. With one clip CIDEr is always 0, "
        "with few it is mostly chance. Move clips there, or set training.best_by=log-likelihood.\n"
    )
    assert status == 0


def test_the_next_command_means_the_same_corpus(root, run):
    _, out, _ = run(
        "folder", "--videos", root / "my videos", "--captions", root / "mine.csv", "text.too_long=drop", "text.max_words=29"
    )
    [_, verb, name, *overrides] = shlex.split(out.splitlines()[-1].removeprefix("Next: "))
    recipe = load_recipe(name, overrides)
    assert verb == "extract"
    assert (recipe.corpus.kind, recipe.corpus.captions) == ("folder", (root / "mine.csv",))
    assert (recipe.corpus.videos, recipe.corpus.root) == (root / "my videos", None)
    assert (recipe.text.too_long, recipe.text.max_words) == ("drop", 29)


def test_a_recipe_of_the_corpus_is_written(root, run):
    file = root / "mine.yaml"
    status, out, err = run(
        "folder", "--videos", root / "my videos", "--captions", root / "mine.csv", "--frames", 0, "--write", file
    )
    assert status == 0
    assert out.splitlines()[-1] == f"Next: stap extract {file}"
    assert (
        err.splitlines(keepends=True)[-1]
        == f"{file}: written. It holds the corpus and the text rules; everything else has its default.\n"
    )
    recipe = load_recipe(file)
    assert (recipe.name, recipe.corpus.videos, recipe.corpus.captions) == ("mine", root / "my videos", (root / "mine.csv",))


def test_one_folder_may_hold_everything(root, run):
    (root / "mine.csv").rename(root / "my videos/captions.csv")
    status, out, _ = run("folder", "--videos", root / "my videos", "--frames", 0)
    assert status == 0
    assert f"'corpus.root={root / 'my videos'}'" in out


def test_problems_are_grouped_counted_and_written_whole(root, run):
    captions = root / "mine.csv"
    with captions.open("ab") as stream:
        stream.write("".join(f"missing{number},x,train\n" for number in range(7)).encode() + b"a,caf\xe9,train\na,!,test\n")
    (root / "my videos/b.mp4").write_bytes(b"")
    status, out, err = run("folder", "--videos", root / "my videos", "--captions", captions, "--report", root / "report.json")
    groups = re.findall(r"^(error|warning): (.*)$", out, re.MULTILINE)
    assert groups == [
        ("error", "places that are not UTF-8 (1)"),
        ("error", "splits that do not agree (1)"),
        ("error", "clips without a video file (7)"),
        ("error", "video files that are damaged (1)"),
    ]
    missing = root / "my videos/missing4.mp4"
    assert f"  missing4: no video file {missing}, nor one of that name with another suffix.\n  and 2 more; --report" in out
    assert f"{captions}, line 12: not UTF-8 (byte 0xe9 at 5 of the line)." in out
    assert "Next:" not in out
    assert err.splitlines()[-1] == "stap: 10 of 10 problems are errors. Correct them before training."
    assert status == 1
    report = json.loads((root / "report.json").read_text())
    assert [problem["kind"] for problem in report["problems"]].count("no video") == 7


def test_a_corpus_that_cannot_be_read_is_one_sentence(tmp_path, run):
    status, out, err = run("msvd", "--root", tmp_path / "nowhere")
    assert (status, out) == (1, "")
    assert err == (
        f"stap: {tmp_path / 'nowhere'}: no such folder. "
        "Expected the folder of MSVD with AllVideoDescriptions.txt and youtube_mapping.txt.\n"
    )
    status, _, err = run("msvd")
    assert (status, err) == (
        1,
        "stap: corpus.root is not set. Give the folder of the corpus, for example corpus.root=data/msrvtt.\n",
    )
    assert run("coco")[0] == 2


@pytest.mark.slow
def test_the_table_of_the_manual(stap_data, run):
    videos, captions = stap_data / "msvd/YouTubeClips", stap_data / "msvd/AllVideoDescriptions.txt"
    status, out, _ = run("msvd", "--videos", videos, "--captions", captions, "--available-only", "--tokenizers")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0
    assert lines[1:5] == [
        "train 1,200 1,200 48,780 48,780 4",
        "validation 100 100 4,291 4,291 0",
        "test 670 670 27,768 27,768 3",
        "all 1,970 1,970 80,839 80,839 7",
    ]
    assert lines[7:12] == [
        "simple, lower case, special characters part 9,593 12,747 9,593 100.00 % 7.12 20 0",
        "simple, lower case, special characters remove 9,717 12,979 9,717 100.00 % 7.11 20 0",
        "simple, case kept, special characters part 11,829 15,884 11,829 100.00 % 7.12 20 0",
        "ptb 9,728 12,990 9,728 100.00 % 7.12 21 0",
        "published: about 14,000 (L-STAP, section 4.1); 13,010 of all splits (STAT's word list)",
    ]

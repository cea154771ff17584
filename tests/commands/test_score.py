"""`stap score` as a command line: what is printed where, what is written, and every sentence for input that does not fit."""

import json
import re

import pytest

from stap.cli import main
from stap.scoring.cider import read_document_frequencies

REFERENCES = {
    "v1": ["A man is running.", "a man runs"],
    "v2": ["A dog plays.", "a dog is playing", "the dog plays"],
    "v3": ["A woman is cooking.", "a woman cooks rice"],
}
GOOD = {"v1": "a man is running", "v2": "a dog is playing", "v3": "a woman is cooking"}
POOR = {"v1": "a man is running", "v2": "a cat", "v3": ""}


@pytest.fixture
def run(tmp_path, capsys):
    """Write files, run `stap score` with their names, and return (status, stdout, stderr)."""
    contents = {"good.json": GOOD, "poor.json": POOR, "references.json": REFERENCES}

    def score(*arguments, metrics="rouge,cider", **files):
        for name, content in {**contents, **{f"{k.replace('_', '.')}": v for k, v in files.items()}}.items():
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        known = {
            name: str(tmp_path / name) for name in [*contents, *(k.replace("_", ".") for k in files), "out.json", "df.gz", "."]
        }
        status = main(["score", *[known.get(str(word), str(word)) for word in arguments], "--metrics", metrics])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.replace(str(tmp_path), "DIR")

    return score


def test_scores_with_their_ranges(run):
    status, out, err = run("good.json", "references.json")
    assert (status, err) == (0, "Confidence intervals: 95 %, 2000 bootstrap resamples of 3 videos, seed 0.\n")
    assert [line.split()[0] for line in out.splitlines()] == ["ROUGE-L", "CIDEr"]
    assert all(re.fullmatch(r"\S+ +\d+\.\d\d +\d+\.\d\d to +\d+\.\d\d", line) for line in out.splitlines())
    assert run("good.json", "references.json")[1] == out
    assert run("good.json", "references.json", "--draws", 0)[1:] == ("".join(f"{line[:15]}\n" for line in out.splitlines()), "")


def test_what_is_written(run, tmp_path):
    assert run("good.json", "references.json", "--out", "out.json", "--diagnose", "--against", "poor.json", "--humans")[0] == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert set(written) == {"corpus", "per_video", "intervals", "humans", "against", "variety"}
    assert written["per_video"]["v1"]["ROUGE-L"] == 1.0
    assert set(written["against"]) == {"file", "scores", "comparison", "largest_differences"}
    assert written["against"]["comparison"]["CIDEr"]["better"] == 2
    assert written["intervals"]["CIDEr"]["value"] == written["corpus"]["CIDEr"]


def test_a_caption_without_words_is_said(run):
    status, _, err = run("poor.json", "references.json", "--draws", 0)
    assert status == 0
    assert err == "DIR/poor.json: 1 of 3 captions has no words; it counts, and scores 0 (v3).\n"
    assert run("poor.json", "references.json", "--draws", 0, poor_json={"v1": "a man", "v2": "...", "v3": ""})[2] == (
        "DIR/poor.json: 2 of 3 captions have no words; they count, and score 0 (v2, v3).\n"
    )


def test_two_systems(run):
    status, out, _ = run("good.json", "references.json", "--against", "poor.json")
    assert status == 0
    assert "minus" in out
    [rouge] = [line for line in out.splitlines() if line.startswith("ROUGE-L") and " p " in line]
    assert rouge.endswith("better on 2, equal on 1, worse on 0 of 3 videos")
    assert "v3: CIDEr" in out
    assert "  first   a woman is cooking\n  second  \n  human   A woman is cooking.\n" in out


def test_people_and_what_captions_are_like(run):
    training = {"t": ["a man is running", "a dog"]}
    status, out, _ = run("good.json", "references.json", "--humans", "--training", "training.json", training_json=training)
    assert status == 0
    assert "\nhumans: one reference of each of 3 videos against the others\nROUGE-L" in out
    assert "words per caption       4.00 (4 to 4)\n" in out
    assert "novel captions          2 of 3 (66.7 %)\n" in out
    assert "vocabulary used         5 of 5 (100.0 %)\n" in out
    assert "1 times                 a dog is playing\n" in out


def test_people_with_one_reference_are_left_out(run):
    references = {**REFERENCES, "v3": ["A woman is cooking."]}
    _, out, _ = run("good.json", "r.json", "--humans", r_json=references)
    assert "\nhumans: one reference of each of 2 videos against the others; 1 with a single reference left out\n" in out


def test_document_frequencies_are_counted_kept_and_used(run, tmp_path):
    line = ("good.json", "references.json", "--draws", 0)
    status, out, err = run(*line, "--frequencies", "references.json", "--save-frequencies", "df.gz")
    assert (status, err) == (0, "CIDEr-fixed-df: document frequencies of DIR/references.json, 3 videos.\n")
    scores = dict(line.split() for line in out.splitlines())
    assert scores["CIDEr-fixed-df"] == scores["CIDEr"] != "0.00"
    assert read_document_frequencies(tmp_path / "df.gz").videos == 3
    alone = ("one.json", "r.json", "--frequencies", "df.gz")
    status, out, _ = run(*alone, one_json={"v1": GOOD["v1"]}, r_json={"v1": REFERENCES["v1"]})
    scores = dict(line.split() for line in out.splitlines())
    assert scores["CIDEr"] == "0.00"
    assert float(scores["CIDEr-fixed-df"]) > 100


def test_text_in_the_order_of_the_split(run):
    expected = run("good.json", "references.json")[1]
    assert run("lines.txt", "references.json", lines_txt="\n".join(GOOD.values()) + "\n")[1] == expected
    assert run("ids.tsv", "references.json", ids_tsv="".join(f"{k}\t{v}\n" for k, v in GOOD.items()))[1] == expected


MSRVTT = {
    "videos": [{"video_id": video, "split": "test"} for video in REFERENCES],
    "sentences": [{"video_id": video, "caption": caption} for video, group in REFERENCES.items() for caption in group],
}


def test_a_corpus_by_name(run):
    expected = run("good.json", "references.json")[1]
    assert run("good.json", "msrvtt:test", "--captions", ".", videodatainfo_json=MSRVTT)[:2] == (0, expected)
    assert run("good.json", "msrvtt", "--split", "test", "--captions", ".")[:2] == (0, expected)
    assert run("good.json", "videodatainfo.json", "--split", "test", videodatainfo_json=MSRVTT)[:2] == (0, expected)


KITCHEN = {
    "films/kitchen/0001.mp4": "a man cooks rice",
    "films/street/0001.mp4": "a car stops",
    "films/street/0002.mp4": "a dog",
}
OWN = "video,caption,split\nkitchen/0001.mp4,a man cooks rice,test\nstreet/0001.mp4,a car stops,test\nstreet/0002.mp4,a dog,test\n"
AS_JSON = [{"path": path, "caption": caption} for path, caption in KITCHEN.items()]
AS_LINES = "".join(f"{path}\t{caption}\n" for path, caption in KITCHEN.items())


@pytest.mark.parametrize(
    ("name", "content"), [("k_json", AS_JSON), ("k_jsonl", "".join(json.dumps(one) + "\n" for one in AS_JSON)),
                          ("k_txt", AS_LINES), ("k_out", AS_LINES), ("k_tsv", AS_LINES)],
)  # fmt: skip
@pytest.mark.parametrize("references", [("folder:test", "--captions", "."), ("own.json",)])
def test_two_clips_of_one_name_are_two(run, name, content, references):
    """Every caption is its own clip's only reference, in every shape that `stap caption` and others write."""
    own = {path.removeprefix("films/"): [caption] for path, caption in KITCHEN.items()}
    files = {name: content, "captions_csv": OWN, "own_json": own}
    status, out, _ = run(name.replace("_", "."), *references, "--draws", 0, metrics="rouge", **files)
    assert (status, out.split()) == (0, ["ROUGE-L", "100.00"])


def test_a_clip_is_never_scored_as_another_of_its_name(run):
    two = {path: caption for path, caption in KITCHEN.items() if path != "films/street/0001.mp4"}
    status, out, err = run("k.json", "folder:test", "--captions", ".", k_json=two, captions_csv=OWN)
    assert (status, out) == (1, "")
    assert "1 video without a prediction (street/0001)" in err
    bare = {"0001.mp4": "a man cooks rice", "0002.mp4": "a dog"}
    err = run("k.json", "folder:test", "--captions", ".", k_json=bare, captions_csv=OWN)[2]
    assert err.startswith("stap: DIR/k.json: 0001.mp4 may be kitchen/0001 or street/0001.")


def test_the_field_s_two_kitchens(run, stap_data):
    field = stap_data / "field/scores"
    _, _, err = run(field / "k.json", "folder:test", "--captions", field / "f2")
    assert "2 predictions and references of 3 videos" in err
    assert "without a prediction (street/0001)" in err


def test_two_files_of_one_name_in_the_references(run):
    err = run("good.json", "two.json", two_json={"a/v.avi": ["x"], "a/v.gif": ["y"]})[2]
    assert err == "stap: DIR/two.json: a/v.avi and a/v.gif are two files of one name. Give each video a name of its own.\n"


@pytest.mark.parametrize(
    ("arguments", "files", "message"),
    [
        (("good.json", "references.json"), {"good_json": {"v1": "x"}},
         "DIR/good.json: 1 prediction and references of 3 videos do not fit together: 2 videos without a prediction (v2, v3). "
         "Score the same videos on both sides."),
        (("good.json", "references.json"), {"good_json": {**GOOD, "v9": "x"}},
         "DIR/good.json: 4 predictions and references of 3 videos do not fit together: 1 prediction without references (v9). "
         "Score the same videos on both sides."),
        (("good.json", "references.json"), {"good_json": '{"v1": "x", "v1": "y"}'},
         "DIR/good.json: 'v1' occurs twice in one object. Give each video once."),
        (("good.json", "references.json"), {"good_json": {"v1": ["x", "y"]}},
         "DIR/good.json: video v1 has more than one caption. Give exactly one per video."),
        (("good.json", "references.json", "--against", "poor.json"), {"poor_json": {"v1": "x"}},
         "DIR/poor.json: 1 prediction and references of 3 videos do not fit together: 2 videos without a prediction (v2, v3). "
         "Score the same videos on both sides."),
        (("good.json", "references.json", "--against", "good.json"), {},
         "DIR/good.json: is compared with itself. Name the predictions of another system."),
        (("good.json", "nothing.json"), {},
         "nothing.json: neither a file nor a corpus. Name a file with captions, or a split of a corpus, such as msvd:test, with "
         "--captions DIR."),
        (("good.json", "msvd:test"), {},
         "msvd:test: the folder of its captions is missing. Give the folder of the corpus's caption files with --captions DIR."),
        (("good.json", "msvd:dev"), {}, "msvd:dev: no split of a corpus. Expected msvd:train, msvd:validation or msvd:test."),
        (("good.json", "msvd:test", "--split", "train"), {},
         "msvd:test names one split and --split train another. Give one of them."),
        (("good.json", "msrvtt:train", "--captions", "."), {"videodatainfo_json": MSRVTT},
         "DIR: no clip of msrvtt:train. Choose another split."),
        (("good.json", "references.json", "--save-frequencies", "df.gz"), {},
         "--save-frequencies needs --frequencies SOURCE, which says where to count. Give both."),
        (("lines.txt", "references.json"), {"lines_txt": "a\nb\n"},
         "DIR/lines.txt: 2 lines, and the references have 3 videos. Expected one caption per line, ordered as the references, "
         "v1 to v3; or a .tsv file with ids."),
    ],
)  # fmt: skip
def test_input_that_does_not_fit(run, arguments, files, message):
    assert run(*arguments, **files) == (1, "", f"stap: {message}\n")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("cider,spice", "--metrics cider,spice: stap does not compute SPICE. Name some of bleu, meteor, rouge, cider."),
        ("rouge,cidr", "--metrics rouge,cidr: unknown metric cidr. Name some of bleu, meteor, rouge, cider, with commas "
         "between them."),
        (",", "--metrics ,: no metric is given. Name some of bleu, meteor, rouge, cider, with commas between them."),
    ],
)  # fmt: skip
def test_metrics_that_are_not(run, metrics, message):
    assert run("good.json", "references.json", metrics=metrics) == (1, "", f"stap: {message}\n")

import json
from collections import Counter

import pytest

from raising import error_of
from stap.corpora.folder import drawn_splits
from stap.corpora.loading import load_annotations, load_corpus_with_files
from stap.corpora.problems import Problems
from stap.errors import ConfigError, CorpusError
from stap.recipes.files import recipe_from_dict
from stap.recipes.settings import CorpusSettings

LAYOUT = "a table of captions (.csv, .tsv or .jsonl) with the columns video and caption, and split if you like"
VIDEOS = ("a.mp4", "more/b.c.webm", "d.avi", "d.mp4")


@pytest.fixture
def root(tmp_path):
    """Videos without a table."""
    for name in VIDEOS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(root, **settings):
    return load_corpus_with_files(CorpusSettings(kind="folder", root=root, **settings)).clips


CSV = 'video,caption,split\na.mp4,"A cat, a dog.",train\nmore/b.c.webm,two,val\na.mp4,one,Train\nd.mp4,d,test\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.csv", CSV),
        ("captions.csv", "\ufeff" + CSV.replace("\n", "\r\n").replace("video,", "file,")),
        (
            "captions.tsv",
            "split\tfile\tcaption\ntrain\ta\tA cat, a dog.\nvalidate\tmore\\b.c.webm\ttwo\ntrain\ta\tone\ntest\td.mp4\td\n",
        ),
        (
            "captions.jsonl",
            '{"video": "a.mp4", "captions": ["A cat, a dog.", "one"], "split": "train"}\n\n'
            '{"file": "more/b.c.webm", "caption": "two", "split": "dev"}\n{"video": "d.mp4", "caption": "d", "split": "test"}\n',
        ),
    ],
)
def test_tables_are_read(root, name, content):
    (root / name).write_bytes(content.encode())
    assert [(clip.id, clip.split, clip.path.relative_to(root).as_posix(), clip.captions) for clip in read(root)] == [
        ("a", "train", "a.mp4", ("A cat, a dog.", "one")),
        ("more/b.c", "validation", "more/b.c.webm", ("two",)),
        ("d", "test", "d.mp4", ("d",)),  # not d.avi
    ]


def test_table_and_videos_may_lie_apart(root, tmp_path_factory):
    table = tmp_path_factory.mktemp("texts") / "mine.csv"
    table.write_text(CSV)
    given = CorpusSettings(kind="folder", captions=table, videos=root)
    assert [clip.path for clip in load_corpus_with_files(given).clips] == [
        root / "a.mp4",
        root / "more/b.c.webm",
        root / "d.mp4",
    ]


def test_a_split_is_drawn_by_video_and_depends_on_names_and_seed_only():
    names = [f"clip{number}" for number in range(100)]
    splits = drawn_splits(names, (0.8, 0.1, 0.1), 0)
    assert Counter(splits.values()) == {"train": 80, "validation": 10, "test": 10}
    assert drawn_splits(names[::-1], (0.8, 0.1, 0.1), 0) == splits
    assert drawn_splits(names, (0.8, 0.1, 0.1), 1) != splits
    assert set(drawn_splits(names, (1, 0, 0), 0).values()) == {"train"}
    more = drawn_splits([*names, "another"], (0.8, 0.1, 0.1), 0)
    assert sum(more[name] != splits[name] for name in names) <= 2  # a new video moves at most its neighbours at the cuts


def test_the_drawn_split_is_that_of_the_settings(root):
    (root / "captions.csv").write_text("video,caption\na.mp4,x\nd.mp4,y\nd.avi,z\n".replace("d.avi", "more/b.c.webm"))
    splits = [clip.split for clip in read(root, split_fractions=(0.34, 0.33, 0.33))]
    assert sorted(splits) == ["test", "train", "validation"]
    assert [clip.split for clip in read(root, split_fractions=(1, 0, 0))] == ["train"] * 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", "video,caption\n../a.mp4,x\n", ", line 2: the video is '../a.mp4'. Expected a path inside the folder of the videos."),
        ("captions.csv", "video,caption\na.mp4, \n", ", line 2: the caption of a.mp4 is empty. Write one, or remove the line."),
        (
            "captions.csv",
            "video,caption,split\na.mp4,x,holdout\n",
            ", line 2: a.mp4 is in split 'holdout'. Expected one of train, validation, test.",
        ),
        (
            "captions.csv",
            "video,caption,split\na.mp4,x,train\na.mp4,x,test\n",
            ", line 3: a.mp4 is in test, and in train further up. Expected one split a video, so that no video is trained on and "
            "tested.",
        ),
        (
            "captions.csv",
            "video,caption,split\na.mp4,x,train\nd.mp4,x,\n",
            ": 1 of 2 videos have no split. Name the split of every video, or of none.",
        ),
        ("captions.csv", "clip,text\na,b\n", f", line 2: clip, text where text in video and caption was expected. Expected {LAYOUT}."),
        ("captions.jsonl", "[\n", ", line 1: not JSON (Expecting value). Expected an object per line with video and caption."),
        ("captions.jsonl", "3\n", f", line 1: nothing where text in video and caption was expected. Expected {LAYOUT}."),
        (
            "captions.csv",
            'video,caption\na.mp4,"x\n',
            f", line 2: not a table (unexpected end of data). Expected {LAYOUT}.",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(root, name, content, message):
    (root / name).write_text(content)
    assert error_of(CorpusError, read, root) == f"{root / name}{message}"


def test_a_video_in_two_files_of_one_name_is_refused(root):
    (root / "captions.csv").write_text("video,caption,split\nd.mp4,x,train\nd.avi,y,test\n")
    assert error_of(CorpusError, read, root) == (
        f"{root.name}: two clips are called d, one in train, one in test. Expected distinct names, each in one split."
    )


def test_a_name_that_may_be_two_files_is_refused_and_names_both(root):
    (root / "captions.csv").write_text("video,caption\na,x\nd,y\n")
    assert error_of(CorpusError, read, root) == (
        f"d: {root}/d.avi and d.mp4 may both be its file. Name the file with its suffix in the captions, or remove one."
    )


@pytest.mark.parametrize(
    ("name", "content", "captions"),
    [
        ("captions.csv", "video,caption,caption\na,x,y\nd.mp4,z,\n", [("x", "y"), ("z",)]),
        ("captions.csv", "video,caption1,caption_2,caption 3\na,x,,y\nd.mp4,,z,\n", [("x", "y"), ("z",)]),
        ("captions.jsonl", '{"video": "a", "caption": "x", "captions": ["y"]}\n{"video": "d.mp4", "caption2": "z"}\n', [("x", "y"), ("z",)]),
    ],
)  # fmt: skip
def test_every_column_of_captions_is_read(root, name, content, captions):
    (root / name).write_text(content)
    assert [clip.captions for clip in read(root)] == captions


def test_columns_that_are_not_read_are_said(root):
    (root / "captions.csv").write_text("video,notes,caption,url\na,n,x,u\nd.mp4,n,y,u\n")
    problems = Problems()
    load_annotations(CorpusSettings(kind="folder", root=root), problems)
    assert [(problem.sentence, problem.is_error) for problem in problems] == [
        (f"{root}/captions.csv: notes, url in the first line: not read. Captions are read from caption, caption2 ...", False)
    ]


def test_a_file_of_captions_given_twice(root, tmp_path_factory):
    (root / "captions.csv").write_text(CSV)
    link = tmp_path_factory.mktemp("links") / "same.csv"
    link.symlink_to(root / "captions.csv")
    assert error_of(CorpusError, read, root, captions=[root / "captions.csv", link]) == (
        f"{link}: this caption file is given twice, and its captions would count twice. Name it once."
    )


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        (
            "semi.csv",
            ["the first line, 'video;caption;split', has semicolons between its columns. Expected commas in a .csv file."],
        ),
        ("caps.csv", ["line 2: Video, Caption, Split where text in video and caption was expected."]),
        ("cp1252.csv", ["iconv -f cp1252 -t utf-8 cp1252.csv"]),
    ],
)
def test_tables_of_the_field_have_one_finding(stap_data, name, sentences):
    problems = Problems()
    try:
        load_annotations(CorpusSettings(kind="folder", captions=stap_data / "field/captions" / name), problems)
        found = [problem.sentence for problem in problems if problem.is_error]
    except CorpusError as error:
        found = [str(error)]
    assert len(found) == 1
    assert sentences[0] in found[0]


def test_no_table_and_two_tables_are_refused(root):
    with pytest.raises(CorpusError) as caught:
        read(root)
    names = "captions.csv, captions.tsv, captions.jsonl"
    assert str(caught.value) == f"{root}: none of them is there: {names}. Expected one, or its name in corpus.captions."
    (root / "captions.csv").write_text(CSV)
    (root / "captions.jsonl").write_text("")
    assert (
        error_of(CorpusError, read, root)
        == f"{root}: 2 of them are there: {names}. Expected one, or its name in corpus.captions."
    )
    assert len(read(root, captions="captions.csv")) == 3


def test_another_kind_of_file_is_refused(root):
    (root / "captions.xlsx").write_bytes(b"PK")
    error = error_of(CorpusError, read, root, captions="captions.xlsx")
    assert error == f"{root / 'captions.xlsx'}: the suffix .xlsx is not known. Expected {LAYOUT}."
    assert error_of(CorpusError, read, root, captions="other.csv") == f"{root / 'other.csv'}: no such file. Expected {LAYOUT}."


def test_a_check_goes_on(root):
    lines = [{"video": "a.mp4", "caption": "x"}, {"video": "a.mp4"}, {"video": "d.mp4", "caption": "y"}]
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    problems = Problems()
    clips = load_annotations(CorpusSettings(kind="folder", root=root), problems).clips
    assert [(clip.id, clip.captions) for clip in clips] == [("a", ("x",)), ("d", ("y",))]
    assert [problem.kind for problem in problems] == ["line"]


def test_fractions_must_make_a_whole():
    for fractions in ([0.5, 0.1, 0.1], [0, 0.5, 0.5]):
        with pytest.raises(ConfigError, match="expected three shares that add up to 1, the first above 0"):
            recipe_from_dict({"corpus": {"split_fractions": fractions}})

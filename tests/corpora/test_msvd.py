from collections import Counter

import pytest

from raising import error_of
from stap.corpora.files import read_rows
from stap.corpora.loading import load_annotations, load_corpus_with_files
from stap.corpora.msvd import number_by_bytes
from stap.corpora.problems import Problems, listed, refuse
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings


def load(root, **settings):
    """The corpus with its videos."""
    return load_corpus_with_files(CorpusSettings(kind="msvd", root=root, **settings))


def read(root, **settings):
    """The clips, whether their videos are there or not."""
    return load_annotations(CorpusSettings(kind="msvd", root=root, **settings)).clips


@pytest.fixture
def corpus_folder(tmp_path):
    (tmp_path / "youtube_mapping.txt").write_text("c_0_1 vid1301\na_2_9 vid1\nb_5_6 vid1201\n")
    lines = ["# a comment", "a_2_9 A cat.", "b_5_6 one\u2028line \x85 only", "a_2_9 two  cats ", "c_0_1 ein Hündchen", ""]
    (tmp_path / "AllVideoDescriptions.txt").write_bytes("\n".join(lines).encode())
    (tmp_path / "YouTubeClips").mkdir()
    for name in ("a_2_9.avi", "b_5_6.mp4", "c_0_1.avi"):
        (tmp_path / "YouTubeClips" / name).touch()
    return tmp_path


def test_clips_come_in_the_order_of_their_numbers_with_captions_unchanged(corpus_folder):
    corpus = load_corpus_with_files(CorpusSettings(kind="msvd", root=corpus_folder))
    assert corpus.name == "MSVD"
    assert [(clip.id, clip.split, clip.path.name, clip.captions) for clip in corpus.clips] == [
        ("vid1", "train", "a_2_9.avi", ("A cat.", "two  cats ")),
        ("vid1201", "validation", "b_5_6.mp4", ("one\u2028line \x85 only",)),
        ("vid1301", "test", "c_0_1.avi", ("ein Hündchen",)),
    ]


@pytest.mark.parametrize(("number", "split"), [(1200, "train"), (1201, "validation"), (1300, "validation"), (1970, "test")])
def test_the_splits_begin_where_the_papers_begin_them(tmp_path, number, split):
    (tmp_path / "youtube_mapping.txt").write_text(f"a vid{number}")
    (tmp_path / "AllVideoDescriptions.txt").write_text("a words")
    assert [clip.split for clip in read(tmp_path)] == [split]


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_captions(corpus_folder):
    (corpus_folder / "AllVideoDescriptions.txt").write_bytes(b"\xef\xbb\xbfa_2_9 A cat.\r\nb_5_6 x\r\nc_0_1 y\r\n")
    assert [clip.captions for clip in load(corpus_folder).clips] == [("A cat.",), ("x",), ("y",)]


def test_missing_videos_are_an_error_or_left_out(corpus_folder):
    (corpus_folder / "YouTubeClips" / "b_5_6.mp4").unlink()
    assert error_of(CorpusError, load, corpus_folder) == (
        f"{corpus_folder}: 1 of 3 clips have no video file: {corpus_folder / 'YouTubeClips' / 'b_5_6.avi'}. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one."
    )
    assert [clip.id for clip in load(corpus_folder, available_only=True).clips] == ["vid1", "vid1301"]


def test_many_missing_videos_are_counted_not_listed(corpus_folder):
    for path in (corpus_folder / "YouTubeClips").iterdir():
        path.unlink()
    with (corpus_folder / "youtube_mapping.txt").open("a") as file:
        file.write("d vid5\n")
    with (corpus_folder / "AllVideoDescriptions.txt").open("a") as file:
        file.write("d words\n")
    with pytest.raises(CorpusError, match=r"4 of 4 clips have no video file: .*a_2_9.avi, .*d.avi, .*b_5_6.avi and 1 more\. "):
        load(corpus_folder)


@pytest.mark.parametrize(
    ("file", "added", "message"),
    [
        (
            "youtube_mapping.txt",
            "d_1_2 1302",
            ", line 4: 'd_1_2 1302'. Expected lines of a clip name, a space and vidN, N from 1 to 1970.",
        ),
        (
            "youtube_mapping.txt",
            "d_1_2 vid1971",
            ", line 4: 'd_1_2 vid1971'. Expected lines of a clip name, a space and vidN, N from 1 to 1970.",
        ),
        ("youtube_mapping.txt", "d_1_2 vid1", ", line 4: 'd_1_2 vid1' comes twice. Expected each clip and number once."),
        (
            "AllVideoDescriptions.txt",
            "nothing",
            ", line 6: 'nothing'. Expected lines of a clip name, a space and a caption.",
        ),
        (
            "AllVideoDescriptions.txt",
            "z_1_2 A cat.",
            ": the clip 'z_1_2' is not in youtube_mapping.txt. Expected captions of its clips only.",
        ),
    ],
)
def test_wrong_lines_are_named(corpus_folder, file, added, message):
    with (corpus_folder / file).open("a", encoding="utf-8") as stream:
        stream.write(added)
    assert error_of(CorpusError, load, corpus_folder) == f"{corpus_folder / file}{message}"


def test_a_clip_without_captions_is_named(corpus_folder):
    with (corpus_folder / "youtube_mapping.txt").open("a") as stream:
        stream.write("d_1_2 vid7")
    assert error_of(CorpusError, load, corpus_folder) == (
        f"{corpus_folder / 'AllVideoDescriptions.txt'}: 1 of 4 clips of youtube_mapping.txt have no caption: d_1_2. "
        "Expected at least one each."
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("youtube_mapping.txt", "lines of a clip name, a space and vidN, N from 1 to 1970"),
        ("AllVideoDescriptions.txt", "lines of a clip name, a space and a caption"),
    ],
)
def test_missing_and_wrongly_encoded_files_are_named(corpus_folder, file, expected):
    path = corpus_folder / file
    path.write_bytes("a_2_9 caf\xe9".encode("latin1"))
    assert error_of(CorpusError, load, corpus_folder) == (
        f"{path}, line 1: not UTF-8 (byte 0xe9 at 9 of the line). Expected {expected}. "
        f"Convert it, for example: iconv -f latin1 -t utf-8 {file}"
    )


def test_a_missing_caption_file_is_named(corpus_folder):
    path = corpus_folder / "AllVideoDescriptions.txt"
    path.unlink()
    error = error_of(CorpusError, load, corpus_folder)
    assert error == f"{path}: no such file. Expected lines of a clip name, a space and a caption."


def test_without_a_mapping_and_without_all_clips_nothing_is_numbered(corpus_folder):
    (corpus_folder / "youtube_mapping.txt").unlink()
    assert error_of(CorpusError, load, corpus_folder) == (
        f"{corpus_folder / 'AllVideoDescriptions.txt'}: captions of 3 clips and no youtube_mapping.txt next to it. Expected 1,970 "
        "clips, which can be numbered by their names, or youtube_mapping.txt; without it, the splits would not be those of the "
        "papers. Put youtube_mapping.txt there."
    )


def test_numbers_by_the_order_of_bytes_are_those_of_the_published_mapping(stap_data, tmp_path):
    mapping = dict(line.split() for line in (stap_data / "msvd/youtube_mapping.txt").read_text().splitlines())
    numbers = number_by_bytes(reversed(mapping), (), tmp_path, refuse)
    assert {clip: f"vid{number}" for clip, number in numbers.items()} == mapping
    (tmp_path / "AllVideoDescriptions.txt").write_bytes((stap_data / "msvd/AllVideoDescriptions.txt").read_bytes())
    without, published = read(tmp_path), read(stap_data / "msvd")
    assert [(clip.id, clip.captions) for clip in without] == [(clip.id, clip.captions) for clip in published]


def test_the_videos_choose_the_1970_clips_of_a_longer_table(tmp_path):
    names = [f"clip{number:04}" for number in range(2000)]
    numbers = number_by_bytes(names, names[30:], tmp_path, refuse)
    assert (len(numbers), numbers["clip0030"], numbers["clip1999"]) == (1970, 1, 1970)


TABLE = """VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description
abcdefghij_,2,9,7,clean,11,English,"A cat, and
a dog."
abcdefghij_,2,9,7,unverified,11,English,a cat
abcdefghij_,2,9,7,clean,11,Chinese,一只猫
abcdefghij_,2,9,7,clean,11,English,
-bcdefghijk,005,6,8,clean,20,English,one
00000000000,0,9,8,clean,20,English,not in the mapping
"""


@pytest.fixture
def table_folder(tmp_path):
    """The corpus as first published, with a mapping of two of its clips."""
    (tmp_path / "youtube_mapping.txt").write_text("-bcdefghijk_5_6 vid1201\nabcdefghij__2_9 vid1\n")
    (tmp_path / "MSR Video Description Corpus.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path


def test_the_first_table_is_read(table_folder):
    captions = {clip.id: clip.captions for clip in read(table_folder)}
    assert captions == {"vid1": ("A cat, and\na dog.", "a cat"), "vid1201": ("one",)}
    captions = {clip.id: clip.captions for clip in read(table_folder, sources="clean")}
    assert captions == {"vid1": ("A cat, and\na dog.",), "vid1201": ("one",)}
    (table_folder / "youtube_mapping.txt").write_text("abcdefghij__2_9 vid1\n")
    assert [clip.captions for clip in read(table_folder, language="chinese")] == [("一只猫",)]


def test_what_the_first_table_holds_beside_is_said(table_folder):
    problems, file = Problems(), table_folder / "MSR Video Description Corpus.csv"
    load_annotations(CorpusSettings(kind="msvd", root=table_folder), problems)
    assert [(problem.kind, problem.sentence, problem.is_error) for problem in problems] == [
        ("caption", f"{file}, line 6: no description. It is left out.", False),
        ("count", f"{file}: 1 clips are not in youtube_mapping.txt: 00000000000_0_9. They are left out.", False),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "#NAME?,2,9,7,clean,11,English,a cat",
            ", line 9: VideoID, Start and End are '#NAME?', '2', '9'. Expected the 11 characters of a YouTube id and two whole "
            "numbers of seconds. Programs for tables change ids that begin with - or look like numbers: get the file again and do "
            "not save it from there.",
        ),
        (
            "abcdefghij_,2,9,7,clean,11,English,a cat, a dog",
            ", line 9: 9 columns, and 8 were expected, as in the first line. Put quotation marks around a caption that holds the "
            "separator.",
        ),
    ],
)
def test_damaged_rows_are_named(table_folder, line, message):
    file = table_folder / "MSR Video Description Corpus.csv"
    file.write_text(TABLE + line, encoding="utf-8")
    assert error_of(CorpusError, read, table_folder) == f"{file}{message}"


def test_another_table_is_refused(table_folder):
    file = table_folder / "MSR Video Description Corpus.csv"
    file.write_text("video,caption\na,b\n")
    with pytest.raises(CorpusError) as caught:
        read(table_folder)
    columns = "VideoID, Start, End, Source, Language, Description"
    missing = " and no column ".join(columns.split(", "))
    assert str(caught.value) == (
        f"{file}: no column {missing} (the first line: video, caption). "
        f"Expected the table of the MSR Video Description Corpus, with the columns {columns}."
    )


def test_what_a_terminal_would_obey_is_escaped_in_a_message(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("video,\x1b[2J\n")
    message = error_of(CorpusError, list, read_rows(file, ("video", "caption"), "a table"))
    assert message == f"{file}: no column caption (the first line: video, \\x1b[2J). Expected a table."
    assert listed(["a\nb", "c"]) == "a\\nb, c"


def test_a_check_goes_on_after_wrong_lines(corpus_folder):
    mapping, captions = corpus_folder / "youtube_mapping.txt", corpus_folder / "AllVideoDescriptions.txt"
    mapping.write_bytes(mapping.read_bytes() + b"d_1_2 1302\na_2_9 vid1302\ne_1_2 vid1303\n")
    captions.write_bytes(captions.read_bytes() + b"e_1_2 caf\xe9\n\xff\n")
    problems = Problems()
    clips = load_annotations(CorpusSettings(kind="msvd", root=corpus_folder), problems).clips
    assert [(clip.id, clip.captions) for clip in clips][1:] == [
        ("vid1201", ("one\u2028line \x85 only",)),
        ("vid1301", ("ein Hündchen",)),
        ("vid1303", ("caf\ufffd",)),
    ]
    convert = "Convert it, for example: iconv -f latin1 -t utf-8 AllVideoDescriptions.txt"
    expected = "Expected lines of a clip name, a space and a caption."
    assert [problem.sentence for problem in problems] == [
        f"{captions}, line 6: not UTF-8 (byte 0xe9 at 9 of the line). {expected} {convert}",
        f"{captions}, line 7: not UTF-8 (byte 0xff at 0 of the line). {expected} {convert}",
        f"{captions}, line 7: '\ufffd'. {expected}",
        f"{mapping}, line 4: 'd_1_2 1302'. Expected lines of a clip name, a space and vidN, N from 1 to 1970.",
        f"{mapping}, line 5: 'a_2_9 vid1302' comes twice. Expected each clip and number once.",
    ]


@pytest.mark.parametrize(
    ("encoding", "sign"),
    [
        ("utf-16", "it begins with 0xff 0xfe"),
        ("utf-16-le", "it holds zero bytes, the first at 1"),
        ("utf-16-be", "it holds zero bytes, the first at 0"),
    ],
)
def test_utf16_is_recognised_with_and_without_a_mark(corpus_folder, encoding, sign):
    path = corpus_folder / "AllVideoDescriptions.txt"
    expected = [clip.captions for clip in read(corpus_folder)]
    path.write_bytes(path.read_bytes().decode().encode(encoding))
    with pytest.raises(CorpusError) as caught:
        read(corpus_folder)
    name = {"utf-16": "UTF-16", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}[encoding]
    assert str(caught.value) == (
        f"{path}: UTF-16 ({sign}). Expected lines of a clip name, a space and a caption, in UTF-8. "
        f"Convert it, for example: iconv -f {name} -t UTF-8 AllVideoDescriptions.txt"
    )
    clips = load_annotations(CorpusSettings(kind="msvd", root=corpus_folder), Problems()).clips
    assert [clip.captions for clip in clips] == expected


def test_the_published_counts(stap_data):
    clips = read(stap_data / "msvd")
    assert [clip.id for clip in clips] == [f"vid{number}" for number in range(1, 1971)]
    assert Counter(clip.split for clip in clips) == {"train": 1200, "validation": 100, "test": 670}
    captions = Counter()
    for clip in clips:
        captions[clip.split] += len(clip.captions)
    assert captions == {"train": 48_780, "validation": 4_291, "test": 27_768}
    assert captions.total() == 80_839


def test_the_real_clips_are_found(stap_data):
    corpus = load_corpus_with_files(CorpusSettings(kind="msvd", root=stap_data / "msvd", available_only=True))
    files = [*(stap_data / "msvd" / "YouTubeClips").iterdir()]
    assert sorted(clip.path for clip in corpus.clips) == sorted(files)


def test_json_is_recognised_and_long_lines_are_shortened(corpus_folder):
    file = corpus_folder / "AllVideoDescriptions.txt"
    file.write_text('{"videos": [], "sentences": []}')
    assert error_of(CorpusError, read, corpus_folder) == (
        f"{file}: JSON. Expected lines of a clip name, a space and a caption. "
        "This looks like a file of MSR-VTT: read it with corpus.kind=msrvtt."
    )
    file.write_text("x" * 101)
    error = error_of(CorpusError, read, corpus_folder)
    assert error == f"{file}, line 1: '{'x' * 97}...'. Expected lines of a clip name, a space and a caption."

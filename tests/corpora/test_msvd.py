from collections import Counter

import pytest

from stap.config import CorpusSettings
from stap.corpora.corpus import load_corpus
from stap.corpora.msvd import read_annotations, read_msvd
from stap.errors import CorpusError


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
    corpus = load_corpus(CorpusSettings(kind="msvd", root=corpus_folder))
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
    assert [clip.split for clip in read_annotations(tmp_path, tmp_path)] == [split]


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_captions(corpus_folder):
    (corpus_folder / "AllVideoDescriptions.txt").write_bytes(b"\xef\xbb\xbfa_2_9 A cat.\r\nb_5_6 x\r\nc_0_1 y\r\n")
    assert [clip.captions for clip in read_msvd(corpus_folder).clips] == [("A cat.",), ("x",), ("y",)]


def test_missing_videos_are_an_error_or_left_out(corpus_folder):
    (corpus_folder / "YouTubeClips" / "b_5_6.mp4").unlink()
    with pytest.raises(CorpusError) as caught:
        read_msvd(corpus_folder)
    assert str(caught.value) == (
        f"{corpus_folder}: 1 of 3 clips have no video file: {corpus_folder / 'YouTubeClips' / 'b_5_6.avi'}. "
        "Put the files there, or set corpus.available_only=true to use only the clips that have one."
    )
    assert [clip.id for clip in read_msvd(corpus_folder, available_only=True).clips] == ["vid1", "vid1301"]


def test_many_missing_videos_are_counted_not_listed(corpus_folder):
    for path in (corpus_folder / "YouTubeClips").iterdir():
        path.unlink()
    with (corpus_folder / "youtube_mapping.txt").open("a") as file:
        file.write("d vid5\n")
    with (corpus_folder / "AllVideoDescriptions.txt").open("a") as file:
        file.write("d words\n")
    with pytest.raises(CorpusError, match=r"4 of 4 clips have no video file: .*a_2_9.avi, .*d.avi, .*b_5_6.avi and 1 more\. "):
        read_msvd(corpus_folder)


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
            ", line 6: the clip 'z_1_2' is not in youtube_mapping.txt. Expected captions of its clips only.",
        ),
    ],
)
def test_wrong_lines_are_named(corpus_folder, file, added, message):
    with (corpus_folder / file).open("a", encoding="utf-8") as stream:
        stream.write(added)
    with pytest.raises(CorpusError) as caught:
        read_msvd(corpus_folder)
    assert str(caught.value) == f"{corpus_folder / file}{message}"


def test_a_clip_without_captions_is_named(corpus_folder):
    with (corpus_folder / "youtube_mapping.txt").open("a") as stream:
        stream.write("d_1_2 vid7")
    with pytest.raises(CorpusError) as caught:
        read_msvd(corpus_folder)
    assert str(caught.value) == (
        f"{corpus_folder / 'AllVideoDescriptions.txt'}: 1 of 4 clips of youtube_mapping.txt have no caption, the first is d_1_2. "
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
    with pytest.raises(CorpusError) as caught:
        read_msvd(corpus_folder)
    assert str(caught.value) == (
        f"{path}: not UTF-8 (byte 0xe9 at 9). Expected {expected}. Convert it, for example: iconv -f latin1 -t utf-8 {file}"
    )
    path.unlink()
    with pytest.raises(CorpusError) as caught:
        read_msvd(corpus_folder)
    assert str(caught.value) == f"{path}: no such file. Expected {expected}."


def test_the_published_counts(stap_data):
    clips = read_annotations(stap_data / "msvd", stap_data / "msvd")
    assert [clip.id for clip in clips] == [f"vid{number}" for number in range(1, 1971)]
    assert Counter(clip.split for clip in clips) == {"train": 1200, "validation": 100, "test": 670}
    captions = Counter()
    for clip in clips:
        captions[clip.split] += len(clip.captions)
    assert captions == {"train": 48_780, "validation": 4_291, "test": 27_768}
    assert captions.total() == 80_839


def test_the_real_clips_are_found(stap_data):
    corpus = load_corpus(CorpusSettings(kind="msvd", root=stap_data / "msvd", available_only=True))
    files = [*(stap_data / "msvd" / "YouTubeClips").iterdir()]
    assert sorted(clip.path for clip in corpus.clips) == sorted(files)

import json
from collections import Counter

import pytest

from stap.corpora.check import check_corpus, count_words
from stap.corpora.loading import load_annotations
from stap.corpora.problems import Problems
from stap.errors import CorpusError
from stap.recipes.settings import CorpusSettings, TextSettings


@pytest.fixture
def root(make_video, tmp_path):
    """Five sound videos of your own, in three splits."""
    rows = [("a", "train"), ("b", "train"), ("c", "train"), ("d", "validation"), ("e", "test")]
    for number, (name, _) in enumerate(rows):
        make_video(f"{name}.avi", 20 + number, codec="mpeg4")
    write(tmp_path, [(f"{name}.avi", f"the video {name} moves", split) for name, split in rows])
    return tmp_path


def write(root, rows, mode="w"):
    with (root / "captions.jsonl").open(mode, encoding="utf-8") as stream:
        for video, caption, split in rows:
            stream.write(json.dumps({"video": video, "caption": caption, "split": split}) + "\n")


def check(root, text=None, **settings):
    return check_corpus(CorpusSettings(kind="folder", root=root, **settings), text or TextSettings())


def sentences(report, kind):
    return [(problem.sentence, problem.is_error) for problem in report.problems if problem.kind == kind]


def test_a_sound_corpus_has_no_problem(root):
    calls = []
    report = check_corpus(
        CorpusSettings(kind="folder", root=root), TextSettings(), workers=2, on_progress=lambda *call: calls.append(call)
    )
    assert report.problems == ()
    assert report.errors == ()
    assert [(split.split, split.clips, split.captions, split.videos) for split in report.splits] == [
        ("train", 3, 3, 3), ("validation", 1, 1, 1), ("test", 1, 1, 1),
    ]  # fmt: skip
    assert report.probed == 5
    assert calls == [(number, 5, name) for number, name in enumerate("abcde", start=1)]
    assert json.loads(json.dumps(report.to_dict()))["splits"][0]["clips"] == 3


def test_words_are_counted_by_the_rules(root):
    write(root, [("a.avi", "The t-shirt, the T-shirt!", "train"), ("e.avi", "...", "test")], mode="a")
    text = TextSettings(max_words=4, vocabulary_size=3)
    words = check(root, text).words
    assert words.rules == "simple, lower case, special characters part"
    # train: the video a moves, the video b moves, the video c moves, the t shirt the t shirt
    assert (words.train, words.every_split) == (8, 10)
    assert (words.vocabulary, words.known) == (3, (5 + 3 + 3) / 18)  # the, moves, video
    assert words.mean_length == pytest.approx((4 * 5 + 6) / 7)
    assert (words.too_long, words.without_words) == (1, 1)
    clips = load_annotations(CorpusSettings(kind="folder", root=root), Problems()).clips
    assert count_words(clips, text) == words
    assert count_words([clip for clip in clips if clip.split == "test"], text) is None


def test_captions_are_looked_at(root):
    more = [("a.avi", "b b", "train"), ("a.avi", "b b", "train"), ("a.avi", "!?", "train"), ("b.avi", "w " * 31, "train")]
    write(root, [*more, ("e.avi", "w " * 31, "test")], mode="a")
    report = check(root)
    assert sentences(report, "same caption") == [("a: 2 captions are 'b b'.", False)]
    assert sentences(report, "no words") == [("a: no word is left of the caption '!?'. Training leaves it out.", False)]
    assert sentences(report, "long caption") == [("b: a caption of 31 words; training cuts it after 30.", False)]
    report = check(root, TextSettings(too_long="drop"))
    assert sentences(report, "long caption") == [("b: a caption of 31 words; training leaves it out.", False)]
    assert report.errors == ()


def test_videos_are_looked_at(root, make_video):
    whole = (root / "b.avi").read_bytes()
    (root / "b.avi").write_bytes(whole[: len(whole) * 9 // 10])
    (root / "c.avi").write_bytes(b"no video")
    (root / "d.avi").unlink()
    make_video("unnamed.mp4")
    report = check(root)
    missing = f"d: no video file {root / 'd.avi'}, nor one of that name with another suffix."
    assert sentences(report, "no video") == [(missing, True)]
    assert sentences(report, "no caption") == [(f"{root / 'unnamed.mp4'}: no caption names this video. It is not used.", False)]
    short, broken = sentences(report, "video")
    assert short[0].startswith(f"{root / 'b.avi'}: only ")
    assert short[0].endswith(" of the 21 frames that its header announces are in the file; the samples are taken from those.")
    assert not short[1]
    assert broken == (
        f"{root / 'c.avi'}: this is not a video that FFmpeg can read, or its header or index is missing (a download cut short, or "
        "another kind of file). Check that it plays, or get it again.",
        True,
    )
    assert [split.videos for split in report.splits] == [3, 0, 1]
    assert sentences(check(root, available_only=True), "no video") == [(missing, False)]


def test_without_frames_no_video_is_opened(root):
    (root / "c.avi").write_bytes(b"no video")
    report = check_corpus(CorpusSettings(kind="folder", root=root), TextSettings(), frames=0)
    assert (report.probed, report.problems) == (0, ())


def test_the_same_file_in_two_splits_is_an_error(root):
    (root / "b.avi").write_bytes((root / "a.avi").read_bytes())
    (root / "e.avi").write_bytes((root / "a.avi").read_bytes())
    assert sentences(check(root), "same video") == [
        ("b (train) and a (train): the same video file under two names; remove one, unless that is meant.", False),
        ("e (test) and a (train): the same video file under two names; keep both in one split, or remove one.", True),
    ]


def test_a_corpus_without_a_split_is_told(root):
    write(root, [("a.avi", "x", "train")])
    assert sentences(check(root), "count") == [
        (f"{root.name}: no clip in validation. Training cannot choose its best weights.", False),
        (f"{root.name}: no clip in test. Nothing can be scored at the end.", False),
    ]
    write(root, [("a.avi", "x", "test")])
    report = check(root)
    assert report.words is None
    assert sentences(report, "count")[0] == (f"{root.name}: no clip in train. Nothing can be trained.", True)


def test_a_file_that_cannot_be_read_at_all_is_an_error(root):
    with pytest.raises(CorpusError, match=r"nowhere: no such folder\. Expected a folder of videos with "):
        check(root / "nowhere")


def test_counts_other_than_the_published_ones_are_an_error_unless_accepted(tmp_path):
    (tmp_path / "youtube_mapping.txt").write_text("a vid1\n")
    (tmp_path / "AllVideoDescriptions.txt").write_text("a words\n")
    settings = CorpusSettings(kind="msvd", root=tmp_path)
    sentence = (
        "MSVD, train: 1 clips and 1 captions; 1,200 and 48,780 are published. Scores will not compare with the papers': "
        "get the caption files again, or say that the counts are meant."
    )
    report = check_corpus(settings, TextSettings(), frames=0)
    assert sentences(report, "count")[0] == (sentence, True)
    report = check_corpus(settings, TextSettings(), frames=0, expect_published=False)
    assert sentences(report, "count")[0] == (sentence, False)


@pytest.mark.parametrize(
    ("kind", "clips", "captions", "words", "too_long", "repeated"),
    [
        ("msvd", (1200, 100, 670), (48_780, 4_291, 27_768), (9_593, 12_747), 20, 5_021),
        pytest.param(
            "msrvtt", (6_513, 497, 2_990), (130_260, 9_940, 59_800), (22_689, 27_898), 235, 13_608, marks=pytest.mark.slow
        ),
    ],
)
def test_the_figures_of_the_manual(stap_data, kind, clips, captions, words, too_long, repeated):
    settings = CorpusSettings(kind=kind, root=stap_data / kind, available_only=True)
    report = check_corpus(settings, TextSettings(vocabulary_size=15_000), frames=0)
    assert (report.words.vocabulary, round(report.words.known, 4)) == ((9_593, 1.0) if kind == "msvd" else (15_000, 0.9936))
    assert tuple(split.clips for split in report.splits) == clips
    assert tuple(split.captions for split in report.splits) == captions
    assert all(split.is_as_published for split in report.splits)
    assert (report.words.train, report.words.every_split) == words
    assert (report.words.too_long, report.words.without_words) == (too_long, 0)
    kinds = Counter(problem.kind for problem in report.problems)
    here = sum(split.videos for split in report.splits)
    assert kinds == {"no video": sum(clips) - here, "same caption": repeated, "long caption": too_long}
    assert report.errors == ()


def test_real_clips_can_be_decoded_and_one_cut_short_is_told(stap_data, tmp_path):
    clips = sorted((stap_data / "msvd" / "YouTubeClips").iterdir())
    for number, clip in enumerate(clips[:2]):
        content = clip.read_bytes()
        (tmp_path / clip.name).write_bytes(content if number else content[: len(content) // 2])
    write(tmp_path, [(clip.name, "a clip", "train") for clip in clips[:2]])
    report = check(tmp_path)
    assert sentences(report, "video") == [
        (
            f"{tmp_path / clips[0].name}: only 100 of the 210 frames that its header announces are in the file; "
            "the samples are taken from those.",
            False,
        )
    ]


@pytest.mark.parametrize(("clips", "says"), [(0, None), (1, "1 validation clip;"), (29, "29 validation clips;"), (30, None)])
def test_a_small_validation_split_is_said_to_be(root, clips, says):
    write(root, [("a.avi", "x", "train"), *((f"v{number}.avi", "x", "validation") for number in range(clips))])
    found = check_corpus(CorpusSettings(kind="folder", root=root), TextSettings(), frames=0).small_validation
    assert (found is None) == (says is None)
    assert found is None or found.startswith(f"{root.name}: {says} expected at least 30 to choose weights by a score.")

"""How long a search takes in archives of different sizes, what indexing costs beside captioning alone, and what a sentence finds.

    python -m benchmarks.archive [--shots 1000 10000 1000000] [--videos 100] [--queries 40] [--models demo/model demo/lrcn]

Synthetic shots: captions of eight words drawn by Zipf's law from 5,000, vectors of 128 numbers in clusters, 100 shots a video, added as
`stap index` adds them. Queries are sentences of three such words, with the vector of a shot and some noise. Then generated scenes
are captioned with the demo's networks (random weights): into JSON as by `stap caption --into`, and by `stap index`.

Models: folders that `stap demo --compare` wrote. Each captions its test clips into an archive, and each human sentence about one of them looks for
it: by meaning, by words (full text over the model's captions), and by both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.caption_folder import make_captioner
from benchmarks.table import CannotRunError, Row, markdown

from stap.archive.database import import_lancedb
from stap.archive.indexing import Indexing
from stap.archive.records import ArchivedShot, ArchivedVideo, Query, Space
from stap.archive.spaces import space_of, unit
from stap.archive.store import Archive
from stap.captioning.captioner import Captioner
from stap.captioning.captions import ClipCaption, caption_clips, embed_sentences
from stap.captioning.model_folder import load_run
from stap.commands.shared.cores import polite_threads
from stap.corpora.loading import load_corpus
from stap.errors import MissingDependencyError, StapError
from stap.features.streams import open_run_streams
from stap.programmes.caption_files import CaptionPlan, caption_files
from stap.programmes.documents import DocumentRules, document
from stap.scenes import write_scenes
from stap.video.threads import available_cores

SIZE, WORDS, CLUSTERS = 128, 5_000, 1_000
SHOTS_PER_VIDEO, VIDEOS_AT_A_TIME = 100, 200
NEAREST = 10
ROUTES = (("meaning", False, True), ("words", True, False), ("both", True, True))


def main() -> None:
    print(markdown(rows(*sys.argv[1:])))


def rows(*given: str) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--videos", type=int, default=100)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--models", type=Path, nargs="*", default=[])
    arguments = parser.parse_args(given)
    try:
        import_lancedb()
    except MissingDependencyError as error:
        raise CannotRunError(str(error)) from error
    found = []
    for count in arguments.shots:
        with tempfile.TemporaryDirectory() as folder:
            found += searches(Path(folder), count, arguments.queries)
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            found += held_out_sentences(Path(folder), model)
    if arguments.videos:
        with tempfile.TemporaryDirectory() as folder, polite_threads():
            found.append(indexing(Path(folder), arguments.videos))
    return found


def searches(folder: Path, count: int, queries: int) -> list[Row]:
    random = np.random.default_rng(1)
    shots = SyntheticShots(random)
    began = time.perf_counter()
    with Archive.create(folder / "archive", Space("joint", SIZE, "synthetic")) as archive:
        for videos in shots.videos(count):
            archive.add(videos)
        archive.optimize()
    seconds = time.perf_counter() - began
    made = []
    with Archive.open(folder / "archive") as archive:
        asked = [(shots.sentence(3), shots.vector()) for _ in range(queries + 1)]
        for name, by_words, by_meaning in ROUTES:
            taken = [
                timed(archive, Query(words if by_words else "", vector if by_meaning else None)) for words, vector in asked
            ][1:]
            made.append(
                Row(
                    f"a search by {name} among {count:,} shots, milliseconds",
                    "",
                    1000 * statistics.median(taken),
                    detail=f"slowest of {queries} {1000 * max(taken):.0f}; the archive took {seconds:.0f} s",
                )
            )
        vectors = [vector for _, vector in asked]
        found = [{one.shot.id for one in archive.search(Query(vector=vector, limit=NEAREST))} for vector in vectors]
    right = sum(len(one & other) for one, other in zip(found, shots.nearest(vectors), strict=True))
    what = f"of the {NEAREST} shots nearest to a vector among {count:,}, those that a search by meaning finds"
    made.append(Row(what, "comparing all vectors", right / (NEAREST * len(vectors))))
    return made


def timed(archive: Archive, query: Query) -> float:
    began = time.perf_counter()
    archive.search(query)
    return time.perf_counter() - began


def held_out_sentences(folder: Path, model: Path) -> list[Row]:
    """R@10 of the sentences about the test clips of a model, by each way to search."""
    run = load_run(model, "cpu")
    clips = load_corpus(run.recipe.corpus).split("test")
    features = open_run_streams(run.recipe.features, run.streams, None)
    captions = caption_clips(run.model, run.vocabulary, features, clips, run.recipe.decoding)
    sentences = [(clip.id, sentence) for clip in clips for sentence in clip.captions]
    vectors = embed_sentences(run.model.eval(), run.vocabulary, run.recipe.text, [said for _, said in sentences], "cpu").numpy()
    with Archive.create(folder / "archive", Space("joint", vectors.shape[1], "model")) as archive:
        archive.add([archived(clip.id, captions[clip.id]) for clip in clips])
        archive.optimize()
        made = []
        for name, by_words, by_meaning in ROUTES:
            hits = [
                video in {one.shot.content for one in archive.search(Query(said if by_words else "", vector, limit=10))}
                for (video, said), vector in zip(
                    sentences, map(unit, vectors) if by_meaning else [None] * len(vectors), strict=True
                )
            ]
            what = f"{len(sentences):,} held-out sentences find their scene among {len(clips)} of {model} by {name}: R@10"
            made.append(Row(what, "", statistics.mean(hits)))
    return made


def archived(name: str, found: ClipCaption) -> tuple[ArchivedVideo, list[ArchivedShot]]:
    assert found.embedding is not None, "the model has a joint space"
    path = Path(f"/{name}.mp4")
    shot = ArchivedShot(f"{name}-0", path, name, 0.0, 1.0, found.caption, embedding=unit(found.embedding.numpy()))
    return ArchivedVideo(name, path, 1, 1, 1.0, "model"), [shot]


class SyntheticShots:
    """Shots that a random generator makes."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._centres = random.standard_normal((CLUSTERS, SIZE)).astype(np.float32)
        frequency = 1 / np.arange(1, WORDS + 1)
        self._frequency = frequency / frequency.sum()
        self._ids: list[str] = []
        self._vectors: list[np.ndarray] = []

    def sentence(self, words: int) -> str:
        """Words drawn by their frequency."""
        return " ".join(f"word{number}" for number in self._random.choice(WORDS, words, p=self._frequency))

    def vector(self) -> np.ndarray:
        """(H,) near one of the centres."""
        centre = self._centres[self._random.integers(CLUSTERS)]
        return unit(centre + 0.5 * self._random.standard_normal(SIZE).astype(np.float32))

    def videos(self, shots: int) -> Iterator[list[tuple[ArchivedVideo, list[ArchivedShot]]]]:
        """So many shots in videos, some videos at a time."""
        count = -(-shots // SHOTS_PER_VIDEO)
        for first in range(0, count, VIDEOS_AT_A_TIME):
            yield [self._video(number) for number in range(first, min(count, first + VIDEOS_AT_A_TIME))]

    def _video(self, number: int) -> tuple[ArchivedVideo, list[ArchivedShot]]:
        content, path = f"{number:064x}", Path(f"/films/{number}.mp4")
        said = [self.sentence(8) for _ in range(SHOTS_PER_VIDEO)]
        shots = [
            ArchivedShot(f"{content}-{at}", path, content, 4.0 * at, 4.0 * at + 4, caption, embedding=self.vector())
            for at, caption in enumerate(said)
        ]
        self._ids += [shot.id for shot in shots]
        self._vectors += [shot.embedding for shot in shots]
        return ArchivedVideo(content, path, 1, 1, 4.0 * SHOTS_PER_VIDEO, "model"), shots

    def nearest(self, vectors: list[np.ndarray]) -> list[set[str]]:
        """The ids of the shots nearest to each vector."""
        cosines = np.stack(self._vectors) @ np.stack(vectors).T  # (shots, queries)
        return [{self._ids[row] for row in np.argpartition(-column, NEAREST)[:NEAREST]} for column in cosines.T]


def indexing(folder: Path, count: int) -> Row:
    """`stap index` of clips against `stap caption --into`, in one process."""
    captioner = make_captioner(folder)
    corpus = write_scenes(folder / "scenes", videos=count, seed=1, workers=available_cores())  # no two are the same video
    videos = [clip.path for clip in corpus.clips if clip.path is not None]
    caption_alone(captioner, videos[:20])
    into_archive(captioner, videos[:20], folder / "warm")
    seconds = [
        (caption_alone(captioner, videos), into_archive(captioner, videos, folder / f"archive{number}"))
        for number in range(1 if count >= 1_000 else 3)
    ]
    return Row(
        f"indexing {count:,} scenes",
        "captioning them into JSON",
        statistics.median(indexed / alone for alone, indexed in seconds),
        bound="key frames as JPEG, and the fingerprint of each file",
        detail=f"{statistics.median(indexed for _, indexed in seconds):.1f} s",
    )


def caption_alone(captioner: Captioner, videos: list[Path]) -> float:
    began = time.perf_counter()
    for path, found in caption_files(videos, captioner, CaptionPlan()):
        if isinstance(found, StapError):
            raise found
        document(found, "json", DocumentRules(), path.parent)
    return time.perf_counter() - began


def into_archive(captioner: Captioner, videos: list[Path], folder: Path) -> float:
    def failed(error: StapError) -> None:
        raise error

    began = time.perf_counter()
    with Archive.create(folder, space_of(captioner, "")) as archive, Indexing(archive, failed) as work:
        work.caption(videos, captioner, CaptionPlan())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

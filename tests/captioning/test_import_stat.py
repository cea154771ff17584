"""The authors' checkpoint of STAT: the imported model against their equations in NumPy, float64; and every refusal."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raising import error_of
from stap.captioning.captions import caption_clips
from stap.captioning.import_stat import import_stat_npz
from stap.captioning.model_folder import load_run
from stap.cli import main
from stap.errors import CheckpointError, FeatureError
from stap.features.store import FeatureStore, VideoFeatures
from stap.features.streams import open_run_streams
from stap.models.batch import VideoBatch
from stap.text.special_ids import BOS, EOS, PAD, UNK
from stap.text.vocabulary import Vocabulary

Array = NDArray[Any]
SMALL = {"V": 11, "E": 4, "H": 6, "G": 6, "M": 5, "L": 7}
WORDS = {"a": 2, "man": 3, "is": 4, "singing": 5, "n't": 6, "-lrb-": 7, "déjà": 8}  # 9 and 10 have no word
F = 28


def true_shapes(V: int, E: int, H: int, G: int, M: int, L: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the authors' training writes them."""
    shapes: dict[str, tuple[int, ...]] = {
        "Wemb": (V, E),
        "ff_state_W": (G, H), "ff_state_b": (H,), "ff_memory_W": (G, H), "ff_memory_b": (H,),
        "ff_local_W": (L, H), "ff_local_b": (H,), "ff_motion_W": (M, H), "ff_motion_b": (H,),
        "decoder_W": (E, 4 * H), "decoder_U": (H, 4 * H), "decoder_b": (4 * H,), "decoder_Wc": (H, 4 * H),
        "decoder_W_sel": (H, 1), "decoder_b_sel": (),
        "ff_logit_lstm_W": (H, E), "ff_logit_lstm_b": (E,), "ff_logit_ctxglm_W": (H, E), "ff_logit_ctxglm_b": (E,),
        "ff_logit_W": (E, V), "ff_logit_b": (V,),
    }  # fmt: skip
    for which in ("l", "g", "m", "lt"):
        shapes |= {f"decoder_Wc{which}_att": (H, H), f"decoder_b{which}_att": (H,), f"decoder_Wd{which}_att": (H, H)}
        shapes |= {f"decoder_U{which}_att": (H, 1), f"decoder_c{which}_att": (1,)}
    return shapes


def random_arrays(seed: int = 1, **sizes: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: np.asarray(random.normal(0, 0.6, shape), np.float32) for name, shape in true_shapes(**SMALL | sizes).items()}


@pytest.fixture
def arrays() -> dict[str, Array]:
    return random_arrays()


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "worddict.pkl"
    path.write_bytes(pickle.dumps(OrderedDict(WORDS), protocol=2))
    return path


def write(folder: Path, arrays: dict[str, Array]) -> Path:
    path = folder / "model_best_so_far.npz"
    np.savez(path, history_errs=np.array([[1.0, 2.0]]), **arrays)
    return path


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def chosen(rows: Array) -> Array:
    """28 positions: the first of 28 nearly equal chunks, or all and zeros after them."""
    if len(rows) >= F:
        return np.stack([rows[chunk[0]] for chunk in np.array_split(np.arange(len(rows)), F)])
    return np.concatenate([rows, np.zeros((F - len(rows), *rows.shape[1:]))])


def reference(p: dict[str, Array], G: Array, M: Array, L: Array, words: list[int]) -> Array:
    """Log-probabilities (steps, V) after nothing, then each of `words` (their numbers), with dropout switched to evaluation."""
    p = {name: array.astype(np.float64) for name, array in p.items()}
    H = len(p["decoder_U"])
    G, M, L = chosen(G), chosen(M), chosen(L)
    g, m, l = G, np.tanh(M @ p["ff_motion_W"] + p["ff_motion_b"]), np.tanh(L @ p["ff_local_W"] + p["ff_local_b"])  # noqa: E741
    mean = g.sum(0) / (g.sum(1) != 0).sum()
    h, c = np.tanh(mean @ p["ff_state_W"] + p["ff_state_b"]), np.tanh(mean @ p["ff_memory_W"] + p["ff_memory_b"])

    def scores(values: Array, which: str) -> Array:
        keys = values @ p[f"decoder_Wc{which}_att"] + p[f"decoder_b{which}_att"]
        return (np.tanh(keys + h @ p[f"decoder_Wd{which}_att"]) @ p[f"decoder_U{which}_att"] + p[f"decoder_c{which}_att"])[
            ..., 0
        ]

    rows = []
    for word in [None, *words]:
        y = np.zeros(p["Wemb"].shape[1]) if word is None else p["Wemb"][word]
        v = np.stack([softmax(scores(frame, "l")) @ frame for frame in l])
        z = softmax(scores(g, "g")) @ g + softmax(scores(m, "m")) @ m + softmax(scores(v, "lt")) @ v
        z = sigmoid(h @ p["decoder_W_sel"] + p["decoder_b_sel"])[0] * z
        gates = y @ p["decoder_W"] + p["decoder_b"] + h @ p["decoder_U"] + z @ p["decoder_Wc"]
        i, f, o = (sigmoid(0.5 * gates[k * H : (k + 1) * H]) for k in range(3))
        c = f * c + i * np.tanh(gates[3 * H :])
        h = o * np.tanh(c)
        q = (0.5 * h) @ p["ff_logit_lstm_W"] + p["ff_logit_lstm_b"] + y + z @ p["ff_logit_ctxglm_W"] + p["ff_logit_ctxglm_b"]
        rows.append(np.log(softmax((0.5 * np.tanh(q)) @ p["ff_logit_W"] + p["ff_logit_b"])))
    return np.stack(rows)


@pytest.mark.parametrize("lengths", [(28, 28, 28), (61, 9, 30), (3, 40, 1)])
def test_the_imported_model_computes_what_their_code_computes(
    tmp_path: Path, arrays: dict[str, Array], words: Path, lengths: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(2)
    G, M, L = (
        random.normal(0, 1, shape)
        for shape in zip(lengths, [(SMALL["G"],), (SMALL["M"],), (3, SMALL["L"])], strict=True)
        for shape in [(shape[0], *shape[1])]
    )
    said = [2, 3, 1, 10, 4]  # theirs, <unk> and a number without a word among them
    expected = reference(arrays, G, M, L, said)
    model = import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run").model.double()
    streams = {"frames": G, "motion": M, "regions": L}
    batch = VideoBatch(
        {name: torch.from_numpy(stream)[None] for name, stream in streams.items()},
        {name: torch.zeros(1, len(stream), dtype=torch.bool) for name, stream in streams.items()},
        torch.tensor([0]),
    )
    with torch.no_grad():
        memory = model.encode(batch)
        state = model.start(memory)
        for word, log_probabilities in zip([BOS, *(number + 2 for number in said)], expected, strict=True):
            step = model.step(memory, state, torch.tensor([word]))
            state = step.state
            found = step.logits.log_softmax(1)[0].numpy()
            np.testing.assert_allclose(found[EOS:], log_probabilities, atol=1e-10)
            assert np.isneginf(found[[PAD, BOS]]).all()


def test_words_keep_their_rows(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    """The end of a sentence is 0 there, <unk> 1; a number without a word keeps its row, so that nothing is normalised anew."""
    run = import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run")
    assert run.vocabulary.words == (
        "<pad>", "<bos>", "<eos>", "<unk>", "a", "man", "is", "singing", "n't", "-lrb-", "déjà", "<unused 9>", "<unused 10>",
    )  # fmt: skip
    assert (EOS, UNK) == (0 + 2, 1 + 2)


def test_words_may_come_as_json_and_words_beyond_the_rows_were_unknown(tmp_path: Path, arrays: dict[str, Array]) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps(WORDS | {"rare": 11, "rarer": 400}))
    vocabulary = import_stat_npz(write(tmp_path, arrays), path, tmp_path / "run").vocabulary
    assert len(vocabulary) == SMALL["V"] + 2
    assert "rare" not in vocabulary.words


def test_the_folder_captions_with_imported_features(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    random = torch.Generator().manual_seed(4)
    sizes = {"frames": (30, SMALL["G"]), "motion": (9, SMALL["M"]), "regions": (28, 3, SMALL["L"])}
    for stream, size in sizes.items():
        made = {"kind": "imported", "stream": stream, "feature_size": size[-1], "source": "theirs"}
        store = FeatureStore(tmp_path / "imported", made)
        for video_id in ("vid1", "vid2"):
            store.write(video_id, VideoFeatures({stream: torch.randn(size, generator=random)}))
    import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run", features=tmp_path / "imported")
    run = load_run(tmp_path / "run")
    assert {stream: spec.fingerprint["source"] for stream, spec in run.streams.items()} == dict.fromkeys(sizes, "theirs")
    streams = open_run_streams(run.recipe.features, run.streams)
    clips: Any = [type("Clip", (), {"id": video_id}) for video_id in ("vid1", "vid2")]
    found = caption_clips(run.model, run.vocabulary, streams, clips, run.recipe.decoding)
    assert set(found) == {"vid1", "vid2"}
    assert (run.recipe.decoding.beam_width, run.recipe.decoding.max_words, run.recipe.decoding.shrinking_beam) == (5, 50, True)
    assert "None: the weights were not trained here." in (tmp_path / "run/README.md").read_text()


@pytest.mark.slow
def test_the_true_sizes(tmp_path: Path, words: Path) -> None:
    """50,927,141 parameters, the published code's own count."""
    true = {"V": 20_000, "E": 512, "H": 1024, "G": 1024, "M": 4096, "L": 4096}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in true_shapes(**true).items()}
    run = import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run")
    assert sum(parameter.numel() for parameter in run.model.parameters()) == 50_927_141
    assert len(run.vocabulary) == 20_002


def test_every_problem_is_told_at_once(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    del arrays["ff_motion_b"], arrays["decoder_clt_att"]
    arrays["ff_logit_W"] = arrays["ff_logit_W"].T
    arrays["decoder_b_sel"] = np.zeros(3, np.float32)
    arrays["Wemb"][2, 1] = np.nan
    arrays["ff_state_b"] = np.arange(6)
    arrays["encoder_W"] = np.zeros((2, 2), np.float32)
    file = write(tmp_path, arrays)
    assert error_of(CheckpointError, import_stat_npz, file, words, tmp_path / "run") == (
        f"{file}: not the checkpoint that STAT's code writes; 7 problems:\n"
        "  - ff_motion_b is missing\n"
        "  - decoder_clt_att is missing\n"
        "  - encoder_W is not known\n"
        "  - Wemb holds NaN or infinite values\n"
        "  - ff_state_b holds int64, expected floating-point numbers\n"
        "  - decoder_b_sel has the shape (3,), expected ()\n"
        "  - ff_logit_W has the shape (11, 4), expected (4, 11)"
    )
    assert not (tmp_path / "run").exists()


def test_another_network_with_one_array_missing(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    del arrays["ff_local_W"]
    with pytest.raises(CheckpointError, match=r"STAT's code writes; 1 problem:\n  - ff_local_W is missing$"):
        import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run")


def test_global_features_of_another_size(tmp_path: Path, words: Path) -> None:
    file = write(tmp_path, random_arrays(G=8))
    assert error_of(CheckpointError, import_stat_npz, file, words, tmp_path / "run") == (
        f"{file}: not the checkpoint that STAT's code writes; 1 problem:\n"
        "  - ff_state_W reads 8 global features, and the contexts have 6, which are added to them"
    )


class Proof:
    """Pickled as a call that leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def test_an_archive_with_a_pickle_inside_is_refused_and_not_run(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    arrays["Wemb"] = np.array([Proof(tmp_path / "proof")], dtype=object)
    file = write(tmp_path, arrays)
    assert error_of(CheckpointError, import_stat_npz, file, words, tmp_path / "run") == (
        f"{file}: cannot be read as .npz of plain arrays (Object arrays cannot be loaded when allow_pickle=False). Expected the "
        "file that the authors of STAT released; copy it again."
    )
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_archive(tmp_path: Path, words: Path, content: bytes) -> None:
    file = tmp_path / "model.npz"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.npz: cannot be read as .npz of plain arrays \(.+\)\. Expected the file"):
        import_stat_npz(file, words, tmp_path / "run")


def test_one_array_is_no_archive(tmp_path: Path, words: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match=r"\(one array, not an archive of several\)"):
        import_stat_npz(tmp_path / "one.npy", words, tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"man": 1}, "'man': 1"),
        ({"man": "2", "": 3, "dog": True}, "'man': '2', '': 3, 'dog': True"),
        ({"man": 2, "dog": 2}, "one number for two words"),
    ],
)
def test_words_without_a_number_of_their_own(
    tmp_path: Path, arrays: dict[str, Array], content: dict[str, Any], shown: str
) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps(content))
    assert error_of(CheckpointError, import_stat_npz, write(tmp_path, arrays), path, tmp_path / "run") == (
        f"{path}: expected each word with a number of its own from 2 on (0 ends a sentence, 1 is <unk>); found {shown}."
    )


def test_features_of_another_size_are_refused(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    for stream, size in {"frames": 6, "motion": 4, "regions": 9}.items():
        FeatureStore(tmp_path / "imported", {"kind": "imported", "stream": stream, "feature_size": size}).begin()
    file = write(tmp_path, arrays)
    assert error_of(CheckpointError, import_stat_npz, file, words, tmp_path / "run", features=tmp_path / "imported") == (
        f"{tmp_path / 'imported'}: not the features of {file}: motion of 4 instead of 5, regions of 9 instead of 7 values. Import "
        "those that the checkpoint was trained on."
    )
    with pytest.raises(FeatureError):
        import_stat_npz(file, words, tmp_path / "run", features=tmp_path / "nothing")


def test_a_model_is_not_overwritten(tmp_path: Path, arrays: dict[str, Array], words: Path) -> None:
    import_stat_npz(write(tmp_path, arrays), words, tmp_path / "run")
    assert (
        error_of(CheckpointError, import_stat_npz, tmp_path / "model_best_so_far.npz", words, tmp_path / "run")
        == f"{tmp_path / 'run'}: holds a model. Name another folder."
    )
    assert isinstance(load_run(tmp_path / "run").vocabulary, Vocabulary)


@pytest.mark.slow
def test_from_the_authors_files_to_scores_by_the_commands(
    tmp_path: Path, arrays: dict[str, Array], words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(3)
    for stream, shape in {"frames": (30, 6), "motion": (9, 5), "regions": (28, 3, 7)}.items():
        folder = tmp_path / "theirs" / stream
        folder.mkdir(parents=True)
        for video_id in ("vid1301", "vid1302"):
            np.save(folder / f"{video_id}.npy", random.normal(0, 1, shape).astype(np.float32))
        assert main(["import-features", str(folder), "--stream", stream, "--out", str(tmp_path / "imported")]) == 0
    corpus = tmp_path / "msvd"
    (corpus / "YouTubeClips").mkdir(parents=True)
    (corpus / "youtube_mapping.txt").write_text("a_1_2 vid1301\nb_3_4 vid1302\n")
    (corpus / "AllVideoDescriptions.txt").write_text("a_1_2 a man is singing\nb_3_4 a man is\n")
    for name in ("a_1_2", "b_3_4"):
        (corpus / "YouTubeClips" / f"{name}.avi").touch()
    run, file = tmp_path / "run", write(tmp_path, arrays)
    capsys.readouterr()
    line = ["import", "stat-npz", file, "--words", words, "--features", tmp_path / "imported", "--out", run]
    assert main([str(word) for word in line]) == 0
    count = sum(array.size for array in arrays.values())
    assert capsys.readouterr().out == f"{run}: {count:,} parameters, 13 words\n"
    out = tmp_path / "results.json"
    assert main(["evaluate", "--model", str(run), "--corpus", str(corpus), "--out", str(out), "--device", "cpu"]) == 0
    assert [found["video_id"] for found in json.loads(out.read_text())["captions"]] == ["vid1301", "vid1302"]


def test_the_command_says_what_is_missing(
    tmp_path: Path, arrays: dict[str, Array], words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["import", "stat-npz", str(write(tmp_path, arrays)), "--words", str(words), "--out", str(tmp_path / "run")]
    assert main(line) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "To evaluate it, import its features (stap import-features) and run this command again with --features DIR."
    )
    assert main(["import", "stat-npy", *line[2:]]) == 2


@pytest.mark.parametrize("name", ["vocabulary.json", "model.safetensors", "metrics.json", "README.md"])
def test_an_import_that_was_killed_is_finished_by_the_same_call(
    tmp_path: Path, arrays: dict[str, Array], words: Path, name: str
) -> None:
    """As it is left when the file of this name was still to come."""
    file, order = write(tmp_path, arrays), ["vocabulary.json", "model.safetensors", "metrics.json", "README.md"]
    import_stat_npz(file, words, tmp_path / "whole")
    import_stat_npz(file, words, tmp_path / "run")
    for missing in order[order.index(name) :]:
        (tmp_path / "run" / missing).unlink()
    import_stat_npz(file, words, tmp_path / "run")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "run" / path.name).read_bytes() == path.read_bytes()

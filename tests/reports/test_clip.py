"""A clip for people: the same caption and weights that the captioner and the model give, over the frames that they saw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from raising import error_of
from stap.captioning.batches import read_videos
from stap.captioning.captioner import load
from stap.captioning.model_folder import Run
from stap.errors import FeatureError
from stap.models.build import build_model
from stap.recipes.files import recipe_from_dict
from stap.recipes.streams import StreamSpec
from stap.reports.clip import clip_from_features, clip_from_file
from stap.reports.places import Boxes, Grid
from stap.text.special_ids import BOS
from stap.text.vocabulary import Vocabulary

N, D = 3, 6  # regions of a frame, size of a feature


def stat_run(vocabulary: Vocabulary, made: dict[str, dict[str, object]], end: float = -20, **stat: object) -> Run:
    """A STAT with random weights, for features made so.   end: the larger, the sooner its captions end."""
    torch.manual_seed(2)
    settings = {"motion_from": None, "project_global": True, **stat}
    recipe = recipe_from_dict(
        {
            "model": {"kind": "stat", "hidden_size": 8, "attention_size": 4, "embedding_size": 5, "stat": settings},
            "decoding": {"beam_width": 2, "max_words": 5},
        }
    )
    streams = {name: StreamSpec.from_fingerprint(name, {"feature_size": D} | found) for name, found in made.items()}
    model = build_model(recipe.model, streams, vocabulary_size=len(vocabulary))
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    with torch.no_grad():
        model.decoder.output.bias[0] = end  # the row of EOS
    return Run(model.eval(), vocabulary, recipe, streams, Path("run"))


def region_arrays(frames: int) -> dict[str, dict[str, torch.Tensor]]:
    """Features of a video as stores keep them."""
    generator = torch.Generator().manual_seed(3)
    regions = {
        "regions": torch.randn(frames, N, D, generator=generator),
        "boxes": torch.rand(frames, N, 4, generator=generator),
        "labels": torch.tensor([[1, 18, 44]] * frames),
        "times_seconds": torch.arange(frames) / 4,
    }
    return {"frames": {"frames": torch.randn(frames, D, generator=generator)}, "regions": regions}


MADE = {
    "frames": {"kind": "imported", "feature_size": D},
    "regions": {"kind": "regions", "frames": 12, "image_size": 96, "labels": 91, "feature_size": D},
}


def test_what_lstap_looked_at(model_folder: Path, video: Path) -> None:
    captioner = load(model_folder, "cpu")
    seen, found = clip_from_file(captioner, video, references=["a man"], extra={"a": "b"}), captioner.caption(video)
    assert (seen.video_id, seen.caption_words, seen.score) == ("clip", found.words, pytest.approx(found.score, abs=1e-5))
    assert (seen.references, seen.extra) == (("a man",), {"a": "b"})
    np.testing.assert_allclose(seen.word_attention, found.attention.numpy(), atol=1e-6)
    assert found.pooling_weights is not None
    np.testing.assert_allclose(seen.spatial_weights, found.pooling_weights.numpy(), atol=1e-6)
    assert seen.places == Grid(*captioner.extractor.grid_size)
    np.testing.assert_array_equal(seen.rgb_uint8, captioner.extractor.read(video).images_uint8.numpy())
    np.testing.assert_array_equal(seen.times_seconds, found.times_seconds.numpy())


@pytest.mark.parametrize(
    ("positions", "frames_seen"),
    [(28, range(12)), (12, range(12)), (5, [0, 3, 6, 8, 10])],  # 12 in 5 parts, the longer ones first: 3, 3, 2, 2, 2
)
def test_what_stat_looked_at(vocabulary: Vocabulary, video: Path, positions: int, frames_seen: list[int]) -> None:
    run, arrays = stat_run(vocabulary, MADE, positions=positions), region_arrays(12)
    seen = clip_from_features(run, arrays, video, video_id="vid7")
    order = list(frames_seen)
    assert seen.rgb_uint8.shape == (len(order), 96, 128, 3)
    np.testing.assert_array_equal(seen.times_seconds, arrays["regions"]["times_seconds"].numpy()[order])
    assert isinstance(seen.places, Boxes)
    np.testing.assert_array_equal(seen.places.corners, arrays["regions"]["boxes"].numpy()[order])
    assert seen.places.names == (("person", "dog", "bottle"),) * len(order)
    # The same words fed one after the other.
    memory = run.model.encode(read_videos(lambda _: {name: found[name] for name, found in arrays.items()}, ["v"]))
    state, word = run.model.start(memory), BOS
    for index, said in enumerate(seen.caption_words):
        step = run.model.step(memory, state, torch.tensor([word]))
        local = step.attentions["local"]
        assert local.places is not None
        np.testing.assert_allclose(seen.word_attention[index], local.weights[0, : len(order)].detach(), atol=1e-6)
        np.testing.assert_allclose(seen.spatial_weights[index], local.places[0, : len(order)].detach(), atol=1e-6)
        state, word = step.state, vocabulary.encode([said], 5)[0]
    assert len(seen.caption_words) > 1


def test_regions_without_boxes_have_no_where(vocabulary: Vocabulary, video: Path) -> None:
    run = stat_run(vocabulary, {name: {"kind": "imported", "feature_size": D} for name in MADE})
    arrays = {name: {name: found[name]} for name, found in region_arrays(12).items()}
    seen = clip_from_features(run, arrays, video, video_id="vid7")
    assert (seen.places, seen.spatial_weights) == (None, None)
    assert seen.times_seconds[1] == pytest.approx(1 / 12, abs=1e-6)  # of the file, since the features have none


def test_a_caption_without_words(vocabulary: Vocabulary, video: Path) -> None:
    seen = clip_from_features(stat_run(vocabulary, MADE, end=20), region_arrays(12), video, video_id="vid7")
    assert (seen.caption_words, seen.word_attention.shape) == ((), (0, 12))


def test_features_of_another_number_of_frames(vocabulary: Vocabulary, video: Path) -> None:
    assert error_of(
        FeatureError, clip_from_features, stat_run(vocabulary, MADE), region_arrays(11), video, video_id="vid7"
    ) == (
        f"{video}: gives 12 frames, and its features are of 11. "
        "They were made of another file or in another way, so its frames cannot be shown."
    )

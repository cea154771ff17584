"""The maps and courses with which a bias for each location, and for each frame, begins."""

import math

import pytest
import torch

from stap.errors import ConfigError
from stap.models.biases import smooth_courses, smooth_maps
from stap.models.build import build_model
from stap.models.lstap import LSTAP
from stap.recipes.settings import ModelSettings


def test_the_maps_are_standardised_plane_waves():
    rows, columns, count = 3, 4, 5
    torch.manual_seed(0)
    angles, numbers = torch.rand(count, dtype=torch.double).tolist(), torch.rand(count, dtype=torch.double).tolist()
    torch.manual_seed(0)
    maps = smooth_maps((rows, columns), count, 2.0)
    assert maps.shape == (rows * columns, count)
    for n in range(count):
        a, k = 2 * math.pi * angles[n], 1.5 * numbers[n]
        wave = []
        for i in range(rows):
            for j in range(columns):
                y, x = -1 + 2 * i / (rows - 1), -1 + 2 * j / (columns - 1)
                wave.append(math.sin(k * (math.cos(a) * y + math.sin(a) * x)))
        mean = sum(wave) / len(wave)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in wave) / len(wave))
        assert maps[:, n].tolist() == pytest.approx([2 * (value - mean) / deviation for value in wave], abs=1e-5)


def test_neighbours_begin_alike_and_the_far_ends_apart():
    torch.manual_seed(0)
    maps = smooth_maps((6, 6), 400, 1.0).view(6, 6, 400)
    beside = (maps[:, 1:] * maps[:, :-1]).mean().item()
    opposite = (maps[0, 0] * maps[5, 5]).mean().item()
    assert beside > 0.8
    assert opposite < -0.5


@pytest.mark.parametrize("grid_size", [(1, 1), (1, 5), (5, 1)])
def test_a_narrow_grid_gives_numbers(grid_size):
    torch.manual_seed(0)
    maps = smooth_maps(grid_size, 200, 0.5)
    assert maps.isfinite().all()
    expected = 0.0 if grid_size == (1, 1) else 0.5
    torch.testing.assert_close(maps.std(dim=0, correction=0), torch.full((200,), expected))


def test_the_courses_are_standardised_waves():
    frames, count = 5, 4
    torch.manual_seed(0)
    frequencies, phases = torch.rand(count, dtype=torch.double).tolist(), torch.rand(count, dtype=torch.double).tolist()
    torch.manual_seed(0)
    courses = smooth_courses(frames, count, 2.0)
    assert courses.shape == (frames, count)
    for n in range(count):
        wave = [math.sin(6 * frequencies[n] * (-1 + 2 * t / 4) + 2 * math.pi * phases[n]) for t in range(frames)]
        mean = sum(wave) / frames
        deviation = math.sqrt(sum((value - mean) ** 2 for value in wave) / frames)
        assert courses[:, n].tolist() == pytest.approx([2 * (value - mean) / deviation for value in wave], abs=1e-5)
    assert smooth_courses(1, 3, 2.0).tolist() == [[0.0] * 3]


def test_the_number_of_frames_must_be_known():
    with pytest.raises(ValueError, match=r"frame_bias 0\.5 without frames"):
        LSTAP(3, 4, frame_bias=0.5)
    with pytest.raises(ConfigError, match=r"model\.frame_bias needs the number of frames"):
        build_model(ModelSettings(frame_bias=0.5), vocabulary_size=9, feature_size=5)


@pytest.mark.parametrize("kind", ["lstap", "lrcn", "lstap-stat"])
def test_every_recurrent_encoder_can_tell_frames_apart(kind):
    settings = ModelSettings(kind=kind, hidden_size=4, attention_size=3, embedding_size=3, frame_bias=1.0)
    model = build_model(settings, vocabulary_size=9, feature_size=5, grid_size=(2, 3), frames=7)
    encoder = model.encoder.lstm if kind == "lrcn" else model.encoder
    assert len(encoder.frame_bias) == 7


def test_only_what_is_asked_for_is_drawn():
    def weights(**options):
        torch.manual_seed(5)
        settings = ModelSettings(hidden_size=4, attention_size=3, embedding_size=3, **options)
        return build_model(settings, vocabulary_size=9, feature_size=5, grid_size=(2, 3)).encoder.state_dict()

    assert "location_bias" not in weights()
    begun = weights(location_bias=1.5)["location_bias"]
    assert begun.shape == (6, 4 * 4 + 3)
    torch.testing.assert_close(begun.std(dim=0, correction=0), torch.full((19,), 1.5))


def test_a_grid_whose_rows_are_not_known_is_refused():
    with pytest.raises(ValueError, match=r"^location_bias 0\.3 with grid_size \(6,\): expected \(rows, columns\)\.$"):
        LSTAP(5, 4, location_bias=0.3, grid_size=(6,))
    for grid_size, known in (((6,), "only its number of locations, 6"), (None, "no size of a grid")):
        with pytest.raises(ConfigError) as error:
            build_model(ModelSettings(location_bias=0.3), vocabulary_size=9, feature_size=5, grid_size=grid_size)
        assert str(error.value) == (
            f"model.location_bias needs the rows and columns of the grid, and the features tell {known}. "
            "Extract the grid with `stap extract`, or set model.location_bias to 0."
        )
    build_model(ModelSettings(kind="lrcn", hidden_size=4, location_bias=0.3), vocabulary_size=9, feature_size=5)

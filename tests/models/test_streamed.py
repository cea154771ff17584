"""L-STAP that reads frame by frame ends where L-STAP that reads all frames at once does."""

import pytest
import torch

from raising import error_of
from stap.errors import ConfigError, ShapeError
from stap.models.batch import VideoBatch
from stap.models.build import build_model
from stap.models.streamed import StreamedEncoder
from stap.recipes.settings import InputSettings, ModelSettings
from stap.recipes.streams import StreamSpec

T, ROWS, COLUMNS, D, M = 11, 3, 4, 7, 5


def make(**options):
    torch.manual_seed(1)
    settings = {"hidden_size": 6, "embedding_size": 4, "attention_size": 5, "dropout": 0.0} | options
    streams = {"grid": StreamSpec("grid", D, grid=(ROWS, COLUMNS), frames=T)}
    if settings.get("motion_size"):
        streams["motion"] = StreamSpec("motion", M)
    model = build_model(ModelSettings(**settings), streams, vocabulary_size=9).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("implementation", ["fused", "reference"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "mean"},
        {"motion_size": M},
        {"inputs": InputSettings(place_embedding=1.0, time_embedding=1.0, differences=True, shift=1)},
    ],
)
def test_the_memory_is_that_of_the_whole_video_exactly(options, implementation) -> None:
    model = make(**options)
    model.encoder.implementation = implementation
    torch.manual_seed(2)
    grid, motion = torch.randn(1, T, ROWS * COLUMNS, D), torch.randn(1, M)
    with_motion = bool(options.get("motion_size"))
    streams = {"grid": grid, "motion": motion} if with_motion else {"grid": grid}
    streamed = StreamedEncoder(model, motion[0] if with_motion else None)
    for t in range(T):
        streamed.read(grid[0, t])
        part = {name: stream[:, : t + 1] if name == "grid" else stream for name, stream in streams.items()}
        with torch.inference_mode():
            whole = model.encode(VideoBatch(part, {"grid": torch.zeros(1, t + 1, dtype=torch.bool)}, torch.arange(1)))
        memory = streamed.memory()
        pairs = [
            (memory.states, whole.states), (memory.keys, whole.keys), (memory.start.h, whole.start.h), (memory.start.c, whole.start.c),
            (memory.embedding, whole.embedding), (memory.pooling_weights, whole.pooling_weights),
        ]  # fmt: skip
        for one, other in pairs:
            if other is None:
                assert one is None
            else:
                torch.testing.assert_close(one, other, rtol=0, atol=2e-6)  # matrix products of other shapes round differently
    assert len(streamed) == T


def test_it_keeps_states_and_no_frames() -> None:
    model = make()
    streamed, frame = StreamedEncoder(model), torch.randn(ROWS * COLUMNS, D)
    for _ in range(50):
        streamed.read(frame)
    kept = [value for value in vars(streamed).values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in kept) == frame.numel() + 2 * 6  # the last frame, h and c
    assert sum(state.numel() for state in streamed._states) == 50 * 6


def test_what_cannot_be_streamed_is_said() -> None:
    assert error_of(ConfigError, StreamedEncoder, make(kind="lrcn")) == (
        "a lrcn reads whole videos; only L-STAP reads frame by frame."
    )
    assert error_of(ShapeError, StreamedEncoder(make()).memory) == "no frame was read, and at least one was expected."
    streamed = StreamedEncoder(make(inputs=InputSettings(time_embedding=1.0)))
    for _ in range(T):
        streamed.read(torch.randn(ROWS * COLUMNS, D))
    assert error_of(ShapeError, streamed.read, torch.randn(ROWS * COLUMNS, D)) == (
        "grid (1, 1, 12, 7) after 11 frames: expected at most 11 frames."
    )

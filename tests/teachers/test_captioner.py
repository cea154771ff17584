"""Captioners of transformers against transformers itself, token by token; what they say in batches, at random and when things go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from raising import error_of
from stap.captioning.protocol import SampledClip
from stap.captioning.video_caption import VideoCaption
from stap.decoding.draw import Draws
from stap.errors import FeatureError, StapError
from stap.teachers import captioner as captioner_module
from stap.teachers.captioner import TransformersCaptioner
from stap.teachers.loading import load
from stap.teachers.routes import PROMPT
from stap.video import Frames, sample_frames

from .conftest import MOST_TOKENS

KINDS = ("git", "blip", "smolvlm", "qwen")


@pytest.fixture(scope="module")
def captioners(teacher: Callable[[str], Path]) -> Callable[[str], TransformersCaptioner]:
    made: dict[str, Any] = {}

    def captioner(kind: str) -> Any:
        made[kind] = made.get(kind) or load(teacher(kind), "cpu")
        return made[kind]

    return captioner


def directly(folder: Path, frames: Frames, beams: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens after the prompt as transformers generates them, and their log-probabilities, computed in one pass."""
    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    pictures = list(frames.rgb_uint8)
    if processor.chat_template:
        question = [{"type": "video"}, {"type": "text", "text": PROMPT}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        duration = frames.duration_seconds
        seen = {"total_num_frames": round(1000 * duration), "fps": 1000.0, "duration": duration}
        seen["frames_indices"] = [round(1000 * seconds) for seconds in frames.times_seconds]
        options = {"cap_pixels_per_frame": True} if "Qwen" in type(processor).__name__ else {}
        inputs = dict(
            processor(
                text=[text], videos=[pictures], do_sample_frames=False, video_metadata=[[seen]], return_tensors="pt", **options
            )
        )
    else:
        inputs = dict(processor(images=pictures, return_tensors="pt"))
        inputs = {"pixel_values": inputs["pixel_values"][None] if model.config.model_type == "git" else inputs["pixel_values"]}
    with torch.inference_mode():
        said = model.generate(**inputs, num_beams=beams, do_sample=False, max_new_tokens=MOST_TOKENS)
        prompt = inputs["input_ids"].shape[1] if "input_ids" in inputs else 1
        tokens = said[:, prompt:]
        whole = inputs | {"input_ids": said, "attention_mask": torch.ones_like(said)}
        if "mm_token_type_ids" in inputs:
            kinds = inputs["mm_token_type_ids"]
            whole["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(tokens)], dim=1)
        logits = model(**whole).logits[:, -tokens.shape[1] - 1 : -1]
        gained = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]
    return tokens, gained


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_the_answer_is_that_of_transformers(
    captioners: Callable[[str], TransformersCaptioner], teacher: Callable[[str], Path], clips: list[Path], kind: str, beams: int
) -> None:
    """Of each clip with ten frames; the models with key frames choose the answer that they are surest of."""
    captioner = captioners(kind)
    [sampling] = captioner.samplings
    for path, caption in zip(clips[:2], captioner.caption_many(clips[:2], beam_width=beams), strict=True):
        frames = sample_frames(path, sampling.count, short_side=sampling.short_side)
        tokens, gained = directly(teacher(kind), frames, beams)
        end = captioner.processor.tokenizer.eos_token_id
        lengths = [row.tolist().index(end) + 1 if end in row else len(row) for row in tokens]  # the end included
        scores = torch.stack([row[:length].mean() for row, length in zip(gained, lengths, strict=True)])
        best = int(scores.argmax())
        expected = captioner.processor.tokenizer.decode(tokens[best], skip_special_tokens=True)
        assert caption.caption == " ".join(expected.split())
        assert caption.score == pytest.approx(float(scores[best]), abs=1e-4)
        [[answer]] = captioner._ask([(path, frames)], beams, None)
        assert (*answer.tokens, *([end] if answer.is_finished else [])) == tuple(tokens[best, : lengths[best]].tolist())
        assert caption.times_seconds.tolist() == pytest.approx(frames.times_seconds.tolist())
        assert len(frames) >= sampling.count - 1  # a frame that is shown at two of the times is taken once


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_from_our_sampler_in_their_order(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], kind: str
) -> None:
    captioner = captioners(kind)
    [sampling] = captioner.samplings
    assert sampling.count == {"git": 6, "blip": 3, "smolvlm": 8, "qwen": 8}[kind]
    frames = sample_frames(clips[0], sampling.count, short_side=sampling.short_side)
    forwards = captioner.route.inputs([frames])
    backwards = captioner.route.inputs([replace(frames, rgb_uint8=frames.rgb_uint8[::-1].copy())])
    [pixels] = [name for name in forwards if name.startswith("pixel_values")]
    assert not torch.equal(forwards[pixels], backwards[pixels])
    if kind in ("git", "blip"):
        single = captioner.route.inputs([replace(frames, rgb_uint8=frames.rgb_uint8[2:3])])[pixels]
        every = forwards[pixels].flatten(0, -4)
        torch.testing.assert_close(every[2:3], single.flatten(0, -4))
        torch.testing.assert_close(every.flip(0), backwards[pixels].flatten(0, -4))
    again = SampledClip(Path("shot"), (frames,))
    [caption] = captioner.caption_frames([again], beam_width=1)
    assert isinstance(caption, VideoCaption)
    assert caption.caption == captioner.caption(clips[0], 1).caption


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        # The middle of each pair of frames, which share a step of time.
        ("qwen", ["<0.2 seconds>", "<1.2 seconds>", "<2.2 seconds>", "<3.0 seconds>"]),
        ("smolvlm", ["00:00:", "00:00:", "00:00:", "00:01:", "00:02:", "00:02:", "00:02:", "00:03:"]),
    ],
)
def test_the_prompt_states_the_real_times(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], kind: str, times: list[str]
) -> None:
    captioner = captioners(kind)
    frames = Frames(
        np.zeros((8, 32, 48, 3), np.uint8), np.array([0.1, 0.3, 0.9, 1.5, 2.1, 2.3, 2.9, 3.1]), duration_seconds=3.2
    )
    ids = captioner.route.inputs([frames])["input_ids"][0]
    text = "".join(captioner.processor.tokenizer.convert_ids_to_tokens(ids))
    places = [text.find(time) for time in times]
    assert -1 not in places
    assert [text.count(time) for time in dict.fromkeys(times)] == [times.count(time) for time in dict.fromkeys(times)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_says_what_each_clip_alone_gives(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = captioners(kind)
    files = [(path, captioner._read(path)) for path in clips[1:]]
    monkeypatch.setattr(captioner, "clips_per_call", 2)
    sizes = []
    ask = captioner._ask
    monkeypatch.setattr(captioner, "_ask", lambda videos, *rest: (sizes.append(len(videos)), ask(videos, *rest))[1])
    together = captioner._captions(files, 2)
    assert sorted(sizes) == [1, 2]
    for one, (path, _) in zip(together, files, strict=True):
        alone = captioner.caption(path, 2)
        assert isinstance(one, VideoCaption)
        assert (one.caption, one.warnings) == (alone.caption, alone.warnings)
        assert one.score == pytest.approx(alone.score, abs=1e-4)


@pytest.mark.parametrize("kind", ["git", "qwen"])
@pytest.mark.slow
def test_drawn_captions_depend_on_seed_and_name_alone(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], kind: str
) -> None:
    captioner = captioners(kind)
    draws = Draws(3, 1.0, seed=5)
    alone = captioner.caption(clips[1], draws=draws)
    together = list(captioner.caption_many(clips, draws=draws))[1]
    said = [alone.caption, *(one.caption for one in alone.alternatives)]
    assert [together.caption, *(one.caption for one in together.alternatives)] == said
    assert len(set(said)) == 3
    assert captioner.caption(clips[1], draws=Draws(1, 1.0, seed=5)).caption == said[0]
    assert captioner.caption(clips[1], draws=Draws(3, 1.0, seed=6)).caption != said[0]
    greedy = captioner.caption(clips[1], 1)
    cold = captioner.caption(clips[1], draws=Draws(1, 1e-4))
    assert cold.caption == greedy.caption
    assert cold.score == pytest.approx(greedy.score, abs=1e-4)


def test_drawn_words_have_the_model_s_probabilities(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path]
) -> None:
    """The first word of 2,000 drawn answers, against the softmax of the logits."""
    captioner = captioners("git")
    [(_, frames)] = [(clips[0], captioner._read(clips[0]))]
    inputs = captioner.route.inputs([frames])
    with torch.inference_mode():
        logits = captioner.model(**inputs, input_ids=torch.tensor([[captioner.model.config.bos_token_id]])).logits[0, -1]
    noise = Draws(2000, 0.7, seed=1).noise(["x"])
    from stap.teachers.answers import _Drawing

    drawn = _Drawing(noise, 0.7)(torch.empty(0), logits.expand(2000, -1)).argmax(dim=1)
    expected = (logits / 0.7).softmax(0)
    found = torch.bincount(drawn, minlength=len(logits)) / 2000
    assert float((found - expected).abs().max()) < 4 * float((expected * (1 - expected) / 2000).sqrt().max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_of_a_single_frame(
    captioners: Callable[[str], TransformersCaptioner], make_video: Callable[..., Path], kind: str
) -> None:
    path = make_video("one.mp4", frames=1)
    caption = captioners(kind).caption(path)
    assert len(caption.times_seconds) == 1
    assert any(sentence.endswith("it saw those.") for sentence in caption.warnings)


def test_what_a_caption_says_about_itself(captioners: Callable[[str], TransformersCaptioner], clips: list[Path]) -> None:
    said = captioners("qwen").caption(clips[2], 1)
    content = json.loads(json.dumps(said.to_json()))
    assert content["model"] == captioners("qwen").files.name
    assert (content["revision"], content["prompt"], content["stream"]) == (None, PROMPT, None)
    assert content["seconds"] > 0
    assert content["words"] == [{"word": word, "attention": None} for word in said.caption.split()]
    name = captioners("qwen").files.name
    assert said.warnings == (
        f"{clips[2]}: has 3 different frames where {name} takes 8; it saw those.",
        f"{clips[2]}: the answer of {name} did not end within 80 tokens, and is cut there.",
    )


def test_an_answer_without_words_is_that_files_error_and_the_batch_goes_on(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = captioners("git")
    text = captioner._text
    silent = {captioner.caption(clips[1], 1).caption}
    monkeypatch.setattr(captioner, "_text", lambda one: "" if text(one) in silent else text(one))
    failed: list[tuple[Path, StapError]] = []
    said = list(captioner.caption_many(clips[:3], beam_width=1, on_error=lambda *one: failed.append(one)))
    assert [caption.path for caption in said] == [clips[0], clips[2]]
    [(path, error)] = failed
    assert path == clips[1]
    assert (
        str(error)
        == f"{clips[1]}: {captioner.files.name} answered with no words. Ask otherwise (--prompt), or use another model."
    )


def test_too_little_memory_halves_the_batch_and_says_so(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    captioner = captioners("git")
    expected = [captioner.caption(path, 1).caption for path in (clips[0], clips[1])]
    ask = captioner._ask

    def with_room_for_one(videos: Any, *rest: Any) -> Any:
        if len(videos) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return ask(videos, *rest)

    monkeypatch.setattr(captioner, "_ask", with_room_for_one)
    files = [(path, captioner._read(path)) for path in clips[:2]]
    assert [one.caption for one in captioner._describe(files, 1, None)] == expected
    assert caplog.messages == ["memory ran out: computing 1 at a time instead of 2, with the same result"]

    def without_room(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(captioner, "_ask", without_room)
    assert error_of(FeatureError, captioner.caption, clips[0]) == (
        f"The memory of cpu does not hold {captioner.files.name} and one clip. Use a smaller --beam, a smaller model or another device."
    )


def test_the_fingerprint_tells_the_weights_and_the_question(
    captioners: Callable[[str], TransformersCaptioner], teacher: Callable[[str], Path]
) -> None:
    before = captioners("qwen").fingerprint
    assert json.loads(json.dumps(before)) == before
    assert load(teacher("qwen"), "cpu").fingerprint == before
    asked = load(teacher("qwen"), "cpu", prompt="What is it?")
    assert {key for key in before if asked.fingerprint[key] != before[key]} == {"prompt"}
    assert captioners("git").fingerprint["weights_sha256"] != captioners("blip").fingerprint["weights_sha256"]


def test_a_gpu_computes_in_bfloat16(teacher: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU here: the type that the weights are asked for."""
    asked = []
    monkeypatch.setattr(captioner_module, "_load", lambda files, dtype: (asked.append(dtype), _stop())[1])

    def _stop() -> Any:
        raise InterruptedError

    for device in ("cuda", "cpu"):
        with pytest.raises(InterruptedError):
            TransformersCaptioner(SimpleNamespace(), torch.device(device))  # type: ignore[arg-type]
    assert asked == [torch.bfloat16, torch.float32]


def test_git_looks_at_each_clip_once_whatever_the_beam(
    captioners: Callable[[str], TransformersCaptioner], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = captioners("git")
    encoder = captioner.model.git.image_encoder
    seen: list[int] = []
    embed = encoder.vision_model.embeddings.forward
    monkeypatch.setattr(
        encoder.vision_model.embeddings, "forward", lambda pixels, **rest: (seen.append(len(pixels)), embed(pixels, **rest))[1]
    )
    captioner.caption(clips[1], 5)
    captioner.caption(clips[1], draws=Draws(3))
    assert set(seen) == {1}
    assert "forward" not in vars(encoder)

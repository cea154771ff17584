"""Tiny captioners of transformers with random weights, saved as folders: GIT, BLIP, SmolVLM and Qwen3-VL, made of its own classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

WORDS = [
    "a",
    "the",
    "red",
    "blue",
    "green",
    "ball",
    "square",
    "man",
    "dog",
    "car",
    "moves",
    "jumps",
    "runs",
    "slowly",
    "left",
    "right",
    "up",
    "and",
    "then",
    "on",
    "in",
]
LETTERS = [*map(chr, range(32, 127)), "\n"]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
PICTURES = ["<image>", "<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
QWEN = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_start|>", "<|im_end|>"]
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = {"vocab_size": 0, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and letters; a word is followed by a space, so that answers read as sentences."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *PICTURES, *QWEN, *LETTERS, *(f"{w} " for w in WORDS)])}
    made = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = Split("", "isolated")  # each letter
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[*PICTURES, *QWEN],
    )


def git() -> tuple[PreTrainedModel, ProcessorMixin]:
    """Six frames of 32 pixels with temporal embeddings."""
    words = tokenizer()
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GitConfig(
        **TEXT | {"vocab_size": len(words)},
        vision_config=vision | {"image_size": 32, "patch_size": 16},
        num_image_with_embedding=6,
        **special_ids(words),
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return GitForCausalLM(config), GitProcessor(pictures, words)


def blip() -> tuple[PreTrainedModel, ProcessorMixin]:
    """Pictures of 32 pixels, one at a time."""
    words = tokenizer()
    text = TEXT | {
        "vocab_size": len(words),
        "sep_token_id": words.eos_token_id,
        "encoder_hidden_size": 32,
        **special_ids(words),
    }
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(text_config=text, vision_config=vision | {"image_size": 32, "patch_size": 16}, projection_dim=32)
    return BlipForConditionalGeneration(config), BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), words)


def smolvlm() -> tuple[PreTrainedModel, ProcessorMixin]:
    """Squares of 32 pixels, one visual token each; the prompt says when each frame is shown."""
    words = tokenizer()
    text = TEXT | {"model_type": "llama", "vocab_size": len(words), "num_key_value_heads": 2, **special_ids(words)}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SmolVLMConfig(
        text_config=text,
        vision_config=vision | {"image_size": 32, "patch_size": 16},
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    edge = {"longest_edge": 32}
    pictures = SmolVLMImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    films = SmolVLMVideoProcessor(size=edge, max_image_size=edge)
    # The template is in the class for videos, and there must be one in the files, as in those of the Hub.
    template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    return SmolVLMForConditionalGeneration(config), SmolVLMProcessor(
        pictures, words, films, image_seq_len=1, chat_template=template
    )


def qwen() -> tuple[PreTrainedModel, ProcessorMixin]:
    """Qwen3-VL with two layers on both sides."""
    words = tokenizer()
    text = TEXT | {
        "vocab_size": len(words),
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        **special_ids(words),
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    ids = {
        f"{name}_token_id": words.convert_tokens_to_ids(token)
        for name, token in zip(("image", "video", "vision_start", "vision_end"), QWEN[:4], strict=True)
    }
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}, **ids
    )
    size = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64 * 8}
    films = Qwen3VLVideoProcessor(size=size)
    return Qwen3VLForConditionalGeneration(config), Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=16, size=size), words, films, chat_template=QWEN_CHAT
    )


KINDS: dict[str, Callable[[], tuple[PreTrainedModel, ProcessorMixin]]] = {
    "git": git,
    "talker": git,
    "blip": blip,
    "smolvlm": smolvlm,
    "qwen": qwen,
}


def special_ids(words: PreTrainedTokenizerFast) -> dict[str, int]:
    """What a configuration calls them."""
    return {name: getattr(words, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}


def save_teacher(kind: str, folder: Path) -> Path:
    """Write the model and its processor as a folder with a model card. It ends a sentence now and then."""
    torch.manual_seed(7)
    model, processor = KINDS[kind]()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.2 if parameter.dim() > 1 else 0.02)
        if "norm" in name.lower() and name.endswith("weight"):
            torch.nn.init.ones_(parameter)
    if kind == "talker":
        _prefer_words(model, processor.tokenizer)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A tiny model\n")
    return folder


def _prefer_words(model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    """It says words alone, and ends after some."""
    bias = model.output.bias.data
    bias.fill_(-20)
    bias[[words.convert_tokens_to_ids(f"{word} ") for word in WORDS]] = 0.0
    bias[words.eos_token_id] = 1.5


__all__ = ["KINDS", "save_teacher"]

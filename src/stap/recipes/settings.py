"""Recipes: every setting with its type, range, default and explanation, in this one place.

A recipe is a YAML file; what it leaves out takes the defaults below, which are those of the L-STAP paper (Francis & Huet
2019, sections 4.1 and 4.2). `recipe_files` reads and writes such files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

__all__ = [
    "CorpusSettings",
    "DecodingSettings",
    "FeatureSettings",
    "InputSettings",
    "ModelSettings",
    "MotionSettings",
    "OptimizerSettings",
    "PretrainingSettings",
    "Recipe",
    "RegionSettings",
    "STATSettings",
    "TextSettings",
    "TrainingSettings",
    "section_of",
]

_PLACES: Mapping[str, tuple[str, ...]] = {
    "corpus": ("root", "videos", "captions"),
    "features": ("store", "weights", "imported"),
    "motion": ("weights",),
    "regions": ("weights",),
}
Precision = Literal["float32", "bfloat16"]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


def section_of(field: FieldInfo) -> type[Section] | None:
    """The class of a field that is a section, or `Section | None`; None for a single setting."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


class CorpusSettings(Section):
    """Where the videos and their captions are, and which of them are used."""

    kind: Literal["msrvtt", "msvd", "vatex", "folder", "coco"] = Field(
        "msrvtt",
        description="layout: msrvtt (videodatainfo.json; also what `stap scenes` writes), msvd, vatex, folder: your own videos "
        "with a table of captions, or coco: images with captions, to pretrain on",
    )
    root: Path | None = Field(None, description="folder of the corpus")
    videos: Path | None = Field(None, description="folder of the video files, where it is not inside root")
    captions: tuple[Path, ...] = Field(
        (),
        description="caption files, where they do not lie in root under their published names; relative ones are inside root",
    )
    available_only: bool = Field(
        False,
        description="for trials on part of a corpus, use only the clips that have what a command needs: a video file where it decodes, "
        "features in every stream where it trains or evaluates; false: a clip without them is an error",
    )
    language: Literal["english", "chinese"] = Field(
        "english", description="vatex, and msvd's CSV: the captions of this language"
    )
    sources: Literal["all", "clean"] = Field(
        "all", description="msvd's CSV: all captions, as in the captioning papers, or only those marked clean"
    )
    split_fractions: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="folder: train, validation and test, where the captions name no split; by video"
    )
    split_seed: int = Field(0, ge=0, description="folder: another number draws another split")

    @field_validator("captions", mode="before")
    @classmethod
    def _one_file_is_a_list_of_one(cls, given: Any) -> Any:
        return (given,) if isinstance(given, (str, Path)) else given

    @field_validator("split_fractions")
    @classmethod
    def _fractions_make_a_whole(cls, given: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(given) - 1) > 1e-6 or given[0] == 0:
            raise ValueError("expected three fractions that add up to 1, the first of them above 0")
        return given


class TextSettings(Section):
    """From sentences to word ids."""

    tokenizer: Literal["simple", "ptb", "characters"] = Field(
        "simple",
        description="simple: parted at spaces; ptb: the scorers' Penn Treebank tokenizer, as in STAT (lower case, no punctuation; "
        "needs Java, which pip brings); characters: as simple, and each Chinese character is a word",
    )
    lowercase: bool = Field(True, description="simple, characters: words in lower case (paper, section 4.1)")
    special_characters: Literal["part", "remove"] = Field(
        "part",
        description="simple, characters: what is no letter or digit parts words (t-shirt: t shirt) except an apostrophe inside one, or "
        "is removed (tshirt, mans); the paper removes them and does not say how",
    )
    max_words: int = Field(30, ge=1, description="longest training caption in words (paper, section 4.1: 30)")
    too_long: Literal["cut", "drop"] = Field(
        "cut", description="longer training captions are cut there, or not used (STAT: dropped above 29); references stay whole"
    )
    vocabulary_from: Literal["train", "all"] = Field(
        "train", description="whose captions give the vocabulary; all: every split's, which only parity with STAT asks for"
    )
    vocabulary_size: int | None = Field(
        None, ge=1, description="keep only this many most frequent words (15,000 for MSR-VTT in the paper)"
    )
    min_count: int = Field(1, ge=1, description="words seen less often in the captions of the vocabulary become <unk>")


class FeatureSettings(Section):
    """From a video file to a grid of features a frame. Everything here is part of the features' fingerprint, except store."""

    backbone: str = Field("resnet152", description="any timm model name, or googlenet (torchvision's)")
    backbone_options: dict[str, Any] = Field(default_factory=dict, description="further arguments of timm.create_model")
    weights: str = Field(
        "pretrained",
        description="'pretrained' (timm's, from the Hugging Face Hub) or a .safetensors, .pth or VSE++ .pth.tar file",
    )
    frames: int = Field(30, ge=1, description="frames sampled uniformly by presentation time (paper: 30)")
    image_size: int | None = Field(
        224, ge=16, description="square side in pixels that the backbone sees; empty: the backbone's own"
    )
    crop: float | None = Field(
        None, gt=0, le=1, description="part of the resized frame kept by the centre crop; empty: the backbone's own"
    )
    mean: tuple[float, float, float] | None = Field(None, description="pixel mean, of 0..1; empty: the backbone's own")
    std: tuple[float, float, float] | None = Field(
        None, description="pixel standard deviation, of 0..1; empty: the backbone's own"
    )
    precision: Precision = Field("float32", description="arithmetic of the backbone")
    stored_as: Literal["float16", "float32"] = Field("float16", description="type on disk")
    store: Path = Field(Path("features"), description="folder of the feature store")
    pooled: bool = Field(
        False, description="one vector a frame, the mean over its locations (stream frames), instead of the grid (stream grid)"
    )
    imported: dict[Literal["grid", "frames", "motion", "regions"], Path] = Field(
        default_factory=dict,
        description="stream to the store that `stap import-features` wrote, instead of extracting it: {frames: imported/google}",
    )


class MotionSettings(Section):
    """From a video file to motion features: the stream motion. Left out of a recipe: no such stream.

    Defaults: one vector of I3D a video, for L-STAP; STAT's clips of C3D are `network: c3d, per: clip`.
    """

    network: str = Field(
        "i3d", description="i3d, c3d, or one of torchvision's video networks (r3d_18, mvit_v2_s, swin3d_t ...)"
    )
    weights: str = Field(
        "pretrained",
        description="a TensorFlow checkpoint (.../model.ckpt), .safetensors or .pth file; 'pretrained': torchvision's networks only",
    )
    layer: str | None = Field(
        None, description="i3d: logits, pool; c3d: fc6, fc7, logits; torchvision's: pool, logits; empty: the first of these"
    )
    per: Literal["video", "clip"] = Field(
        "video", description="video: one vector, the mean over its clips (L-STAP); clip: a sequence of one vector a clip (STAT)"
    )
    frame_rate: float | Literal["native"] | None = Field(
        None, description="frames a second that the network sees; native: each frame of the file; empty: the network's own"
    )
    clip_frames: int | None = Field(
        None, ge=1, description="frames of a clip; empty: the network's own, and of i3d per video the whole video in one pass"
    )
    clip_stride: int | None = Field(
        None, ge=1, description="frames from the start of a clip to that of the next; empty: the network's own"
    )
    frames_per_pass: int = Field(
        768, ge=64, description="i3d per video: a longer one goes through in equal pieces of at most this many frames (memory)"
    )
    resize: int | tuple[int, int] | None = Field(
        None, description="shorter side in pixels, or [height, width] whatever the proportions; empty: the network's own"
    )
    image_size: int | None = Field(None, ge=16, description="side of the central crop in pixels; empty: the network's own")
    mean: tuple[float, float, float] | None = Field(
        None, description="pixel mean of red, green and blue, of 0..1; empty: the network's own"
    )
    std: tuple[float, float, float] | None = Field(
        None, description="pixel standard deviation of red, green and blue, of 0..1; empty: the network's own"
    )
    channel_order: Literal["rgb", "bgr"] | None = Field(
        None, description="order in which the network takes the colours; empty: the network's own (c3d: bgr)"
    )
    precision: Precision = Field("float32", description="arithmetic of the network")
    stored_as: Literal["float16", "float32"] = Field("float32", description="type on disk")


class RegionSettings(Section):
    """From a video file to detected regions of each frame: the stream regions. Left out of a recipe: no such stream."""

    detector: Literal[
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    ] = Field("fasterrcnn_resnet50_fpn", description="one of torchvision's Faster R-CNNs")
    weights: str = Field("pretrained", description="'pretrained' (torchvision's, of COCO) or a .safetensors or .pth file")
    frames: int = Field(28, ge=1, description="frames sampled uniformly by presentation time (STAT: 28)")
    regions: int = Field(8, ge=1, le=100, description="N: regions kept of a frame, those of the highest scores (STAT: 8)")
    min_score: float = Field(0.05, ge=0, lt=1, description="boxes of lower scores are no regions; torchvision's own is 0.05")
    duplicate_overlap: float = Field(
        0.7,
        gt=0,
        le=1,
        description="of boxes whose intersection over union is above this, only the best is kept, whatever the labels",
    )
    image_size: int | None = Field(
        None, ge=32, description="shorter side in pixels that the detector sees; empty: the detector's own (800, or 320)"
    )
    stored_as: Literal["float16", "float32"] = Field("float16", description="type of the features on disk")


class STATSettings(Section):
    """STAT's attention (kinds stat, stat-mm17 and lstap-stat). Defaults: the authors' released code.

    Its paper sizes are hidden_size 1024, attention_size 1024 and embedding_size 512, which the sections above do not default to.
    """

    global_from: Literal["frames", "grid"] | None = Field(
        "frames",
        description="stat: the global vector of a frame: the stream 'frames', or the mean of the grid's cells; empty: no global vectors, "
        "and the start state is made from the mean of the places (an ablation)",
    )
    motion_from: Literal["motion", "differences"] | None = Field(
        "motion",
        description="stat: the stream 'motion' (a sequence), or the differences between consecutive frames' grids (not in the paper); "
        "empty: no motion",
    )
    local_from: Literal["regions", "grid"] | None = Field(
        "regions", description="stat: the places of a frame: the stream 'regions', or the grid's cells; empty: no places"
    )
    local_pooling: Literal["attention", "mean"] = Field(
        "attention", description="places of a frame are attended for each word, or averaged (an ablation)"
    )
    temporal_pooling: Literal["attention", "mean"] = Field(
        "attention", description="positions in time are attended for each word, or averaged (an ablation)"
    )
    positions: int | None = Field(
        28,
        ge=1,
        description="stat: positions in time that each stream is cut to or filled up to; empty: all, with mask_attention",
    )
    project_global: bool = Field(
        False, description="stat: bring the global vectors to hidden_size, where they have another size (not in the paper)"
    )
    mask_attention: bool = Field(
        False,
        description="stat: no attention on padding and on missing regions; false: they are attended, as in the released code",
    )


class InputSettings(Section):
    """What is done to the grid before the model reads it. Nothing of it is in the papers; the defaults do nothing."""

    place_embedding: float = Field(
        0.0,
        ge=0,
        description="add a learned vector to each place of the grid: standard deviation of its initial values, smooth maps over the grid; "
        "0: none",
    )
    time_embedding: float = Field(
        0.0,
        ge=0,
        description="add a learned vector to each frame: standard deviation of its initial values, smooth courses over the frames; 0: none",
    )
    differences: bool = Field(
        False, description="lstap, lrcn, lstap-stat: append to each place's features their difference to the previous frame's"
    )
    shift: int = Field(
        0, ge=0, description="training: move each video's grid by up to so many rows and columns, repeating its border"
    )

    @property
    def is_identity(self) -> bool:
        """Whether the grid is passed on as it is."""
        return self == InputSettings()


class ModelSettings(Section):
    """The captioning network. Defaults: L-STAP paper, section 4.2."""

    kind: Literal["lstap", "lrcn", "stat", "stat-mm17", "lstap-stat"] = Field(
        "lstap",
        description="lstap; the baseline lrcn: average-pooled frames into an LSTM; stat: STAT's released code; stat-mm17: its paper "
        "of 2017; lstap-stat: STAT's attention over L-STAP's states",
    )
    pooling: Literal["mean", "attention"] = Field(
        "attention", description="lstap: local weights of equation (8), or of (9)-(10)"
    )
    hidden_size: int = Field(1024, ge=1, description="H: encoder and decoder LSTM")
    attention_size: int = Field(256, ge=1, description="A: additive attention")
    embedding_size: int = Field(300, ge=1, description="E: word embedding")
    motion_size: int | None = Field(
        None, ge=1, description="size of the clip's motion vector (600 in the paper); empty: a learned start state"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="on the decoder state before the output layer, equation (25)")
    word_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="training: the decoder reads a zero vector instead of a word with this probability (not in the papers)",
    )
    inputs: InputSettings = InputSettings()
    forget_bias: float = Field(0.0, description="initial bias of the forget gates (the paper does not state one)")
    memory_frames: int | None = Field(
        None,
        ge=3,
        description="lstap, lrcn, lstap-stat: the encoder's gates begin so that its units remember for up to this many frames (Tallec & "
        "Ollivier 2018; not in the paper); empty: with forget_bias",
    )
    matching_weight: float = Field(0.4, ge=0, description="weight of the matching loss, equation (28); 0 switches it off")
    margin: float = Field(0.2, ge=0, description="margin of the ranking loss (not stated; VSE++ uses 0.2)")
    negatives: Literal["hardest", "all", "violations"] = Field(
        "hardest",
        description="which count in the matching loss: the hardest, equation (27); all: their mean; violations: the root of the sum of "
        "their squares (the last two are not in the paper)",
    )
    attention_penalty: float = Field(
        0.0,
        ge=0,
        description="weight of the doubly stochastic penalty on every attention of the decoder (STAT: 0.70602); 0 switches it off",
    )
    penalty_captions: int | None = Field(
        32,
        ge=1,
        description="captions in a batch that attention_penalty is meant for, because STAT's released code sums it over the batch; "
        "empty: summed over the batch as it is",
    )
    penalty_on_padding: bool = Field(
        True, description="the penalty also counts the attention after a caption's end, as in STAT's released code"
    )
    stat: STATSettings = STATSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSettings:
        """Refuse settings that contradict each other."""
        stat, is_stat = self.stat, self.kind in ("stat", "stat-mm17")
        if is_stat and not stat.global_from and not stat.local_from:
            raise ValueError("stat.global_from and stat.local_from are empty; the start state is made from one of them")
        if is_stat and stat.positions is None and not stat.mask_attention:
            raise ValueError(
                "stat.positions is empty, so the padding depends on the other videos of a batch; set stat.mask_attention: true"
            )
        if is_stat and not self.inputs.is_identity and "grid" not in (stat.global_from, stat.local_from):
            raise ValueError("inputs is for a grid; set stat.global_from or stat.local_from to grid, or leave inputs out")
        if is_stat and self.inputs.differences:
            raise ValueError(
                "inputs.differences is for recurrent encoders; set stat.motion_from: differences, or inputs.differences: false"
            )
        if self.kind == "stat-mm17" and stat.project_global:
            raise ValueError("stat-mm17 projects nothing; set stat.project_global: false, or use kind: stat")
        return self


class OptimizerSettings(Section):
    """The optimiser. Default: TensorFlow's RMSProp, as in the paper."""

    kind: Literal["rmsprop", "adam", "adamw", "adadelta", "muon"] = Field(
        "rmsprop",
        description="rmsprop adds epsilon inside the root, as TensorFlow's does; adam, adamw and adadelta are PyTorch's; muon: Muon "
        "for matrices and convolutions, and adam for the rest",
    )
    learning_rate: float = Field(1e-4, gt=0, description="adadelta: a factor on the step that it finds itself (STAT: 1)")
    matrix_learning_rate: float | None = Field(
        None, gt=0, description="muon: the rate of the matrices; empty: learning_rate, as the steps are scaled to Adam's size"
    )
    decay: float = Field(0.9, ge=0, lt=1, description="rmsprop, adadelta (rho; STAT: 0.95): decay of the squared gradient")
    momentum: float = Field(0.0, ge=0, lt=1, description="rmsprop: momentum")
    epsilon: float = Field(1e-10, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="applied after the clipping; for STAT's see training.l2")
    warmup_steps: int = Field(0, ge=0, description="linear warm-up of the learning rate")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate after the warm-up; cosine ends at 0 after `epochs`"
    )

    @model_validator(mode="after")
    def _muon_decays_nothing(self) -> OptimizerSettings:
        if self.kind == "muon" and self.weight_decay:
            raise ValueError("muon is without weight decay here; set weight_decay: 0, or use training.l2")
        return self


class TrainingSettings(Section):
    """The training loop. Defaults: L-STAP paper, section 4.2."""

    optimizer: OptimizerSettings = OptimizerSettings()
    batch_size: int = Field(64, ge=1, description="videos in a batch")
    captions_per_video: int = Field(1, ge=1, description="captions of each video in a batch, encoded once; 1 is the paper's")
    epochs: int = Field(100, ge=1, description="at most; an epoch shows every training caption once, but see epoch_updates")
    epoch_updates: int | None = Field(
        None, ge=1, description="an epoch ends after this many updates, and the next one goes on from there (STAT: 2000)"
    )
    reshuffle: bool = Field(
        True, description="a new order of the captions each time they have all been shown; false: the first one again (STAT)"
    )
    clip_norm: float = Field(5.0, gt=0, description="gradient clipping by global norm")
    l2: float = Field(
        0.0, ge=0, description="weight of the sum of squares of all parameters in the loss, before the clipping (STAT: 1e-4)"
    )
    best_by: Literal["CIDEr", "log-likelihood"] = Field(
        "CIDEr", description="of the validation captions: which weights are kept; log-likelihood writes no captions (STAT)"
    )
    patience: int = Field(10, ge=1, description="stop after this many validations that are not better by best_by")
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    validation_clips: int | None = Field(None, ge=1, description="validate on only this many clips, for speed")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="paper: none")
    precision: Precision = Field("float32", description="arithmetic of training (bfloat16: autocast)")


class DecodingSettings(Section):
    """From word probabilities to a caption."""

    beam_width: int = Field(5, ge=1, description="1 is greedy")
    max_words: int = Field(30, ge=1)
    length_normalisation: float = Field(0.0, ge=0, description="divide the log-probability by length to this power; 0 is off")
    no_repeat_ngram: int = Field(0, ge=0, description="forbid repeating an n-gram of this many words; 0 is off")
    shrinking_beam: bool = Field(
        False, description="each finished caption takes a place in the beam, which ends when all are taken, as STAT's code does"
    )


class PretrainingSettings(Section):
    """Frame-sentence matching (VSE++, Faghri et al. 2018), which trains the backbone of `features`."""

    initial_weights: str = Field("pretrained", description="'pretrained', 'random' or a weights file")
    joint_size: int = Field(1024, ge=1, description="size of the joint embedding (VSE++: 1,024)")
    embedding_size: int = Field(300, ge=1, description="word embedding (VSE++: 300)")
    frame_pooling: Literal["mean", "max"] = Field(
        "mean", description="from the last map to one vector: mean as in VSE++, or max, which keeps small objects"
    )
    forget_bias: float = Field(
        1.0, description="initial bias of the sentence encoder's forget gate; with 0 an early word is forgotten before the end"
    )
    margin: float = Field(0.2, ge=0, description="margin of the ranking loss (VSE++: 0.2)")
    frames_per_video: int = Field(
        8, ge=1, description="frames of each video kept in memory, of which an epoch shows frames_shown"
    )
    frames_shown: int = Field(
        1, ge=1, description="frames of each video in a batch, all with the same captions (VSE++, on images: 1)"
    )
    batch_size: int = Field(128, ge=2, description="videos in a batch (VSE++: 128)")
    captions_per_frame: int = Field(1, ge=1, description="captions of its video shown with each frame (VSE++: 1)")
    epochs: int = Field(30, ge=1, description="an epoch shows every video once (VSE++: 30)")
    frozen_epochs: int = Field(
        0, ge=0, description="first epochs in which the backbone stays as it is and the rest learns (VSE++, fine-tuned: 30)"
    )
    rate_falls_after: int | None = Field(
        None,
        ge=1,
        description="after this many epochs the learning rate is a tenth (VSE++: 15); empty: the optimizer's schedule alone",
    )
    random_crops: bool = Field(
        False, description="coco: each time a random part of the image, mirrored or not (VSE++), instead of its centre"
    )
    hardest_after: int = Field(1, ge=0, description="first epochs in which early_negatives count, before only the hardest does")
    early_negatives: Literal["all", "violations"] = Field(
        "all", description="all: the mean over the negatives; violations: the root of the sum of their squares"
    )
    clip_norm: float = Field(2.0, gt=0, description="gradient clipping by global norm (VSE++: 2)")
    optimizer: OptimizerSettings = OptimizerSettings(kind="adam", learning_rate=2e-4, epsilon=1e-8, schedule="cosine")
    precision: Precision = Field("float32", description="arithmetic of training (bfloat16: autocast)")

    @field_validator("optimizer", mode="before")
    @classmethod
    def _the_rest_is_this_section_s_default(cls, given: Any) -> Any:
        default = cls.model_fields["optimizer"].default.model_dump()
        return default | given if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _frames_are_there(self) -> PretrainingSettings:
        if self.frames_shown > self.frames_per_video:
            raise ValueError(
                f"frames_shown is {self.frames_shown} of {self.frames_per_video} frames kept; raise frames_per_video, or show fewer"
            )
        return self


class Recipe(Section):
    """One experiment, whole."""

    name: str = Field("unnamed", min_length=1)
    description: str = ""
    seed: int = Field(1, ge=0)
    corpus: CorpusSettings = CorpusSettings()
    text: TextSettings = TextSettings()
    features: FeatureSettings = FeatureSettings()
    motion: MotionSettings | None = None
    regions: RegionSettings | None = None
    pretraining: PretrainingSettings = PretrainingSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    decoding: DecodingSettings = DecodingSettings()

    def without_places(self) -> dict[str, Any]:
        """All settings, JSON-able, but those that say where files lie, which do not change what is computed.

        What lies there is known by digests of the captions and fingerprints of the features.
        """
        settings = self.model_dump(mode="json")
        for section, names in _PLACES.items():
            for name in names if settings[section] else ():
                del settings[section][name]
        return settings

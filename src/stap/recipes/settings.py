"""Recipes: every setting with its type, range, default and explanation, in this one place.

A recipe is a YAML file. A setting that it does not give has the default below, which is that of the L-STAP paper (Francis & Huet
2019, sections 4.1 and 4.2). `stap.recipes.files` reads and writes such files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

__all__ = [
    "CiderSettings",
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
    "VideoLimits",
    "section_of",
]

_PLACES: Mapping[str, tuple[str, ...]] = {
    "training": ("initial_weights",),
    "corpus": ("root", "videos", "captions"),
    "features": ("store", "weights", "imported"),
    "motion": ("weights",),
    "regions": ("weights",),
}
Precision = Literal["float32", "bfloat16"]
Share = Annotated[float, Field(ge=0, le=1)]


# Limits beyond which a setting is a slip, or an attack by a stranger's model folder.
MOST_FRAMES, LONGEST_SIDE = 10_000, 4096
Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE)]
LARGEST = 2**63 - 1  # of a seed; no size comes near


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _no_whole_number_is_absurd(cls, given: Any) -> Any:
        """Sizes and counts beyond any machine are a slip, or an attack by a stranger's model folder."""
        if isinstance(given, int) and given > LARGEST:
            raise ValueError(f"expected at most {LARGEST:,}")
        return given


def section_of(field: FieldInfo) -> type[Section] | None:
    """The class of a field that is a section, or `Section | None`; None for a single setting."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


# With fewer files, starting the processes (about half a second each) costs more than 5 percent of the time.
MANY_FILES = 100


class VideoLimits(Section):
    """What one video file may cost, and whether it may name others. A file that would cost more is refused."""

    seconds: float = Field(300, gt=0, description="time to read and decode a file (of a longer video, each 5 minutes of it)")
    pixels: int = Field(40_000_000, ge=1, description="pixels of a picture, as stored and as resized (8K has 33 million)")
    aspect: float = Field(32, ge=1, description="longer side of a picture over its shorter side")
    frames: int = Field(5_000_000, ge=1, description="frames of a file (46 hours at 30 a second)")
    memory_mib: int = Field(4096, ge=1, description="memory for the pictures that are taken from a file, in MiB")
    playlists: bool = Field(
        False,
        description="read playlists (HLS, DASH, concat scripts); the files that they name must be in their folder or below it",
    )
    isolate: bool = Field(
        False,
        description="decode in a process of its own, which may die of a file and is killed at the limits",
    )

    def for_files(self, count: int) -> VideoLimits:
        """These limits for so many files: many are decoded in processes of their own, as threads wait for Python's lock."""
        return self.model_copy(update={"isolate": self.isolate or count >= MANY_FILES})


class CorpusSettings(Section):
    """The dataset: clips with reference captions."""

    kind: Literal["msrvtt", "msvd", "vatex", "folder", "coco"] = Field(
        "msrvtt",
        description="layout on disk: msrvtt (videodatainfo.json, also of `stap scenes`), msvd, vatex, folder (your own videos with a "
        "table of captions) or coco (images with captions, for pretraining)",
    )
    root: Path | None = Field(None, description="folder of the dataset")
    videos: Path | None = Field(None, description="folder of the video files; empty: inside root")
    captions: tuple[Path, ...] = Field(
        (),
        description="caption files, relative to root; empty: the published names in root",
    )
    available_only: bool = Field(
        False,
        description="skip clips without what a command needs, for trials on part of a dataset: the video file where it decodes, features "
        "where it trains or evaluates; false: they are an error",
    )
    language: Literal["english", "chinese"] = Field("english", description="vatex and msvd's CSV: language of the captions")
    sources: Literal["all", "clean"] = Field(
        "all", description="msvd's CSV: all captions, as in the papers, or those marked clean"
    )
    split_fractions: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="folder: shares of train, validation and test videos, if the table has no splits"
    )
    split_seed: int = Field(0, ge=0, description="folder: random seed of that split")
    limits: VideoLimits = VideoLimits()

    @field_validator("captions", mode="before")
    @classmethod
    def _one_file_is_a_list_of_one(cls, given: Any) -> Any:
        return (given,) if isinstance(given, (str, Path)) else given

    @field_validator("split_fractions")
    @classmethod
    def _fractions_make_a_whole(cls, given: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(given) - 1) > 1e-6 or given[0] == 0:
            raise ValueError("expected three shares that add up to 1, the first above 0")
        return given


class TextSettings(Section):
    """From captions to word ids."""

    tokenizer: Literal["simple", "ptb", "characters"] = Field(
        "simple",
        description="simple: split at spaces; ptb: Penn Treebank, lower case without punctuation, as in STAT (in Java, which pip "
        "installs); characters: simple, with each Chinese character a word",
    )
    lowercase: bool = Field(True, description="simple, characters: lower-case the words (L-STAP, section 4.1)")
    special_characters: Literal["part", "remove"] = Field(
        "part",
        description="simple, characters: anything but letters and digits separates words (t-shirt: t shirt), except an apostrophe inside "
        "one, or is removed (tshirt, mans); L-STAP removes it and does not say how",
    )
    max_words: int = Field(30, ge=1, description="words of the longest training caption (L-STAP, section 4.1: 30)")
    too_long: Literal["cut", "drop"] = Field(
        "cut", description="cut or drop longer training captions (STAT: drop above 29 words); references stay whole"
    )
    vocabulary_from: Literal["train", "all"] = Field(
        "train", description="splits whose captions give the vocabulary (STAT: all)"
    )
    vocabulary_size: int | None = Field(
        None, ge=1, description="number of words, the most frequent first (L-STAP on MSR-VTT: 15,000); empty: no limit"
    )
    min_count: int = Field(1, ge=1, description="minimum frequency of a word; rarer ones become <unk>")


class FeatureSettings(Section):
    """Frame features: a grid per frame (stream grid), or one vector per frame (stream frames). All but `store` is in the fingerprint."""

    backbone: str | None = Field(
        "resnet152", description="name of a timm model, or googlenet (torchvision's); empty: no frame features are extracted"
    )
    backbone_options: dict[str, Any] = Field(default_factory=dict, description="more arguments of timm.create_model")
    weights: str = Field(
        "pretrained",
        description="pretrained (timm's, from the Hugging Face Hub), or a .safetensors, .pth or VSE++ .pth.tar file",
    )
    frames: int = Field(30, ge=1, le=MOST_FRAMES, description="frames per video, uniform in presentation time (L-STAP: 30)")
    image_size: int | None = Field(
        224, ge=16, le=LONGEST_SIDE, description="side of the square input in pixels; empty: the backbone's own"
    )
    crop: float | None = Field(
        None, ge=0.1, le=1, description="centre crop as a share of the resized frame; empty: the backbone's own"
    )
    mean: tuple[float, float, float] | None = Field(
        None, description="pixel mean (0..1) of red, green and blue; empty: the backbone's own"
    )
    std: tuple[float, float, float] | None = Field(
        None, description="pixel standard deviation (0..1) of red, green and blue; empty: the backbone's own"
    )
    precision: Precision = Field("float32", description="precision of the backbone's arithmetic")
    stored_as: Literal["float16", "float32"] = Field("float16", description="number format on disk")
    store: Path = Field(Path("features"), description="folder of the feature store")
    pooled: bool = Field(False, description="average each grid to one vector per frame (stream frames instead of grid)")
    imported: dict[Literal["grid", "frames", "motion", "regions"], Path] = Field(
        default_factory=dict,
        description="precomputed streams: name to the store that `stap import-features` wrote, e.g. {frames: imported/google}",
    )


class MotionSettings(Section):
    """Motion features (stream motion); a recipe without this section has none.

    Defaults: one I3D vector per video, for L-STAP. STAT has C3D vectors of clips: `network: c3d, per: clip`.
    """

    network: str = Field("i3d", description="i3d, c3d or a video network of torchvision (r3d_18, mvit_v2_s, swin3d_t ...)")
    weights: str = Field(
        "pretrained",
        description="TensorFlow checkpoint (.../model.ckpt), .safetensors or .pth file; pretrained: for torchvision's networks",
    )
    layer: str | None = Field(
        None,
        description="output layer: logits or pool of i3d; fc6, fc7 or logits of c3d; pool or logits of torchvision's; empty: the first of these",
    )
    per: Literal["video", "clip"] = Field(
        "video",
        description="video: one vector, the mean over its clips (L-STAP); clip: a sequence with one vector per clip (STAT)",
    )
    frame_rate: float | Literal["native"] | None = Field(
        None, description="sampling rate in frames per second; native: every frame of the file; empty: the network's own"
    )
    clip_frames: int | None = Field(
        None,
        ge=1,
        le=MOST_FRAMES,
        description="frames per clip; empty: the network's own, and for i3d with per: video the whole video",
    )
    clip_stride: int | None = Field(
        None, ge=1, le=MOST_FRAMES, description="frames between the starts of consecutive clips; empty: the network's own"
    )
    frames_per_pass: int = Field(
        768,
        ge=64,
        le=MOST_FRAMES,
        description="i3d with per: video: limit in frames above which a video is split into equal pieces, to save memory",
    )
    resize: Side | tuple[Side, Side] | None = Field(
        None,
        description="resized shorter side in pixels, or [height, width] without regard to proportions; empty: the network's own",
    )
    image_size: int | None = Field(
        None, ge=16, le=LONGEST_SIDE, description="side of the centre crop in pixels; empty: the network's own"
    )
    mean: tuple[float, float, float] | None = Field(
        None, description="pixel mean (0..1) of red, green and blue; empty: the network's own"
    )
    std: tuple[float, float, float] | None = Field(
        None, description="pixel standard deviation (0..1) of red, green and blue; empty: the network's own"
    )
    channel_order: Literal["rgb", "bgr"] | None = Field(
        None, description="colour order of the input; empty: the network's own (c3d: bgr)"
    )
    precision: Precision = Field("float32", description="precision of the network's arithmetic")
    stored_as: Literal["float16", "float32"] = Field("float32", description="number format on disk")


class RegionSettings(Section):
    """Detected regions of each frame (stream regions); a recipe without this section has none."""

    detector: Literal[
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    ] = Field("fasterrcnn_resnet50_fpn", description="Faster R-CNN of torchvision")
    weights: str = Field("pretrained", description="pretrained (torchvision's, on COCO), or a .safetensors or .pth file")
    frames: int = Field(28, ge=1, le=MOST_FRAMES, description="frames per video, uniform in presentation time (STAT: 28)")
    regions: int = Field(8, ge=1, le=100, description="N: regions per frame, those with the highest scores (STAT: 8)")
    min_score: float = Field(0.05, ge=0, lt=1, description="score threshold of a region (torchvision: 0.05)")
    duplicate_overlap: float = Field(
        0.7,
        gt=0,
        le=1,
        description="IoU threshold of class-agnostic non-maximum suppression",
    )
    image_size: int | None = Field(
        None, ge=32, le=LONGEST_SIDE, description="shorter side of the input in pixels; empty: the detector's own (800 or 320)"
    )
    stored_as: Literal["float16", "float32"] = Field("float16", description="number format of the features on disk")


class STATSettings(Section):
    """STAT's attention (kinds stat, stat-mm17 and lstap-stat). Defaults: the authors' released code, except the sizes in `model`:
    hidden_size 1024, attention_size 1024 and embedding_size 512 there.
    """

    global_from: Literal["frames", "grid"] | None = Field(
        "frames",
        description="stat: global vector of a frame: the stream frames, or the mean of the grid; empty: none, and the start state is made "
        "from the mean of the regions (an ablation)",
    )
    motion_from: Literal["motion", "differences"] | None = Field(
        "motion",
        description="stat: motion vectors: the stream motion (a sequence), or differences of consecutive grids (not in the paper); "
        "empty: none",
    )
    local_from: Literal["regions", "grid"] | None = Field(
        "regions", description="stat: places of a frame: the stream regions, or the cells of the grid; empty: none"
    )
    local_pooling: Literal["attention", "mean"] = Field(
        "attention", description="pooling over the places of a frame for each word; mean is an ablation"
    )
    temporal_pooling: Literal["attention", "mean"] = Field(
        "attention", description="pooling over time for each word; mean is an ablation"
    )
    positions: int | None = Field(
        28,
        ge=1,
        le=MOST_FRAMES,
        description="stat: length in time to which each stream is cut or padded; empty: all, with mask_attention",
    )
    project_global: bool = Field(
        False, description="stat: project global vectors to hidden_size if they have another size (not in the paper)"
    )
    mask_attention: bool = Field(
        False,
        description="stat: mask padding and missing regions in attention; false: attend to them, as the released code does",
    )


class InputSettings(Section):
    """Changes of the grid before the model reads it, not in the papers. All are off by default."""

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
        False, description="lstap, lrcn, lstap-stat: append to each place's features their difference from the previous frame's"
    )
    shift: int = Field(
        0, ge=0, description="training: maximum random shift of a video's grid in rows and columns, with its border repeated"
    )

    @property
    def is_identity(self) -> bool:
        """Whether the grid is passed on as it is."""
        return self == InputSettings()


class ModelSettings(Section):
    """The captioning network. Defaults: L-STAP paper, section 4.2."""

    kind: Literal["lstap", "lrcn", "stat", "stat-mm17", "lstap-stat"] = Field(
        "lstap",
        description="lstap; lrcn: the baseline, mean-pooled frames into an LSTM; stat: STAT's released code; stat-mm17: its 2017 paper; "
        "lstap-stat: STAT's attention over L-STAP's states",
    )
    pooling: Literal["mean", "attention"] = Field(
        "attention", description="lstap: pooling over the places of a frame, mean by equation (8), attention by (9)-(10)"
    )
    hidden_size: int = Field(1024, ge=1, description="H: size of the encoder and decoder LSTM")
    attention_size: int = Field(256, ge=1, description="A: size of additive attention")
    embedding_size: int = Field(300, ge=1, description="E: size of the word embedding")
    motion_size: int | None = Field(
        None, ge=1, description="size of a clip's motion vector (L-STAP: 600); empty: a learned start state"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout of the decoder state before the output layer, equation (25)")
    word_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="training: probability that the decoder reads a zero vector instead of a word (not in the papers)",
    )
    output_bias: Literal["none", "zero", "frequency"] | None = Field(
        None,
        description="bias of the output layer. none; zero: starts at 0; frequency: starts at the logarithm of each word's share of the training "
        "captions, their ends included (not in the papers); empty: as in the papers, none for lstap and lrcn, zero for STAT's decoder",
    )
    inputs: InputSettings = InputSettings()
    forget_bias: float = Field(0.0, description="initial bias of the forget gates (not stated in the paper)")
    memory_frames: int | None = Field(
        None,
        ge=3,
        description="lstap, lrcn, lstap-stat: longest memory in frames of chrono initialisation, which then sets the encoder's gate biases "
        "(Tallec & Ollivier 2018, section 2; not in the paper); empty: forget_bias",
    )
    implementation: Literal["auto", "reference", "fused"] = Field(
        "auto",
        description="L-STAP's recurrence; reference: the equations as they are written; fused: the same numbers to rounding, in less time and "
        "memory; auto: fused wherever it can run",
    )
    matching_weight: float = Field(0.4, ge=0, description="weight of the matching loss, equation (28); 0: off")
    margin: float = Field(0.2, ge=0, description="margin of the ranking loss (not stated in the paper; VSE++: 0.2)")
    negatives: Literal["hardest", "all", "violations"] = Field(
        "hardest",
        description="negatives of the matching loss: the hardest, equation (27); all: mean hinge loss; violations: root of the sum of "
        "squares (the last two are not in the paper)",
    )
    attention_penalty: float = Field(
        0.0,
        ge=0,
        description="weight of the doubly stochastic penalty on the decoder's attention (STAT: 0.70602); 0: off",
    )
    penalty_captions: int | None = Field(
        32,
        ge=1,
        description="batch size in captions for which attention_penalty is meant, since STAT's released code sums it over the batch; "
        "empty: the sum over the actual batch",
    )
    penalty_on_padding: bool = Field(
        True, description="include attention after a caption's end in the penalty, as STAT's released code does"
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


def _with_defaults_of(section: type[Section], given: Any) -> Any:
    """The section's own default for every setting of its optimiser that is not given."""
    default = section.model_fields["optimizer"].default.model_dump()
    return default | given if isinstance(given, dict) else given


class OptimizerSettings(Section):
    """The optimiser. Default: TensorFlow's RMSProp, as in the paper."""

    kind: Literal["rmsprop", "adam", "adamw", "adadelta", "muon"] = Field(
        "rmsprop",
        description="rmsprop: TensorFlow's, with epsilon inside the root; adam, adamw, adadelta: PyTorch's; muon: Muon for matrices and "
        "convolutions, Adam for the rest",
    )
    learning_rate: float = Field(
        1e-4, gt=0, description="learning rate after the warm-up (L-STAP: 1e-4; STAT, with adadelta: 1)"
    )
    matrix_learning_rate: float | None = Field(
        None,
        gt=0,
        description="muon: learning rate of the matrices; empty: learning_rate, since their steps have the size of Adam's",
    )
    decay: float = Field(
        0.9, ge=0, lt=1, description="decay of the mean squared gradient: of rmsprop, and rho of adadelta (STAT: 0.95)"
    )
    epsilon: float = Field(
        1e-10, gt=0, description="added to the mean squared gradient (rmsprop, adadelta) or to its root (adam, adamw, muon)"
    )
    weight_decay: float = Field(0.0, ge=0, description="applied after the clipping; for STAT's see training.l2")
    warmup_steps: int = Field(0, ge=0, description="updates of the linear warm-up of the learning rate")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate after the warm-up: constant, or half a cosine to 0 at the end of `epochs`"
    )

    @model_validator(mode="after")
    def _muon_decays_nothing(self) -> OptimizerSettings:
        if self.kind == "muon" and self.weight_decay:
            raise ValueError("muon has no weight decay here; set weight_decay: 0, or use training.l2")
        return self


class CiderSettings(Section):
    """Training with `objective: cider`: self-critical sequence training (Rennie et al. 2017; Luo 2020)."""

    samples: int = Field(5, ge=2, description="captions that are sampled of each video of a batch (Luo 2020: 5)")
    optimizer: OptimizerSettings = OptimizerSettings(kind="adam", learning_rate=5e-5, epsilon=1e-8)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _others_keep_their_default(cls, given: Any) -> Any:
        return _with_defaults_of(cls, given)


class TrainingSettings(Section):
    """The training loop. Defaults: L-STAP paper, section 4.2."""

    objective: Literal["cross-entropy", "cider"] = Field(
        "cross-entropy",
        description="cross-entropy: the likelihood of the captions; cider: the expected CIDEr of sampled captions, after a training by "
        "cross-entropy (see initial_weights)",
    )
    initial_weights: Path | None = Field(
        None, description="model folder whose weights training begins with (`stap train --from`); empty: fresh weights"
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    cider: CiderSettings = CiderSettings()
    batch_size: int = Field(64, ge=1, description="videos per batch")
    captions_per_video: int = Field(
        1, ge=1, description="captions of each video per batch, which share one encoding (L-STAP: 1)"
    )
    epochs: int = Field(
        100, ge=1, description="maximum number of epochs, each with every training caption once (but see epoch_updates)"
    )
    epoch_updates: int | None = Field(
        None, ge=1, description="updates per epoch; the next epoch continues in the same pass (STAT: 2000); empty: a whole pass"
    )
    reshuffle: bool = Field(True, description="shuffle the captions before every pass; false: before the first (STAT)")
    clip_norm: float = Field(5.0, gt=0, description="global gradient norm for clipping")
    l2: float = Field(0.0, ge=0, description="weight of the sum of squared parameters in the loss (STAT: 1e-4)")
    best_by: Literal["CIDEr", "log-likelihood"] = Field(
        "CIDEr",
        description="validation score that selects the weights: CIDEr of greedy captions, or log-likelihood of the references (STAT)",
    )
    patience: int = Field(10, ge=1, description="validations without a better score before training stops")
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    validation_clips: int | None = Field(None, ge=1, description="validation clips, for speed; empty: all")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="paper: none")
    precision: Precision = Field("float32", description="precision of training (bfloat16: autocast)")

    @property
    def optimizer_of_objective(self) -> OptimizerSettings:
        """The optimiser that trains: `optimizer` for cross-entropy, `cider.optimizer` for CIDEr."""
        return self.cider.optimizer if self.objective == "cider" else self.optimizer


class DecodingSettings(Section):
    """Beam search."""

    beam_width: int = Field(5, ge=1, le=1000, description="hypotheses that are kept; 1: greedy")
    max_words: int = Field(30, ge=1, le=1000, description="words of the longest caption")
    length_normalisation: float = Field(0.0, ge=0, description="power of the length that divides the log-probability; 0: off")
    no_repeat_ngram: int = Field(0, ge=0, description="words of the n-grams that a caption may not repeat; 0: off")
    forbid_unknown: bool = Field(
        False, description="no <unk> in captions; `stap caption` never writes one, and the papers' evaluations allow it"
    )
    shrinking_beam: bool = Field(
        False, description="finished captions leave the beam smaller, and the search ends when it is empty (STAT)"
    )


class PretrainingSettings(Section):
    """`stap pretrain`: frame-sentence matching (VSE++, Faghri et al. 2018), which trains the backbone of `features`."""

    initial_weights: str = Field("pretrained", description="weights of the backbone at the start: pretrained, random or a file")
    joint_size: int = Field(1024, ge=1, description="size of the joint embedding (VSE++, section 3: 1,024)")
    embedding_size: int = Field(300, ge=1, description="size of the word embedding (VSE++: 300)")
    frame_pooling: Literal["mean", "max"] = Field(
        "mean", description="pooling of the last feature map: mean (VSE++), or max, which keeps small objects"
    )
    forget_bias: float = Field(
        1.0, description="initial bias of the sentence encoder's forget gate; at 0 it forgets early words"
    )
    margin: float = Field(0.2, ge=0, description="margin of the ranking loss (VSE++: 0.2)")
    frames_per_video: int = Field(8, ge=1, description="frames of each video in memory; an epoch shows one of them")
    batch_size: int = Field(128, ge=2, description="videos per batch (VSE++: 128)")
    captions_per_frame: int = Field(1, ge=1, description="captions per frame (VSE++: 1)")
    epochs: int = Field(30, ge=1, description="epochs, each with every video once (VSE++: 30)")
    frozen_epochs: int = Field(0, ge=0, description="first epochs in which the backbone is frozen (VSE++, fine-tuned: 30)")
    rate_falls_after: int | None = Field(
        None,
        ge=1,
        description="epochs after which the learning rate drops to a tenth (VSE++: 15); empty: the optimizer's schedule alone",
    )
    random_crops: bool = Field(False, description="coco: random resized crops with mirroring (VSE++), instead of the centre")
    hardest_after: int = Field(
        1, ge=0, description="first epochs with early_negatives; later ones use the hardest negative (VSE++: 0)"
    )
    early_negatives: Literal["all", "violations"] = Field(
        "all", description="all: mean hinge loss of the negatives; violations: root of the sum of their squares"
    )
    clip_norm: float = Field(2.0, gt=0, description="global gradient norm for clipping (VSE++: 2)")
    optimizer: OptimizerSettings = OptimizerSettings(kind="adam", learning_rate=2e-4, epsilon=1e-8, schedule="cosine")
    precision: Precision = Field("float32", description="precision of training (bfloat16: autocast)")

    @field_validator("optimizer", mode="before")
    @classmethod
    def _others_keep_their_default(cls, given: Any) -> Any:
        return _with_defaults_of(cls, given)


class Recipe(Section):
    """One experiment."""

    name: str = Field("unnamed", min_length=1, description="name in the model card; a recipe file's own name by default")
    description: str = Field("", description="what it is; `stap recipes` prints the first line")
    seed: int = Field(1, ge=0, description="random seed of weights, order and dropout")
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
        """All settings, JSON-able, except paths and limits, which do not change what is computed: digests of captions and fingerprints of
        features do."""
        settings = self.model_dump(mode="json", exclude={"corpus": {"limits"}})
        for section, names in _PLACES.items():
            for name in names if settings[section] else ():
                del settings[section][name]
        return settings

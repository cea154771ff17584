"""A demo small enough for tests, and the lines of its progress."""

from stap.experiments.reproduce.scene_rows import SceneSize

TINY = SceneSize(
    "demo/quick",
    videos=40,
    overrides=(
        "features.backbone=test_resnet",
        "features.backbone_options={}",
        "features.image_size=48",
        "features.frames=4",
        "pretraining.epochs=2",
        "pretraining.batch_size=8",
        "pretraining.frames_per_video=2",
        "pretraining.joint_size=16",
        "model.hidden_size=16",
        "training.epochs=2",
        "training.validate_every=1",
        "decoding.beam_width=2",
    ),
)


class Lines(list[str]):
    """The lines of progress; the first that begins with `stop_at` interrupts the run."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, line: str) -> None:
        self.append(line)
        if self.stop_at and line.startswith(self.stop_at):
            raise KeyboardInterrupt

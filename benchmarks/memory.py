"""Peak memory of `stap caption` on a long film and on a folder of many clips, and of a training step of the paper.

    python -m benchmarks.memory [film] [folder] [step] [--videos 64]

Each is measured in a process of its own, the first two in two lengths: what does not grow between them is bounded. Prints megabytes (10^6
bytes) of the largest resident set, next to that of a process that imports what it needs and does nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.sampling import make_film

COMMAND = "--inside"


def main() -> None:
    if COMMAND in sys.argv:
        inside(sys.argv[sys.argv.index(COMMAND) + 1 :])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["film", "folder", "step"])
    parser.add_argument("--minutes", type=float, nargs=2, default=[10, 120], help="of the film (default: 10 120)")
    parser.add_argument("--clips", type=int, nargs=2, default=[1000, 3000], help="in the folder (default: 1000 3000)")
    parser.add_argument("--videos", type=int, default=64, help="of the training step (default: 64)")
    options = parser.parse_args()
    print(f"imports alone: {peak('nothing')} MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder)
        if "film" in options.what:
            for minutes in options.minutes:
                film = make_film(folder, minutes, 160, key_frame_every=5)
                for how in ("--whole", "--shots"):
                    print(f"stap caption {how}, a film of {minutes:g} minutes: {peak('caption', film, how, '--model', run)} MB")
        if "folder" in options.what:
            for clips in options.clips:
                links = make_links(folder / f"{clips} clips", clips)
                print(f"stap caption, a folder of {clips:,} clips: {peak('caption', links, '--model', run)} MB")
    if "step" in options.what:
        print(f"a training step of {options.videos} videos at the paper's sizes: {peak('step', options.videos)} MB")


def peak(*arguments: object) -> int:
    """Megabytes of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def inside(arguments: list[str]) -> None:
    import stap.captioning.captioner
    import stap.training.loop

    if arguments[0] == "caption":
        from stap.cli import main as stap

        assert stap(arguments) == 0
    elif arguments[0] == "step":
        training_step(int(arguments[1]))
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)))


def make_run(folder: Path) -> Path:
    import torch
    from benchmarks.caption_folder import make_captioner

    torch.manual_seed(0)
    return make_captioner(folder).run.folder


def make_links(folder: Path, count: int) -> Path:
    from benchmarks.extraction import make_videos

    folder.mkdir()
    [(_, clip)] = make_videos(folder, 1, 64)
    for number in range(1, count):
        (folder / f"{number}.mp4").symlink_to(clip)
    return folder


def training_step(videos: int) -> None:
    """The L-STAP paper's sizes on MSVD: 30 frames of 49 places of 2,048 features, H=1024, one caption a video."""
    import torch

    from stap.models.batch import CaptionBatch, VideoBatch
    from stap.models.build import build_model
    from stap.recipes.files import load_recipe
    from stap.recipes.streams import StreamSpec
    from stap.text.special_ids import EOS
    from stap.training.optimizer import build_optimizer
    from stap.training.step import update

    recipe = load_recipe("msvd/lstap-attention", ["model.motion_size=null"])
    T, R, D, V, L = 30, 49, 2048, 9728, 12
    model = build_model(recipe.model, {"grid": StreamSpec("grid", D, grid=(7, 7), frames=T)}, vocabulary_size=V)
    words = torch.randint(4, V, (videos, L))
    words[:, -1] = EOS
    stored = VideoBatch(
        {"grid": torch.randn(videos, T, R, D, dtype=torch.float16)},
        {"grid": torch.zeros(videos, T, dtype=torch.bool)},
        torch.arange(videos),
    )
    update(model, build_optimizer(recipe.training.optimizer, model), (stored.to("cpu"), CaptionBatch(words)), recipe.training)


if __name__ == "__main__":
    main()

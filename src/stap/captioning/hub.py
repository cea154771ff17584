"""The files of a model: those of a folder, or fetched from the Hugging Face Hub and kept in its cache."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stap.errors import CheckpointError
from stap.features.offline import is_offline
from stap.files import one_line

__all__ = ["from_hub", "local_folder"]

HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def local_folder(name: str | Path) -> Path | None:
    """The folder of that name, or None where the name is one of the Hub: user/name, or user/name@revision.

    Raises CheckpointError for anything else.
    """
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 -- pathlib's raises where there is no home folder
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{name}: is a file, expected a model folder. Give the folder that holds config.json.")
    if not HUB_NAME.fullmatch(str(name)):
        raise CheckpointError(
            f"{name}: no such folder. Give one that `stap train` wrote, or user/name on the Hugging Face Hub."
        )
    return None


def from_hub(name: str, files: Sequence[str]) -> Path:
    """The folder of the cache with these files of user/name or user/name@revision, fetched where they are missing.

    files: names, or patterns such as *.json, of the repository's top folder. The folder is named after the commit.
    Raises CheckpointError where they cannot be had; offline nothing is fetched.
    """
    from huggingface_hub import errors, snapshot_download

    named = HUB_NAME.fullmatch(name)
    assert named is not None, "local_folder has looked at the name"
    repository, revision = named.groups()
    options: dict[str, Any] = {"revision": revision} if revision else {}
    options |= {"local_files_only": True} if is_offline() else {}
    options |= {"ignore_patterns": ["*/*"]} if any("*" in file for file in files) else {}
    try:
        return Path(snapshot_download(repository, allow_patterns=list(files), **options))
    except (OSError, errors.HfHubHTTPError, errors.HFValidationError) as error:
        if isinstance(error, getattr(errors, "IncompleteSnapshotError", ())):  # younger than huggingface_hub 0.30
            raise CheckpointError(
                f"{name}: only a part of it is in the cache of the Hugging Face Hub on this machine; its download was cut short. Run again "
                "with a network, and it is completed."
            ) from error
        if is_offline():
            raise CheckpointError(
                f"{name}: no such folder, and the cache of the Hugging Face Hub on this machine lacks it; nothing is fetched offline. "
                "Run once with a network, or name a folder."
            ) from error
        raise CheckpointError(
            f"{name}: no such folder, and no such model on the Hugging Face Hub ({one_line(error)}). Check the name and the network."
        ) from error

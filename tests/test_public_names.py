"""The public names: listed, there, and imported only when they are used."""

import subprocess
import sys

import pytest

import stap


def test_every_listed_name_is_there() -> None:
    for name in stap.__all__:
        assert getattr(stap, name) is not None, name


def test_every_name_that_is_offered_is_listed_once() -> None:
    offered = sorted({*stap._HOME_OF, "__version__"})
    assert sorted(stap.__all__) == offered
    assert dir(stap) == offered


def test_names_come_from_where_they_are_defined() -> None:
    for name, home in stap._HOME_OF.items():
        assert getattr(stap, name).__module__.startswith(home), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError) as error:
        _ = stap.caption_everything
    assert str(error.value) == "module 'stap' has no attribute 'caption_everything'"


def test_the_errors_are_one_family() -> None:
    for name in stap.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(stap, name), stap.StapError), name


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert stap.__version__ == version("stap")


def test_heavy_packages_wait_until_they_are_used() -> None:
    heavy = (
        "scenedetect",
        "cv2",
        "lancedb",
        "pyarrow",
        "fastapi",
        "pysubs2",
        "silero_vad",
        "torch",
        "torchvision",
        "timm",
        "av",
        "numpy",
        "pydantic",
        "huggingface_hub",
        "jinja2",
        "pycocoevalcap",
    )
    script = f"import sys, stap, stap.cli; print(sorted(set({heavy!r}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"

"""Results on disk: found again, computed again when damaged, a warning where nothing can be written."""

import logging
import pwd
import tempfile
from pathlib import Path

import pytest

from stap.text import cache


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("STAP_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_what_is_written_is_read(folder):
    content = {"words": ["a man", "\u2028", "\ud800"], "score": 0.1 + 0.2}
    key = cache.digest(["anything", 1])
    assert cache.read("tokens", key) is None
    cache.write("tokens", key, content)
    assert cache.read("tokens", key) == content
    assert [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()] == [Path("tokens") / f"{key}.json"]


def test_without_a_home_folder_it_is_one_of_the_process(monkeypatch):
    for name in ("STAP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["nobody of this number"])
    folder = cache.cache_folder()
    assert folder == cache.cache_folder()
    assert folder.is_relative_to(tempfile.gettempdir())
    assert folder.parents[1].stat().st_mode & 0o077 == 0  # nobody else can put results there
    cache.write("tokens", "a", [1])
    assert cache.read("tokens", "a") == [1]


def test_keys_tell_contents_apart():
    assert cache.digest(["a b"]) != cache.digest(["a", "b"])
    assert cache.digest(["a"]) == cache.digest(("a",))


@pytest.mark.parametrize("damage", [lambda text: text[:-5], lambda text: text.replace("0.5", "0.6"), lambda text: "[]"])
def test_damaged_files_are_not_believed(folder, caplog, damage):
    cache.write("meteor", "key", [0.5])
    path = folder / "meteor/key.json"
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.WARNING):
        assert cache.read("meteor", "key") is None
    assert caplog.records[0].getMessage().startswith(f"{path}: ")
    assert caplog.records[0].getMessage().endswith("; its content is computed again.")
    cache.write("meteor", "key", [0.5])
    assert cache.read("meteor", "key") == [0.5]


def test_a_folder_that_cannot_be_written_is_said(folder, caplog):
    folder.write_text("a file stands here")
    cache.write("tokens", "key", [])
    assert cache.read("tokens", "key") is None
    assert "cannot be written" in caplog.records[0].getMessage()


def test_where_the_folder_is(monkeypatch, folder):
    assert cache.cache_folder() == folder
    monkeypatch.delenv("STAP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.cache_folder() == Path("/somewhere/stap")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.cache_folder() == Path("/home/somebody/.cache/stap")

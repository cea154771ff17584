"""Files: written whole or not at all, read only where they are plain files, folders with one writer, and text that is safe to show."""

from stap.files.locks import folder_lock
from stap.files.printing import html_bytes, json_text, markdown_text, one_line, printable, shortened, unforeseen
from stap.files.reading import parse_json, read_bytes, read_json, regular_file, sha256_of_file
from stap.files.searching import files_below, is_folder
from stap.files.writers import remove_leftovers
from stap.files.writing import remove_unfinished, replacing, write_atomically, write_json

__all__ = [
    "files_below",
    "folder_lock",
    "html_bytes",
    "is_folder",
    "json_text",
    "markdown_text",
    "one_line",
    "parse_json",
    "printable",
    "read_bytes",
    "read_json",
    "regular_file",
    "remove_leftovers",
    "remove_unfinished",
    "replacing",
    "sha256_of_file",
    "shortened",
    "unforeseen",
    "write_atomically",
    "write_json",
]

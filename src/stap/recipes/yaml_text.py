"""YAML of strangers, as plain values: no aliases, which make gigabytes of a few lines, no key twice, and no endless nesting."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["parse_yaml"]

LONGEST = 1_000_000  # characters; the longest recipe has some thousands
DEEPEST = 50  # levels of mappings and lists inside each other; a recipe has four


class _Loader(yaml.SafeLoader):
    """YAML's plain values: mappings, lists, text, numbers, dates."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="aliases (& and *) are not read; write the value again", problem_mark=event.start_mark
            )
        if self.depth == DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"values are nested more than {DEEPEST} deep", problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if (key.tag, key.value) in seen if isinstance(key, yaml.ScalarNode) else False:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises ValueError, in one line, for anything that is none, or that no recipe needs."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, and at most {LONGEST:,} were expected")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ValueError(f"{where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except ValueError as error:  # a day that no month has, a number of more digits than Python converts
        raise ValueError(f"a value cannot be read: {error}") from error

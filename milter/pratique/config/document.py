"""A YAML file as plain values, with the place of each of them, so that every error can name line and column.

Rules of this module: the only one that imports yaml. Text in, values or problems out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

_SHOWN = 60  # characters of a value found
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class ConfigError(Exception):
    """A file that cannot be used; one problem a line."""

    def __init__(self, problems: list[Problem] | str):
        self.problems = problems if isinstance(problems, list) else []
        super().__init__(problems if isinstance(problems, str) else "\n".join(map(str, problems)))


class _Mark(Protocol):
    """A place in a file: line and column count from 0."""

    line: int
    column: int


class Document:
    """A YAML file as plain values, and where in the text each of them stands."""

    def __init__(self, text: str, file: str):
        self.file = file
        self.problems: list[Problem] = []
        self._marks: dict[Place, _Mark] = {}
        self._keys: dict[Place, _Mark] = {}
        self.value: Any = None
        try:
            for event in yaml.parse(text, yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    self._problem(event.start_mark, f"found the alias *{event.anchor}: write the value out")
            node = None if self.problems else yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as problem:
            self._problem(problem.problem_mark, f"no YAML: {problem.problem}")
        except yaml.YAMLError as problem:
            self._problem(None, "no YAML: " + " ".join(str(problem).split()))
        except RecursionError:
            self._problem(None, "no YAML for us: nested too deeply")
        else:
            self.value = self._build(node, ()) if node else None
        if self.problems:
            raise ConfigError(self.problems)

    def _problem(self, mark: _Mark | None, text: str) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.problems.append(Problem(self.file, line, column, text))

    def _build(self, node: yaml.Node, place: Place) -> Any:
        self._marks[place] = node.start_mark
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*place, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, place))
        if node.tag not in _TAGS:
            self._problem(node.start_mark, f"found the tag {node.tag}: write a plain value")
            return None
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._problem(
                node.start_mark, f"found {shown(node.value)}: not a value that YAML can read; put it in quotes"
            )
            return None

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key.start_mark, "found a key that is no plain word")
                continue
            if key.value in seen:
                self._problem(
                    key.start_mark, f"{key.value}: the key is there twice, first in line {seen[key.value]}: keep one"
                )
                continue
            seen[key.value] = key.start_mark.line + 1
            self._keys[(*place, key.value)] = key.start_mark
            yield key.value, self._build(value, (*place, key.value))

    def __contains__(self, place: Place) -> bool:
        return place in self._keys

    def at(self, place: Place, text: str, of_key: bool = False) -> Problem:
        """A problem at the value of a place, or at its key; where that is not in the file, at what holds it."""
        marks = self._keys if of_key else self._marks
        shown = ".".join(str(p) if isinstance(p, str) else f"[{p + 1}]" for p in place).replace(".[", "[")
        while place and place not in marks:
            place = place[:-1]
        mark = marks.get(place) or self._marks.get(place)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(self.file, line, column, f"{shown}: {text}" if shown else text)


def shown(value: Any) -> str:
    """A value as an error quotes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {'yes' if value else 'no'}"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "keys and values"
    text = str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return f'"{text[:_SHOWN]}…"' if len(text) > _SHOWN else f'"{text}"'

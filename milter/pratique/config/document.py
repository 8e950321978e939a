"""A YAML file as plain values, with the place of each of them, so that every error can name line and column.

Rules of this module: with traps.py the only one that imports yaml. Text in, values or problems out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import yaml

from pratique.model import printable

from .traps import in_words, unprintable

_SHOWN = 60  # characters of a value found
_STAR = re.compile(r"""(?<!["'])\*(?!["'])""")
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning in a file. Line and column count from 1; line 0: the file as a whole."""

    file: str
    line: int
    column: int
    text: str
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigError(Exception):
    """Files that cannot be used; one problem a line."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class NotPermittedError(ConfigError):
    """A file that we have no right to read."""


class _Mark(Protocol):
    """A place in a file: line and column count from 0."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Scalar:
    """A single value as it was typed."""

    text: str
    plain: bool  # without quotes
    lines: int
    escaped: bool  # with backslashes in quotes: the file does not show the value


class Document:
    """A YAML file as plain values, and where in the text each of them stands.

    Raises ConfigError where the text is no YAML. `problems` holds what is wrong with single keys and values
    (twice there, unreadable); such a key is left out of `value`, and such a value is in `broken`.
    """

    def __init__(self, text: str, file: str):
        self.file = file
        self.problems: list[Problem] = []
        self.broken: set[Place] = set()
        self.value: Any = None
        self.lines = text.splitlines()
        self._text = text
        self._marks: dict[Place, _Mark] = {}
        self._keys: dict[Place, _Mark] = {}
        self._typed: dict[Place, _Scalar] = {}
        node = self._tree(text)
        if node is not None:
            self.value = self._build(node, ())

    def _tree(self, text: str) -> yaml.Node | None:
        try:
            self._no_yaml(unprintable(text))
            # perf: it takes as long as the rest of reading a list, and hardly any list has a star out of quotes.
            events = yaml.parse(text, yaml.SafeLoader) if _STAR.search(text) else ()
            aliases = [e for e in events if isinstance(e, yaml.AliasEvent)]
            self._no_yaml((*_place(e.start_mark), f"found *{e.anchor}: {_REFERENCE}") for e in aliases)
            return yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as problem:
            self._no_yaml(in_words(problem, text))
        except RecursionError:
            self._no_yaml([(0, 0, "the file is nested too deeply")])
        raise AssertionError  # in_words says something of every error

    def _no_yaml(self, found: Any) -> None:
        problems = [Problem(self.file, line + 1, column + 1, printable(text)) for line, column, text in found]
        if problems:
            raise ConfigError(problems)

    def _problem(self, mark: _Mark, text: str, place: Place = ()) -> None:
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, printable(text), dotted(place)))

    def _build(self, node: yaml.Node, place: Place) -> Any:
        self._marks[place] = node.start_mark
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*place, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, place))
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101
        lines = node.end_mark.line - node.start_mark.line + 1
        self._typed[place] = typed = _Scalar(node.value, node.style is None, lines, self._is_escaped(node))
        if node.tag not in _TAGS:
            self.broken.add(place)
            tag = re.sub("^tag:yaml.org,2002:", "!!", node.tag)
            self._problem(node.start_mark, f"found {tag}: a value that begins with ! must be in quotes", place)
            return None
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, yaml.YAMLError):
            self.broken.add(place)
            self._problem(node.start_mark, f"found {quoted(typed.text)}: there is no such day: {_DATE}", place)
            return None

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key.start_mark, "found a list or brackets before a colon: expected a key", place)
                continue
            here = (*place, key.value)
            if key.value in seen:
                first = seen[key.value]
                advice = _SAME_ENTRY if place == ("senders",) else "keep one of the two"
                if here == ("senders",):
                    advice = "delete this line, so that the entries below belong to the first"
                self._problem(key.start_mark, f"the key is there twice, first in line {first}: {advice}", here)
                continue
            seen[key.value] = key.start_mark.line + 1
            self._keys[here] = key.start_mark
            yield key.value, self._build(value, here)

    def __contains__(self, place: Place) -> bool:
        return place in self._keys

    def at(self, place: Place, text: str, of_key: bool = False) -> Problem:
        """A problem at the value of a place, or at its key; where that is not in the file, at what holds it."""
        marks = self._keys if of_key else self._marks
        key = dotted(place)
        while place and place not in marks:
            place = place[:-1]
        mark = marks.get(place) or self._marks.get(place)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(self.file, line, column, printable(text), key)

    def typed(self, place: Place) -> str:
        """A single value as it was typed, without quotes; of a list or mapping nothing."""
        scalar = self._typed.get(place)
        return scalar.text if scalar else ""

    def is_folded(self, place: Place) -> bool:
        """Whether a value without quotes runs over several lines: seldom what was meant."""
        scalar = self._typed.get(place)
        return scalar is not None and scalar.plain and scalar.lines > 1

    def comment_after(self, place: Place) -> str:
        """What looks like the end of a text and is a comment to YAML: `#4711` in `note: ticket #4711`."""
        scalar, line = self._typed.get(place), self.line_of(place)
        if scalar is None or not scalar.plain or scalar.lines > 1:
            return ""
        match = re.search(r"\s(#[^\s#].*)$", self.lines[line - 1])
        return match[1] if match else ""

    def _is_escaped(self, node: yaml.ScalarNode) -> bool:
        written = self._text[node.start_mark.index : node.end_mark.index]
        return node.style == '"' and "\\" in written

    def is_escaped(self, place: Place) -> bool:
        """Whether a value in quotes holds backslashes, so that the file does not show what it means."""
        scalar = self._typed.get(place)
        return scalar is not None and scalar.escaped

    def line_of(self, place: Place) -> int:
        """The line of a key, from 1; 0: not in the file."""
        mark = self._keys.get(place)
        return mark.line + 1 if mark else 0

    def found(self, place: Place, value: Any) -> str:
        """A value as an error quotes it: what was typed, and what YAML made of it where that is another thing."""
        typed = _shown(self.typed(place))
        match value:
            case None:
                return f"{typed}, which YAML reads as nothing" if typed else "nothing"
            case bool():
                return f"{typed}, which YAML reads as {'true' if value else 'false'}"
            case int() | float():
                return f"the number {typed}" if typed == str(value) else f"{typed}, which YAML reads as number {value}"
            case date():
                return f"the date {typed}"
            case dict():
                return "keys and values"
            case list():
                return "a list"
        return quoted(str(value))


def _place(mark: _Mark | None) -> tuple[int, int]:
    return (mark.line, mark.column) if mark else (0, 0)


_REFERENCE = "YAML reads a word that begins with * as a reference: put it in quotes, or write the value out"
_DATE = "expected a date such as 2027-12-31, or text in quotes"
_SAME_ENTRY = "give one of the two entries another id, or put their addresses into one entry"


def dotted(place: Place) -> str:
    """A place as an error names it: senders.visma-opic.addresses[2]."""
    return ".".join(_shown(p) if isinstance(p, str) else f"[{p + 1}]" for p in place).replace(".[", "[")


def quoted(text: str) -> str:
    """Text for an error: in quotes, cut, and what is not printable as an escape."""
    return f'"{_shown(text)}"'


def _shown(text: str) -> str:
    return printable(f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text)

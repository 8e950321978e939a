"""A new entry in a list that somebody has written by hand: only lines are added, none is changed.

Rules of this module: pure, text in and text out. No YAML library writes a file back as it was: indentation,
quotes and line ends change. So the entry's own lines are written by one, put in as text where the parser says that
the last entry ends, and the whole is read again: all that was there must mean what it meant.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from ruamel.yaml import YAML

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class InsertionError(Exception):
    """The entry cannot be put in without changing a line; the text says why, and what to do."""


def with_entry(text: str, sender: str, values: dict[str, Any]) -> str:
    """The list's text with one more entry. Whether the whole is then a good list is not looked at here.

    Raises InsertionError.
    """
    before = _value(text)
    key, node = _senders(yaml.compose(text, yaml.SafeLoader)) if isinstance(before, dict) else (None, None)
    if key is None or node is None:
        raise InsertionError("there is no `senders:` in it to put the entry under")
    listed = before["senders"] or {}
    if not isinstance(listed, dict):
        raise InsertionError("what stands under `senders:` is no list of entries")
    if sender in listed:
        raise InsertionError(f"there is an entry {sender} already")
    after = before | {"senders": listed | {sender: values}}
    for candidate in _candidates(text, key, node, sender, values):
        try:
            found = _value(candidate)
        except InsertionError:
            continue
        if found == after and [s for s in found["senders"] if s != sender] == list(listed):
            return candidate
    raise InsertionError("its entries are written so that another one can only be added by changing a line")


def _value(text: str) -> Any:
    """What a text means. Raises InsertionError where it means nothing."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as problem:
        raise InsertionError("it is no YAML: " + " ".join(str(problem).split())) from None


def _senders(root: yaml.Node | None) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key `senders`, and its value."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next(((key, value) for key, value in pairs if key.value == "senders"), (None, None))


def _candidates(text: str, key: yaml.Node, node: yaml.Node, sender: str, values: dict[str, Any]) -> Iterator[str]:
    """What the text may look like with the entry, the best first."""
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        yield from _in_braces(text, node, sender, values)
    elif isinstance(node, yaml.MappingNode):
        column = node.value[-1][0].start_mark.column
        end = _end_of(node, text)
        while comment := re.compile(rf"[ ]{{{column + 1},}}#").match(text, end):  # of the last entry
            end = _next_line(text, comment.end())
        lines = entry_lines(sender, values, column, *_habits(node, column))
        for blank in (_is_spaced(text, node), False):
            yield _put(text, end, [""] * blank + lines)
        first = node.value[0][0].start_mark  # where nothing can follow: text that goes on to the end of the file
        yield _put(text, first.index - first.column, [*lines, ""])
    elif node.start_mark.index == node.end_mark.index:  # `senders:` with nothing below it
        column = key.start_mark.column + 2
        yield _put(text, _next_line(text, node.end_mark.index), entry_lines(sender, values, column))


def entry_lines(sender: str, values: dict[str, Any], column: int = 2, step: int = 2, dash: int = 2) -> list[str]:
    """An entry as lines of YAML; `step` and `dash` are the indentation of keys and of list items."""
    writer = YAML()
    writer.indent(mapping=step, sequence=dash + 2, offset=dash)
    writer.width = 4096
    stream = io.StringIO()
    writer.dump({sender: values}, stream)
    return [" " * column + line for line in stream.getvalue().splitlines()]


def _habits(node: yaml.MappingNode, column: int) -> tuple[int, int]:
    """How the last entry is indented: its keys from its id, and its list items from their key."""
    step, dash = 2, 2
    last = node.value[-1][1]
    if isinstance(last, yaml.MappingNode) and not last.flow_style and last.value:
        inner = last.value[0][0].start_mark.column
        step = max(inner - column, 1)
        lists = [v for _, v in last.value if isinstance(v, yaml.SequenceNode) and not v.flow_style and v.value]
        dash = max(lists[0].start_mark.column - inner, 0) if lists else 2
    return step, dash


def _end_of(node: yaml.Node, text: str) -> int:
    """Where the line after a node begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(last[1] if isinstance(last, tuple) else last, text)
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):  # ends where the next token's line begins
        return max((match.end() for match in _LINE_END.finditer(text, 0, end)), default=0) if end < len(text) else end
    return _next_line(text, end)


def _next_line(text: str, index: int) -> int:
    match = _LINE_END.search(text, index)
    return match.end() if match else len(text)


def _is_spaced(text: str, node: yaml.MappingNode) -> bool:
    """Whether entries are set apart by an empty line; one entry alone says nothing against it."""
    if len(node.value) == 1:
        return True
    above = _LINE_END.split(text[: node.value[-1][0].start_mark.index])[:-1]
    while above and above[-1].lstrip().startswith("#"):
        above.pop()
    return bool(above) and not above[-1].strip()


def _put(text: str, point: int, lines: list[str]) -> str:
    """The text with lines put in where one begins; with the file's line ends, and no final one if it has none."""
    ends = list(_LINE_END.finditer(text, 0, point)) or list(_LINE_END.finditer(text))
    end = ends[-1].group() if ends else "\n"
    added = end.join(lines)
    if point == len(text) and text and not (ends and ends[-1].end() == point):
        return f"{text}{end}{added}"
    return f"{text[:point]}{added}{end}{text[point:]}"


def _in_braces(text: str, node: yaml.MappingNode, sender: str, values: dict[str, Any]) -> Iterator[str]:
    """`senders: {…}` over several lines: a line of its own before the one with the closing brace."""
    close = node.end_mark.index - 1
    start = max((match.end() for match in _LINE_END.finditer(text, 0, close)), default=0)
    if text[start:close].strip() or start <= node.start_mark.index:
        return
    indent = " " * (node.value[-1][0].start_mark.column if node.value else 2)
    for comma in ("", ", "):  # the last entry may have its comma, or not: then it stands before ours
        yield _put(text, start, [f"{indent}{comma}{sender}: {json.dumps(values, ensure_ascii=False)}"])

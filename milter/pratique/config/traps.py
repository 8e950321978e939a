"""What goes wrong before there are any values: text that is no YAML, in words that say what to type instead.

Rules of this module: text and PyYAML's error in, (line, column, words) out; both count from 0. YAML's own error is
often lines away from the slip, so the lines are looked at for the usual ones first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

import yaml

Found = tuple[int, int, str]

_BLANKS = "\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\u00ad"
ODD_BLANK = re.compile(f"[{_BLANKS}]")
_START = r"^\s*(?:- +)*(?:[\w-]+:\s+)?"  # before a value: dashes, a key
_ITEM = r"(?:" + _START + r"|[\[,]\s*)"


def odd_blank(text: str) -> str:
    """Names the first character that looks like a blank, or like nothing, and is neither to YAML."""
    match = ODD_BLANK.search(text)
    return f"{unicodedata.name(match[0], 'character').lower()} (U+{ord(match[0]):04X})" if match else ""


def _tab(_: re.Match[str]) -> str:
    return (
        "found a tab in the indentation: YAML takes only blanks there; "
        "replace it by as many blanks as the lines beside it have"
    )


def _odd(match: re.Match[str]) -> str:
    return f"found a {odd_blank(match['at'])}: it only looks like a blank; delete it and type a blank"


def _star(match: re.Match[str]) -> str:
    word = match["at"]
    if word.startswith("*."):
        return f"found {word}: write {word[2:]}; its subdomains belong to it anyway"
    return f'found {word} without quotes: YAML has a use of its own for *; write "{word}"'


def _at(match: re.Match[str]) -> str:
    word = match["at"]
    if "domain:" in match[0]:
        return f"found {word}: expected a domain; write {word[1:]} without the @"
    return (
        f"found {word}: expected an address such as notices{word}; "
        f'all mailboxes of the domain are "*{word}", in quotes and with `whole_domain: yes`'
    )


def _sign(match: re.Match[str]) -> str:
    return f"found {match['at']}: a value cannot begin with {match['at'][0]}; put it in quotes"


def _no_blank(match: re.Match[str]) -> str:
    return f"found no blank after the colon: write `{match['key']}: {match['rest'].strip()}`"


def _no_dash_blank(match: re.Match[str]) -> str:
    return f"found no blank after the dash: write `- {match['rest'].strip()}`"


def _equals(match: re.Match[str]) -> str:
    return f"found = after a key: expected a colon; write `{match['key']}: {match['rest'].strip()}`"


def _same_line(match: re.Match[str]) -> str:
    key, rest = match["key"], match["rest"].strip()
    return f"found a dash in the line of its key: begin a new line with the dash, or write `{key}: [{rest}]`"


def _colon(match: re.Match[str]) -> str:
    return (
        f'found a second colon: text with a colon must be in quotes; write `{match["key"]}: "{match["rest"].strip()}"`'
    )


def _inner_quote(match: re.Match[str]) -> str:
    quote = match["quote"]
    other = '"' if quote == "'" else "'"
    after = match["after"].rstrip()
    inner = f"{match['text']}{quote}{after.removesuffix(quote)}"
    if not after.endswith(quote):
        inner = f"{quote}{match['text']}{quote}{after}"
    return f"found text after the closing quote: write `{match['key']}: {other}{inner}{other}`"


_TRAPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"^ *(?P<at>\t)"), _tab),
    (re.compile(rf"^\s*?(?P<at>[{_BLANKS}])"), _odd),
    (re.compile(_ITEM + r"(?P<at>\*[^\s,\]#]+)"), _star),
    (re.compile(_ITEM + r"(?P<at>@[^\s,\]#]*)"), _at),
    (re.compile(_ITEM + r"(?P<at>[%`][^\s,\]#]*)"), _sign),
    (re.compile(r"^\s*(?P<at>(?!mailto|https?)(?P<key>[a-z_]{2,30}):(?P<rest>[^\s/:][^#]*))"), _no_blank),
    (re.compile(r"^\s*(?P<at>-(?P<rest>[^\s#:-][^#:]*))"), _no_dash_blank),
    (re.compile(r"^\s*(?P<at>(?P<key>[a-z_]{2,30})\s*=\s*(?P<rest>[^#]*))"), _equals),
    (re.compile(r"^\s*(?P<key>[a-z_]+):\s+(?P<at>-)\s+(?P<rest>[^#]*)"), _same_line),
    (re.compile(r"^\s*(?P<key>[a-z_]+):\s+(?P<at>(?P<rest>[^\"'\[{|>#\s](?:(?! #).)*?:(?: .*|$)))"), _colon),
    (
        re.compile(
            r"^\s*(?P<key>[a-z_]+):\s+(?P<at>(?P<quote>[\"'])(?P<text>(?:(?!(?P=quote)).)*)(?P=quote))(?P<after>\s*[^\s#'\"].*)"
        ),
        _inner_quote,
    ),
)


def unprintable(text: str) -> Iterator[Found]:
    """Control characters: YAML knows none but tab and line ends."""
    for number, line in enumerate(text.split("\n")):
        if bad := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]", line):
            yield number, bad.start(), f"found the control character U+{ord(bad[0]):04X}: delete it"


def in_words(problem: yaml.YAMLError, text: str) -> list[Found]:
    """Everything that can be told of a text that is no YAML: at least one line."""
    lines = text.splitlines()
    slips = list(_slips(lines))
    if not isinstance(problem, yaml.MarkedYAMLError):
        return slips or [(0, 0, "no YAML: " + " ".join(str(problem).split()))]
    line, column, what = _told(problem, lines)
    blank = odd_blank(lines[line]) if line < len(lines) else ""
    told = (line, column, f"{what}; the line holds a {blank}: type a blank instead" if blank else what)
    return slips if any(line <= told[0] for line, _, _ in slips) else sorted([told, *slips])


def _slips(lines: list[str]) -> Iterator[Found]:
    for number, line in enumerate(lines):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        for pattern, words in _TRAPS:
            if match := pattern.search(line):
                yield number, match.start("at"), words(match)
                break


def _told(problem: yaml.MarkedYAMLError, lines: list[str]) -> Found:
    """PyYAML's own error, at the place where the slip most likely is."""
    mark, opened = problem.problem_mark or problem.context_mark, problem.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    what, context = problem.problem or "", problem.context or ""
    start = (opened.line, opened.column) if opened else (line, column)
    if "quoted scalar" in context:
        return (*start, "found a quotation mark that is never closed: add the closing one at the end of the text")
    if "flow sequence" in context:
        return (*start, "found a [ that is never closed: add ] at the end of the list, and a comma between two items")
    if "flow mapping" in context:
        return (*start, "found a { that is never closed: add } at the end, and a comma between two keys")
    if "flow node" in context:
        return line, column, "found the end where a value should be: a [ or { is never closed; add ] or }"
    if "single document" in (context + what):
        return line, column, "found --- a second time: the file is one document; remove this line"
    if "mapping values are not allowed" in what:
        first = len(lines[line]) - len(lines[line].lstrip()) if line < len(lines) else column
        return line, first, _too_deep(line, first, lines)
    if "expected ':'" in what:
        return (*start, f"found {_line(start[0], lines)} without a colon: expected `key: value`")
    if "expected <block end>" in what:
        return line, column, _no_column(line, column, lines)
    if "expected '<document start>'" in what:
        return line, column, f"found {_line(line, lines)}, which fits nothing above it: expected `key: value`"
    return line, column, f"no YAML: {what or context}"


def _too_deep(line: int, column: int, lines: list[str]) -> str:
    above = next((n for n in range(line - 1, -1, -1) if lines[n].strip() and not lines[n].lstrip().startswith("#")), -1)
    if above < 0:
        return 'found a second colon: text with a colon must be in quotes, "like: this"'
    blanks = len(lines[above]) - len(lines[above].lstrip())
    return (
        f"found {column} blanks before the key: line {above + 1} above it has {blanks}, and its value ends there; "
        f"begin this line with {blanks} blanks too"
    )


def _no_column(line: int, column: int, lines: list[str]) -> str:
    shown = lines[line][column : column + 30].strip() if line < len(lines) else ""
    if shown.startswith("- ") and shown.endswith(":"):
        return f"found `{shown}`: an entry begins without a dash; write `{shown[2:]}`, in the column of the entry above"
    if shown.startswith("-"):
        begin = "begin each `- ` of a list in one column, below the key that it belongs to"
        return f"found `{shown}` where no list is: {begin}"
    keys = {}  # column to the last line that begins there
    for number, text in enumerate(lines[:line]):
        if text.strip() and not text.lstrip().startswith(("#", "- ")):
            keys[len(text) - len(text.lstrip())] = number + 1
    near = sorted((abs(blanks - column), blanks) for blanks in keys if blanks != column)
    advice = " or ".join(f"{blanks} (as line {keys[blanks]})" for far, blanks in near if far == near[0][0])
    return f"found `{shown}` after {column} blanks, where no key above begins: begin it after {advice or 'no'} blanks"


def _line(line: int, lines: list[str]) -> str:
    return f"`{lines[line].strip()[:40]}`" if line < len(lines) and lines[line].strip() else "a line"

"""pydantic's errors in our words: what was found, what was expected, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from .document import Document, Place, Problem, quoted
from .files import SenderFile, SendersFile, ServiceFile
from .trusted import Site
from .values import odd

# What people call a key, beside near spellings.
_OTHER_NAMES = {
    **dict.fromkeys(("mail", "mails", "email", "emails", "from", "sender"), "addresses"),
    **dict.fromkeys(("comment", "reason", "description"), "note"),
    **dict.fromkeys(("url", "link", "page"), "source"),
    **dict.fromkeys(("disabled", "active"), "enabled"),
    **dict.fromkeys(("expiry", "until", "valid_until"), "expires"),
    **dict.fromkeys(("ip", "ips", "hosts"), "networks"),
    "contact": "owner",
    "id": "name",
}
# What people call a value.
_OTHER_WORDS = {
    "both": "all",
    "either": "any",
    "dmarc": "any",
    "ip": "network",
    "networks": "network",
    "hold": "quarantine",
}

M = TypeVar("M", bound=BaseModel)

_IS_LIST = "expected a list, one line each beginning with a dash and a blank"


def problems_of(invalid: ValidationError, model: type[BaseModel], document: Document) -> Iterator[Problem]:
    """Every problem once; what the document itself has told of a value is not told again."""
    errors = [(tuple(step for step in e["loc"] if step != "[key]"), e) for e in invalid.errors()]
    misspelled = {(*p[:-1], meant) for p, e in errors if e["type"] == "extra_forbidden" and (meant := _meant(p, model))}
    no_senders = any(place == ("senders",) and error["type"] == "missing" for place, error in errors)
    for place, error in errors:
        if place in document.broken or (error["type"] == "missing" and place in misspelled):
            continue
        if no_senders and len(place) == 1 and _looks_like_entry(error["input"]):
            continue
        if error["type"] == "too_short" and error["input"]:  # a list whose every item is wrong is also called too short
            continue
        yield _in_words(error, place, model, document)


def _in_words(error: Any, place: Place, model: type[BaseModel], document: Document) -> Problem:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if error["loc"][-1:] == ("[key]",):
        return document.at(place, f"found {quoted(str(value))}: {context['error']}", of_key=True)
    match kind:
        case "extra_forbidden":
            return document.at(place, _no_such_key(place, model, value, document), of_key=True)
        case "missing":
            return document.at(place, _missing(place, model, document), of_key=True)
        case "too_short" if place == ("senders",):
            return document.at(place, "found no entry: expected at least one platform")
        case "too_short":
            return document.at(place, f"found an empty list: expected at least one{_example(place, model)}")
    found = document.found(place, value)
    match kind:
        case "value_error":
            expected = str(context["error"])
            if "in quotes" in expected and not isinstance(value, str) and document.typed(place):
                expected = f'expected text; put it in quotes: "{document.typed(place)}"'
        case "enum" | "literal_error":
            expected = _one_of(context["expected"].replace("'", "").replace(" or ", ", "), value)
        case "tuple_type":
            expected = _a_list(place, value, model)
        case "dict_type" | "model_type" | "model_attributes_type":
            expected = _a_mapping(place, value, model)
        case _:
            expected = f"expected {error['msg'].lower()}"
    if value is None and "comment" not in expected:
        expected += _nothing(place, document)
    if document.is_folded(place) and "two lines" not in expected and "dash is missing" not in expected:
        expected += "; the value goes on in the next line: is a dash, a colon or the blank after it missing there?"
    return document.at(place, f"found {found}: {expected}")


def _one_of(words: str, value: Any) -> str:
    typed = value.strip().lower() if isinstance(value, str) else ""
    known = words.split(", ")
    near = [_OTHER_WORDS[typed]] if _OTHER_WORDS.get(typed) in known else difflib.get_close_matches(typed, known, 1)
    if isinstance(value, list):
        return f"expected one word, without brackets or dash: one of {words}"
    return f"expected one of {words}" + (f"; did you mean {near[0]}?" if near else "")


def _a_list(place: Place, value: Any, model: type[BaseModel]) -> str:
    key = place[-1]
    if isinstance(value, str):
        if re.match(r"-\S", value):
            return f"{_IS_LIST}; the blank after the dash is missing"
        items = re.split(r"[\s,;]+", value.strip(" ,;"))
        if all(re.search("[.:]", item) for item in items):
            return f"{_IS_LIST}; or write `{key}: [{', '.join(items)}]`"
    if isinstance(value, dict):
        return f"{_IS_LIST}; here they begin without a dash, or hold a colon"
    if value is None:
        return f"{_IS_LIST}{_example(place, model)}"
    return f"{_IS_LIST}{_example(place, model)}"


def _nothing(place: Place, document: Document) -> str:
    line = document.line_of(place)
    typed = document.lines[line - 1] if line else ""
    return "; what follows # is a comment" if "#" in typed else ""


def _a_mapping(place: Place, value: Any, model: type[BaseModel]) -> str:
    if model is SendersFile and place == ("senders",):
        return (
            "expected entries, each beginning with its id and a colon and without a dash, such as `visma-opic:`, "
            "and its keys below it, indented"
        )
    if model is SendersFile and len(place) == 2 and place[1] in SenderFile.model_fields:
        return f"expected the id of an entry here; `{place[1]}` is a key of an entry: indent it by two more blanks"
    if isinstance(value, str) and (match := re.match(r"([a-z_]+):(\S+)", value)):
        return f"expected `key: value` lines; the blank after the colon is missing: write `{match[1]}: {match[2]}`"
    if not place:
        dash = ", without a dash before the key" if isinstance(value, list) else ""
        return f"expected lines such as `key: value`{dash}"
    return "expected lines such as `key: value`, indented below this one"


# ---- keys ------------------------------------------------------------------------------------------


def _no_such_key(place: Place, model: type[BaseModel], value: Any, document: Document) -> str:
    if _looks_like_entry(value):
        if len(place) == 1:
            return "found an entry outside `senders:`: indent it and what belongs to it by two blanks below that line"
        if len(place) == 3:
            line = document.line_of(place[:2])
            blanks = document.at(place[:2], "", of_key=True).column - 1
            return (
                f"found an entry inside the entry {place[1]} of line {line}: "
                f"begin it in the same column, with {blanks} blanks, and move its keys to the left likewise"
            )
    if meant := _meant(place, model):
        return f"there is no such key: did you mean {meant}?{odd(place[-1])}"
    if where := _belongs(_spelled(place), place, model):
        return f"the key does not belong here: {where}"
    known = known_keys(model, place[:-1])
    near = difflib.get_close_matches(_spelled(place), known, n=1, cutoff=0.6)
    return f"there is no such key: {f'did you mean {near[0]}?' if near else 'expected one of ' + ', '.join(known)}"


def _spelled(place: Place) -> str:
    return str(place[-1]).strip().lower().replace("-", "_").replace(" ", "_")


def _meant(place: Place, model: type[BaseModel]) -> str:
    """The key that was meant by another, where that is plain."""
    spelled, known = _spelled(place), known_keys(model, place[:-1])
    near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.75)
    other = _OTHER_NAMES.get(spelled, "")
    return near[0] if near else other if other in known else ""


def _looks_like_entry(value: Any) -> bool:
    return isinstance(value, dict) and bool({"domain", "addresses"} & set(value))


def _belongs(key: str, place: Place, model: type[BaseModel]) -> str:
    """Where a key that is none here is one."""
    if model is SendersFile:
        if key in SenderFile.model_fields:
            return "it is a key of an entry; indent it below the id of one"
        if key in ServiceFile.model_fields:
            return "it is a key of pratique.yaml"
        return ""
    if len(place) > 1 and key in known_keys(model, ()):
        return "begin the line in the first column"
    for holder in ("dns", "log", "limits", "trusted_hosts"):
        if key in known_keys(model, (holder,)):
            return f"it is a key of `{holder}:`; indent it below that line"
    if key in SenderFile.model_fields:
        return "it is a key of an entry in the list of trusted senders"
    return ""


def _missing(place: Place, model: type[BaseModel], document: Document) -> str:
    if place == ("senders",):
        if isinstance(document.value, dict) and any(map(_looks_like_entry, document.value.values())):
            return "this line is missing: write `senders:` above the first entry, and indent the entries by two blanks"
        if document.value is None or document.value == {}:
            return "the file is empty, or holds only comments: expected `senders:`, and below it at least one entry"
        return "this key is missing: expected a line `senders:`, and below it the entries, indented by two blanks"
    return f"this key is missing{_example(place, model)}"


def _example(place: Place, model: type[BaseModel]) -> str:
    """`; write, for example, …` with the example of the definition."""
    field = _model_at(model, place[:-1]).model_fields.get(str(place[-1]))
    if field is None or not field.examples:
        return ""
    example = field.examples[0]
    text = f"[{', '.join(map(str, example))}]" if isinstance(example, list) else example
    return f"; write, for example, `{place[-1]}: {text}`"


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that may stand at a place of a file."""
    return list(_model_at(model, place).model_fields)


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    current: Any = model
    for step in place:
        if isinstance(current, type) and issubclass(current, BaseModel) and step in current.model_fields:
            annotation = current.model_fields[str(step)].annotation
            models = [
                a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            current = models[0] if models else current
    return current  # type: ignore[no-any-return]


def validated(model: type[M], document: Document, site: Site | None) -> tuple[M | None, list[Problem]]:
    """The file as a model, or every problem in the order of the lines."""
    value = {} if document.value is None else document.value
    problems = list(document.problems)
    try:
        good = model.model_validate(value, context=site)
    except ValidationError as invalid:
        good = None
        problems += problems_of(invalid, model, document)
    if problems:
        return None, sorted(problems, key=lambda p: (p.line, p.column))
    return good, []

"""The single values of the two files: what is taken, what an error asks for instead, what an editor is told.

Rules of this module: a function a kind of value; each raises ValueError with what was expected. The JSON Schema
beside it may take more than the function, never less. Who may be trusted is in trusted.py.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from datetime import date, datetime, timedelta
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.config import JsonDict

from pratique.lookalike import in_ascii
from pratique.mailbox import UnreadableError, to_a_labels
from pratique.model import DEFAULT_HEADER, Action, IPNetwork, Verdict

from .traps import odd_blank

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FLAGS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}

_OTHER_FLAGS = {
    **dict.fromkeys(("y", "oui", "ja", "da", "1"), "yes"),
    **dict.fromkeys(("n", "non", "nein", "nej", "ne", "0"), "no"),
}

# Verdicts that a site can act on, and what it can do.
ACTED_ON = tuple(v for v in Verdict if v not in (Verdict.VERIFIED, Verdict.UNCHECKED))
CHOICES = tuple(a for a in Action if a is not Action.NONE)


def _duration(value: Any) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        near = re.fullmatch(r"(\d{1,6})\s*([smhd])[a-z]*", str(value).strip().lower())
        hint = f"; write {near[1]}{near[2]}" if near else ""
        raise ValueError(f"expected a number and a unit, such as 30s, 5m, 4h or 2d{hint}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _stale_for(value: Any) -> timedelta:
    """A time, or none at all: 0, or `off`, which YAML reads as a truth value."""
    time = timedelta(0) if value in (0, False) else _duration(value)
    if time > timedelta(days=7):
        raise ValueError("expected at most 7d, or 0 for never")
    return time


def flag(value: Any) -> bool:
    """yes or no; also in quotes, as YAML 1.2 (and so many an editor) takes the bare words for text."""
    known = value if isinstance(value, bool) else _FLAGS.get(value) if isinstance(value, str) else None
    if known is None:
        meant = _OTHER_FLAGS.get(str(value).lower())
        raise ValueError("expected yes or no" + (f"; write {meant}" if meant else ""))
    return known


def a_labels(value: Any) -> str | None:
    """A domain as lower-case A-labels; None: it is no domain."""
    try:
        name = to_a_labels(value) if isinstance(value, str) else ""
    except UnreadableError:
        return None
    return None if "_" in name or not name else name


def host(value: Any) -> str:
    name = a_labels(value)
    if name is None:
        raise ValueError(f"expected a host name such as mx1.example.org{odd(value)}")
    return name


def odd(value: Any) -> str:
    """What an eye cannot see in a value, for the end of an error."""
    text = value if isinstance(value, str) else ""
    if blank := odd_blank(text):
        return f"; it holds a {blank}, which cannot be seen: delete it and type the value again"
    if quotes := re.search("[\u2018-\u201f\u00ab\u00bb]", text):
        return f"; {quotes[0]} is no quotation mark to YAML: leave it out, or type a straight one"
    if dash := _DASHES.search(text):
        return f"; it contains {named_character(dash[0])}: type a hyphen (-) instead"
    return ""


# What word processors and web pages put in place of a hyphen.
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")


def named_character(character: str) -> str:
    """A character for the eye and by its name: two that look alike have different names."""
    name = unicodedata.name(character, "a character without a name").lower()
    return f"{character} ({name}, U+{ord(character):04X})" if character.isprintable() else f"U+{ord(character):04X}"


def ascii_spelling(text: str) -> str:
    """The text with dashes as hyphens, outer quotes removed, marks removed and lookalike letters as ASCII ones."""
    return in_ascii(_DASHES.sub("-", text.strip("\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\"'")))


def network(value: Any) -> IPNetwork:
    text = value if isinstance(value, str) else ""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        expected = "expected an address or network such as 192.0.2.7 or 192.0.2.0/24"
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        if re.search(r"\d\s*-\s*\d", text):
            raise ValueError(f"{expected}; a range with a hyphen must be split into networks") from None
        name = "; a host name cannot stand here: write its IP addresses" if a_labels(text) else odd(value)
        raise ValueError(expected + name) from None
    raise ValueError(f"{expected}; a network starts at its first address: write {wider}, or {text.partition('/')[0]}")


WIDEST = {4: 16, 6: 32}  # prefix lengths: of the networks of an entry, and of public networks of the site

# Networks of which the site can own all (RFC 1122, 1918, 3927, 4193, 4291, 6598).
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
            *("::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)


def site_network(value: Any) -> IPNetwork:
    """A network of hosts that the site trusts more than others. A private one may be of any size."""
    found = network(value)
    private = any(found.version == own.version and found.subnet_of(own) for own in _PRIVATE)  # type: ignore[arg-type]
    if not private and found.prefixlen < (least := WIDEST[found.version]):
        raise ValueError(
            f"it holds {many(found)} public addresses, and every host there would be taken for one of yours: "
            f"expected your own hosts, in networks no wider than /{least}"
        )
    return found


def many(found: IPNetwork) -> str:
    """How many addresses a network has, for a person."""
    return f"2^{found.max_prefixlen - found.prefixlen}" if found.version == 6 else f"{found.num_addresses:,}"


def _dns_timeout(value: Any) -> timedelta:
    """Less than the MTA waits for a milter: Postfix's milter_command_timeout is 30 s."""
    time = _duration(value)
    if not timedelta(0) < time < timedelta(seconds=30):
        raise ValueError(
            "expected a time below 30s: the mail server gives up on a filter that is silent for longer, and defers "
            "the message"
        )
    return time


def _server(value: Any) -> tuple[str, int]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([0-9.]+)(?::(\d{1,5}))?|([0-9A-Fa-f:]+)", text)
    try:
        if match is None:
            raise ValueError
        address = ipaddress.ip_address(match[1] or match[3] or match[5])
        port = int(match[2] or match[4] or 53)
        if not 0 < port < 65536:
            raise ValueError
    except ValueError:
        raise ValueError(
            'expected "resolv.conf", or IP addresses of name servers, such as ["127.0.0.1:5353"]'
        ) from None
    return str(address), port


def _servers(value: Any) -> tuple[tuple[str, int], ...]:
    if value == "resolv.conf":
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError('expected "resolv.conf" or a list of addresses such as ["127.0.0.1:5353"]')
    return tuple(map(_server, value))


def _socket(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    port = re.fullmatch(r"inet6?:(\d{1,5})(?:@[0-9A-Za-z.:_-]+)?", text)
    if not re.fullmatch(r"(unix|local):/[^\0]*[^/\0]", text) and not (port and 0 < int(port[1]) < 65536):
        path = f"; write unix:{text}" if re.fullmatch(r"/[\w./-]*\w", text) else ""
        raise ValueError(f"expected a socket such as unix:/run/pratique/milter.sock or inet:8894@127.0.0.1{path}")
    return text


def _folder(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if not text.startswith("/") or "\0" in text:
        raise ValueError("expected a folder as an absolute path, such as /var/lib/pratique")
    return text


def _header(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"X-[A-Za-z0-9-]{1,60}", text):
        raise ValueError(f"expected a field name that begins with X-, without a colon, such as {DEFAULT_HEADER}")
    return text


def _subject_prefix(value: Any) -> str | None:
    if value is None or value is False or value in ("off", "no"):
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not 0 < len(value) <= 40:
        raise ValueError('expected off, or at most 40 plain ASCII characters in quotes, such as "[not verified]"')
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text; put it in quotes")
    return value


def _names(value: Any) -> tuple[str, ...]:
    """One name, or a list of names, of which the first is the one that people are shown."""
    every = value if isinstance(value, list) else [value]
    if not every:
        raise ValueError("expected a name, or a list of names")
    for name in every:
        if isinstance(name, list | dict):
            raise ValueError("expected a name, or a list of names; put each in quotes")
        if not isinstance(name, str):
            raise ValueError("expected text; put it in quotes")
    if not all(name.strip() for name in every) and len(every) > 1:
        raise ValueError("one of the names is empty: delete it")
    return tuple(every)


def _count(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 30:
        raise ValueError("expected a whole number from 1 to 1073741824")
    return value


def _date(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = _day(value, *map(int, value.split("-")))
    if type(value) is not date:
        raise ValueError(f"expected a date as year-month-day, such as 2027-12-31{_as_date(value)}")
    return value


def _day(typed: str, year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"expected a date such as 2027-12-31; there is no day {typed}") from None


def _as_date(value: Any) -> str:
    """What was meant by another way of writing a date; nothing where that is not certain."""
    if isinstance(value, datetime):
        return f"; write {value.date()} without a time of day"
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in ("never", "none", "no", "false"):
        return "; leave the line out where the entry never expires"
    first = re.fullmatch(r"(\d{4})[-./ ]?(\d\d?)[-./ ]?(\d\d?)", text)
    last = re.fullmatch(r"(\d\d?)[-./ ](\d\d?)[-./ ](\d{4})", text)
    parts = first.groups() if first else last.groups()[::-1] if last else None
    if parts is None:
        return ""
    year, month, day = map(int, parts)
    meant = [_iso(year, month, day)]
    if last and ("." not in text):  # 5/4/2027: a German writes the day first, an American the month
        meant.append(_iso(year, day, month))
    known = list(dict.fromkeys(m for m in meant if m))
    return f"; write {' or '.join(known)}" if known else ""


def _iso(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""


def _verdict(value: Any) -> Verdict:
    if value == Verdict.VERIFIED:
        raise ValueError("verified mail is always tagged: expected another verdict, or delete the line")
    if value not in ACTED_ON:
        raise ValueError(f"there is no such verdict: expected one of {', '.join(ACTED_ON)}")
    return Verdict(value)


def _action(value: Any) -> Action:
    if value not in CHOICES:
        raise ValueError(f"expected one of {', '.join(CHOICES)}")
    return Action(value)


def worker_count(value: Any) -> int | None:
    """How many processes; None is `auto`."""
    if value == "auto":
        return None
    if type(value) is not int or not 0 < value <= 256:
        raise ValueError("expected auto, or a number of processes such as 4")
    return value


def _off_or_keys(value: Any) -> Any:
    return None if value is False else value


def or_off(schema: JsonDict) -> None:
    """For an editor: `off` besides what the schema of a key has."""
    cast("list[JsonDict]", schema["anyOf"]).append({"const": False})


def _listen(value: Any) -> tuple[str, int]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})", text)
    try:
        if match is None or not 0 < int(match[3]) < 65536:
            raise ValueError
        return str(ipaddress.ip_address(match[1] or match[2])), int(match[3])
    except ValueError:
        raise ValueError("expected an address and a port such as 127.0.0.1:9894") from None


def text_schema(kind: str = "text", **more: Any) -> WithJsonSchema:
    """For an editor: text of a kind, which docs/configuration.md names."""
    return WithJsonSchema({"type": "string", "$comment": kind, **more})


_WORDS = sorted(_FLAGS)  # an editor that reads YAML 1.2 takes yes and no for text

Duration = Annotated[timedelta, BeforeValidator(_duration), text_schema("time", pattern=r"^\d{1,6}[smhd]$")]
StaleFor = Annotated[
    timedelta,
    BeforeValidator(_stale_for),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d{1,6}[smhd]$"}, {"enum": [0, False, "off"]}]}),
]
Host = Annotated[str, BeforeValidator(host), text_schema("host name", pattern=r"^[^\s_@:/]+$")]
DnsTimeout = Annotated[timedelta, BeforeValidator(_dns_timeout), text_schema("time", pattern=r"^\d{1,6}[smhd]$")]
SiteNetwork = Annotated[
    Any, BeforeValidator(site_network), text_schema("network", pattern=r"^[0-9A-Fa-f:.]+(/\d{1,3})?$")
]
Text = Annotated[str, BeforeValidator(_text), text_schema()]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "$comment": "text"},
                {"type": "array", "items": {"type": "string", "$comment": "text"}, "minItems": 1},
            ]
        }
    ),
]
Flag = Annotated[bool, BeforeValidator(flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": _WORDS}]})]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1 << 30})]
Date = Annotated[date, BeforeValidator(_date), text_schema("date", pattern=r"^\d{4}-\d\d-\d\d$")]
Servers = Annotated[
    tuple[tuple[str, int], ...],
    BeforeValidator(_servers),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "resolv.conf"},
                {
                    "type": "array",
                    "items": {"type": "string", "$comment": "address", "pattern": r"^[0-9A-Fa-f:.\[\]]+$"},
                    "minItems": 1,
                },
            ]
        }
    ),
]
Workers = Annotated[
    int | None,
    BeforeValidator(worker_count),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 256}]}),
]
Listen = Annotated[
    tuple[str, int],
    BeforeValidator(_listen),
    text_schema("address and port", pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):\d{1,5}$"),
]
OffOrKeys = BeforeValidator(_off_or_keys)
Socket = Annotated[
    str, BeforeValidator(_socket), text_schema("socket", pattern=r"^((unix|local):/.*[^/]|inet6?:\d{1,5}(@.+)?)$")
]
Folder = Annotated[str, BeforeValidator(_folder), text_schema("folder", pattern=r"^/")]
HeaderName = Annotated[str, BeforeValidator(_header), text_schema("field name", pattern=r"^X-[A-Za-z0-9-]{1,60}$")]
SubjectTag = Annotated[
    str | None,
    BeforeValidator(_subject_prefix),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 40}, {"enum": [False, None]}]}),
]
Actions = Annotated[
    dict[Annotated[Verdict, BeforeValidator(_verdict)], Annotated[Action, BeforeValidator(_action)]],
    Field(default_factory=dict),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {v.value: {"enum": [a.value for a in CHOICES]} for v in ACTED_ON},
            "additionalProperties": False,
        }
    ),
]

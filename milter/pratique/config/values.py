"""The single values of the two files: what is taken, and what an error asks for instead.

Rules of this module: a function a kind of value; each raises ValueError with what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import date, timedelta
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import BeforeValidator, Field

from pratique.mailbox import UnreadableError, to_a_labels
from pratique.model import DEFAULT_HEADER, Action, IPNetwork, Verdict, ascii_lower, is_within

from .document import shown

# Whoever is a customer of these can sign as them: such a signature says nothing of the platform.
SHARED_SIGNERS = frozenset(
    {
        *("amazonses.com", "brevo.com", "brevosend.com", "gappssmtp.com", "gmail.com", "mailgun.org", "mailjet.com"),
        *("mandrillapp.com", "mcdlv.net", "mcsv.net", "mtasv.net", "onmicrosoft.com", "outlook.com"),
        *("postmarkapp.com", "sendgrid.info", "sendgrid.net", "sendinblue.com", "smtp2go.com", "sparkpostmail.com"),
    }
)

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a time such as 30s, 5m, 4h or 2d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _domain(value: Any) -> str:
    try:
        name = to_a_labels(value) if isinstance(value, str) else ""
    except UnreadableError:
        name = ""
    if "." not in name or "_" in name:
        raise ValueError("expected a domain such as example.org")
    return name


def _host(value: Any) -> str:
    try:
        return to_a_labels(value) if isinstance(value, str) else _domain(value)
    except UnreadableError:
        raise ValueError("expected a host name such as mx1.example.org") from None


def _network(value: Any) -> IPNetwork:
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        wider = "; a network starts at its first address" if "/" in str(value) else ""
        raise ValueError(f"expected an address or network such as 192.0.2.0/24{wider}") from None


def _address(value: Any) -> tuple[str, str]:
    """(local part in lower case, domain); `*` in the local part stands for any characters."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    try:
        if not at:
            raise ValueError
        name = _domain(domain)
        validate_email(f"{local.replace('*', 'x')}@{name}", check_deliverability=False)
    except (ValueError, EmailNotValidError):
        raise ValueError("expected an address such as notices@example.org") from None
    return ascii_lower(local), name


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
        raise ValueError('expected "resolv.conf" or addresses such as "127.0.0.1:5353"') from None
    return str(address), port


def _servers(value: Any) -> tuple[tuple[str, int], ...]:
    if value == "resolv.conf":
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError('expected "resolv.conf" or a list of addresses such as ["127.0.0.1:5353"]')
    return tuple(map(_server, value))


def socket_address(value: str) -> str:
    port = re.fullmatch(r"inet6?:(\d{1,5})(?:@[0-9A-Za-z.:_-]+)?", value)
    if not re.fullmatch(r"(unix|local):/[^\0]*[^/\0]", value) and not (port and 0 < int(port[1]) < 65536):
        raise ValueError("expected a socket such as unix:/run/pratique/milter.sock or inet:8894@127.0.0.1")
    return value


def worker_count(value: Any) -> int | None:
    """How many processes; None is `auto`."""
    if value == "auto":
        return None
    if type(value) is not int or not 0 < value <= 256:
        raise ValueError("expected auto, or a number of processes such as 4")
    return value


def _off_or_keys(value: Any) -> Any:
    return None if value is False else value


def _listen(value: Any) -> tuple[str, int]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})", text)
    try:
        if match is None or not 0 < int(match[3]) < 65536:
            raise ValueError
        return str(ipaddress.ip_address(match[1] or match[2])), int(match[3])
    except ValueError:
        raise ValueError("expected an address and a port such as 127.0.0.1:9894") from None


def header_name(value: str) -> str:
    if not re.fullmatch(r"X-[A-Za-z0-9-]{1,60}", value):
        raise ValueError(f"expected a field name that begins with X-, such as {DEFAULT_HEADER}")
    return value


def subject_prefix(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 40:
        raise ValueError('expected off, or a short text in ASCII such as "[not verified]"')
    return value


def _signer(value: Any) -> str:
    domain = _domain(value)
    if any(is_within(domain, shared) for shared in SHARED_SIGNERS):
        raise ValueError("any customer of this provider can sign as it: expected a domain that only the platform uses")
    return domain


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text; put it in quotes")
    return value


def _date(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if type(value) is not date:
        raise ValueError("expected a date such as 2027-12-31")
    return value


def _actions(value: Any) -> dict[Verdict, Action]:
    verdicts = [v for v in Verdict if v not in (Verdict.VERIFIED, Verdict.UNCHECKED)]
    chosen = [a for a in Action if a is not Action.NONE]
    if not isinstance(value, dict):
        raise ValueError("expected lines such as `unverified: quarantine`")
    for verdict, action in value.items():
        if verdict == Verdict.VERIFIED:
            raise ValueError("verified mail is tagged, and that cannot be changed: expected another verdict")
        if verdict not in verdicts:
            raise ValueError(f"there is no verdict {shown(verdict)} here: expected one of {', '.join(verdicts)}")
        if action not in chosen:
            raise ValueError(f"{verdict}: found {shown(action)}: expected one of {', '.join(chosen)}")
    return {Verdict(verdict): Action(action) for verdict, action in value.items()}


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Domain = Annotated[str, BeforeValidator(_domain)]
Host = Annotated[str, BeforeValidator(_host)]
Network = Annotated[Any, BeforeValidator(_network)]
ListedAddress = Annotated[tuple[str, str], BeforeValidator(_address)]
Text = Annotated[str, BeforeValidator(_text)]
Actions = Annotated[dict[Verdict, Action], BeforeValidator(_actions)]
Count = Annotated[int, Field(strict=True, ge=1, le=1 << 30)]
Date = Annotated[date, BeforeValidator(_date)]
Servers = Annotated[tuple[tuple[str, int], ...], BeforeValidator(_servers)]
Listen = Annotated[tuple[str, int], BeforeValidator(_listen)]
OffOrKeys = BeforeValidator(_off_or_keys)
Signer = Annotated[str, BeforeValidator(_signer)]

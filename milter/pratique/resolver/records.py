"""Names and records between dnspython's form and ours."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import dns.exception
import dns.name
import dns.rdata

from pratique.model import DnsAnswer, DnsStatus


@functools.lru_cache(maxsize=512)
def absolute(name: str) -> dns.name.Name | None:
    """A name label by label, so that no backslash in it is an escape, and nothing is mapped to ASCII.

    None where it cannot be asked for: too long, an empty label, not ASCII.
    """
    try:
        return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    except (dns.exception.DNSException, UnicodeError):
        return None


def load_types() -> None:
    """Load what dnspython knows of each type of record, which it otherwise does when the first one is read."""
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]


def answer(records: Iterable[Any], rdtype: str) -> DnsAnswer:
    """The records of an answer, of which there may be none."""
    plain = tuple(_plain(record, rdtype) for record in records)
    return DnsAnswer(DnsStatus.ANSWER, plain) if plain else DnsAnswer(DnsStatus.NO_DATA)


def _plain(record: Any, rdtype: str) -> str | bytes | tuple[int, str]:
    match rdtype:
        case "TXT":
            return b"".join(record.strings)
        case "MX":
            return (record.preference, record.exchange.to_text(omit_final_dot=True))
        case "PTR":
            return str(record.target.to_text(omit_final_dot=True))
        case _:
            return str(record.address)

"""How the corpus is made: `cd tests && ../.venv/bin/python -m recipes` writes tests/corpus/ anew, always the same.

A recipe says in one line what it proves and where that is known from. Signatures are real: made with the keys of
tests/keys. Every case has its own selector, and its own sub-domain for SPF, so that one DNS server can serve them
all. This module has what the recipes are written with; the others hold them, one subject each:

    authors, imitations      what From shows its reader
    dkim_good, dkim_bad, dkim_keys, spf_good, spf_bad
                             evidence, and what is none
    relayed, arc             mail that came by another way, or once more; what forwarders seal
    outcomes                 requirements, networks, DNS that fails, actions, modes
    fields                   forged fields of ours, and what may be written on top
    mta                      octets that an MTA changes: also to be sent through a real one

second_opinions says where OpenDKIM and Mail::SPF see a case differently, and why.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from harness.corpus import Case
from harness.signing import Sign, key_record, sign

MODULES = (
    *("authors", "imitations", "dkim_good", "dkim_bad", "dkim_keys", "spf_good", "spf_bad", "relayed", "arc"),
    *("outcomes", "fields", "mta", "rules"),
)
CASES: list[Case] = []
Rows = list[tuple[Any, ...]]  # a table of cases that differ in a few things

TERNUM = "nepasrepondre@ternum-bfc.fr"
OPIC = "noreply.opic@visma.com"
EVIL = "x@evil.example"
SERVER = "192.0.2.5"  # sends for the platforms
STRANGER = "203.0.113.66"
ALLOWED = "v=spf1 ip4:192.0.2.0/28 -all"  # SERVER, and not STRANGER


def all_cases() -> list[Case]:
    """Every case there is a recipe for."""
    for module in MODULES:
        importlib.import_module(f"recipes.{module}")
    opinions = importlib.import_module("recipes.second_opinions").SECOND_OPINIONS
    for made in CASES:
        made.second_opinion = opinions.get(made.name, "")
    return CASES


# ---- messages ----------------------------------------------------------------------------------------


def octets(text: str) -> bytes:
    """UTF-8; octets that are none are written as lone surrogates (`\\udce9` is E9)."""
    return text.encode("utf-8", "surrogateescape")


def message(
    author: str | None = f"Ternum <{TERNUM}>", body: str = "Un nouvel avis est en ligne.\r\n", **fields: str
) -> bytes:
    """A plain notice; `fields` replace or add header fields (`_` for `-`); an empty value takes one out."""
    header = {"Received": " from app by mx", "From": author or "", "To": "marches@commune.example"}
    header |= {
        "Subject": "Avis de marche",
        "Date": "Sun, 22 Nov 2026 08:00:00 +0100",
        "Message-ID": "<1@ternum-bfc.fr>",
    }
    header |= {"MIME-Version": "1.0", "Content-Type": "text/plain; charset=utf-8"}
    header |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value.strip(' ')}\r\n" for name, value in header.items() if value]
    return octets("".join(lines) + "\r\n" + body)


def on_top(added: str, to: bytes) -> bytes:
    """A message with more header lines above it."""
    return octets(added) + b"\r\n" + to


def swap(data: bytes, old: str, new: str) -> bytes:
    """A message with one text in it replaced."""
    if data.count(octets(old)) != 1:
        raise ValueError(f"{old!r} is there {data.count(octets(old))} times")
    return data.replace(octets(old), octets(new))


# ---- zones and sessions ------------------------------------------------------------------------------


def txt(name: str, text: str) -> str:
    """A TXT record, cut into strings of 200 octets."""
    return strings(name, *(text[i : i + 200] for i in range(0, len(text), 200)))


def strings(name: str, *parts: str) -> str:
    """A TXT record of just these strings."""
    quoted = [part.replace("\\", "\\\\").replace('"', '\\"') for part in parts] or [""]
    return f"{name}. 300 IN TXT " + " ".join(f'"{part}"' for part in quoted) + "\n"


def address(name: str, host: str = SERVER) -> str:
    """An A or AAAA record."""
    return f"{name}. 300 IN {'AAAA' if ':' in host else 'A'} {host}\n"


def key(selector: str, name: str = "rsa2048", domain: str = "ternum-bfc.fr", **tags: str) -> str:
    """The key record of a selector."""
    return txt(f"{selector}._domainkey.{domain}", key_record(name, **tags))


def session(
    mail_from: str = "bounce@mailer.example", client: str = STRANGER, helo: str = "mail.mailer.example", **more: Any
) -> dict[str, Any]:
    """Who sends: by default a stranger, for a domain that has nothing to do with it."""
    return {"client": client, "helo": helo, "mail_from": mail_from, "rcpts": ["marches@commune.example"]} | more


# ---- what is expected ----------------------------------------------------------------------------------

COUNTS = {"counts": True, "result": "pass"}


def verified(by: str, sender: str = "ternum-bfc", **more: Any) -> dict[str, Any]:
    return {"verdict": "verified", "sender": sender, "by": by, "reason": None, "action": "tag"} | more


def unverified(reason: str, sender: str | None = "ternum-bfc", **more: Any) -> dict[str, Any]:
    return {"verdict": "unverified", "sender": sender, "by": None, "reason": reason, "action": "tag"} | more


def excluded(reason: str, result: str) -> dict[str, Any]:
    """Where the one signature does not count."""
    return unverified(reason, dkim=[{"counts": False, "aligned": True, "reason": reason, "result": result}])


def unaligned() -> dict[str, Any]:
    """Where the one signature is somebody else's, and not looked into."""
    seen = {"aligned": False, "counts": False, "reason": "unaligned", "result": "neutral"}
    return unverified("no-aligned-pass", dkim=[seen])


def ambiguous(reason: str, sender: str = "ternum-bfc") -> dict[str, Any]:
    """Where From has no single reading: nothing is looked up."""
    return unverified(reason, sender, claim={"kind": "ambiguous", "reason": reason}, dkim=[], dns="ok")


def unlisted(by: str = "dkim", sender: str = "visma-opic", **more: Any) -> dict[str, Any]:
    return {"verdict": "unlisted", "sender": sender, "by": by, "action": "tag"} | more


def imitation(sender: str = "ternum-bfc", **more: Any) -> dict[str, Any]:
    return {"verdict": "imitation", "sender": sender, "by": None, "action": "tag", "dns": "ok", "dkim": []} | more


def unclaimed(**more: Any) -> dict[str, Any]:
    return {"verdict": "unclaimed", "sender": None, "by": None, "reason": None, "dkim": [], "dns": "ok"} | more


# ---- cases -----------------------------------------------------------------------------------------------


def case(name: str, proves: str, source: str, data: bytes, zone: str, expected: dict[str, Any], **more: Any) -> None:
    more.setdefault("session", session())
    CASES.append(Case(name, proves, source, data, zone, expected=expected, **more))


def signed_case(
    name: str, proves: str, source: str, expected: dict[str, Any], *, data: bytes | None = None,
    zone: str | None = None, top: str = "", how: dict[str, Any] | None = None, record: dict[str, str] | None = None,
    **more: Any,
) -> None:  # fmt: skip
    """A case with one DKIM signature, whose selector is the case's name, and nothing from SPF."""
    signature = Sign(**{"selector": name} | (how or {}))
    signed = sign(message() if data is None else data, signature)
    if zone is None:
        zone = key(signature.selector, signature.key, signature.domain, **(record or {}))
    case(name, proves, source, on_top(top, signed) if top else signed, zone, expected, **more)


def spf_domain(name: str, author: str = "") -> str:
    """The sub-domain that is the case's own for SPF."""
    return f"{name}.{'visma.com' if 'visma' in author else 'ternum-bfc.fr'}"


def spf_case(
    name: str, proves: str, source: str, expected: dict[str, Any], *, record: str | Sequence[str] = ALLOWED,
    zone: str = "", client: str = SERVER, author: str = f"Ternum <{TERNUM}>", data: bytes | None = None, **more: Any,
) -> None:  # fmt: skip
    """A case that only SPF can prove, for a MAIL FROM of a sub-domain of its own."""
    domain = spf_domain(name, author)
    more.setdefault("session", session(f"bounce@{domain}", client, f"out.{domain}"))
    records = "".join(txt(domain, text) for text in ([record] if isinstance(record, str) else record) if text)
    case(name, proves, source, message(author) if data is None else data, records + zone, expected, **more)

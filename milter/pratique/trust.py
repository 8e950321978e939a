"""What a trusted list means: what proves an address, and what an edit of the list changes in trust.

Rules of this module: pure; entries in, words out. Each address is looked up in both lists as a message would be,
so that an address that a pattern still covers counts as trusted.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from .model import (
    Address,
    Alignment,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    IPNetwork,
    Require,
    SpfEvidence,
    SpfResult,
    TrustedList,
    Truth,
    is_within,
)
from .policy import requirement

MARKS = {"trusted": "+", "untrusted": "-", "weaker": "!", "different": "!", "stronger": "~", "moved": "~"}


class Group(StrEnum):
    """What a change is about."""

    TRUST = "trust"
    HELD = "held"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `kind` is a key of MARKS; `sender` the entry in the new list, else in the old, or empty."""

    kind: str
    address: str
    sender: str
    what: str  # require, alignment, signers, networks, expires, name (of no address), or empty: the address itself
    text: str
    group: Group = Group.TRUST

    def __str__(self) -> str:
        return f"{MARKS[self.kind]} {self.text}"


def proof(entry: Entry) -> str:
    """What must prove a message, in words."""
    listed = bool(entry.networks)
    return {
        Require.ANY: "DKIM, SPF or its networks" if listed else "DKIM or SPF",
        Require.ALL: "DKIM, SPF and its networks" if listed else "DKIM and SPF",
        Require.DKIM: "DKIM",
        Require.SPF: "SPF",
        Require.NETWORK: "its networks",
    }[entry.require]


def proof_in_full(entry: Entry) -> str:
    """What must prove a message, with who else may sign and which networks count."""
    text = proof(entry)
    if _counting(entry):
        text += f" {_names(entry.networks)}"
    others = frozenset(d for d in entry.signers if not is_within(d, entry.domain))
    if others and "DKIM" in text:
        text += f", also by a DKIM signature of {_names(others)} (not the platform's own domain)"
    return text


def changes(old: TrustedList, new: TrustedList) -> list[Change]:
    """What an edit of the list changes, address by address in the order of the lists."""
    # An entry that is the same in both lists changes nothing: of a long list only the edited entries are looked at.
    edited = (e for one, other in ((new, old), (old, new)) for e in one.entries if other.entry(e.id) != e)
    patterns = dict.fromkeys(pattern for entry in edited for pattern in entry.addresses)
    found = [change for pattern in patterns for change in _changes(Address(*pattern), old, new)]
    return found + [change for entry in new.entries for change in _of_names(old.entry(entry.id), entry)]


def _of_names(was: Entry | None, now: Entry) -> Iterator[Change]:
    """Names by which an imitation is known. A name makes no mail trusted."""
    if was is None:
        return
    before, after = ({name.casefold(): name for name in entry.names} for entry in (was, now))
    for kind, names, word in (
        ("stronger", [after[n] for n in after if n not in before], "now"),
        ("weaker", [before[n] for n in before if n not in after], "no longer"),
    ):
        for name in names:
            text = f'{kind}: mail from elsewhere that shows "{name}" is {word} an imitation (entry {now.id})'
            yield Change(kind, "", now.id, "name", text)


def _changes(address: Address, old: TrustedList, new: TrustedList) -> Iterator[Change]:
    was, now = old.for_address(address), new.for_address(address)
    shown = f"{address.local}@{address.domain}"
    if now is None:
        if was is not None:
            yield Change("untrusted", shown, was.id, "", f"no longer trusts {shown} (entry {was.id})")
        return
    if was is None:
        until = f" until {now.expires}" if now.expires else ""
        whom = f"every mailbox of {address.domain}" if not address.local.strip("*") else shown
        yield Change("trusted", shown, now.id, "", f"now trusts {whom} by {proof_in_full(now)}{until} (entry {now.id})")
        return
    for what, kind, before, after in _compared(address, was, now):
        text = f"{kind}: {shown} {before}, now {after}"
        yield Change(kind, shown, now.id, what, text)


def _compared(address: Address, was: Entry, now: Entry) -> Iterator[tuple[str, str, str, str]]:
    """(what, kind, before, after) of each difference between two entries that trust one address."""
    if was.id != now.id:
        yield "entry", "moved", f"was in entry {was.id}", f"in {now.id}"
    if met := _direction(_proving(was), _proving(now)):
        hosts = f" {_names(now.networks)}" if "networks" in proof(now) and "networks" not in proof(was) else ""
        yield "require", met, f"was by {proof(was)}", f"by {proof(now)}{hosts}"
    if scope := _scope_direction(address, was, now):
        before, after = _scope(address, was), _scope(address, now)
        yield "alignment", scope, f"was by SPF or DKIM of {_named(before)}", f"of {_named(after)}"
    if signed := _direction(was.signers, now.signers):
        added = frozenset(d for d in now.signers - was.signers if not is_within(d, now.domain))
        mark = f" ({_names(added)}: not the platform's own domain)" if added else ""
        yield "signers", signed, f"was also signed by {_names(was.signers)}", f"by {_names(now.signers)}{mark}"
    if sent := _network_direction(_counting(was), _counting(now)):
        yield "networks", sent, f"was from networks {_names(was.networks)}", _names(now.networks)
    if was.expires != now.expires:
        kind = "weaker" if (now.expires or date.max) > (was.expires or date.max) else "stronger"
        yield "expires", kind, f"was {_until(was)}", _until(now)


def _direction(was: frozenset[object], now: frozenset[object]) -> str:
    if was == now:
        return ""
    return "weaker" if was < now else "stronger" if now < was else "different"


def _proving(entry: Entry) -> frozenset[object]:
    """Which combinations of DKIM, SPF and network meet the entry's requirement: asked of policy.py itself."""
    every = itertools.product((False, True), repeat=3)
    return frozenset(found for found in every if requirement(entry, _evidence(*found)) is Truth.TRUE)


def _evidence(dkim: bool, spf: bool, network: bool) -> Evidence:
    return Evidence(
        (DkimEvidence(DkimResult.PASS, aligned=dkim, counts=dkim),),
        SpfEvidence(SpfResult.PASS, aligned=spf, counts=spf),
        network,
    )


def _scope(address: Address, entry: Entry) -> str | frozenset[str]:
    """The domains that count for an address: exactly these, or one and all below it."""
    if entry.evidence_domains:
        return entry.evidence_domains
    return frozenset({address.domain}) if entry.alignment is Alignment.STRICT else entry.domain


def _scope_direction(address: Address, was: Entry, now: Entry) -> str:
    before, after = _scope(address, was), _scope(address, now)
    if before == after:
        return ""
    if _covers(after, before):
        return "weaker"
    return "stronger" if _covers(before, after) else "different"


def _covers(wide: str | frozenset[str], narrow: str | frozenset[str]) -> bool:
    if isinstance(wide, str):
        return all(is_within(domain, wide) for domain in ([narrow] if isinstance(narrow, str) else narrow))
    return not isinstance(narrow, str) and narrow <= wide


def _until(entry: Entry) -> str:
    return f"until {entry.expires}" if entry.expires else "for ever"


def _counting(entry: Entry) -> tuple[IPNetwork, ...]:
    """The networks, where the requirement looks at them."""
    return entry.networks if "networks" in proof(entry) else ()


def _network_direction(was: tuple[IPNetwork, ...], now: tuple[IPNetwork, ...]) -> str:
    """An entry that had none, or has none now, differs in what it requires: that is told there."""
    if not was or not now:
        return ""
    wider, narrower = _within(was, now), _within(now, was)
    return "" if wider and narrower else "weaker" if wider else "stronger" if narrower else "different"


def _within(narrow: tuple[IPNetwork, ...], wide: tuple[IPNetwork, ...]) -> bool:
    four = list(ipaddress.collapse_addresses(n for n in wide if isinstance(n, ipaddress.IPv4Network)))
    six = list(ipaddress.collapse_addresses(n for n in wide if isinstance(n, ipaddress.IPv6Network)))
    return all(
        any(n.subnet_of(w) for w in four) if isinstance(n, ipaddress.IPv4Network) else any(n.subnet_of(w) for w in six)
        for n in narrow
    )


def _named(scope: str | frozenset[str]) -> str:
    return f"{scope} or below it" if isinstance(scope, str) else f"exactly {_names(scope)}"


def _names(items: frozenset[str] | tuple[IPNetwork, ...]) -> str:
    return ", ".join(sorted(map(str, items))) or "nobody"

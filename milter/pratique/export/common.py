"""What the targets share: an entry as proofs that another filter can ask for, and text that cannot break out.

Rules of this package: pure functions, a list in, text and warnings out. An export is never weaker than the list:
what a target cannot say is left out, and that is said. The one exception is a target that can say nothing at all
of proof, and it says so on top.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pratique.model import Alignment, Entry, Require, printable

# Local parts that mean the same in a glob, a regular expression, a quoted string and a bare word once their `.` and
# `+` are dealt with. The others are legal and hardly ever seen.
_PLAIN_LOCAL_PART = re.compile(r"[a-z0-9_*][a-z0-9_.+=~%&*-]*")


@dataclass(frozen=True, slots=True)
class Domains:
    """Domains that an authentication result may be for: `exact` ones, and all below `parent`, itself included."""

    exact: tuple[str, ...] = ()
    parent: str | None = None

    def __contains__(self, domain: str) -> bool:
        below = self.parent is not None and (domain == self.parent or domain.endswith("." + self.parent))
        return below or domain in self.exact


@dataclass(frozen=True, slots=True)
class Group:
    """Addresses of an entry that the same domains prove: the rule's (design#evidence-dkim, design#evidence-spf)."""

    addresses: tuple[tuple[str, str], ...]
    dkim: Domains
    spf: Domains


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes of one entry: lines of the target's syntax, and what the target cannot say."""

    lines: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


Writer = Callable[[Entry, tuple[Group, ...]], Part]


def groups(entry: Entry) -> tuple[Group, ...]:
    """The entry's addresses by what proves them: under strict alignment each domain is a group of its own."""
    found: tuple[Group, ...]
    addresses = tuple(a for a in entry.addresses if is_plain(a))
    signers = tuple(sorted(entry.signers))
    if entry.evidence_domains:
        exact = tuple(sorted(entry.evidence_domains))
        found = (Group(addresses, Domains((*exact, *signers)), Domains(exact)),)
    elif entry.alignment is Alignment.STRICT:
        domains = dict.fromkeys(domain for _, domain in addresses)
        found = tuple(
            Group(tuple(a for a in addresses if a[1] == d), Domains((d, *signers)), Domains((d,))) for d in domains
        )
    else:
        found = (Group(addresses, Domains(signers, entry.domain), Domains(parent=entry.domain)),)
    return tuple(group for group in found if group.addresses)


def is_plain(address: tuple[str, str]) -> bool:
    """Whether every target can write the address down without a second meaning."""
    return _PLAIN_LOCAL_PART.fullmatch(address[0]) is not None


def wanted(entry: Entry, dkim: str, spf: str, network: str) -> str:
    """The entry's requirement (policy.requirement) as an expression of `&` and `|`."""
    kinds = [dkim, spf, network] if entry.networks else [dkim, spf]
    match entry.require:
        case Require.ANY:
            return "(" + " | ".join(kinds) + ")"
        case Require.ALL:
            return " & ".join(kinds)
        case Require.DKIM | Require.SPF | Require.NETWORK:
            return {Require.DKIM: dkim, Require.SPF: spf, Require.NETWORK: network}[entry.require]


def without_network(entry: Entry) -> Iterator[str]:
    """The remark for a target that does not know the client, where the requirement can be met without."""
    if entry.networks and entry.require is Require.ANY:
        yield "its networks prove nothing here: DKIM or SPF must"


def address_pattern(address: tuple[str, str]) -> str:
    """A regular expression for an address, in the syntax that PCRE, Perl and .NET share; not anchored."""
    local, domain = address
    return "[^@]*".join(map(escaped, local.split("*"))) + "@" + escaped(domain)


def domain_pattern(domains: Domains) -> str:
    """The same for a domain."""
    names = [escaped(d) for d in domains.exact]
    if domains.parent:
        names.append(r"(?:[^@:/]+\.)?" + escaped(domains.parent))
    return names[0] if len(names) == 1 else "(?:" + "|".join(names) + ")"


def escaped(text: str) -> str:
    """Plain text for a regular expression."""
    return re.sub(r"([^a-z0-9_@=~%&-])", r"\\\1", text)


def comment(text: str) -> str:
    """A comment line. Nothing ends it early: what is not printable stands there as an escape."""
    return f"# {printable(text)}"

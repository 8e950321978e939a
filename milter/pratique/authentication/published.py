"""What a domain publishes besides SPF: its DKIM keys, and its DMARC policy (RFC 6376 §3.6.1, RFC 9989).

For people: the service never imports this. Keys are read by the code that verifies signatures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pratique.mailbox import is_host_name
from pratique.model import DkimEvidence, DkimResult, DnsStatus, Lookup, ascii_lower, printable
from pratique.reasons import Reason

from .dkim_check import SHORTEST_RSA_KEY, key_size
from .signature import SignatureError, parse_key

POLICIES = ("none", "quarantine", "reject")
_SHOWN = 40  # characters of a tag that is wrong
_LONGEST_WALK = 8  # names (RFC 9989 §4.10)
_DMARC = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_REPORT_ADDRESS = re.compile(r"mailto:[^\s@,]+@[^\s@,]+|https?://\S+", re.IGNORECASE)


def key(domain: str, selector: str, lookup: Lookup) -> DkimEvidence:
    """The key at a selector: `counts` where a signature made with it would, else the reason why not."""
    found = DkimEvidence(DkimResult.PERMERROR, domain, selector)
    name = f"{selector}._domainkey.{domain}"
    if not is_host_name(name):
        return DkimEvidence(DkimResult.PERMERROR, domain, selector, reason=Reason.SIGNATURE_SYNTAX)
    answer = lookup(name, "TXT")
    if answer.failed:
        return DkimEvidence(DkimResult.TEMPERROR, domain, selector, aligned=True, reason=Reason.DNS_TEMPERROR)
    records = tuple(record for record in answer.records if isinstance(record, bytes))
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        found = _read(records, domain, selector, algorithm)
        if found.reason is not Reason.KEY_WRONG_TYPE:
            break
    return found


def _read(records: tuple[bytes, ...], domain: str, selector: str, algorithm: str) -> DkimEvidence:
    key_type, _, hash_algorithm = algorithm.partition("-")
    try:
        record = parse_key(records, key_type, hash_algorithm)
        bits, _ = key_size(record)
    except SignatureError as problem:
        shown = None if problem.reason in (Reason.KEY_MISSING, Reason.KEY_SYNTAX) else algorithm
        return DkimEvidence(problem.result, domain, selector, shown, reason=problem.reason)
    if record.key_type == "rsa" and bits < SHORTEST_RSA_KEY:
        return DkimEvidence(DkimResult.POLICY, domain, selector, algorithm, bits, reason=Reason.KEY_TOO_SHORT)
    return DkimEvidence(DkimResult.PASS, domain, selector, algorithm, bits, aligned=True, counts=True)


@dataclass(frozen=True, slots=True)
class TxtAnswer:
    """How much stands at a name. `octets`: of the whole answer, 0 where it was not measured; `truncated`: too large for
    UDP, and `tcp` whether it came over TCP."""

    name: str
    records: int
    octets: int = 0
    truncated: bool = False
    tcp: bool = True


@dataclass(frozen=True, slots=True)
class DmarcPolicy:
    """What a domain asks of receivers for mail that fails DMARC (RFC 9989 §4.10.1).

    `domain` is the domain of From, `at` the domain whose record applies to it. `policy` is what the record says for it,
    None where nothing does; with `testing` (`t=y`) it is to be applied one level lower. `failed`: DNS gave no answer.
    `problem` says what is wrong with the record, `obsolete` which of its tags RFC 9989 has taken out.
    """

    domain: str
    policy: str | None = None
    at: str = ""
    testing: bool = False
    failed: bool = False
    problem: str = ""
    obsolete: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """The policy that receivers are asked to apply; empty where there is none."""
        if not self.policy:
            return ""
        return POLICIES[max(POLICIES.index(self.policy) - self.testing, 0)]


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands at one name of the tree walk: the tags of its record, or None."""

    tags: Mapping[str, str] | None = None
    failed: bool = False
    problem: str = ""

    @property
    def suffix(self) -> str:
        """`psd=`: y, n, or u where nothing is said."""
        return ascii_lower((self.tags or {}).get("psd", "u"))


def dmarc(domain: str, lookup: Lookup) -> DmarcPolicy:
    """The policy for mail whose From domain this is: its own, or that of its organisational domain, or that of the
    public suffix (RFC 9989 §4.10.1). Found by a walk up the tree: no list of public suffixes has a say."""
    found: dict[str, _Found] = {}
    for name in walk(domain):
        here = found[name] = _dmarc_at(name, lookup)
        if here.tags is not None and (name == domain or here.suffix in ("y", "n")):
            break
        if here.failed and name == domain:
            return DmarcPolicy(domain, failed=True)
    records = {name: here.tags for name, here in found.items() if here.tags is not None}
    if not records:
        problems = [here.problem for here in found.values() if here.problem]
        problems += [f"DNS did not answer for _dmarc.{name}" for name, here in found.items() if here.failed]
        return DmarcPolicy(domain, problem="".join(problems[:1]))
    at = _policy_domain(domain, found, records)
    return _policy(domain, at, records[at], lookup)


def walk(domain: str) -> list[str]:
    """The names of a DNS Tree Walk, the domain first, at most eight (RFC 9989 §4.10)."""
    labels = domain.split(".")
    above = labels[1:] if len(labels) < _LONGEST_WALK else labels[1 - _LONGEST_WALK :]
    return [domain, *(".".join(above[start:]) for start in range(len(above)))]


def _policy_domain(domain: str, found: Mapping[str, _Found], records: Mapping[str, object]) -> str:
    """The domain whose record applies (RFC 9989 §4.10.1, §4.10.2)."""
    if domain in records:
        return domain
    for name in records:  # from the longest to the shortest
        if found[name].suffix == "n":
            return name
        if found[name].suffix == "y":
            one_below = ".".join(domain.split(".")[-name.count(".") - 2 :])
            return one_below if one_below in records else name
    return min(records, key=lambda name: name.count("."))


def _policy(domain: str, at: str, tags: Mapping[str, str], lookup: Lookup) -> DmarcPolicy:
    """What the record of `at` says for a domain."""
    obsolete = tuple(tag for tag in ("pct", "rf", "ri") if tag in tags)
    testing = ascii_lower(tags.get("t", "n")) == "y"
    given = {tag: ascii_lower(tags[tag]) for tag in ("p", "sp", "np") if tag in tags}
    wrong = next((f"{tag}={value}" for tag, value in given.items() if value not in POLICIES), "")
    if wrong or "p" not in given:
        problem = (
            f"the record has {printable(wrong[:_SHOWN])}, which is no policy"
            if wrong
            else "the record names no policy (p=)"
        )
        if any(_REPORT_ADDRESS.fullmatch(uri.strip()) for uri in tags.get("rua", "").split(",")):
            return DmarcPolicy(
                domain, "none", at, testing, problem=f"{problem} and counts as p=none", obsolete=obsolete
            )
        return DmarcPolicy(domain, None, at, problem=f"{problem}: receivers ignore it", obsolete=obsolete)
    order = ["p"]
    if at != domain:
        missing = lookup(domain, "A").status is DnsStatus.NO_NAME
        order = ["np", "sp", "p"] if missing else ["sp", "p"]
    return DmarcPolicy(domain, next(given[tag] for tag in order if tag in given), at, testing, obsolete=obsolete)


def _dmarc_at(name: str, lookup: Lookup) -> _Found:
    answer = lookup(f"_dmarc.{name}", "TXT")
    if answer.failed:
        return _Found(failed=True)
    records = [r for r in answer.records if isinstance(r, bytes) and _DMARC.match(r)]
    if len(records) > 1:
        return _Found(problem=f"{name} has several records, so that none of them holds")
    return _Found(_tags(records[0])) if records else _Found()


def _tags(record: bytes) -> dict[str, str]:
    """The tags after `v=`. What cannot be read is passed over, and an unknown tag ignored (RFC 9989 §4.8)."""
    tags: dict[str, str] = {}
    for spec in record.decode("ascii", "replace").split(";")[1:]:
        name, equals, value = spec.partition("=")
        if equals and name.strip(" \t") not in tags:
            tags[name.strip(" \t")] = value.strip(" \t")
    return tags

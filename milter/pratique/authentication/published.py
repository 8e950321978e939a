"""What a domain publishes besides SPF: its DKIM keys, and its DMARC policy (RFC 6376 §3.6.1, RFC 7489 §6).

For people: the service never imports this. Keys are read by the code that verifies signatures.
"""

from __future__ import annotations

from dataclasses import dataclass

from publicsuffixlist import PublicSuffixList

from pratique.mailbox import is_host_name
from pratique.model import DkimEvidence, DkimResult, Lookup, ascii_lower
from pratique.reasons import Reason

from .dkim_check import SHORTEST_RSA_KEY, key_size
from .signature import SignatureError, parse_key, parse_tags

POLICIES = ("none", "quarantine", "reject")


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
class DmarcPolicy:
    """What the domain asks receivers to do with mail that fails. `domain` is where the record was found; `policy`
    is None where there is none; `failed` where DNS gave no answer; `problem` says what is wrong with the record."""

    domain: str
    policy: str | None = None
    percent: int = 100
    failed: bool = False
    problem: str = ""


_SUFFIXES = PublicSuffixList()


def organisational_domain(domain: str) -> str:
    """One label below the public suffix (RFC 7489 §3.2); the domain itself where it is a suffix."""
    return _SUFFIXES.privatesuffix(domain) or domain


def dmarc(domain: str, lookup: Lookup) -> DmarcPolicy:
    """The policy for mail whose From domain this is: its own, else that of the organisational domain."""
    found = _dmarc_at(domain, "p", lookup)
    above = organisational_domain(domain)
    if found.policy is None and not found.problem and not found.failed and above != domain:
        return _dmarc_at(above, "sp", lookup)
    return found


def _dmarc_at(domain: str, tag: str, lookup: Lookup) -> DmarcPolicy:
    answer = lookup(f"_dmarc.{domain}", "TXT")
    if answer.failed:
        return DmarcPolicy(domain, failed=True)
    records = [r for r in answer.records if isinstance(r, bytes) and r.replace(b" ", b"").startswith(b"v=DMARC1")]
    if len(records) != 1:
        return DmarcPolicy(domain, problem="there are several records, so that none holds" if records else "")
    try:
        tags = parse_tags(records[0].decode("ascii"))
    except ValueError:
        return DmarcPolicy(domain, problem="the record cannot be read")
    policy = ascii_lower(tags.get(tag) or tags.get("p", ""))
    percent = tags.get("pct", "100")
    if policy not in POLICIES:
        return DmarcPolicy(domain, problem="the record names no policy (p=)")
    return DmarcPolicy(domain, policy, int(percent) if percent.isdigit() and int(percent) <= 100 else 100)

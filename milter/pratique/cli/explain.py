"""`pratique explain`: the verdict for stored messages, in words or as JSON, by exactly the service's code."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from pratique import stored
from pratique.examine import Examination
from pratique.headers import HeaderCollector
from pratique.model import (
    ArcResult,
    ClaimKind,
    Decision,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    IPAddress,
    Require,
    Session,
    Settings,
    SpfEvidence,
    Verdict,
)
from pratique.reasons import Reason
from pratique.resolver import Resolver
from pratique.rights import refusal

from .common import EX_DATAERR, config_option, load_settings, open_resolver, safe, zone_option


def _ip_address(_context: click.Context, _parameter: click.Parameter, value: str) -> IPAddress:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address") from None


@click.command("explain")
@config_option
@click.option("--client", required=True, metavar="IP", callback=_ip_address, help="address of the SMTP client")
@click.option("--helo", default="", metavar="NAME", help="its HELO name")
@click.option("--mail-from", required=True, metavar="ADDR", help='MAIL FROM; "" or <> is the null reverse-path')
@click.option("--rcpt", multiple=True, metavar="ADDR", help="RCPT TO")
@zone_option
@click.option("--json", "as_json", is_flag=True, help="one JSON object a message")
@click.argument("messages", nargs=-1, required=True, metavar="MESSAGE…")
def command(
    config: Path, client: IPAddress, helo: str, mail_from: str, rcpt: tuple[str, ...], zone: Path | None,
    as_json: bool, messages: tuple[str, ...],
) -> None:  # fmt: skip
    """The verdict for stored messages, and why, by exactly the service's code. `-` is standard input."""
    settings = load_settings(config)
    session = Session(client, helo, mail_from, rcpt, len(rcpt), hostname=socket.gethostname())
    resolver = open_resolver(settings, zone)
    failed = False
    for name in messages:
        try:
            with _opened(name) as source:
                decision = judge(source, session, settings, resolver)
        except (OSError, stored.MessageError) as problem:
            failed = True
            text = refusal(problem, name) if isinstance(problem, OSError) else str(problem)
            click.echo(f"pratique: {name}: cannot read a message: {text}", err=True)
            continue
        if as_json:
            click.echo(json.dumps(as_object(name, decision), ensure_ascii=False))
        else:
            click.echo("\n".join(in_words(name, decision, settings)))
    if failed:
        raise click.exceptions.Exit(EX_DATAERR)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with open(name, "rb") as source:
            yield source


def judge(source: BinaryIO, session: Session, settings: Settings, resolver: Resolver) -> Decision:
    """The decision on a stored message. Raises MessageError where it holds none, and OSError."""
    fields, beginning = stored.read_header(source)
    collector = HeaderCollector(settings)
    for name, value in fields:
        collector.add(name, value)
    examination = Examination(session, collector.header(), settings, datetime.now(UTC))
    if examination.wants_body:
        for piece in stored.read_body(source, beginning):
            examination.body(piece)
    return examination.decide(resolver)


# ---- for programs ----------------------------------------------------------------------------------


def as_object(name: str, decision: Decision) -> dict[str, Any]:
    """The object of `explain --json` (README, "explain --json")."""
    claim, evidence, origin = decision.claim, decision.evidence, decision.origin
    return {
        "file": name,
        "verdict": decision.verdict,
        "sender": decision.sender,
        "by": "+".join(decision.by) or None,
        "reason": decision.reason,
        "action": decision.action,
        "claim": {
            "kind": claim.kind,
            "address": str(claim.address) if claim.address else None,
            "reason": claim.reason,
        },
        "client": str(origin.client) if origin.client else None,
        "relay": str(origin.relay) if origin.relay else None,
        "network": evidence.network,
        "spf": _attributes(evidence.spf, "result domain identity aligned counts mechanism reason"),
        "dkim": [
            _attributes(signature, "result domain selector algorithm bits aligned counts reason")
            for signature in evidence.dkim
        ],
        "arc": _attributes(evidence.arc, "result sealers counts reason"),
        "dns": evidence.dns,
        "edits": [_attributes(edit, "op name index value") for edit in decision.edits],
    }


def _attributes(value: Any, names: str) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in names.split()}
    return {name: list(held) if isinstance(held, tuple) else held for name, held in found.items()}


# ---- for people ------------------------------------------------------------------------------------


def in_words(name: str, decision: Decision, settings: Settings) -> Iterator[str]:
    """What a message claims, what proves it, what is missing, and what is done: line by line."""
    entry, origin = settings.senders.entry(decision.sender), decision.origin
    proven = f", by {'+'.join(decision.by)}" if decision.by else ""
    yield safe(name)
    yield _line("verdict", f"{decision.verdict}{proven}{_because(decision.reason)}")
    if decision.verdict is Verdict.UNCHECKED:
        yield _line("claim", "not looked at: a client of ours, or judged by a trusted host already")
    else:
        yield _line("claim", _claim(decision, entry))
    if origin.relay:
        behind = (
            f"the client behind it is {origin.client}" if origin.client else f"unknown client{_because(origin.reason)}"
        )
        yield _line("relay", f"{origin.relay}: {behind}")
    if decision.claim.needs_evidence and entry:
        yield from _evidence(decision.evidence, entry)
        if decision.verdict is not Verdict.VERIFIED:
            yield _line("missing", _missing(decision, entry))
    yield _line("action", decision.action)
    for edit in decision.edits:
        what = f"delete {edit.name} number {edit.index}" if edit.op == "delete" else f"{edit.op} {edit.name}:"
        yield _line("edit", f"{what} {safe(edit.value or '')}".rstrip())


def _line(label: str, text: str) -> str:
    return f"  {label:<8} {text}"


def _because(reason: Reason | None) -> str:
    return f": {reason} ({reason.meaning})" if reason else ""


def _claim(decision: Decision, entry: Entry | None) -> str:
    claim = decision.claim
    address = safe(str(claim.address)) if claim.address else "From"
    whose = f"{entry.id} ({entry.name})" if entry else ""
    match claim.kind:
        case ClaimKind.LISTED:
            return f"{address}, listed for {whose}"
        case ClaimKind.DOMAIN:
            dressed_up = f": {claim.reason}" if claim.reason else ""
            return f"{address}, not listed, of the domain of {whose}{dressed_up}"
        case ClaimKind.AMBIGUOUS:
            if entry is None:
                return f"From could name a trusted sender: {claim.reason}"
            return f"From names {whose} and has no single reading: {claim.reason}"
        case ClaimKind.IMITATION:
            return f"{address}, made to look like {whose}: {claim.reason}, {claim.detail}"
        case ClaimKind.NONE:
            return f"{address} claims no trusted sender"


def _evidence(evidence: Evidence, entry: Entry) -> Iterator[str]:
    for signature in evidence.dkim:
        yield _line("dkim", _dkim(signature))
    if not evidence.dkim:
        yield _line("dkim", f"{DkimResult.NONE}: the message is not signed")
    yield _line("spf", _spf(evidence.spf))
    if entry.networks:
        yield _line("network", "the client is in the entry's networks" if evidence.network else "no: another client")
    if evidence.arc.result is not ArcResult.NONE:
        sealed = f" sealed by {', '.join(evidence.arc.sealers)}" if evidence.arc.sealers else ""
        yield _line("arc", f"{evidence.arc.result}{sealed}: {_counts(evidence.arc.counts, evidence.arc.reason)}")
    if evidence.dns != "ok":
        yield _line("dns", evidence.dns)


def _counts(counts: bool, reason: Reason | None) -> str:
    return f"{'counts' if counts else 'does not count'}{_because(reason)}"


def _dkim(signature: DkimEvidence) -> str:
    known = [f"d={signature.domain}", f"s={signature.selector}", signature.algorithm, f"{signature.bits} bits"]
    told = [signature.domain, signature.selector, signature.algorithm, signature.bits]
    shown = " ".join(str(text) for text, value in zip(known, told, strict=True) if value)
    return f"{signature.result} {shown}: {_counts(signature.counts, signature.reason)}".replace("  ", " ")


def _spf(spf: SpfEvidence) -> str:
    identity = {"helo": "HELO", "mailfrom": "MAIL FROM"}.get(spf.identity or "", "")
    asked = f" for {identity} {spf.domain}" if spf.domain else ""
    matched = f", by `{safe(spf.mechanism)}` in the record of {spf.record}" if spf.mechanism else ""
    result = spf.result if spf.evaluated else "not evaluated"
    return f"{result}{asked}{matched}: {_counts(spf.counts, spf.reason)}"


def _missing(decision: Decision, entry: Entry) -> str:
    if decision.reason is Reason.ENTRY_EXPIRED:
        return f"an entry that has not expired (it did on {entry.expires})"
    if decision.verdict is Verdict.UNLISTED:
        return f"the address in the entry's list: {', '.join('@'.join(a) for a in entry.addresses)}"
    domains = " or ".join(sorted(entry.evidence_domains)) or (
        _from_domain(decision, entry) if entry.alignment == "strict" else f"{entry.domain} or below it"
    )
    dkim = f"a DKIM signature by {domains}" + (f" (or {', '.join(sorted(entry.signers))})" if entry.signers else "")
    spf = f"an SPF pass for a MAIL FROM of {domains}"
    network = "a client in the entry's networks"
    wanted = {
        Require.DKIM: [dkim],
        Require.SPF: [spf],
        Require.NETWORK: [network],
        Require.ANY: [dkim, spf] + [network] * bool(entry.networks),
        Require.ALL: [dkim, spf] + [network] * bool(entry.networks),
    }[entry.require]
    missing = (", and " if entry.require is Require.ALL else ", or ").join(wanted) + " that counts"
    return f"{missing}; DNS did not answer for one that could" if decision.reason is Reason.DNS_TEMPERROR else missing


def _from_domain(decision: Decision, entry: Entry) -> str:
    return decision.claim.address.domain if decision.claim.address else entry.domain

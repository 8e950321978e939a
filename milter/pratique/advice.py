"""What a trust in an entry rests on, in plain words, and what to change: from DNS, the list and the log.

Rules of this module: pure; for people, never imported by the service. It advises nothing that the evidence does
not carry.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum

from . import policy
from .authentication.published import DmarcPolicy, TxtAnswer
from .authentication.spf_survey import MOST_LOOKUPS, SpfSurvey
from .expiry import expiring, expiry_text
from .logbook import Seen
from .model import DkimEvidence, DkimResult, Entry, Evidence, Require, SpfEvidence, SpfResult, Truth
from .reasons import Reason

ENOUGH_MESSAGES, ENOUGH_DAYS, RECENT_DAYS = 20, 14, 31  # what a log must hold to carry a stricter requirement
MOST_OCTETS, MOST_RECORDS = 16_384, 256  # of an answer: what the service reads (resolver)
STRONG_RSA_KEY = 2048  # bits, RFC 8301 §3.2: SHOULD
WIDE_IPV4, WIDE_IPV6 = 16, 32  # prefix lengths: as for an entry's own `networks`

# Whoever is a customer of these sends from their hosts: what they include in common lets all customers pass.
SHARED_SENDERS = {
    "_mailcust.gandi.net": "Gandi",
    "_spf.google.com": "Google Workspace",
    "_spf.salesforce.com": "Salesforce",
    "_spf.sparkpostmail.com": "SparkPost",
    "amazonses.com": "Amazon SES",
    "eu.mailgun.org": "Mailgun",
    "mail.zendesk.com": "Zendesk",
    "mailgun.org": "Mailgun",
    "mx.ovh.com": "OVH",
    "sendgrid.net": "SendGrid",
    "servers.mcsv.net": "Mailchimp",
    "spf.brevo.com": "Brevo",
    "spf.infomaniak.ch": "Infomaniak",
    "spf.mailjet.com": "Mailjet",
    "spf.mandrillapp.com": "Mandrill",
    "spf.mtasv.net": "Postmark",
    "spf.protection.outlook.com": "Microsoft 365",
    "spf.sendinblue.com": "Brevo",
    "spf.smtp2go.com": "SMTP2GO",
}


class Level(IntEnum):
    """How much a finding matters; an entry is as bad as the worst of its findings."""

    OK = 0
    WARNING = 1  # worth a look
    UNANSWERED = 2  # DNS did not answer
    BROKEN = 3  # mail of the entry cannot be verified today

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, what it is about (`dns`, `spf`, `dkim`, `dmarc`, `list`, `log`), and what to change, if anything."""

    level: Level
    about: str
    text: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of an entry; `seen` is None where no log was read. `missing` are domains of the entry that do
    not exist, `answers` what stands at the names that its proof depends on."""

    entry: Entry
    spf: tuple[SpfSurvey, ...] = ()
    keys: tuple[DkimEvidence, ...] = ()
    dmarc: tuple[DmarcPolicy, ...] = ()
    seen: Seen | None = None
    missing: tuple[str, ...] = ()
    answers: tuple[TxtAnswer, ...] = ()

    @property
    def gone(self) -> tuple[str, ...]:
        """The missing ones without which no mail of the entry can be genuine."""
        needed = {self.entry.domain, *(domain for _, domain in self.entry.addresses)}
        return tuple(domain for domain in self.missing if domain in needed)


@dataclass(frozen=True, slots=True)
class Advice:
    """The verdict on an entry in a sentence, the findings behind it, and a safe stricter `require`, if there is one."""

    level: Level
    verdict: str
    findings: tuple[Finding, ...]
    recommended: Require | None = None


def advise(facts: Facts, today: date) -> Advice:
    findings = [
        *_of_expiry(facts.entry, today),
        *_of_missing(facts),
        *(finding for s in facts.spf if s.domain not in facts.missing for finding in _of_spf(s, facts, today)),
        *_of_dkim(facts),
        *_of_dmarc(facts),
        *_of_answers(facts),
        *_of_log(facts, today),
    ]
    level, verdict = _verdict(facts, findings, today)
    return Advice(
        max([level, *(f.level for f in findings)]),
        verdict,
        tuple(findings),
        Require.DKIM if _dkim_is_safe(facts, today)[0] else None,
    )


# ---- can mail be verified today? ---------------------------------------------------------------------


def provable(facts: Facts) -> Truth:
    """Whether mail of the entry can be verified as DNS stands: the service's own rule, on what could pass."""
    keys = facts.keys or (DkimEvidence(DkimResult.TEMPERROR, aligned=True),)  # selectors nobody told us of
    spf = SpfEvidence()
    if any(survey.lets_someone_pass for survey in facts.spf):
        spf = SpfEvidence(SpfResult.PASS, aligned=True, counts=True)
    elif any(survey.result is SpfResult.TEMPERROR for survey in facts.spf):
        spf = SpfEvidence(SpfResult.TEMPERROR, aligned=True)
    return policy.requirement(facts.entry, Evidence(keys, spf, network=bool(facts.entry.networks)))


def _verdict(facts: Facts, findings: list[Finding], today: date) -> tuple[Level, str]:
    entry = facts.entry
    if entry.expired(today):
        return Level.BROKEN, "its mail is not verified: the entry has expired"
    if facts.gone:
        return Level.BROKEN, f"{_not_there(facts.gone[0])}"
    possible = provable(facts)
    if possible is Truth.FALSE:
        return Level.BROKEN, f"its mail cannot be verified today: nothing in DNS meets `require: {entry.require}`"
    if possible is Truth.UNKNOWN:
        if any(f.level is Level.UNANSWERED for f in findings):
            return Level.UNANSWERED, "cannot be told: DNS did not answer; ask again"
        return Level.WARNING, (
            f"cannot be told: `require: {entry.require}` rests on DKIM keys that nobody has named; "
            "add the platform's `selectors` to the entry, or read the log with --log"
        )
    ways = ["SPF"] * any(s.lets_someone_pass for s in facts.spf) + ["DKIM"] * any(key.counts for key in facts.keys)
    ways += ["its networks"] * bool(entry.networks)
    asked = {Require.DKIM: ["DKIM"], Require.SPF: ["SPF"], Require.NETWORK: ["its networks"]}.get(entry.require, ways)
    joined = (" and " if entry.require is Require.ALL else " or ").join(asked)
    return Level.OK, f"its mail can be verified, by {joined}"


def _of_expiry(entry: Entry, today: date) -> Iterator[Finding]:
    if expiring([entry], today):
        level = Level.BROKEN if entry.expired(today) else Level.WARNING
        yield Finding(
            level, "list", expiry_text(entry, today), "ask the owner, and set a later `expires` or take it out"
        )


# ---- names ---------------------------------------------------------------------------------------------


def _not_there(domain: str) -> str:
    return f"{domain} does not exist: a typing error, or given up: remove the entry, or correct it"


def _of_missing(facts: Facts) -> Iterator[Finding]:
    for domain in facts.missing:
        if domain in facts.gone:
            text = f"{domain} does not exist (NXDOMAIN): who registers it could send mail that is verified"
            yield Finding(Level.BROKEN, "dns", text, "remove the entry, or correct the domain")
        else:
            text = f"{domain} does not exist (NXDOMAIN), so that it proves nothing"
            yield Finding(Level.WARNING, "dns", text, "take it out of the entry, or correct it")


def _of_answers(facts: Facts) -> Iterator[Finding]:
    """How large the answers are: what UDP does not carry must come over TCP, and what is too large is not read."""
    small = []
    for answer in facts.answers:
        size = f"{answer.records} TXT record{'s' * (answer.records != 1)}, {answer.octets:,} bytes"
        if answer.truncated and not answer.tcp:
            text = f"{answer.name}: the answer is too large for UDP, and does not come over TCP: it cannot be read"
            yield Finding(Level.WARNING, "dns", text, "let TCP port 53 through from here to the name server")
        elif answer.octets > MOST_OCTETS or answer.records > MOST_RECORDS:
            text = f"{answer.name}: {size}: more than the service reads"
            change = "tell the platform's postmaster: too many records at one name make genuine mail fail"
            yield Finding(Level.WARNING, "dns", text, change)
        elif answer.truncated:
            text = f"{answer.name}: {size}: too large for UDP; mail fails at receivers that TCP does not reach"
            yield Finding(Level.OK, "dns", text)
        elif answer.octets:
            small.append(f"{answer.name}: {size}")
    if small:
        yield Finding(Level.OK, "dns", "; ".join(small))


# ---- SPF -----------------------------------------------------------------------------------------------


def _of_spf(survey: SpfSurvey, facts: Facts, today: date) -> Iterator[Finding]:
    needed = facts.entry.require in (Require.ANY, Require.SPF, Require.ALL)
    matters = Level.WARNING if needed else Level.OK
    domain = survey.domain
    ask = "tell the platform's postmaster; until it is mended only DKIM can prove this mail"
    match survey.result:
        case SpfResult.NONE:
            other = any(s.lets_someone_pass for s in facts.spf)
            yield Finding(
                Level.OK if other else matters, "spf", f"{domain} has no SPF record",
                "" if other else "look at the Return-Path of a genuine message: SPF is asked of its domain",
            )  # fmt: skip
        case SpfResult.TEMPERROR:
            yield Finding(Level.UNANSWERED, "spf", f"{domain}: DNS did not answer ({survey.problem})", "ask again")
        case SpfResult.PERMERROR:
            over = len(survey.lookups) > MOST_LOOKUPS
            cost = f"; look-ups: {', '.join(survey.lookups)}" if over else ""
            void = f"; names that do not exist: {', '.join(survey.voids)}" if "oid lookup" in survey.problem else ""
            text = f"{domain}: the record is invalid, so that SPF never passes: {survey.problem}{cost}{void}"
            yield Finding(matters, "spf", text, ask)
        case _:
            yield Finding(Level.OK, "spf", f"{domain}: {spf_summary(survey)}")
            careless = Level.WARNING if facts.entry.require in (Require.ANY, Require.SPF) else Level.OK
            for text in _careless(survey):
                yield Finding(careless, "spf", text, _instead_of_spf(facts, today) if careless else "")
            if survey.refused:
                text = f"{domain}: the record seems to let hosts send, but the service finds {survey.refused}"
                yield Finding(matters, "spf", text, ask)
            elif not survey.lets_someone_pass:
                yield Finding(matters, "spf", f"{domain}: the record lets nobody send in a way that counts", ask)


def spf_summary(survey: SpfSurvey) -> str:
    """Whom a record lets send, in a line."""
    four = sum(n.num_addresses for n in survey.networks if isinstance(n, ipaddress.IPv4Network))
    six = sum(isinstance(n, ipaddress.IPv6Network) for n in survey.networks)
    who = f"{four:,} IPv4 address{'es' * (four != 1)} and {six} IPv6 range{'s' * (six != 1)} may send"
    dynamic = f", and whom {', '.join(survey.dynamic)} lets" if survey.dynamic else ""
    ending = {"-all": "others fail", "~all": "others softfail", "?all": "others are neutral", "+all": "all others too"}
    others = ending.get(survey.ending, "nothing is said of others")
    return f"valid, {len(survey.lookups)} of {MOST_LOOKUPS} look-ups; {who}{dynamic}; {others}"


def _careless(survey: SpfSurvey) -> Iterator[str]:
    """What in a record lets strangers pass, or nearly so."""
    domain = survey.domain
    for record in dict.fromkeys(survey.open_records):
        yield f"{domain}: `+all` in the record of {record} lets everybody send (a pass by it does not count here)"
    for counts, how in ((True, "would pass, and count"), (False, "would pass, though it would not count here")):
        passing = [f"{client} by `{found.mechanism}`" for client, found in survey.strangers if found.counts is counts]
        if passing:
            yield f"{domain}: an unrelated address {how}: {', '.join(passing)}"
    shared = {record.domain: SHARED_SENDERS.get(record.domain) for record in survey.records if record.passes}
    for name, provider in shared.items():
        if provider:
            yield (
                f"{domain}: {name} is shared: any customer of {provider} that sends with a MAIL FROM of {domain} "
                f"passes SPF, unless {provider} prevents it"
            )
    for record, network in survey.widest:
        narrow = network.prefixlen >= (WIDE_IPV4 if isinstance(network, ipaddress.IPv4Network) else WIDE_IPV6)
        if not narrow and not shared.get(record):
            yield f"{domain}: the record of {record} lets all of {network} send ({network.num_addresses:,} addresses)"


def _instead_of_spf(facts: Facts, today: date) -> str:
    if _dkim_is_safe(facts, today)[0]:
        return "write `require: dkim`: it is safe (see below)"
    if facts.seen and facts.seen.verified > facts.seen.signed:
        return "not all its mail is signed, so that `require: dkim` would lose some: ask the platform to sign all"
    return "`require: dkim` would close this, if all its mail is signed: `pratique doctor --log` tells"


# ---- DKIM, DMARC ---------------------------------------------------------------------------------------


def _of_dkim(facts: Facts) -> Iterator[Finding]:
    entry, usable = facts.entry, any(key.counts for key in facts.keys)
    needed = entry.require in (Require.ANY, Require.DKIM, Require.ALL)
    if not facts.keys:
        text = "no selector is known, so that no key can be looked up"
        yield Finding(
            Level.OK, "dkim", text, "name the platform's `selectors` in the entry, or read the log with --log"
        )
    for key in facts.keys:
        name = f"{key.selector} of {key.domain}"
        kind = f"{(key.algorithm or '').partition('-')[0]}, {key.bits} bits"
        if key.result is DkimResult.TEMPERROR:
            yield Finding(Level.UNANSWERED, "dkim", f"{name}: DNS did not answer", "ask again")
        elif not key.counts:
            listed = key.selector in entry.selectors
            level = Level.WARNING if needed and (listed or not usable) else Level.OK
            text = f"{name}: {key.reason} ({key.reason.meaning if key.reason else ''})"
            yield Finding(level, "dkim", text, _mend_key(key, listed))
        elif key.algorithm == "rsa-sha256" and (key.bits or 0) < STRONG_RSA_KEY:
            level = Level.WARNING if needed else Level.OK
            change = f"ask the platform for a key of {STRONG_RSA_KEY} bits"
            yield Finding(level, "dkim", f"{name}: {kind}: weak, though it counts", change)
        else:
            yield Finding(Level.OK, "dkim", f"{name}: {kind}")


def _mend_key(key: DkimEvidence, listed: bool) -> str:
    if key.reason is Reason.KEY_TEST_MODE:
        return "tell the platform's postmaster: a DKIM key in test mode (t=y in the key record) proves nothing"
    if key.reason in (Reason.KEY_MISSING, Reason.KEY_REVOKED) and listed:
        return "take the selector out of the entry if the platform signs with another one; else tell its postmaster"
    return "" if key.reason in (Reason.KEY_MISSING, Reason.KEY_REVOKED) else "tell the platform's postmaster"


def _of_dmarc(facts: Facts) -> Iterator[Finding]:
    for found in facts.dmarc:
        where = found.domain if found.at in ("", found.domain) else f"{found.domain} (record of {found.at})"
        old = ", ".join(f"{tag}=" for tag in found.obsolete)
        ignored = f"; {old} is ignored: DMARC has it no more (RFC 9989)" if old else ""
        test = f" (p={found.policy} in DMARC's test mode, t=y)" if found.testing and found.policy != "none" else ""
        if found.failed:
            yield Finding(Level.UNANSWERED, "dmarc", f"{found.domain}: DNS did not answer", "ask again")
        elif found.asked in ("quarantine", "reject"):
            text = f"{where}: forged mail is to be met with {found.asked}{test}{ignored}"
            yield Finding(Level.OK, "dmarc", text)
        else:
            why = found.problem or (f"p=none{test}" if found.policy else "no record")
            text = f"{where}: {why}: other receivers are not asked to stop forgeries; nothing changes here{ignored}"
            yield Finding(Level.OK, "dmarc", text)


# ---- the log -------------------------------------------------------------------------------------------


def _of_log(facts: Facts, today: date) -> Iterator[Finding]:
    seen, entry = facts.seen, facts.entry
    if seen is None:
        return
    if not (seen.verified or seen.unverified or seen.undetermined):
        yield Finding(Level.OK, "log", "no message of it is in the log")
        return
    parts = [f"{seen.verified} verified{_since(seen)}: {seen.signed} signed with DKIM, {seen.by_spf} by SPF"]
    if seen.unverified:
        reasons = ", ".join(f"{reason or 'no reason'} {count}" for reason, count in seen.reasons.most_common(3))
        parts.append(f"{seen.unverified} unverified, forged ones among them ({reasons})")
    parts += [f"{seen.undetermined} that could not be judged"] * bool(seen.undetermined)
    yield Finding(Level.OK, "log", "; ".join(parts))
    if not seen.verified and seen.unverified:
        change = "`pratique explain` says of a message what was missing"
        yield Finding(Level.WARNING, "log", "nothing in the log proved to come from it", change)
    if missed := seen.reasons[Reason.REQUIREMENT_NOT_MET]:
        text = f"{missed} messages proved to come from it, but not as `require: {entry.require}` asks"
        yield Finding(Level.WARNING, "log", text, "see which in the log (reason=requirement-not-met)")
    safe, why = _dkim_is_safe(facts, today)
    if why:
        yield Finding(Level.OK, "log", why, "write `require: dkim` to have the stricter rule" if safe else "")


def _since(seen: Seen) -> str:
    return f" since {seen.first}" if seen.first else ""


def _dkim_is_safe(facts: Facts, today: date) -> tuple[bool, str]:
    """Whether `require: dkim` would have lost nothing, and could not now; and the sentence that says so, or why not."""
    seen = facts.seen
    if seen is None or not seen.verified or facts.entry.require not in (Require.ANY, Require.SPF):
        return False, ""
    unsigned = seen.verified - seen.signed
    if unsigned:
        were = "was" if unsigned == 1 else "were"
        return (
            False,
            f"`require: dkim` is not safe: {unsigned} of {seen.verified} messages{_since(seen)} {were} not signed",
        )
    doubt = _doubt(facts, seen, today)
    if doubt:
        return False, f"whether `require: dkim` is safe cannot be told yet: {doubt}"
    return True, f"`require: dkim` is safe: all {seen.verified} messages seen since {seen.first} were signed"


def _doubt(facts: Facts, seen: Seen, today: date) -> str:
    if seen.undated or seen.first is None or seen.last is None:
        return "the log has no dates (`journalctl -u pratique -o short-iso` has)"
    days = (seen.last - seen.first).days
    if seen.verified < ENOUGH_MESSAGES or days < ENOUGH_DAYS:
        many = f"{seen.verified} message{'s' * (seen.verified > 1)} in {days + 1} day{'s' * (days > 0)}"
        return f"all were signed, but {many} are too few (needed: {ENOUGH_MESSAGES} over {ENOUGH_DAYS} days)"
    if today - seen.last > timedelta(days=RECENT_DAYS):
        return f"the last message in the log is of {seen.last}"
    if seen.undetermined:
        return f"{seen.undetermined} messages could not be judged"
    newest = next(reversed(seen.keys), None)
    if not any(key.counts and (key.domain, key.selector) == newest for key in facts.keys):
        return "the key that signed the last message is not there any more, or cannot be used"
    return ""

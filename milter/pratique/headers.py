"""The fields we write, and which incoming ones are forged.

Rules of this module: pure functions; nothing from a message reaches a field of ours but domains and
selectors that a host-name grammar has passed. RFC 8601 for Authentication-Results.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Collection

import authres
import authres.arc

from . import encoded_words
from .mailbox import UnreadableError, is_host_name, text_of, without_comments
from .model import (
    DEFAULT_HEADER,
    Action,
    ArcResult,
    Decision,
    DkimEvidence,
    DkimResult,
    Evidence,
    Header,
    HeaderEdit,
    HeaderField,
    Mode,
    Session,
    Settings,
    SpfEvidence,
    Verdict,
    ascii_lower,
    in_networks,
)

AUTHENTICATION_RESULTS = "Authentication-Results"
_LONGEST_RESULTS = 16384  # characters of Authentication-Results beyond which the field is not read but searched
_MOST_ENCODED = 32  # Authentication-Results that hold encoded words and are looked at; more of them go unread
_LATE_FROM_SIZE = 65_536  # octets of all From fields beyond the limits that are kept, each counted with _FIELD_COST
_FIELD_COST = 32
_LATE_SUBJECT_SIZE = 1_024
_UNNAMED = "localhost"
_AUTHSERV_ID = re.compile(  # value of RFC 2045 §5.1, and a version
    r"""\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[!#-'*+.0-9A-Z^_`a-z{|}~-]+))(?:\s+[0-9]+)?\s*(?:;|\Z)"""
)


def host_name(settings: Settings, mta: str) -> str:
    """The name we sign our fields with: `authserv_id`, else the MTA's, if it is fit for a header."""
    return _fit_for_a_header(settings.authserv_id or mta)


@functools.lru_cache(maxsize=16)  # an MTA has one
def _fit_for_a_header(name: str) -> str:
    name = ascii_lower(name)
    return name if is_host_name(name) else _UNNAMED


class HeaderCollector:
    """The header of one message as it comes, kept within the limits. Beyond them fields are only counted, but for From
    (all of them up to a size together) and the first Subject."""

    __slots__ = (
        *("_beyond", "_fields", "_header", "_largest", "_late_from", "_late_subject", "_most", "_settings", "_size"),
    )

    def __init__(self, settings: Settings):
        self._settings = settings
        self._most, self._largest = settings.limits.header_fields, settings.limits.header_size
        self._fields: list[tuple[bytes, bytes]] = []
        self._beyond: dict[bytes, int] = {}
        self._size = 0
        self._late_from = 0
        self._late_subject: bytes | None = None
        self._header: Header | None = None

    def add(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size <= self._largest and len(self._fields) < self._most:
            self._fields.append((name, value))
        else:
            self._add_beyond(HeaderField(name, value))

    def _add_beyond(self, field: HeaderField) -> None:
        """Whom a late From names must be seen, and that there are several; those that are not kept are counted by name,
        and so is each Subject."""
        key = field.key
        if key == b"from" and self._late_from + len(field.value) <= _LATE_FROM_SIZE:
            self._late_from += len(field.value) + _FIELD_COST
            self._fields.append(field)
            key = b""
        elif key == b"subject" and self._late_subject is None:
            self._late_subject = field.value[:_LATE_SUBJECT_SIZE]
        if key not in (b"from", b"subject") and key not in watched(self._settings.header):
            key = b""
        self._beyond[key] = self._beyond.get(key, 0) + 1

    def header(self) -> Header:
        """The header, at its end: what is added afterwards is no part of it."""
        if self._header is None:
            self._header = Header(tuple(self._fields), self._beyond, self._late_subject)
        return self._header


# ---- forged fields ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def watched(own: str) -> frozenset[bytes]:
    """The keys of fields that only we may write: they are counted however large the header is."""
    names = (AUTHENTICATION_RESULTS, DEFAULT_HEADER, own)
    return frozenset(name.lower().encode("ascii") for name in names)


def strip(header: Header, settings: Settings, mta: str, keep: HeaderField | None = None) -> list[HeaderEdit]:
    """Deletions of every field that only we may write (design#forged-fields), the highest index of a name first,
    because each deletion shifts the indices after it.

    `keep` is the field of a trusted host; its Authentication-Results are kept along with it.
    """
    if not header.has_any(watched(settings.header)):
        return []  # as in nearly all mail
    names = {name.lower(): name for name in (DEFAULT_HEADER, settings.header)}
    edits = [edit for name in names.values() for edit in _delete(header, name, lambda f: f is not keep)]
    if settings.strip_authentication_results and keep is None:
        ours = settings.authserv_ids | {host_name(settings, mta)}
        encoded = itertools.count()
        edits += _delete(
            header,
            AUTHENTICATION_RESULTS,
            lambda f: (b"=?" in f.value and next(encoded) >= _MOST_ENCODED) or claims_authserv_id(f.value, ours),
        )
    return edits


def _delete(header: Header, name: str, forged: Callable[[HeaderField], bool]) -> list[HeaderEdit]:
    """What lies beyond the limits was not kept, so that it cannot be looked at: it goes."""
    key = name.lower().encode("ascii")
    fields = header.all(key)
    unseen = header.beyond.get(key, 0)
    indices = [i for i, f in enumerate(fields, 1) if forged(f)] + [len(fields) + i for i in range(1, unseen + 1)]
    return [HeaderEdit("delete", name, i) for i in reversed(indices)]


def claims_authserv_id(value: bytes, ours: Collection[str]) -> bool:
    """Whether an Authentication-Results field says it is by one of us (RFC 8601 §2.2 and §5).

    The id is what stands before the first `;`, comments removed and unquoted, a version apart. What cannot be
    read is ours where it contains one of the ids, be it in encoded words: filters behind us decode them.
    """
    try:
        text = text_of(value)
        match = _AUTHSERV_ID.match(without_comments(text)) if len(text) <= _LONGEST_RESULTS else None
    except UnreadableError:
        match = None
    if match is None or (match["quoted"] and "=?" in match["quoted"]):
        return _holds_one_of(ours, value.decode("utf-8", "replace"))
    written = re.sub(r"\\(.)", r"\1", match["quoted"]) if match["token"] is None else match["token"]
    host = written.strip().partition("/")[0]  # OpenDKIM can put a job id behind
    return ascii_lower(host).removesuffix(".") in ours


def _holds_one_of(ours: Collection[str], text: str) -> bool:
    """Whether a text holds one of our names, as it is or with encoded words decoded."""
    if "=?" in text and len(text) > _LONGEST_RESULTS:
        return True  # nobody honest writes such a field, and to read it takes long
    read = encoded_words.readings(text, 4 * _LONGEST_RESULTS)
    for one in read.texts:
        shown = unicodedata.normalize("NFKC", one).replace("\u3002", ".").lower()
        joined = "".join(c for c in shown if c.isprintable() and not c.isspace())
        if any(name in view for view in (shown, joined) for name in ours):
            return True
    return not read.complete


def trusted_field(session: Session, header: Header, settings: Settings) -> HeaderField | None:
    """The topmost field of ours, where a client of `trusted_hosts` brings it and it names one of their hosts."""
    if not in_networks(session.client, settings.trusted_hosts.networks):
        return None
    key = settings.header.lower().encode("ascii")
    top = next(iter(header.all(key)), None)
    if top is None:
        return None
    parts = [part.strip() for part in top.value.decode("ascii", "replace").split(";")]
    hosts = [part.removeprefix("host=") for part in parts[1:] if part.startswith("host=")]
    return top if len(hosts) == 1 and ascii_lower(hosts[0]) in settings.trusted_hosts.hosts else None


# ---- our fields ------------------------------------------------------------------------------------


def insertions(decision: Decision, settings: Settings, mta: str) -> list[HeaderEdit]:
    """Our fields, each put at the very top: the last one written is the first one read."""
    host = host_name(settings, mta)
    edits = []
    if decision.claim.needs_evidence and settings.mode is Mode.ENFORCE:
        results = authentication_results(host, decision.evidence)
        edits.append(HeaderEdit("insert", AUTHENTICATION_RESULTS, 0, results))
    edits.append(HeaderEdit("insert", settings.header, 0, trusted_sender(decision, settings.mode, host)))
    return edits


def trusted_sender(decision: Decision, mode: Mode, host: str) -> str:
    """The value of our field: `verdict; key=value; …; host=…`."""
    parts = [f"would={decision.verdict}"] if mode is Mode.OBSERVE else []
    if decision.sender:
        parts.append(f"sender={decision.sender}")
    if decision.by:
        parts.append("by=" + "+".join(decision.by))
    if decision.reason:
        parts.append(f"reason={decision.reason}")
    if decision.action is Action.QUARANTINE:  # so that the filters behind do not hold what a person has released
        parts.append(f"action={decision.action}")
    first = "observed" if mode is Mode.OBSERVE else decision.verdict.value
    return "; ".join([first, *parts, f"host={host}"])


@functools.lru_cache(maxsize=256)  # most mail of a platform gives the same
def authentication_results(host: str, evidence: Evidence) -> str:
    """RFC 8601: the SPF result if there is one, each signature that was looked into, and the ARC chain where it was."""
    looked_into = [s for s in evidence.dkim if s.aligned]
    results = [_spf_result(evidence.spf)] if evidence.spf.evaluated else []
    results += map(_dkim_result, looked_into)
    if not looked_into:
        results.append(authres.DKIMAuthenticationResult(result=evidence.dkim_result.value))
    if evidence.arc.result in (ArcResult.PASS, ArcResult.FAIL):
        results.append(authres.arc.ARCAuthenticationResult(result=evidence.arc.result.value))
    text = str(authres.AuthenticationResultsHeader(authserv_id=host, results=results))
    return text.removeprefix(AUTHENTICATION_RESULTS + ": ")


def _spf_result(spf: SpfEvidence) -> authres.SPFAuthenticationResult:
    identity = "smtp_helo" if spf.identity == "helo" else "smtp_mailfrom"
    return authres.SPFAuthenticationResult(result=spf.result.value, **{identity: spf.domain})


def _dkim_result(dkim: DkimEvidence) -> authres.DKIMAuthenticationResult:
    return authres.DKIMAuthenticationResult(
        result=dkim.result.value,
        reason=None if dkim.result is DkimResult.PASS else dkim.reason,
        header_d=dkim.domain,
        header_s=dkim.selector,
    )


def subject_change(header: Header, decision: Decision, settings: Settings) -> list[HeaderEdit]:
    """`subject_tag` before each Subject of what claims a trusted sender and does not prove it. A Subject beyond the
    limits is deleted; where there is no other, one with its text is inserted."""
    tag, late = settings.subject_tag, header.beyond.get(b"subject", 0)
    subjects = header.all(b"subject")
    doubtful = decision.verdict in (Verdict.UNVERIFIED, Verdict.IMITATION, Verdict.UNDETERMINED)
    if not (tag and doubtful and (subjects or late) and settings.mode is Mode.ENFORCE):
        return []
    edits = [HeaderEdit("delete", "Subject", len(subjects) + place) for place in range(late, 0, -1)]
    for place, subject in enumerate(subjects, 1):
        value = subject.value.decode("utf-8", "replace").replace("\r\n", "\n").strip()
        edits.append(HeaderEdit("change", "Subject", place, f"{tag} {value}"))
    if not subjects:
        words = (header.late_subject or b"").decode("utf-8", "replace").split()
        printable = "".join(c for c in " ".join([tag, *words]) if c.isprintable())
        edits.append(HeaderEdit("insert", "Subject", 0, printable))
    return edits

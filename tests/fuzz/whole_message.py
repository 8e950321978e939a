"""The whole filter: a raw message through the callbacks, and what the MTA would have afterwards.

Input: a line with MAIL FROM, then the message as it is stored. Nothing is logged as our own error; `verified` has
its evidence; no forged field is left; neither the log nor our fields can be broken into.
"""

from __future__ import annotations

import functools
import io
import logging
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import Milter

from fuzz import scene
from pratique import config, record, stored
from pratique.filter import Filter
from pratique.headers import claims_authserv_id
from pratique.model import Decision, DnsAnswer, Header, HeaderField, Mode, Question, Settings, Verdict
from pratique.resolver import ZoneResolver
from pratique.service.worker import Hooks, Tally

from harness import corpus
from harness.milter_client import Edit, Field, apply_edits

WORDS = (
    *(b"From:", b"From :", b"DKIM-Signature:", b"X-Trusted-Sender:", b"x-trusted-sender :"),
    *(b"Authentication-Results:", b"Subject:", b"Date:", b"Message-ID:", b"Content-Type:", b"\r\n", b"\n"),
    *(b"\r", b"\r\n ", b"\r\n\r\n", b"\0", b"\xff", b"mx1.example.org", b"verified; host=mx1.example.org"),
    *(b"nepasrepondre@ternum-bfc.fr", b"noreply.opic@visma.com", b"=?utf-8?q?", b"?=", b";", b"(", b")", b'"'),
    *(b"\\", b"<", b">", b"@", b",", "é".encode(), "\u2028".encode()),
)  # fmt: skip
_OURS = "mx1.example.org"


class _Remembering:
    """A resolver that asks once: the zone of the whole corpus is slow to search."""

    def __init__(self, text: str):
        self._ask = functools.lru_cache(20_000)(ZoneResolver(text).ask)

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:  # noqa: ARG002
        return self._ask(name, rdtype, 1.0)

    def keep(self, questions: Iterable[Question]) -> None:
        """It forgets nothing."""


class _Mta:
    """libmilter's side: macros, and the edits that are asked for."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []

    def getsymval(self, name: str) -> str | None:
        return {"i": "4Tn2Kx6Zz1", "j": _OURS}.get(name)

    def setreply(self, *_: object) -> None: ...

    def quarantine(self, reason: str) -> None:
        assert reason.isprintable(), reason

    def addheader(self, name: str, value: str, index: int) -> None:
        scene.check_edit("insert", value, ascii_only=name != "Subject")
        self.edits.append(("insheader", index, name.encode(), value.encode()))

    def chgheader(self, name: str, index: int, value: str | None) -> None:
        assert index >= 1, index
        self.edits.append(("chgheader", index, name.encode(), (value or "").encode("utf-8")))


class _Noting(Filter):
    """The filter, which lets its decision be seen."""

    decision: Decision | None = None

    def _carry_out(self, decision: Decision) -> Any:
        self.decision = decision
        return super()._carry_out(decision)


class _Log(logging.Handler):
    """The log: an error of ours in it is a finding."""

    lines: ClassVar[list[str]] = []

    def emit(self, entry: logging.LogRecord) -> None:
        if entry.exc_info and entry.exc_info[1]:
            raise AssertionError("logged as an error of ours") from entry.exc_info[1]
        self.lines.append(entry.getMessage())


def _settings(folder: Path) -> list[Settings]:
    case = corpus.read_all()[0]
    case.senders = {
        "visma-opic": {"addresses": ["noreply.opic@visma.com", "alert-*@visma.com"], "signers": ["signer.example"]}
    }
    case.config = {"subject_tag": "[?]", "log": {"level": "debug"}, "relays": ["198.51.100.0/24"]}
    case.config |= {"trusted_hosts": {"networks": ["192.0.2.20"], "hosts": ["mx2.example.org"]}}
    enforcing = config.load(corpus.write_config(folder, case))
    observing = config.load(corpus.write_config(folder, case, mode="observe", header="X-Licence"))
    return [enforcing, observing]


with tempfile.TemporaryDirectory() as _folder:
    _BOTH = _settings(Path(_folder))
_RESOLVER = _Remembering(corpus.whole_zone(corpus.read_all()))
_log = logging.getLogger("pratique")
_log.handlers, _log.propagate = [_Log()], False
_log.setLevel(logging.DEBUG)


def seeds() -> Iterator[bytes]:
    for case in corpus.read_all():
        yield case.session["mail_from"].encode() + b"\n" + case.present()
    top = b"X-Trusted-Sender: verified; host=mx2.example.org\r\nAuthentication-Results: mx1.example.org; dkim=pass\r\n"
    for value in scene.signatures()[:4]:
        yield b"<a@ternum-bfc.fr>\n" + top + b"DKIM-Signature:" + value + b"\r\n" + scene.NOTICE


def check(data: bytes) -> None:
    path, _, message = data.partition(b"\n")
    source = io.BytesIO(message)
    try:
        fields, beginning = stored.read_header(source)
    except stored.MessageError:
        return
    settings = _BOTH[len(data) % 2]
    mta = _Mta()
    _Log.lines.clear()
    filter_ = _Noting(settings, _RESOLVER, Tally(Hooks()), mta)
    client = "192.0.2.20" if path.startswith(b" ") else "203.0.113.66"
    filter_.connect("unknown", socket.AF_INET, (client, 4711))
    filter_.hello("mail.mailer.example")
    filter_.envfrom(path)
    filter_.envrcpt(b"<marches@commune.example>")
    for name, value in fields:
        filter_.collector.add(name, value)
    filter_.eoh()
    for piece in stored.read_body(source, beginning):
        if filter_.body(piece) == Milter.SKIP:
            break
    session = filter_._session()
    kept = filter_.collector.header()  # a Message-ID beyond `limits` is not kept, so the log line cannot hold it
    answer = filter_.eom()
    decision = filter_.decision
    assert decision is not None
    assert (answer == Milter.TEMPFAIL) == (decision.action == "defer"), decision
    header = Header(tuple(HeaderField(name, value) for name, value in fields))
    scene.check_decision(decision, header)
    (line,) = _Log.lines
    scene.check_line(line, record.fields(decision, session, kept, 0, settings.mode))
    check_result(apply_edits(fields, mta.edits, leading_space=True), decision, settings)


def check_result(fields: tuple[Field, ...], decision: Decision, settings: Settings) -> None:
    """What is left of the header: our field once and on top, and nothing that looks like ours below it."""
    names = {settings.header.lower().encode(), b"x-trusted-sender"}
    ours = [(place, value) for place, (name, value) in enumerate(fields) if name.lower() in names]
    if decision.verdict is Verdict.UNCHECKED:
        assert len(ours) <= 1, ours
        return
    assert [place for place, _ in ours] == [0], ours
    expected = b"observed" if settings.mode is Mode.OBSERVE else decision.verdict.value.encode()
    assert re.fullmatch(rb" " + expected + rb"(; [!-:<-~]+)+", ours[0][1]), ours
    results = [value for name, value in fields[2:] if name.lower() == b"authentication-results"]
    assert not any(claims_authserv_id(value, {_OURS}) for value in results), results

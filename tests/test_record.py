"""Nothing in a message can add a line or a field to the log, or to the fields we write."""

from __future__ import annotations

import json
import select
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique import record
from pratique.examine import Examination
from pratique.headers import HeaderCollector
from pratique.model import DnsAnswer, DnsStatus, Entry, Mode, Question, Session, Settings, TrustedList, printable

SETTINGS = Settings(TrustedList((Entry("x", "X", "x.example", (("a", "x.example"),)),)), authserv_id="mx.example.org")
KEYS = {
    *("verdict", "mode", "action", "sender", "by", "from", "reason", "imitates", "spf", "spf.domain", "dkim"),
    *("dkim.domain", "dkim.selector", "dns"),
    *("client", "helo", "mail-from", "to", "rcpts", "stripped", "message-id", "ms"),
}
HOSTILE = st.text(max_size=60) | st.text(alphabet='a=" \r\n\t\\\x00;@<>.é\u2028', max_size=60)


class NoDns:
    """Every name is unknown."""

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:  # noqa: ARG002
        return DnsAnswer(DnsStatus.NO_NAME)

    def keep(self, questions: Iterable[Question]) -> None:
        """It forgets nothing."""


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text(helo: str, mail_from: str, rcpt: str, message_id: str, signature: str, queue_id: str) -> None:
    collector = HeaderCollector(SETTINGS)
    for name, value in (
        (b"From", "a@x.example"),
        (b"Message-ID", message_id),
        (b"DKIM-Signature", f"v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=YQ==; b=YQ==; i={signature}"),
        (b"DKIM-Signature", f"d={signature}; s={signature}"),
        (b"X-Trusted-Sender", signature),
    ):
        collector.add(name, b" " + value.encode("utf-8", "replace"))
    session = Session(None, helo, mail_from, (rcpt, rcpt), 2, hostname=helo)
    header = collector.header()
    decision = Examination(session, header, SETTINGS, datetime.now(UTC)).decide(NoDns())
    fields = record.fields(decision, session, header, 1, Mode.ENFORCE)
    line = record.logfmt(queue_id, fields)
    assert line.isprintable()
    assert line.isascii()
    words = shlex.split(line.partition(": ")[2] if not line.startswith('"') else line)
    pairs = [word.partition("=")[0] for word in words if "=" in word and word.partition("=")[0] in KEYS]
    assert pairs[: len(fields)] == list(fields) or line.startswith('"')
    as_object: dict[str, Any] = json.loads(record.as_json(queue_id, fields))
    assert as_object.keys() == fields.keys() | {"queue-id"}
    assert "\n" not in record.as_json(queue_id, fields)
    for edit in decision.edits:
        assert edit.op == "delete" or (edit.value or "").isprintable()


def test_values_are_bounded() -> None:
    session = Session(None, "x" * 10_000, "y" * 10_000, ("z" * 10_000,) * 3, 3)
    header = HeaderCollector(SETTINGS).header()
    decision = Examination(session, header, SETTINGS, datetime.now(UTC)).decide(NoDns())
    assert len(record.logfmt("4Q", record.fields(decision, session, header, 1, Mode.ENFORCE))) < 1500


@pytest.mark.parametrize("character", ["\N{GRINNING FACE}", "\x7f", "\0", "\xe9", '"'])
def test_a_line_can_be_written_in_one_go(character: str) -> None:
    """Of at most PIPE_BUF octets, whatever a message has in it; JSON stays JSON where the log escapes what is left."""
    record_ = dict.fromkeys(sorted(KEYS - {"rcpts", "stripped", "ms"})[:10], record._bounded(character * 1000))
    assert len(record.logfmt(character * 1000, record_)) < select.PIPE_BUF
    line = record.as_json(character * 1000, record_)
    assert len(line) < select.PIPE_BUF
    assert json.loads(printable(line))["by"] == record_["by"]

"""Nothing in a message can add a line or a field to the log, or to the fields we write."""

from __future__ import annotations

import json
import select
import shlex
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique import logbook, record
from pratique.examine import Examination
from pratique.headers import HeaderCollector
from pratique.model import (
    DnsAnswer,
    DnsStatus,
    Entry,
    Mode,
    Question,
    Session,
    Settings,
    TrustedHosts,
    TrustedList,
    printable,
)

SETTINGS = Settings(TrustedList((Entry("x", "X", "x.example", (("a", "x.example"),)),)), authserv_id="mx.example.org")
KEYS = {
    *("verdict", "mode", "action", "sender", "by", "from", "reason", "imitates", "spf", "spf.domain", "dkim"),
    *("dkim.domain", "dkim.selector", "dns"),
    *("client", "helo", "mail-from", "to", "rcpts", "stripped", "message-id", "ms", "because", "gen"),
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
    fields = record.fields(decision, session, header, 1, Mode.ENFORCE, 7)
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
    record_ = dict.fromkeys(sorted(KEYS - {"rcpts", "stripped", "ms", "gen"})[:10], record._bounded(character * 1000))
    assert len(record.logfmt(character * 1000, record_)) < select.PIPE_BUF
    line = record.as_json(character * 1000, record_)
    assert len(line) < select.PIPE_BUF
    assert json.loads(printable(line))["by"] == record_["by"]


def recorded(session: Session, *fields: tuple[bytes, bytes]) -> dict[str, Any]:
    """The record of a message."""
    collector = HeaderCollector(SETTINGS)
    for name, value in fields:
        collector.add(name, value)
    header = collector.header()
    decision = Examination(session, header, SETTINGS, datetime.now(UTC)).decide(NoDns())
    return record.fields(decision, session, header, 1, Mode.ENFORCE, 17)


def test_few_recipients_are_one_line() -> None:
    fields = recorded(Session(None, "h", "m@x.example", ("a@b",), 1))
    assert record.lines(record.logfmt, "4Q", fields) == [record.logfmt("4Q", fields)]


def test_all_recipients_are_recorded_up_to_a_hundred() -> None:
    rcpts = tuple(f"<person.{number}@commune.example>" for number in range(137))
    fields = recorded(Session(None, "h", "m@x.example", rcpts, 137))
    assert fields["to"] == tuple(rcpt.strip("<>") for rcpt in rcpts[:100])
    line = record.logfmt("4Q", fields)
    assert " to=person.0@commune.example,person.1@commune.example," in line
    assert ",person.99@commune.example rcpts=137 " in line
    assert line.endswith(" gen=17")
    found = json.loads(record.as_json("4Q", fields))
    assert found["to"] == list(fields["to"])
    assert (found["rcpts"], found["gen"]) == (137, 17)
    assert json.loads(record.as_json("4Q", recorded(Session(None, "h", "m", ("<a@b>",), 1))))["to"] == ["a@b"]


@pytest.mark.parametrize("write", [record.logfmt, record.as_json])
@pytest.mark.parametrize("rcpt", ["\U0001f600" * 300, "a" * 60, '"' * 300, "\x7f" * 300])
def test_recipients_that_do_not_fit_follow_in_lines_of_their_own(write: Any, rcpt: str) -> None:
    """A stranger decides how long they are; each line is written whole, and the first is the message's record."""
    rcpts = tuple(f"{number}{rcpt}@x" for number in range(100))
    fields = recorded(Session(None, "h" * 500, "m@x.example", rcpts, 200), (b"Message-ID", b" <" + b"m" * 500 + b">"))
    written = record.lines(write, "4Q", fields)
    assert len(written) > 1
    assert all(len(line) <= 4000 for line in written)
    read = [logbook.parse(line, date(2026, 11, 30)) for line in written]
    assert read[0]
    assert read[0].fields["verdict"] == "unclaimed"
    assert read[1:] == [None] * (len(read) - 1)
    if write is record.as_json:
        objects = [json.loads(line) for line in written]
        assert [one for found in objects for one in found["to"]] == list(fields["to"])
        assert {found["rcpts"] for found in objects} == {200}
        assert {found["queue-id"] for found in objects} == {"4Q"}
    else:
        assert all(line.startswith("4Q: ") and " rcpts=200 " in line and line.endswith(" gen=17") for line in written)


@pytest.mark.parametrize("line", ["logfmt", "json"])
def test_old_and_new_lines_are_read(line: str) -> None:
    fields = recorded(Session(None, "h", "m@x.example", ("<a@b.example>", "<c@d.example>"), 2))
    old = {key: ",".join(value) if isinstance(value, tuple) else value for key, value in fields.items() if key != "gen"}
    for one in (fields, old):
        written = record.logfmt("4Q", one) if line == "logfmt" else record.as_json("4Q", one)
        read = logbook.parse(f"<6>{written}", date(2026, 11, 30))
        assert read
        assert read.fields["to"] == "a@b.example,c@d.example"


@pytest.mark.parametrize(
    ("session", "field", "because"),
    [
        (Session(ip_address("127.0.0.1"), "h", "m@x", (), 0), b"", "local-network"),
        (Session(ip_address("192.0.2.7"), "h", "m@x", (), 0, authenticated=True), b"", "authenticated"),
        (Session(ip_address("127.0.0.1"), "h", "m@x", (), 0, authenticated=True), b"", "authenticated"),
        (Session(ip_address("192.0.2.20"), "h", "m@x", (), 0), b" verified; sender=x; host=mx2.x", "trusted-host"),
        (Session(ip_address("192.0.2.7"), "h", "m@x", (), 0), b" verified; sender=x; host=mx2.x", None),
        (Session(ip_address("192.0.2.7"), "h", "m@x", (), 0), b"", None),
    ],
)
def test_an_unchecked_message_says_why(session: Session, field: bytes, because: str | None) -> None:
    hosts = TrustedHosts((ip_network("192.0.2.20/32"),), frozenset({"mx2.x"}))
    settings = replace(SETTINGS, trusted_hosts=hosts)
    collector = HeaderCollector(settings)
    if field:
        collector.add(b"X-Trusted-Sender", field)
    header = collector.header()
    decision = Examination(session, header, settings, datetime.now(UTC)).decide(NoDns())
    fields = record.fields(decision, session, header, 1, Mode.ENFORCE)
    assert fields.get("because") == because
    assert (fields["verdict"] == "unchecked") == (because is not None)

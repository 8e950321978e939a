"""The harness itself: what other tests rely on when they use its Postfix and its DNS server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from harness.dns_server import DnsServer
from harness.ports import PATIENCE, wait_until
from harness.postfix import Connection, Postfix

MAILBOX = "marches@commune.example"
MESSAGE = b"From: Opic <noreply.opic@visma.com>\r\nSubject: avis\r\n\r\nbonjour\r\n.\r\n..deux\r\n"
ZONE = f"""\
example.org. 60 TXT "v=spf1 -all"
; a directive's name may end in a dot or not
;timeout slow.example
;servfail broken.example.
x.broken.example. A 192.0.2.3
alias.example. CNAME alias2.example.
alias2.example. CNAME example.org.
dangling.example. CNAME missing.example.
to-slow.example. CNAME x.slow.example.
to-broken.example. CNAME to-broken2.example.
to-broken2.example. CNAME x.broken.example.
long.example. TXT ("{"a" * 255}" "{"b" * 255}" "c")
huge.example. TXT ({" ".join(f'"{c * 250}"' for c in "defghijklmnopqrs")})
*.wild.example. TXT "any"
host.test. A 192.0.2.7
7.2.0.192.in-addr.arpa. PTR host.test.
"""


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    main_cf = {
        # An address on hold in place of a milter that quarantines.
        "smtpd_sender_restrictions": "check_sender_access inline:{hold@b.example=HOLD}",
        "transport_maps": "inline:{deferred@ville.example=smtp:[127.0.0.1]:9, discarded@ville.example=discard:}",
        # Accepted, but in no list of mailboxes.
        "smtpd_reject_unlisted_recipient": "no",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{bounced@ville.example=OK},"
        " reject_unlisted_recipient",
    }
    mailboxes = [MAILBOX, "mairie@ville.example", "deferred@ville.example", "discarded@ville.example"]
    with Postfix(mailboxes, main_cf=main_cf) as running:
        yield running


@pytest.fixture(scope="module")
def dns_server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as running:
        yield running


def ask(
    server: DnsServer, name: str, kind: str = "TXT", tcp: bool = False, timeout: float = PATIENCE
) -> tuple[str, list[str]]:
    """The response code and the answers of the asked type."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    transport = dns.query.tcp if tcp else dns.query.udp
    response = transport(query, "127.0.0.1", timeout=timeout, port=server.port)
    wanted = [rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
    return dns.rcode.to_text(response.rcode()), [data.to_text() for rrset in wanted for data in rrset]


@pytest.mark.parametrize(
    ("client", "shown"), [("192.0.2.7", b"[192.0.2.7]"), ("2001:db8::7", b"[IPv6:2001:db8::7]"), (None, b"[127.0.0.1]")]
)
def test_delivers_for_a_played_client(postfix: Postfix, client: str | None, shown: bytes) -> None:
    reply = postfix.send(MESSAGE, "a@b.example", [MAILBOX], client=client, helo="mail.b.example")
    assert (reply.code, reply.stage) == (250, "message")
    outcome = postfix.outcome(reply.queue_id)
    assert outcome.state == "delivered"
    assert b"Received: from mail.b.example (unknown " + shown in outcome.content
    assert outcome.content.endswith(MESSAGE.replace(b"\r\n", b"\n"))
    assert postfix.delivered(str(reply.queue_id)) == outcome.content


def test_client_name_and_login(postfix: Postfix) -> None:
    reply = postfix.send(
        MESSAGE, "a@b.example", ["mairie@ville.example"], "192.0.2.7", client_name="mx.b.example", login="a b"
    )
    assert b"(mx.b.example [192.0.2.7])" in postfix.outcome(reply.queue_id).content
    assert f"{reply.queue_id}: client=mx.b.example[192.0.2.7], sasl_method=XCLIENT, sasl_username=a b" in postfix.log()


def test_held_and_released(postfix: Postfix) -> None:
    reply = postfix.send(MESSAGE, "hold@b.example", [MAILBOX])
    queue_id = str(reply.queue_id)
    held = postfix.outcome(queue_id)
    assert held.state == "held"
    assert held.content.endswith(MESSAGE.replace(b"\r\n", b"\n"))
    assert postfix.held(queue_id)
    assert postfix.delivered(queue_id) is None
    assert [(m["queue_id"], m["queue_name"], m["sender"]) for m in postfix.queue()] == [
        (queue_id, "hold", "hold@b.example")
    ]
    postfix.release(queue_id)
    assert postfix.outcome(queue_id).state == "delivered"
    assert not postfix.held(queue_id)
    assert postfix.queue() == []


@pytest.mark.parametrize("state", ["bounced", "deferred", "discarded"])
def test_other_outcomes(postfix: Postfix, state: str) -> None:
    reply = postfix.send(MESSAGE, "a@b.example", [f"{state}@ville.example"])
    outcome = postfix.outcome(reply.queue_id)
    assert outcome.state == state
    assert bool(outcome.content) == (state == "deferred")


def test_refusals_name_their_stage(postfix: Postfix) -> None:
    assert postfix.send(MESSAGE, "a@b.example", [MAILBOX, "personne@commune.example"]).stage == "rcpt"
    elsewhere = postfix.send(MESSAGE, "a@b.example", ["a@elsewhere.example"])
    assert (elsewhere.code, elsewhere.stage, elsewhere.queue_id) == (554, "rcpt", None)
    with pytest.raises(ValueError, match="not queued"):
        postfix.outcome(elsewhere.queue_id)


def test_several_messages_over_one_connection(postfix: Postfix) -> None:
    with postfix.connect(client="192.0.2.7") as connection:
        first = connection.message(MESSAGE, "a@b.example", [MAILBOX])
        assert connection.message(MESSAGE, "a@b.example", ["personne@commune.example"]).code == 550
        assert connection.rset().code == 250
        second = connection.message(MESSAGE, "<b@b.example> SIZE=9", [MAILBOX], raw_mail_from=True)
        assert connection.quit().code == 221
    assert postfix.outcome(first.queue_id).content.startswith(b"Return-Path: <a@b.example>")
    assert postfix.outcome(second.queue_id).content.startswith(b"Return-Path: <b@b.example>")


def test_raw_data_goes_as_it_is(postfix: Postfix) -> None:
    # Postfix itself removes a dot and makes a blank of the bare CR.
    reply = postfix.send(b"Subject: x\r\n\r\n..a\rb\nc\x00d", "a@b.example", [MAILBOX], raw=True)
    assert postfix.outcome(reply.queue_id).content.endswith(b"\n\n.a b\nc\x00d\n")


def test_survives_a_dropped_connection_and_a_restart(postfix: Postfix) -> None:
    connection = postfix.connect()
    connection.command(b"MAIL FROM:<a@b.example>")
    connection.drop()
    held = str(postfix.send(MESSAGE, "hold@b.example", [MAILBOX]).queue_id)
    postfix.restart()
    postfix.release(held)
    assert postfix.outcome(held).state == "delivered"


def test_a_milter_that_is_not_there_means_tempfail() -> None:
    with Postfix(milters="unix:pratique/milter.sock") as postfix:
        reply = postfix.send(MESSAGE, "a@b.example", [MAILBOX])
        assert (reply.code, reply.queue_id) == (451, None)


def test_a_bad_configuration_is_told_and_nothing_stays() -> None:
    postfix = Postfix(main_cf={"message_size_limit": "much"})
    with pytest.raises(RuntimeError, match="message_size_limit"), postfix:
        pass
    postfix = Postfix(master_cf=["nonsense"])
    with pytest.raises(RuntimeError, match=r"master\.cf"), postfix:
        pass


def test_nothing_stays_after_a_crash() -> None:
    with Postfix() as postfix:
        folder = postfix.folder
        connection = Connection(postfix.port)
        os.kill(int((postfix.queue_directory / "pid/master.pid").read_text()), signal.SIGKILL)
        assert processes_of(folder)
        time.sleep(0.1)
    connection.drop()
    assert not processes_of(folder)
    assert not folder.exists()


def test_nothing_runs_on_after_a_killed_test() -> None:
    code = "import os; from harness.postfix import Postfix; p = Postfix(); p.start(); print(p.folder); os.abort()"
    killed = subprocess.run(
        [sys.executable, "-u", "-c", code], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=False
    )
    folder = Path(killed.stdout.strip())
    assert folder.is_dir()
    assert wait_until(lambda: not processes_of(folder), 5)
    shutil.rmtree(folder)


def processes_of(folder: Path) -> list[str]:
    """The processes that work in the folder."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and working_folder(pid).startswith(str(folder))]


def working_folder(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("example.org", "TXT", "NOERROR", ['"v=spf1 -all"']),
        ("EXAMPLE.org", "A", "NOERROR", []),
        ("alias.example", "TXT", "NOERROR", ['"v=spf1 -all"']),
        ("dangling.example", "TXT", "NXDOMAIN", []),
        ("a.wild.example", "TXT", "NOERROR", ['"any"']),
        ("long.example", "TXT", "NOERROR", [f'"{"a" * 255}" "{"b" * 255}" "c"']),
        ("missing.example", "TXT", "NXDOMAIN", []),
        ("localhost", "A", "NXDOMAIN", []),
        ("broken.example", "TXT", "SERVFAIL", []),
        ("x.broken.example", "A", "SERVFAIL", []),
        ("to-broken.example", "A", "SERVFAIL", []),
        ("host.test", "A", "NOERROR", ["192.0.2.7"]),
        ("7.2.0.192.in-addr.arpa", "PTR", "NOERROR", ["host.test."]),
    ],
)
def test_dns_answers(dns_server: DnsServer, name: str, kind: str, code: str, answers: list[str], tcp: bool) -> None:
    assert ask(dns_server, name, kind, tcp) == (code, answers)


@pytest.mark.parametrize("name", ["slow.example", "a.b.slow.example", "to-slow.example"])
def test_dns_timeout(dns_server: DnsServer, name: str) -> None:
    with pytest.raises(dns.exception.Timeout):
        ask(dns_server, name, timeout=1)


def test_dns_large_answer_needs_tcp(dns_server: DnsServer) -> None:
    query = dns.message.make_query("huge.example", "TXT")
    _, truncated = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=PATIENCE, port=dns_server.port)
    assert truncated
    assert len(ask(dns_server, "huge.example", tcp=True)[1][0]) > 16 * 250


def test_dns_queries_are_seen() -> None:
    with DnsServer("example.org. A 192.0.2.1\n") as server:
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.queries() == []
        ask(server, "Example.org", "A")
        ask(server, "s1._domainkey.missing.example", tcp=True)
        assert wait_until(lambda: len(server.queries()) == 2, 1)
        assert server.queries() == [("example.org", "A"), ("s1._domainkey.missing.example", "TXT")]


def test_dns_zone_that_would_delegate_is_refused() -> None:
    with pytest.raises(ValueError, match="delegation"), DnsServer("example.org. NS ns.example.org.\n"):
        pass


def test_dns_zone_brings_its_own_soa() -> None:
    zone = "$ORIGIN .\n@ 60 SOA ns.b.example. h.b.example. 7 1 1 1 1\n@ 60 NS ns.b.example.\n"
    with DnsServer(zone) as server:
        assert ask(server, ".", "SOA") == ("NOERROR", ["ns.b.example. h.b.example. 7 1 1 1 1"])

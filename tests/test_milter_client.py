"""The milter client against a real libmilter, and its model of Postfix's header edits."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import echo_milter, milter_client
from harness.milter_client import Edit, Field, MilterClient, MilterError, Outcome, apply_edits, wait_ready

SUBJECT = (b"Subject", b" avis")
BODY = b"bonjour\r\n"


def order(*words: str) -> Field:
    return b"X-Order", " ".join(("", *words)).encode()


def saw(outcome: Outcome) -> list[list[Any]]:
    """The callbacks that the milter reports."""
    (calls,) = (json.loads(value) for _, _, name, value in outcome.edits if name == b"X-Saw")
    return list(calls)


def edits(outcome: Outcome) -> list[Edit]:
    return [edit for edit in outcome.edits if edit[2] != b"X-Saw"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module", params=["unix", "inet"])
def milter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    address = f"unix:{tmp_path_factory.mktemp('milter')}/sock"
    if request.param == "inet":
        address = f"inet:{free_port()}@127.0.0.1"
    with subprocess.Popen([sys.executable, str(Path(echo_milter.__file__)), address]) as process:
        try:
            wait_ready(address)
            yield address
        finally:
            process.kill()


@pytest.fixture
def client(milter: str) -> Iterator[MilterClient]:
    with MilterClient(milter) as client:
        assert client.connect() == Outcome("continue", "helo")
        yield client


def test_negotiates_what_the_milter_wants(client: MilterClient) -> None:
    assert client.version == 6
    assert client.actions == milter_client.ACTIONS
    assert client.steps & milter_client.HDR_LEADSPC
    assert client.steps & 0x80, "no reply to header fields"
    assert client.steps & 0x200, "no DATA"
    assert client.symlists == {0: "j {client_addr} {daemon_name}", 5: "i {auth_authen} {client_addr} {mail_addr}"}


def test_fields_arrive_as_they_are_in_the_message(client: MilterClient) -> None:
    fields = [
        (b"Subject", b" \xe9\xff"),
        (b"X-None", b"tight"),
        (b"X-Two", b"  two"),
        (b"X-Spaced \t", b"\ttab"),
        (b"X-Fold", b" one\r\n two\n\tthree"),
        (b"X-Nul", b" before\0after"),
        (b"X-Empty", b""),
    ]
    outcome = client.message(fields, BODY)
    headers = [call[1:] for call in saw(outcome) if call[0] == "header"]
    arrived = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    assert arrived == [
        (b"Subject", b" \xe9\xff"),
        (b"X-None", b"tight"),
        (b"X-Two", b"  two"),
        (b"X-Spaced", b"\ttab"),
        (b"X-Fold", b" one\n two\n\tthree"),
        (b"X-Nul", b" before"),
        (b"X-Empty", b""),
    ]
    assert list(outcome.fields[:-1]) == arrived


def test_envelope_and_macros(milter: str) -> None:
    with MilterClient(milter) as client:
        client.connect("2001:db8::7", "mail.example", "ehlo.example", macros={"daemon_name": "mine"})
        outcome = client.message(
            [SUBJECT], BODY, mail_from="a@b.example", rcpts=["r@c.example", "s@c.example"], esmtp=["SIZE=9"], auth="me"
        )
    assert saw(outcome) == [
        # v is not in the symbol list; smtpd and cleanup write an IPv6 address differently.
        [
            "connect",
            "mail.example",
            socket.AF_INET6,
            ["2001:db8::7", 34567, 0, 0],
            ["mx.example.net", "IPv6:2001:db8::7", "mine", None],
        ],
        ["hello", "ehlo.example"],
        ["envfrom", "<a@b.example>", "SIZE=9", [None, "me", "a@b.example"]],
        # smtpd has no queue id before it has accepted a recipient.
        ["envrcpt", "<r@c.example>", [None, "r@c.example"]],
        ["envrcpt", "<s@c.example>", ["4TESTQUEUEID", "s@c.example"]],
        ["header", "Subject", " avis"],
        ["eoh"],
        ["body", 9],
        # cleanup does not know {mail_addr}; what shows is what libmilter remembers from MAIL.
        ["eom", ["4TESTQUEUEID", "me", "2001:db8::7", "a@b.example"]],
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"mail_from": ""}, "<>"),
        ({"mail_from": "<>"}, "<>"),
        ({"mail_from": "<a@b.example> x"}, "<a@b.example> x"),
        ({"mail_from": "a@b.example", "raw": True}, "a@b.example"),
        ({"mail_from": "caf\u00e9@b.example"}, "<caf\u00c3\u00a9@b.example>"),
    ],
)
def test_sender_goes_out_as_given(client: MilterClient, given: dict[str, Any], sent: str) -> None:
    assert saw(client.message([SUBJECT], BODY, **given))[2][1] == sent


def test_clients_without_an_address_or_a_helo(milter: str) -> None:
    with MilterClient(milter) as client:
        client.connect(None, helo=None)
        assert [call[:4] for call in saw(client.message([SUBJECT]))[:2]] == [
            ["connect", "unknown", 0, None],
            ["envfrom", "<sender@example.com>", [None, None, "sender@example.com"]],
        ]


def test_edits_in_order_and_their_effect(client: MilterClient) -> None:
    fields = [(b"x-foo", b" one"), SUBJECT, (b"X-FOO ", b" two")]
    orders = [
        order("change", "2", "X-Foo", ""),
        order("change", "1", "Subject", " \u00e9"),
        order("insert", "0", "X-Foo", " top"),
        order("add", "X-Last", "tight"),
    ]
    outcome = client.message([*fields, *orders], BODY)
    assert edits(outcome) == [
        ("chgheader", 2, b"X-Foo", b""),
        ("chgheader", 1, b"Subject", b" \xc3\xa9"),
        ("insheader", 0, b"X-Foo", b" top"),
        ("addheader", -1, b"X-Last", b"tight"),
    ]
    assert [field for field in outcome.fields if field[0] not in (b"X-Order", b"X-Saw")] == [
        (b"X-Foo", b" top"),
        (b"x-foo", b" one"),
        (b"Subject", b" \xc3\xa9"),
        (b"X-Last", b"tight"),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["quarantine", "not", "verified"], {"response": "continue", "quarantine": "not verified"}),
        (["answer", "ACCEPT"], {"response": "accept"}),
        (["answer", "DISCARD"], {"response": "discard"}),
        (["answer", "REJECT"], {"response": "reject"}),
        (["answer", "TEMPFAIL"], {"response": "tempfail"}),
        (["reply", "550", "5.7.1", "100 %% no"], {"response": "replycode", "reply": "550 5.7.1 100 % no"}),
        (["reply", "451", "4.7.1", "later"], {"response": "replycode", "reply": "451 4.7.1 later"}),
        (["body"], {"response": "continue", "body_replaced": True}),
        (
            ["raise"],
            {"response": "replycode", "reply": "451 4.3.0 pymilter: untrapped exception in echo", "quarantine": None},
        ),
    ],
)
def test_answers(client: MilterClient, words: list[str], expected: dict[str, object]) -> None:
    outcome = client.message([SUBJECT, order(*words)], BODY)
    assert {name: getattr(outcome, name) for name in expected} == expected
    assert outcome.stage == "eom"
    assert client.message([SUBJECT], BODY).response == "continue", "the connection is still good"


def test_refused_recipients(client: MilterClient) -> None:
    some = client.message([SUBJECT], rcpts=["reject@c.example", "ok@c.example"])
    assert (some.response, some.stage) == ("continue", "eom")
    every = client.message([SUBJECT], rcpts=["reject@c.example", "rejected@c.example"])
    assert (every.response, every.stage) == ("reject", "rcpt")


def test_an_answer_for_the_whole_connection(milter: str) -> None:
    with MilterClient(milter) as client:
        assert client.connect(client_name="reject.example") == Outcome("reject", "connect")
        assert client.message([SUBJECT]) == Outcome("reject", "connect")
    with MilterClient(milter) as client:
        assert client.connect(helo="accept.example") == Outcome("accept", "helo")
        assert client.message([SUBJECT]).stage == "helo"


def test_body_in_chunks_until_skipped(client: MilterClient) -> None:
    body = b"0123456789\r\n" * 12000
    whole = client.message([SUBJECT], body)
    assert [size for kind, *size in saw(whole) if kind == "body"] == [[65535], [65535], [12930]]
    assert whole.body_sent == len(body)
    skipped = client.message([SUBJECT, order("skip")], body)
    assert [size for kind, *size in saw(skipped) if kind == "body"] == [[65535]]
    assert skipped.body_sent == 65535
    pieces = client.message([SUBJECT], (b"x" * 30 for _ in range(3)), chunk=40)
    assert [size for kind, *size in saw(pieces) if kind == "body"] == [[40], [40], [10]]
    assert client.message([SUBJECT]).body_sent == 0


@pytest.mark.parametrize("stage", ["mail", "rcpt", "header", "eoh", "body"])
def test_abort_between_messages(client: MilterClient, stage: milter_client.Stage) -> None:
    client.message([SUBJECT], BODY)
    client.abort_after(stage, [SUBJECT, order("answer", "REJECT")], BODY)
    outcome = client.message([SUBJECT], BODY)
    assert outcome.response == "continue"
    assert [call[0] for call in saw(outcome)[:4]] == ["connect", "hello", "abort", "envfrom"]


def test_cut_connections_leave_the_milter_alive(milter: str) -> None:
    stages: list[milter_client.Stage] = ["mail", "rcpt", "data", "header", "eoh", "body"]
    for stage in stages:
        client = MilterClient(milter)
        client.connect()
        assert client.message([SUBJECT], BODY, until=stage).response == "continue"
        client.drop()
        client.quit()  # nothing left to do
    with MilterClient(milter) as client:
        client.connect()
        assert client.message([SUBJECT], BODY).response == "continue"


def test_raw_packets(milter: str) -> None:
    with MilterClient(milter) as client:
        client.connect()
        client.send_packet(b"U", b"NOOP\0")
        assert client.read_packet() == (b"c", b"")
        client.message([SUBJECT], until="data")
        client.send_packet(b"L", b"\0 no name\0")
        with pytest.raises(ConnectionError):
            client.read_packet()
    with MilterClient(milter, timeout=0.2) as client, pytest.raises(TimeoutError):
        client.read_packet()


def test_waiting_for_a_milter_that_never_comes(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="no milter after"):
        wait_ready(f"unix:{tmp_path}/sock", 0.1)


@pytest.mark.parametrize(
    ("good", "packet"),
    [
        (0, b"hX-Foo\0 too early\0"),
        (7, b"b at the first body chunk"),
        (0, b"Z"),
        (0, b"y250 2.0.0 fine\0"),
        (0, b"y550 4.7.1 mixed\0"),
        (8, b"hX-Foo"),
        (8, b"hX-Foo\0 value\0 and more\0"),
        (8, b"i\0\0\0\0\0 no name\0"),
    ],
)
def test_what_postfix_would_not_take(good: int, packet: bytes) -> None:
    """A milter that answers "continue" to so many events, and the next with `packet`."""
    answers = [b"O\0\0\0\6\0\0\1\xff\0\0\0\0", *[b"c"] * good, packet]
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = MilterClient(f"inet:{server.getsockname()[1]}@127.0.0.1", 5)
        peer, _ = server.accept()
        peer.sendall(b"".join(len(answer).to_bytes(4) + answer for answer in answers))
        if good:
            client.connect()
        with peer, pytest.raises(MilterError, match=r"unexpected|malformed"):
            client.message([SUBJECT], BODY) if good else client.connect()
        client.drop()


@pytest.mark.parametrize(
    ("edit_list", "expected"),
    [
        # Observed in Postfix 3.7.11's queue file, the message having X-A: 1, x-a: 2 and B: 3.
        ([("addheader", -1, b"C", b" n")], ["X-A: 1", "x-a: 2", "B: 3", "C: n"]),
        ([("insheader", 0, b"C", b" n")], ["C: n", "X-A: 1", "x-a: 2", "B: 3"]),
        # The MTA's own Received is between the top and the first field of the message.
        ([("insheader", 1, b"C", b" n")], ["C: n", "X-A: 1", "x-a: 2", "B: 3"]),
        ([("insheader", 2, b"C", b" n")], ["X-A: 1", "C: n", "x-a: 2", "B: 3"]),
        ([("insheader", 9, b"C", b" n")], ["X-A: 1", "x-a: 2", "B: 3", "C: n"]),
        ([("chgheader", 2, b"X-A", b" n")], ["X-A: 1", "X-A: n", "B: 3"]),
        ([("chgheader", 0, b"X-A", b" n")], ["X-A: n", "x-a: 2", "B: 3"]),
        ([("chgheader", 3, b"X-A", b" n")], ["X-A: 1", "x-a: 2", "B: 3", "X-A: n"]),
        ([("chgheader", 3, b"X-A", b"")], ["X-A: 1", "x-a: 2", "B: 3"]),
        ([("chgheader", 1, b"Received", b"")], ["X-A: 1", "x-a: 2", "B: 3"]),
        # Deleting shifts the index of the next; what was inserted counts too.
        ([("chgheader", 1, b"X-A", b""), ("chgheader", 2, b"X-A", b"")], ["x-a: 2", "B: 3"]),
        ([("chgheader", 2, b"X-A", b""), ("chgheader", 1, b"X-A", b"")], ["B: 3"]),
        ([("insheader", 0, b"X-A", b" n"), ("chgheader", 1, b"X-A", b"")], ["X-A: 1", "x-a: 2", "B: 3"]),
        ([("addheader", -1, b"C", b" n\nno blank\n\ttab")], ["X-A: 1", "x-a: 2", "B: 3", "C: n\n\tno blank\n\ttab"]),
    ],
)
def test_edits_as_postfix_applies_them(edit_list: list[Edit], expected: list[str]) -> None:
    fields = [(b"X-A", b" 1"), (b"x-a ", b" 2"), (b"B", b" 3")]
    after = apply_edits(fields, edit_list, leading_space=True)
    assert [(name + b":" + value).decode() for name, value in after] == expected


def test_without_leading_space_the_mta_adds_the_blank() -> None:
    assert apply_edits([], [("addheader", -1, b"C", b"n")], leading_space=False) == ((b"C", b" n"),)

"""What holds for Postfix alone: its hold queue, its mbox lines, its second cleanup service, and how it hands a
message to a milter."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique import stored

from harness.mail import (
    BOUNCES,
    BOX,
    GENUINE,
    HELD,
    UNCLAIMED,
    VERIFIED,
    ZONE,
    arrived,
    explain,
    notice,
    send,
    session,
    tag,
)
from harness.odd import AUTHOR, BODY, EVIL, FORGED, ODD
from harness.ports import Server, free_port, wait_until
from harness.postfix import Postfix
from harness.smtp import Connection
from harness.stand import SHIPPED, Stand, shipped_main_cf


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with Stand(SHIPPED / "pratique.yaml", ZONE, actions={"unverified": "quarantine"}) as running:
        yield running


def test_quarantine_is_the_hold_queue_and_the_tag_stays(stand: Stand) -> None:
    postfix = stand.postfix
    reply = send(stand, notice(), session())
    queue_id = str(reply.queue_id)
    assert postfix.outcome(queue_id).state == "held"
    assert [(m["queue_id"], m["queue_name"]) for m in postfix.queue()] == [(queue_id, "hold")]
    assert f"X-Trusted-Sender: {HELD}\n".encode() in postfix.queue_file_content(queue_id)
    postfix.release(queue_id)
    assert postfix.outcome(queue_id).state == "delivered"
    assert tag(arrived(stand, reply)[0]) == HELD
    assert " action=quarantine " in (stand.log_line(queue_id) or "")


def test_from_with_a_blank_as_the_very_first_line(stand: Stand) -> None:
    """Postfix takes it for a line of an mbox file and renames it: nobody then reads it as From. A stored message
    has Received above it; where it has not, `explain` reads the field, which is the careful reading."""
    message = b"From : noreply.opic@visma.com\r\n" + EVIL + BODY
    lines, below = arrived(stand, send(stand, message, session(GENUINE)))
    assert tag(lines) == UNCLAIMED
    assert below.startswith(b"X-Mailbox-Line: From : noreply.opic@visma.com\n")
    assert explain(stand, message, session(GENUINE))["reason"] == "several-from-fields"


@pytest.fixture(scope="module")
def echo() -> Iterator[Postfix]:
    """A Postfix that lets NUL pass, and a milter that writes what it was given into the mail."""
    settings = shipped_main_cf() | {"message_reject_characters": ""}
    milters = "unix:pratique/milter.sock"
    with tempfile.TemporaryDirectory() as folder, Postfix(milters=milters, main_cf=settings) as postfix:
        place = postfix.socket_directory / "milter.sock"
        program = Path(__file__).parent / "harness/echo_milter.py"
        milter = Server(
            ["sh", "-c", 'umask 7; exec "$@"', "sh", sys.executable, program, f"unix:{place}"], Path(folder) / "log"
        )
        assert wait_until(place.exists, 10)
        yield postfix
        milter.end(patience=0.2)


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_a_stored_message_is_read_as_postfix_hands_it_over(echo: Postfix, message: bytes, tmp_path: Path) -> None:
    reply = echo.send(message, BOUNCES, [BOX])
    lines = echo.outcome(reply.queue_id).content.decode("utf-8", "replace").splitlines()
    calls = json.loads(next(line for line in lines if line.startswith("X-Saw: ")).removeprefix("X-Saw: "))
    (tmp_path / "message").write_bytes(message)
    with (tmp_path / "message").open("rb") as file:
        header, beginning = stored.read_header(file)
        size = sum(map(len, stored.read_body(file, beginning)))
    handed_over = [[name, value] for callback, name, value in (c for c in calls if c[0] == "header")]
    read = [[name.decode(), value.decode("latin-1").replace("\r\n", "\n")] for name, value in header]
    assert [field for field in handed_over if field[0] != "X-Mailbox-Line"] == read
    assert sum(call[1] for call in calls if call[0] == "body") == size


def test_a_local_program_cannot_forge_the_field(stand: Stand) -> None:
    """The shipped main.cf names Pratique in non_smtpd_milters, too."""
    forged = notice(X_Trusted_Sender=VERIFIED).replace(b"\r\n", b"\n")
    queue_id = stand.postfix.submit(forged, BOX)
    content = stand.postfix.outcome(queue_id).content
    assert b"\n\nHej." in content
    assert b"x-trusted-sender" not in content.lower()
    line = stand.log_line(queue_id) or ""
    assert "verdict=unchecked action=none" in line
    assert "stripped=1" in line


def test_a_local_program_that_submits_while_the_filter_is_down_waits(stand: Stand) -> None:
    stand.stop_filter()
    try:
        forged = notice(X_Trusted_Sender=VERIFIED).replace(b"\r\n", b"\n")
        queue_id = stand.postfix.submit(forged, BOX)
        assert wait_until(lambda: "milter-reject" in stand.postfix.log() or "tempfail" in stand.postfix.log(), 10)
        assert stand.postfix.delivered(queue_id) is None
    finally:
        stand.start_filter()


ATTACHED = b"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
X-Trusted-Sender: in a part

--b
Content-Type: message/rfc822

X-Trusted-Sender: in an attached message

--b--
""".replace(b"\n", b"\r\n")


def test_the_second_cleanup_service_deletes_what_comes_in_and_leaves_our_field() -> None:
    stand = Stand(SHIPPED / "pratique.yaml", ZONE, second_cleanup=True)
    # A port where a content filter hands mail back, with the option that main.cf.pratique says it needs.
    back = free_port()
    stand.postfix.master_cf.append(f"127.0.0.1:{back} inet n - y - - smtpd -o receive_override_options=no_milters")
    with stand:
        for field in FORGED:
            lines, below = arrived(stand, send(stand, field + b"\r\n" + notice(), session(GENUINE), raw=True))
            assert tag(lines) == VERIFIED
            assert b"trusted-sender" not in below.lower()
        with Connection(back) as connection:
            reply = connection.message(notice(X_Trusted_Sender=VERIFIED), BOUNCES, [BOX])
        assert arrived(stand, reply)[1].startswith(f"X-Trusted-Sender: {VERIFIED}\n".encode())
        # The postmaster has made the filter optional, and it is down.
        stand.stop_filter()
        milters = stand.postfix.main_cf["smtpd_milters"]
        stand.postfix.main_cf["smtpd_milters"] = milters.replace("tempfail", "accept")
        stand.postfix.restart()
        for field in FORGED:
            lines, below = arrived(stand, send(stand, field + b"\r\n" + notice(), session(), raw=True))
            assert lines == []
            assert b"trusted-sender" not in below.lower()
        attached = AUTHOR + ATTACHED
        assert arrived(stand, send(stand, attached, session())) == ([], attached.replace(b"\r\n", b"\n"))

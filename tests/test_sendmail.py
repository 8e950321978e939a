"""What holds for Sendmail alone: its quarantine, and each thing that config/sendmail/ says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from harness.mail import (
    BOUNCES,
    BOX,
    FORGER,
    GENUINE,
    HELD,
    VERIFIED,
    ZONE,
    arrived,
    notice,
    send,
    session,
    tag,
)
from harness.ports import wait_until
from harness.sendmail import SHIPPED as PRATIQUE_MC
from harness.sendmail import Sendmail
from harness.stand import SHIPPED, Stand

BACK = 10025  # where a content filter hands mail back, in Sendmail's own network


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    back = next(line for line in PRATIQUE_MC.read_text().splitlines() if "Name=BACK" in line).removeprefix("dnl ")
    mta = Sendmail(site=f"include(`{PRATIQUE_MC}')dnl\n{back.strip()}")
    zone = ZONE + ";timeout slow.visma.com.\n"
    with Stand(SHIPPED / "pratique.yaml", zone, mta=mta, actions={"unverified": "quarantine"}) as running:
        yield running


def sendmail(stand: Stand) -> Sendmail:
    assert isinstance(stand.mta, Sendmail)
    return stand.mta


def test_quarantine_is_seen_with_its_reason_and_released(stand: Stand) -> None:
    mta = sendmail(stand)
    reply = send(stand, notice(), session())
    queue_id = str(reply.queue_id)
    assert mta.outcome(queue_id).state == "held"
    seen = mta.run("-bp", "-qQ")
    assert queue_id in seen
    assert "QUARANTINE: mail claiming to be from visma.com is unverified (no-aligned" in seen  # cut by Sendmail
    assert "QUARANTINE: mail claiming to be from visma.com is unverified (no-aligned-pass)" in mta.run(
        "-bp", "-qQ", "-v"
    )
    assert queue_id not in mta.run("-bp")
    mta.run("-q")  # an ordinary run of the queue leaves it where it is
    assert mta.held(queue_id)
    mta.release(queue_id)
    assert mta.outcome(queue_id).state == "delivered"
    assert wait_until(lambda: not mta.queue(), 5)
    assert tag(arrived(stand, reply)[0]) == HELD
    assert " action=quarantine " in (stand.log_line(queue_id) or "")


def test_a_filter_that_dies_over_a_message_means_tempfail(stand: Stand) -> None:
    mta = sendmail(stand)
    with mta.connect(GENUINE, "mail.example") as connection:
        for line in (f"MAIL FROM:<{BOUNCES}>", f"RCPT TO:<{BOX}>", "DATA"):
            connection.command(line.encode())
        connection.socket.sendall(b"X-Trusted-Sender: verified\r\n" + notice())
        stand.stop_filter()
        connection.socket.sendall(b".\r\n")
        reply = connection.reply("message")
    assert (reply.code, reply.text) == (451, "4.3.2 Please try again later")
    assert wait_until(lambda: not mta.queue(), 5)
    stand.start_filter()


def test_a_filter_that_dies_in_judging_means_tempfail(stand: Stand) -> None:
    with sendmail(stand).connect(GENUINE, "mail.example") as connection:
        for line in ("MAIL FROM:<b@slow.visma.com>", f"RCPT TO:<{BOX}>", "DATA"):
            connection.command(line.encode())
        connection.socket.sendall(notice() + b".\r\n")
        assert wait_until(lambda: any(name == "slow.visma.com" for name, _ in stand.dns.queries()), 5)
        stand.stop_filter(kill=True)
        reply = connection.reply("message")
    assert (reply.code, reply.text) == (451, "4.3.2 Please try again later")
    assert wait_until(lambda: not sendmail(stand).queue(), 5)
    stand.start_filter()
    assert tag(arrived(stand, send(stand, notice(), session(GENUINE)))[0]) == VERIFIED


def test_mail_that_a_content_filter_hands_back_keeps_our_field(stand: Stand) -> None:
    with sendmail(stand).connect(port=BACK) as connection:
        reply = connection.message(notice(X_Trusted_Sender=VERIFIED), BOUNCES, [BOX])
    assert arrived(stand, reply)[1].startswith(f"X-Trusted-Sender: {VERIFIED}\n".encode())


def test_what_the_shipped_lines_are_for() -> None:
    """Without F=T and without the filter a forged field arrives."""
    line = re.search(r"(?m)^INPUT_MAIL_FILTER.*$", PRATIQUE_MC.read_text())
    assert line
    with Sendmail(site=line[0].replace("F=T, ", "")) as mta:
        reply = mta.send(notice(X_Trusted_Sender="verified"), BOUNCES, [BOX], FORGER)
        assert b"X-Trusted-Sender: verified" in mta.outcome(reply.queue_id).content


@pytest.mark.parametrize(("mode", "good"), [(0o750, True), (0o755, True), (0o770, False)])
def test_the_socket_folder_of_another_user(mode: int, good: bool) -> None:
    with Stand(SHIPPED / "pratique.yaml", ZONE, mta=Sendmail()) as stand:
        os.chown(stand.mta.socket_directory, 12345, 12345)
        stand.mta.socket_directory.chmod(mode)
        reply = send(stand, notice(), session(GENUINE))
        assert reply.code == (250 if good else 451)

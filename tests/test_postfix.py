"""Through a real Postfix with the shipped settings: what `explain` says is what arrives, and nothing forged does."""

from __future__ import annotations

import email.utils
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pratique import stored
from pratique.cli import commands

from harness import corpus
from harness.corpus import Case
from harness.ports import Server, free_port, wait_until
from harness.postfix import Postfix
from harness.smtp import Connection, Reply
from harness.stand import SHIPPED, Stand, shipped_main_cf

BOX = "marches@commune.example"
OPIC = "noreply.opic@visma.com"
GENUINE, FORGER = "192.0.2.5", "203.0.113.66"  # clients: SPF passes for the first
BOUNCES = "bounce@mailer.visma.com"
ZONE = """\
mailer.visma.com. 300 IN TXT "v=spf1 ip4:192.0.2.5 -all"
;servfail broken.visma.com.
"""
HOST = "host=mx1.example.org"
UNVERIFIED = f"unverified; sender=visma-opic; reason=no-aligned-pass; {HOST}"
VERIFIED = f"verified; sender=visma-opic; by=spf; {HOST}"
UNCLAIMED = f"unclaimed; {HOST}"

PLAIN = {case.name: case for case in corpus.read_all() if not case.config and not case.senders}
ODD_CASES = {name: case for name, case in PLAIN.items() if name.startswith("mta-")}
CASES = {name: case for name, case in PLAIN.items() if name not in ODD_CASES}


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    zone = corpus.whole_zone(list(PLAIN.values())) + ZONE
    with Stand(SHIPPED / "pratique.yaml", zone, authserv_id="mx1.example.org") as running:
        yield running


def explain(stand: Stand, message: bytes, session: dict[str, Any]) -> dict[str, Any]:
    """What `explain` says of the message, under the configuration of the running service."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        arguments = ["explain", "--config", stand.config, "--json", "--client", session["client"]]
        arguments += ["--helo", session["helo"], "--mail-from", session["mail_from"], file.name]
        result = CliRunner().invoke(commands, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def send(stand: Stand, message: bytes, session: dict[str, Any], raw: bool = False) -> Reply:
    mail_from = session["mail_from"]
    return stand.postfix.send(
        message, mail_from, [BOX], session["client"], session["helo"], raw=raw, raw_mail_from=mail_from[:1] == "<"
    )


def arrived(stand: Stand, reply: Reply) -> tuple[list[str], bytes]:
    """What stands above the Received field of our Postfix (but for the envelope), and what stands below it."""
    assert reply.code == 250, reply
    outcome = stand.postfix.outcome(reply.queue_id)
    assert outcome.state in ("delivered", "held")
    above, below = re.split(
        rb"(?m)^Received: from .*\n\tby mx1\.example\.org \(Postfix\) .*\n\tfor .*\n", outcome.content, maxsplit=1
    )
    envelope = ("Return-Path", "X-Original-To", "Delivered-To")
    return [line for line in above.decode().splitlines() if not line.startswith(envelope)], below


def edited(message: bytes, edits: list[dict[str, Any]]) -> tuple[list[str], bytes]:
    """The same of a message that is changed as `explain` says. A blank before the colon goes in Postfix."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = [re.sub(rb"^([!-9;-~]+)[ \t]+:", rb"\1:", f) for f in re.split(rb"\r\n(?![ \t])", header)]
    above: list[str] = []
    for edit in edits:
        place = [i for i, f in enumerate(fields) if f.lower().startswith(edit["name"].lower().encode() + b":")]
        match edit["op"]:
            case "insert":
                above.insert(edit["index"], f"{edit['name']}: {edit['value']}")
            case "delete":
                del fields[place[edit["index"] - 1]]
            case "change":
                fields[place[edit["index"] - 1]] = f"{edit['name']}: {edit['value']}".encode()
    below = b"\r\n".join(fields) + b"\r\n\r\n" + body
    return above, re.sub(rb"(?<!\n)\Z", b"\n", below.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("case", ODD_CASES.values(), ids=ODD_CASES)
def test_explain_is_what_postfix_makes_of_odd_octets(stand: Stand, case: Case) -> None:
    """Cases that only an MTA can shape: it changes or refuses them, and the verdict is the same."""
    reply = send(stand, case.message, case.session)
    if b"\0" in case.message:
        assert (reply.code, reply.text) == (550, "5.7.1 disallowed character")
        return
    said = explain(stand, case.message, case.session)
    assert not corpus.differences(case.expected, said)
    assert tag(arrived(stand, reply)[0]) == said["edits"][-1]["value"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_explain_is_what_postfix_delivers(stand: Stand, case: Case) -> None:
    message = case.present()
    said = explain(stand, message, case.session)
    assert not corpus.differences(case.expected, said)
    reply = send(stand, message, case.session)
    if said["action"] == "defer":
        assert reply.code == 451
        return
    assert arrived(stand, reply) == edited(message, said["edits"])


# ---- messages of our own ------------------------------------------------------------------------------


def notice(author: str = f"Visma Opic <{OPIC}>", date: str = "", **more: str) -> bytes:
    """A notice without signature; fields of `more` stand on top (`_` for `-`)."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    fields |= {"From": author, "Subject": "Upphandling", "Date": date or "Sun, 22 Nov 2020 08:00:00 +0100"}
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\nHej.\r\n"


def session(client: str = FORGER, mail_from: str = BOUNCES) -> dict[str, Any]:
    return {"client": client, "helo": "mail.example", "mail_from": mail_from}


def tag(lines: list[str]) -> str:
    """The value of our field, which must be the first line."""
    name, _, value = lines[0].partition(": ")
    assert name == "X-Trusted-Sender"
    return value


def test_a_notice_that_spf_proves_and_its_log_line(stand: Stand) -> None:
    reply = send(stand, notice(), session(GENUINE))
    lines, below = arrived(stand, reply)
    assert lines == [
        f"X-Trusted-Sender: {VERIFIED}",
        "Authentication-Results: mx1.example.org; spf=pass smtp.mailfrom=mailer.visma.com; dkim=none",
    ]
    assert below == notice().replace(b"\r\n", b"\n")
    line = stand.log_line(reply.queue_id) or ""
    assert " verdict=verified action=tag sender=visma-opic by=spf " in line
    assert f" client={GENUINE} helo=mail.example mail-from={BOUNCES} to={BOX} rcpts=1 " in line


# ---- actions ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_stand() -> Iterator[Stand]:
    actions = {"unverified": "quarantine", "imitation": "reject"}
    with Stand(SHIPPED / "pratique.yaml", ZONE, actions=actions) as running:
        yield running


def test_quarantine_is_the_hold_queue_and_the_tag_stays(strict_stand: Stand) -> None:
    postfix = strict_stand.postfix
    reply = send(strict_stand, notice(), session())
    queue_id = str(reply.queue_id)
    assert postfix.outcome(queue_id).state == "held"
    assert [(m["queue_id"], m["queue_name"]) for m in postfix.queue()] == [(queue_id, "hold")]
    field = UNVERIFIED.replace(HOST, f"action=quarantine; {HOST}")
    assert f"X-Trusted-Sender: {field}\n".encode() in postfix.queue_file_content(queue_id)
    postfix.release(queue_id)
    assert postfix.outcome(queue_id).state == "delivered"
    assert tag(arrived(strict_stand, reply)[0]) == field
    assert " action=quarantine " in (strict_stand.log_line(queue_id) or "")


def test_reject(strict_stand: Stand) -> None:
    reply = send(strict_stand, notice('"Visma Opic" <x@evil.example>'), session())
    assert (reply.code, reply.stage) == (550, "message")
    assert reply.text == "5.7.1 mail claiming to be from visma.com is imitation (display-name-imitates)"


def test_defer_while_young_then_tag(stand: Stand) -> None:
    unanswered = session(GENUINE, "b@broken.visma.com")
    reply = send(stand, notice(date=email.utils.formatdate()), unanswered)
    assert (reply.code, reply.stage) == (451, "message")
    assert reply.text == "4.7.1 mail claiming to be from visma.com is undetermined (dns-temperror)"
    reply = send(stand, notice(), unanswered)
    assert tag(arrived(stand, reply)[0]) == f"undetermined; sender=visma-opic; reason=dns-temperror; {HOST}"


# ---- forged fields ----------------------------------------------------------------------------------

FORGED = [
    b"X-Trusted-Sender: verified; sender=visma-opic",
    b"X-Trusted-Sender:verified",
    b"X-Trusted-Sender : verified",
    b"X-Trusted-Sender\t: verified",
    b"X-Trusted-Sender \t : verified",
    b"X-Trusted-Sender\r: verified",
    b"x-tRUSTED-sENDER: verified",
    b"X-Trusted-Sender:\r\n verified",
    b"X-Trusted-Sender:\r\n\tverified;\r\n sender=visma-opic",
    b"X-Trusted-Sender: verified\nX-Trusted-Sender: verified",
    b"Subject: x\nX-Trusted-Sender: verified",
    b"X-Trusted-Sender: verified\r\r",
    b"X-Trusted-Sender: " + b"verified" * 10000,
    b"\r\n".join(
        [b"X-Trusted-Sender: verified", b"X-trusted-sender : verified", b"X-TRUSTED-SENDER:\r\n verified"] * 20
    ),
]


@pytest.mark.parametrize("client", [GENUINE, FORGER])
@pytest.mark.parametrize("field", FORGED, ids=lambda field: ascii(field[:60])[2:-1])
def test_a_forged_field_goes_in_any_spelling(stand: Stand, field: bytes, client: str) -> None:
    lines, below = arrived(stand, send(stand, field + b"\r\n" + notice(), session(client), raw=True))
    assert tag(lines) == (VERIFIED if client == GENUINE else UNVERIFIED)
    assert b"trusted-sender" not in below.lower()
    assert below.endswith(notice().replace(b"\r\n", b"\n"))


def test_forged_results_go_and_others_stay(stand: Stand) -> None:
    ours = [
        b"Authentication-Results: mx1.example.org; dkim=pass",
        b"authentication-RESULTS : MX1.example.ORG 1; spf=pass",
    ]
    others = [
        b"Authentication-Results: mx1.example.org.evil.example; spf=pass",
        b"ARC-Authentication-Results: i=1; mx1.example.org; spf=pass",
    ]
    top = b"\r\n".join([ours[0], others[0], ours[1], others[1], ours[0]])
    lines, below = arrived(stand, send(stand, top + b"\r\n" + notice(), session()))
    assert lines[1:] == ["Authentication-Results: mx1.example.org; spf=fail smtp.mailfrom=mailer.visma.com; dkim=none"]
    assert below == (b"\r\n".join(others) + b"\r\n" + notice()).replace(b"\r\n", b"\n")


# ---- what is no proper message ------------------------------------------------------------------------

AUTHOR = b"From: Visma Opic <noreply.opic@visma.com>\r\n"
EVIL = b"From: x@evil.example\r\n"
BODY = b"Subject: x\r\n\r\nHej.\r\n"
ODD = {
    "bare LF": AUTHOR.replace(b"\r\n", b"\n") + BODY,
    "bare LF before another From": b"Subject: x\n" + AUTHOR + EVIL + BODY,
    "bare LF in the body": AUTHOR + b"\r\na\nb\n\nc\r\n",
    "bare CR in From": b"From: Visma Opic\r<noreply.opic@visma.com>\r\n" + BODY,
    "bare CR in the address": b"From: noreply.opic\r@visma.com\r\n" + BODY,
    "bare CR before another From": EVIL[:-2] + b"\r" + AUTHOR + BODY,
    "bare CR that folds": EVIL + b"\r" + AUTHOR + BODY,
    "bare CR before the colon": b"Subject: x\r\nFrom\r: noreply.opic@visma.com\r\n" + BODY,
    "bare CR in the name": AUTHOR + b"Fr\rom: x@evil.example\r\n" + BODY,
    "bare CR in the body": AUTHOR + b"\r\na\rb\r\r\nc\r\r\n\rd\r\n",
    "CR CR LF": AUTHOR.replace(b"\r\n", b"\r\r\n") + b"Subject: x\r\r\n y\r\r\r\n\r\r\nHej.\r\r\n",
    "dots": AUTHOR + b"\r\n.\r\n..\r\nHej.\n.\r\n",
    "NUL after the address": b"From: noreply.opic@visma.com\0.evil.example\r\n" + BODY,
    "NUL before the address": b"From: x@evil.example\0 <noreply.opic@visma.com>\r\n" + BODY,
    "NUL in a fold": b"From: Visma\r\n Opic\0\r\n <noreply.opic@visma.com>\r\n" + BODY,
    "NUL in the name": AUTHOR + b"Fr\0om: x@evil.example\r\n" + BODY,
    "NUL for the empty line": b"Subject: x\r\n\0\r\n" + AUTHOR + b"\r\nHej.\r\n",
    "NUL in the body": AUTHOR + b"\r\nH\0j.\r\n",
    "blanks before the colon": b"To : x\r\nFrom \t : noreply.opic@visma.com\r\n" + BODY,
    "blank before the colon of the first line": b"Subject : x\r\n" + AUTHOR + BODY,
    "blank before the colon of one From": b"Subject: x\r\nFrom : noreply.opic@visma.com\r\n" + EVIL + BODY,
    "tab before the colon of the first line": b"From\t: noreply.opic@visma.com\r\n" + BODY,
    "mbox lines": b"From me\r\n>From you\r\n" + AUTHOR + BODY,
    "mbox line further down": b"Subject: x\r\nFrom me\r\n" + AUTHOR + BODY,
    "malformed line before From": b"Subject: x\r\nno field\r\n" + AUTHOR + BODY,
    "malformed line after From": AUTHOR + b"no field\r\n" + EVIL + BODY,
    "blank within a name": AUTHOR + b"Reply To: x\r\n" + EVIL + BODY,
    "empty name": AUTHOR + b": x\r\n" + EVIL + BODY,
    "8-bit name before From": b"Subject: x\r\nX-\xc3\xa9: y\r\n" + AUTHOR + BODY,
    "8-bit name after From": AUTHOR + b"X-\xe9: y\r\n" + EVIL + BODY,
    "8-bit From": AUTHOR + b"Fr\xd0\xbem: x@evil.example\r\n" + BODY,
    "control character in a name": AUTHOR + b"X-\x01\x7f: y\r\n" + EVIL + BODY,
    "8-bit value": b"From: \"Visma \xc3\x96pic \xff\" <noreply.opic@visma.com>\r\n" + BODY,
    "fold of blanks": b"From:\r\n \r\n\t\r\n noreply.opic@visma.com\r\n" + BODY,
    "vertical tab": b"Subject: x\x0b\x0cy\r\n\x0bFrom: x@evil.example\r\n" + AUTHOR + BODY,
    "empty values": b"Cc:\r\nTo: \r\n" + AUTHOR + BODY,
    "dropped fields": b"Return-Path: <x@y>\r\nBcc: x\r\n y\r\nContent-Length: 5\r\nResent-Bcc: z\r\n" + AUTHOR + BODY,
    "no empty line": AUTHOR + b"Subject: x",
    "no end of the last line": AUTHOR + b"\r\nHej",
    "long lines": AUTHOR + b"Subject: " + b"x" * 9000 + b"\r\n\r\n" + b"y" * 70000 + b"\r\n" + b"z" * 70000,
}  # fmt: skip
LONG = {"long From": b'From: "' + b"x" * 60000 + b'" <noreply.opic@visma.com>\r\n' + BODY}


@pytest.mark.parametrize("client", [GENUINE, FORGER])
@pytest.mark.parametrize("message", (ODD | LONG).values(), ids=ODD | LONG)
def test_explain_and_filter_agree_on_odd_messages(stand: Stand, message: bytes, client: str) -> None:
    reply = send(stand, message, session(client))
    if b"\0" in message:
        assert (reply.code, reply.text) == (550, "5.7.1 disallowed character")
        return
    said = explain(stand, message, session(client))
    assert tag(arrived(stand, reply)[0]) == said["edits"][-1]["value"]
    assert said["verdict"] != "verified" or client == GENUINE


def test_from_with_a_blank_as_the_very_first_line(stand: Stand) -> None:
    """Postfix takes it for a line of an mbox file and renames it: nobody then reads it as From. A stored message
    has Received above it; where it has not, `explain` reads the field, which is the careful reading."""
    message = b"From : noreply.opic@visma.com\r\n" + EVIL + BODY
    lines, below = arrived(stand, send(stand, message, session(GENUINE)))
    assert tag(lines) == UNCLAIMED
    assert below.startswith(b"X-Mailbox-Line: From : noreply.opic@visma.com\n")
    assert explain(stand, message, session(GENUINE))["reason"] == "several-from-fields"


def test_no_message_is_smuggled_in_another(stand: Stand) -> None:
    """SMTP smuggling (CVE-2023-51764): what is no CR LF . CR LF does not end the message."""
    hidden = notice().decode()
    for end in ("\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r\r\n"):
        count = len(stand.log_lines())
        commands_inside = f"{end}MAIL FROM:<{BOUNCES}>\r\nRCPT TO:<{BOX}>\r\nDATA\r\n{hidden}"
        reply = send(stand, notice("x@shop.example") + commands_inside.encode(), session(GENUINE), raw=True)
        lines, below = arrived(stand, reply)
        assert tag(lines) == UNCLAIMED
        assert b"MAIL FROM" in below
        assert len(stand.log_lines()) == count


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


# ---- several messages, and interrupted ones -------------------------------------------------------------


def test_messages_of_one_connection_do_not_mix(stand: Stand) -> None:
    evil, second = "x@evil.example", "mairie@commune.example"
    newsletter = notice("Rea <news@shop.example>")
    with stand.postfix.connect(GENUINE, "mail.example") as connection:

        def sent(message: bytes, mail_from: str) -> tuple[str, str]:
            reply = connection.message(message, mail_from, [BOX])
            line = stand.log_line(reply.queue_id) or f" mail-from={mail_from} to={BOX} rcpts=1 "
            assert f" mail-from={mail_from} to={BOX} rcpts=1 " in line
            return tag(arrived(stand, reply)[0]), line

        assert sent(notice(), BOUNCES)[0] == VERIFIED
        assert sent(notice(), evil)[0] == UNVERIFIED
        # A genuine envelope that is taken back, twice; one whose recipients are refused; one refused for NUL.
        for ending in (b"RSET", b"EHLO mail.example"):
            connection.command(f"MAIL FROM:<{BOUNCES}>".encode())
            connection.command(f"RCPT TO:<{BOX}>".encode())
            connection.command(ending)
            assert sent(notice(), evil)[0] == UNVERIFIED
        assert connection.message(notice(), BOUNCES, [second]).code == 550
        assert sent(notice(), evil)[0] == UNVERIFIED
        assert connection.message(notice(X_Trusted_Sender="a\0b"), BOUNCES, [BOX]).code == 550
        assert sent(newsletter, evil)[0] == UNCLAIMED
        assert sent(notice(X_Trusted_Sender="verified"), evil)[0] == UNVERIFIED
        assert "stripped" not in sent(notice(), BOUNCES)[1]


def test_a_dropped_connection_leaves_nothing_behind(stand: Stand) -> None:
    count = len(stand.log_lines())
    for stop in range(4):
        connection = stand.postfix.connect(GENUINE)
        for line in [f"MAIL FROM:<{BOUNCES}>".encode(), f"RCPT TO:<{BOX}>".encode(), b"DATA"][: stop + 1]:
            connection.command(line)
        if stop == 3:
            connection.socket.sendall(b"X-Trusted-Sender: verified\r\n" + notice())
        connection.drop()
        assert tag(arrived(stand, send(stand, notice(), session()))[0]) == UNVERIFIED
    assert len(stand.log_lines()) == count + 4


# ---- whose mail is not judged ------------------------------------------------------------------------------


def test_an_authenticated_client_gets_no_field_and_keeps_no_forged_one(stand: Stand) -> None:
    forged = notice(X_Trusted_Sender="verified", Authentication_Results="mx1.example.org; spf=pass")
    reply = stand.postfix.send(forged, "anna@commune.example", [BOX], GENUINE, login="anna")
    assert arrived(stand, reply) == ([], notice().replace(b"\r\n", b"\n"))
    assert " verdict=unchecked action=none " in (stand.log_line(reply.queue_id) or "")
    with stand.postfix.connect(FORGER) as connection:  # and the next client is a stranger again
        assert tag(arrived(stand, connection.message(notice(), BOUNCES, [BOX]))[0]) == UNVERIFIED


# ---- while the filter is down, and the second cleanup service -----------------------------------------


def test_mail_is_put_off_while_the_filter_is_down(strict_stand: Stand) -> None:
    strict_stand.stop_filter()
    reply = send(strict_stand, notice(X_Trusted_Sender="verified"), session())
    assert (reply.code, reply.text) == (451, "4.7.1 Service unavailable - try again later")
    assert strict_stand.postfix.queue() == []
    strict_stand.start_filter()
    assert tag(arrived(strict_stand, send(strict_stand, notice(), session(GENUINE)))[0]) == VERIFIED


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

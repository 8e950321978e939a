"""Messages through a stand, and what `explain` says of them: what the tests of both MTAs share."""

from __future__ import annotations

import json
import re
import tempfile
from typing import Any

from click.testing import CliRunner

from pratique.cli import commands

from harness.postfix import Postfix
from harness.smtp import Reply
from harness.stand import Stand

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
HELD = UNVERIFIED.replace(HOST, f"action=quarantine; {HOST}")
VERIFIED = f"verified; sender=visma-opic; by=spf; {HOST}"
UNCLAIMED = f"unclaimed; {HOST}"

_RECEIVED = re.compile(
    rb"(?m)^Received: from .*\n(?:\t\(authenticated .*\n)?"
    rb"\tby mx1\.example\.org \((?:Postfix|8\S+)\) .*\n\tfor .*\n"
)
_LARGEST_HEADER = 32768  # octets: Sendmail's MaxHeadersLength


def notice(author: str = f"Visma Opic <{OPIC}>", date: str = "", **more: str) -> bytes:
    """A notice without signature; fields of `more` stand on top (`_` for `-`)."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    fields |= {"From": author, "Subject": "Upphandling", "Date": date or "Sun, 22 Nov 2020 08:00:00 +0100"}
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\nHej.\r\n"


def session(client: str = FORGER, mail_from: str = BOUNCES) -> dict[str, Any]:
    return {"client": client, "helo": "mail.example", "mail_from": mail_from}


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
    return stand.mta.send(
        message, mail_from, [BOX], session["client"], session["helo"], raw=raw, raw_mail_from=mail_from[:1] == "<"
    )


def refusal(stand: Stand, octets: bytes) -> tuple[int, str] | None:
    """How the MTA itself refuses these octets with the shipped lines, or None."""
    if isinstance(stand.mta, Postfix):
        return (550, "5.7.1 disallowed character") if b"\0" in octets else None
    # 421: the sender may try again, in vain. Sendmail looks at an octet at a time.
    said = {
        b"\0": (554, "5.6.1 NUL byte not allowed"),
        b"\r": (421, "4.5.0 Bare carriage return (CR) not allowed"),
        b"\n": (421, "4.5.0 Bare linefeed (LF) not allowed"),
    }
    bare = {octet[-1:] for octet in re.findall(rb"\0|\r(?!\n)|(?<!\r)\n", octets)}
    for octet in said:  # a line break that is none ends the session at once, a NUL is told at the end
        if octet in bare and (octet != b"\0" or len(bare) == 1):
            return said[octet]
    if len(octets.partition(b"\r\n\r\n")[0]) > _LARGEST_HEADER:
        return (552, f"5.6.0 Headers too large ({_LARGEST_HEADER} max)")
    return None


def arrived(stand: Stand, reply: Reply) -> tuple[list[str], bytes]:
    """What stands above the Received field of our MTA (but for the envelope), and what stands below it."""
    assert reply.code == 250, reply
    outcome = stand.mta.outcome(reply.queue_id)
    assert outcome.state in ("delivered", "held")
    above, below = _RECEIVED.split(outcome.content, maxsplit=1)
    envelope = ("Return-Path", "X-Original-To", "Delivered-To")
    return [line for line in above.decode().splitlines() if not line.startswith(envelope)], below


def tag(lines: list[str]) -> str:
    """The value of our field, which must be the first line."""
    name, _, value = lines[0].partition(": ")
    assert name == "X-Trusted-Sender"
    return value


def edited(message: bytes, edits: list[dict[str, Any]]) -> tuple[list[str], bytes]:
    """What `arrived` says of a message that is changed as `explain` says. A blank before the colon goes."""
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


def as_sendmail_writes(message: bytes) -> bytes:
    """A message without what Sendmail changes on delivery, after its milters.

    It writes addresses anew (of those only From is anything but plain here), and breaks a line of more than 2048
    octets, by which it even loses an octet.
    """
    header, end, body = message.partition(b"\r\n\r\n" if b"\r\n" in message else b"\n\n")
    fields = re.split(rb"\r?\n(?![ \t])", header)
    fields = [field for field in fields if not re.match(rb"(?i)from[ \t]*:", field)]
    fields = [field.partition(b":")[0] if len(field) > 2048 else field for field in fields]
    return end[: len(end) // 2].join(fields) + end + body

"""Through a real Postfix and a real Sendmail with the shipped lines: what `explain` says is what arrives, and nothing
forged does.

Where the two differ, the difference stands in `harness.mail.refusal` (what the MTA itself refuses) or here.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Iterator

import pytest

from conftest import FULL

from harness import corpus
from harness.corpus import Case
from harness.mail import (
    BOUNCES,
    BOX,
    FORGER,
    GENUINE,
    HOST,
    UNCLAIMED,
    UNVERIFIED,
    VERIFIED,
    ZONE,
    arrived,
    as_sendmail_writes,
    edited,
    explain,
    notice,
    refusal,
    send,
    session,
    tag,
)
from harness.odd import BODY, FORGED, ODD
from harness.ports import wait_until
from harness.sendmail import Sendmail
from harness.stand import SHIPPED, Stand

MTAS: dict[str, Callable[[], Sendmail | None]] = {"postfix": lambda: None, "sendmail": Sendmail}

LARGEST = 8_000  # octets of a header: an MTA cuts or folds what is much larger, and then it is another message


def plain(case: corpus.Case) -> bool:
    return not case.config and not case.senders and len(case.message.partition(b"\r\n\r\n")[0]) <= LARGEST


PLAIN = {case.name: case for case in corpus.read_all() if plain(case)}
ODD_CASES = {name: case for name, case in PLAIN.items() if name.startswith("mta-")}
CASES = {name: case for name, case in PLAIN.items() if name not in ODD_CASES}
# Sendmail does not take every MAIL FROM that Postfix hands to its milters.
NO_SENDER_FOR_SENDMAIL = {
    "dkim-malformed-mail-from",
    "no-spf-nested-bracket",
    "no-spf-open-comment",
    "no-spf-two-at",
    "results-no-identity",
}


@pytest.fixture(scope="module", params=MTAS)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    zone = corpus.whole_zone(list(PLAIN.values())) + ZONE
    mta = MTAS[request.param]()
    with Stand(SHIPPED / "pratique.yaml", zone, mta=mta, authserv_id="mx1.example.org") as running:
        yield running


@pytest.mark.parametrize("case", ODD_CASES.values(), ids=ODD_CASES)
def test_explain_is_what_the_mta_makes_of_odd_octets(stand: Stand, case: Case) -> None:
    """Cases that only an MTA can shape: it changes or refuses them, and the verdict is the same."""
    reply = send(stand, case.message, case.session)
    if refused := refusal(stand, case.message):
        assert (reply.code, reply.text) == refused
        return
    said = explain(stand, case.message, case.session)
    assert not corpus.differences(case.expected, said)
    assert tag(arrived(stand, reply)[0]) == said["edits"][-1]["value"]


# All cases through both MTAs in a full run, else a sixth of them through Sendmail.
PAIRS = [("postfix", case) for case in CASES.values()]
PAIRS += [("sendmail", case) for case in list(CASES.values())[:: 1 if FULL else 6]]


@pytest.mark.parametrize(
    ("stand", "case"), PAIRS, ids=[f"{mta}-{case.name}" for mta, case in PAIRS], indirect=["stand"], scope="module"
)
def test_explain_is_what_is_delivered(stand: Stand, case: Case) -> None:
    message = case.present()
    said = explain(stand, message, case.session)
    assert not corpus.differences(case.expected, said)
    reply = send(stand, message, case.session)
    if isinstance(stand.mta, Sendmail) and case.name in NO_SENDER_FOR_SENDMAIL:
        assert (reply.code, reply.stage) == (553, "mail")
        return
    if said["action"] == "defer":
        assert reply.code == 451
        return
    above, below = arrived(stand, reply)
    if isinstance(stand.mta, Sendmail):
        assert (above, as_sendmail_writes(below)) == edited(as_sendmail_writes(message), said["edits"])
        # It writes From anew: that must claim nothing where nothing was claimed, and nobody else.
        claim = explain(stand, below, case.session)["claim"]
        assert claim["kind"] == "none" or said["claim"]["kind"] != "none"
        assert said["verdict"] != "verified" or claim == said["claim"]
        return
    assert (above, below) == edited(message, said["edits"])


# ---- messages of our own ------------------------------------------------------------------------------


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


@pytest.fixture(scope="module", params=MTAS)
def strict_stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    actions = {"unverified": "quarantine", "imitation": "reject"}
    with Stand(SHIPPED / "pratique.yaml", ZONE, mta=MTAS[request.param](), actions=actions) as running:
        yield running


def test_reject(strict_stand: Stand) -> None:
    reply = send(strict_stand, notice('"Visma Opic" <x@evil.example>'), session())
    assert (reply.code, reply.stage) == (550, "message")
    assert reply.text == "5.7.1 mail claiming to be from visma.com is imitation (display-name-imitates)"


def test_defer_while_young_then_tag(stand: Stand) -> None:
    unanswered = session(GENUINE, "b@broken.visma.com")
    reply = send(stand, notice(date=email.utils.formatdate()), unanswered)
    assert (reply.code, reply.stage) == (451, "message")
    assert reply.text == "4.7.1 mail claiming to be from visma.com is unverified (dns-temperror)"
    reply = send(stand, notice(), unanswered)
    assert tag(arrived(stand, reply)[0]) == f"unverified; sender=visma-opic; reason=dns-temperror; {HOST}"


# ---- forged fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [GENUINE, FORGER])
@pytest.mark.parametrize("field", FORGED, ids=lambda field: ascii(field[:60])[2:-1])
def test_a_forged_field_goes_in_any_spelling(stand: Stand, field: bytes, client: str) -> None:
    reply = send(stand, field + b"\r\n" + notice(), session(client), raw=True)
    if refused := refusal(stand, field + b"\r\n" + notice()):
        assert (reply.code, reply.text) == refused
        return
    lines, below = arrived(stand, reply)
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

LONG = {"long From": b'From: "' + b"x" * 60000 + b'" <noreply.opic@visma.com>\r\n' + BODY}


@pytest.mark.parametrize("client", [GENUINE, FORGER])
@pytest.mark.parametrize("message", (ODD | LONG).values(), ids=ODD | LONG)
def test_explain_and_filter_agree_on_odd_messages(stand: Stand, message: bytes, client: str) -> None:
    reply = send(stand, message, session(client))
    if refused := refusal(stand, message):
        assert (reply.code, reply.text) == refused
        return
    said = explain(stand, message, session(client))
    lines, below = arrived(stand, reply)
    if isinstance(stand.mta, Sendmail) and message == ODD["mbox lines"]:
        # `>From you` ends the header for Sendmail, so that no reader sees From as a field.
        assert (tag(lines), below[:1]) == (UNCLAIMED, b"\n")
        return
    assert tag(lines) == said["edits"][-1]["value"]
    assert said["verdict"] != "verified" or client == GENUINE


def test_no_message_is_smuggled_in_another(stand: Stand) -> None:
    """SMTP smuggling (CVE-2023-51764): what is no CR LF . CR LF does not end the message."""
    hidden = notice().decode()
    for end in ("\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r\r\n"):
        count = len(stand.log_lines())
        commands_inside = f"{end}MAIL FROM:<{BOUNCES}>\r\nRCPT TO:<{BOX}>\r\nDATA\r\n{hidden}"
        reply = send(stand, notice("x@shop.example") + commands_inside.encode(), session(GENUINE), raw=True)
        if isinstance(stand.mta, Sendmail):
            assert (reply.code, reply.text) == refusal(stand, end.encode())
            assert wait_until(lambda: not stand.mta.queue(), 5)
        else:
            lines, below = arrived(stand, reply)
            assert tag(lines) == UNCLAIMED
            assert b"MAIL FROM" in below
        assert len(stand.log_lines()) == count


# ---- several messages, and interrupted ones -------------------------------------------------------------


def test_messages_of_one_connection_do_not_mix(stand: Stand) -> None:
    evil, second = "x@evil.example", "mairie@commune.example"
    newsletter = notice("Rea <news@shop.example>")
    with stand.mta.connect(GENUINE, "mail.example") as connection:

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
        assert connection.message(notice(X_Trusted_Sender="a\0b"), BOUNCES, [BOX]).code in (550, 554)
        assert sent(newsletter, evil)[0] == UNCLAIMED
        assert sent(notice(X_Trusted_Sender="verified"), evil)[0] == UNVERIFIED
        assert "stripped" not in sent(notice(), BOUNCES)[1]


def test_a_dropped_connection_leaves_nothing_behind(stand: Stand) -> None:
    count = len(stand.log_lines())
    for stop in range(4):
        connection = stand.mta.connect(GENUINE)
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
    reply = stand.mta.send(forged, BOX, [BOX], GENUINE, login="anna")
    assert arrived(stand, reply) == ([], notice().replace(b"\r\n", b"\n"))
    assert " verdict=unchecked action=none " in (stand.log_line(reply.queue_id) or "")
    with stand.mta.connect(FORGER) as connection:  # and the next client is a stranger again
        assert tag(arrived(stand, connection.message(notice(), BOUNCES, [BOX]))[0]) == UNVERIFIED


# ---- while the filter is down -----------------------------------------------------------------------------


def test_mail_is_put_off_while_the_filter_is_down(strict_stand: Stand) -> None:
    strict_stand.stop_filter()
    reply = send(strict_stand, notice(X_Trusted_Sender="verified"), session())
    text = "4.3.2 Please try again later"
    if not isinstance(strict_stand.mta, Sendmail):
        text = "4.7.1 Service unavailable - try again later"
    assert (reply.code, reply.text) == (451, text)
    assert wait_until(lambda: not strict_stand.mta.queue(), 5)
    strict_stand.start_filter()
    assert tag(arrived(strict_stand, send(strict_stand, notice(), session(GENUINE)))[0]) == VERIFIED

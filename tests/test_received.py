"""The client behind relays: what a field may say, and real relays before a real Postfix with Pratique.

Exchange and Google cannot be had: their fields in the corpus are written after messages that they have sent. Postfix
and Exim write theirs here, for clients good and bad.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique import received
from pratique.model import Header, HeaderField, Origin, Relay, Session
from pratique.reasons import Reason
from pratique.received import find_origin, parse_received
from recipes import ALLOWED, SERVER, STRANGER, message, txt
from recipes.relayed import EXCHANGE, EXIM, GOOGLE, GW, OUT, POSTFIX, SENDMAIL

from harness.exim import Exim
from harness.postfix import Postfix
from harness.stand import SHIPPED, Stand

# ---- the field -----------------------------------------------------------------------------------------

BEFORE = [  # from … to the address, of each program
    (f"from {OUT} ({OUT} [", f"]) {POSTFIX}"),
    (f"from {OUT} ([", f"] helo={OUT}) {EXIM}"),
    ("from [", f"] (helo={OUT}) {EXIM}"),
    (f"from {OUT} ({OUT} [", f"] (may be forged)) {SENDMAIL}"),
    (f"from {OUT} ({OUT}. [", f"]) {GOOGLE}"),
    (f"from {OUT} (", f") {EXCHANGE}"),
]


@pytest.mark.parametrize(("before", "after"), BEFORE)
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.5", "192.0.2.5"),
        ("2001:db8::5", "2001:db8::5"),
        ("IPv6:2001:DB8::5", "2001:db8::5"),
        ("IPv6:::ffff:192.0.2.5", "192.0.2.5"),
        ("::ffff:192.0.2.5", "192.0.2.5"),
        ("127.0.0.1", "127.0.0.1"),
        *[
            (bad, None)
            for bad in ("192.0.2", "192.0.2.05", "192.0.2.5.", "IPv6:192.0.2.5", "ipv6:::5", "0.0.0.0", "::")
        ],
        *[
            (bad, None)
            for bad in ("224.0.0.1", "ff02::1", "fe80::1%1", "192.0.2.5/32", "1.2.3.4 ", " 1.2.3.4", "local")
        ],
        *[
            (bad, None)
            for bad in ("192.0.2.5] [192.0.2.6", "::1::", "", "3221226501", "0xc0000205", "192.0.2.5,1.2.3.4")
        ],
    ],
)
def test_an_address_is_read_or_refused(before: str, after: str, text: str, address: str | None) -> None:
    found = parse_received(f" {before}{text}{after}".encode())
    assert (str(found.client) if found else None) == address
    assert found is None or (found.helo, found.by) == (OUT, GW)


@pytest.mark.parametrize(
    ("value", "helo"),
    [
        (f"from {OUT} ([{SERVER}]:25 helo=mail.{OUT}) {EXIM}", f"mail.{OUT}"),
        (f"from {OUT} ([{SERVER}]) {EXIM}", OUT),  # Exim leaves it out where it is the host's name
        (f"from [{SERVER}] (port=25) {EXIM}", ""),
    ],
)
def test_the_helo_name_that_exim_means(value: str, helo: str) -> None:
    found = parse_received(f" {value}".encode())
    assert found
    assert found.helo == helo


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b" from",
        b"\0",
        b" from " + b"a" * 100_000,
        b" from a " + b"(" * 2000,
        b" from a " + b"(()" * 600,
        b" from a (" + b"b " * 1000,
        b" " * 2000 + b"x",
        b" from a (b [1.2.3.4]) " + b"(a) " * 400 + b"by",
        b"\r\n\t" * 600,
    ],
)
def test_absurd_fields_are_no_field(value: bytes) -> None:
    assert parse_received(value) is None


PIECES = st.sampled_from(
    [
        *("from ", "by ", "with ESMTP", "with Microsoft SMTP Server", " id 1", "; ", "(", ")", "[", "]", " ", "\r\n\t"),
        *("\r\n", "192.0.2.5", "203.0.113.66", "IPv6:", "2001:db8::1", "127.0.0.1", "helo=", "ident=x", "port=1"),
        *(":25", "IDENT:a@", "may be forged", "(Postfix)", "(Exim 4.96)", OUT, GW, "localhost ", "é", "\0", '"', ";"),
        "(amavis, port 10024)",
    ]
)
RELAYS = (
    Relay((ipaddress.ip_network("198.51.100.0/28"),), frozenset({GW})),
    Relay((ipaddress.ip_network("203.0.113.64/28"),)),
)
GENUINE = f" from {OUT} ({OUT} [{SERVER}]) {POSTFIX}".encode()


def origin_of(*values: bytes) -> Origin:
    session = Session(ipaddress.ip_address("198.51.100.7"), "gw", "<>")
    return find_origin(session, Header(tuple(HeaderField(b"Received", value) for value in values)), RELAYS)


@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join) | st.text(max_size=200))
def test_only_what_stands_in_brackets_after_from_is_an_address(text: str) -> None:
    value = text.encode("utf-8", "surrogatepass")
    found = parse_received(value)
    if found:
        within = re.findall(r"[\[(](?:IPv6:)?([0-9A-Fa-f:.]+)[\])]", re.split(r"\sby\s", text)[0])
        assert len(within) == 1
        assert received._ip(within[0]) == found.client
        assert text.strip().startswith("from ")


@given(st.binary(max_size=300))
def test_octets_never_raise(value: bytes) -> None:
    assert parse_received(value) is None or value.strip().startswith(b"from ")


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60))
def test_a_helo_name_of_any_text_does_not_choose_the_address(helo: str) -> None:
    """As of a relay that writes any HELO name as it is. What stands behind it, the relay has seen."""
    for before, after in ((" (x.example [", f"]) {POSTFIX}"), (" (", f") {EXCHANGE}")):
        found = parse_received(f" from {helo}{before}{STRANGER}{after}".encode("latin-1"))
        assert found is None or str(found.client) == STRANGER


@pytest.mark.parametrize("shape", [f"{before}{SERVER}{after}" for before, after in BEFORE])
@pytest.mark.parametrize(("before", "after"), BEFORE)
def test_a_whole_field_for_a_helo_name_does_not_choose_the_address(shape: str, before: str, after: str) -> None:
    helo = shape.removeprefix("from ")
    for cut in range(len(helo) + 1):
        for start in (before.replace(OUT, helo[:cut], 1), before.replace(f"{OUT} ", f"{helo[:cut]} ", 1)):
            found = parse_received(f" {start}{STRANGER}{after}".encode())
            assert found is None or str(found.client) == STRANGER, (cut, start)


def test_the_walk_ends() -> None:
    within = f" from localhost (localhost [127.0.0.1]) {POSTFIX}".encode()
    assert origin_of(GENUINE).client == ipaddress.ip_address(SERVER)
    assert origin_of(*[within] * (received.MOST_FIELDS - 1), GENUINE).client == ipaddress.ip_address(SERVER)
    assert origin_of(*[within] * received.MOST_FIELDS, GENUINE).reason is Reason.RELAY_UNREADABLE
    assert origin_of().reason is Reason.RELAY_UNREADABLE


def test_a_relay_whose_fields_are_not_read_ends_the_walk() -> None:
    found = origin_of(f" from b ([203.0.113.66]) {POSTFIX}".encode(), GENUINE)
    assert (found.client, found.reason) == (None, Reason.BEHIND_RELAY)
    assert str(found.relay) == "198.51.100.7"


# ---- real relays ---------------------------------------------------------------------------------------

DOMAIN = "relayed.ternum-bfc.fr"
RCPT = ["marches@commune.example"]
IP6 = "2001:db8:1::5"


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """Relays on this very host: they reach our Postfix from 127.0.0.1, and are none of our own clients for that."""
    relays = [{"networks": ["127.0.0.0/8"], "received_by": [GW]}]
    zone = txt(DOMAIN, ALLOWED.replace(" -all", " ip6:2001:db8:1::/48 -all"))
    with Stand(SHIPPED / "pratique.yaml", zone, relays=relays) as running:
        yield running


@pytest.fixture(scope="module")
def postfix(stand: Stand) -> Iterator[Postfix]:
    """A Postfix as a border relay before ours."""
    main_cf = {"relay_domains": "commune.example", "relayhost": f"[127.0.0.1]:{stand.postfix.port}"}
    main_cf |= {"default_transport": "smtp", "relay_transport": "smtp", "smtpd_helo_required": "yes"}
    with Postfix(mailboxes=(), hostname=GW, main_cf=main_cf) as running:
        yield running


@pytest.fixture(scope="module")
def exim(stand: Stand) -> Iterator[Exim]:
    """An Exim as a border relay before our Postfix."""
    with Exim(stand.postfix.port, GW) as running:
        yield running


def logged(stand: Stand, number: str, seen: int) -> dict[str, str]:
    """What our log says of the message that came last, which is this one."""
    lines = [line for line in stand.log_lines()[seen:] if f"message-id=<{number}>" in line]
    assert len(lines) == 1, lines
    return dict(re.findall(r' ([a-z.-]+)=("[^"]*"|\S+)', lines[0]))


def through_postfix(
    stand: Stand, postfix: Postfix, data: bytes, number: str, client: str, helo: str, name: str
) -> dict[str, str]:
    seen = len(stand.log_lines())
    reply = postfix.send(data, f"b@{DOMAIN}", RCPT, client, helo, name or None)
    assert reply.code == 250, reply
    assert postfix.outcome(reply.queue_id).state == "discarded"  # by way of SMTP, that is: not into a mailbox
    return logged(stand, number, seen)


def notice(number: str, *top: str) -> bytes:
    """A notice with more fields on top, LF for line ends in them."""
    data = message(Message_ID=f"<{number}>")
    return "".join(f"{line}\r\n" for line in top).encode() + data


FORGED = f"Received: from {OUT} ({OUT} [{SERVER}])\r\n\t{POSTFIX}"
CLIENTS = [(SERVER, ""), (SERVER, OUT), (IP6, ""), (IP6, OUT)]


@pytest.mark.parametrize(("client", "name"), CLIENTS)
def test_through_a_real_postfix(stand: Stand, postfix: Postfix, client: str, name: str) -> None:
    number = f"postfix-{client.replace(':', '-')}-{name}@x"
    found = through_postfix(stand, postfix, notice(number), number, client, f"mail.{OUT}", name)
    assert found["verdict"] == "verified"
    assert (found["by"], found["client"], found["relay"]) == ("spf", client, "127.0.0.1")
    assert found["helo"] == f"mail.{OUT}"


@pytest.mark.parametrize(("client", "name"), CLIENTS)
def test_through_a_real_exim(stand: Stand, exim: Exim, client: str, name: str) -> None:
    number = f"exim-{client.replace(':', '-')}-{name}@x"
    seen = len(stand.log_lines())
    said = exim.relay(notice(number), f"b@{DOMAIN}", RCPT, client, f"mail.{OUT}", name)
    assert " => marches@commune.example" in said, said
    found = logged(stand, number, seen)
    assert found["verdict"] == "verified"
    assert (found["by"], found["client"], found["relay"]) == ("spf", client, "127.0.0.1")
    assert found["helo"] == f"mail.{OUT}"


HELOS = (
    *(OUT, f"[{SERVER}]", SERVER, f"{OUT} ({OUT} [{SERVER}])", f"{OUT}([{SERVER}])", f"x]) by {GW} (y [{SERVER}"),
    f"{OUT} ({OUT} [{SERVER}]) {POSTFIX}".replace("\r\n\t", " "),
    f"{OUT} ({SERVER}) by {GW} (198.51.100.7) with Microsoft SMTP Server; x",
    f"[{SERVER}] (helo={OUT}) by {GW} with esmtp; x (",
    *(f"{OUT};", f'"{OUT}"', f"({OUT}", f"{OUT}\\", f"{OUT}\t[{SERVER}]", "\x07é"),
)


@pytest.mark.parametrize("number", range(len(HELOS)))
def test_a_stranger_before_a_relay_is_never_another(stand: Stand, postfix: Postfix, exim: Exim, number: int) -> None:
    """Whatever he says for HELO, and whatever Received fields he brings."""
    helo = HELOS[number]
    found = through_postfix(stand, postfix, notice(f"p{number}@x", FORGED, FORGED), f"p{number}@x", STRANGER, helo, "")
    assert (found["verdict"], found.get("client")) in (("unverified", STRANGER), ("unverified", None))
    seen = len(stand.log_lines())
    said = exim.relay(notice(f"e{number}@x", FORGED, FORGED), f"b@{DOMAIN}", RCPT, STRANGER, helo)
    assert " => marches@commune.example" in said, said
    found = logged(stand, f"e{number}@x", seen)
    assert (found["verdict"], found.get("client")) in (("unverified", STRANGER), ("unverified", None))


def test_a_proxy_that_speaks_xclient_is_no_relay(stand: Stand) -> None:
    """Postfix gives a milter the client that XCLIENT names: it is judged as if it had connected itself."""
    seen = len(stand.log_lines())
    reply = stand.postfix.send(notice("xclient@x", FORGED), f"b@{DOMAIN}", RCPT, SERVER, OUT)
    assert reply.code == 250
    found = logged(stand, "xclient@x", seen)
    assert (found["verdict"], found["client"], found.get("relay")) == ("verified", SERVER, None)

"""Mail that came by another way, or once more: through a relay of ours, forwarded, sent through a list, replayed."""

from __future__ import annotations

from typing import Any

from recipes import (
    ALLOWED,
    SERVER,
    STRANGER,
    TERNUM,
    case,
    key,
    message,
    on_top,
    session,
    signed_case,
    spf_case,
    spf_domain,
    txt,
    unverified,
    verified,
)

from harness.signing import Sign, sign

SRS = "SRS0=HHH=TT=ternum-bfc.fr=bounce@forwarder.example"

# ---- must be verified ---------------------------------------------------------------------------------------------

signed_case(
    "dkim-forwarded",
    "a forwarded notice, rewritten MAIL FROM, is still proven by DKIM",
    "RFC 7960 §3",
    verified("dkim"),
    session=session(SRS, STRANGER, "forwarder.example"),
)
signed_case(
    "dkim-forwarded-as-it-was",
    "a forwarded notice whose MAIL FROM was kept, so that SPF fails",
    "RFC 7208 D.1",
    verified("dkim", spf={"result": "fail"}),
    session=session("bounce@forwarded-as-it-was.ternum-bfc.fr", STRANGER, "forwarder.example"),
    zone=key("dkim-forwarded-as-it-was") + txt("forwarded-as-it-was.ternum-bfc.fr", ALLOWED),
)
signed_case(
    "dkim-redirected",
    "fields that a redirecting reader and a list put on top do not matter",
    "RFC 5322 §3.6.6; RFC 2369",
    verified("dkim"),
    top="Resent-From: moi@commune.example\r\nResent-To: vous@commune.example\r\nResent-Date: Sun, 22 Nov 2026 09:00:00 +0100\r\n"
    "List-Id: <liste.commune.example>\r\nPrecedence: list\r\nReceived: from a by b",
)
signed_case(
    "dkim-replayed",
    "a replay of an unchanged notice cannot be told from forwarding; require: all is against it",
    "RFC 6376 §8.6; draft-chuang-dkim-replay-problem",
    verified("dkim"),
    session=session(rcpts=["victime@commune.example", "autre@commune.example"]),
)

# ---- must not be verified -----------------------------------------------------------------------------------------

spf_case(
    "no-relayed-unsigned",
    "an unsigned notice that was forwarded with its MAIL FROM",
    "RFC 7208 D.1",
    unverified("no-aligned-pass", spf={"result": "fail"}),
    client=STRANGER,
)
spf_case(
    "no-relayed-rewritten",
    "an unsigned notice that was forwarded with a rewritten MAIL FROM: the forwarder's SPF cannot count",
    "Forward Pass (Liu et al. 2023)",
    unverified("no-aligned-pass", spf={"result": "none", "aligned": False}),
    record="",
    session=session(SRS.replace("forwarder", "no-relayed"), STRANGER, "no-relayed.example"),
    zone=txt("no-relayed.example", f"v=spf1 ip4:{STRANGER} -all"),
)
signed_case(
    "no-replayed-expired",
    "a replay after x= has passed",
    "RFC 6376 §3.5, x=; Proton 2021",
    unverified("signature-expired"),
    how={"tags": {"t": "1700000000", "x": "1700600000"}},
)
case(
    "no-replayed-to-another",
    "a replay with the victim's address as a second To",
    "RFC 6376 §8.15; draft-chuang-dkim-replay-problem",
    on_top("To: victime@commune.example", sign(message(), Sign(selector="no-replayed-to"))),
    key("no-replayed-to"),
    unverified("copy-not-signed"),
)
case(
    "no-replayed-require-all",
    "a replay from a host that the platform's SPF does not know, where the entry asks for both",
    "design#requirement, all",
    sign(message(f"Ternum <{TERNUM}>"), Sign(selector="no-replayed-all")),
    key("no-replayed-all") + txt("no-replayed-all.ternum-bfc.fr", ALLOWED),
    unverified("requirement-not-met"),
    session=session("b@no-replayed-all.ternum-bfc.fr", STRANGER),
    senders={"ternum-bfc": {"require": "all"}},
)
for name, field in [
    ("received-spf", "Received-SPF: pass (mx1.example.org: domain designates 203.0.113.66) client-ip=203.0.113.66;"),
    ("arc-results", "ARC-Authentication-Results: i=1; mx1.example.org; dkim=pass header.d=ternum-bfc.fr"),
]:
    case(
        f"no-relayed-{name}",
        f"what a relay says it found is no evidence: {field.partition(':')[0]}",
        "RFC 7208 §9.1; RFC 8617 §9",
        on_top(field, message()),
        "",
        unverified("no-aligned-pass"),
        session=session(client=SERVER),
    )

# ---- behind relays of ours: the client is read from their Received ------------------------------------------------

RELAY, EDGE = "198.51.100.7", "2001:db8:5::25"
GW, FRONT = "gw.provider.example", "edge.provider.example"
RELAYS = {
    "relays": [
        {"networks": ["198.51.100.0/28"], "received_by": [GW]},
        {"networks": ["2001:db8:5::/64", "203.0.113.0/28"], "received_by": [FRONT]},
    ]
}
DATE = "Sun, 22 Nov 2026 08:00:05 +0100 (CET)"
POSTFIX = f"by {GW} (Postfix) with ESMTPS id 4Tn2Kx6Zz1\r\n\tfor <marches@commune.example>; {DATE}"
EXIM = f"by {GW} with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.96)\r\n\t(envelope-from <b@mailer.example>)\r\n\tid 1r5abc-0000Ab-0C\r\n\tfor marches@commune.example;\r\n\t{DATE}"
SENDMAIL = f"by {GW} (8.17.1.9/8.17.1.9/Debian-2) with ESMTPS id 3AM70ABC123456\r\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NOT)\r\n\tfor <marches@commune.example>; {DATE}"
GOOGLE = f"by {GW} with ESMTPS id d9443c01a7336-1a2b3c4d5esi123456789.123.2026.11.22.00.00.00\r\n        for <marches@commune.example>\r\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n        Sun, 22 Nov 2026 00:00:00 -0800 (PST)"
EXCHANGE = f"by\r\n {GW} (198.51.100.7) with Microsoft SMTP Server (version=TLS1_2,\r\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.1.2507.39 via Frontend\r\n Transport; {DATE}"
TLS = "\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\t(No client certificate requested)\r\n\t"
OUT = "out.ternum-bfc.fr"
LOOPBACK = "127.0.0.1"


def through(
    name: str, proves: str, source: str, expected: dict[str, Any], *received: str, client: str = RELAY,
    record: str = ALLOWED, **more: Any,
) -> None:  # fmt: skip
    """A notice that only SPF can prove, handed over by a relay of ours that wrote these fields on top."""
    domain = spf_domain(name)
    data = on_top("\r\n".join(f"Received: {field}" for field in received), message()) if received else message()
    more = {"config": RELAYS, "session": session(f"bounce@{domain}", client, GW)} | more
    case(name, proves, source, data, txt(domain, record), expected, **more)


def seen(client: str | None, **more: Any) -> dict[str, Any]:
    return verified("spf", client=client, relay=RELAY, **more)


UNREADABLE = unverified("relay-unreadable", client=None, relay=RELAY, spf={"result": "none"})

for name, spelling, field in [
    ("postfix", "Postfix", f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX}"),
    ("postfix-tls", "Postfix, with what it says of TLS", f"from {OUT} ({OUT} [{SERVER}]){TLS}{POSTFIX}"),
    ("postfix-unknown", "Postfix, for a client without a name", f"from {OUT} (unknown [{SERVER}])\r\n\t{POSTFIX}"),
    ("exim", "Exim, for a client without a name", f"from [{SERVER}] (helo={OUT})\r\n\t{EXIM}"),
    ("exim-port", "Exim, with the client's port", f"from [{SERVER}] (port=51234 helo={OUT})\r\n\t{EXIM}"),
    ("exim-bare", "Exim, without a HELO name of its own", f"from {OUT} ([{SERVER}])\r\n\t{EXIM}"),
    ("exim-name", "Exim, name and HELO name", f"from {OUT} ([{SERVER}]:51234 helo=mail.{OUT})\r\n\t{EXIM}"),
    ("sendmail", "Sendmail", f"from {OUT} ({OUT} [{SERVER}])\r\n\t{SENDMAIL}"),
    ("sendmail-forged", "Sendmail, `may be forged`", f"from {OUT} (a.example [{SERVER}] (may be forged))\r\n\t{SENDMAIL}"),
    ("sendmail-ident", "Sendmail, with an answer of identd", f"from {OUT} (IDENT:root@{OUT} [{SERVER}])\r\n\t{SENDMAIL}"),
    ("sendmail-unnamed", "Sendmail, for a client without a name", f"from {OUT} ([{SERVER}])\r\n\t{SENDMAIL}"),
    ("google", "Google", f"from {OUT} ({OUT}. [{SERVER}])\r\n        {GOOGLE}"),
    ("google-unnamed", "Google, for a client without a name", f"from {OUT} ([{SERVER}])\r\n        {GOOGLE}"),
    ("exchange", "Exchange", f"from {OUT} ({SERVER}) {EXCHANGE}"),
]:  # fmt: skip
    through(f"relay-{name}", f"the client is read from a Received of {spelling}", "RFC 5321 §4.4", seen(SERVER), field)
for name, spelling, field in [
    ("postfix-ip6", "Postfix", f"from {OUT} ({OUT} [IPv6:2001:db8:1::5])\r\n\t{POSTFIX}"),
    ("exim-ip6", "Exim", f"from {OUT} ([2001:db8:1::5]:51234 helo=mail.{OUT})\r\n\t{EXIM}"),
    ("google-ip6", "Google", f"from {OUT} ({OUT}. [2001:db8:1::5])\r\n        {GOOGLE}"),
    ("exchange-ip6", "Exchange", f"from {OUT} (2001:db8:1::5) {EXCHANGE}"),
]:
    through(
        f"relay-{name}",
        f"an IPv6 client is read from a Received of {spelling}",
        "RFC 5321 §4.1.3, §4.4",
        seen("2001:db8:1::5"),
        field,
        record="v=spf1 ip6:2001:db8:1::/48 -all",
    )
through(
    "relay-mapped",
    "an IPv4-mapped address is the IPv4 address",
    "RFC 7208 §5",
    seen(SERVER),
    f"from {OUT} (unknown [IPv6:::ffff:{SERVER}])\r\n\t{POSTFIX}",
)
THROUGH_AMAVIS = (
    f"from localhost (localhost [{LOOPBACK}])\r\n\t{POSTFIX}",
    f"from {GW} ([{LOOPBACK}])\r\n\tby localhost ({GW} [{LOOPBACK}]) (amavisd-new, port 10024)\r\n\twith ESMTP id x1; {DATE}",
)
through(
    "relay-amavis",
    "a relay that hands mail on within itself, through a content filter",
    "amavisd-new, README.postfix",
    seen(SERVER),
    *THROUGH_AMAVIS,
    f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX}",
)
through(
    "relay-two",
    "two relays: each names the one before it",
    "RFC 5321 §4.4",
    seen(SERVER),
    f"from {FRONT} ({FRONT} [IPv6:{EDGE}])\r\n\t{POSTFIX}",
    f"from {OUT} ({OUT} [{SERVER}])\r\n\t{POSTFIX.replace(GW, FRONT)}",
)
through(
    "relay-case-of-its-name",
    "host names are compared without case",
    "RFC 4343",
    seen(SERVER),
    f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX.replace(GW, GW.upper())}",
)
through(
    "relay-fields-between",
    "other fields between and above those of the relays do not matter",
    "RFC 5321 §4.4",
    seen(SERVER),
    f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX}\r\nX-Spam-Status: No\r\nReceived-SPF: fail",
)
case(
    "relay-network",
    "the client behind a relay is compared with the entry's networks",
    "design#decision",
    on_top(f"Received: from {OUT} ({OUT} [{SERVER}]) {POSTFIX}", message()),
    "",
    verified("network", client=SERVER, relay=RELAY),
    session=session(client=RELAY),
    config=RELAYS,
    senders={"ternum-bfc": {"networks": ["192.0.2.0/28"]}},
)
through(
    "relay-inside-local-networks",
    "a relay is no client of our own, even inside local_networks",
    "RFC 5321 §4.4",
    seen(SERVER),
    f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX}",
    config=RELAYS | {"local_networks": ["198.51.100.0/24"]},
)
signed_case(
    "relay-dkim",
    "DKIM does not need to know the client",
    "RFC 6376",
    verified("dkim", client=None, relay=RELAY, spf={"reason": "relay-unreadable"}),
    session=session(client=RELAY),
    config=RELAYS,
)

# ---- … and what must not be read ----------------------------------------------------------------------------------

GENUINE = f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX}"  # as a forger writes it
for name, proves, fields in [
    ("none", "a relay that writes no Received, and a message without any of it", ()),
    ("by-another", "a field that another host wrote, or a forger for a relay that writes none", (GENUINE.replace(GW, "mx.evil.example"),)),
    ("by-below-its-name", "the name of the relay is compared as a whole", (GENUINE.replace(GW, f"{GW}.evil.example"),)),
    ("by-in-a-comment", "the name of the relay in the HELO name's place", (f"from {OUT} ({OUT} [{SERVER}]) (by {GW} (Postfix) with ESMTP id 1) {POSTFIX.replace(GW, 'mx.evil.example')}",)),
    ("no-from", "a field that names no client: a hand-over within a provider", (f"by {GW} with SMTP id abc123; {DATE}", GENUINE)),
    ("local", "a message from within the relay", (f"by {GW} (Postfix, from userid 33) id 4Tn2Kx6Zz1; {DATE}", GENUINE)),
    ("helo-shape", "a HELO name that has the shape of the rest", (f"from {OUT} ({OUT} [{SERVER}]) (x.example [{STRANGER}]) {POSTFIX}",)),
    ("helo-whole", "a HELO name that has the shape of a whole field", (f"from {OUT} ({OUT} [{SERVER}]) by {GW} (Postfix) with ESMTP id 1; now (x.example [{STRANGER}]) {POSTFIX}",)),
    ("helo-whole-no-date", "a HELO name that has the shape of a field up to its date", (f"from {OUT} ({OUT} [{SERVER}]) by {GW} (Postfix) with ESMTP id 1 (x.example [{STRANGER}]) by {GW} (Postfix) with ESMTP id 2; {DATE}",)),
    ("helo-exchange", "the same with Exchange, which writes no brackets", (f"from {OUT} ({SERVER}) by {GW} (198.51.100.7) with Microsoft SMTP Server id 1 ({STRANGER}) by {GW} (198.51.100.7) with Microsoft SMTP Server id 2; {DATE}",)),
    ("helo-exim", "the same with Exim: an address literal for HELO", (f"from [{SERVER}] (helo={OUT}) by {GW} with esmtp (Exim 4.96) ([{STRANGER}]) id 1; {DATE}",)),
    ("helo-literal", "an address literal for HELO, as Postfix writes it", (f"from [{SERVER}] (unknown [{STRANGER}]) {POSTFIX}",)),
    ("helo-literal-exim", "an address literal for HELO, as Exim writes it", (f"from [{STRANGER}] (helo=[{SERVER}]) {EXIM}",)),
    ("ident-shape", "an answer of identd that has the shape of a client", (f"from {OUT} (IDENT:a@b [{SERVER}] c@x.example [{STRANGER}]) {SENDMAIL}",)),
    ("certificate", "a certificate's name that holds an address", (f'from {OUT} (x.example [{STRANGER}]) (Client CN "x ([{SERVER}])", Issuer "y" (not verified)) {POSTFIX}',)),
    ("two-in-one", "two fields in one", (f"from {OUT} ({OUT} [{SERVER}]) {POSTFIX} from x.example (x.example [{STRANGER}]) {POSTFIX}",)),
    ("two-in-one-no-address", "two fields in one, of which the second has no address", (f"{GENUINE} from x.example by {GW}; {DATE}",)),
    ("no-date", "a field that does not end in a date", (GENUINE.partition(";")[0],)),
    ("8-bit", "octets over 127", (GENUINE.replace("Postfix", "Postfix é"),)),
    ("control", "a control character", (GENUINE.replace("Postfix", "Postfix \x07"),)),
    ("nested-comments", "comments inside comments beyond what a program writes", (f"from {OUT} ({OUT} [{SERVER}]) (((a))) {POSTFIX}",)),
    ("open-comment", "a comment that does not end", (f"from {OUT} ({OUT} [{SERVER}]) (using TLS {POSTFIX}",)),
    ("long", "a field of absurd length", (GENUINE.replace("Postfix", "Postfix" + " x" * 2000),)),
    ("not-an-address", "a number out of range", (GENUINE.replace(SERVER, "192.0.2.500"),)),
    ("octal", "an address with leading zeros, which others read as octal", (GENUINE.replace(SERVER, "192.000.002.005"),)),
    ("short-address", "an address in short form", (GENUINE.replace(SERVER, "192.517"),)),
    ("prefix-wrong", "an IPv4 address with the prefix of IPv6", (GENUINE.replace(SERVER, f"IPv6:{SERVER}"),)),
    ("zone", "an IPv6 address with a zone", (GENUINE.replace(SERVER, "IPv6:fe80::1%eth0"),)),
    ("network-address", "the unspecified address", (GENUINE.replace(SERVER, "0.0.0.0"),)),
    ("quoted", "a field in quotes", (f'"{GENUINE}"',)),
    ("other-program", "a program we do not know", (f"from {OUT} ({SERVER}) by {GW} with SMTP; 22 Nov 2026 07:00:05 -0000",)),
    ("loop-of-loopback", "loopback addresses, and nothing after them", (*THROUGH_AMAVIS,)),
    ("too-many", "more fields than we follow", (*[f"from {GW} ({GW} [{RELAY}]) {POSTFIX}"] * 8, GENUINE)),
    ("second-by-another", "the second field is not by the relay that the first one names", (f"from {FRONT} ({FRONT} [IPv6:{EDGE}]) {POSTFIX}", GENUINE)),
    ("second-missing", "the relay that the first field names wrote none", (f"from {FRONT} ({FRONT} [IPv6:{EDGE}]) {POSTFIX}",)),
]:  # fmt: skip
    through(f"no-relay-{name}", f"not read: {proves}", "RFC 5321 §4.4, §7.6", UNREADABLE, *fields)

JUDGED = unverified("no-aligned-pass", client=STRANGER, spf={"result": "fail"})
through(
    "no-relay-forged-below",
    "what a forger wrote stands below what the relay wrote of him",
    "RFC 5321 §4.4",
    JUDGED | {"relay": RELAY},
    f"from {OUT} (unknown [{STRANGER}])\r\n\t{POSTFIX}",
    GENUINE,
)
through(
    "no-relay-unlisted",
    "Received of a client that is no relay of ours is not read",
    "RFC 5321 §7.6",
    JUDGED | {"relay": None},
    GENUINE,
    client=STRANGER,
)
through(
    "no-relay-hop-unlisted",
    "the walk ends at the first host that is no relay of ours, whatever it wrote",
    "RFC 5321 §7.6",
    JUDGED | {"relay": RELAY},
    f"from {FRONT} ({FRONT} [{STRANGER}])\r\n\t{POSTFIX}",
    f"from {OUT} ({OUT} [{SERVER}])\r\n\t{POSTFIX.replace(GW, FRONT)}",
)
through(
    "no-relay-to-local",
    "a Received never makes a client one of our own",
    "RFC 5321 §7.6",
    unverified("no-aligned-pass", client="10.1.2.3", spf={"result": "fail"}),
    f"from {OUT} ({OUT} [10.1.2.3])\r\n\t{POSTFIX}",
    config=RELAYS | {"local_networks": ["10.0.0.0/8"]},
)
through(
    "no-relay-srs",
    "a relay that rewrites MAIL FROM: what SPF proves is not aligned any more",
    "RFC 7960 §3.1",
    unverified("no-aligned-pass", client=SERVER),
    GENUINE,
    session=session("SRS0=HHH=TT=ternum-bfc.fr=bounce@provider.example", RELAY, GW),
)
through(
    "no-relay-names-not-given",
    "Received is not read where the site has not named the hosts that write it",
    "RFC 5321 §7.6",
    unverified("behind-relay", client=None, relay=RELAY),
    GENUINE,
    config={"relays": [{"networks": [RELAY]}]},
)

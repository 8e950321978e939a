"""Mail that came by another way, or once more: forwarded, sent through a list, replayed."""

from __future__ import annotations

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
    "an unsigned notice that was forwarded with a rewritten MAIL FROM: SPF passes for the forwarder",
    "Forward Pass (Liu et al. 2023)",
    unverified("no-aligned-pass", spf={"result": "pass", "aligned": False}),
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
    "DESIGN §2, require: all",
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

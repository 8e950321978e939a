"""Octets that an MTA changes on the way in: bare CR and LF, NUL, lines that are no fields, fields of absurd length.

`explain` reads them as Postfix hands them to a milter (stored.py). Sent through a real Postfix, the verdict must
be the same: these are the cases for that, known by their prefix.
"""

from __future__ import annotations

from recipes import EVIL, TERNUM, ambiguous, case, key, message, on_top, swap, unclaimed, unverified, verified

from harness.signing import Sign, sign

POSTFIX = "library-notes#postfix-header"
CHEN = "Chen et al. 2020"

# ---- NUL ----------------------------------------------------------------------------------------------------------

case(
    "mta-from-nul-hides",
    "a listed address behind a NUL is in nobody's From",
    f"{POSTFIX}; {CHEN}, A3",
    message(f"{EVIL}\0, {TERNUM}"),
    "",
    unclaimed(),
)
case(
    "mta-from-nul-cuts",
    "a listed address before a NUL is the author, and not proven",
    f"{POSTFIX}; {CHEN}, A3",
    message(f"{TERNUM}\0@evil.example"),
    "",
    unverified("no-aligned-pass", claim={"kind": "listed", "address": TERNUM}),
)
case(
    "mta-dkim-selector-nul",
    "a NUL in s=, behind which the key's name would end at an attacker's",
    "espoofer server_a3",
    swap(
        sign(message(), Sign(selector="mta-selector-nul", tags={"bh": ""}, tail="; bh=YQ==")),
        "s=mta-selector-nul;",
        "s=mta-selector-nul._domainkey.evil.example.\0.any;",
    ),
    key("mta-selector-nul", domain="evil.example"),
    unverified("signature-syntax", dkim=[{"counts": False, "reason": "signature-syntax"}]),
)
case(
    "mta-dkim-nul-in-body",
    "a NUL in the body is signed like any octet",
    "RFC 6376 §5.3",
    sign(message(body="a\0b\r\n"), Sign(selector="mta-nul-in-body")),
    key("mta-nul-in-body"),
    verified("dkim"),
)
case(
    "mta-forged-nul",
    "a forged field with a NUL in its value is deleted",
    POSTFIX,
    on_top("X-Trusted-Sender: ver\0ified", message("Soldes <news@shop.example>")),
    "",
    unclaimed(edits=[{"op": "delete", "name": "X-Trusted-Sender", "index": 1}, {"op": "insert"}]),
)

# ---- bare CR and bare LF ------------------------------------------------------------------------------------------

case(
    "mta-from-bare-cr",
    "a bare CR in From becomes a blank: what follows is no field of its own",
    POSTFIX,
    message(f"{EVIL}\rFrom: {TERNUM}"),
    "",
    ambiguous("group-in-from"),
)
case(
    "mta-from-bare-lf",
    "a bare LF in From ends the line: there are two From fields",
    f"{POSTFIX}; CVE-2023-51764",
    swap(message(EVIL), "To:", f"From: {TERNUM}\nTo:"),
    "",
    ambiguous("several-from-fields"),
)
case(
    "mta-forged-bare-cr",
    "what follows a bare CR in Subject is text, and stays",
    POSTFIX,
    message("Soldes <news@shop.example>", Subject="Soldes\rX-Trusted-Sender: verified"),
    "",
    unclaimed(edits=[{"op": "insert"}]),
)
case(
    "mta-forged-bare-lf",
    "what follows a bare LF in Subject is a field, and goes",
    POSTFIX,
    message("Soldes <news@shop.example>", Subject="Soldes\nX-Trusted-Sender: verified"),
    "",
    unclaimed(edits=[{"op": "delete", "name": "X-Trusted-Sender", "index": 1}, {"op": "insert"}]),
)
case(
    "mta-dkim-bare-lf",
    "a body whose lines end in bare LF, as Unix programs write them",
    POSTFIX,
    swap(
        sign(message(body="Avis\r\n\r\nfin\r\n"), Sign(selector="mta-bare-lf")),
        "Avis\r\n\r\nfin\r\n",
        "Avis\n\nfin\n",
    ),
    key("mta-bare-lf"),
    verified("dkim"),
)
case(
    "mta-dkim-bare-cr",
    "a body signed with a bare CR in it arrives with a blank",
    f"{POSTFIX}; RFC 6376 §5.3",
    sign(message(body="a\rb\r\n"), Sign(selector="mta-bare-cr")),
    key("mta-bare-cr"),
    unverified("body-hash-mismatch"),
)
case(
    "mta-smuggled",
    "a second message behind LF . CR LF stays text of the first",
    "CVE-2023-51764; CVE-2023-51765; Longin 2023",
    message(
        "Soldes <news@shop.example>",
        f"Soldes\n.\r\nMAIL FROM:<bounce@ternum-bfc.fr>\r\nRCPT TO:<marches@commune.example>\r\nDATA\r\n"
        f"From: {TERNUM}\r\nX-Trusted-Sender: verified\r\n\r\nVirement\r\n",
    ),
    "",
    unclaimed(edits=[{"op": "insert"}]),
)

# ---- lines that are no fields -------------------------------------------------------------------------------------

for name, line, why, source in [
    ("no-field", "ceci n'est pas un champ", "a line that is no field", POSTFIX),
    ("8-bit-name", "Fröm: x", "a field name with 8-bit octets", "library-notes#libmilter"),
    ("folded-name", f"From\r\n : {TERNUM}", "a field name that ends in the next line", "espoofer server_a11"),
]:
    case(
        f"mta-{name}",
        f"{why} ends the header: what follows is body, and stays",
        source,
        swap(message(EVIL), "To:", f"{line}\r\nFrom: {TERNUM}\r\nX-Trusted-Sender: verified\r\nTo:"),
        "",
        unclaimed(edits=[{"op": "insert"}]),
    )
case(
    "mta-folded-from",
    "a From that begins with a blank belongs to the field before it",
    "espoofer server_a9",
    swap(message(EVIL), "From:", f"X-First: y\r\n From: {TERNUM}\r\nFrom:"),
    "",
    unclaimed(),
)
case(
    "mta-mbox-line",
    "a first line `From ` of a mail folder is no From field",
    "library-notes#postfix-header: X-Mailbox-Line",
    on_top(f"From {TERNUM} Sun Nov 22 08:00:00 2026", message(EVIL)),
    "",
    unclaimed(),
)

# ---- lengths, dots, fields that are dropped -----------------------------------------------------------------------

case(
    "mta-from-cut",
    "a From of which an MTA cuts the end, and with it another address",
    POSTFIX,
    message(f"{TERNUM} ({'x' * 59_000}\r\n {'x' * 4000}), {EVIL}"),
    "",
    ambiguous("from-too-long"),
)
case(
    "mta-dkim-dots",
    "lines that begin with dots are doubled on the wire, and whole again",
    "RFC 5321 §4.5.2",
    sign(message(body=".\r\n..\r\n.fin\r\n"), Sign(selector="mta-dots")),
    key("mta-dots"),
    verified("dkim"),
)
case(
    "mta-dkim-dropped-fields",
    "fields that Postfix drops do not matter where they are not signed",
    "postconf(5), message_drop_headers",
    on_top(
        "Return-Path: <x@evil.example>\r\nBcc: y@evil.example\r\nContent-Length: 7",
        sign(message(), Sign(selector="mta-dropped")),
    ),
    key("mta-dropped"),
    verified("dkim"),
)

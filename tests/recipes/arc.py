"""What forwarders and lists seal (ARC, RFC 8617): a message whose own proof they broke, and every way to cheat with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipes import (
    ALLOWED,
    SERVER,
    TERNUM,
    case,
    key,
    message,
    octets,
    on_top,
    session,
    swap,
    txt,
    unlisted,
    unverified,
    verified,
)

from harness.signing import SIGNED, Hop, Sign, seal, sign

FORWARDER, LIST, THIRD = "forwarder.example", "list.example", "third.example"
SEALERS = {"arc_sealers": [FORWARDER, LIST, THIRD]}
DKIM_PASS = "mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr header.s=s1"
SPF_PASS = "mx.forwarder.example; spf=pass smtp.mailfrom=bounce@ternum-bfc.fr"
ARC_PASS = "mx.list.example; arc=pass; spf=pass smtp.mailfrom=x@forwarder.example"
SUBJECT = {"Subject": "[liste] Avis de marche"}  # as a list rewrites it: the platform's own signature is broken


def as_list_sends(author: str = f"Ternum <{TERNUM}>", **fields: str) -> bytes:
    """A notice as a list passes it on: its Subject has a tag, its body a footer."""
    body = "Un nouvel avis est en ligne.\r\n-- \r\nListe des marches\r\n"
    return message(author, body, **SUBJECT | fields)


def sealed(data: bytes, *hops: Hop) -> bytes:
    """The message with the sets of these hops, numbered from 1."""
    for number, hop in enumerate(hops, 1):
        data = seal(data, replace(hop, instance=number))
    return data


def chain(name: str, *hops: Hop) -> bytes:
    """The message as these hops pass it on, with the selector that `arc_case` gives them."""
    return sealed(as_list_sends(), *(replace(hop, selector=name) for hop in hops))


def fields_of(data: bytes) -> tuple[list[bytes], bytes]:
    """The header fields, folded as they are, and the body."""
    header, _, body = data.partition(b"\r\n\r\n")
    return header.replace(b"\r\n\t", b"\0").replace(b"\r\n ", b"\1").split(b"\r\n"), body


def joined(fields: list[bytes], body: bytes) -> bytes:
    header = b"\r\n".join(fields).replace(b"\0", b"\r\n\t").replace(b"\1", b"\r\n ")
    return header + b"\r\n\r\n" + body


def without(data: bytes, start: str) -> bytes:
    """The message without the one header field that begins so."""
    fields, body = fields_of(data)
    kept = [f for f in fields if not f.startswith(octets(start))]
    if len(kept) != len(fields) - 1:
        raise ValueError(start)
    return joined(kept, body)


def arc_fields_last(data: bytes) -> bytes:
    """The message with its ARC fields below all others, the topmost last."""
    fields, body = fields_of(data)
    arc = [f for f in fields if f.startswith(b"ARC-")]
    return joined([f for f in fields if f not in arc] + arc[::-1], body)


def keys(*hops: Hop) -> str:
    """The key records of these hops, each once."""
    return "".join(dict.fromkeys(key(hop.selector, hop.key, hop.domain) for hop in hops))


def arc_case(
    name: str, proves: str, expected: dict[str, Any], *hops: Hop, data: bytes | None = None, sent: bytes | None = None,
    zone: str | None = None, source: str = "RFC 8617 §5.2", **more: Any,
) -> None:  # fmt: skip
    """A case with a chain of these hops, whose selectors all are the case's name."""
    hops = tuple(replace(hop, selector=name) for hop in hops)
    if sent is None:
        sent = sealed(as_list_sends() if data is None else data, *hops)
    more.setdefault("config", SEALERS)
    more.setdefault("session", session("x-bounces@list.example", helo="lists.list.example"))
    case(name, proves, source, sent, keys(*hops) if zone is None else zone, expected, **more)


def passed(*sealers: str) -> dict[str, Any]:
    return verified("arc", arc={"result": "pass", "sealers": list(sealers), "counts": True, "reason": None})


def refused(reason: str, result: str = "fail", verdict: str = "") -> dict[str, Any]:
    return unverified(verdict or reason, arc={"result": result, "counts": False, "reason": reason})


ONE = Hop(FORWARDER, results=DKIM_PASS)
TWO = (ONE, Hop(LIST, results=ARC_PASS))

# ---- must be verified ---------------------------------------------------------------------------------------------

arc_case("arc", "a forwarder that the site trusts saw DKIM pass", passed(FORWARDER), ONE)
arc_case("arc-spf", "a forwarder that the site trusts saw SPF pass", passed(FORWARDER), replace(ONE, results=SPF_PASS))
arc_case(
    "arc-spf-domain",
    "an SPF pass that names a domain alone",
    passed(FORWARDER),
    replace(ONE, results="mx.forwarder.example; spf=pass smtp.mailfrom=ternum-bfc.fr"),
    source="RFC 8601 §2.7.2",
)
arc_case(
    "arc-spf-quoted",
    "an SPF pass for a MAIL FROM in quotes",
    passed(FORWARDER),
    replace(ONE, results='mx.forwarder.example; spf=pass smtp.mailfrom="bounce@ternum-bfc.fr"'),
    source="RFC 8601 §2.2",
)
arc_case("arc-two", "two hops", passed(FORWARDER, LIST), *TWO)
arc_case(
    "arc-three",
    "three hops, of which the second changed the message once more",
    passed(FORWARDER, LIST, THIRD),
    *TWO,
    Hop(THIRD, results=ARC_PASS),
    sent=seal(
        swap(sealed(as_list_sends(), *(replace(hop, selector="arc-three") for hop in TWO)), "Liste des", "Forum des"),
        Hop(THIRD, "arc-three", ARC_PASS, 3),
    ),
)
arc_case(
    "arc-ten",
    "ten hops",
    passed(*[FORWARDER] * 10),
    *[ONE] * 10,
)
arc_case("arc-ed25519", "seals with Ed25519", passed(FORWARDER), replace(ONE, key="ed25519-a"), source="RFC 8463")
arc_case(
    "arc-simple",
    "a message signature in simple form",
    passed(FORWARDER),
    replace(ONE, canonicalization="simple/simple"),
)
arc_case(
    "arc-seal-unknown-tag",
    "a tag of a seal that no RFC knows is passed over",
    passed(FORWARDER),
    replace(ONE, seal={"gate": "north"}),
    source="RFC 8617 §4.1.3, RFC 6376 §3.2",
)
arc_case(
    "arc-order",
    "the fields of a chain may stand in any order, at the bottom of the header too",
    passed(FORWARDER, LIST),
    *TWO,
    sent=arc_fields_last(chain("arc-order", *TWO)),
    source="RFC 8617 §5.1.1.1",
)
arc_case(
    "arc-google",
    "what Google writes: i= for d=, comments, base64 in quotes",
    passed("google.example"),
    Hop(
        "google.example",
        results='mx.google.com;\r\n       dkim=pass header.i=@ternum-bfc.fr header.s=s1 header.b="ab/c+d";\r\n'
        "       spf=pass (google.com: domain of b@mailer.example designates 203.0.113.66 as permitted sender)"
        " smtp.mailfrom=b@mailer.example;\r\n       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=ternum-bfc.fr",
    ),
    config={"arc_sealers": ["google.example"]},
    source="ARC-Authentication-Results as Gmail writes them",
)
arc_case(
    "arc-microsoft",
    "what Microsoft writes: a version, action= without a type",
    passed("microsoft.example"),
    Hop(
        "microsoft.example",
        results="mx.microsoft.com 1; spf=pass (sender ip is\r\n 203.0.113.66) smtp.rcpttodomain=commune.example"
        " smtp.mailfrom=mailer.example; dmarc=pass (p=none sp=none\r\n pct=100) action=none header.from=ternum-bfc.fr;"
        " dkim=pass (signature was\r\n verified) header.d=ternum-bfc.fr; arc=none (0)",
    ),
    config={"arc_sealers": ["microsoft.example"]},
    source="ARC-Authentication-Results as Exchange Online writes them",
)
arc_case(
    "arc-beside-a-broken-signature",
    "the platform's own signature is broken by the list, and ARC tells that it was not",
    passed(FORWARDER)
    | {"dkim": [{"result": "fail", "aligned": True, "counts": False, "reason": "body-hash-mismatch"}]},
    ONE,
    sent=seal(
        swap(sign(message(), Sign(selector="arc-beside")), "en ligne", "en ligne (liste)"),
        Hop(FORWARDER, "arc-beside-a-broken-signature"),
    ),
    zone=keys(replace(ONE, selector="arc-beside-a-broken-signature")) + key("arc-beside"),
)
arc_case(
    "arc-not-needed",
    "where DKIM proves the message, nobody asks for ARC",
    verified("dkim", arc={"result": "none", "counts": False}),
    ONE,
    sent=seal(sign(message(), Sign(selector="arc-not-needed")), replace(ONE, selector="arc-none")),
    zone=key("arc-not-needed"),
)
arc_case(
    "arc-not-needed-spf",
    "where SPF proves the message, nobody asks for ARC",
    verified("spf", arc={"result": "none", "counts": False}),
    ONE,
    session=session("bounce@arc-not-needed-spf.ternum-bfc.fr", SERVER),
    zone=keys(replace(ONE, selector="arc-not-needed-spf")) + txt("arc-not-needed-spf.ternum-bfc.fr", ALLOWED),
)
arc_case(
    "arc-not-needed-network",
    "where the network proves the message, nobody asks for ARC",
    verified("network", arc={"result": "none", "counts": False}),
    ONE,
    session=session(client=SERVER),
    senders={"ternum-bfc": {"networks": [SERVER]}},
)
arc_case(
    "arc-unlisted-address",
    "another address of the domain, proven by ARC, is unlisted",
    unlisted("arc", "ternum-bfc", arc={"result": "pass"}),
    ONE,
    data=as_list_sends("contact@ternum-bfc.fr"),
)
arc_case(
    "arc-signer",
    "a pass by one of the entry's signers",
    passed(FORWARDER),
    replace(ONE, results="mx.forwarder.example; dkim=pass header.d=operator.example"),
    senders={"ternum-bfc": {"signers": ["operator.example"]}},
    source="design#evidence-arc",
)

# ---- must not be verified: who sealed -----------------------------------------------------------------------------

NO_PASS = "no-aligned-pass"
arc_case(
    "no-arc-off",
    "without arc_sealers no chain is looked at",
    unverified(NO_PASS, arc={"result": "none"}),
    ONE,
    config={},
    source="RFC 8617 §9",
)
UNLISTED = refused("arc-sealer-unlisted", "neutral", NO_PASS)
arc_case("no-arc-unlisted", "a sealer whom nobody trusts", UNLISTED, Hop("evil.example"), source="RFC 8617 §9.2")
arc_case(
    "no-arc-below-a-sealer",
    "a sealer's sub-domain is another sealer",
    UNLISTED,
    Hop(f"customer.{FORWARDER}"),
    source="RFC 8617 §9.2",
)
arc_case(
    "no-arc-first-unlisted",
    "a forger's first hop, sealed once more by a forwarder whom the site trusts",
    UNLISTED,
    Hop("evil.example", results=DKIM_PASS),
    Hop(LIST, results=ARC_PASS),
    source="RFC 8617 §9.2",
)
arc_case(
    "no-arc-middle-unlisted",
    "a hop between that nobody trusts",
    UNLISTED,
    ONE,
    Hop("evil.example", results=ARC_PASS),
    Hop(LIST, results=ARC_PASS),
    source="RFC 8617 §9.2",
)
arc_case("no-arc-last-unlisted", "the last hop is nobody's", UNLISTED, ONE, Hop("evil.example"), source="RFC 8617 §9.2")
arc_case(
    "no-arc-signed-by-another",
    "a message signature by another domain than the seal's",
    refused("arc-chain-broken"),
    replace(ONE, signature={"d": "evil.example"}),
    zone=keys(replace(ONE, selector="no-arc-signed-by-another"))
    + key("no-arc-signed-by-another", domain="evil.example"),
)
arc_case(
    "no-arc-signed-with-another-selector",
    "a message signature with another key than the seal's",
    refused("arc-chain-broken"),
    replace(ONE, signature={"s": "weak"}),
    zone=keys(replace(ONE, selector="no-arc-signed-with-another-selector")) + key("weak", domain=FORWARDER),
)

# ---- … what the first hop says ------------------------------------------------------------------------------------

for name, proves, results in [
    ("fail", "a fail", "mx.forwarder.example; dkim=fail header.d=ternum-bfc.fr"),
    ("none", "no results", "mx.forwarder.example; none"),
    ("unaligned", "passes for other domains", "mx.forwarder.example; dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=x@evil.example"),
    ("suffix", "a pass for a domain that ends the same", "mx.forwarder.example; dkim=pass header.d=xternum-bfc.fr"),
    ("below", "a pass for a domain of which the platform's is a part", "mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr.evil.example"),
    ("helo", "an SPF pass of HELO alone", "mx.forwarder.example; spf=pass smtp.helo=ternum-bfc.fr"),
    ("dmarc", "a DMARC pass, which the issue's rule does not know", "mx.forwarder.example; dmarc=pass header.from=ternum-bfc.fr"),
    ("arc", "an ARC pass", "mx.forwarder.example; arc=pass header.d=ternum-bfc.fr"),
    ("domain-twice", "one result with two domains", "mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr header.d=evil.example"),
    ("no-domain", "a pass without a domain", "mx.forwarder.example; dkim=pass"),
    ("in-a-comment", "a pass in a comment", "mx.forwarder.example; dkim=fail (dkim=pass header.d=ternum-bfc.fr) header.d=ternum-bfc.fr"),
    ("in-a-value", "a pass inside a quoted value", 'mx.forwarder.example; spf=pass smtp.mailfrom="x;dkim=pass header.d=ternum-bfc.fr;"'),
    ("in-a-local-part", "a pass inside a local part that was not quoted", "mx.forwarder.example; spf=pass smtp.mailfrom=x;dkim=pass header.d=ternum-bfc.fr;@evil.example"),
    ("two-at-signs", "a MAIL FROM of two domains", 'mx.forwarder.example; spf=pass smtp.mailfrom="x@ternum-bfc.fr@evil.example"'),
    ("unreadable", "a quoted string that does not end", 'mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr; spf=pass smtp.mailfrom="x'),
    ("nothing", "nothing at all", ""),
    ("empty-result", "a result that is empty", "mx.forwarder.example;; dkim=pass header.d=ternum-bfc.fr"),
    ("no-server-first", "a result where the name of who found them should be", "spf=fail smtp.mailfrom=evil.example; dkim=pass header.d=ternum-bfc.fr"),
    ("no-server", "results without the name of who found them", "dkim=pass header.d=ternum-bfc.fr"),
    ("8-bit", "octets that are no UTF-8", "mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr reason=\udce9"),
]:  # fmt: skip
    arc_case(
        f"no-arc-says-{name}",
        f"the first hop says no aligned pass: {proves}",
        refused("arc-no-aligned-pass", "neutral"),
        replace(ONE, results=results),
        source="RFC 8601 §2.2; RFC 8617 §4.1.1",
    )
arc_case(
    "no-arc-second-says",
    "a pass that only the second hop tells of",
    refused("arc-no-aligned-pass", "neutral"),
    replace(ONE, results="mx.forwarder.example; dkim=fail header.d=ternum-bfc.fr"),
    Hop(LIST, results=DKIM_PASS),
)
arc_case(
    "no-arc-evidence-domain",
    "a pass for a sub-domain that the entry does not name",
    refused("arc-no-aligned-pass", "neutral"),
    replace(ONE, results="mx.forwarder.example; dkim=pass header.d=old.ternum-bfc.fr"),
    senders={"ternum-bfc": {"evidence_domains": ["ternum-bfc.fr"]}},
    source="design#evidence-arc",
)
for require in ("dkim", "spf", "all"):
    arc_case(
        f"no-arc-require-{require}",
        f"require: {require} asks for what we see ourselves",
        unverified(NO_PASS, arc={"result": "none", "counts": False}),
        ONE,
        senders={"ternum-bfc": {"require": require}},
        source="design#evidence-arc",
    )

# ---- … the chain --------------------------------------------------------------------------------------------------

BROKEN = refused("arc-chain-broken")
GAP = Hop(LIST, results=ARC_PASS)


for name, proves, hops in [
    ("cv-fail", "the second hop found the chain broken", (ONE, replace(GAP, cv="fail"))),
    ("cv-none-later", "the second hop says there was no chain", (ONE, replace(GAP, cv="none"))),
    ("cv-pass-first", "the first hop says there was a chain", (replace(ONE, cv="pass"),)),
    ("cv-case", "cv= in another case", (replace(ONE, cv="None"),)),
    ("cv-unknown", "cv= is no word of the RFC", (replace(ONE, cv="maybe"),)),
    ("cv-missing", "no cv=", (replace(ONE, seal={"cv": ""}),)),
]:  # fmt: skip
    arc_case(f"no-arc-{name}", proves, BROKEN, *hops, source="RFC 8617 §4.1.3, §5.2")
arc_case(
    "no-arc-seal-query",
    "a seal whose key is not in the DNS",
    refused("signature-syntax"),
    replace(ONE, seal={"q": "post/carrier-pigeon"}),
    source="RFC 6376 §3.5",
)
for field in ("ARC-Authentication-Results: i=1", "ARC-Message-Signature: a=rsa-sha256", "ARC-Seal: i=1"):
    name = f"no-arc-without-{field.partition(':')[0].removeprefix('ARC-').lower()}"
    arc_case(name, f"the set lacks its {field.partition(':')[0]}", BROKEN, ONE, sent=without(chain(name, ONE), field))
arc_case(
    "no-arc-gap",
    "sets 1 and 3",
    BROKEN,
    ONE,
    replace(GAP, instance=3),
    sent=seal(chain("no-arc-gap", ONE), Hop(LIST, "no-arc-gap", ARC_PASS, 3)),
)
arc_case(
    "no-arc-without-the-first",
    "the set of the first hop was taken away",
    BROKEN,
    *TWO,
    sent=without(
        without(without(chain("no-arc-without-the-first", *TWO), "ARC-Seal: i=1"), "ARC-Authentication-Results: i=1"),
        "ARC-Message-Signature: a=rsa-sha256; c=relaxed/relaxed; d=forwarder",
    ),
)
arc_case(
    "no-arc-twice",
    "a whole set twice",
    BROKEN,
    ONE,
    sent=seal(chain("no-arc-twice", ONE), Hop(FORWARDER, "no-arc-twice")),
)
arc_case(
    "no-arc-results-on-top",
    "forged results of the first hop on top of the true ones",
    BROKEN,
    replace(ONE, results="mx.forwarder.example; dkim=fail header.d=ternum-bfc.fr"),
    sent=on_top(
        f"ARC-Authentication-Results: i=1; {DKIM_PASS}",
        chain("no-arc-results-on-top", replace(ONE, results="mx.forwarder.example; dkim=fail header.d=ternum-bfc.fr")),
    ),
)
for name, text in [
    ("zero", "0"),
    ("word", "a"),
    ("leading-zero", "01"),
    ("fifty-one", "51"),
    ("huge", "9" * 30),
    ("sign", "+1"),
]:
    full = f"no-arc-instance-{name}"
    data = chain(full, ONE).replace(b" i=1;", octets(f" i={text};"))
    arc_case(full, f"an instance that is none: {text[:5]}", BROKEN, ONE, sent=data, source="RFC 8617 §4.2.1")
arc_case(
    "no-arc-results-instance-late",
    "results that do not begin with their instance",
    BROKEN,
    ONE,
    sent=swap(chain("no-arc-results-instance-late", ONE), f"i=1; {DKIM_PASS}", f"{DKIM_PASS}; i=1"),
    source="RFC 8617 §4.1.1",
)
arc_case("no-arc-eleven", "more hops than are followed", BROKEN, *[ONE] * 11, source="RFC 8617 §4.2.1")
arc_case(
    "no-arc-none",
    "no field of ARC, where forwarders are trusted",
    unverified(NO_PASS, arc={"result": "none"}),
    sent=as_list_sends(),
)
arc_case(
    "no-arc-results-too-large",
    "results of 20 kB",
    refused("signature-too-large"),
    replace(ONE, results=f"{DKIM_PASS}; spf=neutral smtp.mailfrom={'x' * 20_000}@mailer.example"),
    source="design#limits",
)
arc_case(
    "no-arc-junk",
    "fields of ARC without sense",
    BROKEN,
    sent=on_top("ARC-Seal: \r\n ;;=;\r\nARC-Message-Signature: x\r\nARC-Authentication-Results: ", as_list_sends()),
)
arc_case(
    "no-arc-absurd",
    "five hundred seals",
    BROKEN,
    sent=on_top(
        "\r\n".join(f"ARC-Seal: i={i}; cv=pass; d=forwarder.example; s=x; b=AAAA" for i in range(500)), as_list_sends()
    ),
)

# ---- … its cryptography -------------------------------------------------------------------------------------------

MISMATCH = refused("signature-mismatch")
for name, proves, expected, changes in [
    ("body-changed", "a seal on another body", refused("body-hash-mismatch"), ("Un nouvel avis", "Un faux avis")),
    ("from-changed", "From changed after sealing", MISMATCH, (f"Ternum <{TERNUM}>", f"Ternum BFC <{TERNUM}>")),
    ("subject-changed", "the Subject changed after sealing", MISMATCH, ("[liste] Avis", "[liste] Faux")),
    ("results-changed", "the results changed after sealing", MISMATCH, ("dkim=fail header.d=evil.example", "dkim=pass header.d=ternum-bfc.fr")),
]:  # fmt: skip
    full = f"no-arc-{name}"
    hop = (
        replace(ONE, results="mx.forwarder.example; dkim=fail header.d=evil.example")
        if name == "results-changed"
        else ONE
    )
    arc_case(full, proves, expected, hop, sent=swap(chain(full, hop), *changes))
arc_case(
    "no-arc-first-results-changed",
    "the results of the first hop changed after the second had sealed them",
    MISMATCH,
    *TWO,
    sent=swap(
        chain(
            "no-arc-first-results-changed",
            replace(ONE, results="mx.forwarder.example; dkim=fail header.d=ternum-bfc.fr"),
            GAP,
        ),
        "dkim=fail",
        "dkim=pass",
    ),
)
arc_case(
    "no-arc-first-seal-broken",
    "a first seal that does not fit, under a second that does",
    MISMATCH,
    Hop(FORWARDER, results=DKIM_PASS, seal={"t": "1700000000"}),
    GAP,
    sent=seal(
        swap(chain("no-arc-first-seal-broken", replace(ONE, seal={"t": "1700000000"})), "t=1700000000", "t=1700000001"),
        Hop(LIST, "no-arc-first-seal-broken", ARC_PASS, 2),
    ),
)
arc_case(
    "no-arc-seal-by-another-key",
    "a seal with another key than the one in DNS",
    MISMATCH,
    replace(ONE, key="rsa2048", seal_key="other2048"),
)
arc_case(
    "no-arc-signed-by-another-key",
    "a message signature with another key than the one in DNS",
    MISMATCH,
    replace(ONE, key="other2048", seal_key="rsa2048"),
    zone=key("no-arc-signed-by-another-key", "rsa2048", FORWARDER),
)
arc_case(
    "no-arc-second-subject",
    "a second Subject on top",
    refused("copy-not-signed"),
    ONE,
    sent=on_top("Subject: Faux avis", chain("no-arc-second-subject", ONE)),
)
arc_case(
    "no-arc-from-unsigned",
    "From not covered",
    refused("from-not-signed"),
    replace(ONE, signed=[n for n in SIGNED if n != "From"]),
)
arc_case(
    "no-arc-subject-unsigned",
    "Subject not covered",
    refused("subject-not-signed"),
    replace(ONE, signed=[n for n in SIGNED if n != "Subject"]),
)
arc_case(
    "no-arc-body-length", "l= in the message signature", refused("body-length-tag"), replace(ONE, signature={"l": "20"})
)
arc_case(
    "no-arc-first-body-length",
    "l= in the message signature of the first hop: the second could not see what was added",
    refused("body-length-tag"),
    replace(ONE, signature={"l": "20"}),
    GAP,
)
arc_case(
    "no-arc-sha1", "rsa-sha1", refused("algorithm-weak"), replace(ONE, algorithm="rsa-sha1"), source="RFC 8301 §3.1"
)
arc_case(
    "no-arc-short-key",
    "a key of 512 bits",
    refused("key-too-short"),
    replace(ONE, key="rsa512"),
    source="RFC 8301 §3.2",
)
arc_case(
    "no-arc-future", "sealed in the future", refused("signature-in-future"), replace(ONE, seal={"t": "4070908800"})
)
arc_case(
    "no-arc-expired",
    "a message signature that has expired",
    refused("signature-expired"),
    replace(ONE, signature={"x": "1700600000"}),
)
arc_case(
    "no-arc-seal-with-h",
    "h= in a seal",
    refused("signature-syntax"),
    replace(ONE, seal={"h": "from"}),
    source="RFC 8617 §4.1.3",
)
arc_case(
    "no-arc-signs-seals",
    "a message signature that covers seals",
    refused("signature-syntax"),
    replace(ONE, signed=[*SIGNED, "ARC-Seal"]),
    source="RFC 8617 §4.1.2",
)
arc_case(
    "no-arc-large",
    "a set that is too large",
    refused("signature-too-large"),
    replace(ONE, seal={"z": "x" * 20000}),
    source="design#evidence-arc",
)
arc_case(
    "no-arc-blanks",
    "a set with a long run of blanks",
    refused("signature-too-large"),
    replace(ONE, seal={"z": "x" + " " * 200 + "x"}),
    source="design#evidence-arc",
)
for name, proves, reason, tags in [
    ("test-key", "a key in test mode", "key-test-mode", {"t": "y"}),
    ("revoked-key", "a revoked key", "key-revoked", {"p": ""}),
    ("key-not-for-email", "a key that is not for e-mail", "key-not-for-email", {"s": "tlsrpt"}),
]:  # fmt: skip
    arc_case(
        f"no-arc-{name}",
        proves,
        refused(reason),
        ONE,
        zone=key(f"no-arc-{name}", "rsa2048", FORWARDER, **tags),
        source="RFC 6376 §3.6.1",
    )
arc_case("no-arc-no-key", "no key in DNS", refused("key-missing"), ONE, zone="")
arc_case(
    "arc-dns-timeout",
    "DNS that does not answer for the key of a seal",
    {"verdict": "undetermined", "reason": "dns-temperror", "arc": {"result": "temperror"}, "dns": "temperror"},
    replace(ONE, domain="silent-sealer.example"),  # of no other case: DNS does not answer for this sealer at all
    zone=";timeout arc-dns-timeout._domainkey.silent-sealer.example\n",
    source="RFC 8617 §5.2",
    config={"arc_sealers": ["silent-sealer.example"]},
)

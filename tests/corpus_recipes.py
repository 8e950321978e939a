"""How the corpus is made: `python tests/corpus_recipes.py` writes tests/corpus/ anew, always the same.

A recipe says in one line what it proves. Signatures are real: made with the keys of tests/keys. Every case has
its own selector, and its own sub-domain for SPF, so that one DNS server can serve them all.
"""

from __future__ import annotations

import shutil
import sys
from datetime import date
from typing import Any

from harness.corpus import FOLDER, NOW, Case
from harness.signing import SIGNED, Sign, key_record, sign

TERNUM = "nepasrepondre@ternum-bfc.fr"
OPIC = "noreply.opic@visma.com"
SERVER = "192.0.2.5"  # sends for the platforms
STRANGER = "203.0.113.66"
CASES: list[Case] = []


# ---- messages, zones, sessions -----------------------------------------------------------------------


def message(
    author: str | None = f"Ternum <{TERNUM}>", body: str = "Un nouvel avis est en ligne.\r\n", **fields: str
) -> bytes:
    """A plain notice; `fields` replace or add header fields (`_` for `-`); an empty value takes one out."""
    header = {"Received": " from app by mx", "From": author or "", "To": "marches@commune.example"}
    header |= {
        "Subject": "Avis de marche",
        "Date": "Sun, 22 Nov 2026 08:00:00 +0100",
        "Message-ID": "<1@ternum-bfc.fr>",
    }
    header |= {"MIME-Version": "1.0", "Content-Type": "text/plain; charset=utf-8"}
    header |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value.strip(' ')}\r\n" for name, value in header.items() if value]
    return ("".join(lines) + "\r\n" + body).encode("utf-8", "surrogateescape")


def on_top(added: str, to: bytes) -> bytes:
    return added.encode("utf-8", "surrogateescape") + b"\r\n" + to


def txt(name: str, text: str) -> str:
    """A TXT record, cut into strings of 200 octets."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    strings = " ".join(f'"{quoted[i : i + 200]}"' for i in range(0, len(quoted), 200)) or '""'
    return f"{name}. 300 IN TXT {strings}\n"


def key(selector: str, name: str = "rsa2048", domain: str = "ternum-bfc.fr", **tags: str) -> str:
    return txt(f"{selector}._domainkey.{domain}", key_record(name, **tags))


def session(
    mail_from: str = "bounce@mailer.example", client: str = STRANGER, helo: str = "mail.mailer.example", **more: Any
) -> dict[str, Any]:
    return {"client": client, "helo": helo, "mail_from": mail_from, "rcpts": ["marches@commune.example"]} | more


def case(name: str, proves: str, source: str, data: bytes, zone: str, expected: dict[str, Any], **more: Any) -> None:
    more.setdefault("session", session())
    CASES.append(Case(name, proves, source, data, zone, expected=expected, **more))


def verified(by: str, sender: str = "ternum-bfc", **more: Any) -> dict[str, Any]:
    return {"verdict": "verified", "sender": sender, "by": by, "reason": None, "action": "tag"} | more


def unverified(reason: str, sender: str = "ternum-bfc", **more: Any) -> dict[str, Any]:
    return {"verdict": "unverified", "sender": sender, "by": None, "reason": reason, "action": "tag"} | more


def unclaimed(**more: Any) -> dict[str, Any]:
    return {"verdict": "unclaimed", "sender": None, "by": None, "reason": None, "dkim": [], "dns": "ok"} | more


def signed_case(
    name: str, proves: str, source: str, expected: dict[str, Any], *, data: bytes | None = None,
    zone: str | None = None, top: str = "", how: dict[str, Any] | None = None, record: dict[str, str] | None = None,
    **more: Any,
) -> None:  # fmt: skip
    """A case with one DKIM signature, whose selector is the case's name, and nothing from SPF."""
    signature = Sign(**{"selector": name} | (how or {}))
    signed = sign(message() if data is None else data, signature)
    if zone is None:
        zone = key(signature.selector, signature.key, signature.domain, **(record or {}))
    case(name, proves, source, on_top(top, signed) if top else signed, zone, expected, **more)


def spf_case(
    name: str, proves: str, source: str, expected: dict[str, Any], *, record: str | list[str], zone: str = "",
    client: str = SERVER, author: str = f"Ternum <{TERNUM}>", **more: Any,
) -> None:  # fmt: skip
    """A case that only SPF can prove, for a MAIL FROM of a sub-domain of its own."""
    domain = f"{name}.{'visma.com' if 'visma' in author else 'ternum-bfc.fr'}"
    more.setdefault("session", session(f"bounce@{domain}", client, f"out.{domain}"))
    records = "".join(txt(domain, text) for text in ([record] if isinstance(record, str) else record) if text)
    case(name, proves, source, message(author), records + zone, expected, **more)


COUNTS = {"counts": True, "result": "pass"}


def excluded(reason: str, result: str) -> dict[str, Any]:
    """What is expected where the one signature does not count."""
    return unverified(reason, dkim=[{"counts": False, "aligned": True, "reason": reason, "result": result}])


# ---- must be verified: DKIM ----------------------------------------------------------------------------

signed_case(
    "dkim-relaxed",
    "an ordinary signed notice is verified by DKIM",
    "RFC 6376",
    verified("dkim", dkim=[COUNTS | {"bits": 2048, "algorithm": "rsa-sha256"}]),
)
signed_case(
    "dkim-simple",
    "simple canonicalisation of header and body",
    "RFC 6376 §3.4.1, §3.4.3",
    verified("dkim"),
    how={"canonicalization": "simple/simple"},
)
signed_case(
    "dkim-simple-relaxed",
    "simple header with relaxed body",
    "RFC 6376 §3.5",
    verified("dkim"),
    how={"canonicalization": "simple/relaxed"},
)
signed_case(
    "dkim-relaxed-only",
    "c=relaxed alone means a simple body",
    "RFC 6376 §3.5",
    verified("dkim"),
    how={"canonicalization": "relaxed/simple", "tags": {"c": "relaxed"}},
)
signed_case(
    "dkim-ed25519",
    "an Ed25519 signature counts",
    "RFC 8463",
    verified("dkim", dkim=[COUNTS | {"algorithm": "ed25519-sha256"}]),
    how={"key": "ed25519a"},
)
signed_case(
    "dkim-rsa1024", "an RSA key of 1024 bits is long enough", "RFC 8301 §3.2", verified("dkim"), how={"key": "rsa1024"}
)
signed_case(
    "dkim-subdomain-signs",
    "d= may be a sub-domain of the entry's domain",
    "DESIGN §2, aligned",
    verified("dkim"),
    how={"domain": "mail.ternum-bfc.fr"},
)
signed_case(
    "dkim-upper-case-domain",
    "d= is compared as lower-case A-labels",
    "RFC 6376 §3.5",
    verified("dkim"),
    how={"domain": "Ternum-BFC.FR"},
    zone=key("dkim-upper-case-domain"),
)
signed_case(
    "dkim-content-type-unsigned",
    "an unsigned Content-Type counts, and is reported",
    "DESIGN §2",
    verified("dkim", dkim=[COUNTS | {"reason": "content-type-not-signed"}]),
    how={"signed": ("From", "To", "Subject", "Date")},
)
signed_case(
    "dkim-key-of-email-and-more",
    "a key for several services, e-mail among them",
    "RFC 6376 §3.6.1",
    verified("dkim"),
    record={"s": "email:tlsrpt"},
)
signed_case(
    "dkim-key-of-both-hashes",
    "a key for sha1 and sha256",
    "RFC 6376 §3.6.1",
    verified("dkim"),
    record={"h": "sha1:sha256"},
)
signed_case(
    "dkim-key-strict-identity",
    "a t=s key with i= of the very domain",
    "RFC 6376 §3.6.1",
    verified("dkim"),
    how={"tags": {"i": "@ternum-bfc.fr"}},
    record={"t": "s"},
)
signed_case(
    "dkim-blank-after-b",
    "a blank after the value of b= is not hashed",
    "RFC 6376 §3.7; PITFALLS, dkimpy",
    verified("dkim"),
    how={"layout": " ;\r\n\t", "canonicalization": "simple/simple"},
)
signed_case("dkim-empty-body", "a message without any body", "RFC 6376 §3.4.4", verified("dkim"), data=message(body=""))
signed_case(
    "dkim-no-final-line-end",
    "a body whose last line does not end",
    "RFC 6376 §3.4.3",
    verified("dkim"),
    data=message(body="Avis\r\n\r\n  fin"),
)
signed_case(
    "dkim-8-bit",
    "an 8-bit body and an unencoded UTF-8 display name",
    "RFC 6532",
    verified("dkim"),
    data=message(f'"Territoires Numériques" <{TERNUM}>', "Été à la mairie\r\n"),
)
signed_case(
    "dkim-blanks-in-body",
    "runs of blanks and empty lines at the end of the body",
    "RFC 6376 §3.4.4",
    verified("dkim"),
    data=message(body="a \t b  \r\n \t\r\n\r\n\r\n"),
)
signed_case(
    "dkim-expires-later",
    "t= in the past, x= in the future",
    "RFC 6376 §3.5",
    verified("dkim"),
    how={"tags": {"t": "1700000000", "x": "4102444800"}},
)
signed_case(
    "dkim-by-listed-signer",
    "the entry's `signers` may sign with their own d=",
    "DESIGN §2",
    verified("dkim"),
    how={"domain": "operator.example"},
    senders={"ternum-bfc": {"signers": ["operator.example"]}},
)
signed_case(
    "dkim-cname-key",
    "the key record behind a CNAME",
    "RFC 1034 §3.6.2",
    verified("dkim"),
    zone="dkim-cname-key._domainkey.ternum-bfc.fr. 300 IN CNAME key.dkim-cname-key.example.\n"
    + txt("key.dkim-cname-key.example", key_record()),
)
case(
    "dkim-second-signature-good", "one broken signature does not spoil a good one", "RFC 6376 §4.2",
    sign(sign(message(), Sign(selector="dkim-second-good")), Sign(selector="dkim-first-bad", tags={"bh": "YWJj"})),
    key("dkim-second-good") + key("dkim-first-bad"),
    verified("dkim", dkim=[{"counts": False, "reason": "body-hash-mismatch"}, COUNTS]),
)  # fmt: skip
case(
    "dkim-aligned-behind-eleven", "aligned signatures are looked at first, however many others stand above", "DESIGN §2",
    "".join(f"DKIM-Signature: v=1; a=rsa-sha256; d=x{i}.example; s=s; h=from; bh=; b=\r\n" for i in range(11)).encode()
    + sign(message(), Sign(selector="dkim-behind-eleven")), key("dkim-behind-eleven"), verified("dkim"),
)  # fmt: skip
signed_case(
    "dkim-forwarded",
    "a forwarded notice, rewritten MAIL FROM, is still proven by DKIM",
    "RFC 7960 §3",
    verified("dkim"),
    session=session("SRS0=HHH=TT=ternum-bfc.fr=bounce@forwarder.example", STRANGER, "forwarder.example"),
)
signed_case(
    "dkim-require-dkim",
    "require: dkim is met by DKIM",
    "DESIGN §2",
    verified("dkim"),
    senders={"ternum-bfc": {"require": "dkim"}},
)

# ---- must not be verified: DKIM, each exclusion of DESIGN §2 ------------------------------------------

signed_case(
    "no-dkim-from-unsigned",
    "From is not in h=: anyone can replace it",
    "RFC 6376 §5.4, §6.1.1",
    excluded("from-not-signed", "permerror"),
    how={"signed": ("To", "Subject", "Date")},
)
signed_case(
    "no-dkim-subject-unsigned",
    "Subject is there and not in h=",
    "DESIGN §2",
    excluded("subject-not-signed", "policy"),
    how={"signed": ("From", "To", "Date")},
)
signed_case(
    "no-dkim-body-length",
    "l=, even of the whole body: anyone can append",
    "RFC 6376 §8.2",
    excluded("body-length-tag", "policy"),
    how={"tags": {"l": "30"}},
    data=message(body="Un nouvel avis est en ligne.\r\n"),
)
signed_case(
    "no-dkim-sha1",
    "rsa-sha1 is forbidden",
    "RFC 8301 §3.1",
    excluded("algorithm-weak", "permerror"),
    how={"algorithm": "rsa-sha1"},
)
signed_case(
    "no-dkim-short-key",
    "an RSA key of 768 bits",
    "RFC 8301 §3.2",
    excluded("key-too-short", "policy"),
    how={"key": "rsa768"},
)
signed_case(
    "no-dkim-test-key",
    "a key in test mode",
    "RFC 6376 §3.6.1, t=y",
    excluded("key-test-mode", "policy"),
    record={"t": "y"},
)
signed_case(
    "no-dkim-test-key-among-flags",
    "a test-mode flag among other flags",
    "RFC 6376 §3.6.1",
    excluded("key-test-mode", "policy"),
    record={"t": "s:y"},
)
signed_case(
    "no-dkim-revoked-key",
    "a revoked key",
    "RFC 6376 §3.6.1, p=",
    excluded("key-revoked", "permerror"),
    record={"p": ""},
)
signed_case(
    "no-dkim-key-not-for-email",
    "a key for another service",
    "RFC 6376 §3.6.1, s=",
    excluded("key-not-for-email", "permerror"),
    record={"s": "tlsrpt"},
)
signed_case(
    "no-dkim-key-not-for-hash",
    "a key that may not be used with sha256",
    "RFC 6376 §3.6.1, h=",
    excluded("key-not-for-hash", "permerror"),
    record={"h": "sha1"},
)
signed_case(
    "no-dkim-key-strict-subdomain",
    "i= of a sub-domain, though the key says t=s",
    "RFC 6376 §3.6.1, t=s",
    excluded("identity-mismatch", "permerror"),
    how={"tags": {"i": "x@sub.ternum-bfc.fr"}},
    record={"t": "s"},
)
signed_case(
    "no-dkim-identity-elsewhere",
    "i= outside d=",
    "RFC 6376 §6.1.1",
    excluded("identity-mismatch", "permerror"),
    how={"tags": {"i": "x@evil.example"}},
)
signed_case(
    "no-dkim-expired",
    "x= has passed",
    "RFC 6376 §3.5",
    excluded("signature-expired", "policy"),
    how={"tags": {"t": "1500000000", "x": "1600000000"}},
)
signed_case(
    "no-dkim-future",
    "t= lies in the future",
    "RFC 6376 §3.5",
    excluded("signature-in-future", "policy"),
    how={"tags": {"t": "4102444800"}},
)
for field, value in {
    "Subject": "Virement urgent", "To": "victime@commune.example", "Date": "Mon, 23 Nov 2026 09:00:00 +0100",
    "Content-Type": "text/html", "Reply-To": "voleur@evil.example", "MIME-Version": "1.0",
}.items():  # fmt: skip
    signed_case(
        f"no-dkim-second-{field.lower()}", f"a second {field} on top of a genuine message", "RFC 6376 §8.15; PITFALLS",
        excluded("copy-not-signed", "policy"), top=f"{field}: {value}", data=message(Reply_To=TERNUM),
        how={"signed": (*SIGNED, "Reply-To")},
    )  # fmt: skip
signed_case(
    "no-dkim-body-changed",
    "a body changed on the way",
    "RFC 6376 §3.7",
    excluded("body-hash-mismatch", "fail"),
    data=message(body="Un avis.\r\n"),
    how={"tags": {"bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},
)
signed_case(
    "no-dkim-other-key",
    "signed with another key than the published one",
    "RFC 6376 §6.1.3",
    excluded("signature-mismatch", "fail"),
    zone=key("no-dkim-other-key", "other2048"),
)
signed_case(
    "no-dkim-missing-key",
    "there is no key at the selector",
    "RFC 6376 §6.1.2",
    excluded("key-missing", "permerror"),
    zone="",
)
signed_case(
    "no-dkim-two-keys",
    "two keys at one selector",
    "RFC 6376 §3.6.2.2",
    excluded("key-several-records", "permerror"),
    zone=key("no-dkim-two-keys") + key("no-dkim-two-keys", "other2048"),
)
signed_case(
    "no-dkim-key-type",
    "an RSA signature and a key that says Ed25519",
    "RFC 8463 §4",
    excluded("key-wrong-type", "permerror"),
    record={"k": "ed25519"},
)
signed_case(
    "no-dkim-key-version",
    "a key record of an unknown version",
    "RFC 6376 §3.6.1",
    excluded("key-syntax", "permerror"),
    record={"v": "DKIM2"},
)
signed_case(
    "no-dkim-unaligned",
    "a good signature of somebody else proves nothing",
    "DESIGN §2, aligned",
    unverified(
        "no-aligned-pass", dkim=[{"aligned": False, "counts": False, "reason": "unaligned", "result": "neutral"}]
    ),
    how={"domain": "evil.example"},
)
signed_case(
    "no-dkim-suffix",
    "notternum-bfc.fr is not a sub-domain of ternum-bfc.fr",
    "DESIGN §2: label by label",
    unverified("no-aligned-pass", dkim=[{"aligned": False}]),
    how={"domain": "notternum-bfc.fr"},
)
signed_case(
    "no-dkim-prefix",
    "ternum-bfc.fr.evil.example is not ternum-bfc.fr",
    "DESIGN §2: label by label",
    unverified("no-aligned-pass", dkim=[{"aligned": False}]),
    how={"domain": "ternum-bfc.fr.evil.example"},
)
signed_case(
    "no-dkim-strict-subdomain",
    "alignment: strict, signed by a sub-domain",
    "DESIGN §2",
    unverified("no-aligned-pass", dkim=[{"aligned": False}]),
    how={"domain": "mail.ternum-bfc.fr"},
    senders={"ternum-bfc": {"alignment": "strict"}},
)
signed_case(
    "no-dkim-evidence-domain",
    "a forgotten sub-domain, where evidence_domains names another",
    "DESIGN §2",
    unverified("no-aligned-pass", dkim=[{"aligned": False}]),
    how={"domain": "old.ternum-bfc.fr"},
    senders={"ternum-bfc": {"evidence_domains": ["ternum-bfc.fr"]}},
)
signed_case(
    "no-dkim-require-spf",
    "require: spf is not met by DKIM",
    "DESIGN §2",
    unverified("requirement-not-met"),
    senders={"ternum-bfc": {"require": "spf"}},
)
signed_case(
    "no-dkim-require-all",
    "require: all is not met by DKIM alone",
    "DESIGN §2",
    unverified("requirement-not-met"),
    senders={"ternum-bfc": {"require": "all"}},
)
signed_case(
    "no-dkim-entry-expired",
    "an expired entry still claims, and is at best unverified",
    "DESIGN §2, row 5",
    unverified("entry-expired"),
    senders={"ternum-bfc": {"expires": date(2020, 1, 1)}},
)
case(
    "no-dkim-eleventh", "the eleventh aligned signature is not looked at", "DESIGN §2",
    b"".join(b"DKIM-Signature: v=1; a=rsa-sha256; d=ternum-bfc.fr; s=none; h=from:subject; bh=; b=\r\n" for _ in range(10))
    + sign(message(), Sign(selector="no-dkim-eleventh")), key("no-dkim-eleventh"), unverified("signature-syntax", dkim=[{"counts": False}] * 10 + [{"reason": "too-many-signatures"}]),
)  # fmt: skip
for name, tag, value in [
    ("no-version", "v", ""), ("version-2", "v", "2"), ("unknown-algorithm", "a", "rsa-sha512"), ("selector-blank", "s", "a b"),
    ("selector-slash", "s", "a/b"), ("query-method", "q", "dns/other"), ("canonicalization", "c", "nofws"), ("hash-list-empty", "h", " "),
]:  # fmt: skip
    reason = "algorithm-unsupported" if tag == "a" else "signature-syntax"
    signed_case(
        f"no-dkim-syntax-{name}",
        f"a signature with {tag}={value!r}",
        "RFC 6376 §3.5, §6.1.1",
        unverified(reason, dkim=[{"counts": False, "reason": reason}]),
        how={"tags": {tag: value}, "selector": "s"},
        zone="",
    )

# ---- SPF -------------------------------------------------------------------------------------------------

spf_case(
    "spf-ip4",
    "SPF by ip4 verifies a notice that is not signed",
    "RFC 7208",
    verified("spf", spf={"result": "pass", "identity": "mailfrom", "aligned": True, "mechanism": "ip4:192.0.2.0/28"}),
    record="v=spf1 ip4:192.0.2.0/28 -all",
)
spf_case(
    "spf-visma",
    "the Visma Opic notice that only SPF proves",
    "issue 2",
    verified("spf", "visma-opic"),
    author=f"Visma Opic <{OPIC}>",
    record="v=spf1 ip4:192.0.2.0/28 -all",
)
spf_case(
    "spf-include",
    "the innermost mechanism that matched is told",
    "DESIGN §5",
    verified("spf", spf={"mechanism": "ip4:192.0.2.0/28"}),
    record="v=spf1 include:a.spf-include.example ?all",
    zone=txt("a.spf-include.example", "v=spf1 include:b.spf-include.example -all")
    + txt("b.spf-include.example", "v=spf1 ip4:192.0.2.0/28 -all"),
)
spf_case(
    "spf-redirect",
    "SPF through redirect",
    "RFC 7208 §6.1",
    verified("spf", spf={"mechanism": "a"}),
    record="v=spf1 redirect=a.spf-redirect.example",
    zone=txt("a.spf-redirect.example", "v=spf1 a -all") + f"a.spf-redirect.example. 300 IN A {SERVER}\n",
)
spf_case(
    "spf-mx",
    "SPF by mx",
    "RFC 7208 §5.4",
    verified("spf"),
    record="v=spf1 mx:spf-mx.example -all",
    zone=f"spf-mx.example. 300 IN MX 10 m.spf-mx.example.\nm.spf-mx.example. 300 IN A {SERVER}\n",
)
spf_case(
    "spf-exists",
    "SPF by exists with the client's address in it",
    "RFC 7208 §5.7",
    verified("spf"),
    record="v=spf1 exists:%{i}.spf-exists.example -all",
    zone=f"{SERVER}.spf-exists.example. 300 IN A 127.0.0.2\n",
)
spf_case(
    "spf-ipv6",
    "SPF of an IPv6 client",
    "RFC 7208 §5.6",
    verified("spf"),
    client="2001:db8::5",
    record="v=spf1 ip6:2001:db8::/64 -all",
)
spf_case(
    "spf-null-sender-helo",
    "with a null reverse-path the HELO name counts",
    "RFC 7208 §2.4",
    verified("spf", spf={"identity": "helo"}),
    record="",
    session=session("", SERVER, "helo.spf-null.ternum-bfc.fr"),
    zone=txt("helo.spf-null.ternum-bfc.fr", "v=spf1 a -all") + f"helo.spf-null.ternum-bfc.fr. 300 IN A {SERVER}\n",
)
spf_case(
    "no-spf-helo",
    "with another MAIL FROM a passing HELO never counts",
    "RFC 7208 §2.4; CVE-2019-20790",
    unverified("no-aligned-pass", spf={"identity": "mailfrom", "aligned": False}),
    record="",
    session=session("x@evil.example", SERVER, "helo.no-spf.ternum-bfc.fr"),
    zone=txt("helo.no-spf.ternum-bfc.fr", "v=spf1 a -all") + f"helo.no-spf.ternum-bfc.fr. 300 IN A {SERVER}\n",
)
spf_case(
    "no-spf-fail",
    "a forgery from a host that may not send",
    "RFC 7208 §8.4",
    unverified("no-aligned-pass", spf={"result": "fail", "aligned": True, "counts": False}),
    client=STRANGER,
    record="v=spf1 ip4:192.0.2.0/28 -ip4:203.0.113.0/24 -all",
)
for name, mechanism, result in [
    ("softfail", "~ip4:203.0.113.0/24", "softfail"),
    ("neutral", "?ip4:203.0.113.0/24", "neutral"),
]:
    spf_case(
        f"no-spf-{name}",
        f"{result} is no pass",
        "RFC 7208 §8",
        unverified("no-aligned-pass", spf={"result": result}),
        client=STRANGER,
        record=f"v=spf1 {mechanism}",
    )
spf_case(
    "no-spf-all",
    "+all lets everyone pass",
    "DESIGN §2; BreakSPF",
    unverified("spf-too-wide", spf={"result": "pass", "counts": False, "mechanism": "+all"}),
    client=STRANGER,
    record="v=spf1 +all",
)
spf_case(
    "no-spf-all-included",
    "+all inside an include",
    "DESIGN §2",
    unverified("spf-too-wide", spf={"mechanism": "all"}),
    client=STRANGER,
    record="v=spf1 include:no-spf-all-included.example -all",
    zone=txt("no-spf-all-included.example", "v=spf1 all"),
)
spf_case(
    "no-spf-all-redirected",
    "+all behind a redirect",
    "DESIGN §2",
    unverified("spf-too-wide"),
    client=STRANGER,
    record="v=spf1 redirect=no-spf-all-redirected.example",
    zone=txt("no-spf-all-redirected.example", "v=spf1 all"),
)
spf_case(
    "no-spf-wide-ip4",
    "half of the address space",
    "DESIGN §2",
    unverified("spf-too-wide"),
    client=STRANGER,
    record="v=spf1 ip4:128.0.0.0/1 -all",
)
spf_case(
    "no-spf-wide-a",
    "an a mechanism with a /4",
    "DESIGN §2",
    unverified("spf-too-wide"),
    client=STRANGER,
    record="v=spf1 a:no-spf-wide-a.example/4 -all",
    zone="no-spf-wide-a.example. 300 IN A 200.0.0.1\n",
)
spf_case(
    "no-spf-wide-mx",
    "an mx mechanism with a /4",
    "DESIGN §2",
    unverified("spf-too-wide"),
    client=STRANGER,
    record="v=spf1 mx:no-spf-wide-mx.example/4 -all",
    zone="no-spf-wide-mx.example. 300 IN MX 5 no-spf-wide-mx.example.\nno-spf-wide-mx.example. 300 IN A 200.0.0.1\n",
)
spf_case(
    "no-spf-wide-ip6",
    "an IPv6 range wider than /32",
    "DESIGN §2",
    unverified("spf-too-wide"),
    client="2001:db8::66",
    record="v=spf1 ip6:2000::/3 -all",
)
spf_case(
    "no-spf-exists-everyone",
    "exists of a name that does not depend on the client",
    "DESIGN §2: lets nearly everyone pass",
    unverified("spf-too-wide"),
    client=STRANGER,
    record="v=spf1 exists:no-spf-exists-everyone.example -all",
    zone="no-spf-exists-everyone.example. 300 IN A 127.0.0.2\n",
)
spf_case(
    "no-spf-two-records",
    "two SPF records are an error",
    "RFC 7208 §4.5",
    unverified("no-aligned-pass", spf={"result": "permerror"}),
    record=["v=spf1 ip4:192.0.2.0/28 -all", "v=spf1 -all"],
)
spf_case(
    "no-spf-none",
    "no SPF record",
    "RFC 7208 §2.6.1",
    unverified("no-aligned-pass", spf={"result": "none"}),
    record="v=spf2 ip4:192.0.2.0/28",
)
spf_case(
    "no-spf-unaligned",
    "SPF passes for somebody else's domain",
    "DESIGN §2, aligned",
    unverified("no-aligned-pass", spf={"result": "pass", "aligned": False, "counts": False, "reason": "unaligned"}),
    record="",
    session=session("x@no-spf-unaligned.example", SERVER),
    zone=txt("no-spf-unaligned.example", "v=spf1 ip4:192.0.2.0/28 -all"),
)
spf_case(
    "no-spf-quoted-at",
    "a quoted @ in MAIL FROM does not choose the domain that is asked",
    "PITFALLS, pyspf",
    unverified("no-aligned-pass", spf={"result": "none", "domain": None, "reason": "mail-from-malformed"}),
    record="v=spf1 +ip4:192.0.2.0/28 -all",
    session=session('"x@no-spf-quoted-at.ternum-bfc.fr"@evil.example', SERVER),
)
spf_case(
    "no-spf-nested-bracket",
    "MAIL FROM with a second address in parentheses",
    "PITFALLS, Postfix",
    unverified("no-aligned-pass", spf={"reason": "mail-from-malformed"}),
    record="v=spf1 ip4:192.0.2.0/28 -all",
    session=session("<any@no-spf-nested-bracket.ternum-bfc.fr(a.evil.example>", SERVER),
)
spf_case(
    "no-spf-require-dkim",
    "require: dkim is not met by SPF",
    "DESIGN §2",
    unverified("requirement-not-met"),
    record="v=spf1 ip4:192.0.2.0/28 -all",
    senders={"ternum-bfc": {"require": "dkim"}},
)
spf_case(
    "no-spf-behind-relay",
    "the address of a relay is not judged by SPF",
    "DESIGN §4, relays",
    unverified("behind-relay", spf={"result": "none", "reason": "behind-relay"}),
    record="v=spf1 ip4:192.0.2.0/28 -all",
    config={"relays": ["192.0.2.0/24"]},
)

# ---- the network, and all together -------------------------------------------------------------------------

NETWORK = {"ternum-bfc": {"networks": ["192.0.2.0/28"]}}
case(
    "network",
    "a client in the entry's networks",
    "DESIGN §2",
    message(),
    "",
    verified("network", network=True),
    session=session(client=SERVER),
    senders=NETWORK,
)
case(
    "no-network",
    "a client outside the entry's networks",
    "DESIGN §2",
    message(),
    "",
    unverified("no-aligned-pass", network=False),
    session=session(client=STRANGER),
    senders=NETWORK,
)
case(
    "no-network-behind-relay",
    "the address of a relay is not the sender's",
    "DESIGN §4",
    message(),
    "",
    unverified("behind-relay", network=False),
    session=session(client=SERVER),
    senders=NETWORK,
    config={"relays": [SERVER]},
)
case(
    "all",
    "require: all, with DKIM and SPF",
    "DESIGN §2",
    sign(message(), Sign(selector="all")),
    key("all") + txt("all.ternum-bfc.fr", "v=spf1 ip4:192.0.2.5 -all"),
    verified("dkim+spf"),
    session=session("b@all.ternum-bfc.fr", SERVER),
    senders={"ternum-bfc": {"require": "all"}},
)
case(
    "no-all-network",
    "require: all with networks, from elsewhere",
    "DESIGN §2",
    sign(message(), Sign(selector="no-all-network")),
    key("no-all-network") + txt("no-all-network.ternum-bfc.fr", f"v=spf1 ip4:{STRANGER} -all"),
    unverified("requirement-not-met"),
    session=session("b@no-all-network.ternum-bfc.fr", STRANGER),
    senders={"ternum-bfc": {"require": "all", "networks": ["192.0.2.0/28"]}},
)

# ---- claims -------------------------------------------------------------------------------------------------

BOTH = "v=spf1 ip4:192.0.2.0/28 -all"
for name, author, why in [
    ("bare", TERNUM, "a bare address"),
    ("upper-case", "NePasRepondre@TERNUM-BFC.FR", "A-Z is folded in local part and domain"),
    ("encoded-name", f"=?utf-8?q?Territoires_Num=C3=A9riques?= <{TERNUM}>", "an encoded display name"),
    ("folded", f'"Territoires\r\n Numeriques"\r\n\t<{TERNUM}>', "a folded field"),
    ("comment", f"(avis) Ternum (bfc (fr)) <{TERNUM}> (fin)", "nested comments"),
    ("obsolete", "Ternum J. <nepasrepondre (x) @ ternum-bfc . fr>", "obsolete syntax: dots in the name, blanks round dots"),
    ("quoted-local-part", '"nepasrepondre"@ternum-bfc.fr', "a quoted local part that needs no quotes is the same address"),
    ("own-address-as-name", f'"{TERNUM}" <{TERNUM}>', "its own address as display name"),
    ("own-address-unquoted", f"{TERNUM} <{TERNUM}>", "its own address as unquoted display name: every reading is the same"),
    ("subdomain", "nepasrepondre@marches.ternum-bfc.fr", "the listed address of a sub-domain"),
]:  # fmt: skip
    spf_case(
        f"from-{name}",
        why,
        "RFC 5322 §3.4, §4.4",
        verified("spf", claim={"kind": "listed"}),
        author=author,
        record=BOTH,
    )

for name, author, reason, why in [
    ("two-mailboxes", f"{TERNUM}, x@evil.example", "several-mailboxes", "two mailboxes"),
    ("two-mailboxes-reversed", f"x@evil.example, {TERNUM}", "several-mailboxes", "two mailboxes, the listed one last"),
    ("group", f"Ternum: {TERNUM};", "group-in-from", "a group"),
    ("route", f"<@evil.example:{TERNUM}>", "route-in-from", "a source route"),
    ("address-before-angle", f"{TERNUM} <x@evil.example>", "malformed-from", "another unquoted address before the angle bracket (CVE-2023-27043)"),
    ("two-angles", f"<{TERNUM}> <x@evil.example>", "malformed-from", "two angle addresses"),
    ("text-after", f"<{TERNUM}> x@evil.example", "malformed-from", "an address after the angle bracket"),
    ("open-quote", f'"Ternum <{TERNUM}>', "malformed-from", "a quoted string that does not end"),
    ("open-comment", f"{TERNUM} (Ternum", "malformed-from", "a comment that does not end"),
    ("trailing-dot", "nepasrepondre@ternum-bfc.fr.", "malformed-from", "a final dot"),
    ("encoded-local-part", "=?utf-8?q?nepasrepondre?=@ternum-bfc.fr", "encoded-word-in-address", "an encoded word as local part"),
    ("full-width", "nepasrepondre@ternum－bfc.fr", "invalid-domain", "a full-width hyphen, which mapping would turn into ASCII"),
    ("kelvin", "ne_pas_repondre@ternum-bfc.fr\u2028", "control-character", "a Unicode line separator"),
    ("bidi", f"\u202etnaifnoc\u202c <{TERNUM}>", "control-character", "marks that turn the direction of text"),
    ("invalid-utf8", f"Num\udce9riques <{TERNUM}>", "invalid-utf8", "a byte that is not UTF-8"),
    ("too-long", f'"{"x" * 5000}" <{TERNUM}>', "from-too-long", "a field of absurd length"),
]:  # fmt: skip
    spf_case(
        f"no-from-{name}",
        f"From with {why} is ambiguous, whatever SPF says",
        "RFC 5322 §3.6.2; Chen et al. 2020",
        unverified(reason, claim={"kind": "ambiguous", "reason": reason}, dkim=[], dns="ok"),
        author=author,
        record=BOTH,
    )
for name, first, second in [
    ("evil-first", "x@evil.example", TERNUM),
    ("evil-last", TERNUM, "x@evil.example"),
    ("spelled-oddly", TERNUM, "x@evil.example"),
]:
    extra = "FROM : " if name == "spelled-oddly" else "From: "
    case(
        f"no-from-two-fields-{name}",
        "two From fields are ambiguous, in either order and spelling",
        "RFC 5322 §3.6; Chen et al. 2020",
        on_top(f"{extra}{first}", message(second)),
        "",
        unverified("several-from-fields"),
    )
signed_case(
    "unlisted",
    "a colleague at Visma whose mailbox is not on the list",
    "DESIGN §2, row 6",
    {"verdict": "unlisted", "sender": "visma-opic", "by": "dkim", "reason": None, "action": "tag"},
    data=message("Kollega <anna@visma.com>"),
    how={"domain": "visma.com"},
)
signed_case(
    "unlisted-dressed-up",
    "a colleague dressed up as the listed mailbox",
    "issue 3",
    {"verdict": "unlisted", "reason": "display-name-imitates"},
    data=message(f'"{OPIC}" <anna@visma.com>'),
    how={"domain": "visma.com"},
)
signed_case(
    "unlisted-hyphen",
    "hyphens, dots and underscores in a local part matter",
    "DESIGN §2, addresses",
    {"verdict": "unlisted", "sender": "visma-opic"},
    data=message("noreply-opic@visma.com"),
    how={"domain": "visma.com"},
)
case(
    "no-unlisted-forged",
    "a forged colleague",
    "DESIGN §2, row 7",
    message("anna@visma.com"),
    "",
    unverified("no-aligned-pass", "visma-opic"),
)
for name, author, reason in [
    ("address-as-name", f'"{TERNUM}" <x@evil.example>', "display-name-imitates"),
    ("address-in-comment", f"x@evil.example ({TERNUM})", "display-name-imitates"),
    ("name", "Visma Opic <x@evil.example>", "display-name-imitates"),
    ("name-without-marks", "TERRITOIRES NUMERIQUES Bourgogne-Franche-Comte <x@evil.example>", "display-name-imitates"),
    ("name-encoded", "=?utf-8?b?VmlzbWEgT3BpYw==?= <x@evil.example>", "display-name-imitates"),
    ("domain-in-name", '"Support visma.com" <x@evil.example>', "display-name-imitates"),
    ("address-as-local-part", f'"{TERNUM}"@evil.example', "local-part-imitates"),
    ("domain-as-label", "x@ternum-bfc.fr.example", "domain-imitates"),
]:  # fmt: skip
    case(
        f"imitation-{name}",
        f"From {author.encode('ascii', 'replace').decode()!r} imitates, and no DNS is asked",
        "DESIGN §2, row 8",
        message(author),
        "",
        {"verdict": "imitation", "reason": reason, "action": "tag", "dns": "ok", "dkim": []},
    )
case(
    "unclaimed-newsletter",
    "a newsletter has nothing to do with the list: its signature is not looked at",
    "DESIGN §2, row 9",
    sign(message("Soldes <news@shop.example>"), Sign("shop.example", "news")),
    "",
    unclaimed(),
)
case("unclaimed-no-from", "a message without From", "DESIGN §2, row 9", message(None), "", unclaimed())
case(
    "unclaimed-broken-from",
    "an unreadable From that names nobody on the list",
    "DESIGN §2, row 9",
    message("<<>> ;; @@"),
    "",
    unclaimed(),
)
case(
    "unclaimed-longer-domain",
    "visma.community is not visma.com",
    "DESIGN §2: label by label",
    message("x@visma.community"),
    "",
    unclaimed(),
)

# ---- DNS that fails -------------------------------------------------------------------------------------------

UNDETERMINED = {
    "verdict": "undetermined",
    "sender": "ternum-bfc",
    "by": None,
    "reason": "dns-temperror",
    "dns": "temperror",
}
YOUNG = message(Date=NOW.decode())
for how, kind in [("timeout", "no answer"), ("servfail", "a server failure")]:
    name = f"undetermined-spf-{how}"
    case(
        name,
        f"{kind} to the SPF question: a young message is deferred",
        "DESIGN §2, row 4",
        YOUNG,
        f";{how} {name}.ternum-bfc.fr.\n",
        UNDETERMINED | {"action": "defer"},
        session=session(f"b@{name}.ternum-bfc.fr", SERVER),
        config={"dns": {"timeout": "1s"}},
    )
case(
    "undetermined-old",
    "an old message is delivered, tagged, and not deferred for ever",
    "DESIGN §2, young",
    message(Date="Sun, 22 Nov 2020 08:00:00 +0100"),
    ";servfail undetermined-old.ternum-bfc.fr.\n",
    UNDETERMINED | {"action": "tag"},
    session=session("b@undetermined-old.ternum-bfc.fr", SERVER),
    config={"dns": {"timeout": "1s"}},
)
case(
    "undetermined-no-date",
    "a message without a readable Date is not young",
    "DESIGN §2, young",
    message(Date="hier"),
    ";servfail undetermined-no-date.ternum-bfc.fr.\n",
    UNDETERMINED | {"action": "tag"},
    session=session("b@undetermined-no-date.ternum-bfc.fr", SERVER),
    config={"dns": {"timeout": "1s"}},
)
case(
    "no-undetermined-unaligned",
    "a failing look-up for somebody else's domain changes nothing",
    "DESIGN §2, three values",
    YOUNG,
    ";servfail no-undetermined-unaligned.example.\n",
    unverified("no-aligned-pass", dns="temperror"),
    session=session("b@no-undetermined-unaligned.example", SERVER),
    config={"dns": {"timeout": "1s"}},
)
case(
    "no-undetermined-require-dkim",
    "under require: dkim an SPF time-out changes nothing",
    "DESIGN §2, three values",
    YOUNG,
    ";servfail no-undetermined-require-dkim.ternum-bfc.fr.\n",
    unverified("no-aligned-pass", dns="temperror"),
    session=session("b@no-undetermined-require-dkim.ternum-bfc.fr", SERVER),
    senders={"ternum-bfc": {"require": "dkim"}},
    config={"dns": {"timeout": "1s"}},
)
signed_case(
    "undetermined-key",
    "the key cannot be looked up",
    "DESIGN §2, row 4",
    UNDETERMINED | {"dkim": [{"result": "temperror", "reason": "dns-temperror", "aligned": True, "counts": False}]},
    zone=";servfail undetermined-key._domainkey.ternum-bfc.fr.\n",
    config={"dns": {"timeout": "1s"}},
)
signed_case(
    "no-undetermined-body",
    "a body that was changed is no matter of DNS",
    "DESIGN §2, three values",
    unverified("body-hash-mismatch"),
    how={"tags": {"bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},
    zone=";servfail no-undetermined-body._domainkey.ternum-bfc.fr.\n",
    config={"dns": {"timeout": "1s"}},
)
case(
    "verified-spite-of-dns",
    "DKIM proves it, though SPF's DNS fails",
    "DESIGN §2, three values",
    sign(message(), Sign(selector="spite")),
    key("spite") + ";servfail spite.ternum-bfc.fr.\n",
    verified("dkim", dns="temperror"),
    session=session("b@spite.ternum-bfc.fr", SERVER),
    config={"dns": {"timeout": "1s"}},
)
case(
    "no-unlisted-dns",
    "another address of the domain, and DNS fails: row 7",
    "DESIGN §2, row 7",
    message("anna@visma.com"),
    ";servfail no-unlisted-dns.visma.com.\n",
    unverified("dns-temperror", "visma-opic", dns="temperror"),
    session=session("b@no-unlisted-dns.visma.com", SERVER),
    config={"dns": {"timeout": "1s"}},
)

# ---- forged fields, actions, modes -----------------------------------------------------------------------------

case(
    "forged-fields", "every incoming X-Trusted-Sender is deleted, the highest index first", "DESIGN §3",
    on_top("X-Trusted-Sender: verified; sender=ternum-bfc\r\nx-trusted-SENDER:\r\n verified\r\nX-Trusted-Sender : verified", message("Soldes <news@shop.example>")), "",
    unclaimed(edits=[{"op": "delete", "name": "X-Trusted-Sender", "index": i} for i in (3, 2, 1)] + [{"op": "insert", "name": "X-Trusted-Sender", "index": 0, "value": "unclaimed; host=mx1.example.org"}]),
)  # fmt: skip
case(
    "forged-results", "Authentication-Results of ours are deleted in any dress, others stay", "RFC 8601 §5",
    on_top("\r\n".join([
        "Authentication-Results: mx1.example.org; dkim=pass", "authentication-results: (x) MX1.Example.ORG 1; spf=pass",
        'Authentication-Results: "mx1.example.org"; spf=pass', "Authentication-Results: other.example; spf=pass",
        'Authentication-Results: "mx1.example.org; spf=pass', "Authentication-Results: mx2.example.org; spf=pass",
        "Authentication-Results: mx1.example.org.evil.example; spf=pass",
    ]), message("Soldes <news@shop.example>")), "",
    unclaimed(edits=[{"op": "delete", "name": "Authentication-Results", "index": i} for i in (6, 5, 3, 2, 1)] + [{"op": "insert"}]),
    config={"authserv_ids": ["mx2.example.org"]},
)  # fmt: skip
case(
    "forged-results-kept",
    "strip_authentication_results: no",
    "DESIGN §4",
    on_top("Authentication-Results: mx1.example.org; dkim=pass", message("x@shop.example")),
    "",
    unclaimed(edits=[{"op": "insert"}]),
    config={"strip_authentication_results": False},
)
case(
    "forged-renamed",
    "where `header` renames the field, the default name is deleted too",
    "DESIGN §3",
    on_top("X-Trusted-Sender: verified\r\nX-Licence: verified", message("x@shop.example")),
    "",
    unclaimed(
        edits=[
            {"op": "delete", "name": "X-Trusted-Sender"},
            {"op": "delete", "name": "X-Licence"},
            {"op": "insert", "name": "X-Licence"},
        ]
    ),
    config={"header": "X-Licence"},
)
case(
    "forged-many-fields",
    "forged fields beyond the limits are deleted all the same, and nothing is verified",
    "DESIGN §4, limits",
    on_top(
        "".join(f"X-{i}: x\r\n" for i in range(60)) + "X-Trusted-Sender: verified",
        sign(message(), Sign(selector="forged-many")),
    ),
    key("forged-many"),
    unverified("header-too-large", edits=[{"op": "delete", "index": 1}, {"op": "insert"}]),
    config={"limits": {"header_fields": 50}},
)
case(
    "unchecked-local",
    "a client of local_networks is not judged; forged fields go",
    "DESIGN §2, row 1",
    on_top("X-Trusted-Sender: verified", message()),
    "",
    {
        "verdict": "unchecked",
        "action": "none",
        "sender": None,
        "edits": [{"op": "delete", "name": "X-Trusted-Sender", "index": 1}],
    },
    session=session(client="127.0.0.1"),
)
HOSTS = {"trusted_hosts": {"networks": ["198.51.100.7"], "hosts": ["mx2.example.org"]}}
case(
    "unchecked-trusted-host",
    "the field of another MX host of ours is kept, what lies below it goes",
    "DESIGN §2, row 1",
    on_top(
        "X-Trusted-Sender: verified; sender=ternum-bfc; by=dkim; host=mx2.example.org\r\nX-Trusted-Sender: verified",
        message(),
    ),
    "",
    {"verdict": "unchecked", "edits": [{"op": "delete", "index": 2}]},
    session=session(client="198.51.100.7"),
    config=HOSTS,
)
case(
    "no-trusted-host-other-client",
    "the same field from another client is forged",
    "DESIGN §3",
    on_top("X-Trusted-Sender: verified; sender=ternum-bfc; by=dkim; host=mx2.example.org", message()),
    "",
    unverified("no-aligned-pass", edits=[{"op": "delete", "index": 1}, {"op": "insert"}, {"op": "insert"}]),
    config=HOSTS,
)
case(
    "no-trusted-host-other-name",
    "a trusted client that brings a field of an unlisted host",
    "DESIGN §2, row 1",
    on_top("X-Trusted-Sender: verified; sender=ternum-bfc; by=dkim; host=mx9.example.org", message()),
    "",
    unverified("no-aligned-pass"),
    session=session(client="198.51.100.7"),
    config=HOSTS,
)
case(
    "observe",
    "in observe mode the field says what would be",
    "DESIGN §3",
    message(),
    "",
    unverified(
        "no-aligned-pass",
        action="tag",
        edits=[
            {
                "op": "insert",
                "name": "X-Trusted-Sender",
                "value": "observed; would=unverified; sender=ternum-bfc; reason=no-aligned-pass; host=mx1.example.org",
            }
        ],
    ),
    config={"mode": "observe", "actions": {"unverified": "reject"}},
)
for action in ("quarantine", "reject"):
    case(
        f"action-{action}",
        f"unverified: {action}",
        "DESIGN §2, actions",
        message(),
        "",
        unverified("no-aligned-pass", action=action),
        config={"actions": {"unverified": action}},
    )
case(
    "action-of-entry",
    "an entry's own action goes before the site's",
    "DESIGN §4",
    message(),
    "",
    unverified("no-aligned-pass", action="quarantine"),
    config={"actions": {"unverified": "reject"}},
    senders={"ternum-bfc": {"actions": {"unverified": "quarantine"}}},
)
case(
    "subject-tag",
    "a subject tag on what is not verified",
    "DESIGN §3",
    message(),
    "",
    unverified(
        "no-aligned-pass",
        edits=[
            {"op": "change", "name": "Subject", "index": 1, "value": "[?] Avis de marche"},
            {"op": "insert"},
            {"op": "insert"},
        ],
    ),
    config={"subject_tag": "[?]"},
)


def main() -> int:
    """Write every case."""
    names = [c.name for c in CASES]
    if twice := {name for name in names if names.count(name) > 1}:
        print(f"two cases are called {', '.join(sorted(twice))}", file=sys.stderr)
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    for made in CASES:
        made.write(FOLDER)
    print(f"{len(CASES)} cases written to {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

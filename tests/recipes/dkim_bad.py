"""Must not be verified: DKIM signatures that leave out what counts, are broken, over, injected, or another's."""

from __future__ import annotations

from datetime import date

from recipes import OPIC, TERNUM, Rows, case, excluded, key, message, on_top, signed_case, swap, unaligned, unverified

from harness.signing import SIGNED, Sign, sign

# ---- coverage -----------------------------------------------------------------------------------------------------

COVERAGE: Rows = [
    ("from-unsigned", "From is not in h=: anyone can replace it", "RFC 6376 §5.4, §6.1.1", "from-not-signed", "permerror", {"signed": ("To", "Subject", "Date")}),
    ("subject-unsigned", "Subject is there and not in h=", "design#evidence-dkim", "subject-not-signed", "policy", {"signed": ("From", "To", "Date")}),
    ("body-length", "l=, even of the whole body: anyone can append", "RFC 6376 §8.2; zone.ee 2024", "body-length-tag", "policy", {"tags": {"l": "30"}}),
    ("body-length-zero", "l=0: nothing of the body is signed", "RFC 6376 §8.2; zone.ee 2024", "body-length-tag", "policy", {"tags": {"l": "0"}}),
]  # fmt: skip
for name, why, source, reason, result, how in COVERAGE:
    signed_case(f"no-dkim-{name}", why, source, excluded(reason, result), how=how)
for field, value in {
    "Subject": "Virement urgent", "To": "victime@commune.example", "Date": "Mon, 23 Nov 2026 09:00:00 +0100",
    "Content-Type": "text/html", "Reply-To": "voleur@evil.example", "MIME-Version": "1.0",
    "Sender": "voleur@evil.example", "Cc": "autre@commune.example", "Message-ID": "<2@evil.example>",
    "Content-Transfer-Encoding": "base64",
}.items():  # fmt: skip
    signed_case(
        f"no-dkim-second-{field.lower()}", f"a second {field} on top of a genuine message", "RFC 6376 §8.15; library-notes#dkimpy",
        excluded("copy-not-signed", "policy"), top=f"{field}: {value}",
        data=message(Reply_To=TERNUM, Sender=TERNUM, Cc="b@commune.example", Content_Transfer_Encoding="8bit"),
        how={"signed": (*SIGNED, "Reply-To", "Sender", "Cc")},
    )  # fmt: skip
signed_case(
    "no-dkim-second-subject-spelled",
    "a second Subject whose name is written otherwise",
    "RFC 5322 §4.5; RFC 6376 §8.15",
    excluded("copy-not-signed", "policy"),
    top="SUBJECT \t: Virement urgent",
)
case(
    "no-dkim-second-subject-below",
    "a second Subject below the signed one, where some readers look",
    "RFC 6376 §5.4.2: from the bottom up",
    swap(
        sign(message(), Sign(selector="no-dkim-below")),
        "MIME-Version: 1.0\r\n",
        "MIME-Version: 1.0\r\nSubject: Virement urgent\r\n",
    ),
    key("no-dkim-below"),
    excluded("copy-not-signed", "policy"),
)
signed_case(
    "no-dkim-oversigned-subject",
    "a second Subject, where h= says that there is no second one",
    "RFC 6376 §5.4, §8.15; e2a pull request 751",
    excluded("signature-mismatch", "fail"),
    top="Subject: Virement urgent",
    how={"signed": ("From", "Subject", "Subject", "To", "Date")},
)
case(
    "no-dkim-subject-added",
    "a Subject put into a message that had none",
    "RFC 6376 §5.4; design#evidence-dkim",
    on_top(
        "Subject: Virement urgent", sign(message(Subject=""), Sign(selector="no-dkim-added", signed=("From", "To")))
    ),
    key("no-dkim-added"),
    excluded("subject-not-signed", "policy"),
)
case(
    "no-dkim-appended",
    "a new text, and a new boundary that hides the old one, behind l=",
    "zone.ee 2024: BIMI and DMARC can't save you",
    swap(
        sign(message(), Sign(selector="no-dkim-appended", signed=("From", "Subject"), tags={"l": "30"})),
        "Content-Type: text/plain; charset=utf-8",
        'Content-Type: multipart/mixed; boundary="neuf"',
    )
    + b"--neuf\r\nContent-Type: text/html\r\n\r\n<a href=http://evil.example>Payez</a>\r\n--neuf--\r\n",
    key("no-dkim-appended"),
    excluded("body-length-tag", "policy"),
)

# ---- changed on the way -------------------------------------------------------------------------------------------

EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # the hash of nothing
signed_case(
    "no-dkim-body-changed",
    "a body changed on the way",
    "RFC 6376 §3.7",
    excluded("body-hash-mismatch", "fail"),
    data=message(body="Un avis.\r\n"),
    how={"tags": {"bh": EMPTY}},
)
SIMPLE = "simple/simple"
for name, why, source, canonicalization, old, new, reason in [
    ("subject-changed", "a Subject changed on the way", "RFC 6376 §3.7; dkim_verifier, header_subject_modified", "relaxed/relaxed", "Avis de marche", "[liste] Avis de marche", "signature-mismatch"),
    ("footer-added", "a list's footer below the body", "RFC 6377 §3.3", "relaxed/relaxed", "en ligne.\r\n", "en ligne.\r\n-- \r\nliste\r\n", "body-hash-mismatch"),
    ("vertical-tab", "a vertical tab more at the end of a Subject, which is no blank", "RFC 6376 §3.4.2; dkimpy strips it", "relaxed/relaxed", "Avis de marche", "Avis de marche \x0b", "signature-mismatch"),
    ("simple-header-respaced", "a blank more in a header under simple canonicalisation", "RFC 6376 §3.4.1", SIMPLE, "Subject: Avis", "Subject:  Avis", "signature-mismatch"),
]:  # fmt: skip
    signed = sign(message(), Sign(selector=f"no-dkim-{name}", canonicalization=canonicalization))
    expected = excluded(reason, "fail")
    case(f"no-dkim-{name}", why, source, swap(signed, old, new), key(f"no-dkim-{name}"), expected)
for name, key_name, source in [
    ("signature-cut", "rsa2048", "RFC 6376 §6.1.3"),
    ("ed25519-cut", "ed25519a", "RFC 8463 §3; library-notes#dkimpy"),
]:
    signed = sign(message(), Sign(selector=f"no-dkim-{name}", key=key_name))
    case(
        f"no-dkim-{name}",
        f"a signature ({key_name}) of which all but the first line is missing",
        source,
        signed.partition(b"\r\n\t")[0] + signed[signed.index(b"\r\nReceived:") :],
        key(f"no-dkim-{name}", key_name),
        excluded("signature-mismatch", "fail"),
    )

# ---- time and algorithm -------------------------------------------------------------------------------------------

for name, why, source, reason, result, tags in [
    ("expired", "x= has passed", "RFC 6376 §3.5", "signature-expired", "policy", {"t": "1500000000", "x": "1600000000"}),
    ("future", "t= lies in the future", "RFC 6376 §3.5", "signature-in-future", "policy", {"t": "4102444800"}),
    ("ends-before-start", "x= before t=", "RFC 6376 §3.5, x=", "signature-syntax", "permerror", {"t": "1700000000", "x": "1600000000"}),
    ("identity-elsewhere", "i= outside d=", "RFC 6376 §6.1.1", "identity-mismatch", "permerror", {"i": "x@evil.example"}),
    ("identity-suffix", "i= of a domain that only ends like d=", "RFC 6376 §6.1.1", "identity-mismatch", "permerror", {"i": "@notternum-bfc.fr"}),
]:  # fmt: skip
    signed_case(f"no-dkim-{name}", why, source, excluded(reason, result), how={"tags": tags})
signed_case(
    "no-dkim-sha1",
    "rsa-sha1 is forbidden",
    "RFC 8301 §3.1",
    excluded("algorithm-weak", "permerror"),
    how={"algorithm": "rsa-sha1"},
)

# ---- syntax and injection -----------------------------------------------------------------------------------------

for name, tag, value in [
    ("no-version", "v", ""), ("version-2", "v", "2"), ("unknown-algorithm", "a", "rsa-sha512"),
    ("selector-blank", "s", "a b"), ("selector-slash", "s", "a/b"), ("query-method", "q", "dns/other"),
    ("canonicalization", "c", "nofws"), ("body-canonicalization", "c", "relaxed/"), ("hash-list-empty", "h", " "),
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
signed_case(
    "no-dkim-syntax-tag-without-value",
    "a tag without an equals sign",
    "RFC 6376 §3.2",
    unverified("no-aligned-pass", dkim=[{"counts": False, "reason": "signature-syntax"}]),
    how={"tail": "; note"},
)
UNSIGNED = sign(message(), Sign(selector="no-dkim-syntax-empty"))
case(
    "no-dkim-syntax-empty",
    "a signature without a value in b=",
    "RFC 6376 §3.5, b=",
    UNSIGNED[: UNSIGNED.index(b"; b=") + 4] + UNSIGNED[UNSIGNED.index(b"\r\nReceived:") :],
    key("no-dkim-syntax-empty"),
    excluded("signature-syntax", "permerror"),
)
UNREADABLE = (  # whose d= cannot be read: nobody's signatures
    *("no-domain", "mime-encoded", "domain-quote", "domain-bracket", "domain-final-dot", "domain-ideographic-dot"),
    "two-domains",
)
for name, why, source, tags in [
    ("no-domain", "a signature without d=", "RFC 6376 §6.1.1", {"d": ""}),
    ("no-algorithm", "a signature without a=", "RFC 6376 §6.1.1", {"a": ""}),
    ("mime-encoded", "tags within an encoded word", "rspamd issue 5004", {"v": "", "=?UTF-8?Q?v": "1?="}),
    ("blank-in-field-name", "a blank within a field name of h=", "RFC 6376 §3.5, h=", {"h": "fr om:subject"}),
    ("body-length-word", "an l= that is no number", "RFC 6376 §3.5, l=; library-notes#dkimpy", {"l": "", "l ": "all"}),
    ("identity-without-at", "an i= without @", "RFC 6376 §3.5, i=; library-notes#dkimpy", {"i": "ternum-bfc.fr"}),
    ("domain-quote", "a single quote in d=", "espoofer server_a4", {"d": "ternum-bfc.fr'a.evil.example"}),
    ("domain-bracket", "a bracket in d=, which opens a comment in Authentication-Results", "CVE-2020-12272", {"d": "ternum-bfc.fr(.evil.example"}),
    ("domain-final-dot", "a final dot of d=", "RFC 6376 §3.5; RFC 5321 §4.1.2", {"d": "ternum-bfc.fr."}),
    ("domain-ideographic-dot", "an ideographic full stop in d=", "RFC 8616 §4; RFC 5895 §2", {"d": "ternum-bfc\u3002fr"}),
    ("selector-escape", "a backslash in s=, an escape in zone files", "RFC 1035 §5.1", {"s": "a\\.b"}),
    ("selector-elsewhere", "a whole name, with its final dot, for a selector", "espoofer server_a3", {"s": "s._domainkey.evil.example."}),
    ("selector-long", "a selector with which the name is too long for DNS", "RFC 1035 §2.3.4", {"s": ".".join(["x" * 60] * 4)}),
    ("two-domains", "two d=, the platform's last", "RFC 6376 §3.2: no tag twice", {"d": "evil.example; d=ternum-bfc.fr"}),
]:  # fmt: skip
    signed_case(
        f"no-dkim-syntax-{name}",
        why,
        source,
        unverified(
            "no-aligned-pass" if name in UNREADABLE else "signature-syntax",
            dkim=[{"counts": False, "aligned": name not in UNREADABLE, "reason": "signature-syntax"}],
        ),
        how={"tags": tags, "selector": "s"},
        zone="",
    )
for name, why, source, tags in [
    ("field-too-large", "a field of 20,000 octets", "library-notes#dkimpy-cost", {"z": "x" * 20_000}),
    ("too-many-signed", "an h= of 300 names", "library-notes#dkimpy-cost", {"h": ":".join(["from", "subject"] * 150)}),
    ("long-blanks", "a run of blanks in the field", "library-notes#dkimpy-cost", {"z": "x" + " " * 400 + "y"}),
]:  # fmt: skip
    reason = "no-aligned-pass" if name == "field-too-large" else "signature-too-large"
    expected = unverified(reason, dkim=[{"counts": False, "reason": "signature-too-large"}])
    signed_case(f"no-dkim-{name}", why, source, expected, how={"tags": tags})
case(
    "no-dkim-eleventh",
    "the eleventh aligned signature is not looked at",
    "design#evidence-dkim",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=ternum-bfc.fr; s=none; h=from:subject; bh=; b=\r\n" * 10
    + sign(message(), Sign(selector="no-dkim-eleventh")),
    key("no-dkim-eleventh"),
    unverified("signature-syntax", dkim=[{"counts": False}] * 10 + [{"reason": "too-many-signatures"}]),
)
for name, field, source in [
    ("other-field", "X-DKIM-Signature", "RFC 6376 §3.5: the field is called DKIM-Signature"),
    ("arc", "ARC-Message-Signature", "RFC 8617 §4.1.2: who forwards signs that"),
]:
    signed_case(
        f"no-dkim-{name}",
        f"a good signature in a field {field}",
        source,
        unverified("no-aligned-pass", dkim=[]),
        how={"name": field},
    )

# ---- another's ----------------------------------------------------------------------------------------------------

for name, domain, why, source in [
    ("unaligned", "evil.example", "a good signature of somebody else proves nothing", "design#alignment"),
    ("suffix", "notternum-bfc.fr", "notternum-bfc.fr is not a sub-domain of ternum-bfc.fr", "design#alignment, label by label"),
    ("prefix", "ternum-bfc.fr.evil.example", "ternum-bfc.fr.evil.example is not ternum-bfc.fr", "design#alignment, label by label"),
    ("top-level-domain", "fr", "the top-level domain signs", "RFC 6376 §8.13"),
    ("other-entry", "visma.com", "another trusted sender signs", "design#alignment"),
]:  # fmt: skip
    signed_case(f"no-dkim-{name}", why, source, unaligned(), how={"domain": domain})
SIGNERS = {"ternum-bfc": {"signers": ["operator.example"]}}
for name, domain, author, why, changes in [
    ("strict-subdomain", "mail.ternum-bfc.fr", TERNUM, "alignment: strict, signed by a sub-domain", {"alignment": "strict"}),
    ("strict-parent", "ternum-bfc.fr", "nepasrepondre@marches.ternum-bfc.fr", "alignment: strict, signed by the domain for a sub-domain", {"alignment": "strict"}),
    ("evidence-domain", "old.ternum-bfc.fr", TERNUM, "a forgotten sub-domain, where evidence_domains names another", {"evidence_domains": ["ternum-bfc.fr"]}),
    ("signer-subdomain", "x.operator.example", TERNUM, "a sub-domain of a listed signer", {"signers": ["operator.example"]}),
]:  # fmt: skip
    senders = {"ternum-bfc": changes}
    data = message(f"Ternum <{author}>")
    signed_case(
        f"no-dkim-{name}", why, "design#evidence-dkim", unaligned(), data=data, how={"domain": domain}, senders=senders
    )
signed_case(
    "no-dkim-signer-of-other-entry",
    "the listed signer of another entry",
    "design#evidence-dkim, signers",
    unverified("no-aligned-pass", "visma-opic", dkim=[{"aligned": False, "counts": False}]),
    data=message(f"Visma Opic <{OPIC}>"),
    how={"domain": "operator.example"},
    senders=SIGNERS,
)

# ---- what the entry asks for --------------------------------------------------------------------------------------

signed_case(
    "no-dkim-require-spf",
    "require: spf is not met by DKIM",
    "design#evidence-dkim",
    unverified("requirement-not-met"),
    senders={"ternum-bfc": {"require": "spf"}},
)
signed_case(
    "no-dkim-require-all",
    "require: all is not met by DKIM alone",
    "design#evidence-dkim",
    unverified("requirement-not-met"),
    senders={"ternum-bfc": {"require": "all"}},
)
signed_case(
    "no-dkim-entry-expired",
    "an expired entry still claims, and is at best unverified",
    "design#decision, row 5",
    unverified("entry-expired"),
    senders={"ternum-bfc": {"expires": date(2020, 1, 1)}},
)

# ---- made to cost --------------------------------------------------------------------------------------------------

signed_case(
    "dkim-covers-too-much",
    "a signature over more of the header than is canonicalised for one message",
    "design#limits",
    excluded("signature-too-large", "policy"),
    config={"limits": {"signed_size": 100}},
)
signed_case(
    "dkim-domain-too-long",
    "a d= of thousands of letters is not brought into normal form",
    "found by tests/bench/hostile.py",
    unverified("no-aligned-pass", dkim=[{"domain": None, "aligned": False, "result": "permerror"}]),
    how={"domain": "e\u0301\u0316" * 800 + ".ternum-bfc.fr"},
    zone="",
)

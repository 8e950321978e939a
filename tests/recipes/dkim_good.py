"""Must be verified: DKIM in every legal form (RFC 6376, 8301, 8463)."""

from __future__ import annotations

import base64
import hashlib

from recipes import COUNTS, STRANGER, TERNUM, Rows, case, key, message, session, signed_case, swap, verified

from harness.signing import SIGNED, Sign, sign

# ---- canonicalisation and algorithms ------------------------------------------------------------------------------

signed_case(
    "dkim-relaxed",
    "an ordinary signed notice is verified by DKIM",
    "RFC 6376",
    verified("dkim", dkim=[COUNTS | {"bits": 2048, "algorithm": "rsa-sha256"}]),
)
signed_case(
    "dkim-ed25519",
    "an Ed25519 signature counts",
    "RFC 8463",
    verified("dkim", dkim=[COUNTS | {"algorithm": "ed25519-sha256"}]),
    how={"key": "ed25519a"},
)
BY_HOW: Rows = [
    ("simple", "simple canonicalisation of header and body", "RFC 6376 §3.4.1, §3.4.3", {"canonicalization": "simple/simple"}),
    ("simple-relaxed", "simple header with relaxed body", "RFC 6376 §3.5", {"canonicalization": "simple/relaxed"}),
    ("relaxed-only", "c=relaxed alone means a simple body", "RFC 6376 §3.5", {"canonicalization": "relaxed/simple", "tags": {"c": "relaxed"}}),
    ("no-canonicalization", "no c= at all means simple/simple", "RFC 6376 §3.5", {"canonicalization": "simple/simple", "tags": {"c": ""}}),
    ("rsa1024", "an RSA key of 1024 bits is long enough", "RFC 8301 §3.2", {"key": "rsa1024"}),
    ("rsa4096", "an RSA key of 4096 bits is not too long", "RFC 8301 §3.2; dmarcchecker.app 2025", {"key": "rsa4096"}),
]  # fmt: skip
for name, why, source, how in BY_HOW:
    signed_case(f"dkim-{name}", why, source, verified("dkim"), how=how)

# ---- the body -----------------------------------------------------------------------------------------------------

SIMPLE = {"canonicalization": "simple/simple"}
for name, why, source, body, how in [
    ("empty-body", "a message without any body", "RFC 6376 §3.4.4; erratum 1377", "", {}),
    ("simple-empty-body", "a simple empty body is one line end", "RFC 6376 §3.4.3; RFC 4871 erratum 1376", "", SIMPLE),
    ("no-final-line-end", "a body whose last line does not end", "RFC 6376 §3.4.3", "Avis\r\n\r\n  fin", {}),
    ("blanks-in-body", "runs of blanks and empty lines at the end of the body", "RFC 6376 §3.4.4", "a \t b  \r\n \t\r\n\r\n\r\n", {}),
    ("long-line", "a body line far longer than 998 octets", "RFC 5322 §2.1.1", "x" * 5000 + "\r\n" + "y " * 3000 + "\r\n", {}),
]:  # fmt: skip
    signed_case(f"dkim-{name}", why, source, verified("dkim"), data=message(body=body), how=how)
PARTS = (
    "--b\r\nContent-Type: text/plain\r\n\r\nVoir l'avis joint.\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    "From: x@evil.example\r\nFrom: y@evil.example\r\nX-Trusted-Sender: verified\r\nSubject: ancien\r\n\r\ntexte\r\n--b--\r\n"
)
signed_case(
    "dkim-attached-message",
    "the header of an attached message is body: no From of this message, and nothing of it is deleted",
    "design#forged-fields; RFC 2046 §5.2.1",
    verified("dkim", edits=[{"op": "insert"}, {"op": "insert"}]),
    data=message(body=PARTS, Content_Type='multipart/mixed; boundary="b"'),
)
TEXT = "Un nouvel avis est en ligne.\r\n"
BODY_HASH = base64.b64encode(hashlib.sha256(TEXT.encode()).digest()).decode()

# ---- the header ---------------------------------------------------------------------------------------------------

for name, why, source, fields in [
    ("8-bit", "an 8-bit body and an unencoded UTF-8 display name", "RFC 6532", {"author": f'"Territoires Numériques" <{TERNUM}>', "body": "Été à la mairie\r\n"}),
    ("no-subject", "a message without Subject need not sign one", "design#evidence-dkim: Subject present and not in h=", {"Subject": ""}),
]:  # fmt: skip
    signed_case(f"dkim-{name}", why, source, verified("dkim"), data=message(**fields))
signed_case(
    "dkim-simple-fold-first",
    "a field of which the value begins in the next line, simple header",
    "rspamd issue 6194",
    verified("dkim"),
    data=swap(message(), "Message-ID: <1@", "Message-ID:\r\n <1@"),
    how=SIMPLE,
)
signed_case(
    "dkim-simple-odd-names",
    "field names in odd case are hashed as they are under simple canonicalisation",
    "RFC 6376 §3.4.1",
    verified("dkim"),
    data=swap(swap(message(), "Subject:", "SUBJECT:"), "To:", "tO:"),
    how=SIMPLE,
)

# ---- the signature field ------------------------------------------------------------------------------------------

OVER = ("From", "From", "Subject", "Subject", "To", "To", "Cc", "Date", "Date", "Reply-To")
BY_FIELD: Rows = [
    ("upper-case-h", "h= names each field once more than it is there, in any case", "RFC 6376 §8.15; aboutmyemail issue 26", {"signed": OVER, "tags": {"h": "FROM:from:Subject:SUBJECT:to:To:CC:date:DATE:reply-TO"}}),
    ("blanks-in-h", "blanks and folds round the colons of h=", "RFC 6376 A.2; DKIMValidator issue 13", {"tags": {"h": " : ".join(SIGNED[:4]) + "\r\n\t: " + ":".join(SIGNED[4:])}}),
    ("folded-bh", "a fold within bh=", "RFC 6376 §3.5", {"tags": {"bh": BODY_HASH[:20] + "\r\n\t " + BODY_HASH[20:]}}),
    ("blanks-after-values", "blanks after the values of tags", "RFC 6376 §3.2", {"layout": " ;\r\n\t", "canonicalization": "simple/simple"}),
    ("final-semicolon", "a semicolon after the last tag", "RFC 6376 §3.2; MimeKit issue 166", {"tail": ";"}),
    ("b-first", "tags behind b=", "RFC 6376 §3.2: in any order", {"tags": {"s": "", "t": ""}, "tail": ";\r\n\tt=1700000000; s=dkim-b-first"}),
    ("unknown-tags", "tags that nobody knows, and copied fields in z=", "RFC 6376 §3.2, §3.5", {"tags": {"r": "y", "x_note": "a b", "z": "From:x@y|Subject:demo=20run"}}),
    ("several-queries", "a query method that nobody knows besides dns/txt", "RFC 6376 §3.5, q=", {"tags": {"q": "dns/other : dns/txt"}}),
    ("identity-below", "i= of a sub-domain of d=, its local part encoded", "RFC 6376 §3.5, i=", {"tags": {"i": "avis=3Dx=40y@marches.ternum-bfc.fr"}}),
    ("expires-in-13-digits", "an x= of more than twelve digits means never", "RFC 6376 §3.5, t=", {"tags": {"x": "9999999999999"}}),
    ("expires-later", "t= in the past, x= in the future", "RFC 6376 §3.5", {"tags": {"t": "1700000000", "x": "4102444800"}}),
    ("dotted-selector", "a selector of several labels, with an underscore, in capitals", "RFC 6376 §3.1", {"selector": "Q4_2026.dkim-dotted-selector"}),
]  # fmt: skip
for name, why, source, how in BY_FIELD:
    signed_case(f"dkim-{name}", why, source, verified("dkim"), how=how)
case(
    "dkim-blank-after-b",
    "blanks round the value of b= are not hashed",
    "RFC 6376 §3.7; library-notes#dkimpy",
    swap(
        sign(message(), Sign(selector="dkim-blank-after-b", canonicalization="simple/simple", tail=";\r\n\tr=y")),
        ";\r\n\tr=y",
        "\r\n\t ;\r\n\tr=y",
    ),
    key("dkim-blank-after-b"),
    verified("dkim"),
)
signed_case(
    "dkim-all-signed",
    "where Reply-To and Content-Type are signed there is nothing to remark",
    "design#evidence-dkim",
    verified("dkim", dkim=[COUNTS | {"reason": None}]),
    data=message(Reply_To=TERNUM),
    how={"signed": (*SIGNED, "Reply-To")},
)
signed_case(
    "dkim-vertical-tab-unsigned",
    "a vertical tab in a field that is not signed does not matter",
    "RFC 6376 §3.7",
    verified("dkim"),
    data=message(X_Note="avis \x0b"),
)
signed_case(
    "dkim-content-type-unsigned",
    "an unsigned Content-Type counts, and is reported",
    "design#evidence-dkim; dkim_verifier, unsigned_header-content-type",
    verified("dkim", dkim=[COUNTS | {"reason": "content-type-not-signed"}]),
    how={"signed": ("From", "To", "Subject", "Date")},
)
signed_case(
    "dkim-reply-to-unsigned",
    "a Reply-To that the platform did not sign counts, and is reported: it may have been added",
    "mailcow issue 648; design#evidence-dkim excludes second copies only",
    verified("dkim", dkim=[COUNTS | {"reason": "reply-to-not-signed"}]),
    top="Reply-To: voleur@evil.example",
)
signed_case(
    "dkim-legacy-fields",
    "DomainKeys and X-Google-DKIM-Signature fields, and an ARC set, are nobody's business",
    "RFC 4870; RFC 8617 §4",
    verified("dkim", dkim=[COUNTS]),
    top="DomainKey-Signature: a=rsa-sha1; c=nofws; d=evil.example; s=x; b=YQ==\r\n"
    "X-Google-DKIM-Signature: v=1; a=rsa-sha256; d=1e100.net; s=x; h=from; bh=YQ==; b=YQ==\r\n"
    "ARC-Seal: i=1; a=rsa-sha256; cv=fail; d=evil.example; s=x; b=YQ==",
)

# ---- whose signature ----------------------------------------------------------------------------------------------

signed_case(
    "dkim-subdomain-signs",
    "d= may be a sub-domain of the entry's domain",
    "design#alignment",
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
    "dkim-strict",
    "alignment: strict, signed by the very domain of the address",
    "design#alignment",
    verified("dkim"),
    senders={"ternum-bfc": {"alignment": "strict"}},
)
signed_case(
    "dkim-by-listed-signer",
    "the entry's `signers` may sign with their own d=",
    "design#evidence-dkim",
    verified("dkim"),
    how={"domain": "operator.example"},
    senders={"ternum-bfc": {"signers": ["operator.example"]}},
)
signed_case(
    "dkim-evidence-domain",
    "a signature of the one domain that evidence_domains names",
    "design#evidence-dkim",
    verified("dkim"),
    how={"domain": "mail.ternum-bfc.fr"},
    senders={"ternum-bfc": {"evidence_domains": ["mail.ternum-bfc.fr"]}},
)
signed_case(
    "dkim-require-dkim",
    "require: dkim is met by DKIM",
    "design#evidence-dkim",
    verified("dkim"),
    senders={"ternum-bfc": {"require": "dkim"}},
)
ETE = "xn--marchs-t-f1acb.fr"  # marchés-été.fr
signed_case(
    "dkim-idn",
    "an IDN signs, d= in U-labels",
    "RFC 8616 §4",
    verified("dkim", "idn"),
    data=message(f"avis@{ETE}"),
    how={"domain": "marchés-été.fr"},
    zone=key("dkim-idn", domain=ETE),
    senders={"idn": {"name": "Marchés d'été", "domain": ETE, "addresses": [f"avis@{ETE}"]}},
)

# ---- several signatures -------------------------------------------------------------------------------------------


def two(name: str, why: str, source: str, top: Sign, below: Sign, zone: str, *expected: object) -> None:
    """A case with two signatures; what is expected of each, in the order in which they are judged."""
    case(name, why, source, sign(sign(message(), below), top), zone, verified("dkim", dkim=list(expected)))


two(
    "dkim-second-signature-good",
    "one broken signature does not spoil a good one",
    "RFC 6376 §4.2",
    Sign(selector="dkim-first-bad", tags={"bh": "YWJj"}),
    Sign(selector="dkim-second-good"),
    key("dkim-second-good") + key("dkim-first-bad"),
    {"counts": False, "reason": "body-hash-mismatch"},
    COUNTS,
)
two(
    "dkim-rsa-and-ed25519",
    "both signatures of a sender that signs with two algorithms",
    "RFC 8463 §3, A.3",
    Sign(selector="dkim-both-ed", key="ed25519a"),
    Sign(selector="dkim-both-rsa"),
    key("dkim-both-ed", "ed25519a") + key("dkim-both-rsa"),
    COUNTS,
    COUNTS,
)
two(
    "dkim-unknown-algorithm-first",
    "an algorithm of the future, and one of today",
    "RFC 8301 §3.1; RFC 6376 §3.3.4",
    Sign(selector="dkim-future-new", tags={"a": "mldsa44-sha256"}),
    Sign(selector="dkim-future-old"),
    key("dkim-future-old"),
    {"counts": False, "reason": "algorithm-unsupported"},
    COUNTS,
)
two(
    "dkim-signed-by-provider-too",
    "the mail provider's own signature on top of the platform's",
    "RFC 6376 §8.14; design#evidence-dkim",
    Sign("sendgrid.net", "dkim-provider"),
    Sign(selector="dkim-customer"),
    key("dkim-customer") + key("dkim-provider", domain="sendgrid.net"),
    COUNTS,
    {"counts": False, "reason": "unaligned"},
)
case(
    "dkim-aligned-behind-eleven",
    "aligned signatures are looked at first, however many others stand above",
    "design#evidence-dkim; OpenDKIM issue 271",
    "".join(f"DKIM-Signature: v=1; a=rsa-sha256; d=x{i}.example; s=s; h=from; bh=; b=\r\n" for i in range(11)).encode()
    + sign(message(), Sign(selector="dkim-behind-eleven")),
    key("dkim-behind-eleven"),
    verified("dkim"),
)

# ---- what stands beside it ----------------------------------------------------------------------------------------

RELAXED_AGAIN = swap(
    swap(
        sign(message(), Sign(selector="dkim-respaced")), "Subject: Avis de marche", "SUBJECT  : Avis\r\n\t de  marche "
    ),
    "ligne.\r\n",
    "ligne. \t\r\n\r\n",
)
case(
    "dkim-respaced",
    "blanks, folds, capitals and empty lines changed on the way, under relaxed canonicalisation",
    "RFC 6376 §3.4.2, §3.4.4",
    RELAXED_AGAIN,
    key("dkim-respaced"),
    verified("dkim"),
)
for name, why, source, facts, zone in [
    ("null-sender", "a null reverse-path, and a HELO name that proves nothing", "RFC 5321 §4.5.5", ("<>", STRANGER, "[203.0.113.66]"), ""),
    ("malformed-mail-from", "a MAIL FROM that cannot be read does not spoil DKIM", "RFC 6376 §1", ("<a@b@c>", STRANGER, "mail.mailer.example"), ""),
]:  # fmt: skip
    signed_case(
        f"dkim-{name}",
        why,
        source,
        verified("dkim"),
        session=session(*facts),
        zone=key(f"dkim-{name}") + zone,
    )

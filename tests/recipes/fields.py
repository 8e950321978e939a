"""Forged fields of ours go, in every spelling and number; what is not ours stays."""

from __future__ import annotations

from typing import Any

from recipes import case, key, message, on_top, session, unclaimed, unverified, verified

from harness.signing import SIGNED, Sign, sign

NEWS = message("Soldes <news@shop.example>")
OURS, RESULTS = "X-Trusted-Sender", "Authentication-Results"


def gone(name: str, *indices: int) -> list[dict[str, Any]]:
    """Deletions of a field, in the order in which they are made."""
    return [{"op": "delete", "name": name, "index": i} for i in indices]


# ---- X-Trusted-Sender ---------------------------------------------------------------------------------------------

UNCLAIMED = {"op": "insert", "name": OURS, "index": 0, "value": "unclaimed; host=mx1.example.org"}
case(
    "forged-fields",
    "every incoming X-Trusted-Sender is deleted, the highest index first",
    "design#forged-fields; OpenDKIM issue 185",
    on_top(
        "X-Trusted-Sender: verified; sender=ternum-bfc\r\nx-trusted-SENDER:\r\n verified\r\nX-Trusted-Sender : verified",
        NEWS,
    ),
    "",
    unclaimed(edits=[*gone(OURS, 3, 2, 1), UNCLAIMED]),
)
case(
    "forged-spellings",
    "with a tab before the colon, empty, in octets that are no UTF-8, at the very end of the header",
    "design#forged-fields; RFC 5322 §4.5",
    on_top("X-TRUSTED-SENDER\t:verified\r\nX-Trusted-Sender:", NEWS).replace(
        b"\r\n\r\n", b"\r\nX-Trusted-Sender \t: verified\xff\r\n\t; by=dkim\r\n\r\n", 1
    ),
    "",
    unclaimed(edits=[*gone(OURS, 3, 2, 1), UNCLAIMED]),
)
case(
    "forged-many-fields",
    "forged fields beyond the limits are deleted all the same, and nothing is verified",
    "design#limits",
    on_top(
        "".join(f"X-{i}: x\r\n" for i in range(60)) + "X-Trusted-Sender: verified",
        sign(message(), Sign(selector="forged-many")),
    ),
    key("forged-many"),
    unverified("header-too-large", edits=[{"op": "delete", "index": 1}, {"op": "insert"}]),
    config={"limits": {"header_fields": 50}},
)
case(
    "forged-renamed",
    "where `header` renames the field, the default name is deleted too",
    "design#forged-fields",
    on_top("X-Trusted-Sender: verified\r\nX-Licence: verified", NEWS),
    "",
    unclaimed(edits=[*gone(OURS, 1), *gone("X-Licence", 1), {"op": "insert", "name": "X-Licence"}]),
    config={"header": "X-Licence"},
)
case(
    "forged-observed",
    "in observe mode too, and where it says that it was observed",
    "design#observe",
    on_top("X-Trusted-Sender: observed; would=verified; host=mx1.example.org", NEWS),
    "",
    unclaimed(edits=[*gone(OURS, 1), {"op": "insert", "value": "observed; would=unclaimed; host=mx1.example.org"}]),
    config={"mode": "observe"},
)
case(
    "forged-on-verified",
    "on a genuine message, above and below what is signed",
    "design#forged-fields",
    on_top(
        "X-Trusted-Sender: verified; sender=visma-opic\r\nAuthentication-Results: mx1.example.org; dkim=pass",
        sign(message(X_Trusted_Sender="verified; by=network"), Sign(selector="forged-on-verified")),
    ),
    key("forged-on-verified"),
    verified("dkim", edits=[*gone(OURS, 2, 1), *gone(RESULTS, 1), {"op": "insert"}, {"op": "insert"}]),
)
case(
    "forged-similar",
    "fields that are only called like ours stay",
    "design#forged-fields",
    on_top(
        "X-Trusted-Senders: a\r\nX-Trusted-Sender-Old: verified\r\nXX-Trusted-Sender: verified\r\n"
        "X-Trusted_Sender: verified\r\nTrusted-Sender: verified\r\nX-Authentication-Results: mx1.example.org; dkim=pass",
        NEWS,
    ),
    "",
    unclaimed(edits=[UNCLAIMED]),
)

# ---- Authentication-Results ---------------------------------------------------------------------------------------

case(
    "forged-results",
    "Authentication-Results of ours are deleted in any dress, others stay",
    "RFC 8601 §5",
    on_top(
        "\r\n".join([
            "Authentication-Results: mx1.example.org; dkim=pass",
            "authentication-results: (x) MX1.Example.ORG 1; spf=pass",
            'Authentication-Results: "mx1.example.org"; spf=pass',
            "Authentication-Results: other.example; spf=pass",
            'Authentication-Results: "mx1.example.org; spf=pass',
            "Authentication-Results: mx2.example.org; spf=pass",
            "Authentication-Results: mx1.example.org.evil.example; spf=pass",
        ]),
        NEWS,
    ),
    "",
    unclaimed(edits=[*gone(RESULTS, 6, 5, 3, 2, 1), {"op": "insert"}]),
    config={"authserv_ids": ["mx2.example.org"]},
)  # fmt: skip
case(
    "forged-results-kept",
    "strip_authentication_results: no",
    "design#configuration",
    on_top("Authentication-Results: mx1.example.org; dkim=pass", NEWS),
    "",
    unclaimed(edits=[{"op": "insert"}]),
    config={"strip_authentication_results": False},
)
for name, field, deleted, why, source in [
    ("folded", "Authentication-Results :\r\n\tmx1.example.org\r\n ; dkim=pass", True, "a blank before the colon and folds round our name", "RFC 5322 §4.5"),
    ("commented", "Authentication-Results: (a (b) \\) c) mx1.example.org (d) / (e) 1 (f); dkim=pass", True, "nested comments round our name and the version", "RFC 8601 §2.2; arc_test_suite issue 25"),
    ("quoted-pair", 'Authentication-Results: "mx1\\.example.org"; dkim=pass', True, "our name with an escaped dot within quotes", "RFC 8601 §2.2; RFC 2045 §5.1"),
    ("final-dot", "Authentication-Results: mx1.example.org.; dkim=pass", True, "our name with a final dot", "RFC 8601 §2.5"),
    ("no-semicolon", "Authentication-Results: mx1.example.org dkim=pass header.d=ternum-bfc.fr", True, "our name without a semicolon: it cannot be parsed", "design#forged-fields; authres_status issue 86"),
    ("encoded", "Authentication-Results: =?utf-8?q?mx1.example.org?=; dkim=pass", True, "our name as an encoded word: it cannot be parsed", "design#forged-fields; RFC 2047 §5"),
    ("not-utf-8", "Authentication-Results: mx1.example.org \udcff; dkim=pass", True, "our name and an octet that is not UTF-8", "design#forged-fields"),
    ("blank-inside", "Authentication-Results: mx1 .example.org; dkim=pass", True, "our name with a blank in it: it cannot be parsed", "design#forged-fields"),
    ("job-id", 'Authentication-Results: "mx1.example.org/4Q1"; dkim=pass', True, "our name with a job id, as OpenDKIM writes it", "opendkim.conf(5), AuthservIDWithJobID"),
    ("foreign-dot", "Authentication-Results: mx1\u3002example.org; dkim=pass", True, "our name with an ideographic full stop", "design#forged-fields; RFC 8616 §4"),
    ("encoded-dots", "Authentication-Results: =?utf-8?q?mx1=2Eexample=2Eorg?=; dkim=pass", True, "our name as an encoded word, its dots encoded too", "RFC 5228 §2.7.2: Sieve compares decoded text"),
    ("encoded-base64", "Authentication-Results: =?utf-8?b?bXgxLmV4YW1wbGUub3Jn?=; dkim=pass header.d=visma.com", True, "our name in base64", "RFC 5228 §2.7.2"),
    ("encoded-whole", "Authentication-Results: =?utf-8?b?bXgxLmV4YW1wbGUub3JnOyBka2ltPXBhc3M=?=", True, "a value that is all encoded", "RFC 5228 §2.7.2"),
    ("encoded-parts", "Authentication-Results: =?utf-8?q?mx1=2E?=\r\n =?utf-8?b?ZXhhbXBsZS5vcmc=?=; dkim=pass", True, "our name in two encoded words", "RFC 2047 §6.2"),
    ("encoded-in-quotes", 'Authentication-Results: "=?utf-8?q?mx1=2Eexample=2Eorg?="; dkim=pass', True, "our name as an encoded word within quotes", "RFC 5228 §2.7.2"),
    ("encoded-other", "Authentication-Results: =?utf-8?q?mx9=2Eexample=2Eorg?=; dkim=pass", False, "somebody else's name as an encoded word", "design#forged-fields"),
    ("encoded-reason", 'Authentication-Results: other.example; dkim=fail reason="=?utf-8?q?mx1=2Eexample=2Eorg?="', False, "an encoded word in somebody else's reason", "RFC 8601 §2.2"),
    ("name-in-comment", "Authentication-Results: (mx1.example.org) other.example; dkim=pass", False, "somebody else's name, and ours in a comment", "RFC 8601 §2.2"),
    ("without-name", "Authentication-Results: dkim=pass header.d=ternum-bfc.fr", False, "results without any name stay: they are not by us", "rspamd issue 2178"),
    ("of-arc", "ARC-Authentication-Results: i=1; mx1.example.org; dkim=pass", False, "the results of an ARC set stay, or the set would break", "RFC 8617 §5"),
]:  # fmt: skip
    edits = [*(gone(RESULTS, 1) if deleted else []), {"op": "insert", "name": OURS}]
    case(f"forged-results-{name}", why, source, on_top(field, NEWS), "", unclaimed(edits=edits))

# ---- Subject ----------------------------------------------------------------------------------------------------

TAG = {"subject_tag": "[?]"}
FORGED = message(Subject="")
for name, data, edits in [
    ("two", on_top("Subject: Avis", message()), [{"op": "change", "index": 1, "value": "[?] Avis"}, {"op": "change", "index": 2, "value": "[?] Avis de marche"}]),
    ("late", FORGED.replace(b"\r\n\r\n", b"\r\n" + b"X-A: a\r\n" * 1_001 + b"Subject: Avis\r\n\r\n", 1), [{"op": "delete", "name": "Subject", "index": 1}, {"op": "insert", "name": "Subject", "index": 0, "value": "[?] Avis"}]),
    ("early-and-late", message().replace(b"\r\n\r\n", b"\r\n" + b"X-A: a\r\n" * 1_001 + b"subject : Avis\r\n\r\n", 1), [{"op": "delete", "name": "Subject", "index": 2}, {"op": "change", "index": 1, "value": "[?] Avis de marche"}]),
]:  # fmt: skip
    late = "late" in name
    case(
        f"tagged-subject-{name}",
        "subject_tag stands in every Subject that a reader can be shown",
        "trust.md, 12",
        data,
        "",
        unverified(
            "header-too-large" if late else "no-aligned-pass",
            edits=[*edits, *[{"op": "insert"}] * (1 if late else 2)],
        ),
        config=TAG,
    )
case(
    "tagged-subject-honest",
    "mail that claims nothing keeps its Subject",
    "design#configuration, subject_tag",
    NEWS,
    "",
    unclaimed(edits=[{"op": "insert", "name": OURS}]),
    config=TAG,
)

# ---- our own users and hosts --------------------------------------------------------------------------------------

for name, client in [("local", "127.0.0.1"), ("local-mapped", "::ffff:127.0.0.1")]:
    case(
        f"unchecked-{name}",
        "a client of local_networks is not judged; forged fields go",
        "design#decision, row 1",
        on_top("X-Trusted-Sender: verified", message()),
        "",
        {"verdict": "unchecked", "action": "none", "sender": None, "edits": gone(OURS, 1)},
        session=session(client=client),
    )
HOSTS = {"trusted_hosts": {"networks": ["198.51.100.7"], "hosts": ["mx2.example.org"]}}
JUDGED = "X-Trusted-Sender: verified; sender=ternum-bfc; by=dkim; host=mx2.example.org"
case(
    "unchecked-trusted-host",
    "the field of another MX host of ours is kept, what lies below it goes",
    "design#decision, row 1",
    on_top(f"{JUDGED}\r\nX-Trusted-Sender: verified", message()),
    "",
    {"verdict": "unchecked", "edits": gone(OURS, 2)},
    session=session(client="198.51.100.7"),
    config=HOSTS,
)
case(
    "unchecked-trusted-host-unverified",
    "another MX host's verdict is kept whatever it is, and its Authentication-Results",
    "design#decision, row 1",
    on_top(
        "X-Trusted-Sender: unverified; sender=ternum-bfc; reason=no-aligned-pass; host=MX2.example.org\r\n"
        "Authentication-Results: mx1.example.org; dkim=none",
        message(),
    ),
    "",
    {"verdict": "unchecked", "edits": []},
    session=session(client="198.51.100.7"),
    config=HOSTS,
)
for name, field, client, why in [
    ("other-client", JUDGED, "203.0.113.66", "the same field from another client is forged"),
    ("other-name", JUDGED.replace("mx2", "mx9"), "198.51.100.7", "a trusted client that brings a field of an unlisted host"),
    ("two-names", f"{JUDGED}; host=mx9.example.org", "198.51.100.7", "a field of two hosts"),
]:  # fmt: skip
    expected = unverified("no-aligned-pass", edits=[*gone(OURS, 1), {"op": "insert"}, {"op": "insert"}])
    facts = session(client=client)
    case(
        f"no-trusted-host-{name}",
        why,
        "design#forged-fields",
        on_top(field, message()),
        "",
        expected,
        session=facts,
        config=HOSTS,
    )
case(
    "no-trusted-host-second",
    "a listed host's field below one of a stranger",
    "design#decision, row 1",
    on_top(f"X-Trusted-Sender: unclaimed; host=mx9.example.org\r\n{JUDGED}", message()),
    "",
    unverified("no-aligned-pass", edits=[*gone(OURS, 2, 1), {"op": "insert"}, {"op": "insert"}]),
    session=session(client="198.51.100.7"),
    config=HOSTS,
)

# ---- fields of DKIM2 ----------------------------------------------------------------------------------------------
# Drafts of the dkim working group: they prove nothing, and disturb nothing (docs/spec-notes.md).

INSTANCE = "Message-Instance: m=1; h=sha256:Zm9v:YmFy; r=eyJoIjp7fX0="
DKIM2 = "DKIM2-Signature: i=1; m=1; t=1795330000; mf=<bounce@ternum-bfc.fr>; rt=<marches@commune.example>; d=ternum-bfc.fr; s=s1:rsa-sha256:Zm9v"
for place, top in [
    ("one", f"{DKIM2}\r\n{INSTANCE}"),
    ("many", "\r\n".join([DKIM2, INSTANCE] * 12)),
    ("broken", "DKIM2-Signature: ;;=\r\nMessage-Instance:"),
]:
    case(
        f"dkim2-{place}",
        "fields of DKIM2 beside a DKIM signature that does not cover them: it counts",
        "draft-ietf-dkim-dkim2-spec",
        on_top(top, sign(message(), Sign(selector=f"dkim2-{place}"))),
        key(f"dkim2-{place}"),
        verified("dkim", dkim=[{"result": "pass", "counts": True}]),
    )
    case(
        f"no-dkim2-{place}",
        "fields of DKIM2 alone prove nothing",
        "draft-ietf-dkim-dkim2-spec",
        on_top(top, message()),
        "",
        unverified("no-aligned-pass", dkim=[]),
    )
case(
    "dkim2-signed",
    "fields of DKIM2 that the DKIM signature covers",
    "draft-ietf-dkim-dkim2-spec",
    sign(
        on_top(f"{DKIM2}\r\n{INSTANCE}", message()),
        Sign(selector="dkim2-signed", signed=(*SIGNED, "DKIM2-Signature", "Message-Instance")),
    ),
    key("dkim2-signed"),
    verified("dkim"),
)
case(
    "dkim2-unclaimed",
    "fields of DKIM2 in mail that claims nothing",
    "draft-ietf-dkim-dkim2-spec",
    on_top(f"{DKIM2}\r\n{INSTANCE}", NEWS),
    "",
    unclaimed(),
)

"""Cases that hold one rule each, found by taking every rule out in turn (tests/mutate.py)."""

from __future__ import annotations

from recipes import (
    ALLOWED,
    SERVER,
    STRANGER,
    TERNUM,
    address,
    ambiguous,
    case,
    imitation,
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

SOURCE = "tests/mutate.py"
RESULTS = "Authentication-Results"

# ---- claims ---------------------------------------------------------------------------------------------------------

LIST = {"local_domains": ["commune.example"]}
REWRITTEN = f'"{TERNUM} via Achats" <achats@commune.example>'
for name, top, config, reason in [
    ("list", "List-Id: <achats.commune.example>", LIST, "list-rewritten"),
    ("no-list-id", "X-Loop: achats", LIST, "display-name-imitates"),
    (
        "foreign-list",
        "List-Id: <achats.commune.example>",
        {"local_domains": ["mairie.example"]},
        "display-name-imitates",
    ),
]:
    case(
        f"imitation-rewritten-{name}",
        f"a list rewrote From: {reason}, for our own domain and with a List-Id only",
        "RFC 7960 §4.1.3; issue 3",
        on_top(top, message(REWRITTEN)),
        "",
        imitation(reason=reason),
        config=config,
    )
case(
    "imitation-list-of-look-alike",
    "a list of our own does not excuse a local part that imitates",
    SOURCE,
    on_top("List-Id: <achats.commune.example>", message('"nepasrepondre@ternum-bfc.fr"@commune.example')),
    "",
    imitation(reason="local-part-imitates"),
    config=LIST,
)
for name, author in [
    ("other-mailbox-unquoted", f"anna@ternum-bfc.fr <{TERNUM}>"),
    ("other-domain-unquoted", f"nepasrepondre@evil.example <{TERNUM}>"),
    ("dot-before", f". <{TERNUM}>"),
    ("local-part-too-long", f"{'x' * 300}@ternum-bfc.fr"),
    ("local-part-empty", '""@ternum-bfc.fr'),
]:
    spf_case(
        f"no-from-{name}",
        "From has no single reading, whatever SPF says",
        SOURCE,
        ambiguous("malformed-from"),
        author=author,
    )

# ---- DKIM -----------------------------------------------------------------------------------------------------------

for name, why, tags in [
    ("time-words", "a time in words", {"t": "soon"}),
    ("time-negative", "a time before 1970", {"t": "-1"}),
    ("time-endless", "a time of more digits than Python takes for a number", {"x": "9" * 4400}),
    ("empty-hash", "no body hash", {"bh": " "}),
]:
    signed_case(
        f"no-dkim-syntax-{name}",
        why,
        "RFC 6376 §3.5",
        unverified("signature-syntax"),
        how={"tags": tags},
    )
signed_case(
    "no-dkim-key-huge", "a key record of absurd length", SOURCE, unverified("key-syntax"), record={"n": "x" * 5000}
)
signed_case(
    "no-dkim-counts-and-not-enough",
    "where a signature counts and SPF is required, its remark is not the reason",
    SOURCE,
    unverified("requirement-not-met"),
    how={"signed": ("From", "To", "Subject", "Date")},
    senders={"ternum-bfc": {"require": "spf"}},
)

signed_case(
    "dkim-covers-little",
    "a large field that is not signed is not canonicalised, and does not count",
    "design#limits",
    verified("dkim"),
    data=message(X_Note="x" * 3000),
    config={"limits": {"signed_size": 2000}},
)
case(
    "no-dkim-covers-too-much-and-more",
    "beyond the bound on what is canonicalised, a signature that was refused before keeps its reason",
    SOURCE,
    sign(
        sign(message(), Sign(selector="no-dkim-covers-below", signed=("To", "Subject"))),
        Sign(selector="no-dkim-covers-top"),
    ),
    key("no-dkim-covers-top"),
    unverified("signature-too-large", dkim=[{"reason": "signature-too-large"}, {"reason": "from-not-signed"}]),
    config={"limits": {"signed_size": 100}},
)

# ---- SPF ------------------------------------------------------------------------------------------------------------

NO_RECORD = unverified("no-aligned-pass", spf={"result": "permerror", "counts": False})
TOO_WIDE = unverified("spf-too-wide", spf={"result": "pass", "counts": False})
spf_case(
    "no-spf-wide-ip6-16",
    "an IPv6 range of /16, narrow enough for IPv4",
    "design#decision",
    TOO_WIDE,
    client="2001:db8::66",
    record="v=spf1 ip6:2001::/16 -all",
)
spf_case(
    "no-spf-redirect-inside-include",
    "a redirect to a name that the client chooses, inside an include",
    SOURCE,
    TOO_WIDE,
    record="v=spf1 include:a.no-spf-redirect-inside-include.example -all",
    zone=txt("a.no-spf-redirect-inside-include.example", "v=spf1 redirect=%{h}")
    + txt("h.redirect-inside.example", f"v=spf1 ip4:{STRANGER} -all"),
    session=session("b@no-spf-redirect-inside-include.ternum-bfc.fr", STRANGER, "h.redirect-inside.example"),
)
spf_case(
    "spf-redirect-not-taken",
    "a redirect to a name that the client chooses does no harm where a mechanism matches first",
    SOURCE,
    verified("spf"),
    record="v=spf1 include:a.spf-redirect-not-taken.example redirect=%{h}",
    zone=txt("a.spf-redirect-not-taken.example", f"v=spf1 ip4:{SERVER} -all"),
)
spf_case(
    "spf-chosen-not-matched",
    "a mechanism with a name that the client chooses does no harm where it does not match",
    SOURCE,
    verified("spf"),
    record="v=spf1 a:%{h} redirect=a.spf-chosen-not-matched.example",
    zone=txt("a.spf-chosen-not-matched.example", f"v=spf1 ip4:{SERVER} -all")
    + address("h.not-matched.example", "203.0.113.1"),
    session=session("b@spf-chosen-not-matched.ternum-bfc.fr", SERVER, "h.not-matched.example"),
)
spf_case(
    "spf-long-other-record",
    "a long TXT record beside the SPF record, which is none, is passed over",
    "RFC 7208 §4.5",
    verified("spf"),
    record=[ALLOWED, f"note={'x' * 5000}"],
)
for name, names, expected in [
    ("spf-names-too-long", "exists:%{l}.a.example exists:%{l}.b.example", verified("spf")),
    ("no-spf-names-too-long", "exists:%{l}.a.example exists:%{l}.b.example exists:%{l}.c.example", NO_RECORD),
]:
    spf_case(
        name,
        "names with a label too long for DNS match nothing; more than two of them are too many void look-ups",
        "RFC 7208 §4.6.4, §7.3",
        expected,
        record=f"v=spf1 {names} ip4:192.0.2.0/28 -all",
        session=session(f"{'x' * 70}@{name}.ternum-bfc.fr", SERVER, "mail.ternum-bfc.fr"),
    )
case(
    "no-spf-servfail-reason",
    "where SPF could not be asked, that is said of it, though DKIM is required",
    "design#three-values",
    message(),
    ";servfail no-spf-servfail-reason.ternum-bfc.fr.\n",
    unverified("no-aligned-pass", spf={"result": "temperror", "reason": "dns-temperror", "mechanism": None}),
    session=session("b@no-spf-servfail-reason.ternum-bfc.fr", SERVER),
    senders={"ternum-bfc": {"require": "dkim"}},
    config={"dns": {"timeout": "1s"}},
)

# ---- what we write ----------------------------------------------------------------------------------------------------


def written(results: str, ours: str) -> list[dict[str, object]]:
    host = "mx1.example.org"
    return [
        {"op": "insert", "name": RESULTS, "value": f"{host}; {results}"},
        {"op": "insert", "name": "X-Trusted-Sender", "value": f"{ours}; host={host}"},
    ]


VERIFIED = "verified; sender=ternum-bfc; by="
UNPROVEN = "unverified; sender=ternum-bfc; reason=no-aligned-pass"


case(
    "results-helo",
    "the HELO identity is told as smtp.helo",
    "RFC 8601 §2.7.2",
    message(),
    txt("helo.results-helo.ternum-bfc.fr", f"v=spf1 ip4:{SERVER} -all"),
    verified("spf", edits=written("spf=pass smtp.helo=helo.results-helo.ternum-bfc.fr; dkim=none", f"{VERIFIED}spf")),
    session=session("", SERVER, "helo.results-helo.ternum-bfc.fr"),
)
case(
    "results-no-identity",
    "where MAIL FROM cannot be read, no identity is told",
    "RFC 8601 §2.7.2",
    message(),
    "",
    unverified("no-aligned-pass", edits=written("spf=none; dkim=none", UNPROVEN)),
    session=session("<<x>>", SERVER),
)
case(
    "results-dkim",
    "aligned signatures are told with their reason, where they do not count; others are not",
    "RFC 8601 §2.7.1",
    sign(sign(sign(message(), Sign("evil.example", "x")), Sign(selector="results-dkim", signed=("From", "Subject"))), Sign(selector="results-l", tags={"l": "1"})),
    key("results-dkim") + key("results-l"),
    verified(
        "dkim",
        edits=written(
            "dkim=policy reason=body-length-tag header.d=ternum-bfc.fr "
            "header.s=results-l; dkim=pass header.d=ternum-bfc.fr header.s=results-dkim",
            f"{VERIFIED}dkim",
        ),
    ),
)  # fmt: skip
case(
    "results-unaligned-only",
    "where only others signed, dkim is neutral: not looked into",
    "RFC 8601 §2.7.1",
    sign(message(), Sign("evil.example", "x")),
    "",
    unverified("no-aligned-pass", edits=written("dkim=neutral", UNPROVEN)),
)
case(
    "observe-subject-tag",
    "in observe mode the Subject stays",
    "design#forged-fields",
    message(),
    "",
    unverified("no-aligned-pass", edits=[{"op": "insert"}]),
    config={"mode": "observe", "subject_tag": "[?]"},
)
case(
    "subject-tag-without-subject",
    "a subject tag without a Subject",
    "design#forged-fields",
    message(Subject=""),
    "",
    unverified("no-aligned-pass", edits=[{"op": "insert"}, {"op": "insert"}]),
    config={"subject_tag": "[?]"},
)
case(
    "header-too-large",
    "a header over its limit in octets is never verified",
    "design#limits",
    on_top(f"X-Long: {'x' * 3000}", message()),
    "",
    ambiguous("header-too-large"),
    config={"limits": {"header_size": 2000}},
)
HOSTS = {"trusted_hosts": {"networks": ["198.51.100.7"], "hosts": ["mx2.example.org"]}}
case(
    "trusted-host-without-field",
    "a trusted host's client that brings no field is judged",
    "design#decision, row 1",
    message(),
    "",
    unverified("no-aligned-pass"),
    session=session(client="198.51.100.7"),
    config=HOSTS,
)

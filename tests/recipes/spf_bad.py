"""Must not be verified: SPF that passes for everyone, for another, for HELO, or not at all."""

from __future__ import annotations

from recipes import (
    ALLOWED,
    SERVER,
    STRANGER,
    address,
    case,
    message,
    session,
    spf_case,
    strings,
    txt,
    unverified,
)

SUITE = "RFC 7208 test suite (openspf 2014.04)"
NO_PASS = "no-aligned-pass"

# ---- other results than pass --------------------------------------------------------------------------------------

spf_case(
    "no-spf-fail",
    "a forgery from a host that may not send",
    "RFC 7208 §8.4",
    unverified(NO_PASS, spf={"result": "fail", "aligned": True, "counts": False}),
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
        unverified(NO_PASS, spf={"result": result}),
        client=STRANGER,
        record=f"v=spf1 {mechanism}",
    )
ELEVEN = "".join(
    f"no-spf-mx-limit.ternum-bfc.fr. 300 IN MX {i} m{i}.no-spf-mx-limit.example.\n"
    + address(f"m{i}.no-spf-mx-limit.example", SERVER if i == 11 else "203.0.113.9")
    for i in range(1, 12)
)
for name, why, source, result, record, zone in [
    ("none", "no SPF record", "RFC 7208 §2.6.1", "none", "v=spf2 ip4:192.0.2.0/28", ""),
    ("no-match", "a record that says nothing of the client", f"{SUITE}, default-result", "neutral", "v=spf1 ip4:203.0.113.9", ""),
    ("two-records", "two SPF records are an error", "RFC 7208 §4.5", "permerror", [ALLOWED, "v=spf1 -all"], ""),
    ("syntax-behind-match", "an error behind the mechanism that would match", f"{SUITE}, detect-errors-anywhere", "permerror", "v=spf1 ip4:192.0.2.5 -all moo", ""),
    ("include-nowhere", "an include of a name without a record, before a match", f"{SUITE}, include-none", "permerror", "v=spf1 include:gone.no-spf.example ip4:192.0.2.5 -all", ""),
    ("include-loop", "a record that includes itself, before a match", f"{SUITE}, include-loop", "permerror", "v=spf1 include:no-spf-include-loop.ternum-bfc.fr ip4:192.0.2.5 -all", ""),
    ("eleven-lookups", "one look-up more than is allowed, before a match", f"{SUITE}, mech-over-limit; glts/viaspf issue 3", "permerror", "v=spf1 " + "a:no.no-spf-eleven.example " * 11 + "ip4:192.0.2.5 -all", address("no.no-spf-eleven.example", "203.0.113.9")),
    ("three-void-lookups", "one look-up without answer more than is allowed, before a match", f"{SUITE}, void-over-limit; blitiri spf 42e3519", "permerror", "v=spf1 a:x.void.example a:y.void.example a:z.void.example ip4:192.0.2.5 -all", ""),
    ("mx-limit", "an mx of eleven mail servers", f"{SUITE}, mx-limit", "permerror", "v=spf1 mx -all", ELEVEN),
    ("mx-without-mx", "a name without MX is not its own mail server", f"{SUITE}, mx-implicit", "fail", "v=spf1 mx -all", address("no-spf-mx-without-mx.ternum-bfc.fr")),
]:  # fmt: skip
    spf_case(f"no-spf-{name}", why, source, unverified(NO_PASS, spf={"result": result}), record=record, zone=zone)
spf_case(
    "no-spf-run-together",
    "strings that are joined without the blank that should be there",
    f"{SUITE}, nospace1",
    unverified(NO_PASS, spf={"result": "none"}),
    record="",
    zone=strings("no-spf-run-together.ternum-bfc.fr", "v=spf1", "ip4:192.0.2.0/28 -all"),
)
spf_case(
    "no-spf-not-ascii",
    "a record with an octet that is not ASCII",
    f"{SUITE}, non-ascii-policy",
    unverified(NO_PASS, spf={"result": "permerror"}),
    record="",
    zone='no-spf-not-ascii.ternum-bfc.fr. 300 IN TXT "v=spf1 ip4:192.0.2.5 a:\\239\\187\\191x.example -all"\n',
)
spf_case(
    "no-spf-ptr-forged",
    "a reverse name that the client gave itself",
    f"{SUITE}, ptr-nomatch-invalid; RFC 7208 §5.5",
    unverified(NO_PASS, spf={"result": "fail"}),
    client="203.0.113.67",
    record="v=spf1 ptr:no-spf-ptr-forged.example -all",
    zone="67.113.0.203.in-addr.arpa. 300 IN PTR out.no-spf-ptr-forged.example.\n"
    + address("out.no-spf-ptr-forged.example"),
)
spf_case(
    "no-spf-ip6-mapped",
    "an ip6 range never fits an IPv4-mapped client",
    f"{SUITE}, cidr6-ip4; RFC 7208 §5",
    unverified(NO_PASS, spf={"result": "fail"}),
    client=f"::ffff:{STRANGER}",
    record="v=spf1 ip6:::ffff:0:0/96 -all",
)

# ---- a pass that everyone gets ------------------------------------------------------------------------------------

WIDE = "design#evidence-spf; BreakSPF (Wang et al. 2024); Czybik et al. 2023"
spf_case(
    "no-spf-all",
    "+all lets everyone pass",
    WIDE,
    unverified("spf-too-wide", spf={"result": "pass", "counts": False, "mechanism": "+all"}),
    client=STRANGER,
    record="v=spf1 +all",
)
spf_case(
    "no-spf-all-included",
    "+all inside an include",
    "design#evidence-spf; SubdoMailing (Guardio 2024)",
    unverified("spf-too-wide", spf={"mechanism": "all"}),
    client=STRANGER,
    record="v=spf1 include:no-spf-all-included.example -all",
    zone=txt("no-spf-all-included.example", "v=spf1 all"),
)
EVERYWHERE = address("no-spf-wide.example", "200.0.0.1")
for name, why, client, record, zone in [
    ("all-redirected", "+all behind a redirect", STRANGER, "v=spf1 redirect=no-spf-all-redirected.example", txt("no-spf-all-redirected.example", "v=spf1 all")),
    ("wide-ip4", "half of the address space", STRANGER, "v=spf1 ip4:128.0.0.0/1 -all", ""),
    ("wide-ip4-slash-7", "a range of /7", STRANGER, "v=spf1 ip4:202.0.0.0/7 -all", ""),
    ("wide-a", "an a mechanism with a /4", STRANGER, "v=spf1 a:no-spf-wide.example/4 -all", EVERYWHERE),
    ("wide-mx", "an mx mechanism with a /4", STRANGER, "v=spf1 mx:no-spf-wide-mx.example/4 -all", "no-spf-wide-mx.example. 300 IN MX 5 no-spf-wide.example.\n" + EVERYWHERE),
    ("wide-ip6", "an IPv6 range wider than /32", "2001:db8::66", "v=spf1 ip6:2000::/3 -all", ""),
    ("wide-a-ip6", "an a mechanism with a //0", "2001:db8::66", "v=spf1 a:six.no-spf-wide.example//0 -all", address("six.no-spf-wide.example", "2001:db8:9::1")),
    ("exists-everyone", "exists of a name that does not depend on the client", STRANGER, "v=spf1 exists:no-spf-exists-everyone.example -all", address("no-spf-exists-everyone.example", "127.0.0.2")),
    ("exists-helo", "exists of a name that the client chooses, its HELO", STRANGER, "v=spf1 exists:%{h} -all", address("mail.exists-helo.example", STRANGER)),
    ("exists-ptr", "exists of a name that the client chooses, its reverse name", "203.0.113.68", "v=spf1 exists:%{p} -all", "68.113.0.203.in-addr.arpa. 300 IN PTR mail.exists-ptr.example.\n" + address("mail.exists-ptr.example", "203.0.113.68")),
    ("a-helo", "the address of a name that the client chooses, its HELO", STRANGER, "v=spf1 a:%{h} -all", address("mail.a-helo.example", STRANGER)),
    ("include-helo", "the record of a name that the client chooses, its HELO", STRANGER, "v=spf1 include:%{h} -all", txt("mail.include-helo.example", f"v=spf1 ip4:{STRANGER} -all")),
    ("redirect-local-part", "the record of a name that the client chooses, the local part of MAIL FROM", STRANGER, "v=spf1 redirect=%{l}", txt("mail.redirect-local-part.example", f"v=spf1 ip4:{STRANGER} -all")),
]:  # fmt: skip
    chosen = f"mail.{name}.example"
    spf_case(
        f"no-spf-{name}",
        why,
        f"{SUITE}, hello-macro; RFC 7208 §11.3" if name.endswith(("helo", "ptr", "part")) else WIDE,
        unverified("spf-too-wide"),
        record=record,
        zone=zone,
        session=session(f"{chosen}@no-spf-{name}.ternum-bfc.fr", client, chosen),
    )

CLIENTS_CHOICE = "review of the trust decision, finding 4; RFC 7208 §11.3"
for name, why, record, mail_from, helo, zone in [
    ("glued-helo", "the HELO name glued to the domain", "v=spf1 include:%{h}%{d} -all", "x", "evil-", "evil-no-spf-glued-helo.ternum-bfc.fr"),
    ("glued-a", "an address of the HELO name glued to another", "v=spf1 a:%{h}-no-spf-glued-a.example -all", "x", "evil", "evil-no-spf-glued-a.example"),
    ("glued-redirect", "a redirect to the local part glued to the domain", "v=spf1 redirect=%{l}-no-spf-glued-redirect.example", "evil", "h", "evil-no-spf-glued-redirect.example"),
    ("local-below-suffix", "the local part below a public suffix", "v=spf1 a:%{l}.fr -all", "evil-no-spf-local-below-suffix", "h", "evil-no-spf-local-below-suffix.fr"),
    ("helo-below-suffix", "the HELO name below a public suffix of two labels", "v=spf1 include:%{h}.co.uk -all", "x", "no-spf-helo-below-suffix", "no-spf-helo-below-suffix.co.uk"),
    ("local-in-capitals", "the local part in capitals, quoted for a URL, below a suffix", "v=spf1 redirect=%{L}.fr", "no-spf-local-in-capitals", "h", "no-spf-local-in-capitals.fr"),
    ("sender-reversed", "the sender reversed: the local part comes last", "v=spf1 a:%{sr} -all", "example.sender-reversed.q", "h", "fr.ternum-bfc.q@no-spf-sender-reversed.sender-reversed.example"),
    ("sender-parts", "some parts of the sender, the local part glued to the domain", "v=spf1 include:%{s4} -all", "x", "h", "x@no-spf-sender-parts.ternum-bfc.fr"),
    ("local-delimiter", "a part of the local part", "v=spf1 include:%{l1r-}.example -all", "no_spf_delimiter-x", "h", "no_spf_delimiter.example"),
    ("domain-reversed", "the MAIL FROM domain reversed: the subdomain comes last", "v=spf1 include:%{dr}.example -all", "x", "h", "fr.ternum-bfc.no-spf-domain-reversed.example"),
    ("first-label", "the first label of the MAIL FROM domain, below a suffix", "v=spf1 include:%{o1r}.example -all", "x", "h", "no-spf-first-label.example"),
    ("reverse-zone", "the client's reverse zone, which is the client's own", "v=spf1 include:%{ir}.%{v}.arpa -all", "x", "h", "66.113.0.203.in-addr.arpa"),
    ("others-zone", "the local part below a provider's domain, where others have names, too", "v=spf1 include:%{l}.customers-no-spf.example -all", "evil", "h", "evil.customers-no-spf.example"),
]:  # fmt: skip
    case_name = f"no-spf-{name}"
    spf_case(
        case_name,
        f"a pass by a name that the client chooses: {why}",
        CLIENTS_CHOICE,
        unverified("spf-too-wide", spf={"result": "pass", "counts": False}),
        record=record,
        zone=txt(zone, f"v=spf1 ip4:{STRANGER} -all") + address(zone, STRANGER),
        session=session(f"{mail_from}@{case_name}.ternum-bfc.fr", STRANGER, helo),
        # Where the entry names the MAIL FROM domain, its subdomain is no choice of the client's.
        senders={"ternum-bfc": {"evidence_domains": [f"{case_name}.ternum-bfc.fr"]}}
        if "%{d}" in record or "%{s" in record
        else {},
    )

for name, why, term in [
    ("zero-parts", "zero parts of a macro", "exists:%{d0}.a.example"),
    ("delimiter", "an @ as a delimiter", "include:%{s@}.a.example"),
    ("twice", "redirect twice, once in capitals", "redirect=a.example REDIRECT=a.example"),
    ("modifier-macro", "an unknown modifier that is no macro string", "moo=%a"),
]:
    spf_case(
        f"no-spf-syntax-{name}",
        f"an error in the record: {why}",
        "RFC 7208 §4.6, §6, §7.1",
        unverified(NO_PASS, spf={"result": "permerror"}),
        record=f"v=spf1 ip4:192.0.2.5 {term} -all",
    )

# ---- for somebody else --------------------------------------------------------------------------------------------

PASSES = {"result": "none", "aligned": False, "counts": False, "mechanism": None, "reason": "unaligned"}  # not asked
for name, domain, why, source in [
    ("unaligned", "no-spf-unaligned.example", "SPF passes for somebody else's domain", "design#alignment"),
    ("suffix", "notternum-bfc.fr", "SPF passes for a domain that only ends like the trusted one", "design#alignment, label by label"),
    ("other-entry", "no-spf-other-entry.visma.com", "SPF passes for another trusted sender", "design#alignment"),
]:  # fmt: skip
    spf_case(
        f"no-spf-{name}",
        why,
        source,
        unverified(NO_PASS, spf=PASSES),
        record="",
        session=session(f"x@{domain}", SERVER),
        zone=txt(domain, ALLOWED),
    )
for name, changes, why in [
    ("strict-subdomain", {"alignment": "strict"}, "alignment: strict, MAIL FROM of a sub-domain"),
    (
        "evidence-domain",
        {"evidence_domains": ["ternum-bfc.fr"]},
        "MAIL FROM of a sub-domain that evidence_domains does not name",
    ),
]:
    senders = {"ternum-bfc": changes}
    spf_case(f"no-spf-{name}", why, "design#evidence-spf", unverified(NO_PASS, spf=PASSES), senders=senders)

# ---- HELO ---------------------------------------------------------------------------------------------------------

spf_case(
    "no-spf-helo",
    "with another MAIL FROM a passing HELO never counts",
    "RFC 7208 §2.4; CVE-2019-20790",
    unverified(NO_PASS, spf={"identity": "mailfrom", "aligned": False}),
    record="",
    session=session("x@evil.example", SERVER, "helo.no-spf.ternum-bfc.fr"),
    zone=txt("helo.no-spf.ternum-bfc.fr", "v=spf1 a -all") + address("helo.no-spf.ternum-bfc.fr"),
)
spf_case(
    "no-spf-no-such-subdomain",
    "MAIL FROM of a sub-domain that is not there, and a passing HELO of somebody else",
    "espoofer server_a1; CVE-2019-20790",
    unverified(NO_PASS, spf={"result": "none", "identity": "mailfrom", "aligned": True, "counts": False}),
    record="",
    session=session("<any@gone.no-spf.ternum-bfc.fr>", STRANGER, "helo.no-such-subdomain.example"),
    zone=txt("helo.no-such-subdomain.example", f"v=spf1 ip4:{STRANGER} -all"),
)
for name, helo, why, source, zone, spf in [
    ("null-sender-other-helo", "mail.null-sender.example", "a null reverse-path and a passing HELO of somebody else", "RFC 7208 §2.4; design#alignment", txt("mail.null-sender.example", f"v=spf1 ip4:{STRANGER} -all"), PASSES | {"identity": "helo"}),
    ("null-sender-forged-helo", "helo.null-sender.ternum-bfc.fr", "a null reverse-path and the platform's HELO name, from elsewhere", "RFC 7208 §2.4", txt("helo.null-sender.ternum-bfc.fr", ALLOWED), {"result": "fail", "identity": "helo"}),
    ("null-sender-literal-helo", "[203.0.113.66]", "a null reverse-path and an address for a HELO name", f"{SUITE}, helo-domain-literal", "", {"result": "none", "reason": "helo-malformed"}),
]:  # fmt: skip
    expected = unverified(NO_PASS, spf=spf)
    case(f"no-spf-{name}", why, source, message(), zone, expected, session=session("<>", STRANGER, helo))

# ---- MAIL FROM that has no single reading -------------------------------------------------------------------------

for name, path, why, source in [
    ("quoted-at", '"x@no-spf-quoted-at.ternum-bfc.fr"@evil.example', "a quoted @ in MAIL FROM does not choose the domain that is asked", "library-notes#pyspf"),
    ("nested-bracket", "<any@no-spf-nested-bracket.ternum-bfc.fr(a.evil.example>", "MAIL FROM with a comment that does not end", "espoofer server_a5; CVE-2020-12272"),
    ("open-comment", "<(any@no-spf-open-comment.ternum-bfc.fr>", "MAIL FROM that is nothing but an open comment", "espoofer server_a2"),
    ("two-at", "<any@no-spf-two-at.ternum-bfc.fr'@any.evil.example>", "MAIL FROM with two @ and a quote", "espoofer server_a6"),
    ("route", "<@no-spf-route.ternum-bfc.fr,@any.example:'any@evil.example>", "MAIL FROM with a route", "espoofer server_a7"),
    ("blanks", "< any@no-spf-blanks.ternum-bfc.fr >", "MAIL FROM with blanks within the brackets", "library-notes#postfix"),
    ("final-dot", "<any@no-spf-final-dot.ternum-bfc.fr.>", "MAIL FROM with a final dot", "library-notes#pyspf"),
]:  # fmt: skip
    spf_case(
        f"no-spf-{name}",
        why,
        source,
        unverified(NO_PASS, spf={"result": "none", "domain": None, "reason": "mail-from-malformed"}),
        session=session(path, SERVER),
    )

# ---- what the entry asks for, and relays --------------------------------------------------------------------------

for name, require in [("require-dkim", "dkim"), ("require-all", "all")]:
    spf_case(
        f"no-spf-{name}",
        f"require: {require} is not met by SPF",
        "design#evidence-spf",
        unverified("requirement-not-met"),
        senders={"ternum-bfc": {"require": require}},
    )
spf_case(
    "no-spf-behind-relay",
    "the address of a relay is not judged by SPF",
    "design#relays",
    unverified("behind-relay", spf={"result": "none", "reason": "behind-relay"}),
    config={"relays": ["192.0.2.0/24"]},
)

# ---- made to cost --------------------------------------------------------------------------------------------------

for name, why, record in [
    ("record-too-long", "a record of more than 4096 octets is not evaluated", ALLOWED.replace(" -all", " x=" + "y" * 4_096 + " -all")),
    ("too-many-macros", "more than a hundred macros are not expanded", ALLOWED.replace(" -all", " x=" + "%{l}" * 101 + " -all")),
]:  # fmt: skip
    spf_case(
        f"no-spf-{name}",
        why,
        "RFC 7208 §11.1; found by tests/bench/hostile.py",
        unverified(NO_PASS, spf={"result": "permerror", "counts": False}),
        record=record,
    )

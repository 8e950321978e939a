"""Must be verified: SPF in every legal form (RFC 7208), for the MAIL FROM domain, or HELO of a null reverse-path."""

from __future__ import annotations

from recipes import ALLOWED, OPIC, SERVER, TERNUM, address, case, message, session, spf_case, strings, txt, verified

SUITE = "RFC 7208 test suite (openspf 2014.04)"
SECOND_SERVER = "192.0.2.77"  # a second host, with a name of its own in the reverse tree

# ---- mechanisms ---------------------------------------------------------------------------------------------------

spf_case(
    "spf-ip4",
    "SPF by ip4 verifies a notice that is not signed",
    "RFC 7208",
    verified("spf", spf={"result": "pass", "identity": "mailfrom", "aligned": True, "mechanism": "ip4:192.0.2.0/28"}),
)
for name, zone in [
    ("reverse-zone-fails", ";servfail 79.2.0.192.in-addr.arpa.\n"),
    (
        "reverse-name-fails",
        "80.2.0.192.in-addr.arpa. 300 IN PTR bad.reverse-name-fails.example.\n;timeout bad.reverse-name-fails.example.\n",
    ),
]:
    client = "192.0.2.79" if "zone" in name else "192.0.2.80"
    spf_case(
        f"spf-ptr-{name}",
        "what DNS does not say of the client's names is passed over: the next mechanism decides",
        "RFC 7208 §5.5; RFC 7208 test suite, ptr-cname-loop",
        verified("spf", spf={"mechanism": f"ip4:{client}"}),
        record=f"v=spf1 ptr ip4:{client} -all",
        zone=zone,
        client=client,
        config={"dns": {"timeout": "3s"}},
    )
spf_case(
    "spf-visma",
    "the Visma Opic notice that only SPF proves",
    "issue 2",
    verified("spf", "visma-opic"),
    author=f"Visma Opic <{OPIC}>",
)
spf_case(
    "spf-include",
    "the innermost mechanism that matched is told",
    "design#explain",
    verified("spf", spf={"mechanism": "ip4:192.0.2.0/28"}),
    record="v=spf1 include:a.spf-include.example ?all",
    zone=txt("a.spf-include.example", "v=spf1 include:b.spf-include.example -all")
    + txt("b.spf-include.example", ALLOWED),
)
spf_case(
    "spf-redirect",
    "SPF through redirect",
    "RFC 7208 §6.1",
    verified("spf", spf={"mechanism": "a"}),
    record="v=spf1 redirect=a.spf-redirect.example",
    zone=txt("a.spf-redirect.example", "v=spf1 a -all") + address("a.spf-redirect.example"),
)
spf_case(
    "spf-mx",
    "SPF by mx",
    "RFC 7208 §5.4",
    verified("spf"),
    record="v=spf1 mx:spf-mx.example -all",
    zone="spf-mx.example. 300 IN MX 10 m.spf-mx.example.\n" + address("m.spf-mx.example"),
)
spf_case(
    "spf-exists",
    "SPF by exists with the client's address in it",
    "RFC 7208 §5.7",
    verified("spf"),
    record="v=spf1 exists:%{i}.spf-exists.example -all",
    zone=address(f"{SERVER}.spf-exists.example", "127.0.0.2"),
)
spf_case(
    "spf-ipv6",
    "SPF of an IPv6 client",
    "RFC 7208 §5.6",
    verified("spf"),
    client="2001:db8::5",
    record="v=spf1 ip6:2001:db8::/64 -all",
)
for name, why, source, client, record, zone in [
    ("a-dual-cidr", "a with a length for each family, an IPv6 client", f"{SUITE}, a-dual-cidr-ip6-match", "2001:db8::77", "v=spf1 a:host.spf-a.example/24//64 -all", address("host.spf-a.example", "203.0.113.9") + address("host.spf-a.example", "2001:db8::9")),
    ("mx-many", "the last of several mail servers", "RFC 7208 §5.4", SERVER, "v=spf1 mx:spf-mx-many.example -all", "".join(f"spf-mx-many.example. 300 IN MX {i} m{i}.spf-mx-many.example.\n" + address(f"m{i}.spf-mx-many.example", f"192.0.2.{i}") for i in range(1, 6))),
    ("exists-reversed", "exists with the reversed address and its family", "RFC 7208 §7.4", SERVER, "v=spf1 exists:%{ir}.%{v}._spf.exists-reversed.example -all", address("5.2.0.192.in-addr._spf.exists-reversed.example", "127.0.0.2")),
    ("vendor-macros", "a vendor's include with client, HELO and domain in its name", "OpenDMARC issue 262", SERVER, "v=spf1 include:%{i}._ip.%{h}._ehlo.%{d}._spf.vendor-macros.example ~all", txt("192.0.2.5._ip.out.spf-vendor-macros.ternum-bfc.fr._ehlo.spf-vendor-macros.ternum-bfc.fr._spf.vendor-macros.example", ALLOWED)),
    ("ptr", "ptr, where the host's name leads back to it", "RFC 7208 §5.5", SECOND_SERVER, "v=spf1 ptr:spf-ptr.example -all", "77.2.0.192.in-addr.arpa. 300 IN PTR out.spf-ptr.example.\n" + address("out.spf-ptr.example", SECOND_SERVER)),
    ("ip4-mapped", "an IPv4 client that comes as an IPv4-mapped IPv6 address", "RFC 7208 §5", f"::ffff:{SERVER}", ALLOWED, ""),
    ("slash-8", "a range of /8 is not yet too wide", "design#evidence-spf: wider than /8", SERVER, "v=spf1 ip4:192.0.0.0/8 -all", ""),
    ("ip6-slash-32", "an IPv6 range of /32 is not yet too wide", "design#evidence-spf: wider than /32", "2001:db8:7::1", "v=spf1 ip6:2001:db8::/32 -all", ""),
    ("include-others-first", "includes that do not match, whatever they say, and then one that does", f"{SUITE}, include-fail, include-softfail, include-neutral", SERVER, "v=spf1 include:f.include-others.example include:s.include-others.example include:n.include-others.example ip4:192.0.2.5 -all", txt("f.include-others.example", "v=spf1 -all") + txt("s.include-others.example", "v=spf1 ~all") + txt("n.include-others.example", "v=spf1 ?all")),
    ("ten-lookups", "just as many look-ups as are allowed", f"{SUITE}, mech-at-limit", SERVER, "v=spf1 " + "a:no.spf-ten-lookups.example " * 10 + "ip4:192.0.2.5 -all", address("no.spf-ten-lookups.example", "203.0.113.9")),
    ("two-void-lookups", "just as many look-ups without answer as are allowed", f"{SUITE}, void-at-limit", SERVER, "v=spf1 a:x.void.example a:y.void.example ip4:192.0.2.5 -all", ""),
]:  # fmt: skip
    spf_case(f"spf-{name}", why, source, verified("spf"), client=client, record=record, zone=zone)

for name, why, record, zone in [
    ("below", "the local part below the platform's domain", "v=spf1 exists:%{i}.%{l}.allowed.%{d} -all", "192.0.2.5.bounce.allowed.spf-macro-below.ternum-bfc.fr"),
    ("glued-below", "the HELO name glued to a subdomain of the platform", "v=spf1 include:%{h}-%{d} -all", "out.spf-macro-glued-below.ternum-bfc.fr-spf-macro-glued-below.ternum-bfc.fr"),
    ("helo-below", "the HELO name below the platform's domain", "v=spf1 include:%{h}._spf.ternum-bfc.fr -all", "out.spf-macro-helo-below.ternum-bfc.fr._spf.ternum-bfc.fr"),
    ("vendor-domain", "a vendor's zone, by the MAIL FROM domain", "v=spf1 include:%{ir}.%{v}.%{d}.spf.vendor-spf.example -all", "5.2.0.192.in-addr.spf-macro-vendor-domain.ternum-bfc.fr.spf.vendor-spf.example"),
    ("two-labels", "the last two labels of the MAIL FROM domain", "v=spf1 include:_spf-two-labels.%{d2} -all", "_spf-two-labels.ternum-bfc.fr"),
    ("percent", "percent signs that are no macros", "v=spf1 exists:%{i}.a%%%-.spf-macro-percent.example -all", "192.0.2.5.a%%20.spf-macro-percent.example"),
]:  # fmt: skip
    spf_case(
        f"spf-macro-{name}",
        f"a macro by which the client cannot leave the platform's domain: {why}",
        "RFC 7208 §7.3, §7.4; review of the trust decision, finding 4",
        verified("spf"),
        record=record,
        zone=txt(zone, ALLOWED) + address(zone, "127.0.0.2"),
    )
case(
    "spf-macro-registered",
    "the local part below the registered domain, of which the entry's domain is a subdomain",
    "RFC 7208 test suite (openspf 2014.04), macro-reverse-split-on-dash",
    message("avis@below.registered-spf.example"),
    txt("below.registered-spf.example", "v=spf1 include:%{l}.users.registered-spf.example -all")
    + txt("bounce.users.registered-spf.example", ALLOWED),
    verified("spf", "registered"),
    session=session("bounce@below.registered-spf.example", SERVER),
    senders={
        "registered": {
            "name": "Registered",
            "domain": "below.registered-spf.example",
            "addresses": ["avis@below.registered-spf.example"],
        }
    },
)
for name, why, source, records in [
    ("redirect-capitals", "a redirect in capitals", "RFC 7208 §4.6.1", ["v=spf1 Redirect=_a.spf-redirect-capitals.example"]),
    ("exp-capitals", "an explanation in capitals", "RFC 7208 §4.6.1", ["v=spf1 EXP=x.spf-redirect-capitals.example ip4:192.0.2.5 -all"]),
    ("modifier-twice", "an unknown modifier twice", "RFC 7208 §6", ["v=spf1 foo=1 ip4:192.0.2.5 foo=2 -all"]),
    ("obsolete-modifiers", "modifiers of old drafts, each twice, and one with macros for explanations", "RFC 7208 §6, §7.1", ["v=spf1 default=pass op=a default=%{d} op=b moo=%{c}%{r} ip4:192.0.2.5 -all"]),
    ("redirect-not-followed", "a redirect that is not followed costs no lookup", "RFC 7208 §4.6.4, §6.1", ["v=spf1 " + "a:no.spf-redirect-not.example " * 10 + "ip4:192.0.2.5 redirect=_a.spf-redirect-capitals.example"]),
    ("redirect-beside-all", "a redirect beside all is ignored", "RFC 7208 §6.1", ["v=spf1 redirect=_a.spf-redirect-gone.example ip4:192.0.2.5 -all"]),
]:  # fmt: skip
    spf_case(
        f"spf-{name}",
        why,
        f"{source}; review of the trust decision, findings 10 and 14",
        verified("spf"),
        record=records,
        zone={
            "redirect-capitals": txt("_a.spf-redirect-capitals.example", ALLOWED),
            "redirect-not-followed": address("no.spf-redirect-not.example", "203.0.113.9"),
        }.get(name, ""),
    )
SIX = "2001:db8::5"
for name, why, record, zone in [
    ("mx-ipv4-only", "an IPv6 client, and a and mx of hosts that have IPv4 addresses alone", "v=spf1 a mx ip6:2001:db8::/48 -all", address("spf-void-mx-ipv4-only.ternum-bfc.fr") + "".join(f"spf-void-mx-ipv4-only.ternum-bfc.fr. 300 IN MX {n} m{n}.spf-void.example.\n" + address(f"m{n}.spf-void.example") for n in (1, 2))),
    ("mx-dangling", "three mail servers that are gone are one void term", "v=spf1 mx:spf-void-mx-dangling.example a:x.void.example ip6:2001:db8::/48 -all", "".join(f"spf-void-mx-dangling.example. 300 IN MX {n} gone{n}.spf-void.example.\n" for n in (1, 2, 3))),
]:  # fmt: skip
    spf_case(
        f"spf-void-{name}",
        why,
        "RFC 7208 §4.6.4, §11.1; review of the trust decision, finding 14",
        verified("spf"),
        client=SIX,
        record=record,
        zone=zone,
    )

# ---- records ------------------------------------------------------------------------------------------------------

spf_case(
    "spf-record-in-strings",
    "a record in strings that are joined without a blank",
    "RFC 7208 §3.3",
    verified("spf"),
    record="",
    zone=strings("spf-record-in-strings.ternum-bfc.fr", "v=spf1 ip4:192.", "0.2.0/28", " -all"),
)
for name, why, source, records in [
    ("capitals", "a record in capitals, with blanks between and behind", f"{SUITE}, case-insensitive, two-spaces", ["V=sPf1  IP4:192.0.2.0/28   -ALL "]),
    ("modifiers", "modifiers that nobody knows, and an exp= that leads nowhere", f"{SUITE}, modifier-charset-good, exp-void", ["v=spf1 moo.cow-far_out=man:dog/cat ip4:192.0.2.5 exp=gone.spf-modifiers.example -all"]),
    ("other-texts", "texts beside the record that only look like one", f"{SUITE}, nospace2", ["v=spf10 -all", "spf2.0/pra -all", ALLOWED, "verification=1"]),
]:  # fmt: skip
    spf_case(f"spf-{name}", why, source, verified("spf"), record=records)
spf_case(
    "spf-cname",
    "a MAIL FROM domain that is a CNAME",
    "RFC 1034 §3.6.2",
    verified("spf"),
    record="",
    zone="spf-cname.ternum-bfc.fr. 300 IN CNAME bounces.spf-cname.example.\n"
    + txt("bounces.spf-cname.example", ALLOWED),
)

# ---- identities ---------------------------------------------------------------------------------------------------

for name, why, source, mail_from in [
    ("verp", "a bounce address with the recipient in it, and a tag of BATV", "draft-levine-smtp-batv", "<prvs=1234ab=bounce+marches=commune.example@spf-verp.ternum-bfc.fr>"),
    ("quoted-mail-from", "a quoted local part with a blank", "RFC 5321 §4.1.2", '<"bounce avis"@spf-quoted-mail-from.ternum-bfc.fr>'),
]:  # fmt: skip
    spf_case(f"spf-{name}", why, source, verified("spf"), session=session(mail_from, SERVER))
spf_case(
    "spf-null-sender-helo",
    "with a null reverse-path the HELO name counts",
    "RFC 7208 §2.4",
    verified("spf", spf={"identity": "helo"}),
    record="",
    session=session("", SERVER, "helo.spf-null.ternum-bfc.fr"),
    zone=txt("helo.spf-null.ternum-bfc.fr", "v=spf1 a -all") + address("helo.spf-null.ternum-bfc.fr"),
)
case(
    "spf-null-brackets",
    "a null reverse-path with its brackets, the HELO name in capitals",
    "RFC 5321 §4.1.1.2",
    message(),
    txt("helo.spf-brackets.ternum-bfc.fr", ALLOWED),
    verified("spf", spf={"identity": "helo", "domain": "helo.spf-brackets.ternum-bfc.fr"}),
    session=session("<>", SERVER, "HELO.spf-brackets.Ternum-BFC.fr"),
)

# ---- what the entry asks for --------------------------------------------------------------------------------------

spf_case(
    "spf-require-spf",
    "require: spf is met by SPF",
    "design#evidence-spf",
    verified("spf"),
    senders={"ternum-bfc": {"require": "spf"}},
)
spf_case(
    "spf-evidence-domain",
    "MAIL FROM of the one domain that evidence_domains names",
    "design#evidence-spf",
    verified("spf"),
    senders={"ternum-bfc": {"evidence_domains": ["spf-evidence-domain.ternum-bfc.fr"]}},
)
spf_case(
    "spf-strict",
    "alignment: strict, MAIL FROM of the very domain of the address",
    "design#alignment",
    verified("spf", spf={"domain": "spf-strict.ternum-bfc.fr"}),
    author="avis@spf-strict.ternum-bfc.fr",
    senders={"ternum-bfc": {"alignment": "strict", "addresses": ["avis@spf-strict.ternum-bfc.fr", TERNUM]}},
)

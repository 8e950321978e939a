"""What follows from claim and evidence: networks, requirements, overlap, DNS that fails, actions, modes."""

from __future__ import annotations

from datetime import date
from typing import Any

from recipes import (
    ALLOWED,
    SERVER,
    STRANGER,
    Rows,
    case,
    key,
    message,
    on_top,
    session,
    signed_case,
    spf_case,
    txt,
    unlisted,
    unverified,
    verified,
)

from harness.corpus import NOW
from harness.signing import Sign, sign

# ---- the network, and all together --------------------------------------------------------------------------------

NETWORK = {"ternum-bfc": {"networks": ["192.0.2.0/28"]}}
for name, why, client in [
    ("network", "a client in the entry's networks", SERVER),
    ("network-mapped", "an IPv4 client that comes as an IPv4-mapped IPv6 address", f"::ffff:{SERVER}"),
]:
    expected = verified("network", network=True)
    case(name, why, "design#decision", message(), "", expected, session=session(client=client), senders=NETWORK)
case(
    "no-network",
    "a client outside the entry's networks",
    "design#decision",
    message(),
    "",
    unverified("no-aligned-pass", network=False),
    session=session(client=STRANGER),
    senders=NETWORK,
)
case(
    "no-network-behind-relay",
    "the address of a relay is not the sender's",
    "design#configuration",
    message(),
    "",
    unverified("behind-relay", network=False),
    session=session(client=SERVER),
    senders=NETWORK,
    config={"relays": [SERVER]},
)
case(
    "network-require",
    "require: network is met by the network",
    "design#decision",
    message(),
    "",
    verified("network", network=True),
    session=session(client=SERVER),
    senders={"ternum-bfc": {"require": "network", "networks": ["192.0.2.0/28"]}},
)
signed_case(
    "no-network-require",
    "require: network is not met by DKIM",
    "design#decision",
    unverified("requirement-not-met", network=False),
    senders={"ternum-bfc": {"require": "network", "networks": ["192.0.2.0/28"]}},
)
for name, host, expected in [
    ("all-network", SERVER, verified("dkim+spf+network")),
    ("no-all-network", STRANGER, unverified("requirement-not-met")),
]:
    case(
        name,
        f"require: all with networks, {'from' if host == SERVER else 'not from'} one of them",
        "design#decision",
        sign(message(), Sign(selector=name)),
        key(name) + txt(f"{name}.ternum-bfc.fr", f"v=spf1 ip4:{host} -all"),
        expected,
        session=session(f"b@{name}.ternum-bfc.fr", host),
        senders={"ternum-bfc": {"require": "all", "networks": ["192.0.2.0/28"]}},
    )
case(
    "all",
    "require: all, with DKIM and SPF",
    "design#decision",
    sign(message(), Sign(selector="all")),
    key("all") + txt("all.ternum-bfc.fr", "v=spf1 ip4:192.0.2.5 -all"),
    verified("dkim+spf"),
    session=session("b@all.ternum-bfc.fr", SERVER),
    senders={"ternum-bfc": {"require": "all"}},
)
case(
    "any-both",
    "where both hold, both are told",
    "design#fields, by=",
    sign(message(), Sign(selector="any-both")),
    key("any-both") + txt("any-both.ternum-bfc.fr", ALLOWED),
    verified("dkim+spf"),
    session=session("b@any-both.ternum-bfc.fr", SERVER),
)

# ---- entries ------------------------------------------------------------------------------------------------------

signed_case(
    "entry-expires-later",
    "an entry that expires one day, but not today",
    "design#configuration, expires",
    verified("dkim"),
    senders={"ternum-bfc": {"expires": date(2099, 12, 31)}},
)
BELOW = {"marches": {"name": "Marches", "domain": "marches.ternum-bfc.fr", "addresses": ["avis@marches.ternum-bfc.fr"]}}
signed_case(
    "overlap-exact",
    "an exact address wins, though another entry has the longer domain",
    "design#overlap",
    verified("dkim"),
    data=message("nepasrepondre@marches.ternum-bfc.fr"),
    senders=BELOW,
)
signed_case(
    "overlap-longest",
    "of two domains the longer one owns an address that neither lists",
    "design#overlap",
    unlisted(sender="marches"),
    data=message("x@marches.ternum-bfc.fr"),
    how={"domain": "marches.ternum-bfc.fr"},
    senders=BELOW,
)
signed_case(
    "no-overlap-parent",
    "the entry of the sub-domain is not proven by the domain above it",
    "design#alignment, design#overlap",
    unverified("no-aligned-pass", "marches", dkim=[{"aligned": False}]),
    data=message("avis@marches.ternum-bfc.fr"),
    senders=BELOW,
)

# ---- DNS that fails -----------------------------------------------------------------------------------------------

UNDETERMINED = {
    "verdict": "undetermined",
    "sender": "ternum-bfc",
    "by": None,
    "reason": "dns-temperror",
    "dns": "temperror",
}
QUICK = {"dns": {"timeout": "1s"}}
YOUNG = message(Date=NOW.decode())


def failing(
    name: str, proves: str, source: str, expected: dict[str, Any], *, data: bytes = YOUNG, fails: str = "",
    zone: str = "", mail_from: str = "", helo: str = "mail.mailer.example", named: bool = True,
    senders: dict[str, Any] | None = None, **more: Any,
) -> None:  # fmt: skip
    """A case where a lookup fails: that for the MAIL FROM domain, if not said otherwise. `named`: the entry names this
    domain, so that it is not one that a forger picked."""
    domain = f"{name}.ternum-bfc.fr"
    zone += fails or f";servfail {domain}.\n"
    facts = session(mail_from or f"b@{domain}", SERVER, helo)
    entry = {"evidence_domains": ["ternum-bfc.fr", domain]} if named else {}
    more |= {"senders": (senders or {}) | {"ternum-bfc": entry | (senders or {}).get("ternum-bfc", {})}}
    case(name, proves, source, data, zone, expected, **({"session": facts, "config": QUICK} | more))


ROW_4 = "design#decision, row 4"
DEFERRED = UNDETERMINED | {"action": "defer"}
failing(
    "undetermined-spf-servfail", "a server failure to the SPF question: a young message is deferred", ROW_4, DEFERRED
)
failing(
    "undetermined-spf-timeout",
    "no answer to the SPF question: a young message is deferred",
    ROW_4,
    DEFERRED,
    fails=";timeout undetermined-spf-timeout.ternum-bfc.fr.\n",
)
failing(
    "undetermined-include",
    "a record that includes one of which DNS gives no answer",
    "RFC 7208 test suite (openspf 2014.04), include-temperror",
    DEFERRED,
    zone=txt("undetermined-include.ternum-bfc.fr", "v=spf1 include:undetermined-include.example -all"),
    fails=";servfail undetermined-include.example.\n",
)
failing(
    "undetermined-helo",
    "a null reverse-path, and no answer for the HELO name",
    "RFC 7208 §2.4; design#decision, row 4",
    DEFERRED,
    mail_from="<>",
    helo="undetermined-helo.ternum-bfc.fr",
)
for name, why, data in [
    ("old", "an old message is delivered, tagged, and not deferred for ever", message(Date="Sun, 22 Nov 2020 08:00:00 +0100")),
    ("no-date", "a message without a readable Date is not young", message(Date="hier")),
    ("future", "a message of the future is not young", message(Date="Sun, 22 Nov 2099 08:00:00 +0100")),
    ("two-dates", "a message of two dates is not young", on_top("Date: Sun, 22 Nov 2020 08:00:00 +0100", YOUNG)),
]:  # fmt: skip
    failing(f"undetermined-{name}", why, "design#young", UNDETERMINED | {"action": "tag"}, data=data)
failing(
    "undetermined-quarantined",
    "a site that quarantines what could not be judged does not defer it",
    "design#decision, actions",
    UNDETERMINED | {"action": "quarantine"},
    config=QUICK | {"actions": {"undetermined": "quarantine"}},
)
failing(
    "undetermined-observed",
    "in observe mode nothing is deferred",
    "design#observe",
    UNDETERMINED | {"action": "tag"},
    config=QUICK | {"mode": "observe"},
)
THREE = "design#three-values"
failing(
    "undetermined-all",
    "require: all: DKIM holds, and of SPF nothing is known",
    THREE,
    DEFERRED,
    data=sign(YOUNG, Sign(selector="undetermined-all", signed=("From", "Subject"))),
    zone=key("undetermined-all"),
    senders={"ternum-bfc": {"require": "all"}},
)
failing(
    "no-undetermined-all",
    "require: all: without DKIM it does not matter what SPF would have said",
    THREE,
    unverified("no-aligned-pass", dns="temperror"),
    senders={"ternum-bfc": {"require": "all"}},
)
failing(
    "no-undetermined-unaligned",
    "a failing look-up for somebody else's domain changes nothing",
    THREE,
    unverified("no-aligned-pass", dns="ok", spf={"result": "none", "reason": "unaligned"}),
    mail_from="b@no-undetermined-unaligned.example",
    fails=";servfail no-undetermined-unaligned.example.\n",
)
failing(
    "no-undetermined-require-dkim",
    "under require: dkim an SPF time-out changes nothing",
    THREE,
    unverified("no-aligned-pass", dns="temperror"),
    senders={"ternum-bfc": {"require": "dkim"}},
)
failing(
    "no-undetermined-expired",
    "an expired entry is unverified, whatever DNS would have said",
    "design#decision, row 5",
    unverified("entry-expired"),
    senders={"ternum-bfc": {"expires": date(2020, 1, 1)}},
)
signed_case(
    "undetermined-key",
    "the key cannot be looked up",
    ROW_4,
    UNDETERMINED | {"dkim": [{"result": "temperror", "reason": "dns-temperror", "aligned": True, "counts": False}]},
    zone=";servfail undetermined-key._domainkey.ternum-bfc.fr.\n",
    config=QUICK,
)
signed_case(
    "no-undetermined-body",
    "a body that was changed is no matter of DNS",
    THREE,
    unverified("body-hash-mismatch"),
    how={"tags": {"bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}},
    zone=";servfail no-undetermined-body._domainkey.ternum-bfc.fr.\n",
    config=QUICK,
)
failing(
    "verified-spite-of-dns",
    "DKIM proves it, though SPF's DNS fails",
    THREE,
    verified("dkim", dns="temperror"),
    data=sign(message(), Sign(selector="spite")),
    zone=key("spite"),
)
case(
    "verified-by-second-key",
    "the key of one signature cannot be looked up, that of another can",
    THREE,
    sign(sign(message(), Sign(selector="second-key-good")), Sign(selector="second-key-fails")),
    key("second-key-good") + ";servfail second-key-fails._domainkey.ternum-bfc.fr.\n",
    verified("dkim", dns="temperror", dkim=[{"result": "temperror"}, {"counts": True}]),
    config=QUICK,
)
failing(
    "no-unlisted-dns",
    "another address of the domain, and DNS fails: row 7",
    "design#decision, row 7",
    unverified("dns-temperror", "visma-opic", dns="temperror"),
    data=message("anna@visma.com"),
    mail_from="b@no-unlisted-dns.visma.com",
    fails=";servfail no-unlisted-dns.visma.com.\n",
)

# ---- DNS that fails where a forger wants it to ------------------------------------------------------------------------

PICKED = "README, row 5; review of the trust decision, finding 6"
WAITS = unverified("dns-temperror", action="defer", dns="temperror")
LATER = unverified("dns-temperror", dns="temperror")
YOUNG_OR_OLD: Rows = [
    ("", "a young message is deferred", NOW.decode(), WAITS),
    ("-old", "an old one is unverified", "Sun, 22 Nov 2020 08:00:00 +0100", LATER),
]
for suffix, told, date_field, expected in YOUNG_OR_OLD:
    data = message(Date=date_field)
    failing(
        f"no-picked-mail-from{suffix}",
        f"MAIL FROM of a subdomain whose DNS fails: {told}",
        PICKED,
        expected,
        data=data,
        named=False,
    )
    failing(
        f"no-picked-helo{suffix}",
        f"a null reverse-path and a HELO name of a subdomain whose DNS fails: {told}",
        PICKED,
        expected,
        data=data,
        named=False,
        mail_from="<>",
        helo=f"no-picked-helo{suffix}.ternum-bfc.fr",
    )
    failing(
        f"no-picked-timeout{suffix}",
        f"MAIL FROM of a subdomain whose DNS is silent: {told}",
        PICKED,
        expected,
        data=data,
        named=False,
        fails=f";timeout no-picked-timeout{suffix}.ternum-bfc.fr.\n",
    )
    failing(
        f"no-picked-all{suffix}",
        f"require: all: DKIM holds, and MAIL FROM is of a subdomain whose DNS fails: {told}",
        PICKED,
        expected,
        data=sign(data, Sign(selector=f"no-picked-all{suffix}", signed=("From", "Subject"))),
        zone=key(f"no-picked-all{suffix}"),
        named=False,
        senders={"ternum-bfc": {"require": "all"}},
    )
    name = f"no-picked-key{suffix}"
    case(
        name,
        f"a signature by a subdomain whose DNS fails: {told}",
        PICKED,
        sign(data, Sign(f"{name}.ternum-bfc.fr", "s1", signed=("From", "Subject"))),
        f";servfail {name}.ternum-bfc.fr.\n",
        expected | {"dkim": [{"result": "temperror", "reason": "dns-temperror", "aligned": True, "counts": False}]},
        session=session(),
        config=QUICK,
    )
for action in ("quarantine", "reject"):
    failing(
        f"no-picked-{action}",
        f"unverified: {action} holds for an old message whose MAIL FROM domain DNS does not know",
        PICKED,
        LATER | {"action": action},
        data=message(Date="Sun, 22 Nov 2020 08:00:00 +0100"),
        named=False,
        config=QUICK | {"actions": {"unverified": action}},
    )
    failing(
        f"no-picked-{action}-young",
        f"unverified: {action} does not hold for a young message that DNS could still prove",
        PICKED,
        WAITS,
        named=False,
        config=QUICK | {"actions": {"unverified": action}},
    )
failing(
    "no-picked-not-deferred",
    "a site that tags what it cannot judge does not defer it",
    PICKED,
    LATER,
    named=False,
    config=QUICK | {"actions": {"undetermined": "tag"}},
)
failing(
    "no-picked-observed",
    "in observe mode nothing is deferred",
    "design#observe",
    LATER,
    named=False,
    config=QUICK | {"mode": "observe"},
)
failing(
    "undetermined-from-domain",
    "the From domain is no choice of a forger, since the reader sees it",
    PICKED,
    DEFERRED,
    data=message("avis@undetermined-from-domain.ternum-bfc.fr", Date=NOW.decode()),
    named=False,
    senders={"ternum-bfc": {"addresses": ["avis@undetermined-from-domain.ternum-bfc.fr"]}},
)
case(
    "undetermined-entry-domain",
    "the entry's own domain",
    PICKED,
    message("avis@undetermined-entry.example", Date=NOW.decode()),
    ";servfail undetermined-entry.example.\n",
    DEFERRED | {"sender": "entry"},
    session=session("b@undetermined-entry.example", SERVER),
    config=QUICK,
    senders={
        "entry": {
            "name": "Entry",
            "domain": "undetermined-entry.example",
            "addresses": ["avis@undetermined-entry.example"],
        }
    },
)
case(
    "no-unlisted-dns-young",
    "another address of the domain, and DNS fails: a young message is deferred",
    "README, row 7",
    message("anna@visma.com", Date=NOW.decode()),
    ";servfail no-unlisted-dns-young.visma.com.\n",
    unverified("dns-temperror", "visma-opic", dns="temperror", action="defer"),
    session=session("b@no-unlisted-dns-young.visma.com", SERVER),
    config=QUICK,
)
failing(
    "no-picked-by-macro",
    "a record of the entry's own domain that asks for a name of the client's choice, for which DNS fails",
    PICKED,
    WAITS,
    zone=txt("no-picked-by-macro.ternum-bfc.fr", "v=spf1 exists:%{l}.allowed.ternum-bfc.fr -all"),
    fails=";servfail no-picked-by-macro.allowed.ternum-bfc.fr\n",
    mail_from="no-picked-by-macro@no-picked-by-macro.ternum-bfc.fr",
)

# ---- actions and modes --------------------------------------------------------------------------------------------

WOULD = "observed; would=unverified; sender=ternum-bfc; reason=no-aligned-pass; host=mx1.example.org"
case(
    "observe",
    "in observe mode the field says what would be",
    "design#forged-fields",
    message(),
    "",
    unverified("no-aligned-pass", action="tag", edits=[{"op": "insert", "name": "X-Trusted-Sender", "value": WOULD}]),
    config={"mode": "observe", "actions": {"unverified": "reject"}},
)
for action in ("quarantine", "reject"):
    case(
        f"action-{action}",
        f"unverified: {action}",
        "design#decision, actions",
        message(),
        "",
        unverified("no-aligned-pass", action=action),
        config={"actions": {"unverified": action}},
    )
case(
    "action-of-entry",
    "an entry's own action goes before the site's",
    "design#configuration",
    message(),
    "",
    unverified(
        "no-aligned-pass",
        action="quarantine",
        edits=[
            {"op": "insert"},
            {
                "op": "insert",
                "value": "unverified; sender=ternum-bfc; reason=no-aligned-pass; action=quarantine; host=mx1.example.org",
            },
        ],
    ),
    config={"actions": {"unverified": "reject"}},
    senders={"ternum-bfc": {"actions": {"unverified": "quarantine"}}},
)
case(
    "subject-tag",
    "a subject tag on what is not verified",
    "design#forged-fields",
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
spf_case(
    "subject-tag-verified",
    "no subject tag on what is verified",
    "design#forged-fields",
    verified("spf", edits=[{"op": "insert"}, {"op": "insert"}]),
    config={"subject_tag": "[?]"},
)

"""What From says: one listed address in every legal dress; no single reading, whatever proves it; insiders."""

from __future__ import annotations

from recipes import (
    ALLOWED,
    EVIL,
    OPIC,
    SERVER,
    TERNUM,
    Rows,
    ambiguous,
    case,
    key,
    message,
    on_top,
    session,
    signed_case,
    spf_case,
    swap,
    txt,
    unclaimed,
    unlisted,
    unverified,
    verified,
)

from harness.signing import Sign, sign

SYNTAX = "RFC 5322 §3.4, §4.4"

# ---- one listed address -------------------------------------------------------------------------------------

for name, author, why, source in [
    ("bare", TERNUM, "a bare address", SYNTAX),
    ("angle-only", f"<{TERNUM}>", "an address in angle brackets, and no name", SYNTAX),
    ("upper-case", "NePasRepondre@TERNUM-BFC.FR", "A-Z is folded in local part and domain", SYNTAX),
    ("encoded-name", f"=?utf-8?q?Territoires_Num=C3=A9riques?= <{TERNUM}>", "an encoded display name", SYNTAX),
    ("encoded-name-folded", f"=?utf-8?B?VGVycml0b2lyZXMg?=\r\n\t=?UTF-8*fr?Q?Num=C3=A9riques?=\r\n <{TERNUM}>", "a display name of several encoded words, one with its language", "RFC 2047 §6.2; RFC 2231 §5"),
    ("encoded-own-address", f"=?iso-8859-1?q?nepasrepondre=40ternum-bfc=2Efr?= <{TERNUM}>", "its own address as an encoded display name", "RFC 2047 §5 (3)"),
    ("folded", f'"Territoires\r\n Numeriques"\r\n\t<{TERNUM}>', "a folded field", SYNTAX),
    ("folded-first", f"\r\n  Ternum\r\n\t<{TERNUM}>", "a field that begins with a fold", "dkim_verifier, msgParserSpec: strange but valid whitespace"),
    ("comment", f"(avis) Ternum (bfc (fr)) <{TERNUM}> (fin)", "nested comments", SYNTAX),
    ("comments-everywhere", "Ternum(A nice \\) chap) <nepasrepondre(boite)@(hote)ternum-bfc.fr(fin)>", "comments round every part of the address", "RFC 5322 A.5"),
    ("obsolete", "Ternum J. <nepasrepondre (x) @ ternum-bfc . fr>", "obsolete syntax: dots in the name, blanks round dots", SYNTAX),
    ("quoted-local-part", '"nepasrepondre"@ternum-bfc.fr', "a quoted local part that needs no quotes is the same address", SYNTAX),
    ("quoted-specials", f"\"'Marches, avis' <x>; via: \\\\ \\\"Ternum\\\"\" <{TERNUM}>", "commas, brackets, colons, quotes and backslashes within quotes", "OpenDMARC issue 104"),
    ("quoted-colon", f'Ternum ":" avis <{TERNUM}>', "a colon of its own within quotes makes no group", SYNTAX),
    ("quoted-dot", f'"." <{TERNUM}>', "a name that is a dot within quotes", SYNTAX),
    ("own-address-as-name", f'"{TERNUM}" <{TERNUM}>', "its own address as display name", SYNTAX),
    ("own-address-unquoted", f"{TERNUM} <{TERNUM}>", "its own address as unquoted display name: every reading is the same", SYNTAX),
    ("own-platform-name", f"Territoires Numériques Bourgogne-Franche-Comté <{TERNUM}>", "its own platform's name, in UTF-8", "RFC 6532 §3.2"),
    ("no-break-space", f"Territoires\u00a0Numériques <{TERNUM}>", "a no-break space in an unquoted display name", "RFC 6532 §3.2: UTF8-non-ascii is atext"),
    ("narrow-no-break-space", f"Avis\u202f: <{TERNUM}>".replace(":", "!"), "a narrow no-break space, as French has it before signs", "RFC 6532 §3.2"),
    ("ideographic-space", f"Ternum\u3000Dijon <{TERNUM}>", "an ideographic space", "RFC 6532 §3.2"),
    ("quoted-no-break-space", f'"Territoires\u00a0Numériques" <{TERNUM}>', "a no-break space within quotes", "RFC 6532 §3.2"),
    ("subdomain", "nepasrepondre@marches.ternum-bfc.fr", "the listed address of a sub-domain", SYNTAX),
]:  # fmt: skip
    spf_case(f"from-{name}", why, source, verified("spf", claim={"kind": "listed"}), author=author)
for name, start, why, source in [
    ("no-blank", "From:", "no blank after the colon", "rspamd issue 6194"),
    ("blank-before-colon", "From \t: ", "blanks before the colon", "RFC 5322 §4.5"),
]:
    data = swap(message(TERNUM), "From: ", start)
    spf_case(f"from-{name}", why, source, verified("spf", claim={"kind": "listed"}), data=data)
spf_case(
    "from-sender-differs",
    "Sender and Reply-To of somebody else do not matter: the author is in From",
    "RFC 5322 §3.6.2; issue 2",
    verified("spf"),
    data=message(Sender="robot@mailer.example", Reply_To="aide@mailer.example"),
)
spf_case(
    "from-wildcard",
    "an address that fits a pattern of the list",
    "design#configuration",
    verified("spf"),
    author="Alerte-2026-11@ternum-bfc.fr",
    senders={"ternum-bfc": {"addresses": ["alerte-*@ternum-bfc.fr"]}},
)
spf_case(
    "from-whole-domain",
    "any mailbox, where the entry trusts the whole domain",
    "design#addresses, whole_domain",
    verified("spf"),
    author="n.importe.qui@ternum-bfc.fr",
    senders={"ternum-bfc": {"addresses": ["*@ternum-bfc.fr"], "whole_domain": True}},
)

ETE = "xn--marchs-t-f1acb.fr"  # marchés-été.fr
IDN = {"idn": {"name": "Marchés d'été", "domain": ETE, "addresses": [f"avis@{ETE}"]}}
for name, author, mail_from, why in [
    ("u-label", "avis@marchés-été.fr", "b@from-idn-u-label.marchés-été.fr", "an IDN as U-labels, in MAIL FROM too"),
    ("upper-case", "AVIS@MARCHÉS-ÉTÉ.FR", f"b@FROM-IDN-UPPER-CASE.{ETE.upper()}", "an IDN in capitals"),
]:
    zone = txt(f"from-idn-{name}.{ETE}", ALLOWED)
    source = "RFC 5890; RFC 6531 §3.3"
    case(
        f"from-idn-{name}",
        why,
        source,
        message(author),
        zone,
        verified("spf", "idn"),
        session=session(mail_from, SERVER),
        senders=IDN,
    )

# ---- no single reading: MAIL FROM is the platform's and SPF passes, all the same -----------------------------

CHEN = "Chen et al. 2020"
MAILBOX = "nepasrepondre@ternum-bfc.fr"
for name, author, reason, why, source in [
    ("two-mailboxes", f"{TERNUM}, {EVIL}", "several-mailboxes", "two mailboxes", f"RFC 5322 §3.6.2; {CHEN}; espoofer server_a18"),
    ("two-mailboxes-reversed", f"{EVIL}, {TERNUM}", "several-mailboxes", "two mailboxes, the listed one last", "espoofer server_a14"),
    ("two-mailboxes-encoded", f"=?utf-8?b?PG5lcGFzcmVwb25kcmVAdGVybnVtLWJmYy5mcj4=?=,<{EVIL}>", "several-mailboxes", "an encoded mailbox before another", "espoofer server_a15"),
    ("escaped-comma", f"<{TERNUM}>\\,<{EVIL}>", "malformed-from", "an escaped comma outside quotes", "espoofer server_a17"),
    ("semicolon", f"{TERNUM}; {EVIL}", "group-in-from", "mailboxes with a semicolon between them, as Outlook writes them", "RFC 6854; Shen et al. 2021"),
    ("group", f"Ternum: {TERNUM};", "group-in-from", "a group", f"RFC 6854; {CHEN}"),
    ("route", f"<@evil.example:{TERNUM}>", "route-in-from", "a source route", f"RFC 5322 §4.4; {CHEN}; espoofer server_a16"),
    ("address-before-angle", f"{TERNUM} <{EVIL}>", "malformed-from", "another unquoted address before the angle bracket", "CVE-2023-27043"),
    ("two-angles", f"<{TERNUM}> <{EVIL}>", "malformed-from", "two angle addresses", "CVE-2024-49040"),
    ("text-after", f"<{TERNUM}> {EVIL}", "malformed-from", "an address after the angle bracket", CHEN),
    ("text-after-evil", f"<{EVIL}>{TERNUM}", "malformed-from", "the listed address after the angle bracket", "espoofer server_a19"),
    ("open-quote", f'"Ternum <{TERNUM}>', "malformed-from", "a quoted string that does not end", CHEN),
    ("open-comment", f"{TERNUM} (Ternum", "malformed-from", "a comment that does not end", CHEN),
    ("open-comment-in-domain", f"{TERNUM}(.evil.example", "malformed-from", "a comment that opens within the domain", "CVE-2020-12272"),
    ("comment-joins", f"{TERNUM}(x)evil.example", "malformed-from", "a comment that some readers take out and others end at", "nodemailer 9.1.0, advisory on comments"),
    ("deep-comments", f"{'(' * 40}x{')' * 40} {TERNUM}", "malformed-from", "comments nested without measure", "library-notes#python"),
    ("closing-angle", f"{TERNUM}>", "malformed-from", "an angle bracket that did not open", "OpenDMARC pull request 174"),
    ("unclosed-angle", f"<{TERNUM} x", "malformed-from", "an angle bracket that does not close", CHEN),
    ("blanks-in-local-part", "ne pas repondre@ternum-bfc.fr", "malformed-from", "a local part of three words, which some readers put together", SYNTAX),
    ("no-break-space-in-local-part", "ne\u00a0pas@ternum-bfc.fr", "malformed-from", "a no-break space in the local part", "RFC 6532 §3.2, and what readers make of it"),
    ("no-break-space-behind-local-part", "nepasrepondre\u202f@ternum-bfc.fr", "malformed-from", "a narrow no-break space before the @", "RFC 6532 §3.2, and what readers make of it"),
    ("no-break-space-in-domain", "nepasrepondre@ternum-bfc\u00a0.fr", "invalid-domain", "a no-break space in the domain", "RFC 5891"),
    ("two-at", f"{TERNUM}@evil.example", "malformed-from", "two @, the listed domain first", CHEN),
    ("trailing-dot", "nepasrepondre@ternum-bfc.fr.", "malformed-from", "a final dot", "RFC 5322 §3.4.1"),
    ("encoded-local-part", "=?utf-8?q?nepasrepondre?=@ternum-bfc.fr", "encoded-word-in-address", "an encoded word as local part", "RFC 2047 §5"),
    ("encoded-domain", "nepasrepondre@=?utf-8?q?ternum-bfc.fr?=", "invalid-domain", "an encoded word as domain", "RFC 2047 §5"),
    ("encoded-address", "Ternum <=?utf-8?q?nepasrepondre=40ternum-bfc.fr?=>", "malformed-from", "an encoded word as the whole address", "Indy10, encoded words in e-mail address"),
    ("mailsploit", "=?utf-8?b?bmVwYXNyZXBvbmRyZUB0ZXJudW0tYmZjLmZy?==?utf-8?Q?=00?=@evil.example", "encoded-word-in-address", "the listed address and a NUL, encoded, as local part of another", "Mailsploit (Haddouche 2017)"),
    ("full-width", "nepasrepondre@ternum－bfc.fr", "invalid-domain", "a full-width hyphen, which mapping would turn into ASCII", "library-notes#python"),
    ("foreign-hyphen", "nepasrepondre@ternum\u2010bfc.fr", "invalid-domain", "a hyphen of another kind, which looks the same", "Unicode TR 39 §4"),
    ("ideographic-dot", "nepasrepondre@ternum-bfc。fr", "invalid-domain", "an ideographic full stop, which IDNA mapping would turn into a dot", "RFC 3490 §3.1; RFC 5895 §2"),
    ("zero-width", "nepasrepondre@ternum\u200b-bfc.fr", "invalid-domain", "a zero-width space within the domain", "Shen et al. 2021"),
    ("kelvin", "ne_pas_repondre@ternum-bfc.fr\u2028", "control-character", "a Unicode line separator", "library-notes#python"),
    ("next-line", f"x\u0085 <{TERNUM}>", "control-character", "a C1 control that some readers take for a line end", "Unicode TR 13"),
    ("bidi", f"\u202etnaifnoc\u202c <{TERNUM}>", "control-character", "marks that turn the direction of text", "Shen et al. 2021; CVE-2021-42574"),
    ("invalid-utf8", f"Num\udce9riques <{TERNUM}>", "invalid-utf8", "a byte that is not UTF-8", "RFC 6532 §3.1"),
    ("too-long", f'"{"x" * 5000}" <{TERNUM}>', "from-too-long", "a field of absurd length", "library-notes#postfix-header"),
]:  # fmt: skip
    spf_case(
        f"no-from-{name}",
        f"From with {why} is ambiguous, whatever SPF says",
        source,
        ambiguous(reason),
        author=author,
    )
spf_case(
    "no-from-idn-decomposed",
    "an IDN with separate accents looks the same, and is not in normal form",
    "RFC 5891 §5.2",
    ambiguous("invalid-domain", "idn"),
    author="avis@marche\u0301s-e\u0301te\u0301.fr",
    senders=IDN,
)
spf_case(
    "no-from-kelvin-sign",
    "a Kelvin sign in the domain, which lower case would turn into k",
    "library-notes#python; RFC 5891 §5.2",
    ambiguous("invalid-domain", "kelvin"),
    author="avis@\u212aelvin.example",
    senders={"kelvin": {"name": "Kelvin avis", "domain": "kelvin.example", "addresses": ["avis@kelvin.example"]}},
)

# ---- two From fields -----------------------------------------------------------------------------------------

for name, first, second in [
    ("evil-first", EVIL, TERNUM),
    ("evil-last", TERNUM, EVIL),
    ("spelled-oddly", TERNUM, EVIL),
]:
    extra = "FROM : " if name == "spelled-oddly" else "From: "
    case(
        f"no-from-two-fields-{name}",
        "two From fields are ambiguous, in either order and spelling",
        f"RFC 5322 §3.6; {CHEN}; espoofer server_a8, a10",
        on_top(f"{extra}{first}", message(second)),
        "",
        unverified("several-from-fields"),
    )
spf_case(
    "no-from-two-fields-same",
    "the very same From field twice",
    "RFC 5322 §3.6",
    ambiguous("several-from-fields"),
    data=on_top(f"From: {TERNUM}", message(TERNUM)),
)
signed_case(
    "no-from-two-fields-signed",
    "two From fields, both of them signed by the platform",
    "RFC 6376 §8.15; RFC 5322 §3.6",
    ambiguous("several-from-fields"),
    data=on_top(f"From: {EVIL}", message()),
    how={"signed": ("From", "From", "To", "Subject", "Date")},
)
signed_case(
    "no-from-second-on-top",
    "a second From on top of a genuine message, of which the signature holds",
    "RFC 6376 §8.15; OpenDKIM pull request 393; espoofer client_a1",
    ambiguous("several-from-fields"),
    top=f"From: {EVIL}",
)
case(
    "no-from-beyond-limits",
    "a listed From behind more fields than are read is noticed",
    "design#limits",
    on_top(f"From: {EVIL}\r\n" + "\r\n".join(f"X-{i}: x" for i in range(60)), message(TERNUM)),
    "",
    unverified("several-from-fields"),
    config={"limits": {"header_fields": 50}},
)

for place, fields in {
    "third": [EVIL, EVIL, TERNUM],
    "tenth": [EVIL] * 9 + [TERNUM],
    "listed-first": [TERNUM, EVIL],
}.items():
    case(
        f"no-from-late-{place}",
        "every From behind 1000 other fields is seen",
        "trust.md, 5",
        on_top("\r\n".join([*(f"X-{i}: a" for i in range(1_005)), *(f"From: {a}" for a in fields)]), message(None)),
        "",
        unverified("several-from-fields"),
    )
case(
    "unclaimed-late-from",
    "From fields behind 1000 others that name nobody",
    "trust.md, 5",
    on_top("\r\n".join([*(f"X-{i}: a" for i in range(1_005)), *["From: x@shop.example"] * 3]), message(None)),
    "",
    unclaimed(),
)
case(
    "no-from-late-too-many",
    "late From fields of which not all are kept may name anybody",
    "trust.md, 5",
    on_top("\r\n".join([f"X-{i}: a" for i in range(60)] + ["From: x@shop.example"] * 2_000), message(None)),
    "",
    unverified("from-too-intricate", None),
    config={"limits": {"header_fields": 50}},
)

# ---- another mailbox of the domain, perfectly authenticated ----------------------------------------------------

DRESSED = {"reason": "display-name-imitates"}
INSIDERS: Rows = [
    ("unlisted", "Kollega <anna@visma.com>", {"reason": None}, "a colleague at Visma whose mailbox is not on the list", "design#decision, row 6"),
    ("unlisted-dressed-up", f'"{OPIC}" <anna@visma.com>', DRESSED, "a colleague dressed up as the listed mailbox", "issue 3"),
    ("unlisted-platform-name", "Visma Opic <anna@visma.com>", DRESSED, "a colleague dressed up as the platform", "issue 3"),
    ("unlisted-comment", f"anna@visma.com ({OPIC})", DRESSED, "a colleague with the listed mailbox in a comment", "rspamd issue 5245"),
    ("unlisted-hyphen", "noreply-opic@visma.com", {}, "hyphens, dots and underscores in a local part matter", "design#addresses"),
    ("unlisted-subdomain", "noreply.opic@mail.visma.com", {}, "a listed mailbox's name at a sub-domain", "design#addresses, an address is exact"),
    ("unlisted-quoted-blank", '"noreply.opic "@visma.com', {}, "a blank within the quotes of a local part makes another mailbox", "RFC 5321 §4.1.2"),
    ("unlisted-quoted-address", '"x@evil.example x"@visma.com', {}, "an address within the quotes of a local part is no domain", "GHSA-mm7p-fcc7-pg87"),
    ("unlisted-cyrillic", "noreply.\u043epic@visma.com", {}, "a Cyrillic o in a local part makes another mailbox", "Unicode TR 39 §4"),
    ("unlisted-kelvin", "noreply.upphandlings\u212aoll@visma.com", {}, "a Kelvin sign is not folded to k", "library-notes#python"),
]  # fmt: skip
for name, author, expected, why, source in INSIDERS:
    signed_case(name, why, source, unlisted(**expected), data=message(author), how={"domain": "visma.com"})
signed_case(
    "unlisted-sender-listed",
    "a colleague whose Sender and Reply-To are the listed mailbox, all signed",
    "espoofer server_a12",
    unlisted(reason=None),
    data=message("anna@visma.com", Sender=OPIC, Reply_To=OPIC),
    how={"domain": "visma.com", "signed": ("From", "To", "Subject", "Date", "Sender", "Reply-To")},
)
spf_case(
    "unlisted-spf",
    "a colleague proven by SPF, and the listed mailbox as MAIL FROM",
    "design#claim, the claim is From",
    unlisted("spf", reason=None),
    author="anna@visma.com",
    session=session("noreply.opic@unlisted-spf.visma.com", SERVER),
)
spf_case(
    "unlisted-wildcard",
    "a pattern of the list does not reach over an @",
    "design#configuration",
    unlisted("spf", "ternum-bfc"),
    author='"alerte-x@evil.example"@ternum-bfc.fr',
    senders={"ternum-bfc": {"addresses": ["alerte-*@ternum-bfc.fr"]}},
)
spf_case(
    "unlisted-whole-domain",
    "who trusts the whole domain does not trust its sub-domains",
    "design#addresses, of that very domain",
    unlisted("spf", "ternum-bfc"),
    author="x@stagiaires.ternum-bfc.fr",
    senders={"ternum-bfc": {"addresses": ["*@ternum-bfc.fr"], "whole_domain": True}},
)
case(
    "no-unlisted-forged",
    "a forged colleague",
    "design#decision, row 7",
    message("anna@visma.com"),
    "",
    unverified("no-aligned-pass", "visma-opic"),
)
signed_case(
    "no-insider-and-listed",
    "a colleague and the listed mailbox in one From, aligned and signed",
    "issue 3; espoofer client_a2",
    ambiguous("several-mailboxes", "visma-opic"),
    data=message(f"anna@visma.com, {OPIC}"),
    how={"domain": "visma.com"},
)
case(
    "no-insider-second-from",
    "a colleague's signed mail, the listed mailbox as a second From on top",
    "issue 3; espoofer client_a1",
    on_top(f"From: {OPIC}", sign(message("anna@visma.com"), Sign("visma.com", "no-insider-second"))),
    key("no-insider-second", domain="visma.com"),
    ambiguous("several-from-fields", "visma-opic"),
)

# ---- other fields than From --------------------------------------------------------------------------------------

for name, field, source in [
    ("sender", "Sender", "espoofer server_a12"),
    ("resent-from", "Resent-From", "espoofer server_a13"),
    ("subject", "Subject", "design#claim, a claim is what From says"),
]:
    data = message(f"Soldes <{EVIL}>", **{field.replace("-", "_"): f"Visma Opic <{OPIC}>"})
    case(f"unclaimed-{name}", f"a listed address in {field} claims nothing", source, data, "", unclaimed())

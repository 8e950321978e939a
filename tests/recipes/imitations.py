"""What is made to look like a trusted sender, and what is not: `imitation` and `unclaimed`."""

from __future__ import annotations

from recipes import EVIL, TERNUM, case, imitation, key, message, signed_case, unclaimed

from harness.signing import Sign, sign

ROW_8 = "DESIGN §2, row 8"
NAME, LOCAL, DOMAIN = "display-name-imitates", "local-part-imitates", "domain-imitates"

# ---- names, comments, local parts ------------------------------------------------------------------------------

for name, author, reason, sender, source in [
    ("address-as-name", f'"{TERNUM}" <{EVIL}>', NAME, "ternum-bfc", ROW_8),
    ("address-in-brackets", f'"Avis <{TERNUM}>" <{EVIL}>', NAME, "ternum-bfc", "CVE-2024-49040; CVE-2023-27043"),
    ("address-in-comment", f"{EVIL} ({TERNUM})", NAME, "ternum-bfc", "rspamd issue 5245"),
    ("address-padded", f'"{TERNUM}{" " * 200}." <{EVIL}>', NAME, "ternum-bfc", "Shen et al. 2021"),
    ("address-encoded-apart", f"=?utf-8?q?noreply.opic?= =?utf-8?b?QHZpc21hLmNvbQ==?= <{EVIL}>", NAME, "visma-opic", "RFC 2047 §6.2; Chen et al. 2020"),
    ("address-in-utf-7", f"=?utf-7?q?noreply.opic+AEA-visma.com?= <{EVIL}>", NAME, "visma-opic", "RFC 2152"),
    ("name", f"Visma Opic <{EVIL}>", NAME, "visma-opic", ROW_8),
    ("name-without-marks", f"TERRITOIRES NUMERIQUES Bourgogne-Franche-Comte <{EVIL}>", NAME, "ternum-bfc", ROW_8),
    ("name-encoded", f"=?utf-8?b?VmlzbWEgT3BpYw==?= <{EVIL}>", NAME, "visma-opic", "RFC 2047"),
    ("name-filler", f"Visma\u3164Opic <{EVIL}>", NAME, "visma-opic", "Unicode TR 36; UAX 44, Default_Ignorable_Code_Point"),
    ("address-reversed", f"=?utf-8?b?4oCubW9jLmFtc2l2QGNpcG8ueWxwZXJvbg==?= <{EVIL}>", NAME, "visma-opic", "CVE-2021-42574; Shen et al. 2021"),
    ("domain-among-words", f"Support visma.com avis <{EVIL}>", NAME, "visma-opic", "RFC 5322 §4.1, obs-phrase"),
    ("name-in-comment", f"{EVIL} (Visma Opic)", NAME, "visma-opic", "RFC 5322 A.5: a comment was the display name once"),
    ("name-zero-width", f"Vis\u200bma Op\u2060ic <{EVIL}>", NAME, "visma-opic", "Shen et al. 2021"),
    ("name-cyrillic", f"V\u0456sm\u0430 O\u0440i\u0441 <{EVIL}>", NAME, "visma-opic", "Unicode TR 39 §4"),
    ("name-greek-capitals", f"V\u0399S\u039cA \u039fPIC <{EVIL}>", NAME, "visma-opic", "Unicode TR 39 §4: a capital Mu is an M, a small one is not"),
    ("name-l-for-i", f"Vlsma Oplc <{EVIL}>", NAME, "visma-opic", "Mozilla bug 1131817"),
    ("name-bar-for-i", f"V|sma Op|c <{EVIL}>", NAME, "visma-opic", "Unicode TR 39 §4"),
    ("name-escaped-in-comment", f"{EVIL} (V\\isma Opic)", NAME, "visma-opic", "RFC 5322 §3.2.1"),
    ("address-foreign-hyphen", f'"nepasrepondre@ternum\u2010bfc.fr" <{EVIL}>', NAME, "ternum-bfc", "Unicode TR 39 §4"),
    ("address-in-utf-16be", f"=?utf-16be?b?AHYAaQBzAG0AYQAuAGMAbwBt?= <{EVIL}>", NAME, "visma-opic", "WHATWG Encoding §4.2"),
    ("address-in-unknown-charset", f"=?x-unknown?b?bm9yZXBseS5vcGljQHZpc21hLmNvbQ==?= <{EVIL}>", NAME, "visma-opic", "RFC 2047 §6.2"),
    ("domain-in-name", f'"Support visma.com" <{EVIL}>', NAME, "visma-opic", ROW_8),
    ("address-as-local-part", f'"{TERNUM}"@evil.example', LOCAL, "ternum-bfc", ROW_8),
    ("brackets-in-local-part", f'"Ternum <{TERNUM}>"@evil.example', LOCAL, "ternum-bfc", "OpenDMARC issue 243"),
    ("name-as-local-part", "visma.opic@evil.example", None, "visma-opic", "Shen et al. 2021"),
    ("percent", "nepasrepondre%ternum-bfc.fr@evil.example", LOCAL, "ternum-bfc", "RFC 5321 §7.1; RFC 1123 §5.2.16"),
    ("domain-as-label", "x@ternum-bfc.fr.example", DOMAIN, "ternum-bfc", "DESIGN §2: label by label"),
    ("literal", "nepasrepondre@[ternum-bfc.fr]", None, "ternum-bfc", "RFC 5321 §4.1.3"),
    ("comment-in-domain", "nepasrepondre@ternum-bfc.fr(x).evil.example", DOMAIN, "ternum-bfc", "CVE-2020-12272"),
]:  # fmt: skip
    shown = author.encode("ascii", "replace").decode()
    shown = shown if len(shown) < 90 else shown[:60] + "…"
    case(
        f"imitation-{name}",
        f"From {shown!r} imitates, and no DNS is asked",
        source,
        message(author),
        "",
        imitation(sender, **({"reason": reason} if reason else {})),
    )

# ---- domains that look like a trusted one ------------------------------------------------------------------------

SZURDI = "Szurdi et al., USENIX Security 2014: typosquatting"
for name, domain, why, source in [
    ("rn-for-m", "ternum-bfc.fr".replace("m", "rn"), "rn for m", "Unicode TR 39 §4"),
    ("m-for-rn", "temum-bfc.fr", "m for rn", "Unicode TR 39 §4"),
    ("other-tld", "ternum-bfc.com", "another top-level domain below the same name", "Kintis et al., CCS 2017"),
    ("no-hyphen", "ternumbfc.fr", "the hyphen left out", SZURDI),
    ("swapped", "ternum-bcf.fr", "two letters swapped", SZURDI),
    ("missing-letter", "ternum-bf.fr", "a letter left out", SZURDI),
    ("glued-tld", "ternum-bfc-fr.example", "the whole domain, its dot turned into a hyphen", "Kintis et al., CCS 2017: combosquatting"),
    ("word-added", "marches-ternum-bfc.fr", "a word put before it with a hyphen", "Kintis et al., CCS 2017: combosquatting"),
    ("cyrillic", "t\u0435rnum-bfc.fr", "a Cyrillic e, as U-labels", "Unicode TR 39 §4; Shen et al. 2021"),
    ("cyrillic-a-label", "xn--trnum-bfc-g0h.fr", "a Cyrillic e, as A-labels", "Unicode TR 39 §4"),
    ("visma-rn-for-m", "visrna.com", "rn for m in a short name", "Unicode TR 39 §4"),
    ("visma-l-for-i", "vlsma.com", "l for i, which in capitals is I", "Mozilla bug 1131817"),
    ("visma-diaeresis", "v\u00efsma.com", "an i with a diaeresis", "Unicode TR 39 §4"),
    ("visma-dotless-i", "v\u0131sma.com", "an i without its dot", "Unicode TR 39 §4"),
    ("visma-whole-script", "\u0475\u0456\u0455m\u0430.com", "as many letters as can be had from another script", "Unicode TR 39 §4; CVE-2017-5060"),
    ("visma-greek-mu", "vis\u03bca.com", "a Greek mu, which is an M in capitals", "Unicode TR 39 §4"),
    ("platform-as-domain", "visma-opic.com", "the platform's name as a domain", "Kintis et al., CCS 2017: combosquatting"),
]:  # fmt: skip
    sender = "visma-opic" if name.startswith(("visma", "platform")) else "ternum-bfc"
    case(
        f"imitation-domain-{name}",
        f"{why}: {domain.encode('ascii', 'backslashreplace').decode()}",
        source,
        message(f"avis@{domain}"),
        "",
        imitation(sender),
    )
for name, platform, author, expected, why in [
    ("imitation-short-name", "Claro", EVIL, imitation(reason=NAME), "a name of five letters is looked for as it is"),
    ("imitation-short-name-bare", "Dépôt", EVIL, imitation(reason=NAME), "marks and capitals do not matter for it"),
    ("unclaimed-short-name-alike", "Claro", "x@shop.example", unclaimed(), "a look-alike of it is another name"),
    ("unclaimed-shorter-name", "Opic", "info@opic.com", unclaimed(), "a name of four letters is not looked for"),
]:
    shown = {"unclaimed-short-name-alike": "Daro", "imitation-short-name-bare": "DEPOT"}.get(name, platform)
    changes = {"ternum-bfc": {"name": platform}}
    case(name, why, "DESIGN §2, row 8", message(f"{shown} <{author}>"), "", expected, senders=changes)
signed_case(
    "imitation-domain-signed",
    "a near domain is one all the same where SPF and DKIM pass for it: nothing is looked up",
    "Shen et al. 2021; DESIGN §2, row 8",
    imitation(),
    data=message("Ternum <nepasrepondre@ternurn-bfc.fr>"),
    how={"domain": "ternurn-bfc.fr"},
)

# ---- honest mail ----------------------------------------------------------------------------------------------------

for name, author, why in [
    ("sister-company", "Visma <kontakt@visma.se>", "the group's own domain in another country"),
    ("platform-site", "Opic <info@opic.com>", "the platform's own web domain, which is not on the list"),
    ("half-a-name", "contact@ternum.fr", "half of a trusted name is another name"),
    ("short-names", "x@vismo.com", "a letter's difference between short names is no proof"),
    ("longer-domain", "x@visma.community", "visma.community is not visma.com"),
    ("region", "Région Bourgogne-Franche-Comté <contact@bourgognefranchecomte.fr>", "the region whose name is a part of the platform's"),
    ("name-within-words", "Servisma Opicum <x@shop.example>", "a platform's name within longer words"),
    ("one-word-of-name", "Visma Commerce <x@shop.example>", "one word of a platform's name"),
    ("backwards", "\u00c9t\u00e9 moc.amsiv@cipo.ylperon <x@shop.example>", "a listed address backwards, and no mark that turns it round"),
    ("broken-from", "<<>> ;; @@", "an unreadable From that names nobody on the list"),
]:  # fmt: skip
    case(f"unclaimed-{name}", f"{why}: {author!r}", "DESIGN §2, row 9", message(author), "", unclaimed())
case("unclaimed-no-from", "a message without From", "DESIGN §2, row 9", message(None), "", unclaimed())
case(
    "unclaimed-newsletter",
    "a newsletter has nothing to do with the list: its signature is not looked at",
    "DESIGN §2, row 9",
    sign(message("Soldes <news@shop.example>"), Sign("shop.example", "news")),
    "",
    unclaimed(),
)
case(
    "unclaimed-disabled-entry",
    "a disabled entry is as if it were not there",
    "DESIGN §4, enabled",
    sign(message(), Sign(selector="unclaimed-disabled")),
    key("unclaimed-disabled"),
    unclaimed(),
    senders={"ternum-bfc": {"enabled": False}},
)

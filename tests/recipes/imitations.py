"""What is made to look like a trusted sender, and what is not: `imitation` and `unclaimed`."""

from __future__ import annotations

import base64

from recipes import EVIL, TERNUM, ambiguous, case, imitation, key, message, signed_case, unclaimed, unverified

from harness.signing import Sign, sign

ROW_8 = "design#decision, row 8"
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
    ("domain-as-label", "x@ternum-bfc.fr.example", DOMAIN, "ternum-bfc", "design#alignment, label by label"),
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
    case(name, why, "design#decision, row 8", message(f"{shown} <{author}>"), "", expected, senders=changes)
signed_case(
    "imitation-domain-signed",
    "a near domain is one all the same where SPF and DKIM pass for it: nothing is looked up",
    "Shen et al. 2021; design#decision, row 8",
    imitation(),
    data=message("Ternum <nepasrepondre@ternurn-bfc.fr>"),
    how={"domain": "ternurn-bfc.fr"},
)

# ---- what mail programs show, and RFC 2047 has otherwise -------------------------------------------------------------

FULL_WIDTH, CYRILLIC = "Ｖｉｓｍａ　Ｏｐｉｃ", "Vism\u0430 \u041epi\u0441"
JSMIME, ROUNDCUBE = "Thunderbird, jsmime: one decoder for adjacent words", "Roundcube, rcube_mime::decode_mime_string"
WHATWG = "WHATWG Encoding §4.2, labels"


def base64_word(charset: str, text: str, codec: str) -> str:
    return f"=?{charset}?b?{base64.b64encode(text.encode(codec)).decode()}?="


for name, shown, sender, why, source in [
    ("letter-split", "=?utf-8?q?Territoires_Num=C3?= =?utf-8?q?=A9riques_Bourgogne-Franche-Comt=C3=A9?=", "ternum-bfc", "a letter split over two words", JSMIME),
    ("letter-split-q-b", "=?utf-8?q?Vism=D0?= =?utf-8?b?sCBPcGlj?=", "visma-opic", "a letter split over a Q and a B word", JSMIME),
    ("letter-split-utf-16", "=?utf-16be?b?AFYAaQBzAG0A?= =?utf-16be?b?YQAgAE8AcABpAGM=?=", "visma-opic", "UTF-16 split within a letter", JSMIME),
    ("question-mark", "=?utf-8?q?Visma=20Opic_=3F_?_?=", "visma-opic", "a bare question mark within a Q word", ROUNDCUBE),
    ("question-mark-address", "=?utf-8?q?nepasrepondre=40ternum=2Dbfc=2Efr?_?=", "ternum-bfc", "a bare question mark behind a listed address", "Python, email.header"),
    ("padding-inside", "=?utf-8?b?Vm==lzbWEgT3BpYw==?=", "visma-opic", "base64 with padding in the middle", "PHP, base64_decode; jsmime, decode_base64"),
    ("padding-inside-more", "=?utf-8?b?bm====VwYXNyZXBvbmRyZUB0ZXJudW0tYmZjLmZy?=", "ternum-bfc", "base64 with much padding in the middle", "PHP, base64_decode"),
    ("base64-continued", "=?utf-8?b?Vml?= =?utf-8?b?zbWEgT3BpYw==?=", "visma-opic", "base64 that goes on in the next word", "Roundcube issue 6048"),
    ("base64-unpadded", "=?utf-8?b?VmlzbWE?= =?utf-8?b?IE9waWM?=", "visma-opic", "base64 without padding", "Python, email.header"),
    ("nul", "=?utf-8?q?Vis=00ma_Opic?=", "visma-opic", "an encoded NUL", "Mailsploit (Haddouche 2017)"),
    ("c0", "=?utf-8?q?Vis=01ma=1F_Opic?=", "visma-opic", "encoded C0 controls", "Mailsploit (Haddouche 2017)"),
    ("c1", "=?utf-8?q?Vis=C2=81ma_Opic?=", "visma-opic", "an encoded C1 control", "Unicode TR 36"),
    ("ibm866", base64_word("ibm866", CYRILLIC, "cp866"), "visma-opic", "look-alikes in IBM866", WHATWG),
    ("mac-cyrillic", base64_word("x-mac-cyrillic", CYRILLIC, "mac-cyrillic"), "visma-opic", "look-alikes in x-mac-cyrillic", WHATWG),
    ("x-cp1251", base64_word("x-cp1251", CYRILLIC, "cp1251"), "visma-opic", "look-alikes in x-cp1251", WHATWG),
    ("windows-31j", base64_word("windows-31j", FULL_WIDTH, "cp932"), "visma-opic", "letters of full width in windows-31j", WHATWG),
    ("x-sjis", base64_word("x-sjis", FULL_WIDTH, "cp932"), "visma-opic", "letters of full width in x-sjis", WHATWG),
    ("x-gbk", base64_word("x-gbk", FULL_WIDTH, "gbk"), "visma-opic", "letters of full width in x-gbk", WHATWG),
    ("windows-949", base64_word("windows-949", FULL_WIDTH, "cp949"), "visma-opic", "letters of full width in windows-949", WHATWG),
    ("big5-hkscs", base64_word("big5-hkscs", FULL_WIDTH, "big5hkscs"), "visma-opic", "letters of full width in big5-hkscs", WHATWG),
    ("utf-16", f"=?utf-16?b?{base64.b64encode(bytes.fromhex('feff') + 'Visma Opic'.encode('utf-16-le')).decode()}?=", "visma-opic", "UTF-16 whose byte order mark is wrong", "WHATWG Encoding: utf-16 is little endian"),
    ("utf-16-marked", base64_word("utf-16", "\ufeffVisma Opic", "utf-16-be"), "visma-opic", "UTF-16 as its byte order mark says", "RFC 2781 §4.3"),
    ("latin-1", "=?iso-8859-1?q?Vi=9Ama_Opic?=", "visma-opic", "a letter of windows-1252 in iso-8859-1", "WHATWG Encoding: iso-8859-1 is windows-1252"),
    ("hz", base64_word("hz-gb-2312", "Visma Opic", "hz"), "visma-opic", "a charset that browsers refuse and iconv reads", "RFC 1843"),
    ("unknown-utf-8", base64_word("x-unknown", CYRILLIC, "utf-8"), "visma-opic", "UTF-8 in an unknown charset", "Roundcube, rcube_charset::convert"),
    ("half-a-word", "=?utf-8?q?Visma?=Opic", "visma-opic", "a word with text right behind it", "RFC 2047 §5, and what readers do"),
]:  # fmt: skip
    case(
        f"imitation-word-{name}",
        f"an encoded name with {why}",
        source,
        message(f"{shown} <{EVIL}>"),
        "",
        imitation(sender, reason=NAME),
    )
for name, author, why in [
    ("word-plain", "=?utf-8?q?Num=C3=A9riques_=3F?= =?utf-8?b?IFNvbGRlcw==?= <news@shop.example>", "honest encoded words, in Q and B"),
    ("word-split", "=?utf-8?q?Caf=C3?= =?utf-8?q?=A9_du_Centre?= <news@shop.example>", "an honest letter split over two words"),
    ("word-gb18030", "=?gb18030?b?1tC5+g==?= <news@shop.example>", "an honest name in GB18030"),
    ("word-unknown", "=?x-unknown?q?Soldes?= <news@shop.example>", "an honest name in an unknown charset"),
    ("word-broken", "=?utf-8?b?Vm?= =?utf-8?q?Soldes_=?? <news@shop.example>", "honest words that nobody can decode"),
]:  # fmt: skip
    case(f"unclaimed-{name}", why, "RFC 2047", message(author), "", unclaimed())

# ---- letters that may be signs, and signs that may be letters ---------------------------------------------------------

TR39 = "Unicode TR 39 §4"
for name, author, sender, why, source in [
    ("trade-mark", f"Visma Opic\u2122 <{EVIL}>", "visma-opic", "a trade mark sign behind the name", "NFKC makes it TM"),
    ("service-mark", f"Visma Opic\u2120 <{EVIL}>", "visma-opic", "a service mark sign behind the name", "NFKC makes it SM"),
    ("ordinal", f"\u00aaVisma Opic\u00ba <{EVIL}>", "visma-opic", "ordinal signs round the name", "NFKC makes them letters"),
    ("number-in-circle", f"\u2460Visma Opic <{EVIL}>", "visma-opic", "a number in a circle before the name", "NFKC makes it a digit"),
    ("superscript", f"Visma Opic\u00b2 <{EVIL}>", "visma-opic", "a superscript digit behind the name", "NFKC makes it a digit"),
    ("information-sign", f"\u2139Visma Opic <{EVIL}>", "visma-opic", "an information sign before the name", "NFKC makes it i"),
    ("address-trade-mark", f'"{TERNUM}\u2122" <{EVIL}>', "ternum-bfc", "a trade mark sign behind a listed address", "NFKC makes it TM"),
    ("address-trade-mark-comment", f"{EVIL} ({TERNUM}\u2122)", "ternum-bfc", "the same in a comment", "NFKC makes it TM"),
    ("letters-in-circles", f"\u24cb\u24d8\u24e2\u24dc\u24d0 \u24c4\u24df\u24d8\u24d2\u2122 <{EVIL}>", "visma-opic", "letters in circles, and a trade mark sign", TR39),
    ("letter-as-ornament", f"\u24d0Visma Opic\u24d0 <{EVIL}>", "visma-opic", "letters in circles as ornaments", TR39),
    ("white-on-black", f"\U0001f165\U0001f158\U0001f162\U0001f15c\U0001f150 Opic <{EVIL}>", "visma-opic", "letters white on black, which have no plain form", "UAX 44"),
    ("mathematical", f"\U0001d415\U0001d422\U0001d42c\U0001d426\U0001d41a \U0001d40e\U0001d429\U0001d422\U0001d41c <{EVIL}>", "visma-opic", "mathematical letters", TR39),
    ("small-capitals", f"\u1d20\u026a\ua731\u1d0d\u1d00 \u1d0f\u1d18\u026a\u1d04 <{EVIL}>", "visma-opic", "small capitals", TR39),
    ("lunate-sigma", f"Visma Opi\u03f2 <{EVIL}>", "visma-opic", "a lunate sigma, which NFKC makes another letter", TR39),
    ("lunate-sigma-capital", f"VISMA OPI\u03f9 <{EVIL}>", "visma-opic", "a capital lunate sigma", TR39),
    ("lunate-sigma-address", f'"noreply.opi\u03f2@visma.\u03f2om" <{EVIL}>', "visma-opic", "lunate sigmas in a listed address", TR39),
    ("stroke", f"Visma \u00d8pic <{EVIL}>", "visma-opic", "a letter with a stroke", TR39),
    ("cyrillic-filler", f"Vism\u0430\u3164Opic <{EVIL}>", "visma-opic", "a Cyrillic letter, and a filler for the space", TR39),
    ("override", f"=?utf-8?q?Vis=E2=80=AEam=E2=80=AC_Opic?= <{EVIL}>", "visma-opic", "two letters turned round within the name", "CVE-2021-42574"),
    ("latin-1", f"Territoires Num\udce9riques Bourgogne-Franche-Comt\udce9 <{EVIL}>", "ternum-bfc", "8-bit text that is no UTF-8", "what programs show of it is windows-1252"),
]:  # fmt: skip
    expected = imitation(sender, reason=NAME)
    if name == "latin-1":
        expected = ambiguous("invalid-utf8", sender)
    case(f"imitation-letters-{name}", f"From shows the name with {why}", source, message(author), "", expected)
case(
    "no-from-trade-mark",
    "a listed address with a trade mark sign behind it is no host name, and names its entry",
    "NFKC makes it TM",
    message(f"{TERNUM}\u2122"),
    "",
    ambiguous("invalid-domain"),
)
for name, author, why in [
    ("trade-mark", "Vis\u2122 Max\u00ae <news@shop.example>", "trade mark signs of somebody else"),
    ("emoji", "\U0001f381 Soldes \u2460 \u00e9t\u00e9 <news@shop.example>", "emoji and a number in a circle"),
    ("greek", "\u0395\u03c4\u03b1\u03b9\u03c1\u03b5\u03af\u03b1 <news@shop.example>", "a Greek name"),
    ("ordinal", "2\u00aa Feira <news@shop.example>", "an ordinal sign"),
    ("arabic", "\u0634\u0631\u0643\u0629 \ufdfa <news@shop.example>", "an Arabic name with a ligature of eighteen letters"),
]:  # fmt: skip
    case(f"unclaimed-letters-{name}", why, "design#decision, row 9", message(author), "", unclaimed())

# ---- the name glued, in parts, in any label ---------------------------------------------------------------------------

for name, author, reason, sender in [
    ("glued", f"VismaOpic <{EVIL}>", NAME, "visma-opic"),
    ("glued-and-more", f"VismaOpicNotices <{EVIL}>", NAME, "visma-opic"),
    ("glued-long", f"TerritoiresNumériquesBourgogneFrancheComté <{EVIL}>", NAME, "ternum-bfc"),
    ("spaced-out", f'"V i s m a  O.p.i.c" <{EVIL}>', NAME, "visma-opic"),
    ("phrase-and-comment", f"Visma (Opic) <{EVIL}>", NAME, "visma-opic"),
    ("comment-and-phrase", f"(Visma) Opic <{EVIL}>", NAME, "visma-opic"),
    ("two-comments", f"{EVIL} (Visma) (Opic)", NAME, "visma-opic"),
    ("comment-between", f"Visma (x) Opic <{EVIL}>", NAME, "visma-opic"),
    ("glued-local-part", "vismaopic@evil.example", LOCAL, "visma-opic"),
    ("local-part-and-more", "noreply-visma-opic-2026@evil.example", LOCAL, "visma-opic"),
    ("address-as-local-part", "noreply.opic.visma.com@evil.example", LOCAL, "visma-opic"),
    ("subdomain", "x@visma-opic.evil.example", DOMAIN, "visma-opic"),
    ("words-behind", "x@visma-opic-notices.example", DOMAIN, "visma-opic"),
    ("words-before", "x@portail-visma-opic.example", DOMAIN, "visma-opic"),
    ("two-labels", "x@visma.opic.example", DOMAIN, "visma-opic"),
    ("glued-label", "x@mail.vismaopic.evil.example", DOMAIN, "visma-opic"),
    ("dots-for-hyphens", "x@ternum.bfc.fr", DOMAIN, "ternum-bfc"),
    ("label-of-another", "x@ternum-bfc.evil.example", DOMAIN, "ternum-bfc"),
    ("hyphens-within", "x@avis-ternum-bfc-fr.example", DOMAIN, "ternum-bfc"),
    ("glued-word", "x@marchesternum-bfc.fr", DOMAIN, "ternum-bfc"),
]:  # fmt: skip
    shown = author.encode("ascii", "replace").decode()
    case(
        f"imitation-name-{name}",
        f"From {shown!r} carries the name",
        "README, row 8",
        message(author),
        "",
        imitation(sender, reason=reason),
    )
for name, author in [
    ("within-longer-words", "Servismaopic <x@shop.example>"),
    ("in-parts-of-words", "Televisma Opicum <x@shop.example>"),
    ("one-word-in-domain", "x@opic-notices.example"),
    ("another-suffix", "kontakt@visma.com.br"),
    ("another-suffix-below", "Visma <x@mail.visma.com.br>"),
    ("another-suffix-shown", '"kontakt@visma.com.br" <kontakt@visma.com.br>'),
    ("ends-another-word", "x@internum-bfc.de"),
]:  # fmt: skip
    case(f"unclaimed-name-{name}", f"honest: {author!r}", "design#decision, row 9", message(author), "", unclaimed())

# ---- several names, short names, names of everyday words ---------------------------------------------------------------

PURCHASE = {"name": "Public Purchase", "domain": "publicpurchase.com", "addresses": ["notices@publicpurchase.com"]}
TENDER = {
    "name": ["Find a Tender", "Find a Tender Service"],
    "domain": "find-tender.service.gov.uk",
    "addresses": ["noreply@find-tender.service.gov.uk"],
}
SUPPLIOS = {
    "name": "Supplios",
    "domain": "supplios.com",
    "addresses": ["*@relay.supplios.com"],
    "whole_domain": True,
}
AWS = {"name": "AWS-Achat (Avenue-Web Systèmes)", "domain": "aws-france.com", "addresses": ["courrier@aws-france.com"]}
MORE = {"public-purchase": PURCHASE, "find-a-tender": TENDER, "supplios": SUPPLIOS, "aws-achat": AWS}
MORE |= {"visma-opic": {"name": ["Visma Opic", "Opic"]}}
for name, author, sender in [
    ("short-form", f"Ternum BFC <{EVIL}>", "ternum-bfc"),
    ("shorter-form", f"Territoires Numériques BFC <{EVIL}>", "ternum-bfc"),
    ("parentheses", f"AWS-Achat <{EVIL}>", "aws-achat"),
    ("parentheses-kept", f'"AWS-Achat (Avenue-Web Systèmes)" <{EVIL}>', "aws-achat"),
    ("four-letters", f"Opic <{EVIL}>", "visma-opic"),
    ("four-letters-notices", f"OPIC notices <{EVIL}>", "visma-opic"),
    ("everyday", f"Public Purchase <{EVIL}>", "public-purchase"),
    ("everyday-notices", f"Public Purchase Notifications <{EVIL}>", "public-purchase"),
    ("everyday-segment", f'"Public Purchase: new bid" <{EVIL}>', "public-purchase"),
    ("everyday-glued", f"FindATender <{EVIL}>", "find-a-tender"),
    ("everyday-service", f"Find a Tender Service <{EVIL}>", "find-a-tender"),
    ("everyday-domain", "x@public-purchase-notices.example", "public-purchase"),
    ("everyday-misspelt", "x@publicpurchsae.com", "public-purchase"),
    ("near", "x@suplios.com", "supplios"),
]:  # fmt: skip
    proves = f"{author.encode('ascii', 'replace').decode()!r} shows one of the entry's names"
    case(f"imitation-names-{name}", proves, "trust.md, 15 and 16", message(author), "", imitation(sender), senders=MORE)
for name, author in [
    ("supplies", "Supplies <orders@supplies.com>"),
    ("supplies-relay", "orders@relay.supplies.com"),
    ("purchases", "Sales <x@publicpurchases.com>"),
    ("purchase-orders", "public purchase orders <x@city.example>"),
    ("how-to", "How to find a tender <x@blog.example>"),
    ("course", "Find a Tender Training Course <x@course.example>"),
    ("domain-called-so", "Opic <info@opic.com>"),
    ("four-letters-among-words", "Opic Consulting <x@shop.example>"),
    ("four-letters-mailbox", "opic@commune.example"),
    ("amazon", "AWS <no-reply@aws.example>"),
]:  # fmt: skip
    case(
        f"unclaimed-names-{name}", f"honest: {author!r}", "trust.md, 15", message(author), "", unclaimed(), senders=MORE
    )
case(
    "imitation-colleague-shown",
    "another mailbox of a listed domain as display name: README says that a listed domain anywhere in From is seen, "
    "and a forger who invents a mailbox of the platform is the common case",
    "trust.md, 15: decided to stay",
    message('"anna@visma.com" <dse@docusign.example>'),
    "",
    imitation("visma-opic", reason=NAME),
)

# ---- what is too much to be searched ------------------------------------------------------------------------------------

MARKS = "".join(f"(=?utf-8?q?=E2=80=AE{n}?=)" for n in range(1, 25))
INTRICATE = {"reason": "from-too-intricate", "claim": {"kind": "ambiguous", "sender": None}}
case(
    "unclaimed-24-marks",
    "24 marks that turn text round cost no more than one",
    "trust.md, 1",
    message(f"{MARKS} x@evil.example"),
    "",
    unclaimed(),
)
case(
    "imitation-24-marks",
    "the same, and a listed address backwards among them",
    "trust.md, 1",
    message(f"{MARKS} (=?utf-8?q?=E2=80=AEmoc.amsiv@cipo.ylperon?=) x@evil.example"),
    "",
    imitation("visma-opic"),
)
for name, author, why in [
    ("letters", "\ufdfa" * 9_000, "more text than is searched, in foreign letters"),
    ("words", "=?x-a?b?YW=E?= " * 1_000, "more encoded words than are decoded"),
    ("ways", '"' + "\u202e\u2122\u24d0\u200b\u0430" * 1_500 + f'" <{EVIL}>', "letters that may be taken in too many ways"),
    ("different", "".join(chr(0x3400 + n) for n in range(1_000)), "a thousand different letters"),
]:  # fmt: skip
    case(
        f"no-from-intricate-{name}",
        f"From with {why} is not unclaimed, though it names nobody that was seen",
        "trust.md, 13",
        message(author),
        "",
        unverified("from-too-intricate", None, claim=INTRICATE["claim"], dkim=[]),
    )
case(
    "no-from-long-and-listed",
    "a listed address behind 24 kB of text is seen",
    "trust.md, 13",
    message(f"{'a ' * 12_000} <{TERNUM}>"),
    "",
    ambiguous("from-too-long"),
)
case(
    "unclaimed-long",
    "a long From that names nobody, and could be searched",
    "design#decision, row 9",
    message(f'"{"Soldes " * 700}" <news@shop.example>'),
    "",
    unclaimed(),
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
    case(f"unclaimed-{name}", f"{why}: {author!r}", "design#decision, row 9", message(author), "", unclaimed())
case("unclaimed-no-from", "a message without From", "design#decision, row 9", message(None), "", unclaimed())
case(
    "unclaimed-newsletter",
    "a newsletter has nothing to do with the list: its signature is not looked at",
    "design#decision, row 9",
    sign(message("Soldes <news@shop.example>"), Sign("shop.example", "news")),
    "",
    unclaimed(),
)
case(
    "unclaimed-disabled-entry",
    "a disabled entry is as if it were not there",
    "design#configuration, enabled",
    sign(message(), Sign(selector="unclaimed-disabled")),
    key("unclaimed-disabled"),
    unclaimed(),
    senders={"ternum-bfc": {"enabled": False}},
)

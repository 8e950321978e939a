"""The short list leaves out nothing: with it, a text or a domain is about the same entry as with the whole list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique import claims, shortlist
from pratique.lookalike import bears_the_name, imitates
from pratique.model import Entry, TrustedList

LIST = TrustedList(
    tuple(
        Entry(entry, name, domain, (("nepasrepondre", domain), ("info", f"mail.{domain}")))
        for entry, name, domain in [
            ("ternum-bfc", "Territoires Numériques Bourgogne-Franche-Comté", "ternum-bfc.fr"),
            ("visma-opic", "Visma Opic", "visma.com"),
            ("achat", "Marchés de l'Été", "xn--marchs-gva.example.fr"),
            ("below", "Find a Tender", "find-tender.service.gov.uk"),
            ("han", "調達", "xn--jpn-xm1e26c.jp"),
            ("digits", "e-Vergabe 24", "vergabe24online.de"),
            ("underscore", "Supplios", "relay_1.supplios.com"),
        ]
    )
)
PIECES = [
    *("ternum-bfc.fr", "ternumbfc", "ternum", "bfc", "visma.com", "visma", "opic", "find-tender", "service", "gov.uk"),
    *("xn--marchs-gva", "marchés", "調達", "vergabe24online", "supplios.com", "relay_1", "relay", "Territoires"),
    *("Numériques", "numeriques", "Marches", "Find a Tender", "E-VERGABE", "24", "com", "fr", "example", "evil"),
    *(".", "-", "@", " ", "rn", "vv", "é", "_", "<", "nepasrepondre@", "mail."),
]


def edited(text: str, seed: int) -> str:
    """The text with a letter or two dropped, doubled, swapped or replaced by one that looks like it."""
    chance = random.Random(seed)
    letters = list(text)
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        place = chance.randrange(max(1, len(letters)))
        letters[place : place + 2] = chance.choice(
            [letters[place + 1 : place + 2], [*letters[place : place + 1]] * 2, letters[place : place + 2][::-1],
             ["1", *letters[place + 1 : place + 2]], ["а"]]  # noqa: RUF001  # Cyrillic
        )  # fmt: skip
    return "".join(letters)


PARTS = st.lists(st.sampled_from(PIECES), max_size=8)
TEXTS = st.builds(lambda parts, seed: edited("".join(parts), seed), PARTS, st.integers())


class Everyone(shortlist.Shortlist):
    """What the short list is compared with: the whole list."""

    def _found(self, keys: object) -> list[Entry]:  # noqa: ARG002
        return list(LIST.entries)


EVERYONE = Everyone(LIST)


@given(TEXTS)
def test_a_text_names_the_same_entry(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        short = claims._named(claims._seen([text]), LIST)
        patch.setattr(shortlist, "of", lambda _: EVERYONE)
        assert claims._named(claims._seen([text]), LIST) is short


@given(TEXTS)
def test_a_domain_imitates_the_same_entry(text: str) -> None:
    domain = "".join(c for c in text.lower() if c.isascii() and (c.isalnum() or c in "-._")).strip(".") or "x"
    ways = ((e, imitates(domain, e.domain) or bears_the_name(domain, e.domain, e.name)) for e in LIST.entries)
    assert shortlist.imitated(domain, LIST) == next(((entry, how) for entry, how in ways if how), None)

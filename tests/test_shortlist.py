"""The short list leaves out nothing: with it, a text or a domain is about the same entry as with the whole list."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pratique import claims, shortlist, visible
from pratique.lookalike import imitates
from pratique.model import Entry, TrustedList
from pratique.names import Names

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


@given(TEXTS)
def test_a_text_names_an_entry_that_it_names_alone(text: str) -> None:
    seen = visible.seen([text])
    alone = [entry for entry in LIST.entries if claims._named(seen, TrustedList((entry,)))]
    found = claims._named(seen, LIST)
    assert (found in alone) if alone else (found is None)


@given(TEXTS)
def test_a_domain_imitates_the_same_entry(text: str) -> None:
    domain = "".join(c for c in text.lower() if c.isascii() and (c.isalnum() or c in "-._")).strip(".") or "x"
    ways = [(e, how) for e in LIST.entries if (how := imitates(domain, e.domain))]
    ways += [pair for e in LIST.entries for pair in Names([e]).in_domain(domain)]
    assert shortlist.imitated(domain, LIST) == next(iter(ways), None)

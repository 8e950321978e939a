"""The views of a text: what each way of taking its letters shows, and whether all of it could be searched."""

from __future__ import annotations

import pytest

from pratique.visible import Seen, seen


def shown(text: str) -> tuple[str, ...]:
    return seen([text]).plain


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("Visma", {"visma"}),
        ("Vi\u0161ma", {"visma"}),  # accents are gone
        ("Vis\u200bma", {"visma", "vis ma"}),
        ("Vis\x00ma", {"visma", "vis ma"}),
        ("Vis\x1ema", {"visma", "vis ma"}),  # the separator of texts, written by a forger
        ("Vis\tma", {"vis\tma"}),  # parts two words
        ("Opic\u2122", {"opictm", "opic "}),
        ("\u24d0Opic\u2122", {"aopictm", " opic ", "aopic "}),
        ("Vism\u0430", {"visma", "vism\u0430"}),
        ("=?utf-8?q?Visma?=", {"visma"}),
        ("=?utf-8?q?Vis=E2=80=AEam?=", {"visam", "vis am", "masiv", "ma siv", "visma"}),
    ],
)
def test_views(text: str, views: set[str]) -> None:
    assert set(shown(text)) == views


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("x" * 20_000, True),
        ("x" * 30_000, False),  # more than is searched for names
        ("x" * 7_000 + "\u00e9", False),  # foreign letters behind what is looked at in every way
        ("x" * 7_000 + "=?utf-8?q?x?=", False),
        ("=?x-a?b?YW=E?=" * 300, False),  # more words than are decoded in every way
        ("".join(chr(0x3400 + n) for n in range(511)), True),
        ("".join(chr(0x3400 + n) for n in range(513)), False),
        ("\u2122\u24d0\u200b\u0430" * 1_000, False),  # 12 views of 4,000 characters
        ("\u2122\u24d0\u200b\u0430" * 500, True),
    ],
)
def test_what_is_too_much_is_told(text: str, complete: bool) -> None:
    assert seen([text]).complete == complete


def test_of_too_many_views_some_are_made() -> None:
    assert any("visma opic" in view for view in shown("Visma Opic " + "\u2122\u24d0\u200b\u0430" * 1_000))


def test_texts_stay_apart() -> None:
    found = seen(["x@visma", ".com"])
    assert not any("visma.com" in text for text in found.texts)


def test_ascii_behind_the_bound_is_kept_for_domains_and_names() -> None:
    found = seen(["x " * 4_000 + "Visma Opic visma.com"])
    assert "visma.com" in found.tail
    assert any(" visma opic " in words for words in found.words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("VismaOpicNotices", " visma opic notices "),
        ("Vergabe24Online", " vergabe 24 online "),
        ("V|sma", " vlsma "),
        ("Visma (x) Opic", " vismaopic "),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words in seen([text]).words


def test_text_without_anything_odd_has_one_view() -> None:
    assert seen(["soldes"]) == Seen(("soldes",), (), (" soldes ",))

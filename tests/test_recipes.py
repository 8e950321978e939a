"""The corpus is what the recipes write, octet for octet, and each case says what it proves and how that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes import all_cases

from harness import corpus
from harness.corpus import Case

CASES = all_cases()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_corpus_is_what_the_recipes_write(tmp_path: Path) -> None:
    for case in CASES:
        case.write(tmp_path)  # fails where two have one name
    written, kept = contents(tmp_path), contents(corpus.FOLDER)
    differ = {name.split("/")[0] for name in written.keys() | kept.keys() if written.get(name) != kept.get(name)}
    assert not differ, "write it anew: cd tests && ../.venv/bin/python -m recipes"


def test_one_dns_server_can_serve_all_cases() -> None:
    assert corpus.whole_zone(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_says_what_it_proves(case: Case) -> None:
    for text in (case.proves, case.source):
        assert text.strip() == text != ""
        assert text.isprintable()
        assert len(text) < 200


def test_no_two_cases_prove_the_same() -> None:
    seen = [(case.message, case.zone, repr((case.session, case.config, case.senders))) for case in CASES]
    assert len(set(seen)) == len(CASES)

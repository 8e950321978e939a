"""Writes the table of reasons into the README: `python -m harness.readme`, from tests/."""

from __future__ import annotations

import re
from pathlib import Path

from pratique.reasons import Reason

README = Path(__file__).resolve().parents[2] / "README.md"


def reason_table() -> str:
    """The table, from the enum."""
    rows = [f"| `{reason}` | {reason.meaning} |" for reason in Reason]
    return "\n".join(["| reason | meaning |", "| --- | --- |", *rows])


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(re.sub(r"\| reason \| meaning \|\n(\|.*\n)*", lambda _: reason_table() + "\n", text))

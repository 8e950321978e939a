"""The golden corpus: one folder a case, read here, and written by tests/recipes.

A case is a message, the SMTP session it came in, the DNS of that moment, and what must be said of it. All
zones can be served at once by one DNS server: each case has names of its own in them.
"""

from __future__ import annotations

import email.utils
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "corpus"
SHIPPED = Path(__file__).resolve().parent.parent.parent / "config"
NOW = b"@NOW@"  # stands for the present moment in a message: for what depends on its age


@dataclass
class Case:
    """`config` and `senders` are laid over the shipped files; `expected` is a part of what `explain --json` says."""

    name: str
    proves: str
    source: str
    message: bytes
    zone: str
    session: dict[str, Any]
    expected: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    senders: dict[str, Any] = field(default_factory=dict)
    second_opinion: str = ""  # why OpenDKIM or Mail::SPF sees it differently

    def present(self) -> bytes:
        """The message as it is sent now."""
        return self.message.replace(NOW, email.utils.formatdate(time.time()).encode())

    def write(self, folder: Path) -> None:
        """Write the case's folder."""
        place = folder / self.name
        place.mkdir(parents=True)
        (place / "message.eml").write_bytes(self.message)
        (place / "zone.txt").write_text(self.zone)
        keys = ("proves", "source", "session", "config", "senders", "expected", "second_opinion")
        optional = ("config", "senders", "second_opinion")
        kept = {key: getattr(self, key) for key in keys if key not in optional or getattr(self, key)}
        (place / "case.yaml").write_text(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110))


def read(place: Path) -> Case:
    """The case in a folder."""
    facts = yaml.safe_load((place / "case.yaml").read_text())
    return Case(
        place.name, message=(place / "message.eml").read_bytes(), zone=(place / "zone.txt").read_text(), **facts
    )


def read_all() -> list[Case]:
    """Every case, by name."""
    return [read(place) for place in sorted(FOLDER.iterdir()) if (place / "case.yaml").exists()]


def whole_zone(cases: list[Case]) -> str:
    """All zones as one. Raises ValueError where two cases say different things of one name."""
    owners: dict[str, tuple[str, list[str]]] = {}
    for case in cases:
        mine: dict[str, list[str]] = {}
        for line in case.zone.splitlines():
            if line.strip():
                mine.setdefault(re.split(r"[ \t]+", line)[0 if line[0] != ";" else 1].lower(), []).append(line)
        for name, lines in mine.items():
            owner, others = owners.setdefault(name, (case.name, lines))
            if others != lines:
                raise ValueError(f"{case.name} and {owner} differ on {name}")
    return "\n".join(line for _, lines in owners.values() for line in lines) + "\n"


def write_config(folder: Path, case: Case, **service: Any) -> Path:
    """Both files of a case: the shipped list with the case's entries laid over, and the service's file."""
    senders = yaml.safe_load((SHIPPED / "trusted-senders.yaml").read_text())["senders"]
    for name, changes in case.senders.items():
        senders[name] = senders.get(name, {}) | changes
    (folder / "trusted-senders.yaml").write_text(yaml.safe_dump({"senders": senders}, allow_unicode=True))
    config = {"authserv_id": "mx1.example.org"} | case.config | service
    (folder / "pratique.yaml").write_text(yaml.safe_dump(config))
    return folder / "pratique.yaml"


def differences(expected: Any, found: Any, place: str = "") -> list[str]:
    """Where `found` is not as expected: keys that are not expected may be anything."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [d for key, value in expected.items() for d in differences(value, found.get(key), f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [d for i, value in enumerate(expected) for d in differences(value, found[i], f"{place}[{i}]")]
    return [] if expected == found else [f"{place.lstrip('.')}: expected {expected!r}, found {found!r}"]

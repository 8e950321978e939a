"""The catalogue of platforms: what they tell their users to trust, as a file that is checked like the list.

Rules of this module: text in, platforms or problems out. For people: the service never imports it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pratique.model import Entry, TrustedList, is_within

from .document import ConfigError, Document, Place, Problem
from .files import _Model
from .trusted import Domain, ListedAddress, Site
from .values import Date, Names, Text
from .words import validated


class Platform(_Model):
    """A platform as the catalogue has it."""

    name: Names
    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None = None
    language: Annotated[str, StringConstraints(pattern="^[a-z]{2}$")]
    domain: Domain
    addresses: tuple[ListedAddress, ...] = ()
    domains: tuple[Domain, ...] = ()
    source: Text
    seen: Date
    grade: Literal["A", "B"]
    note: Text | None = None

    @property
    def title(self) -> str:
        """The name that people are shown."""
        return self.name[0]

    @property
    def trusted(self) -> list[str]:
        """The addresses an entry for it lists: those it publishes, and every mailbox of the domains it publishes."""
        return [f"{local}@{domain}" for local, domain in self.addresses] + [f"*@{domain}" for domain in self.domains]

    def entry(self) -> dict[str, Any]:
        """The entry for the trusted list."""
        name = list(self.name) if len(self.name) > 1 else self.title
        values: dict[str, Any] = {"name": name, "domain": self.domain, "addresses": self.trusted}
        if self.domains:
            values["whole_domain"] = True
        return values | {"source": self.source, "note": f"from the catalogue, seen {self.seen}, grade {self.grade}"}


# The catalogue belongs to the program: systemd/install puts it into /opt/pratique/share.
SHIPPED = (
    Path(sys.prefix) / "share" / "catalogue.yaml",
    Path(__file__).resolve().parents[3] / "config" / "catalogue.yaml",
)


def shipped() -> Path | None:
    """The catalogue that came with this version, if it is there."""
    return next((path for path in SHIPPED if path.exists()), None)


def as_entries(platforms: dict[str, Platform]) -> TrustedList:
    """The platforms as entries, for comparison with a list."""
    return TrustedList(
        tuple(
            Entry(name, platform.name[0], platform.domain, platform.addresses, other_names=platform.name[1:])
            for name, platform in platforms.items()
        )
    )


class CatalogueFile(_Model):
    """catalogue.yaml"""

    platforms: Annotated[dict[str, Platform], Field(min_length=1)]


def parse_catalogue(text: str, file: str) -> dict[str, Platform]:
    """The platforms by id. Raises ConfigError with every problem."""
    document = Document(text, file)
    read, problems = validated(CatalogueFile, document, Site())
    platforms = read.platforms if read else {}
    problems += [p for name, platform in platforms.items() for p in _wrong(name, platform, document)]
    if problems:
        raise ConfigError(problems)
    return platforms


def _wrong(name: str, platform: Platform, document: Document) -> Iterator[Problem]:
    here: Place = ("platforms", name)
    if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        yield document.at(here, "expected a short id of a-z, 0-9 and hyphens, such as visma-opic", of_key=True)
    if not platform.addresses and not platform.domains:
        yield document.at(here, "expected `addresses`, or `domains` where the platform publishes no address")
    for number, (local, domain) in enumerate(platform.addresses):
        place: Place = (*here, "addresses", number)
        if "*" in local:
            yield document.at(
                place, f"found {local}@{domain}: expected an exact address, or the domain under `domains`"
            )
    for number, domain in enumerate(platform.domains):
        if not is_within(domain, platform.domain):
            text = f"found {domain}: expected {platform.domain} or a domain below it"
            yield document.at((*here, "domains", number), text)

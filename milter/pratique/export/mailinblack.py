"""Mailinblack, and whatever else takes a plain list: addresses, domains, regular expressions; no condition."""

from __future__ import annotations

from pratique.model import Entry

from .common import Group, Part, address_pattern

ABOUT = """\
WARNING: this list asks for no proof. From is free text: whoever writes one of these addresses into From gets
through. Use it only behind a filter that refuses what fails DMARC, and prefer X-Trusted-Sender wherever it can be
matched. Lines with # are for you: leave them out."""


def write(_: Entry, groups: tuple[Group, ...]) -> Part:
    """One address a line; a wildcard as a regular expression, a whole domain as a domain."""
    addresses = [address for group in groups for address in group.addresses]
    return Part(tuple(map(_written, addresses)))


def _written(address: tuple[str, str]) -> str:
    local, domain = address
    if local.strip("*") == "":
        return domain
    return f"^{address_pattern(address)}$" if "*" in local else f"{local}@{domain}"

"""Who may be trusted, and by what: domains, addresses, signers and networks of the list.

Rules of this module: as values.py. Each function refuses what would be an open door, with the reason.
A function that takes ValidationInfo looks at what stands before it in the entry (`info.data`) and at the site
(`info.context`); what was wrong there is not in it, so one mistake is told once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import BeforeValidator, ValidationInfo

from pratique.model import IPNetwork, Require, ascii_lower, is_within

from .providers import SHARED_SENDERS, is_free_mail, is_public_suffix, shared_sender
from .values import a_labels, network, odd, text_schema

WIDEST = {4: 16, 6: 32}  # prefix lengths of `networks`


@dataclass(frozen=True, slots=True)
class Site:
    """What the service's file says that the list must respect."""

    local_domains: frozenset[str] = frozenset()


def _site(info: ValidationInfo) -> Site:
    return info.context if isinstance(info.context, Site) else Site()


# ---- domains ---------------------------------------------------------------------------------------


def _domain(value: Any) -> str:
    if isinstance(value, list):
        raise ValueError("expected one domain, without brackets or dash; a second one needs an entry of its own")
    name = a_labels(value)
    if name is None or "." not in name:
        raise ValueError(f"expected a domain such as example.org{_meant_domain(value)}{odd(value)}")
    return name


def _meant_domain(value: Any) -> str:
    """The domain inside a URL, an address, or one with dots or signs too many."""
    text = value.strip() if isinstance(value, str) else ""
    text = re.sub(r"^[a-z]+:/*", "", text, flags=re.IGNORECASE)
    text = re.split(r"[/?#]", text)[0].rpartition("@")[2].partition(":")[0]
    subdomains = "; its subdomains belong to it anyway" if "*" in text else ""
    text = text.removeprefix("www.")
    name = a_labels(text.strip(" .*<>,;\u201c\u201d\u201e\u00ab\u00bb").replace("\u00a0", ""))
    return f"; write {name}{subdomains}" if name and "." in name else ""


def _platform_domain(value: Any, info: ValidationInfo) -> str:
    """The organisation's domain: of one owner, and not our own."""
    name = a_labels(value) or ""
    if is_public_suffix(name):
        what = "is a whole top-level domain" if "." not in name else "is a public suffix"
        raise ValueError(
            f"it {what}: anyone can register a name below it; expected the platform's own, such as example.{name}"
        )
    name = _domain(value)
    if is_free_mail(name):
        raise ValueError(
            "it is a mail provider where anyone can get an address: expected a domain that only the platform uses"
        )
    if name in SHARED_SENDERS:
        raise ValueError(
            "it sends mail for many customers, and each could write as it: expected the platform's own domain"
        )
    for own in _site(info).local_domains:
        if is_within(name, own) or is_within(own, name):
            raise ValueError(
                f"it overlaps {own}, one of your own local_domains: who forges you would be trusted; "
                "expected the domain of another organisation"
            )
    return name


def _evidence_domain(value: Any, info: ValidationInfo) -> str:
    name, entry = _domain(value), info.data.get("domain")
    if entry and not is_within(name, entry):
        raise ValueError(
            f"expected {entry} or a domain below it; another domain that signs for the platform belongs under `signers`"
        )
    return name


def _signer(value: Any, info: ValidationInfo) -> str:
    name = _domain(value)
    if shared_sender(name) or is_free_mail(name):
        raise ValueError(
            "any customer of this provider can sign as it: expected a domain that only the platform signs with"
        )
    if is_public_suffix(name):
        raise ValueError("anyone can register a name below it: expected a domain that only the platform signs with")
    if any(is_within(name, own) for own in _site(info).local_domains):
        raise ValueError("it is one of your own local_domains: expected a domain that only the platform signs with")
    return name


# ---- addresses -------------------------------------------------------------------------------------


def _address(value: Any, info: ValidationInfo) -> tuple[str, str]:
    """(local part in lower case, domain); `*` in the local part stands for any characters."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    name = a_labels(domain)
    try:
        if not at or name is None or "." not in name:
            raise ValueError
        validate_email(f"{local.replace('*', 'x')}@{name}", check_deliverability=False)
    except (ValueError, EmailNotValidError):
        hint = _meant_address(value) or odd(value)
        raise ValueError(f"expected an address such as notices@example.org{hint}") from None
    entry = info.data.get("domain")
    if entry and not is_within(name, entry):
        raise ValueError(
            f"expected an address of {entry} or of a domain below it; "
            f"a platform that writes from {name} as well needs a second entry"
        )
    if local.strip("*") == "" and info.data.get("whole_domain") is False:
        raise ValueError(
            f"it trusts every mailbox of {name}: list the addresses one by one, or add the line `whole_domain: yes`"
        )
    return ascii_lower(local), name


_PLAIN = re.compile(r"[^\s<>\"'(),;:@\[\]\u201c\u201d]+@[^\s<>\"'(),;:@\[\]\u201c\u201d]+\.[\w-]+")


_SPELLED_AT = re.compile(r"(?i)\s*[(\[{]\s*(?:at|\u00e0)\s*[)\]}]\s*")


def _meant_address(value: Any) -> str:
    """The address or addresses inside other text."""
    if isinstance(value, dict):
        return "; write the address alone, without a word and a colon before it"
    text = value if isinstance(value, str) else ""
    found = [f.replace("\u00a0", "") for f in _PLAIN.findall(re.sub(r"(?i)\bmailto:", " ", text))]
    if re.search(r"\s-\s*\S", text) and "@" in text:
        return "; two lines were read as one: put each `- ` in the same column, with a blank after it"
    if len(found) > 1:
        return f"; write one address a line: `- {found[0]}`, then `- {found[1]}`"
    if len(found) == 1 and found[0] != text:
        return f"; write {found[0]}"
    if text.startswith("@") and a_labels(text[1:]):
        return f'; all mailboxes of the domain are "*{text}", in quotes and with `whole_domain: yes`'
    if _SPELLED_AT.search(text):
        return f"; write {_SPELLED_AT.sub('@', text)}"
    if text and a_labels(text) and "." in text:
        return f'; the part before the @ is missing: all mailboxes are "*@{text}" with `whole_domain: yes`'
    return ""


# ---- networks, requirement, id ---------------------------------------------------------------------


def _entry_network(value: Any) -> IPNetwork:
    found = network(value)
    if found.prefixlen < (least := WIDEST[found.version]):
        raise ValueError(
            f"it holds {_many(found)} addresses, and each would be trusted: expected the platform's own mail hosts, "
            f"in networks no wider than /{least}"
        )
    return found


def _many(found: IPNetwork) -> str:
    return f"2^{found.max_prefixlen - found.prefixlen}" if found.version == 6 else f"{found.num_addresses:,}"


def needs_networks(value: Require, info: ValidationInfo) -> Require:
    if value is Require.NETWORK and info.data.get("networks") == ():
        raise ValueError(
            "the entry has no `networks`: add the platform's mail hosts, such as `networks: [192.0.2.0/28]`, "
            "or require something else"
        )
    return value


def _sender_id(value: Any) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        plain = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40]
        hint = f"; write {plain}" if plain else ""
        raise ValueError(f"expected a short id of a-z, 0-9 and hyphens, such as visma-opic{hint}")
    return str(value)


_DOMAIN = text_schema("domain", pattern=r"^[^\s@/:*_]+\.[^\s@/:*_.]+$")

Domain = Annotated[str, BeforeValidator(_domain), _DOMAIN]
PlatformDomain = Annotated[str, BeforeValidator(_platform_domain), _DOMAIN]
EvidenceDomain = Annotated[str, BeforeValidator(_evidence_domain), _DOMAIN]
Signer = Annotated[str, BeforeValidator(_signer), _DOMAIN]
ListedAddress = Annotated[
    tuple[str, str],
    BeforeValidator(_address),
    text_schema("address", pattern=r"^[^\s@<>,;:()\"]+@[^\s@/:*_<>,;]+\.[^\s@/:*_.<>,;]+$"),
]
EntryNetwork = Annotated[
    Any, BeforeValidator(_entry_network), text_schema("network", pattern=r"^[0-9A-Fa-f:.]+(/\d{1,3})?$")
]
SenderId = Annotated[str, BeforeValidator(_sender_id), text_schema()]

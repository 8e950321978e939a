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
from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from pratique.model import IPNetwork, Require, ascii_lower, is_within

from .providers import SHARED_SENDERS, is_free_mail, is_public_suffix, shared_sender
from .values import WIDEST, a_labels, ascii_spelling, many, named_character, network, odd, text_schema


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


def _sealer(value: Any) -> str:
    name = _domain(value)
    if shared_sender(name) or is_free_mail(name):
        raise ValueError(
            "any customer of this provider can have it seal a message: expected a forwarder or list that you know"
        )
    if is_public_suffix(name):
        raise ValueError("anyone can register a name below it: expected the exact d= of a forwarder's seals")
    return name


# ---- addresses -------------------------------------------------------------------------------------


def _address(value: Any, info: ValidationInfo) -> tuple[str, str]:
    """(local part in lower case, domain); `*` in the local part stands for any characters."""
    found = _plain_address(value)
    if found is None:
        raise ValueError(f"expected an address such as notices@example.org{_meant_address(value, info)}")
    return _trusted_address(*found, info)


def _plain_address(value: Any) -> tuple[str, str] | None:
    """Local part and domain of a well-formed address; None for anything else."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    name = a_labels(domain)
    if not at or name is None or "." not in name:
        return None
    try:
        validate_email(f"{local.replace('*', 'x')}@{name}", check_deliverability=False)
    except EmailNotValidError:
        return None
    return ascii_lower(local), name


def _trusted_address(local: str, name: str, info: ValidationInfo) -> tuple[str, str]:
    """The address, if the entry may trust it. Raises ValueError."""
    entry = info.data.get("domain")
    if entry and not is_within(name, entry):
        raise ValueError(
            f"expected an address of {entry} or of a domain below it; "
            f"a platform that writes from {name} as well needs a second entry"
        )
    if not local.isascii() and not info.data.get("smtputf8"):
        raise ValueError(_foreign_local_part(local, name, info))
    if local.strip("*") == "" and info.data.get("whole_domain") is False:
        raise ValueError(
            f"it trusts every mailbox of {name}: list the addresses one by one, or add the line `whole_domain: yes`"
        )
    return local, name


def _foreign_local_part(local: str, name: str, info: ValidationInfo) -> str:
    """Why a local part with a character outside ASCII is refused: mail almost never has one, a paste often does."""
    character = next(c for c in local if not c.isascii())
    plain = ascii_spelling(local)
    offered = plain.isascii() and not plain.startswith("-") and _is_accepted(f"{plain}@{name}", info)
    spelled = f"; write {plain}@{name}" if offered else ""
    return (
        f"the part before the @ contains {named_character(character)}, so it matches no mail that is written in ASCII"
        f"{spelled}{', or' if spelled else ';'} add the line `smtputf8: yes` if the platform really writes it so"
    )


_PLAIN = re.compile(
    r"[^\s<>\"'(),;:@\[\]\u2018-\u201f\u00ab\u00bb]+@[^\s<>\"'(),;:@\[\]\u2018-\u201f\u00ab\u00bb]+\.[\w-]+"
)
_AROUND = " \t\r\n\u00a0<>[](){}\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
_PUNCTUATION = ".,;:"  # after an address in a sentence or a list
_IN_BRACKETS = re.compile(r"<\s*([^<>\s]+)\s*>")
_MARKDOWN = re.compile(r"\[([^\[\]]+)\]\(mailto:([^()?]+)(?:\?[^()]*)?\)")
_MAILTO = re.compile(r"(?i)mailto:([^?\s]+)(?:\?\S*)?")
_SPELLED_AT = re.compile(
    r"(?i)\s*[(\[{]\s*(?:at|\u00e0|a|arobase|arrobase|snabel-a)\s*[)\]}]\s*|\s+(?:at|arobase)\s+|\uff20"
)
_SPELLED_DOT = re.compile(r"(?i)\s*[(\[{]\s*(?:dot|point|punkt)\s*[)\]}]\s*|\s+(?:dot|point|punkt)\s+")


def _meant_address(value: Any, info: ValidationInfo) -> str:
    """What to write instead. An address is offered only if it is literally in the text, in brackets, between
    separators or after outer quotes are removed, and only if the entry would accept it."""
    if isinstance(value, dict):
        return "; write the address alone, without a word and a colon before it"
    text = value if isinstance(value, str) else ""
    if re.search(r"\s-\s*\S", text) and "@" in text:
        return "; two lines were read as one: put each `- ` in the same column, with a space after it"
    meant = [address for address in _addresses_in(text) if address != text]
    if meant and all(_is_accepted(address, info) for address in meant):
        if len(meant) > 1:
            return f"; write one address a line: `- {meant[0]}`, then `- {meant[1]}`"
        return f"; write {meant[0]}"
    return _meant_otherwise(text, info) or odd(value)


def _bare(text: str) -> str:
    """The text without quotes, brackets and spaces around it, and without punctuation after it."""
    return text.rstrip(_AROUND + _PUNCTUATION).lstrip(_AROUND)


def _addresses_in(text: str) -> list[str]:
    """The addresses that a text consists of, each once and in order; none if other words stand beside them."""
    if link := _MARKDOWN.fullmatch(text.strip()):
        text = link[2] if link[1].strip() in (link[2], f"mailto:{link[2]}") else ""
    elif link := _MAILTO.fullmatch(_bare(text)):
        text = link[1]
    if bracketed := _IN_BRACKETS.findall(text):
        outside = _IN_BRACKETS.sub(" ", text)
        return [] if "@" in outside else list(dict.fromkeys(_bare(address) for address in bracketed))
    parts = [part for part in (_bare(part) for part in re.split(r"[\s,;]+", text)) if part]
    return list(dict.fromkeys(parts)) if all(_PLAIN.fullmatch(part) for part in parts) else []


def _is_accepted(text: str, info: ValidationInfo) -> bool:
    """Whether the entry would take an address as it stands."""
    found = _plain_address(text)
    try:
        return found is not None and bool(_trusted_address(*found, info))
    except ValueError:
        return False


def _meant_otherwise(text: str, info: ValidationInfo) -> str:
    """A hint for text that holds no address as it should be written."""
    bare = _bare(text)
    if _is_address_of_host(bare):
        return "; an IP address belongs under `networks`"
    if re.match(r"[^@]*@\*\.", text):
        return (
            f"; subdomains must be listed one by one, such as {text.partition('@')[0]}@mail.{text.partition('@*.')[2]}"
        )
    if text.startswith("@") and a_labels(text[1:]):
        return f'; all mailboxes of the domain are "*{text}", in quotes and with `whole_domain: yes`'
    spelled = _SPELLED_DOT.sub(".", _SPELLED_AT.sub("@", bare))
    if spelled != bare and _is_accepted(spelled, info):
        return f"; write {spelled}"
    if len(words := bare.split()) > 1 and "@" in words[-1] and "@" not in "".join(words[:-1]):
        joined = "".join(word if word.endswith("-") else f"{word}-" for word in words[:-1]) + words[-1]
        if _is_accepted(joined, info):
            return f"; an address holds no space: is it {joined}? Copy it again from the page of the platform"
    if bare == text and text and a_labels(text) and "." in text:
        return f'; the part before the @ is missing: all mailboxes are "*@{text}" with `whole_domain: yes`'
    return ""


def _is_address_of_host(text: str) -> bool:
    try:
        return bool(network(text))
    except ValueError:
        return False


# ---- networks, requirement, id ---------------------------------------------------------------------


def _entry_network(value: Any) -> IPNetwork:
    found = network(value)
    if found.prefixlen < (least := WIDEST[found.version]):
        raise ValueError(
            f"it holds {many(found)} addresses, and each would be trusted: expected the platform's own mail hosts, "
            f"in networks no wider than /{least}"
        )
    return found


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
Sealer = Annotated[str, BeforeValidator(_sealer), _DOMAIN]
AlsoKnown = Annotated[
    tuple[Domain, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value]),
    WithJsonSchema({"anyOf": [_DOMAIN.json_schema, {"type": "array", "items": _DOMAIN.json_schema}]}),
]
ListedAddress = Annotated[
    tuple[str, str],
    BeforeValidator(_address),
    text_schema("address", pattern=r"^[^\s@<>,;:()\"]+@[^\s@/:*_<>,;]+\.[^\s@/:*_.<>,;]+$"),
]
EntryNetwork = Annotated[
    Any, BeforeValidator(_entry_network), text_schema("network", pattern=r"^[0-9A-Fa-f:.]+(/\d{1,3})?$")
]
SenderId = Annotated[str, BeforeValidator(_sender_id), text_schema()]

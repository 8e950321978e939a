"""Everything in two configurations that changes what happens to mail, in three groups.

Rules of this module: pure; settings in, changes out. Each field of `Settings` and of `Entry` has its place in a table
below or is named as one that changes no mail; a test holds the tables and the fields together. What an entry trusts is
compared in trust.py, address by address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from .model import Entry, Limits, Relay, Settings, TrustedHosts, Verdict
from .trust import Change, Group, changes

TITLES = {
    Group.TRUST: "Trust",
    Group.HELD: "What is held, refused or marked",
    Group.UNJUDGED: "Who is not judged",
}

# Fields of Settings, by the group of their changes. `actions` and `limits` are compared item by item.
SETTINGS: Mapping[str, Group] = {
    "arc_sealers": Group.TRUST,
    "clock_skew": Group.TRUST,
    "dns.stale": Group.TRUST,
    "dns.servers": Group.TRUST,
    "mode": Group.HELD,
    "defer_for": Group.HELD,
    "header": Group.HELD,
    "subject_tag": Group.HELD,
    "authserv_id": Group.HELD,
    "authserv_ids": Group.HELD,
    "strip_authentication_results": Group.HELD,
    "dns.timeout": Group.HELD,
    "dns.cache": Group.HELD,
    "local_networks": Group.UNJUDGED,
    "trusted_hosts": Group.UNJUDGED,
    "relays": Group.UNJUDGED,
    "local_domains": Group.UNJUDGED,
}
COMPARED_BY_ITEM = frozenset({"senders", "actions", "limits", "dns"})
# The service's own life: no message is treated in another way.
WITHOUT_EFFECT = frozenset(
    {
        "socket",
        "log_format",
        "log_level",
        "workers",
        "stop_timeout",
        "reload_on_change",
        "metrics",
        "sources",
        "state_directory",
        "generation",
    }
)

# Fields of Entry that trust.py does not compare. Without effect on mail: ENTRY_WITHOUT_EFFECT.
ENTRY_KEYS: Mapping[str, Group] = {
    "also_known": Group.TRUST,
    "domain": Group.HELD,
    "name": Group.HELD,
    "other_names": Group.HELD,
}
ENTRY_WITHOUT_EFFECT = frozenset({"selectors", "owner", "note"})

_ACTED_ON = tuple(v for v in Verdict if v not in (Verdict.VERIFIED, Verdict.UNCHECKED))


def effects(old: Settings, new: Settings) -> list[Change]:
    """Every change that a message can meet, the changes in trust first."""
    found = [*changes(old.senders, new.senders), *_site(old, new), *_entries(old, new)]
    return [change for group in Group for change in found if change.group is group]


def _site(old: Settings, new: Settings) -> Iterator[Change]:
    for name, group in SETTINGS.items():
        yield from _compared(name, group, _value(old, name), _value(new, name))
    for verdict in _ACTED_ON:
        yield from _compared(f"actions.{verdict}", Group.HELD, old.action(verdict, None), new.action(verdict, None))
    for limit in fields(Limits):
        yield from _compared(
            f"limits.{limit.name}", Group.HELD, getattr(old.limits, limit.name), getattr(new.limits, limit.name)
        )


def _value(settings: Settings, name: str) -> object:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _entries(old: Settings, new: Settings) -> Iterator[Change]:
    """Changes of entries that both lists have, beyond what they trust."""
    for now in new.senders.entries:
        was = old.senders.entry(now.id)
        if was is None:
            continue
        for name, group in ENTRY_KEYS.items():
            yield from _compared(name, group, getattr(was, name), getattr(now, name), now)
        for verdict in _ACTED_ON:
            if was.actions.get(verdict) != now.actions.get(verdict):
                before, after = old.action(verdict, was), new.action(verdict, now)
                yield from _compared(f"actions.{verdict}", Group.HELD, before, after, now)


def _compared(name: str, group: Group, was: object, now: object, entry: Entry | None = None) -> Iterator[Change]:
    if was != now:
        whose = f" (entry {entry.id})" if entry else ""
        text = f"{name} was {_shown(was)}, now {_shown(now)}{whose}"
        yield Change("different", "", entry.id if entry else "", name, text, group)


def _shown(value: object) -> str:
    for kind, show in _SHOWN.items():
        if isinstance(value, kind):
            return show(value)
    return str(value)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(_shown, values))) or "none"


_SHOWN: Mapping[type, Callable[[Any], str]] = {
    Relay: lambda relay: _listed(relay.networks) + (f" by {_listed(relay.received_by)}" if relay.received_by else ""),
    TrustedHosts: lambda hosts: f"{_listed(hosts.networks)} as {_listed(hosts.hosts)}" if hosts.networks else "none",
    bool: lambda value: "yes" if value else "no",
    tuple: _listed,
    frozenset: _listed,
    type(None): lambda _none: "not set",
}

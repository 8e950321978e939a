"""`pratique check --against` is blind to nothing: every setting and every key of an entry has its place."""

from __future__ import annotations

import dataclasses
import ipaddress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pratique import configuration_diff
from pratique.configuration_diff import effects
from pratique.model import (
    Action,
    Alignment,
    DnsSettings,
    Entry,
    Limits,
    Mode,
    Relay,
    Require,
    Settings,
    TrustedHosts,
    TrustedList,
    Verdict,
)
from test_corpus import explain

from harness import corpus

NETWORK = ipaddress.ip_network("192.0.2.0/28")
ENTRY = Entry("x", "X platform", "x.example", (("a", "x.example"),))
LIST = TrustedList((ENTRY,))
OLD = Settings(LIST)

# Another value for each field that changes what happens to mail.
SETTINGS: dict[str, Any] = {
    "mode": Mode.OBSERVE,
    "actions": {Verdict.IMITATION: Action.REJECT},
    "authserv_id": "mx2.example.org",
    "authserv_ids": frozenset({"mx2.example.org"}),
    "header": "X-Other",
    "subject_tag": "[not verified]",
    "strip_authentication_results": False,
    "local_networks": (NETWORK,),
    "relays": (Relay((NETWORK,), frozenset({"gw.example.org"})),),
    "arc_sealers": frozenset({"lists.example.org"}),
    "trusted_hosts": TrustedHosts((NETWORK,), frozenset({"mx2.example.org"})),
    "local_domains": frozenset({"example.org"}),
    "defer_for": timedelta(hours=1),
    "clock_skew": timedelta(minutes=1),
}
ENTRIES: dict[str, Any] = {
    "name": "Another name",
    "other_names": ("X",),
    "also_known": frozenset({"x.example.org"}),
    "domain": "a.x.example",
    "addresses": (("b", "x.example"),),
    "require": Require.DKIM,
    "alignment": Alignment.STRICT,
    "networks": (NETWORK,),
    "signers": frozenset({"op.example"}),
    "evidence_domains": frozenset({"m.x.example"}),
    "expires": date(2030, 1, 1),
    "actions": {Verdict.UNVERIFIED: Action.QUARANTINE},
}


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_setting_is_compared_or_has_no_effect_on_mail() -> None:
    compared = {name for name in configuration_diff.SETTINGS if "." not in name}
    compared |= configuration_diff.COMPARED_BY_ITEM | configuration_diff.WITHOUT_EFFECT
    assert names(Settings) == compared
    dns = {name.removeprefix("dns.") for name in configuration_diff.SETTINGS if name.startswith("dns.")}
    assert names(DnsSettings) == dns


def test_every_key_of_an_entry_is_tried_below() -> None:
    assert names(Entry) == set(ENTRIES) | configuration_diff.ENTRY_WITHOUT_EFFECT | {"id"}


@pytest.mark.parametrize("name", [*SETTINGS, *(f"limits.{name}" for name in sorted(names(Limits)))])
def test_a_change_of_a_setting_is_told(name: str) -> None:
    whole, _, item = name.partition(".")
    smaller: Any = {item: 7}
    changed: Any = {whole: dataclasses.replace(OLD.limits, **smaller) if item else SETTINGS[whole]}
    told = effects(OLD, dataclasses.replace(OLD, **changed))
    assert [change.what.partition(".")[0] for change in told] == [whole]


@pytest.mark.parametrize("name", sorted(names(DnsSettings)))
def test_a_change_of_dns_is_told(name: str) -> None:
    values: Any = {"servers": (("127.0.0.1", 53),), "timeout": 1.0, "cache": False, "stale": 0.0}
    changed: Any = {name: values[name]}
    new = dataclasses.replace(OLD, dns=dataclasses.replace(OLD.dns, **changed))
    assert [change.what for change in effects(OLD, new)] == [f"dns.{name}"]


@pytest.mark.parametrize("name", ENTRIES)
def test_a_change_of_an_entry_is_told(name: str) -> None:
    changed: Any = {name: ENTRIES[name]}
    new = dataclasses.replace(OLD, senders=TrustedList((dataclasses.replace(ENTRY, **changed),)))
    assert effects(OLD, new)
    assert effects(new, OLD)


def test_no_change_is_told_of_an_equal_configuration() -> None:
    assert effects(OLD, dataclasses.replace(OLD, senders=TrustedList((dataclasses.replace(ENTRY),)))) == []


_SAMPLE = corpus.read_all()[::60]  # every 60th case, by name: cases of every recipe


@pytest.mark.parametrize("case", _SAMPLE, ids=lambda case: case.name)
def test_what_is_said_to_have_no_effect_has_none(case: corpus.Case, tmp_path: Path) -> None:
    """The corpus through two configurations: keys whose change is not told leave each message as it is."""
    before = explain(case, tmp_path)
    quiet = {"workers": 3, "stop_timeout": "9s", "log": {"format": "json", "level": "debug"}, "reload_on_change": True}
    quiet |= {"socket": "inet:9999@127.0.0.1", "metrics": {"listen": "127.0.0.1:9999"}}
    silent = {"owner": "somebody", "note": "a note", "source": "https://x.example"}
    entries = {"ternum-bfc", "visma-opic", *case.senders}
    changed = dataclasses.replace(
        case,
        config=case.config | quiet,
        senders={n: case.senders.get(n, {}) | silent | {"selectors": ["z"]} for n in entries},
    )
    assert explain(changed, tmp_path) == before

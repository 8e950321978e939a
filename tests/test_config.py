"""Wrong files: what `pratique check` says of them, word for word. And what right ones mean."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from pratique.config import ConfigError, load, parse_senders, parse_service
from pratique.model import Action, Mode, Require, Verdict

ENTRY = "senders:\n  x:\n    domain: x.example\n    addresses: [a@x.example]\n"

SERVICE = {
    "unknown key": ("mod: enforce\n", "f:1:1: mod: there is no such key: did you mean mode?"),
    "unknown key, nothing near": (
        "dns:\n  zzz: 1\n",
        "f:2:3: dns.zzz: there is no such key: expected one of servers, timeout, cache, stale",
    ),
    "no such word": ("mode: enforced\n", 'f:1:7: mode: found "enforced": expected one of enforce, observe'),
    "yes for a word": ("mode: yes\n", "f:1:7: mode: found the truth value yes: expected one of enforce, observe"),
    "a word for a list": (
        "relays: 192.0.2.1\n",
        'f:1:9: relays: found "192.0.2.1": expected a list, one line each beginning with `- `',
    ),
    "no network": (
        "relays:\n  - 192.0.2.7/24\n",
        'f:2:5: relays[1]: found "192.0.2.7/24": expected an address or network such as 192.0.2.0/24; '
        "a network starts at its first address",
    ),
    "no time": ("defer_for: 4\n", 'f:1:12: defer_for: found "4": expected a time such as 30s, 5m, 4h or 2d'),
    "no socket": (
        "socket: /run/x\n",
        'f:1:9: socket: found "/run/x": expected a socket such as unix:/run/pratique/milter.sock or inet:8894@127.0.0.1',
    ),
    "no port": (
        "socket: inet:99999\n",
        'f:1:9: socket: found "inet:99999": expected a socket such as unix:/run/pratique/milter.sock or inet:8894@127.0.0.1',
    ),
    "no number": ("limits:\n  signatures: many\n", 'f:2:15: limits.signatures: found "many": expected a whole number'),
    "zero": (
        "limits:\n  signatures: 0\n",
        'f:2:15: limits.signatures: found "0": expected input should be greater than or equal to 1',
    ),
    "a standard field": (
        "header: From\n",
        'f:1:9: header: found "From": expected a field name that begins with X-, such as X-Trusted-Sender',
    ),
    "action on verified": (
        "actions: {verified: reject}\n",
        "f:1:10: actions: found keys and values: verified mail is tagged, and that cannot be changed: expected another verdict",
    ),
    "no action": (
        "actions: {unverified: drop}\n",
        'f:1:10: actions: found keys and values: unverified: found "drop": expected one of tag, quarantine, reject, defer',
    ),
    "no server": (
        "dns: {servers: [localhost]}\n",
        'f:1:16: dns.servers: found a list: expected "resolv.conf" or addresses such as "127.0.0.1:5353"',
    ),
    "twice": ("mode: observe\nmode: enforce\n", "f:2:1: mode: the key is there twice, first in line 1: keep one"),
    "no YAML": ("mode: [\n", "f:2:1: no YAML: expected the node content, but found '<stream end>'"),
    "a tab": ("dns:\n\tcache: no\n", "f:2:1: no YAML: found character '\\t' that cannot start any token"),
    "an alias": (
        "authserv_ids: &a [x.example]\nlocal_domains: *a\n",
        "f:2:16: found the alias *a: write the value out",
    ),
    "a tag": (
        "mode: !!python/name:os.system ''\n",
        "f:1:7: found the tag tag:yaml.org,2002:python/name:os.system: write a plain value",
    ),
    "a list for a file": ("- mode\n", "f:1:1: found a list: expected keys and values"),
    "trusted hosts without hosts": (
        "trusted_hosts: {networks: [192.0.2.1]}\n",
        "f:1:1: trusted_hosts.hosts: this key is missing",
    ),
}

LIST = {
    "empty": ("", "f:1:1: senders: this key is missing"),
    "nobody": ("senders: {}\n", "f:1:10: senders: found an empty list: expected at least one"),
    "no address": ("senders:\n  x:\n    domain: x.example\n    addresses: []\n", "f:4:16: senders.x.addresses: found an empty list: expected at least one"),
    "no domain": ("senders:\n  x:\n    addresses: [a@x.example]\n", "f:2:3: senders.x.domain: this key is missing"),
    "a bad id": (ENTRY.replace("  x:", "  X Y:"), "f:2:3: senders.X Y: expected a short id of a-z, 0-9 and hyphens, such as visma-opic"),
    "a top-level domain": (ENTRY.replace("domain: x.example", "domain: fr"), 'f:3:13: senders.x.domain: found "fr": expected a domain such as example.org'),
    "not an address": (ENTRY.replace("[a@x.example]", "[x.example]"), 'f:4:17: senders.x.addresses[1]: found "x.example": expected an address such as notices@example.org'),
    "elsewhere": (ENTRY.replace("a@x.example", "a@notx.example"), "f:4:17: senders.x.addresses[1]: found a@notx.example: expected an address of x.example"),
    "the whole domain": (ENTRY.replace("[a@", '["*@').replace("]", '"]'), "f:4:17: senders.x.addresses[1]: *@x.example trusts every mailbox of the domain: list addresses, or add `whole_domain: yes`"),
    "a shared signer": (ENTRY + "    signers: [sendgrid.net]\n", 'f:5:15: senders.x.signers[1]: found "sendgrid.net": any customer of this provider can sign as it: expected a domain that only the platform uses'),
    "network without networks": (ENTRY + "    require: network\n", "f:5:14: senders.x.require: network is required, and the entry has no `networks`"),
    "no date": (ENTRY + "    expires: soon\n", 'f:5:14: senders.x.expires: found "soon": expected a date such as 2027-12-31'),
    "a number for a name": (ENTRY + "    name: 12\n", 'f:5:11: senders.x.name: found "12": expected text; put it in quotes'),
    "ourselves": (ENTRY.replace("x.example", "mail.own.example"), "f:3:13: senders.x.domain: mail.own.example is one of your own local_domains: not a trusted sender"),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVICE)
def test_wrong_service_file(name: str) -> None:
    text, expected = SERVICE[name]
    with pytest.raises(ConfigError) as error:
        parse_service(text, "f")
    assert str(error.value) == expected


@pytest.mark.parametrize("name", LIST)
def test_wrong_list(name: str) -> None:
    text, expected = LIST[name]
    with pytest.raises(ConfigError) as error:
        parse_senders(text, "f", frozenset(["own.example"]))
    assert str(error.value) == expected


def test_keys_of_a_later_version_are_taken_with_a_warning() -> None:
    _, warnings = parse_service("mode: observe\ndns:\n  stale: 24h\n", "f")
    assert warnings == ("f:3:3: dns.stale: this version does not use the key",)


def test_all_errors_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_service("mod: x\nheader: From\ndefer_for: x\n", "f")
    assert [(p.line, p.column) for p in error.value.problems] == [(1, 1), (2, 9), (3, 12)]


def test_an_empty_service_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("")
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY)
    settings = load(tmp_path / "pratique.yaml")
    assert (settings.mode, settings.defer_for) == (Mode.ENFORCE, timedelta(hours=4))
    assert settings.action(Verdict.UNDETERMINED, None) is Action.DEFER


def test_a_folder_of_lists(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("senders: lists\n")
    (tmp_path / "lists").mkdir()
    for name in ("b", "a"):
        (tmp_path / "lists" / f"{name}.yaml").write_text(ENTRY.replace("x", name).replace("e" + name, "ex"))
    assert [e.id for e in load(tmp_path / "pratique.yaml").senders.entries] == ["a", "b"]
    (tmp_path / "lists" / "c.yaml").write_text((tmp_path / "lists" / "a.yaml").read_text())
    with pytest.raises(ConfigError, match="the id is there twice"):
        load(tmp_path / "pratique.yaml")


def test_one_domain_with_different_requirements(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("")
    second = ENTRY.removeprefix("senders:\n").replace("  x:", "  y:") + "    require: dkim\n"
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY + second)
    with pytest.raises(ConfigError, match=r"y: requires dkim of x\.example, but x requires any"):
        load(tmp_path / "pratique.yaml")


def test_the_keys_of_an_entry() -> None:
    text = ENTRY + (
        "    name: Exämple\n    require: all\n    networks: [192.0.2.0/28, '2001:db8::/64']\n    expires: 2027-12-31\n"
        "    signers: [Op.Example]\n    actions: {unverified: reject}\n    note: n\n    owner: o\n    selectors: [s1]\n"
    )
    (entry,) = parse_senders(text, "f")
    assert (entry.require, entry.expires, entry.signers) == (Require.ALL, date(2027, 12, 31), frozenset({"op.example"}))
    assert entry.actions == {Verdict.UNVERIFIED: Action.REJECT}
    assert [str(n) for n in entry.networks] == ["192.0.2.0/28", "2001:db8::/64"]


def test_an_entry_that_is_off_is_not_there() -> None:
    assert parse_senders(ENTRY + "    enabled: no\n", "f") == []


@pytest.mark.parametrize("address", ["*@x.example", "a*@sub.x.example", "A.B+c_d@X.Example"])
def test_addresses(address: str) -> None:
    text = ENTRY.replace("[a@x.example]", f'["{address}"]') + "    whole_domain: yes\n"
    (entry,) = parse_senders(text, "f")
    assert entry.addresses == ((address.partition("@")[0].lower(), address.partition("@")[2].lower()),)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_bytes(b"mode: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8, at octet 7"):
        load(tmp_path / "pratique.yaml")

"""What an edit of the list changes in trust, and `pratique check --against`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from pratique.config import parse_senders
from pratique.model import TrustedList
from pratique.trust import changes

from harness.service import PROGRAM

ENTRY = "senders:\n  x:\n    domain: x.example\n    addresses: [a@x.example]\n"
NETWORKS = ENTRY + "    networks: [192.0.2.0/28]\n"


def trusted(text: str) -> TrustedList:
    return TrustedList(tuple(parse_senders(text, "f")))


CHANGES = {
    "the same": (ENTRY, ENTRY, []),
    "name and note": (ENTRY, ENTRY + "    name: X\n    note: y\n    owner: z\n", []),
    "an address more": (
        ENTRY,
        ENTRY.replace("[a@x.example", "[a@x.example, b@x.example"),
        ["+ now trusts b@x.example by DKIM or SPF (entry x)"],
    ),
    "an entry with signers and networks": (
        ENTRY.replace("  x:", "  y:").replace("x.example", "y.example"),
        ENTRY + "    networks: [192.0.2.0/28]\n    signers: [op.example, m.x.example]\n",
        [
            "+ now trusts a@x.example by DKIM, SPF or its networks 192.0.2.0/28, also by a DKIM signature of "
            "op.example (not the platform's own domain) (entry x)",
            "- no longer trusts a@y.example (entry y)",
        ],
    ),
    "every mailbox": (
        ENTRY.replace("a@", "b@"),
        ENTRY.replace("[a@x.example]", '["*@x.example", b@x.example]') + "    whole_domain: yes\n",
        ["+ now trusts every mailbox of x.example by DKIM or SPF (entry x)"],
    ),
    "an address less": (
        ENTRY.replace("[a@x.example", "[a@x.example, b@x.example"),
        ENTRY,
        ["- no longer trusts b@x.example (entry x)"],
    ),
    "until a day": (
        ENTRY.replace("a@", "b@"),
        ENTRY + "    require: dkim\n    expires: 2030-12-31\n",
        ["+ now trusts a@x.example by DKIM until 2030-12-31 (entry x)", "- no longer trusts b@x.example (entry x)"],
    ),
    "a pattern that covers it": (
        ENTRY,
        ENTRY.replace("[a@", '["a*@').replace("e]", 'e"]'),
        ["+ now trusts a*@x.example by DKIM or SPF (entry x)"],
    ),
    "a narrower pattern": (
        ENTRY.replace("[a@", '["a*@').replace("e]", 'e"]'),
        ENTRY.replace("[a@", '["ab*@').replace("e]", 'e"]'),
        ["- no longer trusts a*@x.example (entry x)"],
    ),
    "an entry that is off": (ENTRY, ENTRY + "    enabled: no\n", ["- no longer trusts a@x.example (entry x)"]),
    "weaker": (ENTRY + "    require: dkim\n", ENTRY, ["! weaker: a@x.example was by DKIM, now by DKIM or SPF"]),
    "stronger": (
        ENTRY,
        ENTRY + "    require: all\n",
        ["~ stronger: a@x.example was by DKIM or SPF, now by DKIM and SPF"],
    ),
    "neither": (
        ENTRY + "    require: dkim\n",
        ENTRY + "    require: spf\n",
        ["! different: a@x.example was by DKIM, now by SPF"],
    ),
    "networks, new": (
        ENTRY,
        NETWORKS,
        ["! weaker: a@x.example was by DKIM or SPF, now by DKIM, SPF or its networks 192.0.2.0/28"],
    ),
    "networks, wider": (
        NETWORKS,
        NETWORKS.replace("/28", "/24"),
        ["! weaker: a@x.example was from networks 192.0.2.0/28, now 192.0.2.0/24"],
    ),
    "networks, others": (
        NETWORKS,
        NETWORKS.replace("192.0.2.0", "198.51.100.0"),
        ["! different: a@x.example was from networks 192.0.2.0/28, now 198.51.100.0/28"],
    ),
    "networks, split": (NETWORKS, NETWORKS.replace("0/28", "0/29, 192.0.2.8/29"), []),
    "networks that do not matter": (NETWORKS + "    require: dkim\n", ENTRY + "    require: dkim\n", []),
    "alignment": (
        ENTRY + "    alignment: strict\n",
        ENTRY,
        ["! weaker: a@x.example was by SPF or DKIM of exactly x.example, now of x.example or below it"],
    ),
    "evidence domains": (
        ENTRY,
        ENTRY + "    evidence_domains: [m.x.example]\n",
        ["~ stronger: a@x.example was by SPF or DKIM of x.example or below it, now of exactly m.x.example"],
    ),
    "strict to another domain": (
        ENTRY + "    alignment: strict\n",
        ENTRY + "    evidence_domains: [m.x.example]\n",
        ["! different: a@x.example was by SPF or DKIM of exactly x.example, now of exactly m.x.example"],
    ),
    "a signer": (
        ENTRY,
        ENTRY + "    signers: [op.example]\n",
        [
            "! weaker: a@x.example was also signed by nobody, now by op.example "
            "(op.example: not the platform's own domain)"
        ],
    ),
    "later": (
        ENTRY + "    expires: 2030-12-31\n",
        ENTRY,
        ["! weaker: a@x.example was until 2030-12-31, now for ever"],
    ),
    "sooner": (
        ENTRY + "    expires: 2030-12-31\n",
        ENTRY + "    expires: 2029-12-31\n",
        ["~ stronger: a@x.example was until 2030-12-31, now until 2029-12-31"],
    ),
    "another entry": (ENTRY, ENTRY.replace("  x:", "  y:"), ["~ moved: a@x.example was in entry x, now in y"]),
    "two at once": (
        ENTRY + "    require: dkim\n    alignment: strict\n",
        ENTRY,
        [
            "! weaker: a@x.example was by DKIM, now by DKIM or SPF",
            "! weaker: a@x.example was by SPF or DKIM of exactly x.example, now of x.example or below it",
        ],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str) -> None:
    old, new, expected = CHANGES[name]
    assert [str(change) for change in changes(trusted(old), trusted(new))] == expected


@pytest.mark.parametrize("name", CHANGES)
def test_there_and_back(name: str) -> None:
    """What is weaker one way is stronger the other."""
    old, new, _ = CHANGES[name]
    there, back = changes(trusted(old), trusted(new)), changes(trusted(new), trusted(old))
    turned = {"weaker": "stronger", "stronger": "weaker", "trusted": "untrusted", "untrusted": "trusted"}
    assert sorted(turned.get(c.kind, c.kind) for c in there) == sorted(c.kind for c in back)


# ---- the command -----------------------------------------------------------------------------------


def check(folder: Path, *more: str | Path, **given: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "check", "--config", "pratique.yaml", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, input=given.get("stdin"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "pratique.yaml").write_text("")
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY)
    (tmp_path / "old.yaml").write_text(ENTRY + "    require: dkim\n")
    (tmp_path / "site.yaml").write_text("senders: old.yaml\n")
    (tmp_path / "bad.yaml").write_text(ENTRY.replace("x.example", "fr"))
    return tmp_path


@pytest.mark.parametrize("old", ["old.yaml", "site.yaml"])
def test_against_a_list_or_a_site(old: str, site: Path) -> None:
    told = check(site, "--against", old)
    assert (told.returncode, told.stdout) == (1, "Trust:\n  ! weaker: a@x.example was by DKIM, now by DKIM or SPF\n")


def test_against_standard_input(site: Path) -> None:
    assert check(site, "--against", "-", stdin=(site / "old.yaml").read_text()).returncode == 1
    assert check(site, "--against", "/dev/stdin", stdin=(site / "old.yaml").read_text()).returncode == 1


@pytest.mark.parametrize("nothing", ["-", "/dev/null"])
def test_against_no_list_at_all(nothing: str, site: Path) -> None:
    """As at a first commit."""
    told = check(site, "--against", nothing, stdin="")
    assert (told.returncode, told.stdout) == (1, "Trust:\n  + now trusts a@x.example by DKIM or SPF (entry x)\n")


@pytest.mark.parametrize("old", ["trusted-senders.yaml", "pratique.yaml"])
def test_against_the_same(old: str, site: Path) -> None:
    told = check(site, "--against", old)
    assert (told.returncode, told.stdout) == (0, "no message is treated in another way\n")


def test_against_what_is_invalid_or_missing(site: Path) -> None:
    told = check(site, "--against", "bad.yaml")
    assert told.returncode == 78
    assert told.stderr.startswith("pratique: bad.yaml:3:13: senders.x.domain: ")
    told = check(site, "--against", "none.yaml")
    assert (told.returncode, told.stderr) == (78, "pratique: none.yaml: No such file or directory\n")
    (site / "trusted-senders.yaml").write_text("")
    told = check(site, "--against", "old.yaml")
    assert (told.returncode, told.stdout) == (78, "")


def test_against_in_json(site: Path) -> None:
    told = check(site, "--against", "old.yaml", "--json")
    assert told.returncode == 1
    assert (
        '"change": "weaker",\n      "address": "a@x.example",\n      "sender": "x",\n      "what": "require"'
        in told.stdout
    )


def test_the_shipped_list_against_an_older_one(tmp_path: Path) -> None:
    text = (ROOT / "config" / "trusted-senders.yaml").read_text()
    (tmp_path / "old.yaml").write_text(text.replace("      - noreply.analys@visma.com\n", ""))
    told = check(ROOT / "config", "--against", tmp_path / "old.yaml")
    assert told.stdout == "Trust:\n  + now trusts noreply.analys@visma.com by DKIM or SPF (entry visma-opic)\n"

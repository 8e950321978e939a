"""`pratique export`: what each target is told, and what the real rspamd, SpamAssassin and amavis make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_network
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from conftest import FULL
from pratique.cli import commands
from pratique.config import load, parse_senders
from pratique.export import TARGETS, export
from pratique.export.microsoft365 import quoted
from pratique.model import Alignment, Entry, Require

from harness.amavis import Amavis
from harness.dns_server import DnsServer, txt
from harness.postfix import Postfix
from harness.rspamd import Rspamd
from harness.signing import Sign, key_record, sign
from harness.spamassassin import SpamAssassin
from harness.stand import SHIPPED

TODAY = date(2026, 11, 22)
BOX = "marches@commune.example"


def entry(sender: str = "visma-opic", domain: str = "visma.com", local: str = "noreply.opic", **more: Any) -> Entry:
    facts = {"name": "Visma Opic", "addresses": ((local, domain),)} | more
    return Entry(sender, domain=domain, **facts)


def body(target: str, *entries: Entry) -> str:
    """The export without its comments."""
    text, _ = export(target, entries, "list", TODAY)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def warnings(target: str, *entries: Entry) -> list[str]:
    return export(target, entries, "list", TODAY)[1]


# ---- what is written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_prints_the_list_and_warns_apart(target: str) -> None:
    arguments = ["export", "--to", target, "--config", str(SHIPPED / "pratique.yaml")]
    first, second = (CliRunner().invoke(commands, arguments) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert str(SHIPPED / "pratique.yaml") in first.stdout.splitlines()[0]
    assert re.sub(r"\\", "", first.stdout).count("noreply.opic@visma.com") >= 1
    assert all(line.startswith("pratique: warning: ") for line in first.stderr.splitlines())


def test_an_unknown_target_is_wrong_usage() -> None:
    assert CliRunner().invoke(commands, ["export", "--to", "exim"]).exit_code == 2


@pytest.mark.parametrize("target", TARGETS)
def test_an_expired_entry_is_left_out_and_a_later_end_is_said(target: str) -> None:
    assert "visma" not in body(target, entry(expires=date(2026, 11, 21)))
    assert warnings(target, entry(expires=date(2026, 11, 21)))[-1] == "visma-opic: left out: expired on 2026-11-21"
    assert "visma" in body(target, entry(expires=TODAY))
    assert any("expires on 2026-11-22" in warning for warning in warnings(target, entry(expires=TODAY)))


def test_a_disabled_entry_is_left_out() -> None:
    text = (SHIPPED / "trusted-senders.yaml").read_text()
    enabled = parse_senders(text, "list")
    rest = parse_senders(text.replace("domain: ternum-bfc.fr", "domain: ternum-bfc.fr\n    enabled: no"), "list")
    assert [e.id for e in enabled] == ["ternum-bfc", "visma-opic"]
    assert "ternum" not in export("rspamd", tuple(rest), "list", TODAY)[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("local", ["é", "a b", "a'b", 'a"b', "a#b", "a?b", "a/b", "a\\b", "a\nb", "-a", "=a", "a$b"])
def test_a_local_part_with_a_second_meaning_is_left_out(target: str, local: str) -> None:
    assert "visma" not in body(target, entry(local=local))
    assert any("unusual characters" in warning for warning in warnings(target, entry(local=local)))


# What each target cannot ask for, and so does not get: it would trust more than the list does.
TOO_WEAK: dict[str, list[dict[str, Any]]] = {
    "rspamd": [],
    "spamassassin": [{"require": Require.ALL}, {"require": Require.NETWORK}],
    "amavis": [{"require": r} for r in (Require.SPF, Require.ALL, Require.NETWORK)],
    "microsoft365": [{"require": r} for r in (Require.DKIM, Require.SPF, Require.ALL, Require.NETWORK)]
    + [{"alignment": Alignment.STRICT}, {"evidence_domains": frozenset({"visma.com"})}],
}


@pytest.mark.parametrize(("target", "facts"), [(t, f) for t, weak in TOO_WEAK.items() for f in weak], ids=str)
def test_what_a_target_cannot_ask_for_is_left_out(target: str, facts: dict[str, Any]) -> None:
    networks = (ip_network("192.0.2.0/28"),)
    assert "visma" not in body(target, entry(networks=networks, **facts))
    assert any("left out" in warning for warning in warnings(target, entry(networks=networks, **facts)))


def test_spamassassin_lines() -> None:
    def lines(**facts: Any) -> list[str]:
        return body("spamassassin", entry(**facts)).split("\n")[1:-1]

    opic = "noreply.opic@visma.com"
    assert lines() == [f"welcomelist_auth {opic}", f"welcomelist_from_dkim {opic} .visma.com"]
    assert lines(alignment=Alignment.STRICT) == [f"welcomelist_auth {opic}"]
    assert lines(require=Require.SPF) == [f"welcomelist_from_spf {opic}"]
    dkim = [f"welcomelist_from_dkim {opic} visma.com", f"welcomelist_from_dkim {opic} .visma.com"]
    assert lines(require=Require.DKIM) == dkim
    assert lines(signers=frozenset({"mail.example"}), alignment=Alignment.STRICT) == [
        f"welcomelist_auth {opic}",
        f"welcomelist_from_dkim {opic} mail.example",
    ]
    elsewhere: dict[str, Any] = {"evidence_domains": frozenset({"mailer.visma.com"})}
    assert lines(**elsewhere) == [f"welcomelist_from_dkim {opic} mailer.visma.com"]
    assert lines(**elsewhere, require=Require.SPF) == []
    assert "left out" in warnings("spamassassin", entry(**elsewhere, require=Require.SPF))[0]
    assert lines(local="no*reply")[0] == "welcomelist_auth no*reply@visma.com"


def test_mailinblack_lines_and_their_warning() -> None:
    entries = entry(), entry("a", "a.example", "*"), entry("b", "b.example", "no*reply.x")
    assert body("mailinblack", *entries).split() == [
        "noreply.opic@visma.com",
        "a.example",
        r"^no[^@]*reply\.x@b\.example$",
    ]
    assert warnings("mailinblack", entry()) == ["mailinblack can ask for no proof: whoever forges From gets through"]
    assert "WARNING: this list asks for no proof" in export("mailinblack", (), "list", TODAY)[0]


def test_microsoft_rules_demand_dmarc() -> None:
    text = body("microsoft365", entry(local="no*reply"))
    assert r"'^no\S*reply@visma\.com$'" in text
    assert "HeaderContainsMessageHeader = 'Authentication-Results'\n    HeaderContainsWords = 'dmarc=pass'\n" in text
    assert "SenderAddressLocation = 'Header'" in text


def test_powershell_takes_curly_quotes_for_quotes() -> None:
    assert quoted("a'b\u2019c\u2018") == "'a''b\u2019\u2019c\u2018\u2018'"


# ---- whatever the list holds, no line is more than it should be -----------------------------------------------

# Every line that may stand in an export: what varies is of letters that mean nothing to the target.
_NAME = r"[A-Za-z0-9_-]+"
_PATTERN = r"(?:[A-Za-z0-9_@=~%&-]|\\[.+\-]|\[\^@\]\*|\\S\*|\(\?:\[\^@:/\]\+\\\.\)\?|\(\?:|\||\))+"
_ADDRESS = r"[a-z0-9_.+=~%&*-]+@[a-z0-9.-]+"
GRAMMAR = {
    "rspamd": [
        rf"multimap \{{ {_NAME} \{{",
        r'  type = "[a-z_]+"[A-Za-z_"=;: ]*',
        rf'  symbol = "{_NAME}"; group = "pratique"; score = 0\.0;',
        r"  map = \[",
        rf"    '\(\?i\)\^{_PATTERN}(?:\$|:s=)',",  # no slash first: rspamd 3.12 takes such a map for a file
        r"    '[0-9a-f:./]+',",
        r"  \];",
        r"\}\}|  \}|\}",
        rf"composites \{{|  {_NAME} \{{",
        r'    expression = "[A-Za-z0-9_&|!():\ ]+";',
        r'    policy = "leave"; group = "pratique"; score = -?[0-9]+\.0;',
    ],
    "spamassassin": [
        rf"welcomelist_(?:auth|from_spf) {_ADDRESS}",
        rf"welcomelist_from_dkim {_ADDRESS} [a-z0-9.-]+",
    ],
    "amavis": [
        re.escape("use strict;"),
        re.escape("$enable_dkim_verification = 1;"),
        re.escape("$policy_bank{'PRATIQUE'} = { bypass_spam_checks_maps => [1] };"),
        re.escape("unshift @author_to_policy_bank_maps, new_RE("),
        rf"  \[ qr'\^{_PATTERN}/@{_PATTERN}\\z'i => 'PRATIQUE' \],",
        r"\);|1;  # [a-zA-Z ]+",
    ],
    "microsoft365": [
        re.escape("$rule = @{"),
        r"    (?:SenderAddressLocation|Header[A-Za-z]+) = '[A-Za-z=-]+'|    SetSCL = -1",
        r"    FromAddressMatchesPatterns = @\(|    \)|\}|\} else \{",
        rf"        '\^{_PATTERN}\$',?",
        rf"if \(Get-TransportRule -Identity 'Pratique {_NAME}' -ErrorAction SilentlyContinue\) \{{",
        rf"    (?:New-TransportRule -Name|Set-TransportRule -Identity) 'Pratique {_NAME}' @rule",
    ],
    "mailinblack": [_ADDRESS, r"[a-z0-9.-]+", rf"\^{_PATTERN}\$"],
}

_ODD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    [
        "*",
        "no*reply",
        "a'b",
        'a"b',
        "a\nb",
        "a\r\nb",
        "a;b",
        "\u2019; x",
        "a/i',",
        "a\u2028b",
        "#",
        "a b",
        "${x}",
        "]]",
        "\\",
    ]
)
_DOMAINS = st.sampled_from(["visma.com", "a-b.example.fr", "xn--bcher-kva.example"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    domain = draw(_DOMAINS)
    return Entry(
        id=draw(_ODD),
        name=draw(_ODD),
        domain=domain,
        addresses=tuple(
            draw(st.lists(st.tuples(_ODD | st.just("noreply"), st.sampled_from([domain, "x." + domain])), min_size=1))
        ),
        require=draw(st.sampled_from(Require)),
        alignment=draw(st.sampled_from(Alignment)),
        networks=draw(st.sampled_from([(), (ip_network("192.0.2.0/28"), ip_network("2001:db8::/32"))])),
        signers=draw(st.frozensets(_DOMAINS, max_size=2)),
        evidence_domains=draw(st.frozensets(_DOMAINS, max_size=2)),
        expires=draw(st.sampled_from([None, date(2020, 1, 1), date(2030, 1, 1)])),
    )


@given(st.sampled_from(list(TARGETS)), st.lists(entries(), max_size=3), _ODD)
def test_nothing_in_the_list_breaks_out(target: str, found: list[Entry], source: str) -> None:
    text, _ = export(target, tuple(found), source, TODAY)
    known = re.compile("|".join(GRAMMAR[target]))
    for line in re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
        assert not line or line[0] == "#" or known.fullmatch(line), line


# ---- in the real programs ------------------------------------------------------------------------------------

PLATFORM, STRANGER = "192.0.2.70", "203.0.113.66"
ZONE = (
    txt("visma.com", f"v=spf1 ip4:{PLATFORM} -all")
    + txt("s1._domainkey.visma.com", key_record("rsa2048"))
    + txt("s1._domainkey.mail.visma.com", key_record("rsa2048"))
    + txt("evil.example", f"v=spf1 ip4:{STRANGER} -all")
    + txt("s1._domainkey.evil.example", key_record("other2048"))
)
SPAMMY = "pratique-test-spam"


def notice(author: str = "Visma Opic <noreply.opic@visma.com>", more: str = "") -> bytes:
    lines = [f"{more}From: {author}", f"To: {BOX}", "Subject: Upphandling", "Date: Sun, 22 Nov 2026 08:00:00 +0100"]
    lines += ["Message-ID: <1@visma.com>", "MIME-Version: 1.0", "Content-Type: text/plain", "", f"{SPAMMY}", ""]
    return "\r\n".join(lines).encode()


SIGNED = sign(notice(), Sign("visma.com", "s1"))
# Message, client, MAIL FROM, and by what the list trusts it.
SENT = {
    "signed": (SIGNED, STRANGER, "b@evil.example", "dkim"),
    "signed below": (sign(notice(), Sign("mail.visma.com", "s1")), STRANGER, "b@evil.example", "dkim"),
    "by its host": (notice(), PLATFORM, "noreply.opic@visma.com", "spf"),
    "from elsewhere": (notice(), STRANGER, "noreply.opic@visma.com", ""),
    "by the forger's host": (notice(), STRANGER, "b@evil.example", ""),
    "signed by the forger": (sign(notice(), Sign("evil.example", "s1", "other2048")), STRANGER, "b@evil.example", ""),
    "changed": (SIGNED.replace(SPAMMY.encode(), SPAMMY.encode() + b" more"), STRANGER, "b@evil.example", ""),
    "of another mailbox": (sign(notice("x@visma.com"), Sign("visma.com", "s1")), PLATFORM, "x@visma.com", ""),
}


def shipped(target: str) -> str:
    return export(target, load(SHIPPED / "pratique.yaml").senders.entries, "list", TODAY)[0]


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as running:
        yield running


def test_rspamd_takes_it_and_judges_right(dns: DnsServer) -> None:
    line = '.include(duplicate=merge) "$LOCAL_CONFDIR/pratique-senders.conf"\n'
    with Rspamd(dns, {"rspamd.conf.local": line, "pratique-senders.conf": shipped("rspamd")}) as rspamd:
        assert "syntax OK" in rspamd.config_test()
        assert "redefined" not in rspamd.config_test()
        for name, (message, client, mail_from, by) in SENT.items():
            found = rspamd.check(message, client, mail_from)
            assert ("PRATIQUE_VISMA_OPIC" in found["symbols"]) == bool(by), name
        # rspamd sees two authors, and a double extension: neither is let through.
        twice = notice(more="From: x@evil.example\r\n")
        for message in (sign(twice, Sign("visma.com", "s1")), sign(with_attachment(), Sign("visma.com", "s1"))):
            symbols = rspamd.check(message, PLATFORM, "noreply.opic@visma.com")["symbols"]
            assert "R_SPF_ALLOW" in symbols
            assert "PRATIQUE_VISMA_OPIC" not in symbols


def with_attachment() -> bytes:
    head, _, _ = notice().replace(b"text/plain", b"multipart/mixed; boundary=b").partition(b"\r\n\r\n")
    part = b"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf.exe\r\n\r\nMZ\r\n"
    return head + b"\r\n\r\n--b\r\n" + part + b"--b--\r\n"


def test_spamassassin_takes_it_and_judges_right(dns: DnsServer) -> None:
    with SpamAssassin(dns, {"pratique-senders.cf": shipped("spamassassin")}) as spamassassin:
        lint = spamassassin.run("--lint")
        assert (lint.returncode, lint.stderr) == (0, b"")
        for name in SENT if FULL else ("signed below", "by its host", "from elsewhere", "signed by the forger"):
            message, client, mail_from, by = SENT[name]  # a second each
            hits = spamassassin.tests(message, client, mail_from)
            welcome = {"dkim": {"USER_IN_DKIM_WELCOMELIST"}, "spf": {"USER_IN_SPF_WELCOMELIST"}, "": set()}[by]
            assert hits & {"USER_IN_DKIM_WELCOMELIST", "USER_IN_SPF_WELCOMELIST"} == welcome, name


AMAVIS = "$final_spam_destiny = D_REJECT;\n$spam_quarantine_method = undef;\n1;\n"
RULE = f"body TEST_SPAM /{SPAMMY}/\nscore TEST_SPAM 50\n"


def test_amavis_takes_it_and_judges_right(dns: DnsServer) -> None:
    files = {"50-test": AMAVIS, "60-pratique-senders": shipped("amavis")}
    with Postfix() as postfix, Amavis(dns, files, {"test.cf": RULE}, postfix.port) as amavis:
        test = amavis.config_test()
        assert (test.returncode, test.stdout) == (0, b"")
        for name, (message, _, mail_from, by) in SENT.items():
            with amavis.connect() as connection:
                reply = connection.message(message, mail_from, [BOX])
            assert reply.code == (250 if by == "dkim" else 554), name

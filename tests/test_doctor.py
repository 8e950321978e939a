"""`pratique doctor` on a real DNS server: healthy, careless and broken domains, with and without a log."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.flags as dns_flags
import dns.message as dns_message
import pytest
from dns.rdatatype import TXT
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from pratique import logbook, record
from pratique.advice import Facts, Level, advise
from pratique.authentication import published, spf_survey
from pratique.claims import find_claim
from pratique.cli.doctor import examine, in_words
from pratique.expiry import expiring, expiry_warnings
from pratique.logbook import Seen
from pratique.model import (
    Action,
    Decision,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    Header,
    Mode,
    Require,
    Session,
    Settings,
    SpfEvidence,
    SpfResult,
    TrustedList,
    Verdict,
)
from pratique.reasons import Reason
from pratique.resolver import Lookups, ZoneResolver
from pratique.resolver.probe import measure

from harness.dns_server import DnsServer
from harness.lying_dns import Behaviour, LyingDns, reply
from harness.service import PROGRAM, Service
from harness.signing import key_record

TODAY = datetime.now(UTC).date()


def txt(name: str, text: str) -> str:
    parts = " ".join(f'"{text[i : i + 250]}"' for i in range(0, len(text), 250))
    return f"{name} TXT {parts}\n"


ELEVEN = " ".join(f"include:n{n}.eleven.example" for n in range(11))
ZONE = "".join(
    [
        # healthy
        txt("healthy.example", "v=spf1 ip4:192.168.7.0/28 ip6:2001:db8:7::/64 include:hosts.healthy.example -all"),
        txt("hosts.healthy.example", "v=spf1 a:mx.healthy.example -all"),
        "mx.healthy.example A 192.168.8.1\nmx.healthy.example AAAA 2001:db8:8::1\n",
        txt("s1._domainkey.healthy.example", key_record("rsa2048")),
        txt("s2._domainkey.healthy.example", key_record("ed25519a")),
        txt("_dmarc.healthy.example", "v=DMARC1; p=reject"),
        # careless
        txt("shared.example", "v=spf1 include:spf.protection.outlook.com ~all"),
        txt("spf.protection.outlook.com", "v=spf1 ip4:40.92.0.0/15 -all"),
        txt("s1._domainkey.shared.example", key_record("rsa2048")),
        txt("_dmarc.shared.example", "v=DMARC1; p=none"),
        txt("wide.example", "v=spf1 ip4:192.0.0.0/8 -all"),
        txt("open.example", "v=spf1 ip4:192.168.7.1 +all"),
        txt("s1._domainkey.weak.example", key_record("rsa1024")),
        txt("weak.example", "v=spf1 ip4:192.168.7.1 -all"),
        "nothing.example A 192.168.7.1\n",
        "notices.nothing.example A 192.168.7.1\n",
        # broken
        txt("two.example", "v=spf1 -all"),
        txt("two.example", "v=spf1 ip4:192.168.7.1 -all"),
        txt("eleven.example", f"v=spf1 {ELEVEN} -all"),
        *(txt(f"n{n}.eleven.example", f"v=spf1 ip4:192.168.{n}.1 -all") for n in range(11)),
        txt("void.example", "v=spf1 a:x1.void.example a:x2.void.example a:x3.void.example ip4:192.168.7.1 -all"),
        txt("typo.example", "v=spf1 ipv4:192.168.7.1 -all"),
        txt("loop.example", "v=spf1 include:loop2.example -all"),
        txt("loop2.example", "v=spf1 include:loop.example -all"),
        txt("nobody.example", "v=spf1 -all"),
        txt("everybody.example", "v=spf1 +all"),
        txt("halves.example", "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"),
        txt("exists.example", "v=spf1 ip4:192.168.7.1 exists:mx.healthy.example -all"),
        txt("testmode._domainkey.keys.example", key_record("rsa2048", t="y")),
        txt("revoked._domainkey.keys.example", key_record("rsa2048", p="")),
        txt("short._domainkey.keys.example", key_record("rsa512")),
        ";servfail servfail.example\n;timeout timeout.example\n",
    ]
)


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


class Doctor:
    """Runs the command on one entry."""

    def __init__(self, folder: Path, dns: DnsServer) -> None:
        self.folder = folder
        (folder / "pratique.yaml").write_text(f'dns: {{servers: ["{dns.address}"], timeout: 1s}}\n')

    def write(self, *domains: str, **keys: str) -> None:
        lines = ["senders:"]
        for domain in domains:
            lines += [f"  {domain.replace('.', '-')}:", f"    domain: {domain}", f"    addresses: [notices@{domain}]"]
            lines += [f"    {key}: {value}" for key, value in keys.items()]
        (self.folder / "trusted-senders.yaml").write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [PROGRAM, "doctor", "--config", self.folder / "pratique.yaml", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)

    def entry(self, domain: str, *arguments: str, log: str = "", **keys: str) -> tuple[int, dict[str, Any]]:
        """Exit status and object of a list with this one entry."""
        self.write(domain, **keys)
        result = self.run("--json", *arguments, *(["--log", "-"] if log else []), given=log)
        assert result.stderr == "", result.stderr
        whole = json.loads(result.stdout)
        assert whole["status"] == result.returncode
        return result.returncode, whole["entries"][0]


@pytest.fixture
def doctor(tmp_path: Path, dns: DnsServer) -> Doctor:
    return Doctor(tmp_path, dns)


def texts(entry: dict[str, Any], level: str) -> str:
    return "\n".join(f"{f['about']}: {f['text']}" for f in entry["findings"] if f["level"] == level)


# ---- domains -----------------------------------------------------------------------------------------


def test_healthy(doctor: Doctor) -> None:
    status, entry = doctor.entry("healthy.example", selectors="[s1, s2]")
    assert (status, entry["level"]) == (0, "ok")
    assert entry["verdict"] == "its mail can be verified, by SPF or DKIM"
    told = texts(entry, "ok")
    assert "valid, 2 of 10 look-ups; 17 IPv4 addresses and 2 IPv6 ranges may send; others fail" in told
    assert "s1 of healthy.example: rsa, 2048 bits" in told
    assert "s2 of healthy.example: ed25519, 256 bits" in told
    assert "forged mail is to be met with reject" in told
    assert entry["spf"][0]["networks"] == [
        "192.168.7.0/28", "192.168.8.1/32", "2001:db8:7::/64", "2001:db8:8::1/128",
    ]  # fmt: skip
    assert entry["spf"][0]["lookups"] == ["include:hosts.healthy.example", "a:mx.healthy.example"]
    assert entry["spf"][0]["strangers"] == []
    assert entry["log"] is None


@pytest.mark.parametrize(
    ("domain", "keys", "warning"),
    [
        (
            "shared.example",
            {"selectors": "[s1]"},
            "any customer of Microsoft 365 that sends with a MAIL FROM of shared.example",
        ),
        ("wide.example", {}, "the record of wide.example lets all of 192.0.0.0/8 send (16,777,216 addresses)"),
        ("wide.example", {}, "an unrelated address would pass, and count: 192.0.2.1 by `ip4:192.0.0.0/8`"),
        (
            "open.example",
            {},
            "`+all` in the record of open.example lets everybody send (a pass by it does not count here)",
        ),
        (
            "exists.example",
            {},
            "an unrelated address would pass, though it would not count here: 192.0.2.1 by `exists:",
        ),
        ("weak.example", {"selectors": "[s1]"}, "s1 of weak.example: rsa, 1024 bits: weak, though it counts"),
        ("weak.example", {"selectors": "[s1, s9]"}, "s9 of weak.example: key-missing"),
        (
            "healthy.example",
            {"expires": str(TODAY + timedelta(days=3))},
            "healthy-example (no owner is named) expires on",
        ),
    ],
)
def test_careless(doctor: Doctor, domain: str, keys: dict[str, str], warning: str) -> None:
    status, entry = doctor.entry(domain, **keys)
    assert (status, entry["level"]) == (1, "warning")
    assert warning in texts(entry, "warning")
    assert "can be verified" in entry["verdict"]


def test_what_does_not_matter_is_no_warning(doctor: Doctor) -> None:
    """Under `require: dkim` a careless SPF record opens nothing; ~all and p=none are the platform's own matter."""
    status, entry = doctor.entry("shared.example", selectors="[s1]", require="dkim")
    assert (status, texts(entry, "warning")) == (0, "")
    assert "Microsoft 365" in texts(entry, "ok")
    assert "others softfail" in texts(entry, "ok")
    assert "p=none" in texts(entry, "ok")


@pytest.mark.parametrize(
    ("domain", "keys", "text"),
    [
        ("nothing.example", {}, "nothing.example has no SPF record"),
        ("two.example", {}, "Two or more type TXT spf records found"),
        (
            "eleven.example",
            {},
            "Too many DNS lookups (for a client with an IPv4 address); look-ups: include:n0.eleven.example, ",
        ),
        (
            "void.example",
            {},
            "Void lookup limit of 2 exceeded (for a client with an IPv4 address); names that do not exist: A x1",
        ),
        ("typo.example", {}, "Unknown mechanism found: ipv4:192.168.7.1"),
        ("loop.example", {}, "Too many DNS lookups"),
        ("nobody.example", {}, "the record lets nobody send in a way that counts"),
        ("halves.example", {}, "the record lets nobody send in a way that counts"),
        ("everybody.example", {}, "the record lets nobody send in a way that counts"),
        ("keys.example", {"require": "dkim", "selectors": "[gone]"}, "gone of keys.example: key-missing"),
        ("keys.example", {"require": "dkim", "selectors": "[testmode]"}, "testmode of keys.example: key-test-mode"),
        ("keys.example", {"require": "dkim", "selectors": "[revoked]"}, "revoked of keys.example: key-revoked"),
        ("keys.example", {"require": "dkim", "selectors": "[short]"}, "short of keys.example: key-too-short"),
        ("keys.example", {"require": "any", "selectors": "[short]"}, "short of keys.example: key-too-short"),
    ],
)
def test_broken(doctor: Doctor, domain: str, keys: dict[str, str], text: str) -> None:
    status, entry = doctor.entry(domain, **({"require": "spf"} | keys))
    assert (status, entry["level"]) == (2, "broken")
    assert text in texts(entry, "warning")
    assert "cannot be verified today" in entry["verdict"]


def test_the_eleventh_look_up_is_named(doctor: Doctor) -> None:
    _, entry = doctor.entry("eleven.example")
    assert entry["spf"][0]["lookups"] == [f"include:n{n}.eleven.example" for n in range(11)]


def test_expired_is_broken(doctor: Doctor) -> None:
    status, entry = doctor.entry("healthy.example", selectors="[s1]", expires="2020-01-31", owner="J. Doe")
    assert status == 2
    assert "healthy-example (owner: J. Doe) expired on 2020-01-31: its mail is no longer verified" in texts(
        entry, "broken"
    )


def test_what_nobody_can_know(doctor: Doctor) -> None:
    """Without SPF and without a known selector, DKIM may still prove the mail: no alarm, no all-clear."""
    status, entry = doctor.entry("nothing.example")
    assert (status, entry["level"]) == (1, "warning")
    assert "rests on DKIM keys that nobody has named" in entry["verdict"]


@pytest.mark.parametrize(
    ("domain", "keys"),
    [
        ("servfail.example", {"require": "spf"}),
        ("servfail.example", {"require": "dkim", "selectors": "[s1]"}),
        ("servfail.example", {}),
        ("timeout.example", {}),
    ],
)
def test_dns_does_not_answer(doctor: Doctor, domain: str, keys: dict[str, str]) -> None:
    status, entry = doctor.entry(domain, **keys)
    assert (status, entry["level"]) == (75, "unanswered")
    assert entry["verdict"] == "cannot be told: DNS did not answer; ask again"
    assert "DNS did not answer" in texts(entry, "unanswered")


def test_the_worst_entry_gives_the_status(doctor: Doctor) -> None:
    doctor.write("healthy.example", "servfail.example", "nobody.example", selectors="[s1]")
    assert doctor.run().returncode == 2
    assert doctor.run("healthy-example").returncode == 0
    assert doctor.run("healthy-example", "servfail-example").returncode == 75


def test_in_words(doctor: Doctor) -> None:
    doctor.write("healthy.example", "wide.example")
    result = doctor.run("wide-example")
    assert result.returncode == 1
    assert result.stderr == ""
    assert "healthy" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[:2] == ["wide-example  wide-example", "  warning    its mail can be verified, by SPF"]
    assert (
        "  spf        warning: wide.example: an unrelated address would pass, and count: 192.0.2.1 by" in result.stdout
    )
    assert "               -> `require: dkim` would close this, if all its mail is signed" in result.stdout
    assert "  through    healthy.example: include:hosts.healthy.example" in doctor.run("healthy-example").stdout


def test_unknown_id_and_log(doctor: Doctor) -> None:
    doctor.write("healthy.example")
    result = doctor.run("nobody")
    assert (result.returncode, result.stdout) == (64, "")
    assert result.stderr == "pratique: nobody: no such trusted sender; there are healthy-example\n"
    result = doctor.run("--log", "/nonexistent")
    assert (result.returncode, result.stdout) == (65, "")
    assert "/nonexistent: cannot read the log: No such file" in result.stderr


def test_zone_file(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "zone").write_text(txt("nobody.example", "v=spf1 ip4:192.168.9.9 -all"))
    status, entry = doctor.entry("nobody.example", "--zone", str(tmp_path / "zone"), require="spf")
    assert status == 0
    assert entry["spf"][0]["networks"] == ["192.168.9.9/32"]


def test_hostile_dns_does_not_reach_the_terminal(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "zone").write_text('nobody.example TXT "v=spf1 include:\\027[31m.x -all"\n')
    doctor.write("nobody.example")
    assert "\x1b" not in doctor.run("--zone", str(tmp_path / "zone")).stdout


def test_a_progress_bar_on_a_terminal_and_only_where_it_takes_long(doctor: Doctor) -> None:
    ours, theirs = pty.openpty()
    for domain, shown in (("timeout.example", True), ("healthy.example", False)):
        doctor.write(domain)
        command: list[str | Path] = [PROGRAM, "doctor", "--config", doctor.folder / "pratique.yaml"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
        subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False, env=environment)
        os.write(theirs, b"END")
        seen = b""
        while not seen.endswith(b"END"):
            seen += os.read(ours, 65536)
        assert (b"asking DNS" in seen) is shown


# ---- the log -----------------------------------------------------------------------------------------

ENTRY = Entry("healthy-example", "H", "healthy.example", (("notices", "healthy.example"),))


def line(number: int, day: date, verdict: str = "verified", **more: str) -> str:
    """A line as the service writes it and journalctl prints it."""
    fields = {"verdict": verdict, "action": "tag", "sender": "healthy-example"} | {
        key.replace("_", "-" if key == "message_id" else "."): value for key, value in more.items()
    }
    fields.setdefault("message-id", f"<{number}@healthy.example>")
    text = record.logfmt(f"Q{number}", fields)
    return f"{day}T10:00:00+0100 mx1 pratique[12]: {text}\n"


SIGNED = {
    "by": "dkim+spf",
    "spf": "pass",
    "spf_domain": "healthy.example",
    "dkim": "pass",
    "dkim_domain": "healthy.example",
    "dkim_selector": "s1",
}
UNSIGNED = {"by": "spf", "spf": "pass", "spf_domain": "healthy.example", "dkim": "none"}


def month(count: int = 40, **fields: str) -> str:
    return "".join(line(n, TODAY - timedelta(days=30 - n % 30), **(fields or SIGNED)) for n in range(count))


def test_the_log_carries_a_stricter_requirement(doctor: Doctor) -> None:
    status, entry = doctor.entry("healthy.example", log=month())
    assert status == 0
    assert entry["recommended"] == "dkim"
    first = TODAY - timedelta(days=30)
    assert f"`require: dkim` is safe: all 40 messages seen since {first} were signed" in texts(entry, "ok")
    assert entry["log"]["verified"] == entry["log"]["signed"] == 40
    assert [key["selector"] for key in entry["dkim"]] == ["s1"]


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (month() + line(90, TODAY, **UNSIGNED), "is not safe: 1 of 41 messages"),
        (month(19), "19 messages in 19 days are too few"),
        ("".join(line(n, TODAY, **SIGNED) for n in range(40)), "40 messages in 1 day are too few"),
        (month().replace(str(TODAY.year), "2020").replace(str(TODAY.year - 1), "2019"), "the last message in the log"),
        ("".join(row.partition(": ")[2] + "\n" for row in month().splitlines()), "the log has no dates"),
        (month() + line(91, TODAY, "undetermined", dkim="none"), "1 messages could not be judged"),
        (
            month(40, **(SIGNED | {"dkim_selector": "gone"})),
            "the key that signed the last message is not there any more",
        ),
        (line(1, TODAY, **SIGNED) * 40, "1 message in 1 day are too few"),
    ],
)
def test_the_log_does_not_carry_it(doctor: Doctor, log: str, why: str) -> None:
    _, entry = doctor.entry("healthy.example", log=log)
    assert entry["recommended"] is None
    assert why in texts(entry, "ok") + texts(entry, "warning")
    assert "is safe:" not in json.dumps(entry)


def test_a_deferred_message_that_came_again_is_no_doubt(doctor: Doctor) -> None:
    log = line(7, TODAY - timedelta(days=20), "undetermined", dkim="none") + month()
    _, entry = doctor.entry("healthy.example", log=log)
    assert entry["recommended"] == "dkim"
    assert entry["log"]["undetermined"] == 0


def test_forgeries_in_the_log_tell_nothing_of_the_platform(doctor: Doctor) -> None:
    forged = "".join(
        line(
            n,
            TODAY,
            "unverified",
            reason="key-missing",
            dkim="permerror",
            dkim_domain="healthy.example",
            dkim_selector="evil",
        )
        for n in range(100)
    )
    _, entry = doctor.entry("healthy.example", log=month() + forged)
    assert entry["recommended"] == "dkim"
    assert [key["selector"] for key in entry["dkim"]] == ["s1"]
    assert entry["log"]["reasons"] == {"key-missing": 100}


def test_mail_from_domains_come_from_the_log(doctor: Doctor) -> None:
    log = month(40, **(UNSIGNED | {"spf_domain": "hosts.healthy.example"}))
    _, entry = doctor.entry("healthy.example", log=log)
    assert [survey["domain"] for survey in entry["spf"]] == ["hosts.healthy.example", "healthy.example"]


def test_only_forgeries_and_missed_requirements_are_warnings(doctor: Doctor) -> None:
    log = line(1, TODAY, "unverified", reason="no-aligned-pass")
    status, entry = doctor.entry("healthy.example", log=log, selectors="[s1]")
    assert status == 1
    assert "nothing in the log proved to come from it" in texts(entry, "warning")
    log = line(1, TODAY, "unverified", reason="requirement-not-met") + month()
    status, entry = doctor.entry("healthy.example", log=log, selectors="[s1]", require="dkim")
    assert "1 messages proved to come from it, but not as `require: dkim` asks" in texts(entry, "warning")


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "<6>",
        "2026-11-22T05:20:00+0100 mx1 pratique[7]: ",
        "2026-11-22T05:20:00.123456+01:00 mx1 pratique[7]: <6>",
        "Nov 22 05:20:00 mx1 pratique[7]: ",
        "Nov  2 05:20:00 mx1 pratique@a[7]: ",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_prefixes(prefix: str, as_json: bool) -> None:
    fields = {"verdict": "verified", "sender": "x", "message-id": 'a "quoted" é one', "rcpts": "2"}
    text = record.as_json("Q", fields) if as_json else record.logfmt("Q 1", fields)
    found = logbook.parse(prefix + text + "\n", date(2026, 11, 25))
    assert found is not None
    assert {key: found.fields[key] for key in ("verdict", "sender", "message-id")} == {
        key: fields[key] for key in ("verdict", "sender", "message-id")
    }
    day = found.day and (found.day.year, found.day.month)
    assert day == ((2026, 11) if len(prefix) > 5 else None)


def test_a_syslog_date_is_never_in_the_future() -> None:
    text = "Dec 24 05:20:00 mx1 pratique[7]: Q1: verdict=verified sender=x"
    found = logbook.parse(text, date(2027, 1, 5))
    assert found is not None
    assert found.day == date(2026, 12, 24)


@pytest.mark.parametrize(
    "text",
    [
        "Nov 22 05:20:00 mx1 postfix/cleanup[7]: warning: header Subject: Q1: verdict=verified sender=x dkim=pass",
        "Nov 22 05:20:00 mx1 postfix/cleanup[7]: Q1: verdict=verified sender=x dkim=pass",
        "x Q1: verdict=verified sender=x",
        "Q1: verdict=verified sender=x and more",
        "Q1: verdict=verified sender=x sender=y",
        'Q1: verdict=verified sender="x',
        "Q1: sender=x verdict=verified",
        '{"verdict": "verified", "sender": "x"}',
        '{"queue-id": "Q", "verdict": ["verified"]}',
        "{",
        "[" * 100_000,
        "",
    ],
)
def test_lines_of_others_are_passed_over(text: str) -> None:
    assert logbook.parse(text, TODAY) is None


@given(st.text(max_size=80) | st.text(alphabet='a=" :{}[]verdict\n\\', max_size=80))
def test_hostile_log_lines_never_crash(text: str) -> None:
    logbook.read([text, f"Q1: verdict={text}", f"{{{text}"], TODAY)


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_the_service_writes_is_read_again(helo: str, message_id: str) -> None:
    entry = Entry("x", "X", "x.example", (("a", "x.example"),))
    decision = Decision(
        Verdict.VERIFIED, Action.TAG, "x", ("dkim",),
        evidence=Evidence((DkimEvidence(DkimResult.PASS, "x.example", "s1", counts=True),), SpfEvidence()),
        claim=find_claim(Header(()), TrustedList((entry,)), Settings().limits, frozenset()),
    )  # fmt: skip
    session = Session(None, helo, message_id)
    fields = record.fields(decision, session, Header(()), 1, Mode.ENFORCE)
    for text in (record.logfmt(helo, fields), record.as_json(helo, fields)):
        found = logbook.parse(text, TODAY)
        assert found is not None
        assert found.fields["dkim.selector"] == "s1"
        assert found.fields.get("helo") == fields.get("helo")


# ---- advice and expiry -------------------------------------------------------------------------------


@given(
    st.sampled_from(Require),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 40),
    st.booleans(),
    st.integers(0, 3),
)
def test_nothing_is_recommended_that_the_log_does_not_carry(
    require: Require, verified: int, unsigned: int, days: int, usable: bool, undetermined: int
) -> None:
    entry = Entry("x", "X", "x.example", (("a", "x.example"),), require)
    seen = Seen(verified=verified, signed=max(verified - unsigned, 0), keys={("x.example", "s1"): TODAY})
    seen._open = set(map(str, range(undetermined)))
    if verified:
        seen.first, seen.last = TODAY - timedelta(days=days), TODAY
    key = DkimEvidence(DkimResult.PASS, "x.example", "s1", counts=usable)
    advice = advise(Facts(entry, keys=(key,), seen=seen), TODAY)
    safe = verified >= 20 and not unsigned and days >= 14 and usable and not undetermined
    assert (advice.recommended is Require.DKIM) == (safe and require in (Require.ANY, Require.SPF))
    assert any("is safe:" in finding.text for finding in advice.findings) == (advice.recommended is not None)


def test_a_record_that_includes_itself_ends() -> None:
    zone = txt("a.example", "v=spf1 " + " ".join(f"include:a{n}.example" for n in range(9)))
    zone += "".join(txt(f"a{n}.example", "v=spf1 include:b.example include:a.example -all") for n in range(9))
    zone += txt("b.example", "v=spf1 -all")
    survey = spf_survey.survey("a.example", ENTRY, Lookups(ZoneResolver(zone), 30))
    assert survey.result is SpfResult.PERMERROR
    assert len(survey.lookups) <= 40


# ---- DMARC -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "policy", "at"),
    [
        ({"a.b.co.uk": "p=reject"}, "reject", "a.b.co.uk"),
        ({"a.b.co.uk": "p=reject; sp=none; np=none"}, "reject", "a.b.co.uk"),
        ({"b.co.uk": "p=reject; sp=none"}, "none", "b.co.uk"),
        ({"b.co.uk": "p=quarantine"}, "quarantine", "b.co.uk"),
        # no list of public suffixes: the fewest labels, unless psd= says more
        ({"co.uk": "p=reject"}, "reject", "co.uk"),
        ({"b.co.uk": "p=none", "co.uk": "p=reject"}, "reject", "co.uk"),
        ({"b.co.uk": "p=none", "co.uk": "p=reject; psd=y"}, "none", "b.co.uk"),
        ({"b.co.uk": "p=none; psd=n", "co.uk": "p=reject"}, "none", "b.co.uk"),
        ({"co.uk": "p=reject; psd=y; np=none"}, "reject", "co.uk"),
        ({"b.co.uk": "p=none; psd=y", "uk": "p=reject"}, "none", "b.co.uk"),
        ({"b.co.uk": "p=reject; psd=u", "uk": "p=none; psd=Y"}, "none", "uk"),
        # tags
        ({"a.b.co.uk": "t=y; p=reject"}, "reject", "a.b.co.uk"),
        ({"a.b.co.uk": " p = Reject ;; sp=none;"}, "reject", "a.b.co.uk"),
        ({"a.b.co.uk": "unknown=1; p=reject; oops; p=none"}, "reject", "a.b.co.uk"),
        ({"a.b.co.uk": "P=reject; rua=mailto:d@b.co.uk"}, "none", "a.b.co.uk"),
        ({"a.b.co.uk": "p=x; rua=mailto:d@b.co.uk"}, "none", "a.b.co.uk"),
        ({"a.b.co.uk": "p=reject; sp=x; rua=mailto:d@b.co.uk"}, "none", "a.b.co.uk"),
        ({"a.b.co.uk": "p=x", "b.co.uk": "p=reject"}, None, "a.b.co.uk"),
        ({"a.b.co.uk": "rua=nonsense"}, None, "a.b.co.uk"),
        ({}, None, ""),
    ],
)
def test_dmarc(records: dict[str, str], policy: str | None, at: str) -> None:
    """RFC 9989 §4.10.1: which record of the tree walk applies, and what it says."""
    zone = "a.b.co.uk A 192.168.7.1\n"
    zone += "".join(txt(f"_dmarc.{domain}", f"v=DMARC1; {text}") for domain, text in records.items())
    found = published.dmarc("a.b.co.uk", Lookups(ZoneResolver(zone), 5))
    assert (found.policy, found.at) == (policy, at)
    assert bool(found.problem) == (found.policy is None and bool(records)) or "rua=mailto" in str(records)


@pytest.mark.parametrize(("text", "policy"), [("np=reject; p=none", "reject"), ("sp=quarantine; p=none", "quarantine")])
def test_dmarc_of_a_domain_that_does_not_exist(text: str, policy: str) -> None:
    zone = txt("_dmarc.example", f"v=DMARC1; {text}") + "there.example A 192.168.7.1\n"
    assert published.dmarc("gone.example", Lookups(ZoneResolver(zone), 5)).policy == policy
    there = "none" if "np=" in text else policy
    assert published.dmarc("there.example", Lookups(ZoneResolver(zone), 5)).policy == there


@pytest.mark.parametrize(
    "record", ["p=reject; v=DMARC1", "v=DMARC10; p=reject", "v=dmarc1; p=reject", "v=DMARC1 p=reject", "v=spf1 -all"]
)
def test_what_is_no_dmarc_record(record: str) -> None:
    found = published.dmarc("a.example", Lookups(ZoneResolver(txt("_dmarc.a.example", record)), 5))
    assert (found.policy, found.problem) == (None, "")


def test_several_dmarc_records_are_none_and_the_walk_goes_on() -> None:
    zone = txt("_dmarc.a.example", "v=DMARC1; p=none") + txt("_dmarc.a.example", "v=DMARC1; p=reject")
    found = published.dmarc("a.example", Lookups(ZoneResolver(zone), 5))
    assert found.policy is None
    assert "several" in found.problem
    zone += txt("_dmarc.example", "v=DMARC1; p=quarantine")
    assert published.dmarc("a.example", Lookups(ZoneResolver(zone), 5)).policy == "quarantine"


def test_the_tree_walk_is_that_of_the_rfc() -> None:
    """The example of RFC 9989 §4.10, and shorter ones."""
    assert published.walk("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com",
        "i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com",
    ]  # fmt: skip
    assert published.walk("a.mail.example.com") == ["a.mail.example.com", "mail.example.com", "example.com", "com"]
    assert published.walk("com") == ["com"]
    for count in range(1, 20):
        names = published.walk(".".join(f"l{n}" for n in range(count)))
        assert len(names) == min(count, 8)


def test_dmarc_without_an_answer() -> None:
    """Of the domain itself: nothing is known. Above it: what stands lower holds."""
    record = txt("_dmarc.b.example", "v=DMARC1; p=reject")
    for failing, expected in (
        ("_dmarc.a.b.example", (True, None)),
        ("_dmarc.example", (False, "reject")),
    ):
        found = published.dmarc("a.b.example", Lookups(ZoneResolver(f";servfail {failing}\n{record}"), 5))
        assert (found.failed, found.policy) == expected
    found = published.dmarc("a.b.example", Lookups(ZoneResolver(";servfail _dmarc.example\n"), 5))
    assert (found.failed, found.policy, found.problem) == (False, None, "DNS did not answer for _dmarc.example")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("p=reject", "forged mail is to be met with reject"),
        ("p=reject; t=y", "forged mail is to be met with quarantine (p=reject in DMARC's test mode, t=y)"),
        ("p=quarantine; t=y", "p=none (p=quarantine in DMARC's test mode, t=y): other receivers are not asked"),
        ("p=none; t=y", "p=none: other receivers are not asked"),
        ("p=reject; pct=5", "met with reject; pct= is ignored: DMARC has it no more (RFC 9989)"),
        ("p=x", "the record has p=x, which is no policy: receivers ignore it"),
    ],
)
def test_dmarc_in_words(doctor: Doctor, tmp_path: Path, record: str, told: str) -> None:
    """Its test mode is not that of a DKIM key, and none of it touches a verdict."""
    zone = txt("nobody.example", "v=spf1 ip4:192.168.9.9 -all") + txt("_dmarc.nobody.example", f"v=DMARC1; {record}")
    (tmp_path / "zone").write_text(zone)
    status, entry = doctor.entry("nobody.example", "--zone", str(tmp_path / "zone"), require="spf")
    assert status == 0
    assert told in texts(entry, "ok")
    assert "key-test-mode" not in json.dumps(entry)


# ---- names that do not exist, servers that do not answer -----------------------------------------------


def test_a_domain_that_does_not_exist_is_broken(doctor: Doctor) -> None:
    status, entry = doctor.entry("gone-platform.example")
    assert (status, entry["level"]) == (2, "broken")
    text = "gone-platform.example does not exist: a typing error, or given up: remove the entry"
    assert entry["verdict"].startswith(text)
    assert entry["missing"] == ["gone-platform.example"]
    assert "SPF record" not in json.dumps(entry)
    assert "gone-platform.example does not exist (NXDOMAIN)" in texts(entry, "broken")


def test_a_signer_that_does_not_exist_is_a_warning(doctor: Doctor) -> None:
    status, entry = doctor.entry("healthy.example", selectors="[s1]", signers="[gone-signer.example]")
    assert (status, entry["missing"]) == (1, ["gone-signer.example"])
    assert "gone-signer.example does not exist (NXDOMAIN), so that it proves nothing" in texts(entry, "warning")


def servers(doctor: Doctor, *addresses: str, timeout: str = "5s") -> None:
    listed = ", ".join(f'"{address}"' for address in addresses)
    (doctor.folder / "pratique.yaml").write_text(f"dns: {{servers: [{listed}], timeout: {timeout}}}\n")


def test_a_silent_resolver_is_named_at_once(doctor: Doctor) -> None:
    """However many entries there are."""
    with LyingDns() as silent:
        address = f"127.0.0.1:{silent.port}"
        servers(doctor, address, timeout="2s")
        doctor.write(*(f"entry{number}.example" for number in range(40)))
        started = time.monotonic()
        result = doctor.run()
        assert time.monotonic() - started < 15
        text = f"pratique: dns: {address} (from `dns: servers`) does not answer: nothing can be said of any entry\n"
        assert (result.returncode, result.stdout, result.stderr) == (75, "", text)
        assert {name for name, _, _ in silent.asked} <= {"", "."}
        result = doctor.run("--json")
        assert result.returncode == 75
        assert json.loads(result.stdout) == {"status": 75, "problem": text[10:-1], "entries": []}


def test_one_of_two_servers_is_silent(doctor: Doctor, dns: DnsServer) -> None:
    with LyingDns() as silent:
        servers(doctor, f"127.0.0.1:{silent.port}", dns.address, timeout="2s")
        doctor.write("healthy.example", selectors="[s1]")
        result = doctor.run()
    assert result.returncode == 0
    assert result.stderr == (
        f"pratique: warning: dns: 127.0.0.1:{silent.port} (from `dns: servers`) does not answer; the others do\n"
    )


def test_the_time_for_all_is_bounded(doctor: Doctor, dns: DnsServer) -> None:
    """Entries are examined side by side, and what DNS does not answer in time is `unanswered`."""
    servers(doctor, dns.address, timeout="3s")
    doctor.write("healthy.example", *(f"n{number}.timeout.example" for number in range(24)), selectors="[s1]")
    started = time.monotonic()
    result = doctor.run("--json", "--timeout", "6s")
    assert time.monotonic() - started < 20
    assert result.returncode == 75
    levels = [entry["level"] for entry in json.loads(result.stdout)["entries"]]
    assert levels[0] == "ok"
    assert set(levels[1:]) == {"unanswered"}
    assert "after 6 s no more was asked" in result.stderr


@pytest.mark.parametrize("given", ["0s", "soon", "-1s", "5h"])
def test_a_timeout_that_is_none(doctor: Doctor, given: str) -> None:
    doctor.write("healthy.example")
    result = doctor.run("--timeout", given)
    assert result.returncode == 64
    assert "is no time such as 30s or 2m" in result.stderr


def test_a_server_without_edns_is_told(doctor: Doctor) -> None:
    def answer(query: dns_message.Message) -> list[bytes]:
        if query.edns >= 0:
            return [reply(query, rcode="FORMERR")]
        return [reply(query, 'ris.hr 300 IN TXT "v=spf1 ip4:192.168.7.0/28 -all"')]

    with LyingDns(answer) as server:
        servers(doctor, f"127.0.0.1:{server.port}")
        doctor.write("ris.hr", require="spf")
        result = doctor.run()
    assert "refuses EDNS (FORMERR): an answer over 512 bytes must come over TCP" in result.stderr


# ---- how much stands at a name ---------------------------------------------------------------------------


def crowd(count: int) -> Behaviour:
    """SPF among many records: too many for UDP."""

    def answer(query: dns_message.Message) -> list[bytes]:
        name = query.question[0].name.to_text()
        if query.question[0].rdtype == TXT and name == "ris.hr.":
            texts = ['"v=spf1 ip4:192.168.7.0/28 -all"', *(f'"site-verification={n:040}"' for n in range(count))]
            return [reply(query, *(f"ris.hr 300 IN TXT {text}" for text in texts))]
        return [reply(query, authority=(". 300 IN SOA ns. mail. 1 2 3 4 5",))]

    return answer


def over_udp(whole: Behaviour) -> Behaviour:
    """The same, cut where UDP ends."""

    def answer(query: dns_message.Message) -> list[bytes]:
        (octets,) = whole(query)
        if len(octets) <= 1232:
            return [octets]
        cut = dns_message.make_response(query, recursion_available=True)
        cut.flags |= dns_flags.TC
        return [cut.to_wire()]

    return answer


def test_a_crowded_name(doctor: Doctor) -> None:
    with LyingDns(over_udp(crowd(40)), crowd(40)) as server:
        servers(doctor, f"127.0.0.1:{server.port}")
        status, entry = doctor.entry("ris.hr", require="spf")
    assert status == 0
    answer = entry["answers"][0]
    assert (answer["name"], answer["records"], answer["truncated"], answer["tcp"]) == ("ris.hr", 41, True, True)
    assert answer["octets"] > 2000
    told = f"ris.hr: 41 TXT records, {answer['octets']:,} bytes: too large for UDP; mail fails at receivers"
    assert told in texts(entry, "ok")


def test_a_crowded_name_without_tcp(doctor: Doctor) -> None:
    with LyingDns(over_udp(crowd(40)), lambda _: []) as server:
        servers(doctor, f"127.0.0.1:{server.port}", timeout="1s")
        doctor.write("ris.hr", require="spf", selectors="[s1]")
        result = doctor.run("--json")  # with a warning of the resolver on standard error
    status, entry = result.returncode, json.loads(result.stdout)["entries"][0]
    assert status == 75
    assert entry["level"] == "unanswered"
    told = "ris.hr: the answer is too large for UDP, and does not come over TCP: it cannot be read"
    assert told in texts(entry, "warning")


@pytest.mark.parametrize("drip", [0.3, 0.0])
def test_a_server_that_does_not_come_to_an_end(drip: float) -> None:
    """Octet by octet over TCP, or datagrams without end over UDP: the time is what was given."""

    def flood(query: dns_message.Message) -> Iterator[bytes]:
        for _ in range(2000):
            yield b"\0" * 12
            time.sleep(0.005)
        yield reply(query)

    with LyingDns(over_udp(crowd(40)) if drip else flood, crowd(40)) as server:
        server.drip = drip
        started = time.monotonic()
        found = measure(server.server, "ris.hr", "TXT", 1.5)
        assert time.monotonic() - started < 4
    assert (found.tcp, found.truncated) == ((False, True) if drip else (True, False))


def test_a_small_name(doctor: Doctor) -> None:
    _, entry = doctor.entry("healthy.example", selectors="[s1]")
    assert [a["name"] for a in entry["answers"]] == [
        "healthy.example", "hosts.healthy.example", "s1._domainkey.healthy.example",
    ]  # fmt: skip
    assert all(0 < a["octets"] < 1232 and a["records"] == 1 and not a["truncated"] for a in entry["answers"])
    assert "dns: healthy.example: 1 TXT record, " in texts(entry, "ok")


def test_a_record_by_which_the_service_verifies_nothing_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk of the record and the service's check must agree: where they do not, the check is right."""
    zone = txt("x.example", "v=spf1 ip4:192.168.7.0/28 ip6:2001:db8:7::/64 -all")
    entry = Entry("x", "X", "x.example", (("a", "x.example"),), Require.SPF)
    facts = examine(entry, ZoneResolver(zone), 5, None)
    assert advise(facts, TODAY).level is Level.OK

    def neutral(*_: object) -> SpfEvidence:
        return SpfEvidence(SpfResult.NEUTRAL, aligned=True, reason=Reason.SPF_NOT_PASS)

    monkeypatch.setattr("pratique.authentication.spf_check.check", neutral)
    advice = advise(examine(entry, ZoneResolver(zone), 5, None), TODAY)
    assert advice.level is Level.BROKEN
    text = "x.example: the record seems to let hosts send, but the service finds neutral for"
    assert any(text in finding.text for finding in advice.findings)


def test_expiry() -> None:
    today = date(2026, 11, 22)

    def entry(name: str, days: int | None, owner: str | None = None) -> Entry:
        end = None if days is None else today + timedelta(days=days)
        return Entry(name, name, "x.example", (("a", "x.example"),), expires=end, owner=owner)

    entries = (
        entry("never", None),
        entry("later", 31),
        entry("soon", 30, "J. Doe"),
        entry("now", 0),
        entry("over", -1),
    )
    assert [e.id for e in expiring(entries, today)] == ["over", "now", "soon"]
    assert expiry_warnings(Settings(TrustedList(entries)), today) == [
        "trusted sender over (no owner is named) expired on 2026-11-21: its mail is no longer verified",
        "trusted sender now (no owner is named) expires today: from the next day its mail is no longer verified",
        "trusted sender soon (owner: J. Doe) expires on 2026-12-22, in 30 days: from the next day its mail is no longer"
        " verified",
    ]


def test_the_service_imports_nothing_of_it() -> None:
    """What only people need costs memory in every worker (library-notes#python)."""
    people = ["rich", "ruamel.yaml", "pratique.advice", "pratique.logbook", "pratique.cli.doctor",
              "pratique.cli.catalogue", "pratique.authentication.published", "pratique.authentication.spf_survey",
              "pratique.config.insertion", "pratique.resolver.probe"]  # fmt: skip
    program = f"import sys, pratique.cli; print([m for m in {people} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_service_says_it_at_start(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    config = tmp_path / "pratique.yaml"
    config.write_text(f"socket: {address}\n")
    end = TODAY + timedelta(days=5)
    (tmp_path / "trusted-senders.yaml").write_text(
        f"senders:\n  x:\n    domain: x.example\n    addresses: [a@x.example]\n    owner: J. Doe\n    expires: {end}\n"
    )
    with Service(config, address) as service:
        assert f"trusted sender x (owner: J. Doe) expires on {end}, in " in service.log()


def test_the_readme_shows_what_is_printed() -> None:
    """The example of the page for the IT team, for that day."""
    today = date(2026, 11, 22)
    zone = txt("ris.hr", "v=spf1 ip4:192.168.7.0/28 include:hosts.ris.hr -all")
    zone += txt("hosts.ris.hr", "v=spf1 a:mx.ris.hr -all") + "mx.ris.hr A 192.168.8.1\n"
    zone += txt("s1._domainkey.ris.hr", key_record("rsa2048")) + txt("_dmarc.ris.hr", "v=DMARC1; p=reject")
    proven = {"by": "dkim+spf", "spf_domain": "ris.hr", "dkim": "pass", "dkim_domain": "ris.hr", "dkim_selector": "s1"}
    log = [
        line(n, today - timedelta(days=31 - n % 31), **(proven | {"by": "dkim"} if n < 2 else proven))
        for n in range(132)
    ]
    seen = logbook.read((row.replace("sender=healthy-example", "sender=ensolva") for row in log), today)
    entry = Entry("ensolva", "ENSOLVA eProcurement", "ris.hr", (("ensolva", "ris.hr"),), selectors=("s1",))
    facts = examine(entry, ZoneResolver(zone), 5, seen)
    printed = in_words(facts, advise(facts, today))
    assert "\n".join(f"    {row}" for row in printed) + "\n" in (ROOT / "README.md").read_text()


def test_levels_are_in_order() -> None:
    assert Level.OK < Level.WARNING < Level.UNANSWERED < Level.BROKEN

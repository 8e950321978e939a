"""The milter protocol, spoken to a real `pratique run`, with a real DNS server behind it."""

from __future__ import annotations

import io
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique import stored
from test_corpus import CASES, explain

from harness import corpus
from harness.corpus import Case
from harness.dns_server import DnsServer
from harness.milter_client import MilterClient, Outcome, Stage
from harness.service import Service
from harness.signing import Sign, sign

RESPONSES = {"reject": ("replycode", "550 5.7.1"), "defer": ("replycode", "451 4.7.1")}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    """All zones of the corpus."""
    with DnsServer(corpus.whole_zone(CASES)) as server:
        yield server


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def service(folder: Path, dns: DnsServer, case: Case, program: list[str | Path] | None = None) -> Service:
    """A service with the configuration of a case."""
    folder.mkdir(parents=True, exist_ok=True)
    address = f"unix:{folder}/milter.sock"
    settings = {"timeout": "3s"} | case.config.get("dns", {}) | {"servers": [dns.address]}
    config = corpus.write_config(
        folder, case, socket=address, dns=settings, log=case.config.get("log", {"level": "debug"})
    )
    return Service(config, address, *([program] if program else []))


def deliver(client: MilterClient, case: Case, queue_id: str = "4TEST", data: bytes | None = None) -> Outcome:
    """One message over a connection: the case's, or other data in its session."""
    source = io.BytesIO(case.present() if data is None else data)
    fields, beginning = stored.read_header(source)
    return client.message(
        fields,
        stored.read_body(source, beginning),
        mail_from=case.session["mail_from"],
        rcpts=case.session["rcpts"],
        queue_id=queue_id,
    )


def send(address: str, case: Case, queue_id: str = "4TEST") -> Outcome:
    """The case's message over a connection of its own."""
    with MilterClient(address) as client:
        client.connect(case.session["client"], helo=case.session["helo"])
        return deliver(client, case, queue_id)


def tag(outcome: Outcome) -> str:
    """The value of X-Trusted-Sender at the very top."""
    name, value = outcome.fields[0]
    assert name == b"X-Trusted-Sender"
    return value.decode().strip()


# ---- the corpus --------------------------------------------------------------------------------------


def groups() -> list[list[Case]]:
    """The cases by configuration, so that each configuration is started once."""
    by_config: dict[str, list[Case]] = {}
    for case in CASES:
        by_config.setdefault(json.dumps([case.config, case.senders], default=str), []).append(case)
    return list(by_config.values())


@pytest.mark.parametrize("cases", groups(), ids=lambda cases: f"{cases[0].name}+{len(cases) - 1}")
def test_filter_does_what_explain_says(cases: list[Case], dns: DnsServer, tmp_path: Path) -> None:
    with service(tmp_path / "service", dns, cases[0]) as running:
        for number, case in enumerate(cases):
            outcome = send(running.address, case, f"4Q{number}")
            folder = tmp_path / str(number)
            folder.mkdir()
            expected = explain(case, folder)
            assert not corpus.differences(case.expected, expected), case.proves
            response, reply = RESPONSES.get(expected["action"], ("continue", None))
            assert (outcome.response, (outcome.reply or "")[:9] or None) == (response, reply), case.name
            assert (outcome.quarantine is not None) == (expected["action"] == "quarantine"), case.name
            ops = {"insert": "insheader", "delete": "chgheader", "change": "chgheader"}
            wanted = [
                (ops[e["op"]], e["index"], e["name"].encode(), f" {e['value']}".encode() if e["value"] else b"")
                for e in expected["edits"]
            ]
            assert list(outcome.edits) == wanted, case.name
            line = running.log_lines(f"4Q{number}")[-1]
            assert f" verdict={expected['verdict']} " in line


# ---- one connection, many messages ---------------------------------------------------------------------


def test_messages_of_one_connection_do_not_mix(dns: DnsServer, tmp_path: Path) -> None:
    good, forged, news = named("dkim-relaxed"), named("no-dkim-unaligned"), named("unclaimed-newsletter")
    with service(tmp_path, dns, good) as running, MilterClient(running.address) as client:
        client.connect(good.session["client"], helo=good.session["helo"])
        fields, _ = stored.read_header(io.BytesIO(good.message))
        stages: list[Stage] = ["mail", "rcpt", "data", "header", "eoh", "body"]
        for turn, stage in enumerate(stages):
            assert tag(deliver(client, good, f"4A{turn}")).startswith("verified; sender=ternum-bfc; by=dkim;")
            client.abort_after(stage, fields, good.message.partition(b"\r\n\r\n")[2], auth="somebody")
            assert tag(deliver(client, forged, f"4B{turn}")).startswith("unverified; sender=ternum-bfc;")
            client.abort_after(stage, fields, b"another body\r\n")
            assert tag(deliver(client, news, f"4C{turn}")) == "unclaimed; host=mx1.example.org"


def test_dropped_connections_leave_the_service_well(dns: DnsServer, tmp_path: Path) -> None:
    good = named("dkim-relaxed")
    fields, _ = stored.read_header(io.BytesIO(good.message))
    with service(tmp_path, dns, good) as running:
        stages: list[Stage] = ["mail", "rcpt", "data", "header", "eoh", "body"]
        for stage in stages:
            client = MilterClient(running.address)
            client.connect()
            client.message(fields, b"text\r\n", until=stage)
            client.drop()
        assert tag(send(running.address, good)).startswith("verified;")
        assert "Traceback" not in running.log()


def test_authenticated_users_are_not_judged(dns: DnsServer, tmp_path: Path) -> None:
    with service(tmp_path, dns, named("dkim-relaxed")) as running, MilterClient(running.address) as client:
        client.connect("203.0.113.1")
        forged = [(b"X-Trusted-Sender", b" verified"), (b"From", b" nepasrepondre@ternum-bfc.fr")]
        outcome = client.message(forged, b"text\r\n", auth="somebody", queue_id="4AUTH")
        assert outcome.fields == ((b"From", b" nepasrepondre@ternum-bfc.fr"),)
        assert " verdict=unchecked action=none " in running.log_lines("4AUTH")[0]
        assert tag(client.message(forged, b"text\r\n", queue_id="4NEXT")).startswith("unverified;")


def test_client_without_address(dns: DnsServer, tmp_path: Path) -> None:
    with service(tmp_path, dns, named("dkim-relaxed")) as running, MilterClient(running.address) as client:
        client.connect(None)
        outcome = client.message([(b"From", b" nepasrepondre@ternum-bfc.fr")], b"", mail_from="x@spf-ip4.ternum-bfc.fr")
        assert tag(outcome).startswith("unverified;")


# ---- the body ------------------------------------------------------------------------------------------


def test_unclaimed_mail_is_skipped_and_asks_no_dns(dns: DnsServer, tmp_path: Path) -> None:
    news = named("unclaimed-newsletter")
    with service(tmp_path, dns, news) as running, MilterClient(running.address) as client:
        client.connect("203.0.113.1")
        before = len(dns.queries())
        outcome = client.message([(b"From", b" news@shop.example")], b"x" * 10_000_000, chunk=65535)
        assert tag(outcome).startswith("unclaimed;")
        assert outcome.body_sent == 65535
        assert len(dns.queries()) == before


def test_claimed_mail_without_aligned_signature_is_skipped(dns: DnsServer, tmp_path: Path) -> None:
    with service(tmp_path, dns, named("dkim-relaxed")) as running, MilterClient(running.address) as client:
        client.connect("203.0.113.1")
        outcome = client.message([(b"From", b" nepasrepondre@ternum-bfc.fr")], b"x" * 1_000_000)
        assert outcome.body_sent == 65535


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 64])
def test_the_body_may_be_cut_anywhere(cut: int, dns: DnsServer, tmp_path: Path) -> None:
    case = named("dkim-blanks-in-body")
    fields, _ = stored.read_header(io.BytesIO(case.message))
    body = case.message.partition(b"\r\n\r\n")[2]
    with service(tmp_path, dns, case) as running, MilterClient(running.address) as client:
        client.connect()
        assert tag(client.message(fields, body, chunk=cut)).startswith("verified;")


def test_a_body_of_200_mb_is_never_held(dns: DnsServer, tmp_path: Path) -> None:
    line = b"Piece jointe   " + b"x" * 60 + b" \r\n"
    body = line * (200_000_000 // len(line))
    head = b"From: nepasrepondre@ternum-bfc.fr\r\nSubject: gros\r\n"
    signed = sign(head + b"\r\n" + body, Sign(selector="dkim-relaxed", signed=("From", "Subject")))
    fields, _ = stored.read_header(io.BytesIO(signed))
    with service(tmp_path, dns, named("dkim-relaxed")) as running, MilterClient(running.address, 120) as client:
        client.connect()
        outcome = client.message(fields, body)
        assert tag(outcome).startswith("verified; sender=ternum-bfc; by=dkim")
        assert outcome.body_sent == len(body)
        status = Path(f"/proc/{running.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]
        assert peak < 100_000, f"{peak} kB"


# ---- what fails in us ----------------------------------------------------------------------------------

BROKEN = """
    import sys
    import pratique.{module} as module
    from pratique import cli
    owner, name = {owner}, "{name}"
    genuine = getattr(owner, name)
    calls = []
    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("broken on\\npurpose: verdict=verified")
        return genuine(*args, **kwargs)
    setattr(owner, name, broken)
    sys.argv[0] = "pratique"
    cli.main()
"""


@pytest.mark.parametrize(
    ("module", "owner", "name", "verdict"),
    [
        ("headers", "module.HeaderCollector", "add", "undetermined"),
        ("examine", "module", "find_claim", "undetermined"),
        ("policy", "module", "decide", "undetermined"),
        ("authentication.spf_check", "module", "check", "undetermined"),
        ("authentication.body", "module.BodyHashes", "update", "undetermined"),
        ("headers", "module", "insertions", "undetermined"),
        ("filter", "module.Filter", "_edit", None),
        ("record", "module", "fields", None),
    ],
)
def test_an_error_of_ours(
    module: str, owner: str, name: str, verdict: str | None, dns: DnsServer, tmp_path: Path
) -> None:
    """In judging: undetermined. In applying: 451. Either way a traceback, and the next message is judged."""
    good = named("dkim-relaxed")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(BROKEN).format(module=module, owner=owner, name=name))
    with service(tmp_path, dns, good, [sys.executable, program]) as running:
        with MilterClient(running.address) as client:
            client.connect()
            outcome = deliver(client, good, "4BROKEN")
            if verdict:
                assert tag(outcome) == f"{verdict}; reason=internal-error; host=mx1.example.org"
            else:
                assert (outcome.response, outcome.stage) == ("tempfail", "eom")
            assert tag(deliver(client, good, "4NEXT")).startswith("verified; sender=ternum-bfc; by=dkim;")
        log = running.log().splitlines()
        assert any(line.startswith("4BROKEN: cannot ") for line in log)
        assert any(line.startswith("  | Traceback") for line in log)
        assert not any(line.startswith("purpose") for line in log)

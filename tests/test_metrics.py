"""What Prometheus sees of a real service, and what is made of it: the rules for alerts, and the dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from conftest import ROOT
from pratique.model import DEFAULT_ACTIONS, Action, Entry, Mode, Settings, TrustedList, Verdict
from pratique.service import zeros
from test_service import configured, running, send, write_list

from harness.ports import free_port, unpacked, wait_until
from harness.service import PROGRAM

MONITORING = ROOT / "config" / "monitoring"


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What promtool says; it must be content."""
    program = unpacked("prometheus", "usr/bin/promtool")
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Scraped:
    """A service with metrics."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "run").mkdir()
        self.service = running(
            folder,
            workers=3,
            metrics={"listen": f"127.0.0.1:{self.port}"},
            environment={"RUNTIME_DIRECTORY": str(folder / "run")},
        )

    def text(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def counted(self) -> dict[str, float]:
        """The messages by action, sender and verdict, where there was one."""
        return {labels: value for labels, value in self.values("pratique_messages_total").items() if value}

    def values(self, name: str) -> dict[str, float]:
        """By the values of all labels, in the order of their names."""
        return {
            ",".join(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name
        }


def test_all_workers_are_summed_and_no_counter_ever_falls(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path)
    with scraped.service as service:
        imitations = "tag,first,imitation"
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send, [service.address] * 30))
        assert wait_until(lambda: scraped.counted() == {imitations: 30}, 5)
        assert scraped.values("pratique_check_duration_seconds_count")[""] == 30
        write_list(tmp_path, "second")
        for _ in range(7):
            assert service.reload("--wait").returncode == 0
        victim = service.children()[0]
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: victim not in service.children(), 10)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send, [service.address] * 10))
        expected = {imitations: 30, "tag,second,imitation": 10}
        assert wait_until(lambda: scraped.counted() == expected, 5)
        # Slots have files, not processes: there were 25, and never more than five generations at a time.
        assert len(list((tmp_path / "run").glob("metrics-*/counter_*.db"))) <= 15
        service.signal(signal.SIGTERM)
        assert service.wait(20) == 0
        assert list((tmp_path / "run").iterdir()) == []


def test_what_the_parent_knows_and_what_is_said_of_it(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path)
    with scraped.service as service:
        assert wait_until(lambda: scraped.values("pratique_workers") == {"": 3}, 10)
        assert scraped.values("pratique_last_reload_success") == {"": 1}
        assert scraped.values("pratique_build_info") == {"0.1.0": 1}
        (tmp_path / "trusted-senders.yaml").write_text("no list")
        assert service.reload("--wait").returncode == 78
        assert wait_until(lambda: scraped.values("pratique_last_reload_success") == {"": 0}, 10)
        assert scraped.values("pratique_generation") == {"": 1}
        exporter = max(service.children())  # the last that was forked
        worker = min(service.children())
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: scraped.values("pratique_worker_restarts_total") == {"": 1}, 10)
        send(service.address)
        promtool("check", "metrics", given=scraped.text())
        os.kill(exporter, signal.SIGKILL)
        assert wait_until(lambda: exporter not in service.children(), 10)
        assert send(service.address).startswith("imitation")
        assert wait_until(lambda: len(service.children()) == 4, 20)
        assert scraped.values("pratique_workers") is not None


def test_who_connects_and_says_nothing_keeps_nobody_waiting(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path)
    with scraped.service, socket.create_connection(("127.0.0.1", scraped.port)) as silent:
        silent.sendall(b"GET /metrics HT")
        assert "pratique_workers" in scraped.text()


@pytest.mark.parametrize("taken", ["port", "address"])
def test_a_port_that_cannot_be_had(taken: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        listen = f"127.0.0.1:{port}" if taken == "port" else f"203.0.113.1:{port}"
        config, _ = configured(tmp_path, metrics={"listen": listen})
        result = subprocess.run([PROGRAM, "run", "--config", config], capture_output=True, text=True, timeout=30)
    why = "Address already in use" if taken == "port" else "Cannot assign requested address"
    assert (result.returncode, result.stderr) == (73, f"pratique: metrics: cannot listen on {listen}: {why}\n")
    assert not (tmp_path / "milter.sock").exists()


def test_counts_that_cannot_be_kept_stop_no_mail(tmp_path: Path) -> None:
    """No room for the files: the worker serves all the same."""
    changes = """
        import os
        def full(*_):
            raise OSError(28, "No space left on device")
        os.posix_fallocate = full
        """
    config = {"workers": 1, "metrics": {"listen": f"127.0.0.1:{free_port()}"}}
    with running(tmp_path, changes, **config) as service:
        assert send(service.address).startswith("imitation")
        assert "a worker does not count for Prometheus" in service.log()


def test_counts_that_fail_later_stop_no_mail_and_no_worker(tmp_path: Path) -> None:
    """Neither where a message is judged, nor where the counts are written."""
    changes = """
        from pratique.service import metrics
        def fail(*_):
            raise OSError(5, "Input/output error")
        metrics._Counters.decided = metrics._Counters.write = fail
        """
    config = {"workers": 1, "metrics": {"listen": f"127.0.0.1:{free_port()}"}}
    with running(tmp_path, changes, **config) as service:
        before = service.children()
        assert send(service.address).startswith("imitation")
        assert wait_until(lambda: service.log().count("cannot count messages") >= 2, 5)
        assert send(service.address).startswith("imitation")
        assert service.children() == before


def test_without_metrics_nothing_is_loaded_for_them() -> None:
    code = "import sys, pratique.cli; print('prometheus_client' in sys.modules)"
    program = PROGRAM.with_name("python")
    assert subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=30).stdout == "False\n"


def test_counters_of_listed_senders_stand_at_0_from_the_start(tmp_path: Path) -> None:
    """So that the first message is an increase; after a reload also those of new senders."""
    scraped = Scraped(tmp_path)
    with scraped.service as service:
        entry = ["tag,first,verified", "tag,first,unverified", "defer,first,undetermined", "tag,first,undetermined"]
        entry += ["tag,first,unlisted", "tag,first,imitation"]
        found = scraped.values("pratique_messages_total")
        assert found == dict.fromkeys([*entry, "tag,,unclaimed", "none,,unchecked"], 0)
        assert scraped.values("pratique_dkim_results_total")["pass"] == 0
        promtool("check", "metrics", given=scraped.text())
        send(service.address)
        assert wait_until(lambda: scraped.values("pratique_messages_total") == found | {"tag,first,imitation": 1}, 5)
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert wait_until(lambda: "tag,second,verified" in scraped.values("pratique_messages_total"), 5)
        assert scraped.values("pratique_messages_total")["tag,first,imitation"] == 1


def test_which_counters_stand_at_0() -> None:
    """By the actions of site and entry; of a long list only what holds, refuses or defers mail."""
    held = {Verdict.UNVERIFIED: Action.QUARANTINE}
    entries = tuple(Entry(f"e{n}", "E", f"e{n}.example", (("a", f"e{n}.example"),)) for n in range(600))
    strict = replace(entries[0], actions={Verdict.UNLISTED: Action.REJECT})
    short = zeros.zeros(Settings(TrustedList((strict,)), actions=dict(DEFAULT_ACTIONS) | held))
    assert ("unverified", "quarantine", "e0") in short
    assert ("unlisted", "reject", "e0") in short
    assert ("unverified", "tag", "e0") not in short
    assert len(short) == len(set(short)) == 8
    long = zeros.zeros(Settings(TrustedList((strict, *entries[1:])), actions=dict(DEFAULT_ACTIONS) | held))
    assert set(long) == {
        *(("unverified", "quarantine", e.id) for e in entries),
        *(("undetermined", "defer", e.id) for e in entries),
        ("unlisted", "reject", "e0"),
        ("unclaimed", "tag", ""),
        ("unchecked", "none", ""),
    }
    observed = zeros.zeros(Settings(TrustedList((strict,)), mode=Mode.OBSERVE, actions=dict(DEFAULT_ACTIONS) | held))
    assert {action for _, action, _ in observed} == {"tag", "none"}


def names(expression: str) -> set[str]:
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"pratique_\w+", expression)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all that is exported, once each has a value."""
    folder = tmp_path_factory.mktemp("exported")
    script = f"""
        import os
        from pathlib import Path
        from pratique.model import *
        from pratique.service import metrics
        hooks = metrics.hooks(Path({str(folder)!r}), 0)
        claim = Claim(ClaimKind.LISTED, "x")
        hooks.decided(Decision(Verdict.VERIFIED, Action.TAG, "x", claim=claim), 0.1)
        hooks.asked("TXT", "answer", 0.1, True)
        hooks.write()
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector
        registry = CollectorRegistry()
        MultiProcessCollector(registry, {str(folder)!r})
        registry.register(metrics._Known())
        print(generate_latest(registry).decode())
        """
    done = subprocess.run(
        [PROGRAM.with_name("python"), "-c", "\n".join(line.strip() for line in script.splitlines())],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    promtool("check", "metrics", given=done.stdout)
    return set(re.findall(r"^# TYPE (\S+)", done.stdout, re.MULTILINE))


def test_the_rules_fire_when_they_should(exported: set[str]) -> None:
    promtool("check", "rules", MONITORING / "alerts.yaml")
    promtool("test", "rules", ROOT / "tests" / "alerts.yaml")
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert {name for rule in rules for name in names(rule["expr"])} <= exported
    tested = (ROOT / "tests" / "alerts.yaml").read_text()
    assert [rule["alert"] for rule in rules if rule["alert"] not in tested] == []


def test_the_dashboard_shows_all_that_is_exported(exported: set[str], tmp_path: Path) -> None:
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    known = {name for expression in expressions for name in names(expression)}
    # The panel of senders shows a first message, whether its counter stood at 0 or was not there.
    panel = next(e for e in expressions if "imitation" in e)
    series = 'pratique_messages_total{verdict="unverified",action="tag",sender="%s"}'
    shown = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series % "absent-first", "values": "_x90 1x30"},
                    {"series": series % "zero-first", "values": "0x90 1x30"},
                    {"series": series % "never", "values": "0x120"},
                    {"series": series % "long-ago", "values": "1x120"},
                ],
                "promql_expr_test": [
                    {
                        "expr": f"round({panel})",
                        "eval_time": "95m",
                        "exp_samples": [
                            {"labels": f'{{sender="{sender}",verdict="unverified"}}', "value": 1}
                            for sender in ("absent-first", "zero-first")
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump(shown))
    promtool("test", "rules", tmp_path / "shown.yaml")
    assert known <= exported
    assert exported - known == {"pratique_build_info", "pratique_generation"}
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yaml")

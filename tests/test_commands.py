"""The commands as programs: exit statuses, one clear line for each bad input, and never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

from harness import corpus
from harness.service import PROGRAM, Service

SHIPPED = ROOT / "config" / "pratique.yaml"


def pratique(*arguments: str | Path, **more: bytes) -> subprocess.CompletedProcess[bytes]:
    given = more.get("input", b"")
    return subprocess.run([PROGRAM, *arguments], input=given, capture_output=True, timeout=30, check=False)


def explain(*arguments: str | Path, zone: Path | None = None, **more: bytes) -> subprocess.CompletedProcess[bytes]:
    """explain with a zone without names, so that no test asks the network."""
    empty = ["--zone", zone or os.devnull]
    return pratique(
        "explain", "--config", SHIPPED, *empty, "--client", "192.0.2.1", "--mail-from", "<>", *arguments, **more
    )


def says(result: subprocess.CompletedProcess[bytes], status: int, text: str) -> None:
    """One line on stderr, with the text, and the status."""
    error = result.stderr.decode()
    assert result.returncode == status, error
    assert text in error
    assert "Traceback" not in error
    assert error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it is empty"),
        (b"\n\nbody\n", "it has no header"),
        (b"just text\nand more\n", "it has no header"),
        (bytes(range(256)) * 100, "it has no header"),
        (b"\x7fELF\x02\x01\x01\0", "it has no header"),
        (b" folded: x\n", "it has no header"),
    ],
)
def test_what_is_no_message(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(content)
    says(explain(tmp_path / "m"), 65, f"pratique: {tmp_path}/m: cannot read a message: {text}")
    says(explain("-", input=content), 65, f"pratique: -: cannot read a message: {text}")


def test_missing_file_and_directory(tmp_path: Path) -> None:
    says(explain(tmp_path / "none"), 65, "No such file or directory")
    says(explain(tmp_path), 65, "Is a directory")


def test_one_bad_message_among_good_ones(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"From: x@shop.example\n\nbody\n")
    result = explain("--json", tmp_path / "good", tmp_path / "none", tmp_path / "good")
    says(result, 65, "No such file")
    assert result.stdout.count(b'"verdict": "unclaimed"') == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--client", "nonsense", "--mail-from", "<>", "m"], "is no IP address"),
        (["--mail-from", "<>", "m"], "Missing option '--client'"),
        (["--client", "192.0.2.1", "m"], "Missing option '--mail-from'"),
        (["--client", "192.0.2.1", "--mail-from", "<>"], "Missing argument"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    result = pratique("explain", *arguments)
    assert result.returncode == 64
    assert text in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["explain", "--client", "192.0.2.1", "--mail-from", "<>", "m"]]
)
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        (b"mod: x\n", "did you mean mode?"),
        (b"\xff", "not UTF-8"),
        (b"mode: 1\n", "expected one of"),
    ],
)
def test_wrong_configuration(command: list[str], content: bytes | None, text: str, tmp_path: Path) -> None:
    config = tmp_path / "pratique.yaml"
    if content is not None:
        config.write_bytes(content)
    says(pratique(command[0], "--config", config, *command[1:]), 78, text)


def test_check_tells_every_error_of_both_files(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("")
    (tmp_path / "trusted-senders.yaml").write_text("senders:\n  x:\n    domain: fr\n    adresses: []\n")
    result = pratique("check", "--config", tmp_path / "pratique.yaml")
    assert result.returncode == 78
    assert result.stderr.decode().count(f"pratique: {tmp_path}/trusted-senders.yaml:") == 2


def test_check_says_what_the_list_means() -> None:
    result = pratique("check", "--config", SHIPPED)
    assert result.returncode == 0
    assert b"visma-opic  3 addresses of visma.com      by DKIM or SPF, relaxed  expires never\n" in result.stdout


@pytest.mark.parametrize(
    ("zone", "text"), [(None, "No such file"), (b"a. 300 IN A nonsense\n", "zone"), (b"\xff\xfe", "zone")]
)
def test_bad_zone(zone: bytes | None, text: str, tmp_path: Path) -> None:
    place = tmp_path / "zone"
    if zone is not None:
        place.write_bytes(zone)
    says(explain("m", zone=place), 78, text)


def config(folder: Path, address: str, **more: str) -> Path:
    case = corpus.read_all()[0]
    case.config, case.senders = {}, {}
    return corpus.write_config(folder, case, socket=address, **more)


def test_sockets_that_cannot_be_had(tmp_path: Path) -> None:
    def run(address: str) -> subprocess.CompletedProcess[bytes]:
        return pratique("run", "--config", config(tmp_path, address))

    (tmp_path / "file").write_text("")
    says(run(f"unix:{tmp_path}/none/s"), 73, f"there is no directory {tmp_path}/none")
    says(run(f"unix:{tmp_path}/file"), 73, "there is a file that is no socket")
    says(run(f"unix:{tmp_path}/{'x' * 120}"), 73, "longer than 107 octets")
    says(run("unix:/proc/s"), 73, "socket unix:/proc/s: ")
    says(run("inet:25@203.0.113.1"), 73, "Cannot assign requested address")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        says(run(f"inet:{busy.getsockname()[1]}@127.0.0.1"), 73, "Address already in use")


def test_a_second_instance_does_not_start_and_leaves_the_first_alone(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with Service(config(tmp_path, address), address) as first:
        says(pratique("run", "--config", tmp_path / "pratique.yaml"), 73, "another milter is listening there already")
        assert first.running()


def test_a_stale_socket_is_replaced_and_sigterm_ends_well(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/s")
    with Service(config(tmp_path, address), address) as service:
        assert "listening on" in service.log()
        os.kill(service.pid, signal.SIGTERM)
        assert service.wait(10) == 0
        assert service.log().splitlines()[-1] == "pratique: stopped"


def test_levels_reach_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    address = f"unix:{tmp_path}/s"
    with Service(config(tmp_path, address), address) as service:
        assert service.log().startswith("<6>pratique ")


def test_help_and_version() -> None:
    assert pratique("--version").stdout.startswith(b"pratique, version 0.1.0")
    for command in ([], ["run"], ["check"], ["explain"]):
        assert b"Usage:" in pratique(*command, "--help").stdout


def test_explain_closes_quietly_when_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"From: x@shop.example\n\n")
    command = [
        str(PROGRAM),
        "explain",
        "--client",
        "192.0.2.1",
        "--mail-from",
        "<>",
        "--config",
        str(SHIPPED),
        "--zone",
        os.devnull,
    ]
    command += [str(tmp_path / "m")] * 2000
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (1, b"")


def test_hostile_text_reaches_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes('From: "\x9b31m\u202e noreply.opic@visma.com" <a@e.example>\n\n'.encode())
    result = explain(tmp_path / "m")
    assert "\x9b" not in result.stdout.decode()
    assert "\u202e" not in result.stdout.decode()


def test_explain_says_what_is_missing(tmp_path: Path) -> None:
    """With `alignment: strict` only the domain of the address itself counts."""
    (tmp_path / "pratique.yaml").write_text("")
    entry = "domain: x.example\n    addresses: [a@sub.x.example]\n    alignment: strict"
    (tmp_path / "trusted-senders.yaml").write_text(f"senders:\n  x:\n    {entry}\n")
    (tmp_path / "m").write_bytes(b"From: a@sub.x.example\n\nbody\n")
    silent = tmp_path / "zone"
    silent.write_text(";timeout sub.x.example\n")
    options: list[str | Path] = ["--config", tmp_path / "pratique.yaml", "--client", "192.0.2.1"]
    options += ["--mail-from", "a@sub.x.example"]
    wanted = "a DKIM signature by sub.x.example, or an SPF pass for a MAIL FROM of sub.x.example that counts"
    told = pratique("explain", *options, "--zone", os.devnull, tmp_path / "m").stdout.decode()
    assert f"  missing  {wanted}\n" in told
    told = pratique("explain", *options, "--zone", silent, tmp_path / "m").stdout.decode()
    assert f"  missing  {wanted}; DNS did not answer for one that could\n" in told

"""systemd/: what can be said of unit and scripts without booting anything. The rest: tests/test_container.py."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT

from harness.ports import unpacked

UNIT = ROOT / "systemd/pratique.service"
SCRIPTS = [
    "systemd/install",
    "systemd/uninstall",
    "tests/setup",
    "tests/check",
    "tests/demo",
    "tests/container",
    "tests/pin",
]


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze of Debian's systemd says, which need not run."""
    libraries = str(unpacked("libsystemd-shared", "usr/lib/x86_64-linux-gnu/systemd"))
    program = unpacked("systemd", "usr/bin/systemd-analyze")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, env=os.environ | {"LD_LIBRARY_PATH": libraries}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_clean(script: str) -> None:
    done = subprocess.run([unpacked("shellcheck", "usr/bin/shellcheck"), ROOT / script], capture_output=True, text=True)
    assert done.stdout == ""


def test_the_unit_is_good(tmp_path: Path) -> None:
    unit = tmp_path / "pratique.service"
    unit.write_text(UNIT.read_text().replace("/opt/pratique/bin/pratique", "/bin/true"))
    assert analyze("verify", "--man=no", unit) == ""


def test_exposure() -> None:
    found = re.search(
        r"Overall exposure level for pratique.service: (\S+)", analyze("security", "--offline=true", UNIT)
    )
    assert found
    assert float(found[1]) <= 1.5


def test_options_are_in_alphabetical_order() -> None:
    service = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0]
    options = re.findall(r"(?m)^(\w+)=", service)
    assert options == sorted(options)


def test_stopping_takes_longer_than_messages_may_take() -> None:
    seconds = re.search(r"(?m)^TimeoutStopSec=(\d+)$", UNIT.read_text())
    default = re.search(r"(?m)^#stop_timeout: (\d+)s$", (ROOT / "config/pratique.yaml").read_text())
    assert seconds
    assert default
    assert int(seconds[1]) > int(default[1])


def test_the_log_goes_where_postmasters_look() -> None:
    assert "\nSyslogFacility=mail\n" in UNIT.read_text()


def test_the_filter_starts_before_every_mail_server() -> None:
    """On Debian 12 the daemon of Postfix is postfix@-.service, on Debian 13 postfix.service."""
    before = re.search(r"(?m)^Before=(.*)$", UNIT.read_text())
    assert before
    assert before[1].split() == ["postfix.service", "postfix@-.service", "sendmail.service"]


@pytest.mark.parametrize("present", [True, False])
def test_a_python_without_our_packages_is_named(tmp_path: Path, present: bool) -> None:
    """The command of ExecStartPre, in a virtual environment whose Python was replaced by an upgrade of Debian."""
    line = re.search(r"(?m)^ExecStartPre=/bin/sh -c '(.*)'$", UNIT.read_text())
    assert line
    (tmp_path / "bin").mkdir()
    (tmp_path / "python3.77").write_text("#!/bin/sh\n")
    (tmp_path / "python3.77").chmod(0o755)
    (tmp_path / "bin/python").symlink_to(tmp_path / "python3.77")
    (tmp_path / f"lib/python3.{77 if present else 76}/site-packages/pratique").mkdir(parents=True)
    script = line[1].replace("$$", "$").replace("/opt/pratique/bin", f"{tmp_path}/bin")
    script = script.replace("/opt/pratique/lib", f"{tmp_path}/lib")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    if present:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 78
        assert "run /opt/pratique/share/pratique/systemd/install" in done.stderr
    (tmp_path / "python3.77").unlink()
    assert subprocess.run(["sh", "-c", script], capture_output=True).returncode == 78


# ---- pinned Python packages -----------------------------------------------------------------------------------

PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13


def pinned(name: str) -> dict[str, tuple[str, str, int]]:
    """What a file of systemd/ pins: name to version, marker, and number of hashes."""
    found: dict[str, tuple[str, str, int]] = {}
    for block in re.split(r"(?m)^(?=\S)", (ROOT / "systemd" / name).read_text()):
        if block and not block.startswith("#"):
            requirement = Requirement(re.sub(r"\s*\\?\n\s*--hash=\S+|\\", "", block).strip())
            version = str(requirement.specifier)
            assert version.startswith("=="), block
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?= |$)", block, re.MULTILINE)
            assert len(hashes) == block.count("--hash"), block
            found[canonicalize_name(requirement.name)] = (version[2:], str(requirement.marker or ""), len(hashes))
    return found


def needed(requirements: list[Requirement], python: str) -> dict[str, list[Requirement]]:
    """All packages that some requirements need, with who asks for what, by the metadata of those in .venv."""
    asked: dict[str, list[Requirement]] = {}
    todo = [(requirement, set(requirement.extras)) for requirement in requirements]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    while todo:
        requirement, extras = todo.pop()
        name = str(canonicalize_name(requirement.name))
        known = name in asked and not extras
        asked.setdefault(name, []).append(requirement)
        if known:
            continue
        for text in metadata.requires(name) or []:
            below = Requirement(text)
            wanted = [{**environment, "extra": extra} for extra in ("", *extras)]
            if below.marker is None or any(below.marker.evaluate(values) for values in wanted):
                todo.append((below, set(below.extras)))
    return asked


@pytest.mark.parametrize("python", PYTHONS)
def test_the_pinned_packages_are_those_of_setup_cfg(python: str) -> None:
    """Where this fails: tests/pin."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = needed([Requirement(line) for line in setup["options"]["install_requires"].split("\n") if line], python)
    pins = pinned("requirements.txt")
    assert asked.keys() <= pins.keys()
    for name, requirements in asked.items():
        for requirement in requirements:
            assert requirement.specifier.contains(pins[name][0]), (name, requirement)
    both = set().union(*(needed([Requirement(r)], p) for r in pins for p in PYTHONS))
    assert pins.keys() == both
    assert all(count for _, _, count in pins.values())


def test_the_build_is_pinned_too() -> None:
    assert list(pinned("requirements-build.txt")) == ["setuptools"]

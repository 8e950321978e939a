"""systemd/: what can be said of unit and scripts without booting anything. The rest: tests/test_container.py."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

from harness.ports import unpacked

UNIT = ROOT / "systemd/pratique.service"
SCRIPTS = ["systemd/install", "systemd/uninstall", "tests/setup", "tests/check", "tests/demo", "tests/container"]


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

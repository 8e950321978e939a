"""The README's first command does what it says."""

from __future__ import annotations

import subprocess

import pytest

from conftest import ROOT


@pytest.mark.full
def test_the_demo_ends_as_expected() -> None:
    ended = subprocess.run([ROOT / "tests" / "demo"], capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = ended.stdout.splitlines()[-1]
    right, of = said.removesuffix(" as expected").split(" of ")
    assert right == of
    assert int(of) >= 10

"""Each fuzz target accepts its own seeds: a target that stops at one of them finds nothing (tests/fuzz/README.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TARGETS = ("from_field", "dkim_signature", "key_record", "mail_from", "whole_message")
NOTICE = b"Message-ID: <1@ternum-bfc.fr>\r\nFrom: <a@b.example>\r\n\r\nx\r\n"


def run(*arguments: str) -> None:
    """In a process of its own: whole_message takes the log over."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(HERE)])}
    done = subprocess.run([sys.executable, *arguments], cwd=HERE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4_000:]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_accepts_its_seeds(target: str) -> None:
    run("-c", f"from fuzz import {target} as target\nfor seed in target.seeds(): target.check(seed)")


def test_a_message_id_beyond_the_limits_is_no_finding(tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(b"<a@b.example>\n" + b"X-A: a\r\n" * 1_100 + NOTICE)
    run("-m", "fuzz", "whole_message", "--folder", str(tmp_path), "--try", str(message))

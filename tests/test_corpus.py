"""Every case of the corpus, through `pratique explain`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pratique.cli import commands

from harness import corpus
from harness.corpus import Case

CASES = corpus.read_all()


def explain(case: Case, folder: Path) -> dict[str, Any]:
    """What `pratique explain --json` says of a case."""
    config = corpus.write_config(folder, case)
    (folder / "message.eml").write_bytes(case.present())
    (folder / "zone.txt").write_text(case.zone)
    arguments = ["explain", "--config", config, "--zone", folder / "zone.txt", "--json"]
    arguments += ["--client", case.session["client"], "--helo", case.session["helo"]]
    arguments += ["--mail-from", case.session["mail_from"], folder / "message.eml"]
    result = CliRunner().invoke(commands, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_explain(case: Case, tmp_path: Path) -> None:
    found = explain(case, tmp_path)
    assert not corpus.differences(case.expected, found), case.proves
    assert found["file"] == str(tmp_path / "message.eml")


def test_explain_reads_standard_input_and_unix_line_ends(tmp_path: Path) -> None:
    case = next(c for c in CASES if c.name == "dkim-simple")
    config = corpus.write_config(tmp_path, case)
    (tmp_path / "zone.txt").write_text(case.zone)
    as_mbox = b"From nobody Sun Nov 22 08:00:00 2026\n" + case.message.replace(b"\r\n", b"\n")
    arguments = ["explain", "--config", str(config), "--zone", str(tmp_path / "zone.txt"), "--json"]
    arguments += ["--client", "192.0.2.1", "--mail-from", "<>", "-"]
    result = CliRunner().invoke(commands, arguments, input=io.BytesIO(as_mbox), catch_exceptions=False)
    assert json.loads(result.output)["verdict"] == "verified"

"""What people read is true: the table of reasons, the keys of the shipped files, the directions of imports."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from conftest import ROOT
from pratique import cli, config
from pratique.model import TrustedList
from pratique.reasons import Reason

from harness.ports import unpacked
from harness.readme import reason_table

README = (ROOT / "README.md").read_text()
MANUAL = ROOT / "docs" / "pratique.1"
PACKAGE = ROOT / "milter" / "pratique"

MODEL = {"model", "reasons"}
MAY_IMPORT = {
    "reasons": set(),
    "model": {"reasons"},
    "mailbox": MODEL,
    "everyday": set(),
    "lookalike": {"everyday"},
    "names": MODEL | {"everyday", "lookalike"},
    "shortlist": MODEL | {"everyday", "lookalike", "names"},
    "encoded_words": set(),
    "visible": {"encoded_words", "lookalike"},
    "claims": MODEL | {"mailbox", "names", "shortlist", "visible"},
    "authentication": MODEL | {"mailbox", "authentication"},
    "policy": MODEL,
    "headers": MODEL | {"encoded_words", "mailbox"},
    "received": MODEL | {"mailbox"},
    "examine": MODEL | {"claims", "authentication", "policy", "headers", "received", "resolver"},
    "config": MODEL | {"mailbox", "lookalike", "shortlist", "config", "expiry", "rights"},
    "resolver": MODEL | {"resolver", "rights"},
    "record": MODEL,
    "trust": MODEL | {"policy"},
    "configuration_diff": MODEL | {"trust"},
    "expiry": MODEL,
    "logbook": MODEL,
    "advice": MODEL | {"authentication", "expiry", "logbook", "policy"},
    "stored": MODEL,
    "rights": set(),
    "export": MODEL | {"export"},
    "filter": MODEL | {"examine", "headers", "record", "resolver"},
    "service": MODEL
    | {"filter", "config", "expiry", "resolver", "service", "shortlist", "lookalike", "configuration_diff"},
}
PURE = (
    *("model", "reasons", "mailbox", "claims", "lookalike", "shortlist", "policy", "headers", "received", "record"),
    *("everyday", "names", "encoded_words", "visible"),
    *("trust", "configuration_diff", "expiry", "logbook", "advice"),
)
IMPURE = {"os", "socket", "time", "logging", "subprocess", "threading", "sys", "pathlib"}


def test_the_readme_tells_every_reason() -> None:
    assert reason_table() in README


def test_every_reason_is_used() -> None:
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "reasons.py")
    assert [r.name for r in Reason if f"Reason.{r.name}" not in code] == []


def test_references_lead_to_an_anchor() -> None:
    """Comments and corpus cases cite design#ANCHOR and library-notes#ANCHOR; nothing cites a page outside docs/."""
    pages = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in ("design", "library-notes")}
    cited = subprocess.run(
        ["git", "grep", "-ohE", "(design|library-notes)#[a-z0-9-]+", "--", "milter", "tests", "config"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    references = {tuple(reference.split("#")) for reference in cited if "#" in reference}
    assert len(references) > 20
    assert sorted((page, anchor) for page, anchor in references if f'<a id="{anchor}">' not in pages[page]) == []


def test_nothing_cites_a_page_that_is_not_here() -> None:
    found = subprocess.run(
        ["git", "grep", "-lE", "DESIGN §|PIT[F]ALLS", "--", ".", ":!CHANGELOG.md", ":!tests/test_documents.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_shipped_list_is_good() -> None:
    settings = config.load(ROOT / "config" / "pratique.yaml")
    assert [entry.id for entry in settings.senders.entries] == ["ternum-bfc", "visma-opic"]


def test_the_shipped_defaults_are_the_defaults() -> None:
    """pratique.yaml says of each commented line that it is a default: taken in, nothing may change."""
    text = (ROOT / "config" / "pratique.yaml").read_text()
    lines = [line[1:] for line in text.splitlines() if re.match(r"#( {2})*[a-z_]+:|#  - ", line)]
    examples = (
        "authserv_id:",
        "authserv_ids:",
        "trusted_hosts:",
        "  networks:",
        "  hosts:",
        "relays:",
        "  - networks:",
        "    received_by:",
        "arc_sealers:",
        "local_domains:",
        "state_directory:",
        "metrics:",
        "  listen:",
    )
    values = yaml.safe_load("\n".join(line for line in lines if not line.startswith(examples)))
    shipped = config.parse_service(yaml.safe_dump(values), "shipped")
    default = config.parse_service("", "empty")
    every = set(config.ServiceFile.model_fields)
    assert {line.partition(":")[0] for line in lines if line[0] != " "} == every
    left_out = {e.strip().rstrip(":") for e in examples}
    assert {k for k in every - left_out - {"actions"} if getattr(shipped, k) != getattr(default, k)} == set()
    assert shipped.settings(TrustedList()).actions == default.settings(TrustedList()).actions


def test_the_list_explains_every_key() -> None:
    comment = "".join(re.findall(r"^#.*\n", (ROOT / "config" / "trusted-senders.yaml").read_text(), re.MULTILINE))
    assert [key for key in config.SenderFile.model_fields if f" {key}:" not in comment] == []


def imports(path: Path) -> set[str]:
    """The modules that a file imports, ours without `pratique.`, others by their first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = path.parent.relative_to(PACKAGE.parent).parts
            base = ".".join(inside[: len(inside) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            here = module == "pratique"
            found |= {f"{module}.{alias.name}" for alias in node.names} if here else {module}
    return found


def test_the_page_for_the_it_team_needs_no_expert() -> None:
    page = re.search(r"^## For the IT team\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert page is not None
    assert "milter" not in page[0].lower()
    for command in ("catalogue add", "check", "check --against", "doctor", "reload"):
        assert f"pratique {command}" in page[1]


def test_the_manual_page_is_well_formed() -> None:
    mandoc = unpacked("mandoc", "usr/bin/mandoc")
    result = subprocess.run(
        [mandoc, "-T", "lint", "-W", "warning", MANUAL], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_manual_page_has_every_command_and_option() -> None:
    text = MANUAL.read_text()
    for words, command in every_command((), cli.commands):
        assert f".Cm {' '.join(words)}\n" in text, words
        for option in (o for p in command.params if isinstance(p, click.Option) for o in p.opts):
            assert re.search(rf"^\.It Fl {option[1:]}\b", text, re.MULTILINE), (words, option)


def every_command(words: tuple[str, ...], group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The commands of the program by their words; list and search share a line of the synopsis."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command((*words, name), command)
        elif name not in ("list", "search"):
            yield (*words, name), command


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_directions_of_imports(name: str) -> None:
    files = sorted((PACKAGE / name).glob("*.py")) or [PACKAGE / f"{name}.py"]
    for path in files:
        ours = {m.split(".")[1] for m in imports(path) if m.startswith("pratique.")} - {"__version__"}
        assert ours <= MAY_IMPORT[name], path


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_io(name: str) -> None:
    found = {m.split(".")[0] for m in imports(PACKAGE / f"{name}.py")}
    assert found & IMPURE <= ({"logging"} if name == "record" else set())  # the names of levels

"""Takes each rule out of the code in turn, and looks whether a case of the corpus notices.

    .venv/bin/python tests/mutate.py            every rule of claims, authentication, policy and headers
    .venv/bin/python tests/mutate.py policy     those of the files whose name contains a word

A rule is a condition (taken for false; each part of an `and` or `or` left out), a filter of a comprehension, an
alternative of a conditional expression, an item of a constant table, or an exception that is raised. A rule that no
case of the corpus needs is then tried on the tables of the unit tests. One that nothing needs survives. Survivors
must be explained, one a line, in tests/mutation_survivors.txt; one that is not, or an explanation for a rule that no
longer survives, fails the run.
"""

from __future__ import annotations

import ast
import copy
import functools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from harness import corpus

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "milter" / "pratique"
FILES = ("claims.py", "names.py", "visible.py", "encoded_words.py", "mailbox.py", "lookalike.py", "policy.py",
         "headers.py", "authentication/__init__.py",
         "authentication/dkim_check.py", "authentication/signature.py", "authentication/spf_check.py",
         "authentication/asking.py", "authentication/body.py", "authentication/arc_check.py",
         "received.py")  # fmt: skip
EXPLAINED = ROOT / "tests" / "mutation_survivors.txt"

# Judges the cases in a file with the package in the first folder; status 1 at the first that is not as expected.
JUDGE = """
import io, pickle, sys, tempfile
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from harness import corpus
from pratique import config
from pratique.cli import explain
from pratique.model import Session
from pratique.resolver import ZoneResolver
import ipaddress
settings = {}
for case in pickle.loads(Path(sys.argv[3]).read_bytes()):
    key = repr((case.config, case.senders))
    if key not in settings:
        with tempfile.TemporaryDirectory() as folder:
            settings[key] = config.load(corpus.write_config(Path(folder), case))
    facts = case.session
    client = ipaddress.ip_address(facts["client"])
    session = Session(client, facts["helo"], facts["mail_from"], tuple(facts["rcpts"]), 1, hostname="mx1.example.org")
    decision = explain.judge(io.BytesIO(case.present()), session, settings[key], ZoneResolver(case.zone))
    if corpus.differences(case.expected, explain.as_object("", decision)):
        print(case.name)
        sys.exit(1)
"""


class Mutant(NamedTuple):
    """A file with one rule taken out; `name` says which, without line numbers, so that it lasts."""

    file: str
    name: str
    line: int
    source: str


def mutants(file: str) -> Iterator[Mutant]:
    """Every mutant of a file."""
    tree = ast.parse((PACKAGE / file).read_text())
    owners = {inner: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    seen: dict[str, int] = {}
    for node in ast.walk(tree):
        for what, change in changes(node):
            saved = copy.copy(node.__dict__)
            change()
            source = ast.unparse(ast.fix_missing_locations(tree))
            node.__dict__.clear()
            node.__dict__.update(saved)
            owner = owners[node].name if node in owners else "module"
            name = f"{file} {owner}: {what}"
            seen[name] = seen.get(name, 0) + 1
            suffix = f" #{seen[name]}" if seen[name] > 1 else ""
            yield Mutant(file, name + suffix, getattr(node, "lineno", 0), source)


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """The ways to take a rule out of a node: what is done, and a function that does it."""

    def put(field: str, value: object) -> Callable[[], None]:
        return lambda: setattr(node, field, value)

    if isinstance(node, ast.If | ast.While):
        yield f"never `{shown(node.test)}`", put("test", ast.Constant(False))
    if isinstance(node, ast.IfExp):
        yield f"never `{shown(node.test)}` else", put("test", ast.Constant(False))
        yield f"always `{shown(node.test)}` else", put("test", ast.Constant(True))
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            rest = [value for value in node.values if value is not part]
            yield (
                f"`{shown(node)}` without `{shown(part)}`",
                put("values", rest if len(rest) > 1 else [rest[0], rest[0]]),
            )
    if isinstance(node, ast.comprehension):
        for condition in node.ifs:
            yield f"no filter `{shown(condition)}`", put("ifs", [c for c in node.ifs if c is not condition])
    if isinstance(node, ast.Tuple | ast.List | ast.Set) and len(node.elts) > 1:
        constant = all(isinstance(item, ast.Constant | ast.Tuple) for item in node.elts)
        for item in node.elts if constant else ():
            yield f"table without `{shown(item)}`", put("elts", [i for i in node.elts if i is not item])
    if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With | ast.Try | ast.ExceptHandler):
        for statement in node.body:
            if isinstance(statement, ast.Raise) and not isinstance(node, ast.If):
                body = [ast.Pass() if s is statement else s for s in node.body]
                yield f"no `{shown(statement)}`", put("body", body)


def shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


# The unit tests that are tables; those with thousands of random inputs take too long for this.
TABLES = [
    *("test_claims.py", "test_visible.py", "test_lookalike.py", "test_policy.py", "test_headers.py", "test_body.py"),
    *("test_authentication.py", "test_suites.py", "test_trust.py", "test_received.py"),
    *("test_resolver.py::test_names_of_spf_that_are_kept", "test_resolver.py::test_names_of_keys_that_are_kept"),
    *("test_gathering.py::test_a_record_of_the_platform_that_leads_elsewhere",),
    *("test_gathering.py::test_a_selector_that_a_forger_picks", "test_gathering.py::test_a_key_that_has_proven_mail"),
    *("test_gathering.py::test_a_key_of_a_domain_that_the_entry_names",),
    *("test_gathering.py::test_the_limit_of_names_elsewhere_is_told_for_a_chain",),
    *("test_gathering.py::test_spf_of_another_domain_is_not_evaluated",),
]
TABLES_OF = (
    "not real_ and not honest_name and not any_ and not linear"
    " and not stranger and not xclient and not only_what and not octets"
)


def noticed_by(mutant: Mutant, cases: Path) -> str:
    """What judges otherwise with the rule taken out: "a case", "a table", or nothing ("")."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "pratique")
        (Path(folder) / "pratique" / mutant.file).write_text(mutant.source)
        if fails([sys.executable, "-c", JUDGE, folder, str(ROOT / "tests"), str(cases)], folder):
            return "a case"
        tables = [str(ROOT / "tests" / name) for name in TABLES]
        pytest = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-k", TABLES_OF, *tables]
        return "a table" if fails(pytest, folder) else ""


def fails(command: list[str], folder: str) -> bool:
    """Whether a command ends badly, or not at all, with the package in a folder."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=180, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": folder}
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main(words: list[str]) -> int:
    """Run every mutant; 0 where each survivor is explained and each explanation is needed."""
    chosen = [file for file in FILES if not words or any(word in file for word in words)]
    explained = {line.partition(" -- ")[0] for line in EXPLAINED.read_text().splitlines() if " -- " in line}
    every: list[str] = []
    wrong = False
    with tempfile.NamedTemporaryFile() as cases, ThreadPoolExecutor(os.cpu_count()) as pool:
        cases.write(pickle.dumps(corpus.read_all()))
        cases.flush()
        judge = functools.partial(noticed_by, cases=Path(cases.name))
        if by := judge(Mutant(FILES[0], "nothing", 0, (PACKAGE / FILES[0]).read_text())):
            print(f"without any change {by} fails already: mend that first")
            return 1
        for file in chosen:
            of_file = list(mutants(file))
            noticed = list(pool.map(judge, of_file))
            print(f"{file}: {counted(noticed)}")
            wrong |= complaints(file, [m for m, by in zip(of_file, noticed, strict=True) if not by], explained)
            every += noticed
    print(f"in all: {counted(every)}")
    return 1 if wrong else 0


def complaints(file: str, survivors: list[Mutant], explained: set[str]) -> bool:
    """Say which survivors of a file are not explained, and which of its explanations nothing needs."""
    unexplained = [m for m in survivors if m.name not in explained]
    needless = {name for name in explained if name.startswith(f"{file} ")} - {m.name for m in survivors}
    for mutant in unexplained:
        print(f"  survived, unexplained: {mutant.name}   (line {mutant.line})")
    for name in sorted(needless):
        print(f"  explained, but did not survive: {name}")
    sys.stdout.flush()
    return bool(unexplained or needless)


def counted(noticed: list[str]) -> str:
    cases, tables, not_noticed = map(noticed.count, ("a case", "a table", ""))
    return f"{len(noticed)} rules taken out: {cases} noticed by a case, {tables} by a table, {not_noticed} not"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

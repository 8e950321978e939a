"""A second opinion on the decision: every combination of its inputs, compared with tests/decision_table.md.

The table is written from README. The program must agree with it everywhere; every condition in `decide` and
`requirement` must matter by itself (MC/DC); and a program that is changed in any one place must disagree.
"""

from __future__ import annotations

import ast
import copy
import functools
import ipaddress
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pratique import policy
from pratique.model import (
    ArcEvidence,
    ArcResult,
    Claim,
    ClaimKind,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    Require,
    SpfEvidence,
    SpfResult,
)
from pratique.reasons import Reason

TABLES = Path(__file__).with_name("decision_table.md")
TODAY = date(2026, 11, 30)

# ---- the table ---------------------------------------------------------------------------------------

Row = Mapping[str, str]
ANYTHING = "\N{EN DASH}"


def tables() -> dict[str, list[Row]]:
    """The tables by their headings; a row by its columns."""
    found: dict[str, list[Row]] = {}
    for section in re.split(r"(?m)^## ", TABLES.read_text(encoding="utf-8"))[1:]:
        title, _, body = section.partition("\n")
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:1] == "|"]
        found[title] = [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]
    return found


TABLE = tables()
REACHED: set[tuple[str, int]] = set()


def first(title: str, facts: Row) -> Row:
    """The first row that fits the facts."""
    for number, row in enumerate(TABLE[title]):
        if all(row[column] in (ANYTHING, value) for column, value in facts.items()):
            REACHED.add((title, number))
            return row
    raise AssertionError(f"no row of {title!r} fits {facts}")


# ---- every combination -------------------------------------------------------------------------------

# What a signature, SPF, ARC can come out as, with the word of the table.
SIGNATURES = {
    "proven": DkimEvidence(DkimResult.PASS, aligned=True, counts=True),
    "silent": DkimEvidence(DkimResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR),
    "in doubt": DkimEvidence(DkimResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR, doubtful=True),
    "broken": DkimEvidence(DkimResult.FAIL, aligned=True, reason=Reason.BODY_HASH_MISMATCH),
    "foreign": DkimEvidence(DkimResult.NEUTRAL, reason=Reason.UNALIGNED),
    "mute": DkimEvidence(DkimResult.FAIL, aligned=True),
}
SPF = {
    "proven": SpfEvidence(SpfResult.PASS, aligned=True, counts=True),
    "silent": SpfEvidence(SpfResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR),
    "in doubt": SpfEvidence(SpfResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR, doubtful=True),
    "a pass that does not count": SpfEvidence(SpfResult.PASS, aligned=True, reason=Reason.SPF_TOO_WIDE),
    "used up its queries": SpfEvidence(SpfResult.PERMERROR, aligned=True, reason=Reason.TOO_MANY_QUERIES),
    "a mute pass": SpfEvidence(SpfResult.PASS, aligned=True),
    "no pass": SpfEvidence(SpfResult.FAIL, aligned=True, reason=Reason.SPF_NOT_PASS),
    "a foreign pass": SpfEvidence(SpfResult.PASS, reason=Reason.UNALIGNED),
    "behind a relay": SpfEvidence(reason=Reason.BEHIND_RELAY),
    "behind an unreadable relay": SpfEvidence(reason=Reason.RELAY_UNREADABLE),
    "not checked": SpfEvidence(reason=Reason.NOT_CHECKED),
}
ARC = {
    "none": ArcEvidence(),
    "proven": ArcEvidence(ArcResult.PASS, counts=True),
    "silent": ArcEvidence(ArcResult.TEMPERROR, reason=Reason.DNS_TEMPERROR),
    "in doubt": ArcEvidence(ArcResult.TEMPERROR, reason=Reason.DNS_TEMPERROR, doubtful=True),
    "broken": ArcEvidence(ArcResult.FAIL, reason=Reason.ARC_CHAIN_BROKEN),
    "a stranger's": ArcEvidence(ArcResult.NEUTRAL, reason=Reason.ARC_SEALER_UNLISTED),
}
CLIENTS = ("inside", "outside", "none")
STRAY = (
    "inside networks that the entry does not list"  # no message is: for `requirement`, which is asked elsewhere, too
)
CLAIMS = {
    "a listed address": Claim(ClaimKind.LISTED, "x"),
    "another address of the domain": Claim(ClaimKind.DOMAIN, "x", reason=Reason.LOCAL_PART_IMITATES),
    "several readings": Claim(ClaimKind.AMBIGUOUS, "x", reason=Reason.SEVERAL_FROM_FIELDS),
    "an imitation": Claim(ClaimKind.IMITATION, "x", reason=Reason.DISPLAY_NAME_IMITATES),
    "nothing listed": Claim(ClaimKind.NONE),
}
JUDGED = {claim: CLAIMS[claim] for claim in list(CLAIMS)[:2]}  # by what proves them
EXPIRES = {"for good": None, "the last day": TODAY, "expired": date(2026, 11, 29)}
ENTRIES = (*EXPIRES, "gone")
ALL_SIGNATURES = [(), *((name,) for name in SIGNATURES), *itertools.product(SIGNATURES, repeat=2)]
SOME_SIGNATURES = ALL_SIGNATURES[: 1 + len(SIGNATURES)]


class Case(NamedTuple):
    """One combination, in the words above."""

    claim: str
    entry: str
    require: Require
    signatures: tuple[str, ...]
    spf: str
    arc: str
    client: str


class Said(NamedTuple):
    """What is said of a message."""

    verdict: str
    reason: str | None
    by: tuple[str, ...]
    waits: bool


@functools.cache
def entry_of(case_entry: str, require: Require, client: str) -> Entry | None:
    if case_entry == "gone":
        return None
    networks = () if client in ("none", STRAY) else (ipaddress.IPv4Network("192.0.2.0/24"),)
    return Entry("x", "X", "x.example", (("a", "x.example"),), require, networks=networks, expires=EXPIRES[case_entry])


@functools.cache
def evidence_of(signatures: tuple[str, ...], spf: str, arc: str, client: str) -> Evidence:
    return Evidence(tuple(SIGNATURES[s] for s in signatures), SPF[spf], client in ("inside", STRAY), ARC[arc])


def cases(
    signatures: list[tuple[str, ...]], claims: Mapping[str, Claim] = CLAIMS, clients: tuple[str, ...] = CLIENTS
) -> Iterator[Case]:
    for rest in itertools.product(claims, ENTRIES, Require, signatures, SPF, ARC, clients):
        yield Case(*rest)


def the_program(case: Case, decide: Callable[..., policy.Judgement] = policy.decide) -> Said:
    evidence = evidence_of(case.signatures, case.spf, case.arc, case.client)
    judged = decide(CLAIMS[case.claim], evidence, entry_of(case.entry, case.require, case.client), TODAY)
    return Said(judged.verdict.value, judged.reason and judged.reason.value, judged.by, judged.waits)


def of_signatures(signatures: tuple[str, ...]) -> str:
    """DKIM in a word: what its best signature is."""
    return next((word for word in ("proven", "silent", "in doubt") if word in signatures), "no")


def of_one(state: str) -> str:
    return state if state in ("proven", "silent", "in doubt") else "no"


@functools.cache
def requirement_of(require: Require, dkim: str, spf: str, arc: str, client: str) -> str:
    facts = {"requires": require.value, "DKIM": dkim, "SPF": spf, "ARC": arc, "client": client}
    return first("What the entry requires", facts)["is"]


@functools.cache
def nearest_miss(signatures: tuple[str, ...], spf: str, arc: str, client: str) -> str:
    missed = next((s for s in signatures if s in ("broken", "silent", "in doubt")), None)
    proven = "proven" in signatures or spf == "proven" or client == "inside"
    facts = {
        "DKIM: the first signature of the platform's that does not count": "says why" if missed else "none",
        "SPF": "not evaluated behind a relay" if spf.startswith("behind") else spf,
        "anything proven by DKIM, SPF or network": "yes" if proven else "no",
        "ARC": "does not hold" if arc in ("broken", "silent", "in doubt") else arc,
    }
    reason = first("The nearest miss", facts)["reason"]
    whose = {
        "that of the signature": SIGNATURES[missed].reason if missed else None,
        "that of SPF": SPF[spf].reason,
        "that of ARC": ARC[arc].reason,
    }
    return str(whose.get(reason, reason))


@functools.cache
def verdict_of(claim: str, entry: str, requirement: str) -> Row:
    facts = {"From shows": claim, "entry": entry, "the requirement is": requirement}
    return first("What is said of the message", facts)


def the_table(case: Case) -> Said:
    dkim, spf, arc = of_signatures(case.signatures), of_one(case.spf), of_one(case.arc)
    row = verdict_of(case.claim, case.entry, requirement_of(case.require, dkim, spf, arc, case.client))
    reason: str | None = row["reason"]
    if reason == "that of the claim":
        reason = CLAIMS[case.claim].reason
    elif reason == "the nearest miss":
        reason = nearest_miss(case.signatures, case.spf, case.arc, case.client)
    by: tuple[str, ...] = ()
    if row["verdict"] in ("verified", "unlisted"):
        proven = {"dkim": dkim, "spf": spf, "network": case.client, "arc": arc}
        named = first("What is named as the proof", {"requires": case.require.value})["named, where it is proven"]
        by = tuple(kind for kind in named.split() if proven[kind] in ("proven", "inside"))
    return Said(row["verdict"], None if reason == "none" else reason, by, row["waits"] == "yes")


def test_the_program_says_what_the_table_says() -> None:
    """All of them: some 400,000."""
    others = {claim: CLAIMS[claim] for claim in CLAIMS if claim not in JUDGED}
    every = itertools.chain(cases(ALL_SIGNATURES, JUDGED), cases(SOME_SIGNATURES, others))
    wrong = [case for case in every if the_program(case) != the_table(case)]
    assert not wrong, f"{len(wrong)}, such as {wrong[0]}: {the_program(wrong[0])}, expected {the_table(wrong[0])}"
    unreached = {(title, n) for title, rows in TABLE.items() for n in range(len(rows))} - REACHED
    assert not unreached, "rows that decide nothing"


def test_only_what_is_listed_and_proven_is_verified() -> None:
    """The table itself, in one sentence: it could be wrong, too."""
    for case in cases(SOME_SIGNATURES):
        if the_table(case).verdict == "verified":
            assert case.claim == "a listed address"
            assert case.entry in ("for good", "the last day")
            assert "proven" in (*case.signatures, case.spf, case.arc) or case.client == "inside"


# ---- every condition matters by itself -----------------------------------------------------------------

Trace = tuple[tuple[int, bool], ...]


class _Probes(ast.NodeTransformer):
    """Wraps each condition of some functions, so that its value is told to `_seen`; `match` becomes `if`."""

    def __init__(self) -> None:
        self.conditions: list[str] = []

    def _condition(self, test: ast.expr) -> ast.expr:
        match test:
            case ast.BoolOp():
                test.values = [self._condition(value) for value in test.values]
                return test
            case ast.UnaryOp(op=ast.Not()):
                test.operand = self._condition(test.operand)
                return test
        self.conditions.append(ast.unparse(test))
        number = ast.Constant(len(self.conditions) - 1)
        return ast.Call(ast.Name("_seen", ast.Load()), [number, test], [])

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._condition(node.test)
        node.body = [self.visit(statement) for statement in node.body]
        node.orelse = [self.visit(statement) for statement in node.orelse]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self._condition(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_Match(self, node: ast.Match) -> ast.AST:
        cases = {ast.unparse(case.pattern) for case in node.cases}
        assert cases == {f"Require.{require.name}" for require in Require}, "the last one is all that is left"
        chain: list[ast.stmt] = node.cases[-1].body
        for case in reversed(node.cases[:-1]):
            assert isinstance(case.pattern, ast.MatchValue)
            assert case.guard is None
            test = ast.Compare(copy.deepcopy(node.subject), [ast.Eq()], [case.pattern.value])
            chain = [ast.If(test, case.body, chain)]
        return self.visit(chain[0])  # type: ignore[no-any-return]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        assert not isinstance(node, ast.While | ast.Assert | ast.comprehension | ast.BoolOp), "a condition of its own"
        return super().generic_visit(node)


def compiled(tree: ast.Module, **names: Any) -> dict[str, Any]:
    """The module's names, its code changed."""
    found: dict[str, Any] = {"__name__": policy.__name__, "__package__": "pratique", **names}
    exec(compile(ast.fix_missing_locations(tree), policy.__file__, "exec"), found)
    return found


def source() -> ast.Module:
    return ast.parse(Path(policy.__file__).read_text(encoding="utf-8"))


def traces(name: str) -> tuple[list[str], dict[object, set[tuple[Trace, object]]]]:
    """The conditions of a function, and for each way through them what it returned: by what else it was given, which
    is evidence for `requirement`. (For `decide` that is one of its conditions.)"""
    tree, probes = source(), _Probes()
    tree.body = [probes.visit(n) if isinstance(n, ast.FunctionDef) and n.name == name else n for n in tree.body]
    now: list[tuple[int, bool]] = []

    def seen(number: int, value: object) -> bool:
        now.append((number, bool(value)))
        return bool(value)

    function = compiled(tree, _seen=seen)[name]
    found: dict[object, set[tuple[Trace, object]]] = {}
    for case in cases(SOME_SIGNATURES, clients=CLIENTS if name == "decide" else (*CLIENTS, STRAY)):
        entry = entry_of(case.entry, case.require, case.client)
        now.clear()
        if name == "decide":
            said: object = the_program(case, function)
        elif entry:
            said = function(entry, evidence_of(case.signatures, case.spf, case.arc, case.client))
        else:
            continue
        given = (case.signatures, case.spf, case.arc) if name == "requirement" else None
        found.setdefault(given, set()).add((tuple(now), said))
    return probes.conditions, found


@pytest.mark.parametrize(("name", "least"), [("decide", 8), ("requirement", 6)])
def test_every_condition_changes_what_is_said_by_itself(name: str, least: int) -> None:
    """MC/DC with masking: for each condition two runs of its function that were given the same evidence, differ in it,
    agree in all others that both evaluated, and return something else."""
    conditions, found = traces(name)
    assert len(conditions) >= least
    shown = set()
    pairs = (itertools.combinations([(dict(t), said) for t, said in runs], 2) for runs in found.values())
    for (one, said), (other, otherwise) in itertools.chain.from_iterable(pairs):
        differing = [number for number in one.keys() & other.keys() if one[number] != other[number]]
        if said != otherwise and len(differing) == 1:
            shown.add(differing[0])
    missing = [text for number, text in enumerate(conditions) if number not in shown]
    assert not missing, f"conditions that are not shown to matter: {missing}"


# ---- a changed program is noticed ------------------------------------------------------------------------


def mutants() -> Iterator[tuple[str, ast.Module]]:
    """The program with one thing changed: a condition turned round, `|` for `&`, another word, another value."""
    nodes = [
        (function.name, number, node)
        for function in source().body
        if isinstance(function, ast.FunctionDef)
        for number, node in enumerate(ast.walk(function))
    ]
    for name, number, node in nodes:
        for what, change in changes(node):
            tree = source()
            function = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == name)
            changed = list(ast.walk(function))[number]
            change(changed)
            yield f"{name}: {ast.unparse(node)[:60]!r}: {what}", tree


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    match node:
        case ast.Compare(ops=[ast.Is()]):
            yield "turned round", lambda n: n.ops.__setitem__(0, ast.IsNot())
        case ast.BoolOp(op=ast.Or()):
            yield "`and` for `or`", lambda n: setattr(n, "op", ast.And())
        case ast.BoolOp(op=ast.And()):
            yield "`or` for `and`", lambda n: setattr(n, "op", ast.Or())
        case ast.BinOp(op=ast.BitOr()) if not isinstance(node.right, ast.Constant):
            yield "`&` for `|`", lambda n: setattr(n, "op", ast.BitAnd())
        case ast.BinOp(op=ast.BitAnd()):
            yield "`|` for `&`", lambda n: setattr(n, "op", ast.BitOr())
        case ast.UnaryOp(op=ast.Not()):
            yield "without `not`", lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
        case ast.Attribute(value=ast.Name(id="Truth" | "Verdict" | "Reason" | "Require" | "ClaimKind" as kind)):
            for other in OTHERS[kind]:
                if other != node.attr:
                    yield f"{other} for it", lambda n, other=other: setattr(n, "attr", other)  # type: ignore[misc]
        case ast.Constant(value=bool()):
            yield "turned round", lambda n: setattr(n, "value", not n.value)


OTHERS = {
    "Truth": ["TRUE", "UNKNOWN", "FALSE"],
    "Verdict": ["VERIFIED", "UNLISTED"],
    "Reason": ["NO_ALIGNED_PASS"],
    "Require": ["ANY"],
    "ClaimKind": ["LISTED", "NONE"],
}


def test_a_changed_program_disagrees_with_the_table() -> None:
    order = list(cases(SOME_SIGNATURES))
    random.Random(1).shuffle(order)  # so that a difference comes soon
    expected = [(case, the_table(case)) for case in order]
    survivors, count = [], 0
    for name, tree in mutants():
        count += 1
        decide = compiled(tree)["decide"]
        if all(same(case, said, decide) for case, said in expected):
            survivors.append(name)
    assert count > 50
    assert not survivors


def same(case: Case, expected: Said, decide: Callable[..., policy.Judgement]) -> bool:
    try:
        return the_program(case, decide) == expected
    except (AttributeError, TypeError, ValueError):  # a mutant that falls over
        return False

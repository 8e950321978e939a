"""The catalogue, and the way of a platform into a list that somebody wrote by hand: only lines are added."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from pratique import config
from pratique.config import ConfigError
from pratique.config.catalogue import Platform, parse_catalogue
from pratique.config.insertion import InsertionError, with_entry

from harness.service import PROGRAM

SHIPPED = ROOT / "config" / "catalogue.yaml"
LIST = (ROOT / "config" / "trusted-senders.yaml").read_text()
VALUES = {"name": "Ü, Ltd: #1", "domain": "new.example", "addresses": ["a@new.example", "*@b.new.example"]}


def pratique(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30, check=False)


def catalogue(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return pratique("catalogue", *arguments)


def adds_lines_only(old: str, new: str) -> bool:
    """Whether `new` is `old` with whole lines put in at one place, in the line ends and final state of `old`."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if old and not before[-1].endswith(("\n", "\r")):  # no final line end: there is still none
        if after[-1].endswith(("\n", "\r")):
            return False
        before[-1], after[-1] = before[-1] + "\n", after[-1] + "\n"
        after = [line.replace("\r\n", "\n") for line in after]
        before = [line.replace("\r\n", "\n") for line in before]
    many = len(after) - len(before)
    return many > 0 and any(before == after[:at] + after[at + many :] for at in range(len(before) + 1))


def shipped() -> dict[str, Platform]:
    return parse_catalogue(SHIPPED.read_text(), "catalogue.yaml")


# ---- the file ----------------------------------------------------------------------------------------


def test_the_shipped_catalogue_holds_what_was_found_and_nothing_else() -> None:
    platforms = shipped()
    assert {name: (p.grade, p.country, p.trusted) for name, p in platforms.items()} == {
        "ternum-bfc": (
            "A", "FR", ["ne_pas_repondre@ternum-bfc.fr", "nepasrepondre@ternum-bfc.fr",
                        "nepasrepondre@marches.ternum-bfc.fr", "ne-pas-repondre@ternum-bfc.fr"],
        ),
        "visma-opic": (
            "A", "SE", ["noreply.opic@visma.com", "noreply.upphandlingskoll@visma.com", "noreply.analys@visma.com"],
        ),
        "aws-achat": (
            "A", "FR", ["courrier@aws-france.com", "entreprises@aws-france.com", "alertes-entreprises@aws-france.com",
                        "support-entreprises@aws-france.com"],
        ),
        "ensolva": ("A", "HR", ["ensolva@ris.hr"]),
        "supplios": ("A", None, ["*@relay.supplios.com", "*@eu.supplios.com"]),
        "find-a-tender": ("B", "UK", ["noreply@find-tender.service.gov.uk"]),
        "public-purchase": ("B", "US", ["notices@publicpurchase.com"]),
    }  # fmt: skip
    assert all(str(p.seen) == "2026-11-22" and p.source.startswith("https://") for p in platforms.values())


def test_what_the_shipped_list_trusts_is_what_the_catalogue_says() -> None:
    platforms = shipped()
    for entry in config.parse_senders(LIST, "list"):
        assert [f"{local}@{domain}" for local, domain in entry.addresses] == platforms[entry.id].trusted


GOOD = """\
platforms:
  x:
    name: X
    language: en
    domain: x.example
    addresses: [a@x.example]
    source: https://x.example
    seen: 2026-11-22
    grade: A
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("grade: A", "grade: C", 'f:9:12: platforms.x.grade: found "C": expected one of A, B'),
        ("seen: 2026-11-22", "seen: yesterday", "f:8:11: platforms.x.seen: found"),
        (
            "[a@x.example]",
            "[a@y.example]",
            'f:6:17: platforms.x.addresses[1]: found "a@y.example": expected an address of',
        ),
        ("[a@x.example]", '["*@x.example"]', "expected an exact address, or the domain under `domains`"),
        ("    addresses: [a@x.example]\n", "", "f:3:5: platforms.x: expected `addresses`, or `domains`"),
        (
            "addresses: [a@x.example]",
            "domains: [y.example]",
            "f:6:15: platforms.x.domains[1]: found y.example: expected",
        ),
        ("  x:", "  X!:", "expected a short id"),
        ("grade: A", "grade: A\n    graed: A", "there is no such key: did you mean grade?"),
        ("    source: https://x.example\n", "", "platforms.x.source: this key is missing"),
        ("language: en", "language: english", "platforms.x.language"),
        (GOOD, "", "platforms: this key is missing"),
        (GOOD, "platforms: {}", "platforms"),
    ],
)
def test_bad_catalogues(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_catalogue(GOOD.replace(old, new), "f")
    assert text in str(caught.value)


def test_a_bad_or_missing_catalogue_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "c").write_text(GOOD.replace("grade: A", "grade: Z"))
    for name, text in (("c", ":9:12: platforms.x.grade"), ("none", "No such file")):
        result = catalogue("list", "--catalogue", tmp_path / name)
        assert (result.returncode, result.stdout) == (78, "")
        assert text in result.stderr


# ---- list, search, show ------------------------------------------------------------------------------


def test_list_and_search() -> None:
    assert catalogue().stdout == catalogue("list").stdout
    assert len(catalogue().stdout.splitlines()) == 8
    for words, names in {
        ("territoires", "NUMERIQUES"): ["ternum-bfc"],
        ("avenue-web",): ["aws-achat"],
        ("ensolva@ris.hr",): ["ensolva"],
        ("fr", "grade"): [],
        ("uk",): ["find-a-tender"],
        ("relay.supplios.com",): ["supplios"],
    }.items():
        result = catalogue("--json", *words)
        assert [p["id"] for p in json.loads(result.stdout)] == names
        assert result.returncode == (0 if names else 1)
    result = catalogue("search", "nothing\x1b[31m")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "pratique: no platform in the catalogue holds nothing\\x1b[31m\n"


def test_show() -> None:
    result = catalogue("show", "supplios")
    assert result.returncode == 0
    assert (
        "every mailbox of relay.supplios.com, every mailbox of eu.supplios.com, whoever has one there, "
        in result.stdout
    )
    entry = result.stdout.partition("\n\n")[2]
    assert yaml.safe_load(entry)["supplios"]["whole_domain"] is True
    shown = json.loads(catalogue("show", "--json", "supplios").stdout)
    assert shown["entry"] == entry
    assert shown["domains"] == ["relay.supplios.com", "eu.supplios.com"]
    result = catalogue("show", "supplio")
    assert (result.returncode, result.stdout) == (64, "")
    assert result.stderr == "pratique: supplio: not in the catalogue: did you mean supplios?\n"


# ---- add ---------------------------------------------------------------------------------------------


class Place:
    """A configuration of its own, with the shipped catalogue."""

    def __init__(self, folder: Path, senders: str | bytes = LIST, service: str = "") -> None:
        self.service = folder / "pratique.yaml"
        self.list = folder / "trusted-senders.yaml"
        self.service.write_text(service)
        self.list.write_bytes(senders.encode() if isinstance(senders, str) else senders)

    def add(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return catalogue("add", "--config", self.service, "--catalogue", SHIPPED, *arguments)

    def refuses(self, status: int, text: str, *arguments: str) -> None:
        """Nothing is changed, and nothing left behind."""
        before = {path: path.read_bytes() for path in self.service.parent.iterdir() if path.is_file()}
        result = self.add(*arguments)
        assert (result.returncode, result.stdout) == (status, ""), result.stderr
        assert text in result.stderr
        assert "othing was changed" in result.stderr
        assert {path: path.read_bytes() for path in self.service.parent.iterdir() if path.is_file()} == before


def test_add(tmp_path: Path) -> None:
    place = Place(tmp_path)
    result = place.add("ensolva")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"{place.list}: added ensolva\n"
        "ensolva trusts ensolva@ris.hr where DKIM or SPF proves ris.hr or a domain below it\n"
        "To take it into use: pratique reload\n"
    )
    assert place.list.read_text() == LIST + (
        "\n  ensolva:\n    name:\n      - ENSOLVA eProcurement\n      - ENSOLVA\n"
        "    domain: ris.hr\n    addresses:\n      - ensolva@ris.hr\n"
        "    source: https://portal.ensolva.com/page/email-whitelist\n"
        "    note: from the catalogue, seen 2026-11-22, grade A\n"
    )


@pytest.mark.parametrize("name", shipped())
def test_every_platform_can_be_added_and_is_then_trusted_as_told(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path, "senders:\n  other:\n    domain: other.example\n    addresses: [a@other.example]\n")
    assert place.add(name, "--yes").returncode == 0
    entry = config.load(place.service).senders.entry(name)
    assert entry is not None
    assert [f"{local}@{domain}" for local, domain in entry.addresses] == shipped()[name].trusted
    assert entry.note


def test_grade_b_asks_for_yes(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.refuses(64, "public-purchase is of grade B: these addresses come from elsewhere than", "public-purchase")
    assert place.add("public-purchase", "--yes").returncode == 0


def test_what_is_there_already(tmp_path: Path) -> None:
    place = Place(tmp_path)
    line = LIST.splitlines().index("  visma-opic:") + 1
    place.refuses(78, f"{place.list}:{line}:3: senders.visma-opic: this entry is there already\n", "visma-opic")
    for listed in ("ENSOLVA@ris.hr", '"*@ris.hr"'):
        text = (
            f"senders:\n  x:\n    enabled: no\n    domain: ris.hr\n    whole_domain: yes\n    addresses: [{listed}]\n"
        )
        text += "  y:\n    domain: y.example\n    addresses: [a@y.example]\n"
        Place(tmp_path, text).refuses(78, "is trusted already, by the entry x", "ensolva")


@pytest.mark.parametrize(
    ("senders", "service", "text"),
    [
        ("senders:\n  x:\n    domain: fr\n", "", ":3:13: senders.x.domain"),
        ("senders: [\n", "", "a [ or { is never closed"),
        ("list: {}\n", "", "there is no `senders:` in it"),
        ("", "", "there is no `senders:` in it"),
        (
            "senders: {x: {domain: x.example, addresses: [a@x.example]}}\n",
            "",
            "by changing a line. Add it by hand:\n  ens",
        ),
        (LIST, "local_domains: [ris.hr]\n", "it overlaps ris.hr, one of your own local_domains"),
        (LIST, "mod: x\n", "did you mean mode?"),
        (LIST, "senders: nowhere.yaml\n", "nowhere.yaml: No such file"),
        (b"\xff", "", "not UTF-8"),
    ],
)
def test_what_would_not_hold_is_not_written(senders: str | bytes, service: str, text: str, tmp_path: Path) -> None:
    Place(tmp_path, senders, service).refuses(78, text, "ensolva")


def test_mode_owner_and_symbolic_link_are_kept(tmp_path: Path) -> None:
    place = Place(tmp_path)
    real = tmp_path / "real.txt"
    place.list.rename(real)
    place.list.symlink_to(real.name)
    real.chmod(0o640)
    os.chown(real, 1234, 2345)
    assert place.add("ensolva").returncode == 0
    assert place.list.is_symlink()
    status = real.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 2345)
    assert "ensolva@ris.hr" in real.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pratique.yaml", "real.txt", "trusted-senders.yaml"]


def test_a_folder_gets_a_file(tmp_path: Path) -> None:
    place = Place(tmp_path, service="senders: list.d\n")
    folder = tmp_path / "list.d"
    folder.mkdir()
    (folder / "a.yaml").write_text(LIST)
    (folder / "a.yaml").chmod(0o640)
    assert place.add("ensolva").returncode == 0
    assert (folder / "a.yaml").read_text() == LIST
    assert (folder / "ensolva.yaml").read_text().startswith("senders:\n  ensolva:\n    name:\n      - ENSOLVA")
    assert (folder / "ensolva.yaml").stat().st_mode & 0o7777 == 0o640
    place.refuses(78, "ensolva.yaml:2:3: senders.ensolva: this entry is there already", "ensolva")
    place.refuses(78, "a.yaml", "visma-opic")


def test_a_full_disk_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    place = Place(tmp_path)
    command = f'ulimit -f 1; "{PROGRAM}" catalogue add ensolva --config "{place.service}" --catalogue "{SHIPPED}"'
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout) == (73, "")
    assert result.stderr == f"pratique: {place.list}: File too large; nothing was changed\n"
    assert place.list.read_text() == LIST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pratique.yaml", "trusted-senders.yaml"]


# ---- only lines are added ----------------------------------------------------------------------------

ONE = "senders:\n  a:\n    domain: a.example\n    addresses: [x@a.example]\n"
HAND_MADE = {
    "crlf": LIST.replace("\n", "\r\n"),
    "no final line end": LIST.rstrip("\n"),
    "crlf, no final line end": LIST.rstrip("\n").replace("\n", "\r\n"),
    "indented oddly": (
        "# top\n\nsenders:   # the list\n\n     a-b :  # one\n           domain:    'a.example'\n"
        '           addresses:\n           -   "x@a.example"   # first\n'
        "           -   y@a.example\n             # the last of them\n     # c: later\n\n\n# end\n"
    ),
    "flow inside": "senders:\n  a: {domain: a.example, addresses: [x@a.example,\n      y@a.example]}   # two\n# e",
    "braces": "senders: {\n  a: {domain: a.example, addresses: [x@a.example]},\n  # last\n}\n",
    "braces, no comma": "senders:\n  {\n  a: {domain: a.example, addresses: [x@a.example]}  # , \n  }\n",
    "text block": ONE + "    note: |\n      one\n\n      two\n\n\n",
    "kept text block": ONE + "    note: |+\n      one\n\n\n# end\n",
    "folded": "senders:\n  a:\n    domain: a.example\n    note: >-\n      one\n      two\n    addresses: [x@a.example]",
    "multi-line plain": ONE + "    note: one\n      two\n     # x\n",
    "nothing below": "# start\nsenders:  # none yet\n# end\n",
    "nothing below, indented": "  senders:\n",
    "document marks": "%YAML 1.1\n---\nsenders:\n  a:\n    domain: a.example\n    addresses: [x@a.example]\n...\n",
    "byte order mark": "\ufeff" + ONE,
    "dense": ONE + "  b:\n    domain: b.example\n    addresses: [x@b.example]\n",
    "quoted keys": '"senders":\n  "a":\n    "domain": a.example\n    "addresses": [x@a.example]\n',
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_lists(name: str, tmp_path: Path) -> None:
    text = HAND_MADE[name]
    place = Place(tmp_path, text.encode())
    result = place.add("ensolva")
    assert result.returncode == 0, result.stderr
    new = place.list.read_bytes().decode()
    assert adds_lines_only(text, new), new
    assert config.load(place.service).senders.entry("ensolva") is not None
    assert ("\r\n" in text) == ("\r\n" in new)
    assert new.count("\r\n") in (0, new.count("\n"))


def test_the_habits_of_the_list_are_taken_over(tmp_path: Path) -> None:
    place = Place(tmp_path, HAND_MADE["indented oddly"])
    place.add("ensolva")
    assert "     ensolva:\n           name:\n           - ENSOLVA eProcurement\n" in place.list.read_text()
    assert "\n           addresses:\n           - ensolva@ris.hr\n" in place.list.read_text()
    place = Place(tmp_path, HAND_MADE["dense"])
    place.add("ensolva")
    assert "[x@b.example]\n  ensolva:\n" in place.list.read_text()


comments = st.sampled_from(["", "  # x: y", " #", "\t# tab"])
blanks = st.sampled_from(["", "\n", "\n\n", "# note\n", "  # note\n", "      # deep: [\n"])


@st.composite
def lists(draw: st.DrawFn) -> str:
    """A list as somebody may have written it."""
    column, step, dash = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 4))
    text = draw(blanks) + "senders:" + draw(comments) + "\n"
    for number in range(draw(st.integers(1, 3))):
        id_, pad, item = " " * column, " " * (column + step), " " * (column + step + dash)
        address = f"a@e{number}.example"
        address = draw(st.sampled_from([address, f'"{address}"', f"'{address}'"]))
        styles = [
            f"{pad}addresses: [{address}]{draw(comments)}\n",
            f"{pad}addresses:\n{item}- {address}{draw(comments)}\n",
        ]
        more = [
            "",
            f"{pad}note: a b\n",
            f"{pad}note: >\n{item} b\n{item}  c\n",
            f"{pad}note: |+\n{pad} b\n\n",
            f'{pad}note: "b\n{pad} c"\n',
            f"{pad}owner:\n{pad}  x\n",
        ]
        keys = [
            f"{pad}domain:  e{number}.example{draw(comments)}\n",
            draw(st.sampled_from(styles)),
            draw(st.sampled_from(more)),
        ]
        text += draw(blanks) + f"{id_}e{number}:{draw(comments)}\n"
        text += "".join(draw(st.permutations(keys))) + draw(blanks)
    text += draw(blanks)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@settings(max_examples=settings().max_examples // 4)
@given(lists())
def test_any_list_gets_lines_only(text: str) -> None:
    try:
        before = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    new = with_entry(text, "new", VALUES)
    assert adds_lines_only(text, new)
    after = yaml.safe_load(new)
    assert after["senders"].pop("new") == VALUES
    assert after == before


@settings(max_examples=settings().max_examples // 4)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_list_is_refused_or_gets_lines_only(chance: random.Random, many: int) -> None:
    """The shipped list with lines dropped, doubled, moved in or out, or cut."""
    lines = LIST.splitlines()
    for _ in range(many):
        at = chance.randrange(len(lines))
        edits = {"drop": [], "double": [lines[at]] * 2, "in": [" " + lines[at]], "out": [lines[at][1:]],
                 "cut": [lines[at][: len(lines[at]) // 2]], "brace": [lines[at] + " {"]}  # fmt: skip
        lines[at : at + 1] = chance.choice([*edits.values()])
        lines = lines or [""]
    text = "\n".join(lines) + "\n"
    try:
        new = with_entry(text, "new", VALUES)
    except InsertionError:
        return
    assert adds_lines_only(text, new)
    assert yaml.safe_load(new)["senders"]["new"] == VALUES

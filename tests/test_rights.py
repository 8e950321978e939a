"""Every command as a user without rights: one line that says which right is missing, and a documented exit status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

from harness.service import PROGRAM

NOBODY = 65534
EDITORS = 54321  # a group of people who may edit the list

# As another user Python may not be readable here: so everything is loaded before.
AS_USER = """
import encodings.idna, encodings.punycode, os, sys, wsgiref.simple_server
import rich.progress, rich.console, ruamel.yaml
import pratique.cli, pratique.service.metrics
import pratique.cli.catalogue, pratique.cli.check, pratique.cli.doctor, pratique.cli.explain, pratique.cli.export
import pratique.cli.reload
group = int(sys.argv.pop(1))
os.setgroups([group] if group else []); os.setgid(65534); os.setuid(65534); os.umask(0o022)
pratique.cli.main()
"""


class Site:
    """A configuration in a folder that every user may enter, and commands of an unprivileged user there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "etc" / "pratique.yaml"
        self.list = folder / "etc" / "trusted-senders.yaml"
        self.list.parent.mkdir(mode=0o755)
        for name in ("pratique.yaml", "trusted-senders.yaml", "catalogue.yaml"):
            shutil.copyfile(ROOT / "config" / name, self.list.parent / name)
            (self.list.parent / name).chmod(0o644)
        self.message = self.write("message.eml", "From: x@shop.example\n\nbody\n")
        self.zone = self.write("zone", "ternum-bfc.fr TXT x\n")
        self.log = self.write("log", "")

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o644)
        return self.folder / name

    def run(self, *arguments: str | Path, group: int = 0, program: str = AS_USER) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [sys.executable, "-c", program, str(group), *arguments]
        if "--config" not in arguments:
            command += ["--config", self.config]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")

    def explain(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        return ("explain", "--client", "192.0.2.1", "--mail-from", "<>", *arguments)


@pytest.fixture
def site() -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.fail("these tests become other users: run them as root")
    folder = Path(tempfile.mkdtemp(prefix="pratique-rights-"))
    folder.chmod(0o755)
    try:
        yield Site(folder)
    finally:
        shutil.rmtree(folder)


def says(result: subprocess.CompletedProcess[str], status: int, text: str) -> None:
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == status, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("pratique: warning: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("pratique: ")
    assert text in lines[0]


EVERY = ["run", "check", "doctor", "export", "catalogue add", "explain"]


def arguments(site: Site, command: str) -> tuple[str | Path, ...]:
    match command:
        case "explain":
            return site.explain("--zone", site.zone, site.message)
        case "doctor":
            return ("doctor", "--zone", site.zone)
        case "export":
            return ("export", "--to", "rspamd")
        case "catalogue add":
            return ("catalogue", "add", "ensolva")
        case _:
            return (command,)


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize("name", ["pratique.yaml", "trusted-senders.yaml"])
def test_a_file_of_the_configuration_that_may_not_be_read(command: str, name: str, site: Site) -> None:
    (site.list.parent / name).chmod(0o640)
    result = site.run(*arguments(site, command))
    says(result, 78, f"{name}: permission denied: nobody may not read {name} (owner root, group root, mode 0640)")


@pytest.mark.parametrize("command", EVERY)
def test_a_folder_that_may_not_be_entered(command: str, site: Site) -> None:
    site.list.parent.chmod(0o700)
    folder = site.list.parent
    text = f"permission denied: nobody may not enter the folder {folder} (owner root, group root, mode 0700)"
    says(site.run(*arguments(site, command)), 78, text)


@pytest.mark.parametrize("command", EVERY)
def test_a_folder_of_lists_that_may_not_be_read(command: str, site: Site) -> None:
    lists = site.folder / "lists"
    lists.mkdir(mode=0o700)
    shutil.copyfile(site.list, lists / "a.yaml")
    site.config.write_text(f"senders: {lists}\n")
    result = site.run(*arguments(site, command))
    assert result.returncode == 78
    assert "Traceback" not in result.stderr
    assert f"pratique: {lists}: permission denied: nobody may not read lists (owner root" in result.stderr


def test_other_files_that_may_not_be_read(site: Site) -> None:
    catalogue = site.list.parent / "catalogue.yaml"
    for file in (site.message, site.zone, site.log, catalogue):
        file.chmod(0o600)
    old = site.write("old.yaml", "senders: {}\n")
    old.chmod(0o600)
    right = "permission denied: nobody may not read {} (owner root, group root, mode 0600)"
    empty = site.write("empty.zone", "")
    says(site.run(*site.explain("--zone", empty, site.message)), 65, right.format("message.eml"))
    says(site.run(*site.explain("--zone", site.zone, site.message)), 78, right.format("zone"))
    says(site.run("doctor", "--zone", empty, "--log", site.log), 65, right.format("log"))
    says(site.run("check", "--against", old), 78, right.format("old.yaml"))
    for command in (("catalogue", "list"), ("catalogue", "show", "ensolva"), ("catalogue", "add", "ensolva")):
        says(site.run(*command, "--catalogue", catalogue), 78, right.format("catalogue.yaml"))


def test_a_list_that_may_not_be_written(site: Site) -> None:
    before = site.list.read_bytes()
    result = site.run("catalogue", "add", "ensolva")
    text = "permission denied: nobody may not write to trusted-senders.yaml (owner root, group root, mode 0644); "
    says(result, 73, f"{site.list}: {text}nothing was changed")
    assert site.list.read_bytes() == before


def test_a_folder_of_lists_that_may_not_be_written(site: Site) -> None:
    lists = site.folder / "lists"
    lists.mkdir(mode=0o755)
    shutil.copyfile(site.list, lists / "a.yaml")
    site.config.write_text(f"senders: {lists}\n")
    text = f"permission denied: nobody may not write to the folder {lists} (owner root, group root, mode 0755)"
    says(site.run("catalogue", "add", "ensolva"), 73, text)
    assert [path.name for path in lists.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize("mode", [0o755, 0o2775])
def test_a_member_of_the_lists_group_adds_to_it(mode: int, site: Site) -> None:
    """Whether the group may write to the folder, too, or only to the list: owner, group and mode stay."""
    os.chown(site.list, 0, EDITORS)
    site.list.chmod(0o664)
    if mode & 0o020:
        os.chown(site.list.parent, 0, EDITORS)
    site.list.parent.chmod(mode)
    assert site.run("catalogue", "add", "ensolva").returncode == 73
    result = site.run("catalogue", "add", "ensolva", group=EDITORS)
    assert (result.returncode, result.stderr) == (0, "")
    status = site.list.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, EDITORS, 0o664)
    assert site.list.read_text().startswith((ROOT / "config" / "trusted-senders.yaml").read_text().rstrip("\n"))
    assert "ensolva@ris.hr" in site.list.read_text()
    assert site.run("check").returncode == 0
    assert len(list(site.list.parent.iterdir())) == 3


def test_a_member_of_the_group_adds_a_file_to_a_folder_of_lists(site: Site) -> None:
    lists = site.folder / "lists"
    lists.mkdir()
    shutil.copyfile(site.list, lists / "a.yaml")
    for path, mode in ((lists, 0o2770), (lists / "a.yaml", 0o660)):
        os.chown(path, 0, EDITORS)
        path.chmod(mode)
    site.config.write_text(f"senders: {lists}\n")
    result = site.run("catalogue", "add", "ensolva", group=EDITORS)
    assert (result.returncode, result.stderr) == (0, "")
    status = (lists / "ensolva.yaml").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (NOBODY, EDITORS, 0o660)


def test_a_full_disk_changes_nothing_in_a_list_that_is_written_in_place(site: Site) -> None:
    os.chown(site.list, 0, EDITORS)
    site.list.chmod(0o664)
    before = site.list.read_bytes()
    assert len(before) < 4096 * 1024
    limit = len(before) // 1024 * 1024  # octets that a file of this process may have: less than the new list
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
{AS_USER}"""
    result = site.run("catalogue", "add", "ensolva", group=EDITORS, program=program)
    says(result, 73, "File too large; nothing was changed")
    assert site.list.read_bytes() == before


def test_reload_of_a_service_that_may_not_be_asked(site: Site) -> None:
    hidden = site.folder / "run"
    hidden.mkdir(mode=0o700)
    site.config.write_text(f"socket: unix:{hidden}/milter.sock\n")
    text = "does not let you in, and only root, the service's user and members of the group pratique-editors may ask"
    says(site.run("reload"), 77, text)


def test_reload_with_a_configuration_that_may_not_be_read(site: Site) -> None:
    """It names the socket of the service: without it, none is found."""
    site.config.write_text(f"socket: unix:{site.folder}/milter.sock\n")
    site.config.chmod(0o600)
    says(site.run("reload"), 77, "permission denied: nobody may not read pratique.yaml (owner root")


def test_a_port_that_only_root_may_use(site: Site) -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert start > 25, "this machine lets every user listen on every port"
    for text in ("socket: inet:25@127.0.0.1\n", f"socket: unix:{site.folder}/s\nmetrics: {{listen: 127.0.0.1:25}}\n"):
        site.config.write_text(text)
        site.folder.chmod(0o777)
        says(site.run("run"), 73, "Permission denied: only root may listen on port 25; take one above 1023")


def test_root_does_not_take_the_socket_of_the_service(site: Site) -> None:
    """As root it would work, and the service's own user could not open the socket any more."""
    folder = site.folder / "run"
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    site.config.write_text(f"socket: unix:{folder}/milter.sock\n")
    result = subprocess.run([PROGRAM, "run", "--config", site.config], capture_output=True, text=True, timeout=30)
    text = f"the folder {folder} belongs to nobody, and this is root: start the service with `systemctl start pratique`"
    says(result, 73, text)
    assert list(folder.iterdir()) == []


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "wb") as full:
        for command in (["export", "--to", "rspamd"], ["check"], ["catalogue", "list"]):
            result = subprocess.run(
                [PROGRAM, *command, "--config", ROOT / "config" / "pratique.yaml"],
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
            says(result, 74, "cannot write: No space left on device")

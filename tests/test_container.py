"""systemd/ in a booted Debian with a real Postfix: each test leaves the service running for the next one.

Minutes, so in full runs only: `tests/container`, or `tests/check --full`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from conftest import ROOT

from harness import corpus
from harness.container import Container
from harness.mail import OPIC, notice
from harness.ports import wait_until

pytestmark = pytest.mark.full

INSTALL = "cd /checkout && PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels systemd/install"
LIST = "/etc/pratique/trusted-senders.yaml"
# Each library at work: RSA, Ed25519, SPF, what looks alike, nothing.
JUDGED = ("dkim-rsa-and-ed25519", "dkim-ed25519", "spf-a-dual-cidr", "imitation-domain-cyrillic", "no-from-kelvin")
BAD_LIST = "senders:\n  visma-opic:\n    domain: visma.com\n    adresses: [noreply.opic@visma.com]\n"

NETWORK_LIST = """senders:
  visma-opic:
    name: Visma Opic
    domain: visma.com
    addresses: [noreply.opic@visma.com]
    networks: [192.0.2.7]
    require: network
"""

# 127.0.0.1 would be one of `local_networks`. Prints `CODE TEXT` of the last reply.
SEND = """
import smtplib, sys
s = smtplib.SMTP("192.0.2.1", 25, "mail.example", source_address=("192.0.2.7", 0))
s.ehlo()
message = sys.stdin.buffer.read()
for step in (lambda: s.mail("b@visma.com"), lambda: s.rcpt("marches@commune.example"), lambda: s.data(message)):
    code, text = step()
    if code >= 400:
        break
print(code, text.decode())
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Container]:
    """Postfix is told what systemd/install prints."""
    with Container() as container:
        container.run(
            """
            ip address add 192.0.2.1/24 dev lo
            ip address add 192.0.2.7/32 dev lo
            useradd marches
            postconf -e myhostname=mx1.example.org mydestination=commune.example mynetworks=127.255.255.255/32
            """
        )
        container.write("/root/send.py", SEND)
        said = container.run(INSTALL)
        lines = said.partition("postfix reload:\n")[2].partition("More, with")[0]
        container.write("/root/lines", re.sub(r"(?m)^    ", "", lines))
        container.run("cat /root/lines >> /etc/postfix/main.cf; postfix check; systemctl restart postfix")
        assert wait_until(lambda: " 220 " in f" {container.run(GREETING, check=False)}", 20)
        yield container


GREETING = "exec 3<> /dev/tcp/192.0.2.1/25; head -n 1 <&3"


def send(site: Container, message: bytes) -> str:
    """The reply to a message from 192.0.2.7."""
    site.write("/root/message", message.decode())
    return site.run("python3 /root/send.py < /root/message").strip()


def arrives(site: Container, message: bytes) -> str:
    """A message as it is delivered."""
    site.run("rm -f /var/mail/marches")
    assert send(site, message).startswith("250 ")
    assert wait_until(lambda: "Hej." in site.run("cat /var/mail/marches", check=False), 10)
    return site.run("cat /var/mail/marches")


def property_of(site: Container, name: str) -> str:
    return site.run(f"systemctl show --property={name} --value pratique").strip()


def in_force(site: Container) -> None:
    """The service runs, and mail goes through it."""
    assert property_of(site, "ActiveState") == "active"
    assert "X-Trusted-Sender: unclaimed; host=mx1.example.org" in arrives(site, notice("x@shop.example"))


def test_it_runs_without_rights(site: Container) -> None:
    in_force(site)
    assert re.match(r"\d+ workers, generation 1", property_of(site, "StatusText"))
    status = dict(re.findall(r"(?m)^(\w+):\t(.*)$", site.run("cat /proc/$(systemctl show -P MainPID pratique)/status")))
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert site.run("stat -c '%a %U %G' /var/spool/postfix/pratique /var/spool/postfix/pratique/milter.sock").split(
        "\n"
    )[:2] == ["2750 pratique postfix", "770 pratique postfix"]


def test_mail_is_judged_and_logged(site: Container) -> None:
    """There is no DNS: what claims a trusted sender is undetermined, and too old to be put off."""
    mail = arrives(site, notice(X_Trusted_Sender="verified"))
    assert "X-Trusted-Sender: undetermined; sender=visma-opic; reason=dns-temperror; host=mx1.example.org" in mail
    assert "X-Trusted-Sender: verified" not in mail
    warnings = site.run("journalctl -u pratique -p warning --output=cat")
    assert f"verdict=undetermined action=tag sender=visma-opic from={OPIC}" in warnings


def test_all_that_judges_works_within_the_limits_of_the_unit(site: Container) -> None:
    """Ed25519 and RSA, DKIM and SPF: memory that is never both written and executed, and the system calls."""
    unit = (ROOT / "systemd/pratique.service").read_text()
    service = unit.partition("[Service]")[2].partition("[Install]")[0]
    # What is about the service, or stands in the way of reading the checkout.
    others = r"Exec|Type|Notify|Watchdog|Restart|Timeout|Syslog|Runtime|Cache|KillMode|ReadWrite|OOM|Private(Tmp|Users)"
    limits = [line for line in service.splitlines() if re.match(rf"(?!{others})\w+=", line)]
    cases = [corpus.read(corpus.FOLDER / name) for name in JUDGED]
    for case in cases:
        place = f"/checkout/tests/corpus/{case.name}"
        options = "".join(f" --property='{line}'" for line in limits)
        said = site.run(
            f"systemd-run --quiet --pipe --wait{options} /opt/pratique/bin/pratique explain --zone {place}/zone.txt"
            f" --client '{case.session['client']}' --helo '{case.session['helo']}'"
            f" --mail-from '{case.session['mail_from']}' {place}/message.eml"
        )
        assert f"verdict  {case.expected['verdict']}" in said


def test_reload(site: Container) -> None:
    pid = property_of(site, "MainPID")
    site.run("systemctl reload pratique")
    assert "generation 2" in property_of(site, "StatusText")
    good = site.run(f"cat {LIST}")
    site.write(LIST, BAD_LIST)
    assert site.status("systemctl reload pratique")[0] != 0
    said = site.run("journalctl -u pratique --output=cat")
    assert f"{LIST}:4:" in said
    assert "adresses" in said
    in_force(site)
    site.write(LIST, good)
    site.run("systemctl reload pratique")
    assert property_of(site, "MainPID") == pid


def test_an_upgrade_with_a_bad_list_changes_nothing(site: Container) -> None:
    good, before = site.run(f"cat {LIST}"), site.run("readlink /opt/pratique; ls /opt")
    pid = property_of(site, "MainPID")
    site.write(LIST, BAD_LIST)
    status, said = site.status(INSTALL)
    assert status == 78
    assert f"{LIST}:4:" in said
    assert site.run("readlink /opt/pratique; ls /opt") == before
    assert property_of(site, "MainPID") == pid
    site.write(LIST, good)
    site.run(f"rm -f {LIST}.new")
    in_force(site)


def test_upgrade(site: Container) -> None:
    before, pid = site.run("readlink /opt/pratique").strip(), property_of(site, "MainPID")
    mine = site.run(f"cat {LIST}") + "# mine\n"
    site.write(LIST, mine)
    said = site.run(INSTALL)
    assert f"{LIST} is yours and stays" in said
    assert "Now tell your mail server" not in said
    assert site.run(f"cat {LIST}") == mine
    assert site.run(f"cmp /checkout/config/trusted-senders.yaml {LIST}.new") == ""
    assert site.status("ls /etc/pratique/pratique.yaml.new")[0] != 0
    assert site.run("ls /opt").split() == sorted(["pratique", before, site.run("readlink /opt/pratique").strip()])
    assert property_of(site, "MainPID") != pid
    in_force(site)


def test_an_upgrade_does_not_start_what_was_stopped(site: Container) -> None:
    site.run("systemctl stop pratique")
    assert property_of(site, "Result") == "success"
    assert send(site, notice("x@shop.example")) == "451 4.7.1 Service unavailable - try again later"
    assert "it did not run, and still does not" in site.run(INSTALL)
    assert property_of(site, "ActiveState") == "inactive"
    site.run("systemctl start pratique")
    in_force(site)


def test_a_bad_list_at_start_is_no_endless_loop(site: Container) -> None:
    good = site.run(f"cat {LIST}")
    site.write(LIST, BAD_LIST)
    assert site.status("systemctl restart pratique")[0] != 0
    assert (property_of(site, "ExecMainStatus"), property_of(site, "ActiveState")) == ("78", "failed")
    assert send(site, notice("x@shop.example")).startswith("451 ")
    site.write(LIST, good)
    site.run("systemctl start pratique")
    in_force(site)


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_a_parent_that_dies_or_hangs_is_replaced(site: Container, signal: str) -> None:
    site.write("/etc/systemd/system/pratique.service.d/watchdog.conf", "[Service]\nWatchdogSec=3\n")
    site.run("systemctl daemon-reload; systemctl restart pratique")
    pid = property_of(site, "MainPID")
    site.run(f"kill -{signal} {pid}")
    assert wait_until(lambda: property_of(site, "MainPID") not in (pid, "0"), 60)
    assert wait_until(lambda: property_of(site, "ActiveState") == "active", 20)
    in_force(site)
    site.run("rm -r /etc/systemd/system/pratique.service.d; systemctl daemon-reload; systemctl restart pratique")


def test_behind_sendmail_the_socket_lies_in_run(site: Container) -> None:
    yaml = site.run("cat /etc/pratique/pratique.yaml")
    site.write("/etc/pratique/pratique.yaml", "socket: unix:/run/pratique/milter.sock\n")
    site.run("systemctl restart pratique")
    assert site.run("stat -c '%a %U' /run/pratique/milter.sock").strip() == "770 pratique"
    site.write("/etc/pratique/pratique.yaml", yaml)
    site.run("systemctl restart pratique")
    in_force(site)


def test_rspamd_by_the_readme_alone(site: Container) -> None:
    """The lines of README, "Tell your spam filter", as they stand there. There is no DNS: the client's network is the
    proof, and what rspamd says of a text is written into its log."""
    readme = (ROOT / "README.md").read_text().partition("\nWith rspamd:\n\n")[2]
    lines = re.match(r"(?:    .*\n)+", readme)
    assert lines
    good = site.run(f"cat {LIST}; true > /var/log/rspamd/rspamd.log")
    site.write(LIST, NETWORK_LIST)
    site.run("systemctl reload pratique; cd /checkout; set -e\n" + lines[0])
    try:
        genuine = arrives(site, notice())
        assert "X-Trusted-Sender: verified; sender=visma-opic; by=network; host=mx1.example.org" in genuine
        assert "X-Trusted-Sender: imitation; " in arrives(site, notice('"Visma Opic" <x@shop.example>'))
        log = "cat /var/log/rspamd/rspamd.log"
        assert wait_until(lambda: "PRATIQUE_DOUBT" in site.run(log), 20)
        assert "PRATIQUE_PASS(-1000.00)" in site.run(log)
        test = re.search(r"(?m)^    (printf .* \| rspamc symbols)$", readme)
        assert test
        assert "PRATIQUE_PASS (-1000.00)" in site.run(test[1])
    finally:
        site.write(LIST, good)
        site.run("postconf -e 'smtpd_milters = { unix:pratique/milter.sock, default_action=tempfail }'")
        site.run("systemctl reload postfix pratique; systemctl stop rspamd")


def test_for_a_package(site: Container) -> None:
    site.run(INSTALL.replace("PIP_NO_INDEX", "DESTDIR=/srv/package PIP_NO_INDEX"))
    found = site.run("cd /srv/package && find etc -type f | sort").split()
    shipped = [f"etc/pratique/{path.name}" for path in (ROOT / "config").iterdir() if path.is_file()]
    there = ["etc/sysusers.d/pratique.conf", "etc/systemd/system/pratique.service", "etc/tmpfiles.d/pratique.conf"]
    assert set(shipped + there) <= set(found)
    assert site.run("/srv/package/opt/pratique/bin/pratique --version").startswith("pratique")


def test_uninstall(site: Container) -> None:
    status, said = site.status("/checkout/systemd/uninstall")
    assert status == 78
    assert "smtpd_milters = { unix:pratique/milter.sock" in said
    in_force(site)
    site.run("postconf -# smtpd_milters; systemctl reload postfix")
    assert "kept: /etc/pratique" in site.run("/checkout/systemd/uninstall")
    assert site.run("ls /opt; ls -d /etc/pratique") == "/etc/pratique\n"
    assert site.status("systemctl cat pratique")[0] != 0
    assert "X-Trusted-Sender" not in arrives(site, notice("x@shop.example"))
    site.run("/checkout/systemd/uninstall --purge")
    assert site.status("ls -d /etc/pratique")[0] != 0
    assert site.status("getent passwd pratique")[0] != 0

"""systemd/, README's commands and the recipes in a booted Debian 12 and 13 with the real Postfix, rspamd, SpamAssassin
and Dovecot. Each test leaves the service running for the next one.

Minutes, so in full runs only: `tests/container`, or `tests/check --full`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from conftest import ROOT

from harness import corpus
from harness.container import RELEASES, Container
from harness.mail import OPIC, notice
from harness.ports import wait_until

pytestmark = pytest.mark.full

OFFLINE = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels; "
INSTALL = OFFLINE + "cd /checkout && systemd/install"
# A copy of the checkout that a test may change.
SOURCE = "/root/source"
INSTALL_SOURCE = OFFLINE + f"cd {SOURCE} && systemd/install"
README = (ROOT / "README.md").read_text()
HOST = "mx1.example.org"
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


ADDRESSES = "ip address add 192.0.2.1/24 dev lo; ip address add 192.0.2.7/32 dev lo"


def commands(before: str, text: str = README) -> str:
    """The first indented block of a text after some words of it."""
    block = re.search(r"\n\n((?:    .*\n)+)", text.partition(before)[2])
    assert block, before
    return re.sub(r"(?m)^    ", "", block[1])


def recipe(name: str) -> str:
    """README.md of a folder of config/."""
    return (ROOT / "config" / name / "README.md").read_text()


@pytest.fixture(scope="module", params=RELEASES)
def site(request: pytest.FixtureRequest) -> Iterator[Container]:
    """Installed by the commands of README alone."""
    with Container(request.param) as container:
        container.run(
            f"""
            {ADDRESSES}
            useradd --create-home marches
            useradd --create-home anna
            postconf -e myhostname={HOST} mydestination=commune.example mynetworks=127.255.255.255/32
            mkdir {SOURCE}
            cd /checkout
            cp -r README.md CHANGELOG.md LICENSE setup.cfg pyproject.toml milter config docs systemd {SOURCE}
            """
        )
        container.write("/root/send.py", SEND)
        said = container.run(OFFLINE + "cd /checkout; " + commands("On Debian 12 or 13, as root, from this folder:"))
        assert "mail server: Postfix, because" in said
        container.run("cd /checkout; " + commands("Run these commands once, from this folder."))
        container.run("systemctl restart postfix")
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


def test_the_log_goes_to_the_mail_facility(site: Container) -> None:
    send(site, notice())
    assert "verdict=" in site.run("journalctl -u pratique --output=cat SYSLOG_FACILITY=2")


def test_what_was_installed(site: Container) -> None:
    assert ".Nm" in site.run("cat /usr/local/share/man/man1/pratique.1")
    share = "/usr/local/share/doc/pratique"
    shipped = "README.md docs/filters.md config/rspamd/pratique.conf config/monitoring/alerts.yaml systemd/uninstall"
    for name in shipped.split():
        site.run(f"cmp /checkout/{name} {share}/{name}")
    site.run("cmp /checkout/config/catalogue.yaml /opt/pratique/share/catalogue.yaml")
    site.run("cmp /checkout/config/pratique.schema.json /etc/pratique/pratique.schema.json")
    assert "ensolva" in site.run("pratique catalogue")
    assert site.status("ls /etc/pratique/catalogue.yaml")[0] != 0
    documentation = property_of(site, "Documentation")
    assert "man:pratique(1)" in documentation


def test_the_filter_starts_before_the_mail_server(site: Container) -> None:
    before = property_of(site, "Before").split()
    daemon = site.run("systemctl show --property=Id --value $(systemctl --no-legend --plain list-units --state=running"
                      " 'postfix*' | cut -d ' ' -f 1)")  # fmt: skip
    assert set(daemon.split()) <= set(before)
    assert daemon.split()


def test_a_member_of_the_group_edits_the_list(site: Container) -> None:
    good = site.run(f"cat {LIST}")
    as_anna = "setpriv --reuid=anna --regid=anna --init-groups -- "
    assert site.status(f"{as_anna} sh -c 'echo x >> {LIST}'")[0] != 0
    site.run("usermod --append --groups pratique-editors anna")
    site.run(f"{as_anna} sh -c 'echo \"# by anna\" >> {LIST}'")
    site.run(f"{as_anna} sh -c 'cp {LIST} {LIST}~ && mv {LIST}~ {LIST}'")  # as editors save
    assert "added ensolva" in site.run(f"{as_anna} pratique catalogue add ensolva")
    assert "# by anna" in site.run(f"cat {LIST}")
    assert site.run(f"stat -c %G {LIST}").strip() == "pratique-editors"
    site.run("pratique check && systemctl reload pratique")
    in_force(site)
    site.write(LIST, good)
    site.run("systemctl reload pratique")


def test_a_second_run_changes_nothing(site: Container) -> None:
    before = site.run("readlink /opt/pratique; ls /opt; ls -la /etc/pratique; cat /etc/pratique/*.yaml")
    pid = property_of(site, "MainPID")
    for command in (INSTALL, INSTALL_SOURCE, OFFLINE + "/opt/pratique/share/pratique/systemd/install"):
        assert "nothing is new; the service is active" in site.run(command)
        assert site.run("readlink /opt/pratique; ls /opt; ls -la /etc/pratique; cat /etc/pratique/*.yaml") == before
        assert property_of(site, "MainPID") == pid


def change(site: Container, number: int) -> None:
    """Another version of the program."""
    site.run(f"echo '# {number}' >> {SOURCE}/milter/pratique/__init__.py")


def test_an_upgrade_with_a_bad_list_changes_nothing(site: Container) -> None:
    good, before = site.run(f"cat {LIST}"), site.run("readlink /opt/pratique; ls /opt")
    pid = property_of(site, "MainPID")
    site.write(LIST, BAD_LIST)
    change(site, 1)
    status, said = site.status(INSTALL_SOURCE)
    assert status == 78
    assert f"{LIST}:4:" in said
    assert site.run("readlink /opt/pratique; ls /opt") == before
    assert property_of(site, "MainPID") == pid
    site.write(LIST, good)
    in_force(site)


def test_upgrade_and_back(site: Container) -> None:
    before, pid = site.run("readlink /opt/pratique").strip(), property_of(site, "MainPID")
    mine = site.run(f"cat {LIST}") + "# mine\n"
    site.write(LIST, mine)
    change(site, 2)
    said = site.run(INSTALL_SOURCE)
    assert "Now tell Postfix" not in said
    assert site.run(f"cat {LIST}") == mine
    assert site.run("ls /etc/pratique/*.new || true").startswith("ls: cannot access")
    after = site.run("readlink /opt/pratique").strip()
    assert site.run("ls /opt").split() == sorted(["pratique", before, after])
    assert property_of(site, "MainPID") != pid
    in_force(site)
    for version in (before, after):
        assert f"version {version} is in force" in site.run(INSTALL_SOURCE + " --back")
        assert site.run("readlink /opt/pratique").strip() == version
        in_force(site)


def test_the_shipped_configuration_is_compared_with_the_one_before(site: Container) -> None:
    """As dpkg does: a file that nobody changed follows, a changed one stays."""
    yaml = "/etc/pratique/pratique.yaml"
    site.run(f"echo '# news' >> {SOURCE}/config/pratique.yaml; echo '# news' >> {SOURCE}/config/trusted-senders.yaml")
    list_before = site.run(f"cat {LIST}")
    assert f"{yaml} was as shipped" in site.run(INSTALL_SOURCE)
    site.run(f"cmp {SOURCE}/config/pratique.yaml {yaml}")
    site.run(f"echo '# mine' >> {yaml}")
    change(site, 3)
    assert "is yours and stays" not in site.run(INSTALL_SOURCE)  # nothing new was shipped
    site.run(f"echo '# more' >> {SOURCE}/config/pratique.yaml; echo '# more' >> {SOURCE}/config/trusted-senders.yaml")
    assert f"{yaml} is yours and stays" in site.run(INSTALL_SOURCE)
    site.run(f"cmp {SOURCE}/config/pratique.yaml {yaml}.new; tail -n 1 {yaml} | grep -x '# mine'")
    assert site.run(f"cat {LIST}; ls /etc/pratique") == list_before + site.run("ls /etc/pratique")
    assert "trusted-senders.yaml.new" not in site.run("ls /etc/pratique")
    site.run(f"rm {yaml}.new; cp {SOURCE}/config/pratique.yaml {yaml}")
    in_force(site)


def test_an_upgrade_does_not_start_what_was_stopped(site: Container) -> None:
    site.run("systemctl stop pratique")
    assert property_of(site, "Result") == "success"
    assert send(site, notice("x@shop.example")) == "451 4.7.1 Service unavailable - try again later"
    change(site, 4)
    assert "is stopped and stays stopped" in site.run(INSTALL_SOURCE)
    assert property_of(site, "ActiveState") == "inactive"
    site.run("systemctl start pratique")
    in_force(site)


def test_another_python_after_an_upgrade_of_debian(site: Container) -> None:
    """B5: the link in the virtual environment leads to a Python that has none of the packages."""
    site.run(
        """
        cp -L /usr/bin/python3 /usr/local/bin/python3.99
        ln -sfn /usr/local/bin/python3.99 /opt/pratique/bin/python3
        systemctl stop pratique
        journalctl --rotate --vacuum-time=1s > /dev/null
        """
    )
    assert site.status("systemctl start pratique")[0] != 0
    said = site.run("systemctl status pratique; journalctl -u pratique --output=cat", check=False)
    advice = "Python of this machine was replaced: as root, run /opt/pratique/share/pratique/systemd/install"
    assert advice in said
    assert "Traceback" not in said
    advised = advice.rpartition("run ")[2]
    assert "the service runs" in site.run(OFFLINE + advised)
    site.run("rm /usr/local/bin/python3.99")
    in_force(site)


def test_no_name_server_at_start(site: Container) -> None:
    """B4"""
    site.run("cp /etc/resolv.conf /root; true > /etc/resolv.conf; systemctl restart pratique")
    in_force(site)
    site.run("rm /etc/resolv.conf; systemctl restart pratique")
    in_force(site)
    site.run("cp /root/resolv.conf /etc; systemctl restart pratique")
    in_force(site)


def test_a_bad_list_on_disk_never_stops_the_mail(site: Container) -> None:
    """B3: restart, kill -9 of the parent, and a reboot. The old list holds: its mail is verified within 3 seconds."""
    good = site.run(f"cat {LIST}")
    site.write(LIST, NETWORK_LIST)
    site.run("systemctl reload pratique")
    assert "X-Trusted-Sender: verified; sender=visma-opic; by=network" in arrives(site, notice())
    site.write(LIST, BAD_LIST)
    for how in ("restart", "kill", "reboot"):
        if how == "restart":
            site.run("systemctl restart pratique")
        elif how == "kill":
            site.run("kill -KILL $(systemctl show --property=MainPID --value pratique)")
        else:
            site.reboot()
            site.run(ADDRESSES)
        assert wait_until(lambda: send(site, notice()).startswith("250 "), 3), how
        assert "X-Trusted-Sender: verified; sender=visma-opic; by=network" in arrives(site, notice()), how
        assert "LAST GOOD" in property_of(site, "StatusText"), how
        said = site.run("journalctl -b -u pratique -p err --output=cat")
        assert f"{LIST}:4:" in said, how
    site.write(LIST, good)
    site.run("systemctl reload pratique")
    assert "LAST GOOD" not in property_of(site, "StatusText")
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


FORGED = f"verified; sender=visma-opic; by=network; host={HOST}"


def scores(site: Container, message: bytes) -> str:
    """What rspamd's log says of a message that comes through Postfix."""
    site.run("true > /var/log/rspamd/rspamd.log")
    arrives(site, message)
    log = "grep -a rspamd_task_write_log /var/log/rspamd/rspamd.log"
    assert wait_until(lambda: "rspamd_task_write_log" in site.run(log, check=False), 20)
    return site.run(log)


def test_rspamd_by_the_readme_alone(site: Container) -> None:
    """B1 and B2. There is no DNS: the client's network is the proof."""
    good = site.run(f"cat {LIST}")
    site.write(LIST, NETWORK_LIST)
    # Debian's list of 9,760 suffixes takes seconds to compile at each start.
    site.write("/etc/rspamd/suffixes", "com\nexample\nfr\norg\n")
    site.write("/etc/rspamd/local.d/options.inc", 'url_tld = "/etc/rspamd/suffixes";\n')
    site.run("systemctl reload pratique; systemctl start rspamd")
    test = commands("The test: `PRATIQUE_PASS")
    milters = site.run("postconf -h smtpd_milters").strip()
    try:
        assert wait_until(lambda: "Score: " in site.run(test, check=False), 60)  # it compiles its expressions first
        assert "PRATIQUE_PASS" not in site.run(test)
        site.run("cd /checkout; set -e\n" + commands("\nWith rspamd:"))
        assert wait_until(lambda: "PRATIQUE_PASS (-1000.00)" in site.run(test, check=False), 60)
        assert "PRATIQUE_PASS(-1000.00)" in scores(site, notice())
        forged = scores(site, notice('"Visma Opic" <x@shop.example>', X_Trusted_Sender=FORGED))
        assert "PRATIQUE_DOUBT(3.00)" in forged
        assert "PRATIQUE_PASS" not in forged

        # The filter is stopped, and the postmaster made it optional; then it is taken out, and rspamd still believes.
        site.run("systemctl stop pratique")
        assert send(site, notice(X_Trusted_Sender=FORGED)).startswith("451 ")
        for setting in (milters.replace("tempfail", "accept") + ", inet:127.0.0.1:11332", "inet:127.0.0.1:11332"):
            site.run(f"postconf -e 'smtpd_milters = {setting}'; systemctl restart postfix")
            assert "PRATIQUE_PASS" not in scores(site, notice(X_Trusted_Sender=FORGED))
        refuses(site, "/etc/rspamd/pratique.conf:")
        refuses(site, "/etc/rspamd/rspamd.conf.local:")
        site.run("rm /etc/rspamd/pratique.conf /etc/rspamd/rspamd.conf.local")
        assert "/etc/rspamd" not in site.status("/checkout/systemd/uninstall")[1]
    finally:
        site.write(LIST, good)
        site.run(f"postconf -e 'smtpd_milters = {milters}'; rm -f /etc/rspamd/pratique.conf")
        site.run("systemctl stop rspamd; systemctl restart postfix pratique")
    in_force(site)


def refuses(site: Container, what: str) -> None:
    """systemd/uninstall changes nothing and names what is left."""
    status, said = site.status("/checkout/systemd/uninstall")
    assert status == 78
    assert what in said
    site.run("ls /opt/pratique/bin/pratique /etc/systemd/system/pratique.service")


def test_spamassassin_by_its_readme(site: Container) -> None:
    readme = recipe("spamassassin")
    test = commands("**How to see that it works.**", readme)
    assert f"host={HOST}" in test
    assert "PRATIQUE_PASS" not in site.run(test)
    site.run("cd /checkout; " + commands("**Install it.**", readme))
    assert "PRATIQUE_PASS" in site.run(test)
    assert "PRATIQUE_PASS" not in site.run(test.replace(HOST, "mx2.example.org"))
    refuses(site, "/etc/spamassassin/pratique.cf:")
    site.run("rm /etc/spamassassin/pratique.cf")


def test_sieve_by_its_readme(site: Container) -> None:
    """B8: Dovecot 2.4 starts with the lines for it."""
    readme = recipe("sieve")
    version = site.run("dovecot --version")[:3]
    site.run("systemctl start dovecot")
    assert wait_until(lambda: site.status("systemctl reload dovecot")[0] == 0, 20)
    lines = commands(f"Dovecot {version} (Debian", readme.partition("Then name the folder")[2])
    site.run("cd /checkout; " + commands("**Install it.**", readme))
    site.run("cp /etc/dovecot/conf.d/90-sieve.conf /root")
    place = "/etc/dovecot/conf.d/90-sieve.conf"
    site.write(place, site.run(f"cat {place}") + lines)
    site.run("set -e\n" + commands("Last, with either version:", readme))
    assert site.run("systemctl is-active dovecot").strip() == "active"
    assert "/var/lib/dovecot/sieve/before.d" in site.run("doveconf -n")
    script = "/var/lib/dovecot/sieve/before.d/pratique.sieve"
    for host, expected in ((HOST, "keep"), ("mx2.example.org", "Junk")):
        message = (
            f"X-Trusted-Sender: verified; sender=a; by=spf; host={host}\nX-Spam-Flag: YES\nFrom: a@b.example\n\nx\n"
        )
        site.write("/srv/message", message)
        as_user = "setpriv --reuid=marches --regid=marches --init-groups env -C / HOME=/home/marches"
        assert expected in site.run(f"{as_user} sieve-test {script} /srv/message")
    refuses(site, f"{script}:")
    site.run(f"rm {script}; cp /root/90-sieve.conf {place}; systemctl stop dovecot")


def test_the_sendmail_lines_give_no_warning(site: Container) -> None:
    """A4: the m4 of Debian's Sendmail, unpacked."""
    readme = README.partition("## Install it behind Sendmail")[2]
    include = commands("above every other", readme)
    site.run("mkdir -p /etc/mail; cd /checkout; " + commands("Copy the shipped lines:", readme))
    first = "divert(0)dnl\n" + "".join(
        f"{line}dnl\n"
        for line in ("VERSIONID(`test')", "OSTYPE(`debian')", "DOMAIN(`debian-mta')", "MAILER_DEFINITIONS")
    )
    site.write("/root/sendmail.mc", first + "MAILER(`local')dnl\nMAILER(`smtp')dnl\n" + include)
    site.run("ln -sfn /srv/sendmail/usr/share/sendmail /usr/share/sendmail")
    m4 = "m4 -D_CF_DIR_=/usr/share/sendmail/cf/ m4/cf.m4 /root/sendmail.mc > /root/sendmail.cf"
    assert site.run(f"cd /usr/share/sendmail/cf; {m4}") == ""
    generated = site.run("cat /root/sendmail.cf")
    assert "\nXpratique, S=local:/run/pratique/milter.sock, F=T" in generated
    assert re.search(r"\nSLocal_srv_features\nR\$\*\t\$# o\n", generated)
    site.run("cp /root/sendmail.cf /etc/mail")
    refuses(site, "/etc/mail/sendmail.cf:Xpratique")
    site.run("rm -r /etc/mail/sendmail.cf /etc/mail/pratique.mc")


def test_a_local_program_cannot_forge_the_field(site: Container) -> None:
    """A16"""
    site.run("rm -f /var/mail/marches")
    site.run(f"printf 'X-Trusted-Sender: {FORGED}\\nSubject: x\\n\\nHej.\\n' | sendmail marches@commune.example")
    assert wait_until(lambda: "Hej." in site.run("cat /var/mail/marches", check=False), 20)
    assert "X-Trusted-Sender" not in site.run("cat /var/mail/marches")


def test_a_second_postfix_instance_is_seen(site: Container) -> None:
    """A15"""
    site.run("postmulti -e init; postmulti -I postfix-out -e create")
    try:
        site.run("postconf -c /etc/postfix-out -e 'smtpd_milters = inet:127.0.0.1:8894'")
        refuses(site, "/etc/postfix-out: smtpd_milters = inet:127.0.0.1:8894")
        site.run("postconf -c /etc/postfix-out -# smtpd_milters")
        assert "/etc/postfix-out" not in site.status("/checkout/systemd/uninstall")[1]
    finally:
        site.run("postmulti -i postfix-out -e destroy; postconf -# multi_instance_enable multi_instance_directories"
                 " multi_instance_wrapper; rm -rf /etc/postfix-out; systemctl restart postfix")  # fmt: skip


BELIEVING = {
    "/etc/rspamd/local.d/multimap.conf": 'P { type = "header"; header = "X-Trusted-Sender"; map = ["verified"]; }',
    "/etc/spamassassin/local.cf": "header P x-trusted-sender =~ /^verified/",
    "/etc/amavis/conf.d/50-user": "# ours\n  if ($h =~ /X-Trusted-Sender/) {}",
    "/home/anna/.dovecot.sieve": 'if header :contains "X-Trusted-Sender" "verified" { keep; }',
    "/var/lib/dovecot/sieve/global/a.sieve": 'if header :contains "X-Trusted-Sender" "verified" { keep; }',
    "/etc/exim4/conf.d/acl/40": "warn condition = $h_X-Trusted-Sender:",
    "/etc/procmailrc": ":0\n* ^X-Trusted-Sender: verified\n/var/mail/x",
    "/etc/postfix/my_header_checks": "/^X-Trusted-Sender: verified/ FILTER x:y",
    "/etc/postfix/milter_map.cidr": "192.0.2.0/24 unix:pratique/milter.sock",
}


@pytest.mark.parametrize("path", BELIEVING)
def test_uninstall_sees_what_believes_or_asks(site: Container, path: str) -> None:
    before = site.status(f"cat {path}")
    site.write(path, before[1] * (before[0] == 0) + "\n" + BELIEVING[path] + "\n")
    refuses(site, path)
    site.write(path, "# X-Trusted-Sender, unix:pratique/milter.sock\n")  # a comment
    assert path not in site.status("/checkout/systemd/uninstall")[1]
    if before[0] == 0:
        site.write(path, before[1] + "\n")
    else:
        site.run(f"rm {path}")


def test_a_renamed_field_and_another_socket_are_seen(site: Container) -> None:
    yaml = site.run("cat /etc/pratique/pratique.yaml")
    site.write("/etc/pratique/pratique.yaml", "header: X-Our-Verdict\nsocket: inet:9911@127.0.0.1\n")
    site.write("/etc/rspamd/local.d/ours.conf", 'header = "X-Our-Verdict";')
    site.run("postconf -e submission_milters=inet:localhost:9911 'lmtpd_milters = $submission_milters'")
    site.run("postconf -P 'smtp/inet/smtpd_milters=$submission_milters'")
    try:
        refuses(site, "/etc/rspamd/local.d/ours.conf")
        refuses(site, "submission_milters = inet:localhost:9911")
    finally:
        site.run("postconf -PX smtp/inet/smtpd_milters; postconf -X submission_milters lmtpd_milters")
        site.run("rm /etc/rspamd/local.d/ours.conf")
        site.write("/etc/pratique/pratique.yaml", yaml)


def test_no_tree_for_packages(site: Container) -> None:
    """B7"""
    status, said = site.status(INSTALL.replace("systemd/install", "DESTDIR=/srv/package systemd/install"))
    assert status == 64
    assert "DESTDIR is not supported" in said
    assert site.status("ls /srv/package")[0] != 0


def test_wrong_usage(site: Container) -> None:
    for words in ("--mta", "--mta exim", "--mta=", "--obverse", "x"):
        assert site.status(f"cd /checkout; systemd/install {words}")[0] == 64, words
    status, said = site.status(INSTALL + " --observe")
    assert (status, "write `mode: observe`" in said) == (64, True)


def test_uninstall(site: Container) -> None:
    status, said = site.status("/checkout/systemd/uninstall")
    assert status == 78
    places = [said.index(text) for text in ("/etc/postfix: smtpd_milters = ", "/etc/postfix: cleanup-mx")]
    assert places == sorted(places)
    in_force(site)
    lines = recipe("postfix").partition("**To remove Pratique**")[2]
    site.run(commands("the file of your spam filter, then", lines))
    assert "pratique" not in site.run("postconf -h smtpd_milters non_smtpd_milters")
    refuses(site, "cleanup-mx")
    site.run(commands("then, when no program", lines))
    assert "kept: /etc/pratique" in site.run("/opt/pratique/share/pratique/systemd/uninstall")
    assert site.run("ls /opt; ls -d /etc/pratique") == "/etc/pratique\n"
    assert site.status("systemctl cat pratique")[0] != 0
    assert site.status("ls -d /usr/local/share/doc/pratique /usr/local/bin/pratique")[1].count("cannot access") == 2
    assert "X-Trusted-Sender" not in arrives(site, notice("x@shop.example"))
    site.run("/checkout/systemd/uninstall --purge")
    assert site.status("ls -d /etc/pratique")[0] != 0
    assert site.status("getent passwd pratique")[0] != 0
    assert site.status("getent group pratique-editors")[0] != 0


def test_installed_before_postfix(site: Container) -> None:
    """B6: the second run moves the socket to where Postfix looks."""
    site.run("mv /usr/sbin/postconf /root")
    said = site.run(INSTALL + " --observe")
    assert "mail server: none found" in said
    assert "MAILER" not in said
    assert site.run("grep '^socket:' /etc/pratique/pratique.yaml").strip() == "socket: unix:/run/pratique/milter.sock"
    assert property_of(site, "ActiveState") == "active"
    status, said = site.status(INSTALL + " --mta postfix")
    assert (status, "Postfix is not installed yet" in said) == (69, True)
    site.run("mv /root/postconf /usr/sbin; cd /checkout; " + commands("Run these commands once, from this folder."))
    said = site.run(INSTALL)
    assert "mail server: Postfix, because" in said
    mail = arrives(site, notice("x@shop.example"))
    assert "X-Trusted-Sender: observed; would=unclaimed; host=mx1.example.org" in mail
    assert "nothing is new" in site.run(INSTALL + " --observe")

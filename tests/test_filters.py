"""Real spam filters behind Postfix with Pratique in front, with the very files of config/: what comes into the inbox,
and what does not.

Each site is a private Postfix, Pratique as its first milter, one filter behind, a virus scanner with the EICAR
signature, and Dovecot with real mailboxes. Spam is what holds a word that a rule of the test gives points for.
"""

from __future__ import annotations

import base64
import email.utils
import itertools
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from conftest import FULL

from harness.amavis import Amavis
from harness.clamav import EICAR, ClamAv
from harness.dns_server import DnsServer, txt
from harness.dovecot import Dovecot
from harness.ports import free_port, wait_until
from harness.rspamd import Rspamd
from harness.signing import Sign, key_record, sign
from harness.smtp import Reply
from harness.spamassassin import SpamAssassin, Spamd
from harness.stand import SHIPPED, Stand, logical_lines

BOX = "marches@commune.example"
OPIC = "Visma Opic <noreply.opic@visma.com>"
TERNUM = "Territoires Numériques <nepasrepondre@ternum-bfc.fr>"  # its unproven mail is held, see SENDERS
PLATFORM, STRANGER = "192.0.2.70", "203.0.113.66"
ZONE = txt("visma.com", f"v=spf1 ip4:{PLATFORM} -all") + txt("s1._domainkey.visma.com", key_record("rsa2048"))

# What the rules of the tests count: spam by far, and not quite spam.
SPAM, HALF = "pratiquetestspam", "pratiquetesthalf"
POINTS = {SPAM: 9.0, HALF: 4.0}  # spam begins at 5 in SpamAssassin and at 6 in rspamd and amavis
RSPAMD_RULES = "".join(
    f"config.regexp['TEST_{word.upper()}'] = {{ re = '/{word}/{{mime}}', score = {points - 1} }}\n"
    for word, points in POINTS.items()
)
SPAMASSASSIN_RULES = "".join(
    f"body TEST_{word.upper()} /{word}/\nscore TEST_{word.upper()} {points}\n" for word, points in POINTS.items()
)
# Rules that hit because the clients and domains of tests have no names in DNS.
_NAMELESS = ("RDNS_NONE", "HEADER_FROM_DIFFERENT_DOMAINS", "DKIM_ADSP_NXDOMAIN", "RCVD_ILLEGAL_IP")
SPAMASSASSIN_RULES += "".join(f"score {rule} 0\n" for rule in _NAMELESS)


def junk(field_is: str) -> str:
    """The Sieve script that a site has already."""
    return f'require ["fileinto", "mailbox"];\nif header :is {field_is} {{ fileinto :create "Junk"; stop; }}\n'


full = pytest.mark.full


# ---- the sites -----------------------------------------------------------------------------------------------


@dataclass
class Site:
    """What stands around Pratique: milters before and behind it, mailboxes. `scanner`: who looks for viruses."""

    stand: Stand
    dovecot: Dovecot
    scanner: Literal["before", "milter behind", "content filter"]
    before: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    quarantine: Path | None = None  # amavis's

    def start(self, running: ExitStack) -> None:
        """Start Postfix and Pratique, with what the site has added to the settings."""
        main_cf = self.stand.postfix.main_cf
        main_cf["smtpd_milters"] = ", ".join([*self.before, main_cf["smtpd_milters"], *self.behind])
        main_cf["virtual_transport"] = self.dovecot.address
        running.enter_context(self.stand)


SENDERS = {
    "visma-opic": {},
    "ternum-bfc": {"actions": {"unverified": "quarantine", "imitation": "quarantine"}},
}


def new_stand(folder: Path) -> Stand:
    """Pratique with the shipped list; ternum-bfc quarantines."""
    senders = yaml.safe_load((SHIPPED / "trusted-senders.yaml").read_text())["senders"]
    senders = {name: entry | SENDERS[name] for name, entry in senders.items()}
    (folder / "senders.yaml").write_text(yaml.safe_dump({"senders": senders}))
    here: dict[str, Any] = {"senders": str(folder / "senders.yaml"), "local_domains": ["commune.example"]}
    return Stand(SHIPPED / "pratique.yaml", ZONE, second_cleanup=True, **here)


def shipped(name: str) -> str:
    """A file of config/, with the name of the MX host filled in."""
    return unfilled(name).replace("^MX-HOST^", "mx1.example.org")


def unfilled(name: str) -> str:
    """A file of config/ as it is shipped."""
    text = (SHIPPED / name).read_text()
    assert "^MX-HOST^" in text
    return text


def rspamd_files() -> dict[str, str]:
    return {
        "rspamd.conf.local": '.include(duplicate=merge) "$LOCAL_CONFDIR/pratique.conf"\n',
        "pratique.conf": shipped("rspamd/pratique.conf"),
        "rspamd.local.lua": RSPAMD_RULES,
        "override.d/hfilter.conf": "enabled = false;\n",  # the clients of tests have no names in DNS
    }


def rspamd(stand: Stand, running: ExitStack) -> Site:
    clamav = running.enter_context(ClamAv())
    scanner = f'type = "clamav"; servers = "127.0.0.1:{clamav.port}"; symbol = "CLAM_VIRUS"; action = "reject";'
    files = rspamd_files() | {"local.d/antivirus.conf": f"clamav {{ {scanner} }}\n"}
    filter_behind = running.enter_context(Rspamd(stand.dns, files))
    dovecot = running.enter_context(Dovecot({"spam.sieve": junk('"X-Spam" "Yes"')}))
    return Site(stand, dovecot, "milter behind", behind=[filter_behind.address])


def spamassassin(stand: Stand, running: ExitStack) -> Site:
    files = {"pratique.cf": shipped("spamassassin/pratique.cf"), "test.cf": SPAMASSASSIN_RULES}
    clamav, spamd = running.enter_context(ClamAv(milter=True)), running.enter_context(Spamd(stand.dns, files))
    dovecot = running.enter_context(Dovecot({"spam.sieve": junk('"X-Spam-Flag" "YES"')}))
    return Site(stand, dovecot, "before", [clamav.address], [spamd.address])


def sieve(stand: Stand, running: ExitStack) -> Site:
    """SpamAssassin knows nothing of Pratique here: the mailbox server does."""
    clamav = running.enter_context(ClamAv(milter=True))
    spamd = running.enter_context(Spamd(stand.dns, {"test.cf": SPAMASSASSIN_RULES}))
    dovecot = running.enter_context(Dovecot({"pratique.sieve": shipped("sieve/pratique.sieve")}))
    return Site(stand, dovecot, "before", [clamav.address], [spamd.address])


AMAVIS = """\
$final_spam_destiny = D_DISCARD;
$spam_quarantine_method = 'local:spam-%m';
$virus_quarantine_method = 'local:virus-%m';
1;
"""


def amavis(stand: Stand, running: ExitStack) -> Site:
    rules = {"pratique.cf": shipped("spamassassin/pratique.cf"), "test.cf": SPAMASSASSIN_RULES}
    clamav, back = running.enter_context(ClamAv()), free_port()
    content = running.enter_context(Amavis(stand.dns, {"50-test": AMAVIS}, rules, back, clamav.socket))
    stand.postfix.main_cf["content_filter"] = f"smtp-amavis:[127.0.0.1]:{content.port}"
    # Postfix has no chroot here (the fifth column), and its own port to come back to.
    lines = [re.sub(r"^(\S+ +\S+ +\S+ +\S+ +)y", r"\1n", line) for line in logical_lines("master.cf.amavis")]
    stand.postfix.master_cf += [line.replace("127.0.0.1:10025", f"127.0.0.1:{back}") for line in lines]
    return Site(stand, running.enter_context(Dovecot({})), "content filter", quarantine=content.quarantine)


SITES = {make.__name__: make for make in (rspamd, spamassassin, amavis, sieve)}


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as running:
        made = SITES[request.param](new_stand(tmp_path_factory.mktemp("site")), running)
        made.start(running)
        yield made


# ---- what is sent, and what becomes of it --------------------------------------------------------------------

_numbers = itertools.count(1)


def notice(author: str, *words: str, more: str = "", part: bytes | None = None, name: str = "notice.dat") -> bytes:
    """A notice of its own; `part` is attached."""
    number = next(_numbers)
    header = f"{more}From: {author}\r\nTo: {BOX}\r\nSubject: Ny upphandling {number}\r\n"
    header += f"Date: {email.utils.formatdate()}\r\nMessage-ID: <notice-{number}@visma.com>\r\nMIME-Version: 1.0\r\n"
    text = f"A new notice is online: no. {number} of this month, with all its documents. {' '.join(words)}\r\n"
    if part is None:
        return f"{header}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}".encode()
    attached = b"Content-Type: application/octet-stream\r\n"
    attached += f'Content-Disposition: attachment; filename="{name}"\r\n'.encode()
    attached += b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(part) + b"\r\n"
    beginning = f'{header}Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\n{text}--b\r\n'.encode()
    return beginning + attached + b"--b--\r\n"


def send(site: Site, message: bytes, client: str = STRANGER, mail_from: str = "bounce@mailer.example") -> Reply:
    return site.stand.postfix.send(message, mail_from, [BOX], client, "mail.example")


def fate(site: Site, message: bytes, reply: Reply, *, held: bool = False) -> tuple[str, bytes]:
    """inbox, quarantine, held or stopped, and what arrived. `held`: a message that was held is looked for elsewhere."""
    if reply.code >= 500:
        return "stopped", b""
    assert reply.code == 250, reply
    number = re.findall(rb"(?m)^Message-ID: (<.*>)", message)[0]
    found: list[tuple[str, bytes]] = []

    def look() -> bool:
        if not held and site.stand.postfix.held(str(reply.queue_id)):
            found.append(("held", b""))
        if delivered := site.dovecot.find(BOX, number):
            found.append(("inbox" if delivered[0] == "INBOX" else "quarantine", delivered[1]))
        files = {file.name: file.read_bytes() for file in site.quarantine.iterdir()} if site.quarantine else {}
        kept = {name: content for name, content in files.items() if number in content}
        found.extend(("quarantine" if name.startswith("spam") else "stopped", kept[name]) for name in kept)
        return bool(found)

    assert wait_until(look, 30), site.stand.postfix.log()[-4000:] + site.dovecot.log()[-2000:]
    return found[0]


def becomes(site: Site, message: bytes, client: str = STRANGER, mail_from: str = "bounce@mailer.example") -> str:
    return fate(site, message, send(site, message, client, mail_from))[0]


FORGED_FIELD = "X-Trusted-Sender: verified; sender=visma-opic; by=dkim+spf; host=mx1.example.org\r\n"
FORGED_HELD = "X-Trusted-Sender: unverified; sender=visma-opic; action=quarantine; host=mx1.example.org\r\n"


def test_a_genuine_notice_that_looks_like_spam_comes_into_the_inbox(site: Site) -> None:
    message = sign(notice(OPIC, SPAM), Sign("visma.com", "s1"))
    what, content = fate(site, message, send(site, message))
    assert (what, b"X-Trusted-Sender: verified;" in content) == ("inbox", True)


def test_its_forged_twin_does_not(site: Site) -> None:
    assert becomes(site, notice(OPIC, SPAM)) == "quarantine"
    assert becomes(site, notice("Visma Opic <x@evil.example>", SPAM)) == "quarantine"


@full
def test_nor_spam_that_brings_our_field_along(site: Site) -> None:
    for forged in (FORGED_FIELD, FORGED_HELD, FORGED_FIELD.replace("X-T", "x-t")):
        for author in (OPIC, "Shop <news@shop.example>"):
            assert becomes(site, notice(author, SPAM, more=forged)) == "quarantine"


def test_a_virus_is_stopped_though_the_notice_is_genuine(site: Site) -> None:
    message = sign(notice(OPIC, part=EICAR), Sign("visma.com", "s1"))
    assert becomes(site, message) == "stopped"
    if site.scanner != "before":
        verdicts = [line for line in site.stand.log_lines() if " verdict=" in line]
        assert " verdict=verified " in verdicts[-1]


@full
def test_the_attachment_check_is_not_skipped_either(site: Site) -> None:
    """rspamd's own, and amavis's banned names. SpamAssassin and Sieve have none."""
    message = sign(notice(OPIC, HALF, part=b"MZ", name="notice.pdf.exe"), Sign("visma.com", "s1"))
    expected = {"milter behind": "quarantine", "content filter": "stopped", "before": "inbox"}[site.scanner]
    assert becomes(site, message) == expected


@full
def test_other_mail_is_left_alone(site: Site) -> None:
    message = notice("Anna <anna@shop.example>")
    what, content = fate(site, message, send(site, message))
    assert what == "inbox"
    header, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    assert header in content
    assert content.endswith(b"\n\n" + body)
    assert not re.search(rb"(?m)^(X-Spam: Yes|X-Spam-Flag: YES)", content)
    assert b"X-Trusted-Sender: unclaimed;" in content


@full
def test_suspicion_is_raised_but_not_of_what_our_list_rewrote(site: Site) -> None:
    assert becomes(site, notice("Anna <anna@shop.example>", HALF)) == "inbox"
    assert becomes(site, notice(OPIC, HALF)) == "quarantine"
    assert becomes(site, notice('"Visma Opic" <x@evil.example>', HALF)) == "quarantine"
    rewritten = notice(
        '"Visma Opic via Marches" <marches@commune.example>', HALF, more="List-Id: <marches.commune.example>\r\n"
    )
    what, content = fate(site, rewritten, send(site, rewritten))
    assert b"reason=list-rewritten;" in content
    assert what == "inbox"


@full
def test_suspicion_alone_holds_nothing(site: Site) -> None:
    assert becomes(site, notice(OPIC)) == "inbox"
    assert becomes(site, notice('"Visma Opic" <x@evil.example>')) == "inbox"


def test_what_we_held_reaches_the_inbox_once_released(site: Site) -> None:
    """Also where the filter behind would have called it spam: a person has looked at it."""
    message = notice(TERNUM, SPAM)
    reply = send(site, message)
    assert fate(site, message, reply)[0] == "held"
    queue = site.stand.postfix.queue()
    assert [(m["queue_id"], m["queue_name"]) for m in queue] == [(reply.queue_id, "hold")]
    site.stand.postfix.release(str(reply.queue_id))
    what, content = fate(site, message, reply, held=True)
    assert (what, b"action=quarantine; host=mx1.example.org" in content) == ("inbox", True)


@full
def test_a_virus_in_a_message_that_we_hold(site: Site) -> None:
    """Postfix asks no milter behind Pratique about what Pratique holds, neither then nor at the release.

    So docs/filters.md has the scanner before it. What this says of a milter behind is what Postfix does, not what
    we would like.
    """
    message = notice(TERNUM, part=EICAR)
    reply = send(site, message)
    if site.scanner == "before":
        assert reply.code == 550
        return
    assert fate(site, message, reply)[0] == "held"
    site.stand.postfix.release(str(reply.queue_id))
    expected = {"content filter": "stopped", "milter behind": "inbox"}[site.scanner]
    assert fate(site, message, reply, held=True)[0] == expected


@full
def test_while_pratique_is_down_nothing_comes_in(site: Site) -> None:
    site.stand.stop_filter()
    try:
        for message in (
            notice(OPIC),
            notice(OPIC, more=FORGED_FIELD),
            notice("Shop <a@shop.example>", more=FORGED_FIELD),
        ):
            assert send(site, message).code == 451
        assert site.stand.postfix.queue() == []
    finally:
        site.stand.start_filter()


def test_a_forged_field_gains_nothing_while_the_filter_is_away_or_gone(site: Site) -> None:
    """The spam filter still believes the field: uninstalled, or stopped where the postmaster made it optional."""
    postfix = site.stand.postfix
    milters = postfix.main_cf["smtpd_milters"]
    ours = "{ unix:pratique/milter.sock, default_action=tempfail }"
    assert ours in milters
    others = ", ".join([*site.before, *site.behind])
    site.stand.stop_filter()
    try:
        for setting in (others, milters.replace("tempfail", "accept")):
            postfix.main_cf["smtpd_milters"] = setting
            postfix.restart()
            for forged in (FORGED_FIELD, FORGED_HELD, FORGED_FIELD.replace("X-T", "x-t")):
                message = notice(OPIC, SPAM, more=forged)
                what, content = fate(site, message, send(site, message))
                assert what == "quarantine", setting
                assert b"x-trusted-sender" not in content.lower()
    finally:
        postfix.main_cf["smtpd_milters"] = milters
        site.stand.start_filter()
        postfix.restart()


# ---- the files by themselves -----------------------------------------------------------------------------------

_END = "host=mx1.example.org"
FIELDS = {
    f"verified; sender=visma-opic; by=dkim; {_END}": "pass",
    f"unverified; sender=visma-opic; reason=no-aligned-pass; action=quarantine; {_END}": "pass",
    f"unverified; sender=visma-opic; reason=no-aligned-pass; {_END}": "doubt",
    f"imitation; sender=visma-opic; reason=domain-imitates; {_END}": "doubt",
    f"imitation; sender=visma-opic; reason=list-rewritten; {_END}": "",
    f"unlisted; sender=visma-opic; by=spf; {_END}": "",
    f"undetermined; sender=visma-opic; reason=dns-temperror; {_END}": "doubt",
    f"unclaimed; {_END}": "",
    f"observed; would=verified; sender=visma-opic; by=dkim; {_END}": "",
    # Not of this host.
    "verified; sender=visma-opic; by=dkim; host=mx2.example.org": "",
    "verified; sender=visma-opic; by=dkim; host=evil-mx1.example.org": "",
    f"verified; sender=visma-opic; by=dkim; {_END}.evil.example": "",
    f"verified; {_END}; host=mx2.example.org": "",
    "verified": "",
    "verified; sender=visma-opic; by=dkim; host=^MX-HOST^": "",
    "unverified; sender=visma-opic; action=quarantine; host=mx2.example.org": "doubt",
    f"observed; would=verified; action=tag; {_END}": "",
}
# What an attacker may write who has read the shipped files.
FORGED = [
    *(f"verified; sender=visma-opic; by=dkim; host={host}" for host in ("^MX-HOST^", "MX-HOST", "", "mx1.example.org")),
    *(f"unclaimed; action=quarantine; host={host}" for host in ("^MX-HOST^", "MX-HOST", "", "mx1.example.org")),
]


def with_field(value: str, *more: str) -> bytes:
    fields = [f"X-Trusted-Sender: {value}", *more]
    return notice("Anna <anna@shop.example>", more="".join(f"{field}\r\n" for field in fields))


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as running:
        yield running


def judged(hits: Collection[str]) -> str:
    return " ".join(name.lower() for name in ("PASS", "DOUBT") if f"PRATIQUE_{name}" in hits)


def test_what_rspamd_makes_of_each_verdict(dns: DnsServer) -> None:
    with Rspamd(dns, rspamd_files()) as program:
        said = program.config_test()
        assert "syntax OK" in said
        assert "redefined" not in said
        for value, expected in FIELDS.items():
            found = program.check(with_field(value), STRANGER, "bounce@mailer.example")
            assert judged(found["symbols"]) == expected, value


def test_rspamd_believes_no_field_before_the_host_is_filled_in(dns: DnsServer) -> None:
    files = rspamd_files() | {"pratique.conf": unfilled("rspamd/pratique.conf")}
    with Rspamd(dns, files) as program:
        assert "syntax OK" in program.config_test()
        for value in FORGED:
            found = program.check(with_field(value), STRANGER, "bounce@mailer.example")
            assert judged(found["symbols"]) == "", value
        suspect = with_field("imitation; sender=visma-opic; host=mx1.example.org")
        assert judged(program.check(suspect, STRANGER, "bounce@mailer.example")["symbols"]) == "doubt"


def test_what_spamassassin_makes_of_each_verdict(dns: DnsServer) -> None:
    with SpamAssassin(dns, {"pratique.cf": shipped("spamassassin/pratique.cf")}) as program:
        lint = program.run("--lint")
        assert (lint.returncode, lint.stderr) == (0, b"")
        for value, expected in list(FIELDS.items())[: None if FULL else 4]:  # a second each
            assert judged(program.tests(with_field(value), STRANGER, "bounce@mailer.example")) == expected, value


def test_spamassassin_believes_no_field_before_the_host_is_filled_in(dns: DnsServer) -> None:
    with SpamAssassin(dns, {"pratique.cf": unfilled("spamassassin/pratique.cf")}) as program:
        lint = program.run("--lint")
        assert (lint.returncode, lint.stderr) == (0, b"")
        for value in FORGED[:: None if FULL else 4]:
            assert judged(program.tests(with_field(value), STRANGER, "bounce@mailer.example")) == "", value


def test_sieve_believes_no_field_before_the_host_is_filled_in() -> None:
    with Dovecot({"pratique.sieve": unfilled("sieve/pratique.sieve")}) as program:
        assert not program.compile(SHIPPED / "sieve/pratique.sieve")
        for value in FORGED:
            message = with_field(value, "X-Spam-Flag: YES")
            program.deliver(BOX, message)
            found = program.find(BOX, re.findall(rb"(?m)^Message-ID: (<.*>)", message)[0])
            assert found
            assert found[0] == "Junk", value


def test_what_the_mailbox_server_makes_of_each_verdict() -> None:
    script = shipped("sieve/pratique.sieve")
    with Dovecot({"pratique.sieve": script}) as program:
        assert not program.compile(SHIPPED / "sieve/pratique.sieve")
        for value, expected in FIELDS.items():
            for more in ("X-Spam-Flag: YES", "X-Spam: Yes", "X-Spam-Level: ***", "X-Spam-Level: **", "X-Spam-Flag: NO"):
                message = with_field(value, more)
                program.deliver(BOX, message)
                spam = more.endswith(("YES", "Yes"))
                to_junk = expected != "pass" if spam else expected == "doubt" and more.endswith("***")
                found = program.find(BOX, re.findall(rb"(?m)^Message-ID: (<.*>)", message)[0])
                assert found
                assert found[0] == ("Junk" if to_junk else "INBOX"), (value, more)

"""MAIL FROM, HELO and the SPF records behind them: nothing raises, and only an aligned pass counts.

Input: lines, of which the first is MAIL FROM, the second HELO, and the others are the TXT records of any name asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from fuzz import scene
from pratique.authentication import spf_check
from pratique.mailbox import UnreadableError, is_host_name, parse_path
from pratique.model import DnsAnswer, DnsStatus

WORDS = (
    *(b"<", b">", b"<>", b'"', b"@", b".", b"ternum-bfc.fr", b"evil.example", b"(", b"\\", b"\n", b"\0"),
    *(b"xn--", b"\xff", b"v=spf1 ", b" -all", b" +all", b" ?all", b" ip4:203.0.113.66", b" ip4:0.0.0.0/0"),
    *(b"/24", b"//64", b" ip6:::1", b" a:", b" mx:", b" ptr:", b" exists:", b" include:", b" redirect="),
    *(b" exp=", b" x=", b"%{s}", b"%{l}", b"%{o}", b"%{d2}", b"%{i}", b"%{ir}", b"%{p}", b"%{v}", b"%{h}"),
    *(b"%{L-}", b"%{c}", b"%%", b"%_", b"%-", b"%{", "é".encode()),
)  # fmt: skip
_MOST_LOOKUPS = 130  # RFC 7208 §4.6.4: ten mechanisms, an mx asks for ten addresses more


def seeds() -> Iterator[bytes]:
    from harness import corpus

    for case in corpus.read_all():
        records = re.findall(r'"(v=spf1[^"]*)"', case.zone)
        lines = [case.session["mail_from"], case.session.get("helo", ""), *records]
        yield "\n".join(lines).encode()
    macros = b"v=spf1 include:%{d}.x.example exists:%{ir}.%{v}.%{L1r-}._spf.%{o} redirect=%{h}"
    yield b"<a@ternum-bfc.fr>\nh.example\n" + macros
    yield b"<>\nternum-bfc.fr\nv=spf1 ptr mx:b.example a:%{p}.c.example/8//32 exp=%{c} op=x -all"


def check(data: bytes) -> None:
    path, _, rest = data.decode("utf-8", "replace").partition("\n")
    helo, *texts = rest.split("\n")
    records = tuple(text.encode("utf-8") for text in texts)
    sender = None
    with suppress(UnreadableError):
        sender = parse_path(path)
        assert (sender is None) == (path in ("", "<>")), path
        if sender:
            assert is_host_name(sender.domain), sender
            assert not re.search(r'[\x00-\x1f"\\@\x7f]', sender.local), sender
    answers: dict[str, tuple[str | bytes | tuple[int, str], ...]] = {
        "TXT": records, "A": ("203.0.113.66", "192.0.2.1"), "AAAA": ("2001:db8::1",),
        "MX": ((10, "a.example"), (20, "b.example")), "PTR": ("h.ternum-bfc.fr",),
    }  # fmt: skip
    asked: list[tuple[str, str]] = []

    def lookup(name: str, rdtype: str) -> DnsAnswer:
        asked.append((name, rdtype))
        if name.startswith("timeout"):
            return DnsAnswer(DnsStatus.TIMEOUT)
        if name.startswith("missing") or len(name) > 253:
            return DnsAnswer(DnsStatus.NO_NAME)
        return DnsAnswer(DnsStatus.ANSWER, answers[rdtype])

    session = replace(scene.SESSION, mail_from=path, helo=helo)
    found = spf_check.check(session, scene.ENTRY, scene.AUTHOR, lookup)
    assert len(asked) <= _MOST_LOOKUPS, asked
    if asked:
        assert asked[0] == (found.domain, "TXT"), (asked, found)
    if found.domain:
        assert is_host_name(found.domain), found
        assert found.identity == ("mailfrom" if sender else "helo"), found
        assert sender is None or found.domain == sender.domain, found
    if found.counts:
        assert found.aligned, found
        assert found.result == "pass", found
        assert found.domain, found
        assert scene.ENTRY.counts_domain(found.domain, scene.AUTHOR.domain), found

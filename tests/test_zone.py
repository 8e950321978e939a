"""`--zone`: master files as name servers have them, and files that are none, each with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pratique.model import DnsAnswer, DnsStatus
from pratique.resolver import DnsConfigError, ZoneResolver

BIND = """\
$ORIGIN example.org.
$TTL 1h
@       IN SOA ns1 hostmaster (
                2026113001 ; serial
                3600 600 86400 60 )
        IN NS  ns1
        IN MX  10 mail
        IN TXT "v=spf1 mx include:spf.other.example. -all"
        IN CAA 0 issue "ca.example"
mail    A      192.0.2.1
        AAAA   2001:db8::1
www     CNAME  mail
*.w     TXT    "wild"
_sip._tcp 600 SRV 0 5 5060 mail
long    TXT    ( "v=DKIM1; "
                 "p=" )
;timeout slow.example.org
;servfail broken.example.org
$ORIGIN other.example.
spf     300 IN TXT "v=spf1 ip4:192.0.2.9 -all"
"""
ABSOLUTE = """\
example.org. 3600 IN SOA ns1.example.org. hostmaster.example.org. 1 3600 600 86400 60
        TXT "v=spf1 mx -all"
mail    A 192.0.2.1
www.example.org. CNAME mail
s1._domainkey IN TXT "v=DKIM1; p="
two.example. IN SOA ns1.two.example. hostmaster 1 3600 600 86400 60
mail    A 192.0.2.2
"""
WITHOUT_DIRECTIVES = '@ 300 IN SOA ns1 hostmaster 1 2 3 4 5\n@ TXT "apex"\nmail A 192.0.2.1\n'


def said(zone: ZoneResolver, name: str, rdtype: str) -> tuple[object, ...] | DnsStatus:
    """The records, or how the look-up ended without any."""
    answer: DnsAnswer = zone.ask(name, rdtype, 1)
    return answer.records or answer.status


def test_a_zone_of_bind() -> None:
    zone = ZoneResolver(BIND)
    assert said(zone, "example.org", "TXT") == (b"v=spf1 mx include:spf.other.example. -all",)
    assert said(zone, "example.org", "MX") == ((10, "mail.example.org"),)
    assert said(zone, "mail.example.org", "AAAA") == ("2001:db8::1",)
    assert said(zone, "www.example.org", "A") == ("192.0.2.1",)
    assert said(zone, "any.w.example.org", "TXT") == (b"wild",)
    assert said(zone, "long.example.org", "TXT") == (b"v=DKIM1; p=",)
    assert said(zone, "_tcp.example.org", "TXT") is DnsStatus.NO_DATA
    assert said(zone, "spf.other.example", "TXT") == (b"v=spf1 ip4:192.0.2.9 -all",)
    assert said(zone, "a.slow.example.org", "A") is DnsStatus.TIMEOUT
    assert said(zone, "broken.example.org", "A") is DnsStatus.SERVFAIL
    assert said(zone, "nothing.example.org", "A") is DnsStatus.NO_NAME


def test_the_soa_gives_the_origin_where_nothing_else_does() -> None:
    zone = ZoneResolver(ABSOLUTE)
    assert said(zone, "example.org", "TXT") == (b"v=spf1 mx -all",)
    assert said(zone, "www.example.org", "A") == ("192.0.2.1",)
    assert said(zone, "s1._domainkey.example.org", "TXT") == (b"v=DKIM1; p=",)
    assert said(zone, "mail.two.example", "A") == ("192.0.2.2",)


def test_an_origin_below_the_soa_holds_from_there_on() -> None:
    zone = ZoneResolver(f"{ABSOLUTE}$ORIGIN sub.two.example.\nhost A 192.0.2.3\n")
    assert said(zone, "mail.example.org", "A") == ("192.0.2.1",)
    assert said(zone, "host.sub.two.example", "A") == ("192.0.2.3",)


def test_whole_names_need_no_last_dot() -> None:
    """The short form for trying a message: a list of names, without SOA or TTL."""
    zone = ZoneResolver('ternum-bfc.fr TXT "v=spf1 -all"\nmail.ternum-bfc.fr. 300 IN A 192.0.2.1\n')
    assert said(zone, "ternum-bfc.fr", "TXT") == (b"v=spf1 -all",)
    assert said(zone, "mail.ternum-bfc.fr", "A") == ("192.0.2.1",)


@pytest.mark.parametrize("name", ["example.org.zone", "db.example.org", "example.org"])
def test_the_name_of_the_file_is_the_zone_where_nothing_in_it_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(WITHOUT_DIRECTIVES)
    zone = ZoneResolver.from_file(tmp_path / name)
    assert said(zone, "example.org", "TXT") == (b"apex",)
    assert said(zone, "mail.example.org", "A") == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (WITHOUT_DIRECTIVES, 1, "nothing says which zone `@` is: write `$ORIGIN example.org.` above it"),
        ("a.example. A 192.0.2.1\nb.example. 300 IN A nonsense\n", 2, "this is no record"),
        ("a.example. 300 IN\nb.example. A 192.0.2.1\n", 1, "this is no record"),
        ("\n; comment\na.example. TEXT x\n", 3, "'TEXT' is no record type"),
        ("\n$TTL soon\n", 2, "TTL value"),
        ("$INCLUDE more.zone\n", 1, "$INCLUDE: put the records into this file"),
        ('a.example. TXT "x"\na.example. CNAME b.example.\n', 2, "a.example. has a CNAME and other records"),
        ('a.example. CNAME b.example.\na.example. TXT "x"\n', 2, "a.example. has a CNAME and other records"),
        ("@ IN SOA ns1.example. h.example. ( 1 2\n", 1, "nothing says"),
        ("a.example. IN SOA ns1.example. h.example. (\n 1 2 3\n", 2, "unbalanced parentheses"),
        ('a.example. TXT "open\nb.example. A 192.0.2.1\n', 1, "newline in quoted string"),
        (f"{'a' * 64}.example. A 192.0.2.1\n", 1, "label is > 63"),
        ('a.example. CH TXT "x"\n', 1, "class"),
        ("Dear Sir or Madam,\n", 1, "is no record type"),
        (f"{BIND}mail A nonsense\n", BIND.count("\n") + 1, "this is no record"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text: str, line: int, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "z2.zone"
    file.write_text(text)
    with pytest.raises(DnsConfigError) as error:
        ZoneResolver.from_file(file)
    assert str(error.value).startswith(f"{file}:{line}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
    assert "Error" not in str(error.value)


def test_what_editors_write(tmp_path: Path) -> None:
    """A byte order mark, line ends of Windows, a comment in Latin-1."""
    (tmp_path / "a").write_bytes(
        b"\xef\xbb\xbfa.example. A 192.0.2.1\r\n; r\xc3\xa9serve\r\nb.example. A 192.0.2.2\r\n"
    )
    (tmp_path / "b").write_bytes(b"; r\xe9serve\na.example. A 192.0.2.1\nb.example. A 192.0.2.2\n")
    for name in ("a", "b"):
        zone = ZoneResolver.from_file(tmp_path / name)
        assert said(zone, "a.example", "A") == ("192.0.2.1",)
        assert said(zone, "b.example", "A") == ("192.0.2.2",)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, problem in (("none", "No such file"), ("bytes", "this is no record"), (".", "Is a directory")):
        with pytest.raises(DnsConfigError, match=problem):
            ZoneResolver.from_file(tmp_path / name)

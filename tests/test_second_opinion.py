"""Every case once more, by programs that share no code with ours: OpenDKIM for DKIM, Perl's Mail::SPF for SPF.

They judge each aligned signature that we looked at, and each sender whose SPF we evaluated, on the DNS of the
corpus, and must say what we say. Where they do not, the reason that we gave stands in EXPLAINED together with
their word, or the case itself says why, as `second_opinion` in its case.yaml. An explanation that nothing needs
is an error too.
"""

from __future__ import annotations

import functools
import io
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pratique import stored
from pratique.authentication.signature import read_domain
from pratique.model import HeaderField, Limits
from pratique.reasons import Reason
from test_corpus import CASES, explain

from harness import corpus
from harness.corpus import Case
from harness.dns_server import DnsServer
from harness.opendkim import OpenDkim, is_signature

# What we do not look into: there is nothing to compare.
NOT_VERIFIED = (Reason.UNALIGNED, Reason.TOO_MANY_SIGNATURES)
NOT_EVALUATED = (
    *(Reason.NOT_CHECKED, Reason.UNALIGNED, Reason.BEHIND_RELAY, Reason.RELAY_UNREADABLE, Reason.NO_CLIENT_ADDRESS),
)

# Our reason and their word: why they differ. Only reasons why something does not count for us stand here.
EXPLAINED = {
    (Reason.SUBJECT_NOT_SIGNED, "pass"): "RFC 6376 §5.4 asks for From alone; what else must be signed is policy",
    (Reason.COPY_NOT_SIGNED, "pass"): "OpenDKIM verifies what was signed; that readers show a copy is no matter of its",
    (Reason.BODY_LENGTH_TAG, "pass"): "RFC 6376 §8.2 leaves it to the verifier whether l= is good enough",
    (Reason.ALGORITHM_WEAK, "pass"): "OpenDKIM still verifies rsa-sha1, against RFC 8301 §3.1",
    (Reason.KEY_TEST_MODE, "pass"): "OpenDKIM takes t=y for a remark, RFC 6376 §3.6.1 for no signature at all",
    (Reason.KEY_WRONG_TYPE, "pass"): "OpenDKIM reads the key as a= says, whatever its k= is, against RFC 6376 §6.1.2",
    (Reason.KEY_SEVERAL_RECORDS, "temperror"): "undefined in RFC 6376 §3.6.2.2; OpenDKIM takes it for a failure of DNS",
    (Reason.BODY_HASH_MISMATCH, "temperror"): "OpenDKIM asks for the key before it compares the body, we after it",
    (Reason.SIGNATURE_TOO_LARGE, "pass"): "a bound of ours",
    (Reason.SIGNATURE_SYNTAX, "temperror"): "OpenDKIM asks DNS for any selector, be it a name or not",
    (Reason.KEY_SYNTAX, "temperror"): "OpenDKIM takes a record that it cannot read for a failure of DNS",
    (Reason.KEY_SYNTAX, "pass"): "OpenDKIM takes two p= and a late v=, against RFC 6376 §3.2 and §3.6.1",
    (Reason.MAIL_FROM_MALFORMED, "pass"): "Mail::SPF finds a domain in anything, we in one plain address only",
}


class Comparison(NamedTuple):
    """One result of ours, and theirs for the same."""

    what: str
    ours: str
    reason: str | None
    theirs: str

    @property
    def agrees(self) -> bool:
        if self.what == "spf":
            return self.ours == self.theirs
        return _judgement(self.ours) == _judgement(self.theirs)


def _judgement(result: str) -> str:
    """For DKIM: RFC 8601 leaves room between the words for a signature that does not pass."""
    return result if result in ("pass", "temperror") else "refused"


# ---- OpenDKIM ------------------------------------------------------------------------------------------


def compare_dkim(case: Case, found: dict[str, Any], opendkim: OpenDkim) -> Iterator[Comparison]:
    """Each aligned signature that we looked at."""
    if not found["dkim"]:
        return
    source = io.BytesIO(case.present())
    fields, beginning = stored.read_header(source)
    theirs = opendkim.results(fields, b"".join(stored.read_body(source, beginning)))
    # Ours stand in the order in which they were judged: of several for one domain the topmost comes first.
    limits = Limits(**case.config.get("limits", {}))
    by_domain: dict[str | None, list[str]] = {}
    for field, word in zip(filter(is_signature, fields), theirs, strict=True):
        by_domain.setdefault(read_domain(HeaderField(*field), limits), []).append(word)
    for ours in found["dkim"]:
        word = by_domain[ours["domain"]].pop(0)
        if ours["reason"] not in NOT_VERIFIED:
            yield Comparison("dkim", ours["result"], ours["reason"], word)


# ---- Mail::SPF -----------------------------------------------------------------------------------------

MAIL_SPF = r"""
use strict; use warnings;
use JSON::PP; use Net::DNS::Resolver; use Mail::SPF;
$| = 1;
print "ready\n";
my $resolver = Net::DNS::Resolver->new(
    nameservers => ["127.0.0.1"], port => $ARGV[0], retrans => 1, retry => 1,
);
my $server = Mail::SPF::Server->new(dns_resolver => $resolver, hostname => "mx1.example.org");
while (my $line = <STDIN>) {
    my $request = eval { Mail::SPF::Request->new(versions => [1], scope => "mfrom", %{decode_json($line)}) };
    my $result = $request && eval { $server->process($request)->code };
    ($result = "error: $@") =~ s/\s+/ /g unless $result;
    print "$result\n";
}
"""


class MailSpf:
    """Perl's Mail::SPF on a DNS server, while the context is open."""

    def __init__(self, dns: DnsServer) -> None:
        self._port = dns.port

    def __enter__(self) -> MailSpf:
        command = ["/usr/bin/perl", "-e", MAIL_SPF, str(self._port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            self.__exit__()
            raise RuntimeError("Mail::SPF does not start: run tests/setup")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def result(self, session: dict[str, Any]) -> str:
        """What it says of MAIL FROM, which for a null reverse-path is postmaster@HELO (RFC 7208 §2.4)."""
        sender = session["mail_from"].removeprefix("<").removesuffix(">") or f"postmaster@{session['helo']}"
        request = {"identity": sender, "ip_address": session["client"], "helo_identity": session["helo"]}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def compare_spf(case: Case, found: dict[str, Any], mail_spf: MailSpf) -> Iterator[Comparison]:
    """The SPF result, where we asked for one."""
    ours = found["spf"]
    if ours["reason"] not in NOT_EVALUATED:
        yield Comparison(
            "spf", ours["result"], ours["reason"], mail_spf.result(case.session | {"client": found["client"]})
        )


# ---- both ----------------------------------------------------------------------------------------------


class SecondOpinion:
    """The comparisons of each case, made once."""

    def __init__(self, opendkim: OpenDkim, mail_spf: MailSpf) -> None:
        self._opendkim = opendkim
        self._mail_spf = mail_spf
        self.of = functools.cache(self._compare)

    def _compare(self, name: str) -> list[Comparison]:
        case = next(case for case in CASES if case.name == name)
        with tempfile.TemporaryDirectory() as folder:
            found = explain(case, Path(folder))
        return [*compare_dkim(case, found, self._opendkim), *compare_spf(case, found, self._mail_spf)]


@pytest.fixture(scope="module")
def opinion() -> Iterator[SecondOpinion]:
    """Both programs, on all zones of the corpus."""
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer(corpus.whole_zone(CASES)))
        yield SecondOpinion(stack.enter_context(OpenDkim(dns)), stack.enter_context(MailSpf(dns)))


def is_explained(comparison: Comparison) -> bool:
    return (comparison.reason, comparison.theirs) in EXPLAINED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_others_say_the_same(case: Case, opinion: SecondOpinion) -> None:
    differences = [c for c in opinion.of(case.name) if not c.agrees and not is_explained(c)]
    if case.second_opinion:
        assert differences, "`second_opinion` explains a difference that is not there"
    else:
        assert not differences, case.proves


def test_every_explanation_is_needed(opinion: SecondOpinion) -> None:
    differences = [c for case in CASES for c in opinion.of(case.name) if not c.agrees]
    assert {(c.reason, c.theirs) for c in differences if is_explained(c)} == set(EXPLAINED)

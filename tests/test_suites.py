"""Other people's tests: the SPF suites, the DKIM examples of the RFCs, dkimpy's tests (origin: suites/README.md).

Every case is judged by our own code, with DNS from a master file read by ZoneResolver. Where we say something
else than a suite expects, DEVIATIONS says what and why; a deviation that goes away fails too.

`python tests/test_suites.py` prints the numbers and the deviations. What a master file cannot hold of the SPF suites:
- a time-out for a name alone while names below it answer (`;timeout` takes in all below): one scenario, by a
  look-up of its own;
- a time-out of type SPF alone beside a TXT record: left out, since nobody asks for that type;
- a TXT record without any string: written as one empty string. Two equal records: they become one.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dkim
import pytest
import yaml
from dkim.crypto import RSASSA_PKCS1_v1_5_sign, parse_pem_private_key

from pratique.authentication import spf_check
from pratique.authentication.body import BodyHash
from pratique.cli.explain import judge
from pratique.model import (
    Address,
    DnsAnswer,
    DnsStatus,
    Entry,
    Lookup,
    Require,
    Session,
    Settings,
    SpfEvidence,
    TrustedList,
    Verdict,
)
from pratique.reasons import Reason
from pratique.resolver import Lookups, ZoneResolver

FOLDER = Path(__file__).resolve().parent / "suites"


class Deviation(NamedTuple):
    """What the suite takes, what we say instead (an SPF result or a reason word), and why."""

    suite: str
    ours: str
    why: str


# By suite and case; the variants of a case (in brackets) deviate together.
NO_LOCAL_PART = Deviation(
    "fail", "none", "MAIL FROM <@example.net> is no address (RFC 5321 §4.1.2): refused, not read as postmaster@"
)
BODY_LENGTH = Deviation("pass", "body-length-tag", "l= does not count (design#decision): anyone can append to the body")
PAGE_LAYOUT = Deviation(
    "pass", "body-hash-mismatch", "the RFC's layout changed the message: two blanks after `game.`, and other folds"
)
DEVIATIONS = {
    "rfc7208/nolocalpart": NO_LOCAL_PART,
    "rfc4408/nolocalpart": NO_LOCAL_PART,
    "pyspf/default-modifier": Deviation("fail", "neutral", "`default=` of before RFC 4408, in pyspf's lax mode only"),
    "pyspf/default-modifier-harsh": Deviation(
        "ambiguous", "neutral", "no SPF result: pyspf's `harsh` mode, for checking one's own record"
    ),
    "rfc6376/figure-2": PAGE_LAYOUT,
    "rfc6376/figure-3": PAGE_LAYOUT,
    "rfc6376/figure-2-restored-with-the-key-as-printed": Deviation(
        "pass", "key-missing", "Appendix C prints the key for example.org, the signature is by example.com"
    ),
    "rfc6376/canonicalization-2": Deviation(
        "pass",
        "signature-mismatch",
        "Postfix takes away the blank before a colon (`B : Y`), and `explain` does as it does; `simple` needs it",
    ),
    "dkimpy/test_string_include": Deviation(
        "pass", "subject-not-signed", "only From is signed, and there is a Subject"
    ),
    "dkimpy/test_add_body_length": BODY_LENGTH,
    "dkimpy/test_l_verify": BODY_LENGTH,
    "dkimpy/test_dkim_signature_canonicalization": Deviation(
        "pass", "key-too-short", "an RSA key of 512 bits, which dkimpy was told to take (RFC 8301 §3.2)"
    ),
    "dkimpy-ed25519/test_add_body_length": BODY_LENGTH,
}

# A pass as the suite says, which does not count for us: nearly every host would pass.
TOO_WIDE = {
    *("multispf2", "all-double", "include-softfail"),
    *("a-cidr4-0", "a-cidr6-0-ip6", "mx-cidr4-0", "mx-cidr6-0-ip6", "cidr4-0", "cidr6-0"),
    *("exists-ip4", "exists-ip6", "macro-multiple-delimiters", "hello-macro"),
}


class Case(NamedTuple):
    """`expected` are the results that the suite takes; `found` judges and gives ours."""

    suite: str
    name: str
    expected: tuple[str, ...]
    found: Callable[[], str]

    @property
    def deviation(self) -> Deviation | None:
        return DEVIATIONS.get(f"{self.suite}/{self.name.partition('[')[0]}")


def strings(text: bytes) -> str:
    """Character strings of a master file, each of at most 255 octets; odd octets as \\DDD."""
    plain = [chr(octet) if 32 <= octet < 127 and octet not in b'"\\' else f"\\{octet:03}" for octet in text]
    return " ".join('"' + "".join(plain[i : i + 255]) + '"' for i in range(0, len(plain) or 1, 255))


# ---- SPF: the suites of pyspf ----------------------------------------------------------------------

SPF_FILES = {"rfc7208": "rfc7208-tests.yml", "rfc4408": "rfc4408-tests.yml", "pyspf": "test.yml"}


def domain_name(name: str) -> str:
    """An absolute name in a master file."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda odd: f"\\{ord(odd[0]):03}", name.removesuffix(".")) + "."


class Scenario:
    """The DNS of some cases."""

    def __init__(self, data: dict[str, list[Any]]):
        lines = ["$TTL 60"]
        self.timeouts: set[str] = set()  # the names that time out alone
        for name, items in data.items():
            records = [record for item in items if item != "TIMEOUT" for record in item.items()]
            # Records of type SPF stand for TXT, where no TXT is given (testspf.py, getrdata).
            if not any(kind == "TXT" for kind, _ in records):
                records += [("TXT", value) for kind, value in records if kind == "SPF"]
            records = [(kind, value) for kind, value in records if (kind, value) != ("TXT", "NONE")]
            lines += [f"{domain_name(name)} {kind} {self._data(kind, value)}" for kind, value in records]
            if "TIMEOUT" in items and not any(kind == "TXT" for kind, _ in records):
                if any(other.lower().endswith("." + name.lower()) for other in data):
                    self.timeouts.add(name.lower())
                else:
                    lines.append(f";timeout {domain_name(name)}")
        self.zone = "\n".join(lines) + "\n"

    @staticmethod
    def _data(kind: str, value: Any) -> str:
        match kind:
            case "TXT" | "SPF":
                parts = [value] if isinstance(value, str) else value or [""]
                return " ".join(strings(part.encode()) for part in parts)
            case "MX":
                return f"{value[0]} {domain_name(value[1])}"
            case "PTR" | "CNAME":
                return domain_name(value)
            case _:
                return str(value)

    def lookup(self) -> Lookup:
        """The look-ups of one message."""
        zone = Lookups(ZoneResolver(self.zone), 5, clock=lambda: 0.0)

        def lookup(name: str, rdtype: str) -> DnsAnswer:
            return DnsAnswer(DnsStatus.TIMEOUT) if name.lower() in self.timeouts else zone(name, rdtype)

        return lookup if self.timeouts else zone


def spf_evidence(scenario: Scenario, test: dict[str, Any]) -> SpfEvidence:
    """What our wrapper says of a case, for an entry to which the sender's domain belongs."""
    local, _, domain = test["mailfrom"].rpartition("@")
    path = f'<"{local}"@{domain}>' if " " in local else f"<{test['mailfrom']}>"  # as it stands on the wire
    owner = (domain or test["helo"]).lower()
    session = Session(ipaddress.ip_address(test["host"]), test["helo"], path)
    entry = Entry("suite", "Suite", owner, (("*", owner),))
    return spf_check.check(session, entry, Address("author", owner), scenario.lookup())


def spf_tests() -> Iterator[tuple[str, str, dict[str, Any], Scenario]]:
    """Suite, name, what the suite says, and the DNS, of each case."""
    for suite, file in SPF_FILES.items():
        for document in yaml.safe_load_all((FOLDER / "pyspf" / file).read_bytes()):
            scenario = Scenario(document["zonedata"])
            for name, test in document["tests"].items():
                yield suite, name, test, scenario


def spf_cases() -> Iterator[Case]:
    for suite, name, test, scenario in spf_tests():
        results = test["result"]
        expected = (results,) if isinstance(results, str) else tuple(results)
        yield Case(suite, name, expected, functools.partial(spf_result, scenario, test))


def spf_result(scenario: Scenario, test: dict[str, Any]) -> str:
    return spf_evidence(scenario, test).result.value


# ---- DKIM: what `explain` says ---------------------------------------------------------------------


def dkim_result(
    message: bytes, zone: str, author: str, domain: str | None = None, signers: frozenset[str] = frozenset()
) -> str:
    """`pass` where the message is verified for an entry with this author and domain, else why it is not."""
    local, _, place = author.partition("@")
    entry = Entry("suite", "Suite", domain or place, ((local, place),), Require.DKIM, signers=signers)
    session = Session(ipaddress.ip_address("192.0.2.1"), "mail.example", "<>")
    settings = Settings(senders=TrustedList((entry,)))
    decision = judge(io.BytesIO(message), session, settings, ZoneResolver(f"$TTL 60\n{zone}"))
    if decision.verdict is Verdict.VERIFIED:
        return "pass" if decision.by == ("dkim",) else "verified otherwise"
    reasons = {signature.reason for signature in decision.evidence.dkim if signature.aligned and signature.reason}
    return " ".join(sorted(reasons)) or decision.reason or decision.verdict


# ---- DKIM: the examples of RFC 6376 and RFC 8463 ---------------------------------------------------


def section(file: str, start: str, end: str | None = None) -> str:
    """The lines of an RFC from the one that starts so to the one that starts so, without the RFC's indentation."""
    lines = [line.removeprefix("   ") for line in (FOLDER / "rfc" / file).read_text().splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith(start))
    last = next((i for i in range(first, len(lines)) if end and lines[i].lstrip().startswith(end)), len(lines))
    return "\n".join(lines[first:last]).rstrip() + "\n"


def restored(figure: str) -> str:
    """Figures 2 and 3 of RFC 6376 as they were signed: the RFC's layout has added a blank, and folds of its own."""
    header, empty, body = figure.partition("\n\n")
    return re.sub("\n +", "\n      ", header) + empty + body.replace("game.  Are", "game. Are")


def rfc6376_cases() -> Iterator[Case]:
    key = section("rfc6376-c.txt", "$ORIGIN")
    moved = key.replace("example.org", "example.com")
    signed = section("rfc6376-a.txt", "DKIM-Signature: v=1;", "Figure 2")
    arrived = section("rfc6376-a.txt", "X-Authentication-Results:", "Figure 3")
    for name, figure, zone in [
        ("figure-2", signed, key),
        ("figure-3", arrived, key),
        ("figure-2-restored", restored(signed), moved),
        ("figure-3-restored", restored(arrived), moved),
        ("figure-2-restored-with-the-key-as-printed", restored(signed), key),
    ]:
        found = functools.partial(dkim_result, figure.encode(), zone, "joe@football.example.com", "example.com")
        yield Case("rfc6376", name, ("pass",), found)
    # §3.4.3 and §3.4.4: SHA-1 and SHA-256 of an empty body, simple, then relaxed
    hashes = re.findall(r"^ {3}([A-Za-z0-9+/]+=)$", (FOLDER / "rfc" / "rfc6376-3.4.txt").read_text(), re.MULTILINE)
    kinds = [(kind, algorithm) for kind in ("simple", "relaxed") for algorithm in ("sha1", "sha256")]
    for kind, expected in zip(kinds, hashes, strict=True):
        yield Case("rfc6376", f"empty-body-{'-'.join(kind)}", (expected,), functools.partial(empty_hash, *kind))
    # §3.4.5: a message, then header and body as canonicalised in three ways, the relaxed header and simple body twice
    blocks = [canonical_text(block) for block in re.findall(r"(?:.*<CRLF>\n)+", section("rfc6376-3.4.txt", "A:"))]
    ways = ["relaxed/relaxed", "simple/simple", "relaxed/simple"]
    for number, (way, header, body) in enumerate(zip(ways, blocks[1::2], blocks[2::2], strict=True), 1):
        message = signed_as_printed(blocks[0], way, header, body)
        found = functools.partial(dkim_result, message, moved, "joe@football.example.com", "example.com")
        yield Case("rfc6376", f"canonicalization-{number}", ("pass",), found)


def empty_hash(canonicalization: str, algorithm: str) -> str:
    return base64.b64encode(BodyHash(canonicalization, algorithm).digest()).decode()


def canonical_text(block: str) -> bytes:
    """Text in the notation of RFC 6376 §3.4.5, where blanks mean nothing."""
    text = "".join(block.split())
    return text.replace("<SP>", " ").replace("<HTAB>", "\t").replace("<CRLF>", "\r\n").encode()


def signed_as_printed(message: bytes, way: str, header: bytes, body: bytes) -> bytes:
    """A message signed with the key of Appendix C over the canonical text that the RFC prints, and over its From."""
    body_hash = base64.b64encode(hashlib.sha256(body).digest()).decode()
    tags = f"v=1; a=rsa-sha256; c={way}; d=example.com; s=brisbane; h=A:B:From; bh={body_hash}; b="
    from_field, field = b"From: joe@football.example.com\r\n", f"DKIM-Signature: {tags}".encode()
    hasher = hashlib.sha256(header)
    relaxed = way.startswith("relaxed")
    hasher.update(from_field.replace(b"From: ", b"from:") if relaxed else from_field)
    hasher.update(f"dkim-signature:{tags}".encode() if relaxed else field)
    pem = section("rfc6376-c.txt", "-----BEGIN RSA PRIVATE KEY", "To extract")
    signature = base64.b64encode(bytes(RSASSA_PKCS1_v1_5_sign(hasher, parse_pem_private_key(pem.encode()))))
    return field + signature + b"\r\n" + from_field + message


def rfc8463_cases() -> Iterator[Case]:
    zone = section("rfc8463-a.txt", "brisbane._domainkey", "Levine")
    message = section("rfc8463-a.txt", "DKIM-Signature: v=1;")
    _, ed25519, rsa = re.split("^(?=DKIM-Signature:)", message, flags=re.MULTILINE)
    rsa, unsigned = rsa[: rsa.index("From:")], rsa[rsa.index("From:") :]
    # "either signature would be valid if the other were not present"
    for name, signatures in {"both": ed25519 + rsa, "ed25519": ed25519, "rsa": rsa}.items():
        text = (signatures + unsigned).encode()
        yield Case("rfc8463", name, ("pass",), functools.partial(dkim_result, text, zone, "joe@football.example.com"))


# ---- DKIM: dkimpy's tests --------------------------------------------------------------------------

KEYS: dict[str, str] = yaml.safe_load((FOLDER / "dkimpy" / "keys-in-tests.yml").read_bytes())
ONE_WAY = ((b"relaxed", b"simple"),)  # dkimpy's own choice, where a test makes none
ALL_WAYS = tuple((header, body) for header in (b"simple", b"relaxed") for body in (b"simple", b"relaxed"))
RESIDENT_EVIL = b'From: "Resident Evil" <sales@spammer.com>'


def data(name: str) -> bytes:
    return (FOLDER / "dkimpy" / "data" / name).read_bytes()


class Signer(NamedTuple):
    """Who signs in one of dkimpy's test files, what, and the key record that is found then."""

    suite: str
    message: bytes
    domain: str
    key: bytes
    record: bytes
    selector: str = "test"
    algorithm: bytes = b"rsa-sha256"
    author: str = "test@example.com"

    def case(self, test: str, expected: str, message: bytes, variant: str = "") -> Case:
        """A case of this signer's. `expected` is `pass`, or our reason where dkimpy says that it does not verify."""
        zone = f"{self.selector}._domainkey.{self.domain}. TXT {strings(self.record)}\n"
        found = functools.partial(dkim_result, message, zone, self.author, signers=frozenset({self.domain}))
        return Case(self.suite, test + variant, (expected,), found)

    def cases(
        self, test: str, expected: str = "pass", ways: tuple[tuple[bytes, bytes], ...] = ALL_WAYS,
        change: Callable[[bytes], bytes] = bytes, **how: Any,
    ) -> Iterator[Case]:  # fmt: skip
        """The message signed in these ways, and changed afterwards."""
        for way in ways:
            variant = f"[{b'-'.join(way).decode()}]" if len(ways) > 1 else ""
            yield self.case(test, expected, self.sign(way, **how) + change(self.message), variant)

    def sign(self, way: tuple[bytes, bytes], **how: Any) -> bytes:
        signed: bytes = dkim.sign(
            self.message, self.selector.encode(), self.domain.encode("latin-1"), self.key,
            canonicalize=way, signature_algorithm=self.algorithm, **how,
        )  # fmt: skip
        return signed


RSA = Signer("dkimpy", data("test.message"), "example.com", data("test.private"), data("test.txt"))
ED25519 = Signer(
    "dkimpy-ed25519", data("ed25519test.msg"), "example.net", data("ed25519test.key"), data("ed25519test.dns"),
    algorithm=b"ed25519-sha256",
)  # fmt: skip
FOOTBALL = RSA._replace(message=data("rfc6376.msg"), domain="football.example.com", author="joe@football.example.com")
BRISBANE = FOOTBALL._replace(
    suite="dkimpy-ed25519", selector="brisbane", key=data("rfc8032_7_1.key"), record=KEYS["football"].encode(),
    algorithm=b"ed25519-sha256",
)  # fmt: skip


def shared_tests(signer: Signer) -> Iterator[Case]:
    """The tests that test_dkim.py and test_dkim_ed25519.py have in common."""
    yield from signer.cases("test_verifies")
    yield from signer.cases("test_simple_signature", include_headers=(b"from", *dkim.DKIM.SHOULD))
    yield from signer.cases("test_add_body_length", ways=ONE_WAY, length=True)
    yield from signer.cases("test_altered_body_fails", "body-hash-mismatch", ONE_WAY, lambda m: m + b"foo")
    elsewhere = signer._replace(domain=signer.domain + "\xe9")
    yield signer.case("test_badly_encoded_domain_fails", "no-aligned-pass", elsewhere.sign(ONE_WAY[0]) + signer.message)
    yield from signature_canonicalization(signer)
    yield from extra_headers(signer)
    for test, expected, change in [
        ("test_multiple_from_fails[x-foo]", "pass", lambda m: m.replace(b"\n\n", b"\r\nX-Foo: bar\n\n", 1)),
        (
            "test_multiple_from_fails[end]",
            "several-from-fields",
            lambda m: m.replace(b"\n\n", b"\r\n" + RESIDENT_EVIL + b"\n\n", 1),
        ),
        ("test_multiple_from_fails[front]", "several-from-fields", lambda m: RESIDENT_EVIL + b"\r\n" + m),
    ]:
        yield from signer.cases(test, expected, ONE_WAY, change)


def signature_canonicalization(signer: Signer) -> Iterator[Case]:
    """A signature field that is folded after signing, where only b= is concerned."""
    message = b"From: mbp@canonical.com\r\nTo: scottk@example.com\r\nSubject: this is my\r\n    test message\r\n"
    short = signer.suite == "dkimpy"
    signer = signer._replace(
        message=message, selector="example", domain="canonical.com", author="mbp@canonical.com",
        key=KEYS["rsa-512-private"].encode() if short else signer.key,
        record=KEYS["rsa-512"].encode() if short else signer.record,
    )  # fmt: skip
    for header in (b"relaxed", b"simple"):
        folded = dkim.fold(signer.sign((header, b"relaxed")))
        again = dkim.fold(folded)
        with_tab = b"\r\n\t".join(again.rsplit(b"\r\n ", 1))
        for name, field in {"folded": folded, "tab": with_tab}.items():
            variant = f"[{header.decode()}-{name}]"
            yield signer.case("test_dkim_signature_canonicalization", "pass", field + message, variant)


def extra_headers(signer: Signer) -> Iterator[Case]:
    """All fields signed, repeated ones (Received) too."""
    signer = signer._replace(message=data("message.mbox"), author="scott@kitterman.com")
    for way in ALL_WAYS:
        engine = dkim.DKIM(signer.message, signature_algorithm=signer.algorithm)
        engine.should_not_sign = set(engine.should_not_sign) - {b"received"}
        signature: bytes = engine.sign(
            signer.selector.encode(), signer.domain.encode(), signer.key,
            canonicalize=way, include_headers=engine.all_sign_headers(),
        )  # fmt: skip
        yield signer.case("test_extra_headers", "pass", signature + signer.message, f"[{b'-'.join(way).decode()}]")


def dkimpy_cases() -> Iterator[Case]:
    yield from shared_tests(RSA)
    yield from RSA.cases("test_verifies_lflinesep", linesep=b"\n")
    yield from RSA.cases("test_string_include", include_headers=("from",))
    yield from RSA.cases("test_l_verify", change=lambda m: m + b"added more text\n", length=True)
    yield from RSA._replace(record=data("test2.txt")).cases("test_implicit_k")
    yield from RSA._replace(record=data("badversion.txt")).cases("test_bad_version", "key-syntax")
    yield from RSA._replace(record=data("badk.txt")).cases("test_unknown_k", "key-wrong-type")
    yield from RSA._replace(record=data("test_tlsrpt.txt")).cases("test_ignores_tlsrptsvc", "key-not-for-email")
    yield from RSA._replace(record=data("test_bad.txt")).cases("test_parse_public_key", "key-syntax", ONE_WAY)
    for test, key, record in [
        ("test_verifies_SubjectPublicKeyInfo1024", "1024_testkey.key", "1024_testkey_wo_markers.pub.txt"),
        ("test_verifies_RSAPublicKey1024", "1024_testkey.key", "1024_testkey_wo_markers.pub.rsa.txt"),
        ("test_verifiesSubjectPublicKeyInfo2048", "2048_testkey.key", "2048_testkey_wo_markers.pub.txt"),
        ("test_verifiesRSAPublicKey2048", "2048_testkey.key", "2048_testkey_wo_markers.pub.rsa.txt"),
        ("test_verifies_RSAPublicKey2048PKCS8", "2048_testkey_PKCS8.key", "2048_testkey_PKCS8.key.pub.txt"),
    ]:
        yield from RSA._replace(key=data(key), record=data(record)).cases(test)
    open_domain = RSA._replace(domain="legitimate.com(.attacker.com").sign(ONE_WAY[0])
    yield RSA.case("test_invalid_domain_sign", "no-aligned-pass", open_domain + RSA.message)
    yield RSA.case("test_invalid_domain_verify", "no-aligned-pass", data("test.message.baddomain"))
    yield from FOOTBALL.cases("test_double_verifies")
    yield FOOTBALL.case("test_double_previous_verifies", "pass", data("rfc6376.signed.msg"))
    yield FOOTBALL.case("test_no_t", "signature-mismatch", data("rfc6376.signed.no_t.msg"))
    defective = FOOTBALL._replace(record=KEYS["rsa-512-defective"].encode())
    yield defective.case("test_catch_bad_key", "key-syntax", data("rfc6376.signed.rsa.msg"))
    gmail = RSA._replace(
        selector="20120113", domain="gmail.com", record=KEYS["gmail"].encode(), author="cfr@strace.org"
    )
    yield gmail.case("test_degenerate_folding", "pass", data("test2.message"))

    yield from shared_tests(ED25519)
    yield from BRISBANE.cases("test_rfc8032_verifies")
    yield BRISBANE.case("test_rfc8032_previous_verifies", "pass", data("rfc6376.signed.msg"))
    exim = ED25519._replace(selector="sed", domain="test.ex", record=data("eximtest.dns"), author="nobody@example.com")
    yield exim.case("test_verify_third_party", "pass", data("ed25519test2.msg"))

    # The messages that are not signed, as they are stored
    for signer, file, expected in [
        (RSA, "test.message", "no-aligned-pass"),
        (RSA, "test_extra.message", "no-aligned-pass"),
        (RSA, "test_nofrom.message", "unclaimed"),
        (FOOTBALL, "rfc6376.msg", "no-aligned-pass"),
        (FOOTBALL, "rfc6376.w1258.msg", "invalid-utf8"),
        (ED25519, "ed25519test.msg", "no-aligned-pass"),
    ]:
        yield signer.case(f"stored-{file}", expected, data(file))
    yield FOOTBALL.case("stored-rfc6376.signed.rsa.msg", "pass", data("rfc6376.signed.rsa.msg"))
    kitterman = RSA._replace(author="scott@kitterman.com")
    yield kitterman.case("stored-message.mbox", "key-missing", data("message.mbox"))


# ---- all of them -----------------------------------------------------------------------------------

CASES = [*spf_cases(), *rfc6376_cases(), *rfc8463_cases(), *dkimpy_cases()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.suite}-{case.name}")
def test_case(case: Case) -> None:
    found = case.found()
    if case.deviation is None:
        assert found in case.expected
    else:
        assert case.deviation.suite in case.expected
        assert found == case.deviation.ours, "a deviation has changed: correct DEVIATIONS"


def test_each_deviation_is_of_a_case() -> None:
    assert set(DEVIATIONS) == {f"{case.suite}/{case.name.partition('[')[0]}" for case in CASES if case.deviation}


def test_spf_passes_that_do_not_count() -> None:
    wide: dict[str, set[str]] = {suite: set() for suite in SPF_FILES}
    for suite, name, test, scenario in spf_tests():
        evidence = spf_evidence(scenario, test)
        assert evidence.counts == (evidence.result == "pass" and evidence.reason is None), f"{suite}/{name}"
        if evidence.result == "pass" and not evidence.counts:
            assert evidence.reason is Reason.SPF_TOO_WIDE
            wide[suite].add(name)
    assert wide == {"rfc7208": TOO_WIDE, "rfc4408": TOO_WIDE, "pyspf": set()}


def numbers() -> list[str]:
    """The table in suites/README.md: a line a suite, with its cases, those as the suite says, and deviations."""
    cases = Counter(case.suite for case in CASES)
    deviating = Counter(case.suite for case in CASES if case.deviation)
    return [
        f"| {suite} | {count} | {count - deviating[suite]} | {deviating[suite]} |" for suite, count in cases.items()
    ]


def test_the_numbers_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert [line for line in readme.splitlines() if re.match(r"\| [a-z0-9-]+ \| \d", line)] == numbers()


def main() -> None:
    """Judge all cases, and print the numbers and every deviation."""
    for suite in dict.fromkeys(case.suite for case in CASES):
        cases = [case for case in CASES if case.suite == suite]
        odd = [(case, found) for case in cases if (found := case.found()) not in case.expected]
        print(f"{suite}: {len(cases)} cases, {len(cases) - len(odd)} as the suite says, {len(odd)} not")
        for case, found in odd:
            known = case.deviation is not None and case.deviation.ours == found
            why = case.deviation.why if case.deviation and known else "NOT EXPLAINED"
            print(f"    {case.name}: {' or '.join(case.expected)}, ours {found}: {why}")


if __name__ == "__main__":
    main()

"""DKIM keys in DNS: the forms that are good, and those that are not (RFC 6376 §3.6)."""

from __future__ import annotations

import base64

from recipes import case, excluded, key, message, signed_case, strings, txt, unverified, verified

from harness.signing import KEYS, Sign, key_record, public_rsa, sign

PUBLIC = (KEYS / "rsa2048.pub").read_text().strip()
PKCS_1 = base64.b64encode(base64.b64decode(PUBLIC)[24:]).decode()  # RSAPublicKey within SubjectPublicKeyInfo

# ---- must be verified ---------------------------------------------------------------------------------------------

for name, why, source, record in [
    ("of-email-and-more", "a key for several services, e-mail among them", "RFC 6376 §3.6.1", key_record(s="email:tlsrpt")),
    ("of-every-service", "a key for every service, s=*", "RFC 6376 §3.6.1; dkim_verifier issue 134", key_record(s="*")),
    ("of-both-hashes", "a key for sha1 and sha256", "RFC 6376 §3.6.1", key_record(h="sha1:sha256")),
    ("unknown-flags", "flags that nobody knows", "RFC 6376 §3.6.1, t=", key_record(t="x:later")),
    ("unknown-tags", "notes, the old g=, and tags that nobody knows", "RFC 6376 §3.6.1; RFC 4871 §3.6.1", key_record(n="a note", g="*", zz="1")),
    ("only-p", "nothing but p=: version and type have defaults", "go-msgauth issue 62; filtermail issue 59", f"p={PUBLIC}"),
    ("final-semicolon", "a semicolon at the end, and blanks round every sign", "RFC 6376 §3.2", f" v = DKIM1 ;  k = rsa ; p = {PUBLIC} ; "),
    ("blanks-in-p", "blanks within p=", "RFC 6376 §3.6.1; messages pull request 778", f"v=DKIM1; p={PUBLIC[:100]} {PUBLIC[100:]}"),
    ("pkcs-1", "the key as a bare RSAPublicKey", "RFC 6376 §3.6.1; erratum 3017", f"v=DKIM1; k=rsa; p={PKCS_1}"),
]:  # fmt: skip
    selector = f"dkim-key-{name}"
    signed_case(selector, why, source, verified("dkim"), zone=txt(f"{selector}._domainkey.ternum-bfc.fr", record))
signed_case(
    "dkim-key-strict-identity",
    "a t=s key with i= of the very domain",
    "RFC 6376 §3.6.1",
    verified("dkim"),
    how={"tags": {"i": "@ternum-bfc.fr"}},
    record={"t": "s"},
)
signed_case(
    "dkim-key-strict-no-identity",
    "a t=s key and no i=, which then is d=",
    "RFC 6376 §3.5, i=; go-msgauth issue 44",
    verified("dkim"),
    record={"t": "s"},
)
signed_case(
    "dkim-key-in-strings",
    "a key in many strings, cut within tags, one of them empty",
    "RFC 6376 §3.6.2.2",
    verified("dkim"),
    zone=strings(
        "dkim-key-in-strings._domainkey.ternum-bfc.fr",
        "v=DK",
        "IM1; k=r",
        "sa; p",
        "=",
        "",
        PUBLIC[:7],
        PUBLIC[7:200],
        PUBLIC[200:],
    ),
)
signed_case(
    "dkim-cname-key",
    "the key record behind a CNAME",
    "RFC 1034 §3.6.2",
    verified("dkim"),
    zone="dkim-cname-key._domainkey.ternum-bfc.fr. 300 IN CNAME key.dkim-cname-key.example.\n"
    + txt("key.dkim-cname-key.example", key_record()),
)
signed_case(
    "dkim-cname-chain",
    "the key record behind three CNAMEs, at a mail provider's",
    "RFC 1034 §3.6.2",
    verified("dkim"),
    zone="dkim-cname-chain._domainkey.ternum-bfc.fr. 300 IN CNAME a.dkim-cname-chain.example.\n"
    "a.dkim-cname-chain.example. 300 IN CNAME b.dkim-cname-chain.example.\n"
    "b.dkim-cname-chain.example. 300 IN CNAME c._domainkey.dkim-cname-chain.example.\n"
    + txt("c._domainkey.dkim-cname-chain.example", key_record()),
)

# ---- must not be verified -----------------------------------------------------------------------------------------

signed_case(
    "no-dkim-short-key",
    "an RSA key of 768 bits",
    "RFC 8301 §3.2; Zachary Harris 2012, VU#268267",
    excluded("key-too-short", "policy"),
    how={"key": "rsa768"},
)
signed_case(
    "no-dkim-shorter-key",
    "an RSA key of 512 bits, which was factored for eight dollars",
    "RFC 8301 §3.2; dmarcchecker.app 2025",
    excluded("key-too-short", "policy"),
    how={"key": "rsa512"},
)
for name, why, source, reason, result, tags in [
    ("test-key", "a key in test mode", "RFC 6376 §3.6.1, t=y", "key-test-mode", "policy", {"t": "y"}),
    ("test-key-among-flags", "a test-mode flag among other flags", "RFC 6376 §3.6.1", "key-test-mode", "policy", {"t": "s:y"}),
    ("revoked-key", "a revoked key", "RFC 6376 §3.6.1, p=", "key-revoked", "permerror", {"p": ""}),
    ("key-not-for-email", "a key for another service", "RFC 6376 §3.6.1, s=", "key-not-for-email", "permerror", {"s": "tlsrpt"}),
    ("key-not-for-hash", "a key that may not be used with sha256", "RFC 6376 §3.6.1, h=", "key-not-for-hash", "permerror", {"h": "sha1"}),
    ("key-type", "an RSA signature and a key that says Ed25519", "RFC 8463 §4", "key-wrong-type", "permerror", {"k": "ed25519"}),
    ("key-version", "a key record of an unknown version", "RFC 6376 §3.6.1", "key-syntax", "permerror", {"v": "DKIM2"}),
    ("key-garbage", "a p= that is no base64", "RFC 6376 §6.1.2", "key-syntax", "permerror", {"p": "!!!!"}),
    ("key-garbage-inside", "a p= with a sign in it that is no base64", "RFC 6376 §3.6.1, p=; dkimpy passes it over", "key-syntax", "permerror", {"p": f"{PUBLIC[:100]}!{PUBLIC[100:]}"}),
]:  # fmt: skip
    signed_case(f"no-dkim-{name}", why, source, excluded(reason, result), record=tags)
for name, why, source, record in [
    ("key-without-p", "a key record without p=", "RFC 6376 §3.6.1", "v=DKIM1; k=rsa"),
    ("key-version-late", "a version that is not the first tag", "RFC 6376 §3.6.1", f"k=rsa; v=DKIM1; p={PUBLIC}"),
    ("key-two-p", "two p= in one record", "RFC 6376 §3.2; messages pull request 778", f"v=DKIM1; p=; p={PUBLIC}"),
]:  # fmt: skip
    selector = f"no-dkim-{name}"
    zone = txt(f"{selector}._domainkey.ternum-bfc.fr", record)
    signed_case(selector, why, source, excluded("key-syntax", "permerror"), zone=zone)
signed_case(
    "no-dkim-key-strict-subdomain",
    "i= of a sub-domain, though the key says t=s",
    "RFC 6376 §3.6.1, t=s; go-msgauth issue 44",
    excluded("identity-mismatch", "permerror"),
    how={"tags": {"i": "x@sub.ternum-bfc.fr"}},
    record={"t": "s"},
)
signed_case(
    "no-dkim-other-key",
    "signed with another key than the published one",
    "RFC 6376 §6.1.3",
    excluded("signature-mismatch", "fail"),
    zone=key("no-dkim-other-key", "other2048"),
)
signed_case(
    "no-dkim-ed25519-rsa-key",
    "an Ed25519 signature and an RSA key",
    "RFC 8463 §4; dkim_verifier, rfc8463-A.3-key_algo_mismatch",
    excluded("key-wrong-type", "permerror"),
    how={"key": "ed25519a"},
    zone=key("no-dkim-ed25519-rsa-key"),
)
signed_case(
    "no-dkim-ed25519-long-key",
    "an Ed25519 key of the wrong length",
    "RFC 8463 §4.2",
    excluded("key-syntax", "permerror"),
    how={"key": "ed25519a"},
    record={"p": "YWJjZGVmZ2hpamts"},
)
signed_case(
    "no-dkim-missing-key",
    "there is no key at the selector",
    "RFC 6376 §6.1.2",
    excluded("key-missing", "permerror"),
    zone="",
)
signed_case(
    "no-dkim-dangling-cname",
    "the selector is a CNAME to a name that is gone",
    "SubdoMailing (Guardio 2024)",
    excluded("key-missing", "permerror"),
    zone="no-dkim-dangling-cname._domainkey.ternum-bfc.fr. 300 IN CNAME gone.no-dkim-dangling-cname.example.\n",
)
signed_case(
    "no-dkim-wildcard",
    "a wildcard record answers for the selector",
    "RFC 6376 §3.6.2.2, §6.1.2",
    excluded("key-syntax", "permerror"),
    how={"domain": "no-dkim-wildcard.ternum-bfc.fr"},
    zone=txt("*.no-dkim-wildcard.ternum-bfc.fr", "v=spf1 ip4:203.0.113.66 -all"),
)
signed_case(
    "no-dkim-two-keys",
    "two keys at one selector",
    "RFC 6376 §3.6.2.2",
    excluded("key-several-records", "permerror"),
    zone=key("no-dkim-two-keys") + key("no-dkim-two-keys", "other2048"),
)
case(
    "no-dkim-key-in-two-records",
    "a long key in two records instead of two strings",
    "forwardemail.net issue 316",
    sign(message(), Sign(selector="no-dkim-key-in-two")),
    strings("no-dkim-key-in-two._domainkey.ternum-bfc.fr", f"v=DKIM1; k=rsa; p={PUBLIC[:200]}")
    + strings("no-dkim-key-in-two._domainkey.ternum-bfc.fr", PUBLIC[200:]),
    unverified("key-syntax"),
)

# ---- made to cost --------------------------------------------------------------------------------------------------

for name, why, bits, exponent in [
    ("too-large", "a key of 9000 bits: its arithmetic takes long, and nobody needs it", 9_000, 65_537),
    ("large-exponent", "an exponent as large as the key: the check would take a hundred times as long", 2_048, (1 << 2_047) + 1),
]:  # fmt: skip
    signed_case(
        f"dkim-key-{name}",
        why,
        "RFC 8301 §3.2; found by tests/bench/hostile.py",
        excluded("key-too-large", "policy"),
        record={"p": public_rsa(bits, exponent)},
    )

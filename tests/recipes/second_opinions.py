"""Why OpenDKIM or Mail::SPF sees a case differently (tests/test_second_opinion.py), by the case's name."""

SECOND_OPINIONS = {
    "dkim-idn": "OpenDKIM knows d= as A-labels only; RFC 8616 §4 allows U-labels",
    "dkim-key-pkcs-1": "OpenDKIM reads SubjectPublicKeyInfo only; RFC 6376 §3.6.1 says RSAPublicKey, its erratum 3017 both",
    "dkim-several-queries": "OpenDKIM refuses an unknown method in q=; RFC 6376 §3.5 has it passed over",
    "no-dkim-vertical-tab": "OpenDKIM takes a vertical tab for a blank; the WSP of RFC 6376 §2.8 is blank and tab alone",
    "spf-redirect-not-followed": "Mail::SPF counts a redirect that is not followed; RFC 7208 §4.6.4 counts terms that cause queries",
    "spf-void-mx-dangling": "Mail::SPF counts void lookups; RFC 7208 §4.6.4 and §11.1 count terms that have some",
    "spf-void-mx-ipv4-only": "as above",
    "no-spf-syntax-zero-parts": "Mail::SPF takes a zero for no number; RFC 7208 §7.3: the number must not be zero",
    "no-spf-ip6-mapped": "Mail::SPF compares an IPv4-mapped client with ip6; RFC 7208 §5 has it treated as IPv4",
    "spf-ptr-reverse-zone-fails": "Mail::SPF makes an error of a reverse zone that fails; RFC 7208 §5.5: no match",
    "no-spf-record-too-long": "Mail::SPF evaluates a record of any length; RFC 7208 §11.1 lets a verifier bound its work",
    "no-spf-too-many-macros": "Mail::SPF expands any number of macros; RFC 7208 §11.1 lets a verifier bound its work",
    "no-spf-mx-limit": "Mail::SPF passes over the eleventh MX (RFC 4408); RFC 7208 §4.6.4 makes it an error",
}

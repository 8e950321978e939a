"""Every reason word, with the sentence that explains it.

Rule of this module: one enum, nothing else. The README's table is this enum; a test holds them together.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a verdict, a claim, a signature or an SPF result is what it is."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> "Reason":
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    # the verdict
    NO_ALIGNED_PASS = "no-aligned-pass", "neither SPF nor DKIM passed for a domain of the entry"
    REQUIREMENT_NOT_MET = "requirement-not-met", "something passed, but not what the entry's `require` asks for"
    ENTRY_EXPIRED = "entry-expired", "the entry's `expires` date is over: its mail is no longer verified"
    DNS_TEMPERROR = "dns-temperror", "a DNS look-up that could have decided got no answer (time-out or server failure)"
    INTERNAL_ERROR = "internal-error", "an error in Pratique itself; the traceback is in the log"
    BEHIND_RELAY = "behind-relay", "the client is one of `relays`: SPF and `networks` would judge the wrong host"
    RELAY_UNREADABLE = (
        "relay-unreadable",
        "as above, and the Received fields of `relays` do not say clearly who sent it",
    )

    # the claim
    SEVERAL_FROM_FIELDS = "several-from-fields", "more than one From field: readers disagree on the author"
    SEVERAL_MAILBOXES = "several-mailboxes", "From holds a list of mailboxes"
    GROUP_IN_FROM = "group-in-from", "From holds a group (`name: …;`)"
    ROUTE_IN_FROM = "route-in-from", "From holds an obsolete source route (`<@relay:user@domain>`)"
    MALFORMED_FROM = "malformed-from", "From is not one mailbox in the syntax of RFC 5322"
    FROM_TOO_LONG = "from-too-long", "the From field is longer than `limits: from_size`"
    FROM_TOO_INTRICATE = (
        "from-too-intricate",
        "From shows more text, or in more ways, than can be searched for a trusted sender",
    )
    CONTROL_CHARACTER = "control-character", "From holds a control, line-separating or text-direction character"
    INVALID_UTF8 = "invalid-utf8", "From holds bytes that are not UTF-8"
    INVALID_DOMAIN = "invalid-domain", "the From domain is no host name, or an IDN that is not in normal form"
    ENCODED_WORD_IN_ADDRESS = "encoded-word-in-address", "an encoded word inside the address itself (RFC 2047 §5)"
    HEADER_TOO_LARGE = "header-too-large", "more header fields or octets than `limits` allow"
    DISPLAY_NAME_IMITATES = "display-name-imitates", "display name or comment carries a listed address, domain or name"
    LIST_REWRITTEN = "list-rewritten", "as above, but From was rewritten by a list of one of `local_domains`"
    LOCAL_PART_IMITATES = "local-part-imitates", "the part before the @ carries a listed address, domain or name"
    DOMAIN_IMITATES = "domain-imitates", "the From domain is made to look like a trusted domain"

    # evidence of either kind
    UNALIGNED = "unaligned", "the domain is none of the entry's (see `alignment`, `evidence_domains`, `signers`)"
    NOT_CHECKED = "not-checked", "no evidence was gathered, because none could change the verdict"

    TOO_MANY_QUERIES = "too-many-queries", "it needs more DNS queries than one message may cause (40, 20 elsewhere)"

    # SPF
    SPF_NOT_PASS = "spf-not-pass", "SPF gave another result than pass"
    SPF_TOO_WIDE = "spf-too-wide", "the mechanism that matched lets nearly every host pass"
    MAIL_FROM_MALFORMED = "mail-from-malformed", "MAIL FROM is not one plain address"
    HELO_MALFORMED = "helo-malformed", "the reverse-path is null, and the HELO name is no host name"
    NO_CLIENT_ADDRESS = "no-client-address", "the MTA gave no IP address of the client"

    # DKIM: the signature
    SIGNATURE_SYNTAX = "signature-syntax", "the DKIM-Signature field breaks RFC 6376 §3.5"
    SIGNATURE_TOO_LARGE = "signature-too-large", "the DKIM-Signature field is over one of `limits`"
    TOO_MANY_SIGNATURES = "too-many-signatures", "beyond the number of signatures that are looked at"
    ALGORITHM_UNSUPPORTED = "algorithm-unsupported", "`a=` is neither rsa-sha256 nor ed25519-sha256"
    ALGORITHM_WEAK = "algorithm-weak", "`a=rsa-sha1`, which RFC 8301 forbids"
    FROM_NOT_SIGNED = "from-not-signed", "`h=` does not cover From"
    SUBJECT_NOT_SIGNED = "subject-not-signed", "there is a Subject, and `h=` does not cover it"
    BODY_LENGTH_TAG = "body-length-tag", "`l=`: anyone can append to the body"
    COPY_NOT_SIGNED = "copy-not-signed", "a field that may stand once is there twice, and one copy is not signed"
    IDENTITY_MISMATCH = "identity-mismatch", "`i=` is outside `d=`, or not what a `t=s` key allows"
    SIGNATURE_EXPIRED = "signature-expired", "`x=` had passed at arrival"
    SIGNATURE_IN_FUTURE = "signature-in-future", "`t=` lies in the future"
    BODY_HASH_MISMATCH = "body-hash-mismatch", "the body is not the one that was signed"
    SIGNATURE_MISMATCH = "signature-mismatch", "the signature does not fit header and key"
    REPLY_TO_NOT_SIGNED = "reply-to-not-signed", "counts, but there is a Reply-To, and `h=` does not cover it"
    CONTENT_TYPE_NOT_SIGNED = "content-type-not-signed", "counts, but `h=` does not cover Content-Type"

    # ARC: and any of DKIM's, of the seals and of the last message signature
    ARC_CHAIN_BROKEN = "arc-chain-broken", "the ARC sets are not 1 to 10, each once and whole, or a hop says so (`cv=`)"
    ARC_SEALER_UNLISTED = "arc-sealer-unlisted", "a sealer of the ARC chain is not one of `arc_sealers`"
    ARC_NO_ALIGNED_PASS = "arc-no-aligned-pass", "the first hop of the ARC chain tells of no aligned DKIM or SPF pass"

    # DKIM: the key
    KEY_MISSING = "key-missing", "there is no key record at the selector"
    KEY_SEVERAL_RECORDS = "key-several-records", "there are several key records at the selector"
    KEY_SYNTAX = "key-syntax", "the key record cannot be read"
    KEY_REVOKED = "key-revoked", "the key was revoked (`p=` is empty)"
    KEY_TOO_SHORT = "key-too-short", "an RSA key under 1024 bits"
    KEY_TOO_LARGE = "key-too-large", "an RSA key over 8192 bits, or with an exponent over 32 bits"
    KEY_TEST_MODE = "key-test-mode", "the key is in test mode (`t=y`)"
    KEY_NOT_FOR_EMAIL = "key-not-for-email", "the key's `s=` does not include e-mail"
    KEY_NOT_FOR_HASH = "key-not-for-hash", "the key's `h=` does not include sha256"
    KEY_WRONG_TYPE = "key-wrong-type", "the key's type (`k=`) is not that of the signature (`a=`)"

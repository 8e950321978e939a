"""One exact reading of an address field, or none.

Rules of this module: pure functions on text; linear in the length of the input; no recursion; whatever
is not in the grammar of RFC 5322 §3.4 and §4.4 (as widened by RFC 6532) raises UnreadableError with a reason.
No library does this: the standard library's parsers guess, and guess differently between versions
(CVE-2023-27043).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

import idna

from .model import Address, ascii_lower
from .reasons import Reason

MAX_COMMENT_DEPTH = 32
MAX_DOMAIN = 253
MAX_LOCAL_PART = 256

# CR, LF and TAB are dealt with by unfolding; these never belong in a field a person reads: C0 and C1
# controls, line and paragraph separators, and the marks that turn the direction of text round.
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<literal>\[[^\[\]\\]*\])
      | (?P<atom>[^\x00-\x20\x7f()<>\[\]:;@\\,."]+)
      | (?P<special>[<>:;@,.])""",
    re.VERBOSE,
)
_PATH = re.compile(
    r"""(?P<local>[^\s\x00-\x20()<>\[\]:;@\\,."\x7f]+(?:\.[^\s\x00-\x20()<>\[\]:;@\\,."\x7f]+)*
      | "[^"\\@\x00-\x1f\x7f]+")
      @(?P<domain>[^\s@<>"\x00-\x20]+)""",
    re.VERBOSE,
)
_OUTSIDE_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*"|[^"(]+')
_COMMENT_PART = re.compile(r"[^()\\]+|\\.|[()]")


class UnreadableError(ValueError):
    """The text has no single reading; `reason` says why."""

    def __init__(self, reason: Reason):
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is atom, quoted, literal or special; `text` is without quotes and quoted pairs."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A parsed mailbox: the address, and all the text around it that a reader may see: phrase and comments piece by
    piece in their order, then the phrase alone where comments stand in it."""

    address: Address
    display: tuple[str, ...]


def text_of(value: bytes) -> str:
    """A field's value as text, unfolded. Raises UnreadableError."""
    try:
        text = _FOLD.sub("", value.decode("utf-8"))
    except UnicodeDecodeError:
        raise UnreadableError(Reason.INVALID_UTF8) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if _FORBIDDEN.search(text):
        raise UnreadableError(Reason.CONTROL_CHARACTER)
    return text


def tokens_of(text: str) -> tuple[list[Token], list[tuple[int, str]]]:
    """Split into tokens, and the comments apart, each with the number of tokens before it (RFC 5322 §3.2). Raises
    UnreadableError."""
    tokens: list[Token] = []
    comments: list[tuple[int, str]] = []
    position = 0
    while position < len(text):
        if text[position] == "(":
            comment, position = _comment(text, position)
            comments.append((len(tokens), comment))
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise UnreadableError(Reason.MALFORMED_FROM)
        position = match.end()
        kind = str(match.lastgroup)
        if kind == "quoted":
            tokens.append(Token(kind, re.sub(r"\\(.)", r"\1", match.group()[1:-1])))
        elif kind != "blank":
            tokens.append(Token(kind, match.group()))
    return tokens, comments


def _comment(text: str, start: int) -> tuple[str, int]:
    """The comment that opens at `start`: its text, nested ones included, and where it ends."""
    depth, position, parts = 0, start, []
    while position < len(text):
        match = _COMMENT_PART.match(text, position)
        if match is None:  # a backslash at the very end
            break
        part, position = match.group(), match.end()
        parts.append(part[1] if part[0] == "\\" else part)
        if part in "()":
            depth += 1 if part == "(" else -1
            if depth == 0:
                return "".join(parts)[1:-1], position
            if depth > MAX_COMMENT_DEPTH:
                break
    raise UnreadableError(Reason.MALFORMED_FROM)


def without_comments(text: str) -> str:
    """The text with a blank for each comment. Raises UnreadableError where a quoted string or comment does not end."""
    parts, position = [], 0
    while position < len(text):
        if text[position] == "(":
            position = _comment(text, position)[1]
            parts.append(" ")
        elif match := _OUTSIDE_COMMENTS.match(text, position):
            position = match.end()
            parts.append(match.group())
        else:
            raise UnreadableError(Reason.MALFORMED_FROM)
    return "".join(parts)


def parse_from(value: bytes) -> Mailbox:
    """The one mailbox of a From field (RFC 5322 §3.6.2, obsolete forms of §4.4 included).

    Raises UnreadableError where there is none, more than one, a group (RFC 6854), a source route, or where
    two readers could take two different addresses for the author.
    """
    tokens, comments = tokens_of(text_of(value))
    specials = [t.text for t in tokens if t.kind == "special"]
    if "<" not in specials:
        _refuse_lists(specials)
        return Mailbox(_address(tokens), tuple(comment for _, comment in comments))
    opening = next(i for i, t in enumerate(tokens) if t == Token("special", "<"))
    phrase, inside, after = tokens[:opening], tokens[opening + 1 : -1], tokens[-1]
    if inside[:1] == [Token("special", "@")]:
        raise UnreadableError(Reason.ROUTE_IN_FROM)
    _refuse_lists(specials)
    if after != Token("special", ">"):  # no other bracket fits into a phrase or an address
        raise UnreadableError(Reason.MALFORMED_FROM)
    address = _address(inside)
    if not _is_phrase(phrase) and not _is_same_address(phrase, address):
        raise UnreadableError(Reason.MALFORMED_FROM)
    return Mailbox(address, _in_order(phrase, comments))


def _in_order(phrase: list[Token], comments: list[tuple[int, str]]) -> tuple[str, ...]:
    if not comments:
        return (_shown(phrase),)
    pieces, start = [], 0
    for place, comment in comments:
        pieces += [_shown(phrase[start:place]), comment]
        start = max(start, place)
    pieces += [_shown(phrase[start:]), _shown(phrase)]
    return tuple(filter(None, pieces))


def _refuse_lists(specials: list[str]) -> None:
    if ":" in specials or ";" in specials:
        raise UnreadableError(Reason.GROUP_IN_FROM)
    if "," in specials:
        raise UnreadableError(Reason.SEVERAL_MAILBOXES)


def _is_phrase(tokens: list[Token]) -> bool:
    """phrase and obs-phrase (RFC 5322 §3.2.5, §4.1): words, and dots after the first."""
    words = all(t.kind in ("atom", "quoted") or t.text == "." for t in tokens)
    return words and tokens[:1] != [Token("special", ".")]


def _is_same_address(tokens: list[Token], address: Address) -> bool:
    """`a@b <a@b>`, unquoted, is common and no phrase; but whichever part is read, the mailbox is the same."""
    try:
        shown = _address(tokens)
    except UnreadableError:
        return False
    return ascii_lower(shown.local) == ascii_lower(address.local) and shown.domain == address.domain


def _shown(phrase: list[Token]) -> str:
    return " ".join(t.text for t in phrase).replace(" . ", ".").replace(" @ ", "@")


def _address(tokens: list[Token]) -> Address:
    """addr-spec: local-part "@" domain (RFC 5322 §3.4.1), comments and blanks already gone."""
    at = [i for i, t in enumerate(tokens) if t == Token("special", "@")]
    if len(at) != 1:
        raise UnreadableError(Reason.MALFORMED_FROM)
    local, domain = tokens[: at[0]], tokens[at[0] + 1 :]
    if len(domain) == 1 and domain[0].kind == "literal":
        name = domain[0].text.lower()
    else:
        name = to_a_labels("".join(_dotted(domain, ("atom",))))
    local_part = "".join(_dotted(local, ("atom", "quoted")))
    if any(token.kind == "atom" and re.search(r"\s", token.text) for token in local):
        raise UnreadableError(Reason.MALFORMED_FROM)  # a no-break space is a letter to RFC 6532, and parts two words
    if len(local_part) > MAX_LOCAL_PART or not local_part:
        raise UnreadableError(Reason.MALFORMED_FROM)
    if "=?" in local_part and "?=" in local_part:
        raise UnreadableError(Reason.ENCODED_WORD_IN_ADDRESS)
    return Address(local_part, name)


def _dotted(tokens: list[Token], kinds: tuple[str, ...]) -> list[str]:
    """word *("." word): words and dots in turn."""
    for place, token in enumerate(tokens):
        fits = token.kind in kinds if place % 2 == 0 else token == Token("special", ".")
        if not fits:
            raise UnreadableError(Reason.MALFORMED_FROM)
    if len(tokens) % 2 == 0:
        raise UnreadableError(Reason.MALFORMED_FROM)
    return [t.text for t in tokens]


@functools.lru_cache(maxsize=1024)  # most are those of the trusted senders
def to_a_labels(domain: str) -> str:
    """A domain as lower-case A-labels (RFC 5890). Raises UnreadableError (invalid-domain).

    IDNA2008 without any mapping, and only of what is in normal form already: mapping would turn foreign
    letters and dots into ASCII ones.
    """
    if len(domain) > MAX_DOMAIN:  # as A-labels it is no shorter, and normalisation can be quadratic
        raise UnreadableError(Reason.INVALID_DOMAIN)
    if not domain.isascii():
        if unicodedata.normalize("NFC", domain) != domain:
            raise UnreadableError(Reason.INVALID_DOMAIN)
        try:  # label by label: idna.encode() also takes ideographic full stops for dots
            labels = domain.lower().split(".")
            domain = ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels)
        except (idna.IDNAError, UnicodeError):
            raise UnreadableError(Reason.INVALID_DOMAIN) from None
    domain = ascii_lower(domain)
    if not is_host_name(domain):
        raise UnreadableError(Reason.INVALID_DOMAIN)
    return domain


def is_host_name(domain: str) -> bool:
    """Whether a lower-case text is a name to look up: labels of letters, digits, hyphens, underscores."""
    return 0 < len(domain) <= MAX_DOMAIN and all(_LABEL.fullmatch(label) for label in domain.split("."))


def parse_path(path: str) -> Address | None:
    """MAIL FROM as the client wrote it (RFC 5321 §4.1.2): None for the null reverse-path.

    Taken are one address with or without angle brackets, whose local part is a dot-atom or a simple quoted
    string and whose domain is a host name. Raises UnreadableError (mail-from-malformed) for all else.
    """
    inner = path[1:-1] if path.startswith("<") and path.endswith(">") else path
    if not inner:
        return None
    match = _PATH.fullmatch(inner)
    try:
        if match is None or len(match["local"]) > MAX_LOCAL_PART:
            raise UnreadableError(Reason.MAIL_FROM_MALFORMED)
        return Address(match["local"].strip('"'), to_a_labels(match["domain"]))
    except UnreadableError:
        raise UnreadableError(Reason.MAIL_FROM_MALFORMED) from None

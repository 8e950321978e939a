"""rspamd 3: multimaps for the address, the signing domain, MAIL FROM and the client, and a composite of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pratique.model import Entry

from .common import Group, Part, address_pattern, domain_pattern, wanted

ABOUT = """\
Put this file at /etc/rspamd/pratique-senders.conf, and into /etc/rspamd/rspamd.conf.local the line
  .include(duplicate=merge) "/etc/rspamd/pratique-senders.conf"
Then `rspamadm configtest`, and reload rspamd.
A message that proves a trusted sender gets -1000: no spam score holds it. It gets nothing where the virus scanner
or the attachment check found something, so that these go on to have their say.
rspamd judges SPF and DKIM in its own way: `+all` and `l=` count there."""

# The checks that are never skipped: the same as in config/rspamd/pratique.conf.
BAD_PART = (
    "g:antivirus | MIME_BAD | MIME_BAD_ATTACHMENT | MIME_BAD_EXTENSION | MIME_DOUBLE_BAD_EXTENSION"
    " | MIME_BAD_UNICODE | MIME_ENCRYPTED_ARCHIVE | MIME_OBFUSCATED_ARCHIVE | MIME_EXE_IN_GEN_SPLIT_RAR"
    " | MIME_ARCHIVE_IN_ARCHIVE"
)
SCORE = -1000.0


def write(entry: Entry, groups: tuple[Group, ...]) -> Part:
    """The blocks of an entry: rspamd can say all that the list can, but for the null reverse-path."""
    base = "PRATIQUE_" + re.sub("[^A-Z0-9]", "_", entry.id.upper())
    # Of an id only capitals are left, so that no other entry's symbol ends like this.
    symbols = [base, *(f"{base}_g{number}" for number in range(2, len(groups) + 1))]
    pairs = zip(groups, symbols, strict=False)
    return Part(tuple(line for group, symbol in pairs for line in _group(entry, group, symbol)))


def _group(entry: Entry, group: Group, symbol: str) -> Iterable[str]:
    """The maps and the composite of a group of addresses."""
    authors = [f"(?i)^{address_pattern(address)}$" for address in group.addresses]
    yield from _map(f"{symbol}_from", 'type = "header"; header = "From"; filter = "email:addr"; regexp = true', authors)
    signed = [f"(?i)^{domain_pattern(group.dkim)}:s="]
    yield from _map(f"{symbol}_dkim", 'type = "symbol_options"; target_symbol = "R_DKIM_ALLOW"; regexp = true', signed)
    mail_from = [f"(?i)^{domain_pattern(group.spf)}$"]
    yield from _map(
        f"{symbol}_spf",
        'type = "from"; extract_from = "smtp"; filter = "email:domain"; regexp = true; require_symbols = "R_SPF_ALLOW"',
        mail_from,
    )
    if entry.networks:
        yield from _map(f"{symbol}_client", 'type = "ip"', map(str, entry.networks))
    proof = wanted(entry, f"{symbol}_dkim", f"{symbol}_spf", f"{symbol}_client")
    one_author = "!MULTIPLE_FROM & !MULTIPLE_UNIQUE_HEADERS"
    yield "composites {"
    yield f"  {symbol} {{"
    yield f'    expression = "{symbol}_from & {proof} & {one_author} & !PRATIQUE_BAD_PART";'
    yield f'    policy = "leave"; group = "pratique"; score = {SCORE};'
    yield "  }"
    yield "}"


def _map(symbol: str, kind: str, values: Iterable[str]) -> Iterable[str]:
    """A multimap. In single quotes UCL knows no escape; no value has a quote.

    No value begins with a slash: rspamd 3.12 takes such a map for the name of a file.
    """
    yield f"multimap {{ {symbol} {{"
    yield f"  {kind};"
    yield f'  symbol = "{symbol}"; group = "pratique"; score = 0.0;'
    yield "  map = ["
    yield from (f"    '{value}'," for value in values)
    yield "  ];"
    yield "}}"


CLOSING = (
    "composites {",
    "  PRATIQUE_BAD_PART {",
    f'    expression = "{BAD_PART}";',
    '    policy = "leave"; group = "pratique"; score = 0.0;',
    "  }",
    "}",
)

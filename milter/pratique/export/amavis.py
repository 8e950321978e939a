"""amavis 2.12: a policy bank that skips the spam check, for authors whose DKIM signature it has verified."""

from __future__ import annotations

from pratique.model import Entry, Require

from .common import Group, Part, address_pattern, domain_pattern, without_network

ABOUT = """\
Put this file at /etc/amavis/conf.d/60-pratique-senders, then `amavisd test-config`, and restart amavis.
It needs $enable_dkim_verification, which Debian turns off and this file turns on, and DNS.
amavis knows DKIM only; viruses, banned files and bad headers are looked for all the same."""

_BANK = "PRATIQUE"


def write(entry: Entry, groups: tuple[Group, ...]) -> Part:
    """Rows of the map. amavis looks for author, `/@`, and the domain of a signature that is valid."""
    if entry.require not in (Require.ANY, Require.DKIM):
        return Part(remarks=(f"left out: amavis knows DKIM only, and `require: {entry.require}` asks for more",))
    rows = tuple(
        f"  [ qr'^{address_pattern(address)}/@{domain_pattern(group.dkim)}\\z'i => '{_BANK}' ],"
        for group in groups
        for address in group.addresses
    )
    remarks = (*without_network(entry), *(["only DKIM proves it here, SPF does not"] * (entry.require is Require.ANY)))
    return Part(rows, remarks)


OPENING = (
    "use strict;",
    "$enable_dkim_verification = 1;",
    f"$policy_bank{{'{_BANK}'}} = {{ bypass_spam_checks_maps => [1] }};",
    "unshift @author_to_policy_bank_maps, new_RE(",
)
CLOSING = (");", "1;  # a Perl file must end with something true")

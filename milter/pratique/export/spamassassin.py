"""SpamAssassin 4: welcomelist_auth, welcomelist_from_dkim and welcomelist_from_spf."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.model import Entry, Require

from .common import Group, Part, without_network

ABOUT = """\
Put this file at /etc/spamassassin/pratique-senders.cf, then `spamassassin --lint`, and restart spamd or amavis.
It needs the plugins DKIM and SPF, which are loaded by default, and DNS. SpamAssassin 4.0 or newer.
The scores are those of USER_IN_DKIM_WELCOMELIST and USER_IN_SPF_WELCOMELIST. As shipped they take some points
off only; `score USER_IN_DKIM_WELCOMELIST -100` and the same for SPF makes sure.
By SPF, SpamAssassin compares the address with MAIL FROM and does not look at From."""

_SAYS_EITHER = (Require.ANY, Require.DKIM, Require.SPF)


def write(entry: Entry, groups: tuple[Group, ...]) -> Part:
    """The lines of an entry: DKIM for exact domains and below one; SPF where MAIL FROM is the very address."""
    if entry.require not in _SAYS_EITHER:
        return Part(remarks=(f"left out: SpamAssassin's lists cannot say `require: {entry.require}`",))
    lines = [line for group in groups for address in group.addresses for line in _lines(entry, group, address)]
    remarks = list(without_network(entry))
    if not lines:
        remarks.append("left out: by SPF SpamAssassin takes no MAIL FROM of another domain")
    elif entry.require is not Require.DKIM:
        remarks.append("SPF proves it only where MAIL FROM is one of these addresses")
    return Part(tuple(lines), tuple(remarks))


def _lines(entry: Entry, group: Group, address: tuple[str, str]) -> Iterator[str]:
    written, domain = "@".join(address), address[1]
    spf = entry.require is not Require.DKIM and domain in group.spf
    dkim = entry.require is not Require.SPF
    both = spf and dkim and domain in group.dkim
    if both:
        yield f"welcomelist_auth {written}"
    elif spf:
        yield f"welcomelist_from_spf {written}"
    if dkim:
        signers = [*group.dkim.exact, *([group.dkim.parent, "." + group.dkim.parent] if group.dkim.parent else [])]
        yield from (f"welcomelist_from_dkim {written} {d}" for d in signers if not (both and d == domain))

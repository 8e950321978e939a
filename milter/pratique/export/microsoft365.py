"""Microsoft 365: a mail flow rule (transport rule) an entry, in PowerShell for Exchange Online."""

from __future__ import annotations

import re

from pratique.model import Alignment, Entry, Require

from .common import Group, Part, address_pattern, without_network

ABOUT = """\
Run it in a PowerShell session of Exchange Online (Connect-ExchangeOnline). Run again, it changes the rules of the
same name. A rule demands that Microsoft's own check has found dmarc=pass, and then skips the spam filter (SCL -1);
malware is looked for all the same. The platform must publish a DMARC record, or nothing passes.
dmarc=pass means DKIM or SPF for the platform's organisation, and no rule here can ask for more.
Not tried on Microsoft 365 itself: try it on one notice first."""


def write(entry: Entry, groups: tuple[Group, ...]) -> Part:
    """The rule of an entry that DMARC proves well enough."""
    if entry.require is not Require.ANY:
        return Part(remarks=(f"left out: dmarc=pass is less than `require: {entry.require}`",))
    if entry.alignment is Alignment.STRICT or entry.evidence_domains:
        return Part(remarks=("left out: dmarc=pass may come from any domain of the organisation",))
    remarks = list(without_network(entry))
    if entry.signers:
        remarks.append("a signature by its `signers` alone proves nothing here: DMARC does not know them")
    name = quoted("Pratique " + re.sub("[^a-z0-9-]", "-", entry.id))
    patterns = ",\n".join(
        "        " + quoted(f"^{address_pattern(address).replace('[^@]*', _ANY)}$")
        for group in groups
        for address in group.addresses
    )
    return Part(
        (
            "$rule = @{",
            "    SenderAddressLocation = 'Header'",
            "    FromAddressMatchesPatterns = @(",
            *patterns.split("\n"),
            "    )",
            "    HeaderContainsMessageHeader = 'Authentication-Results'",
            "    HeaderContainsWords = 'dmarc=pass'",
            "    SetSCL = -1",
            "}",
            f"if (Get-TransportRule -Identity {name} -ErrorAction SilentlyContinue) {{",
            f"    Set-TransportRule -Identity {name} @rule",
            "} else {",
            f"    New-TransportRule -Name {name} @rule",
            "}",
        ),
        tuple(remarks),
    )


_ANY = r"\S*"  # the patterns of mail flow rules know no classes of their own


def quoted(text: str) -> str:
    """A PowerShell string in single quotes. PowerShell takes the curly ones for quotes, too."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"

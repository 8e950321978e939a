"""Runs the campaign: see tests/faults/run."""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from faults import campaign
from faults.senders import Senders
from faults.site import Site
from faults.wrong import FAULTS, SHORT, WHOLE, small

from harness.ports import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "reliability.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/faults/run", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of the mail")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what is left to chance, as then")
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=f"only these: {', '.join(FAULTS)}")
    options = parser.parse_args()
    if unknown := set(options.fault) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(unknown)}")
    faults = [FAULTS[name] for name in options.fault] or list(FAULTS.values())
    form = SHORT if options.short else WHOLE
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, Senders() as senders, Site(Path(folder)) as site:
        for fault in faults:
            begun = time.monotonic()
            row = campaign.run(site, senders, small(fault) if options.short else fault, form, options.seed)
            rows.append(row)
            print(f"{' | '.join(row.cells())} | {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
            for why, count in row.why.most_common(8):
                print(f"  deferred: {count} {why}", file=sys.stderr, flush=True)
            for problem in row.wrong[:10]:
                print(f"  wrong: {problem}", file=sys.stderr, flush=True)
            if row.wrong:
                print(f"  again: {row.repeat}", file=sys.stderr, flush=True)
    whole = f"{campaign.table(rows)}\n{sum(row.sent for row in rows)} messages in all, {machine()}.\n"
    print(whole)
    if options.write:
        write("campaign", whole)
    return any(row.wrong for row in rows)


def machine() -> str:
    """Where and when this was measured."""
    model = re.search(r"(?m)^model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpus = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    kind = model[1] if model else "unknown CPU"
    return f"{time.strftime('%Y-%m-%d')}, {cpus} CPUs ({kind}), Python {sys.version.split()[0]}"


def write(name: str, what: str) -> None:
    """Put a result into the document, between its marks."""
    text = DOCUMENT.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, rest = text.split(begin)
    DOCUMENT.write_text(before + begin + what + end + rest.split(end)[1])


if __name__ == "__main__":
    sys.exit(main())

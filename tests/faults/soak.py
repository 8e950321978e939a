"""Full load for some time: see tests/faults/soak."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from faults import campaign
from faults.__main__ import machine, write
from faults.senders import Senders, Sent
from faults.site import Figures, Site
from faults.wrong import Fault

_PIECE = 20.0  # seconds between two looks
_GROWTH = 4.0  # MiB that may come on top after the first fifth of the time
_UNLIMITED = 1e6  # messages a second


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/faults/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    options = parser.parse_args()
    looks: list[tuple[float, int, Figures]] = []
    row = campaign.Row("soak")
    with tempfile.TemporaryDirectory() as folder, Senders() as senders, Site(Path(folder)) as site:
        site.begin("soak")
        site.serve({"log": {"level": "warning"}})
        begun, first = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < 60 * options.minutes:
            sent = _piece(senders, site, first)
            first += 100_000
            campaign.account(row, Fault("soak", lambda *_: None), sent, site.arrived())
            time.sleep(0.3)  # what is looked at is at rest
            looks.append((time.monotonic() - begun, row.sent, site.figures()))
            print(f"{passed / 60:.1f} min: {row.sent} messages, {looks[-1][2]}", file=sys.stderr, flush=True)
    problems = [*row.wrong, *_growth(looks)]
    if row.fates["deferred"]:
        problems.append(f"{row.fates['deferred']} messages were deferred, and nothing was wrong")
    text = f"{_table(looks)}\n{row.sent} messages in {options.minutes:g} minutes, {row.fates['delivered']} delivered, "
    text += f"{row.fates['held']} held, {row.fates['deferred']} deferred, {len(row.wrong)} wrong; {machine()}.\n"
    print(text)
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    if options.write:
        write("soak", text)
    return bool(problems)


def _piece(senders: Senders, site: Site, first: int) -> list[Sent]:
    futures = senders.start(site.address, site.postfix.port, first, 0, _UNLIMITED)
    time.sleep(_PIECE)
    senders.stop()
    return [sent for future in futures for sent in future.result()]


def _growth(looks: list[tuple[float, int, Figures]]) -> list[str]:
    """What has grown: the least of the last fifth against the most of the second one."""
    fifth = max(1, len(looks) // 5)
    early = [figures for _, _, figures in looks[fifth : 2 * fifth]] or [looks[0][2]]
    late = [figures for _, _, figures in looks[-fifth:]]
    found = []
    for name, allowed in (("memory", _GROWTH), ("threads", 0), ("descriptors", 0)):
        before, after = max(getattr(f, name) for f in early), min(getattr(f, name) for f in late)
        if after > before + allowed:
            found.append(f"{name} grew from {before} to {after}")
    return found


def _table(looks: list[tuple[float, int, Figures]]) -> str:
    """A dozen of the looks."""
    step = max(1, len(looks) // 12)
    chosen = [*looks[::-step][::-1]]
    lines = [f"| {at / 60:.1f} | {sent} | {f.memory:.1f} | {f.threads} | {f.descriptors} |\n" for at, sent, f in chosen]
    return "| minutes | messages | memory, MiB | threads | descriptors |\n|---:|---:|---:|---:|---:|\n" + "".join(lines)


if __name__ == "__main__":
    sys.exit(main())

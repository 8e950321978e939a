"""The trusted list for filters that are not ours, each with the proof that it can ask for (`pratique export`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from pratique.model import Entry

from . import amavis, mailinblack, microsoft365, rspamd, spamassassin
from .common import Part, Writer, comment, groups, is_plain


@dataclass(frozen=True, slots=True)
class Target:
    """A filter: what to do with the file, how an entry is written, what stands before and behind all entries.
    `asks_proof`: whether it can ask for any."""

    about: str
    write: Writer
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    asks_proof: bool = True


TARGETS = {
    "rspamd": Target(rspamd.ABOUT, rspamd.write, closing=rspamd.CLOSING),
    "spamassassin": Target(spamassassin.ABOUT, spamassassin.write),
    "amavis": Target(amavis.ABOUT, amavis.write, amavis.OPENING, amavis.CLOSING),
    "microsoft365": Target(microsoft365.ABOUT, microsoft365.write),
    "mailinblack": Target(mailinblack.ABOUT, mailinblack.write, asks_proof=False),
}


def export(target: str, entries: tuple[Entry, ...], source: str, today: date) -> tuple[str, list[str]]:
    """The text for a target, and its warnings, which stand in the text, too. `source` is the file they come from."""
    chosen = TARGETS[target]
    lines = [
        f"The trusted senders of {source} for {target}.",
        f"Written by `pratique export --to {target}`: change the list and export again, not this file.",
        "Entries with `enabled: no` are not in it.",
        *chosen.about.splitlines(),
    ]
    text = [comment(line).rstrip() for line in lines] + list(chosen.opening)
    warnings = [] if chosen.asks_proof else [f"{target} can ask for no proof: whoever forges From gets through"]
    for entry in entries:
        part = _part(chosen.write, entry, today)
        text += ["", comment(f"{entry.id}: {entry.name}")]
        text += [comment(f"! {remark}") for remark in part.remarks]
        text += part.lines
        warnings += [f"{entry.id}: {remark}" for remark in part.remarks]
    return "\n".join([*text, *chosen.closing]) + "\n", warnings


def _part(write: Writer, entry: Entry, today: date) -> Part:
    if entry.expired(today):
        return Part(remarks=(f"left out: expired on {entry.expires}",))
    usable = groups(entry)
    part = write(entry, usable) if usable else Part()
    return Part(part.lines, (*_of_every_target(entry), *part.remarks))


def _of_every_target(entry: Entry) -> Iterator[str]:
    """What no target can say."""
    for address in entry.addresses:
        if not is_plain(address):
            yield f"left out: {'@'.join(address)}, which has unusual characters: write it by hand"
    if entry.expires:
        yield f"expires on {entry.expires}, which the filter does not know: export again after that day"


__all__ = ["TARGETS", "export"]

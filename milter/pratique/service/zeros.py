"""Which counters of messages stand at 0 from the start: without them the first held notice of a sender would be no
increase, and no alert would fire.

Rules of this module: pure; what it returns depends on the list and the actions alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from pratique.model import Action, Entry, Mode, Settings, Verdict

_LONG = 500  # entries; of a longer list only what holds, refuses or defers mail
_URGENT = (Action.QUARANTINE, Action.REJECT, Action.DEFER)
_OF_SENDERS = (Verdict.VERIFIED, Verdict.UNVERIFIED, Verdict.UNDETERMINED, Verdict.UNLISTED, Verdict.IMITATION)
_OF_NOBODY = (Verdict.UNCLAIMED, Verdict.UNCHECKED)

Labels = tuple[str, str, str]  # verdict, action, sender


def zeros(settings: Settings) -> list[Labels]:
    """Verdict, action and sender of all that can be counted under a configuration."""
    entries = settings.senders.entries
    long = len(entries) > _LONG
    found = [
        (verdict.value, action.value, entry.id)
        for entry in entries
        for verdict in _OF_SENDERS
        for action in _actions(settings, verdict, entry)
        if not long or action in _URGENT
    ]
    return found + [(v.value, a.value, "") for v in _OF_NOBODY for a in _actions(settings, v, None)]


def _actions(settings: Settings, verdict: Verdict, entry: Entry | None) -> Iterator[Action]:
    """The action of a verdict. What is deferred is tagged once it is no longer young."""
    action = settings.action(verdict, entry)
    if settings.mode is Mode.OBSERVE and action is not Action.NONE:
        action = Action.TAG
    yield action
    if action is Action.DEFER:
        yield Action.TAG

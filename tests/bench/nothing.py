"""A milter in Python that does nothing: what pymilter itself costs. Run as `nothing.py SOCKET`.

Every callback is there, none is answered but the last, which adds one field: the least that a filter of all mail
could do without saying that it wants less.
"""

from __future__ import annotations

import sys
from typing import Any

import Milter


def silent(name: str) -> Any:
    """The callback of a name, which the MTA does not wait for."""

    def callback(_self: Milter.Base, *_: Any) -> Any:
        return Milter.CONTINUE

    callback.__name__ = name
    return Milter.noreply(callback)


class Nothing(Milter.Base):  # type: ignore[misc]  # Milter has no types
    connect, hello, envfrom, envrcpt = map(silent, ("connect", "hello", "envfrom", "envrcpt"))
    data, header, eoh, body = map(silent, ("data", "header", "eoh", "body"))

    def eom(self) -> Any:
        self.addheader("X-Nothing", "done", 0)
        return Milter.CONTINUE


if __name__ == "__main__":
    Milter.factory = Nothing
    Milter.set_flags(Milter.ADDHDRS)
    Milter.runmilter("nothing", sys.argv[1], 300)

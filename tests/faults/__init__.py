"""The fault campaign: mail goes on while one thing after another goes wrong, and every message is accounted for.

    tests/faults/run               the whole of it, with a table of results; --write puts it into docs/reliability.md
    tests/faults/run --short       what tests/check does
    tests/faults/soak --minutes 30 full load for half an hour: does anything grow?

One stand serves all faults: a real unbound, a real Postfix with the shipped lines, and `pratique run`. Most of the
mail goes over the wire, as Postfix speaks it; the rest through Postfix. The same message that was put off comes again
after the fault, as an MTA sends it again, and must then arrive with the tag it deserves.
"""

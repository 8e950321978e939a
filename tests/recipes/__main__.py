"""Write the corpus: every case anew."""

from __future__ import annotations

import shutil
import sys

from recipes import all_cases

from harness.corpus import FOLDER


def main() -> int:
    cases = all_cases()
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        print(f"two cases are called {', '.join(sorted(twice))}", file=sys.stderr)
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    for case in cases:
        case.write(FOLDER)
    print(f"{len(cases)} cases written to {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

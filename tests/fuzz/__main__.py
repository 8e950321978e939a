"""`python -m fuzz TARGET …`: feeds a target with atheris, or replays what it found. tests/fuzz/run calls it.

A target is a module with `check(data)`, which raises where something does not hold, `seeds()`, and `WORDS` that
the fuzzer may put in. It knows nothing of atheris: `check` is an ordinary function of bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import signal
import sys
import time
from pathlib import Path

INSTRUMENTED = ["pratique", "dkim", "spf", "email._parseaddr"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("target")
    parser.add_argument("--folder", type=Path, required=True, help="where corpus and findings are kept")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--max-len", type=int, default=20_000)
    parser.add_argument("--cost", type=int, metavar="N", help="show the N inputs of the corpus that took longest")
    parser.add_argument("--try", dest="tried", type=Path, metavar="FILE", help="one input, with its traceback")
    options = parser.parse_args()
    if options.tried:
        importlib.import_module(f"fuzz.{options.target}").check(options.tried.read_bytes())
    elif options.cost:
        show_cost(options.target, options.folder / "corpus", options.cost)
    else:
        fuzz(options.target, options.folder, options.seconds, options.max_len)


def fuzz(target: str, folder: Path, seconds: int, max_len: int) -> None:
    """Does not return: libFuzzer ends the process, with an error where something was found."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=INSTRUMENTED):
        module = importlib.import_module(f"fuzz.{target}")
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for seed in module.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    (folder / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in module.WORDS))
    arguments = [f"-max_total_time={seconds}", f"-dict={folder / 'words'}", f"-artifact_prefix={findings}/"]
    arguments += [f"-max_len={max_len}", "-timeout=10", "-rss_limit_mb=2000", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], module.check)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def show_cost(target: str, corpus: Path, count: int) -> None:
    """The costliest inputs: CPU time of the best of three runs."""
    module = importlib.import_module(f"fuzz.{target}")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    costs = []
    for path in sorted(corpus.iterdir()):
        data = path.read_bytes()
        runs = []
        for _ in range(3):
            started = time.process_time()
            module.check(data)
            runs.append(time.process_time() - started)
        costs.append((min(runs), path, data))
    costs.sort(key=lambda cost: -cost[0])
    middle = costs[len(costs) // 2][0] if costs else 0
    print(f"{target}: {len(costs)} inputs, half of them within {1000 * middle:.2f} ms")
    for cost, path, data in costs[:count]:
        print(f"{1000 * cost:9.2f} ms {len(data):7d} octets  {path.name}  {data[:60]!r}")


if __name__ == "__main__":
    main()

"""Runs the checks: `scripts/fleet-test.sh` is the way in."""

import argparse
import sys
import time
from pathlib import Path

from ..lab import Interrupted, on_signals_stop
from ..runner import Report
from ..shell import Failed, tail
from .bed import Bed
from . import together  # noqa: F401  (it registers its checks)
from .checks import CHECKS


def main():
    """Returns the exit status."""
    options = _arguments()
    chosen = [each for each in CHECKS if not options.only or any(each.name.startswith(only) for only in options.only)]
    if options.list:
        for each in chosen:
            print(f"{each.name:<26}  {each.summary}")
        return 0
    if not chosen:
        print(f"no check is called {' or '.join(options.only)}; --list shows them", file=sys.stderr)
        return 2
    on_signals_stop()
    report, began = Report(), time.monotonic()
    try:
        with Bed(options.binary.resolve(), options.other and options.other.resolve()) as bed:
            print(f"three engines up in {time.monotonic() - began:.1f} s", flush=True)
            for each in chosen:
                if each.name == "mixed-versions" and not bed.other:
                    print(f"skipped {each.name}: no engine of another version (--other)", flush=True)
                    continue
                _run(each, bed, report)
            _stop(bed, report)
    except Interrupted as signal_name:
        print(f"\nstopped by {signal_name}; the lab is removed", file=sys.stderr)
        report.summary()
        return 130
    except Failed as failed:
        print(f"the lab could not be set up: {failed}", file=sys.stderr)
        return 1
    return report.summary()


def _run(each, bed, report):
    began = time.monotonic()
    logs = [engine.log for engine in bed.engines.values()]
    before = {log: log.stat().st_size for log in logs}
    try:
        detail = each.run(bed) or each.summary
    except (Failed, OSError, ValueError) as wrong:
        report.line(False, each.name, str(wrong) if isinstance(wrong, Failed) else f"{type(wrong).__name__}: {wrong}")
        for log in logs:
            if log.stat().st_size > before[log]:
                print(f"      {log.parent.name}\n{tail(log, since=before[log])}", flush=True)
        return
    report.line(True, each.name, f"{detail}; {time.monotonic() - began:.1f} s")


def _stop(bed, report):
    for number, engine in bed.engines.items():
        status = engine.stop() if engine.alive() else None
        balanced = "mbufs balanced" in engine.log.read_text(errors="replace")
        report.line(status == 0 and balanced, f"stop.{bed.name(number)}",
                    f"SIGTERM: exit {status}, {'mbufs balanced' if balanced else 'no line `mbufs balanced`'}")


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/fleet-test.sh", description="""
        Runs a fleet of three engines in network namespaces: two routers with equal-cost paths, a hundred clients, nginx and etcd.
        Prints one line for each check and a summary; exit status 0 only if all passed.""")
    parser.add_argument("--only", action="append", metavar="NAME", help="run only checks whose name starts with this; repeatable")
    parser.add_argument("--list", action="store_true", help="list all checks and exit")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help=argparse.SUPPRESS)
    parser.add_argument("--other", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Collects the checks, runs them group by group and prints one line for each."""

import fnmatch
import time
from dataclasses import dataclass
from typing import Callable

from .shell import Failed, tail


@dataclass(frozen=True)
class Check:
    """One check: `run(lab)` returns a short detail to print, or raises Failed."""

    name: str
    group: str
    run: Callable
    summary: str

    @property
    def crypto(self):
        """Whether it depends on the crypto provider, and so is worth a run with each of them."""
        return self.name.split(".")[0] in ("fetch", "bulk", "records", "refuse", "minted", "speak")


CHECKS = []


def check(name, group="inspect"):
    """Registers a function as a check. `group` names the engine configuration it runs against (see `__main__`)."""
    def register(function):
        CHECKS.append(Check(name, group, function, (function.__doc__ or "").strip().split("\n")[0]))
        return function
    return register


def selected(patterns):
    """The checks whose name matches one of the shell patterns (or has it as a prefix), in order; all without patterns."""
    if not patterns:
        return list(CHECKS)
    return [each for each in CHECKS
            if any(fnmatch.fnmatch(each.name, pattern) or each.name.startswith(pattern) for pattern in patterns)]


class Report:
    """Counts and prints."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def line(self, good, name, detail):
        """One line: `ok|FAIL|  name  (detail)`."""
        # The log that a start-up failure carries stays as it is, the rest is one line.
        first, newline, log = detail.partition("\n      |")
        print(f"{'ok  ' if good else 'FAIL'}|  {name:<34}  ({' '.join(first.split())}){newline}{log}", flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(name)

    def run(self, each, lab, suffix=""):
        """Runs one check; a failure shows what the engine has said meanwhile."""
        log = lab.middle.log if lab.middle else None
        said_before = log.stat().st_size if log and log.exists() else 0
        began = time.monotonic()
        try:
            detail = each.run(lab) or each.summary
            if lab.middle and each.group != "alone" and not lab.middle.alive():
                raise Failed(f"{lab.middle.name} ended in the middle of it (exit {lab.middle.process.returncode})")
        except (Failed, OSError, ValueError) as wrong:
            self.line(False, each.name + suffix, f"{type(wrong).__name__}: {wrong}" if not isinstance(wrong, Failed)
                      else str(wrong))
            if log and log.exists() and log.stat().st_size > said_before:
                print(tail(log, since=said_before), flush=True)
            # What it has started would hold the ports of the next one.
            if each.group == "alone" and lab.middle and lab.middle.alive():
                lab.middle.stop()
            return
        self.line(True, each.name + suffix, f"{detail}; {time.monotonic() - began:.1f} s")

    def stop(self, lab, group, suffix):
        """Each engine that ran checks has to end well: status 0 and every packet buffer back in its pool."""
        middle, lab.middle = lab.middle, None
        if not middle or not middle.alive():
            return
        status = middle.stop()
        if middle.name != "wireglass":
            return
        balanced = "mbufs balanced" in middle.log.read_text(errors="replace")
        self.line(status == 0 and balanced, f"stop.{group}{suffix}",
                  f"SIGTERM: exit {status}, {'mbufs balanced' if balanced else 'no line `mbufs balanced`'}")
        if status != 0 or not balanced:
            print(tail(middle.log), flush=True)

    def summary(self):
        """The last line. Returns the exit status."""
        print(f"\n{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0

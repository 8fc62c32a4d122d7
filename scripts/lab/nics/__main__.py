"""Runs the checks: `scripts/nic-test.sh` is the way in."""

import sys
import unittest

from . import checks


class Lines(unittest.TestResult):
    """One line for each check."""

    def startTest(self, test):  # noqa: N802  (unittest's name)
        super().startTest(test)
        self.bad = len(self.failures) + len(self.errors)

    def stopTest(self, test):  # noqa: N802
        good = len(self.failures) + len(self.errors) == self.bad
        name = test.id().rsplit(".", 1)[-1].removeprefix("test_").replace("_", " ")
        print(f"{'ok  ' if good else 'FAIL'}|  {name}", flush=True)
        super().stopTest(test)


def main():
    """Returns the exit status."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(checks)
    result = Lines()
    suite.run(result)
    for test, trace in result.failures + result.errors:
        print(f"\n{test.id()}\n{trace}")
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

"""Commands and processes with an end: everything started here has a time limit or is stopped by `Processes`."""

import os
import signal
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """A check, or a step of the set-up, did not come out as it should; the text says how."""


def run(argv, timeout=20.0, check=True, stdin=b"", cwd=None):
    """Runs a command to its end. Returns the CompletedProcess with bytes; raises Failed on a bad exit or on time-out."""
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, cwd=cwd, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"no end within {timeout:g} s: {' '.join(argv)}") from late
    except FileNotFoundError as missing:
        raise Failed(f"command not found: {argv[0]} (scripts/setup.sh installs it)") from missing
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Failed(f"exit {done.returncode}: {' '.join(argv)}: {said[-400:]}")
    return done


def wait_for(condition, seconds, what, step=0.02):
    """Polls `condition` until it returns something true and returns that; raises Failed("no WHAT within ...")."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"no {what} within {seconds:g} s")
        time.sleep(step)


class Process:
    """A program in the background, its output in a file, its end observed."""

    def __init__(self, argv, log: Path, name: str, pass_fds=()):
        self.name = name
        self.log = log
        with open(log, "ab") as out:
            # Whatever happens to this script, SIGKILL included, the program does not outlive it.
            guard = ["setpriv", "--pdeathsig", "KILL", "--"]
            self.popen = subprocess.Popen(
                guard + [str(word) for word in argv],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def returncode(self):
        """Its exit status, None while it runs."""
        return self.popen.poll()

    def alive(self):
        """Whether it still runs."""
        return self.popen.poll() is None

    def text(self):
        """All it has said so far."""
        return self.log.read_text(errors="replace")

    def wait_text(self, words, seconds):
        """Waits until its output contains `words`; raises Failed at once when it ends before."""
        def seen():
            if words in self.text():
                return True
            if not self.alive():
                raise Failed(f"{self.name} ended with exit {self.returncode} before it said '{words}'"
                             f"\n{tail(self.log)}")
            return False
        try:
            wait_for(seen, seconds, f"'{words}' from {self.name}")
        except Failed as failed:
            raise Failed(f"{failed}\n{tail(self.log)}" if "\n" not in str(failed) else str(failed)) from None

    def stop(self, with_signal=signal.SIGTERM, seconds=5.0):
        """Asks it to end, kills it after `seconds`. Returns its exit status, or None when it had to be killed."""
        if not self.alive():
            return self.popen.returncode
        self.popen.send_signal(with_signal)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)
            return None


def tail(log: Path, lines=12, since=0):
    """The last lines of a log file, indented for a report."""
    if not log.exists():
        return "      | (no output)"
    said = log.read_bytes()[since:].decode(errors="replace").splitlines()[-lines:]
    return "\n".join(f"      | {line}" for line in said) or "      | (no output)"


def dead(pid: int):
    """Whether no process has this id any more."""
    return not os.path.exists(f"/proc/{pid}")

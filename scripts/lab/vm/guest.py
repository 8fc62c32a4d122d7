"""The host's end of the line to the guest's agent, and programs that run in the guest."""

import json
import signal
import socket
import threading
from pathlib import Path

from ..shell import Failed, Process, wait_for


class Guest:
    """Commands for a running guest."""

    def __init__(self, path: Path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.up = False
        self.ended = {}
        self._answers = {}
        self._next = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        """Hangs up."""
        self.sock.close()

    def ask(self, op, seconds=10.0, **words):
        """One request to the agent and its answer; raises Failed when it says no, or nothing."""
        with self._lock:
            self._next += 1
            number = self._next
            self.sock.sendall(json.dumps({"id": number, "op": op, "seconds": seconds, **words}).encode() + b"\n")
        answer = wait_for(lambda: self._answers.pop(number, None), seconds + 5, f"answer of the guest to `{op}`", step=0.005)
        if "error" in answer:
            raise Failed(f"in the guest: {answer['error']}: {' '.join(words.get('argv', [op]))}")
        return answer

    def run(self, *argv, seconds=20.0, check=True):
        """A command in the guest, to its end. Returns what it said, or (without `check`) its status and that."""
        argv = [str(word) for word in argv]
        done = self.ask("run", seconds=seconds, argv=argv)
        if not check:
            return done["status"], done["said"]
        if done["status"] != 0:
            raise Failed(f"in the guest: exit {done['status']}: {' '.join(argv)}: {done['said'].strip()[-400:]}")
        return done["said"]

    def read(self, path):
        """A small file of the guest's own, such as one of sysfs."""
        return self.run("cat", path).strip()

    def _read(self):
        try:
            for line in self.sock.makefile("rb"):
                told = json.loads(line)
                if "ended" in told:
                    self.ended[told["ended"]] = told["status"]
                elif "id" in told:
                    self._answers[told["id"]] = told
                else:
                    self.up = True
        except OSError:
            # Closed from our side, or the machine is gone.
            pass


class GuestProcess(Process):
    """A program in the background of the guest; its log is in the folder that both sides see."""

    def __init__(self, guest: Guest, argv, log: Path, name: str):
        self.name = name
        self.log = log
        self.guest = guest
        log.touch()
        self.pid = guest.ask("start", argv=[str(word) for word in argv], log=str(log))["pid"]

    @property
    def returncode(self):
        return self.guest.ended.get(self.pid)

    def alive(self):
        return self.returncode is None

    def stop(self, with_signal=signal.SIGTERM, seconds=5.0):
        if not self.alive():
            return self.returncode
        self.guest.ask("signal", pid=self.pid, number=int(with_signal))
        try:
            wait_for(lambda: not self.alive(), seconds, f"end of {self.name}")
            return self.returncode
        except Failed:
            self.guest.ask("signal", pid=self.pid, number=int(signal.SIGKILL))
            wait_for(lambda: not self.alive(), 10, f"end of {self.name} after SIGKILL")
            return None

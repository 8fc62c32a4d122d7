"""The clients of the fleet's lab: a hundred under load, and single ones that come back."""

import contextlib
import json
import ssl
import time

from ..shell import Failed, Process, wait_for
from .network import CLIENTS, SERVER

HOST = "www.lab.test"


class Load:
    """A hundred clients at work."""

    def __init__(self, lab, every=2.0):
        self.log = lab.folder / f"load-{time.monotonic_ns()}.log"
        argv = lab.network.client.argv(
            "env", f"PYTHONPATH={lab.scripts}", "/usr/bin/python3", "-m", "lab.fleet.load", "--host", HOST, "--address", SERVER,
            "--trust", lab.trust, "--clients", ",".join(CLIENTS), "--every", every)
        self.process = Process(argv, self.log, "load")

    def requests(self):
        """All that have come to an end."""
        lines = self.process.text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def wait(self, count, seconds=30.0):
        """Waits until so many more have come to an end."""
        most = len(self.requests()) + count
        wait_for(lambda: len(self.requests()) >= most, seconds, f"{count} more requests", step=0.2)

    def stop(self):
        """Ends it, and returns all requests."""
        self.process.popen.stdin.close()
        wait_for(lambda: not self.process.alive(), 15, "end of the clients", step=0.05)
        if self.process.returncode != 0:
            raise Failed(f"the clients ended with exit {self.process.returncode}: {self.process.text()[-300:]}")
        return self.requests()


@contextlib.contextmanager
def load(lab, every=2.0):
    """Under load. The clients are gone afterwards."""
    clients = Load(lab, every)
    try:
        yield clients
    finally:
        if clients.process.alive():
            clients.process.stop()


def failures(requests):
    """In one line: how many of how many failed, and how the first did."""
    bad = [each for each in requests if each["error"]]
    return bad, f"{len(bad)} of {len(requests)} requests failed" + (f", first: {bad[0]['error']}" if bad else "")


def connect(lab, context, client=CLIENTS[0], session=None, host=HOST, port=0):
    """One connection. Returns its client port, whether it was resumed, and the session for the next one."""
    with lab.network.client.socket() as plain:
        plain.settimeout(10)
        plain.bind((client, port))
        plain.connect((SERVER, 443))
        number = plain.getsockname()[1]
        with context.wrap_socket(plain, server_hostname=host, session=session) as secure:
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            with contextlib.suppress(ssl.SSLEOFError):
                while part := secure.recv(4096):
                    answer += part
            if b" 200 OK" not in answer:
                raise Failed(f"answered {answer[:60]!r}")
            return number, secure.session_reused, secure.session


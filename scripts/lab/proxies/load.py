"""The load: wrk for objects on kept connections, ab for new connections. Neither verifies what the middle shows; ab never resumes.

(wrk would resume: it keeps one TLS object for each of its connections. h2load cannot connect anew for each request.)
"""

import json
import re
import time
from dataclasses import dataclass

from ..goodput.bed import HOST
from ..shell import Failed, run
from .bed import OBJECTS, core_idle_seconds

# Share of requests that may fail before a run counts for nothing.
FAILURES_ALLOWED = 0.001
# What other programs may have of a core during a run.
OTHERS_ALLOWED = 0.03

_SUMMARY = """
done = function(summary)
  local e = summary.errors
  print(string.format('{"requests":%d,"bytes":%.0f,"micros":%d,"failed":%d}', summary.requests, summary.bytes, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """One kind of load. It counts Mbit/s of HTTP that came, or connections per second."""

    name: str
    title: str
    unit: str
    path: str
    connections: int

    @property
    def kept(self):
        """Whether connections are kept, and bytes are what counts."""
        return self.unit == "Mbit/s"


LOADS = (
    Load("1m", "1 MB objects on 8 kept connections", "Mbit/s", "/files/1m", 8),
    Load("64k", "64 KB objects on 8 kept connections", "Mbit/s", "/files/64k", 8),
    Load("new", "new TLS 1.3 connections, 16 at a time, one exchange of 1 KB each", "1/s", "/files/1k", 16),
)


@dataclass(frozen=True)
class Measure:
    """One run: what came (megabits or connections) in how many seconds, what share of requests failed, and over the same time, the
    client's start and end included, seconds in which the core was busy, and CPU time of the middle's processes."""

    amount: float
    took: float
    failed: float
    elapsed: float
    busy_seconds: float
    process_seconds: float
    # Programs outside of the test bed, on any core, in cores. They would count as the middle's.
    others: float

    @property
    def rate(self):
        """As it was."""
        return self.amount / self.took

    @property
    def busy(self):
        """Share of the core."""
        return self.busy_seconds / self.elapsed

    @property
    def per_busy_core(self):
        """What a fully busy core would do."""
        return self.amount / self.busy_seconds

    @property
    def per_process_second(self):
        """The same by the processes' own CPU time; None without processes."""
        return self.amount / self.process_seconds if self.process_seconds else None


def measure(bed, route, load, seconds, patience):
    """One run while other programs leave the machine alone; if they do not for `patience` seconds, the least disturbed run."""
    best, deadline = None, time.monotonic() + patience
    while not best or best.others > OTHERS_ALLOWED and time.monotonic() < deadline:
        _wait_for_quiet(bed, deadline)
        taken = _measure(bed, route, load, seconds)
        if not best or taken.others < best.others:
            best = taken
    return best


def _wait_for_quiet(bed, deadline):
    while True:
        others, began = bed.others_seconds(), time.monotonic()
        time.sleep(0.25)
        if bed.others_seconds() - others <= OTHERS_ALLOWED * (time.monotonic() - began) or time.monotonic() > deadline:
            return


def _measure(bed, route, load, seconds):
    route.wake()
    try:
        others, process, idle, began = bed.others_seconds(), route.cpu_seconds(), core_idle_seconds(), time.monotonic()
        amount, took, failed = (_wrk if load.kept else _ab)(bed, route, load, seconds)
        elapsed, idle, process = time.monotonic() - began, core_idle_seconds() - idle, route.cpu_seconds() - process
        others = bed.others_seconds() - others
    finally:
        route.rest()
    if failed > FAILURES_ALLOWED or not amount:
        raise Failed(f"{route.name}, {load.title}: {failed:.1%} of the requests failed")
    return Measure(amount, took, failed, elapsed, elapsed - idle, process, max(0.0, others / elapsed))


def suites(bed, route, load, count=64):
    """What is negotiated with new connections: (client leg, server leg), each "protocol suite". Raises Failed unless each
    exchange has a server connection of its own, without resumption."""
    bed.checked()
    route.wake()
    try:
        said = _run_ab(bed, route, f"{load.path}?check=1", "-n", count, "-c", 4)
        time.sleep(0.2)
    finally:
        route.rest()
    noted = bed.checked()
    if len({connection for *_, connection in noted}) != count or any(reused == "r" for _, _, reused, _ in noted):
        raise Failed(f"{route.name}: {count} exchanges, but {len({c for *_, c in noted})} server connections, of which "
                     f"{sum(reused == 'r' for _, _, reused, _ in noted)} resumed")
    protocol, suite = re.search(r"SSL/TLS Protocol: +(\S+?),([^,\s]+)", said).groups()
    return f"{protocol} {suite}", " / ".join(sorted({f"{protocol} {suite}" for protocol, suite, *_ in noted}))


def _client(bed, route, *words, timeout):
    """Runs a client that finds the server's address for this path in /etc/hosts; only its own mount namespace has that file."""
    argv = bed.client.argv("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', route.hosts, *words)
    return run(argv, timeout=timeout).stdout.decode(errors="replace")


def _wrk(bed, route, load, seconds):
    """Returns (megabits, seconds, share of failures)."""
    script = bed.folder / "summary.lua"
    script.write_text(_SUMMARY)
    said = _client(bed, route, "wrk", "-t", 1, "-c", load.connections, "-d", f"{seconds}s", "-s", script,
                   f"https://{HOST}{load.path}", timeout=seconds + 30)
    told = json.loads(said.rstrip().rsplit("\n", 1)[1])
    return told["bytes"] * 8 / 1e6, told["micros"] / 1e6, told["failed"] / max(told["requests"], 1)


def _ab(bed, route, load, seconds):
    """Returns (connections, seconds, share of failures)."""
    # -n after -t: a bound that is not reached; ab sets memory aside for it.
    said = _run_ab(bed, route, load.path, "-t", seconds, "-n", 200_000, "-c", load.connections, timeout=seconds + 30)

    def number(title):
        found = re.search(rf"^{title}:\s+([\d.]+)", said, re.M)
        return float(found[1]) if found else 0
    done = number("Complete requests")
    # By what came: ab takes for an object's length what has come along with the first answer's head.
    good = min(done, number("HTML transferred") // _object_bytes(load)) - number("Non-2xx responses")
    return good, number("Time taken for tests"), 1 - good / max(done, 1)


def _object_bytes(load):
    return OBJECTS[load.path.rsplit("/", 1)[1]]


def _run_ab(bed, route, path, *options, timeout=30):
    return _client(bed, route, "ab", "-q", "-l", "-f", "TLS1.3", "-H", "Connection: close", *options, f"https://{HOST}{path}",
                   timeout=timeout)

"""Floods beside legitimate TLS: SYNs, fragments and malformed frames while curl downloads, each download on a new connection."""

import re
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from ..goodput.bed import ENGINES, HOST
from ..shell import Failed
from . import frames
from .bed import PATHS, before_others, mac
from .sender import generator, pktgen, sent

OBJECT = 256 << 10
# The client port of the connection that malformed segments pretend to belong to; the next path has the next.
LIVE_PORT = 40000
KINDS = ("syn", "fragments", "malformed")
# Share of the downloads' goodput that has to be left. The floods take CPU time from both hosts as well, which share a core, and one
# SYN that is lost costs a second.
KEPT = 0.1
_COUNTED = re.compile(r'^wireglass_(?:packets_dropped|flows_ended)_total\{.*reason="([^"]+)"\} (\d+)', re.M)


@dataclass
class Downloads:
    """What came of downloads in some seconds."""

    done: int
    failed: int
    mbits: float


@dataclass
class Flood:
    """A line of the table."""

    path: str
    kind: str
    alone: Downloads
    beside: Downloads
    sent: int
    seconds: float
    # Whether the long transfer went on that the forged segments aimed at.
    held: bool = True
    # By the engine: reasons of packets dropped, and of flows ended.
    counted: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)

    @property
    def kept(self):
        """Share of the goodput that is left beside the flood."""
        return self.beside.mbits / self.alone.mbits if self.alone.mbits else 0

    @property
    def faults(self):
        """Why this line is red; empty if it is not."""
        faults = []
        if not self.sent:
            faults.append("nothing was sent")
        if not self.alone.done or not self.beside.done or self.alone.failed or self.beside.failed:
            faults.append(f"downloads: {self.alone.done} done and {self.alone.failed} failed alone, "
                          f"{self.beside.done} and {self.beside.failed} beside the flood")
        elif self.kept < KEPT:
            faults.append(f"only {self.kept:.0%} of the downloads' goodput is left")
        if not self.held:
            faults.append("the transfer that the forged segments aimed at did not go on")
        if self.missing:
            faults.append(f"not counted: {', '.join(self.missing)}")
        return faults

    def as_json(self):
        """All of it."""
        return {**asdict(self), "kept": self.kept, "faults": self.faults}


def _curl(bed, route, url, into, *options):
    # By the line: what is in a buffer is lost when curl is stopped.
    argv = bed.client.argv("stdbuf", "-oL", "curl", "-sS", "--http1.1", "--cacert", bed.trust, "-o", into, "--resolve",
                           f"{HOST}:443:{route.server_address}", *options, f"https://{HOST}{url}")
    popen = subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    before_others(popen)
    return popen


def downloads(bed, route, seconds):
    """One after the other, for so long. The last one, which the end cuts off, counts for nothing."""
    began = time.monotonic()
    curl = _curl(bed, route, "/files/object?[1-100000]", "/dev/null", "-H", "Connection: close", "--max-time", "5", "-w",
                 "%{http_code} %{size_download} %{exitcode}\\n")
    time.sleep(seconds)
    curl.terminate()
    out, _ = curl.communicate(timeout=10)
    took = time.monotonic() - began
    told = [line.split() for line in out.decode().split("\n")[:-1]]
    done = sum(line == ["200", str(OBJECT), "0"] for line in told)
    return Downloads(done, len(told) - done, done * OBJECT * 8 / 1e6 / took)


def counts(route):
    """The engine's counters of dropped packets and ended flows, by reason."""
    if route.name not in ENGINES:
        return {}
    page = route.middle.run("curl", "-sS", "--max-time", 5, "http://127.0.0.1:9464/metrics").stdout.decode()
    found = Counter()
    for reason, count in _COUNTED.findall(page):
        found[reason] += int(count)
    if not found:
        raise Failed("the metrics page names no reasons")
    return found


def _goes_on(curl, into):
    """Whether what curl writes grows within some seconds."""
    def size():
        return into.stat().st_size if into.exists() else 0
    was, until = size(), time.monotonic() + 4
    while curl.poll() is None and time.monotonic() < until:
        if size() > was:
            return True
        time.sleep(0.05)
    return False


def capture(kind, folder, ends, seed, live):
    """Writes the frames of a flood. Returns the file, and which reasons the engine has to count."""
    made, counted = {
        "syn": lambda: (frames.syns(ends), ("res.flows",)),
        "fragments": lambda: (frames.fragments(ends, seed), frames.FRAGMENTS_COUNTED),
        "malformed": lambda: (frames.malformed(ends, seed, live), frames.MALFORMED_COUNTED),
    }[kind]()
    path = folder / f"{kind}.pcap"
    frames.write_pcap(path, made)
    return path, counted


def flood(bed, route, kind, options):
    """Downloads alone, then beside the flood. Raises Failed if the path is dead afterwards."""
    (bed.nginx.folder / "files" / "object").write_bytes(b"\0" * OBJECT)
    ends = frames.Ends(mac(bed.client, route.client_port), mac(bed.server, route.server_port), route.server_address)
    live_port = LIVE_PORT + PATHS.index(route.name)
    pcap, expected = capture(kind, bed.folder, ends, options.seed, (route.client_address, live_port))
    bed.answers_to(frames.STRANGERS, route)
    route.wake()
    live = sender = None
    written = bed.folder / "live"
    try:
        alone = downloads(bed, route, options.seconds)
        if kind == "malformed":
            written.unlink(missing_ok=True)
            live = _curl(bed, route, "/slow/endless", written, "--no-buffer", "--local-port", live_port)
            if not _goes_on(live, written):
                raise Failed(f"no transfer over {route.name} for the forged segments to aim at")
        before = counts(route)
        # Somewhat longer than the downloads: both take a moment to begin.
        seconds = options.seconds + 0.3
        if options.pktgen:
            sender = pktgen(bed, options.pktgen, "flood.lua", [route.client_port],
                            {"RATE": options.flood_rate, "SECONDS": seconds, "PCAP": pcap}, pcap)
        else:
            sender = generator(bed, route.client_port, pcap, options.flood_rate, seconds)
        beside = downloads(bed, route, options.seconds)
        gone, took = sent(sender.wait(20))
        held = live is None or _goes_on(live, written)
        if not route.forwarder.alive():
            raise Failed(f"{route.name} did not live through `{kind}`")
        after = counts(route)
    finally:
        if live:
            live.kill()
            live.communicate()
        if sender:
            sender.stop()
        route.rest()
    by_reason = {reason: after[reason] - before[reason] for reason in after if after[reason] > before[reason]}
    missing = [reason for reason in expected if reason not in by_reason] if route.name in ENGINES else []
    return Flood(route.name, kind, alone, beside, gone, took, held, by_reason, missing)

"""Everything at once for a long time: `scripts/soak.sh` is the way in."""

import argparse
import ctypes
import hashlib
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from .checks.custody import children, signer_of
from .content import CONNECTIONS
from .hosts import RULES, WWW, hosts
from .lab import Lab, exit_status, on_signals_stop
from .net import SERVER4
from .nginx import Host
from .runner import Report
from .scanner import MARKER, PORT, Scanner
from .shell import Failed, run, wait_for

# Servers with certificates of their own: each is a copy to be made.
NAMES = 60
DOWNLOAD = random.Random(1).randbytes(8_000_000)
LISTED = b"a line that is on the list\n" * 20_000
# How long a disturbance excuses what began before its end: a client's own time-out, and the engine's patience with a server.
AFTER = 20
# Buffers that caches of workers may have beside those in use: the count is nearly right.
IN_CACHES = 512
# KiB that the process may have more at rest at the end than in the middle. Tables that a flood has reached stay in memory.
GROWTH = 6_000
# prctl(2): neither this process nor what it starts gets huge pages.
PR_SET_THP_DISABLE = 41

_CONTENT = """
[icap.av]
respmod = "icap://127.0.0.1:{port}/avscan"
max_bytes = 16000000
timeout_ms = 5000

[content]
timeout_seconds = 20

[[list]]
name = "malware"
kind = "sha256"
files = ["malware.sha256"]

[[content.rule]]
name = "files on the list"
path = ["/files/listed-*"]
inspect = ["list.malware"]
hold = "all"
action = "inspect"

[[content.rule]]
name = "files for the antivirus"
path = ["/files/scanned-*"]
inspect = ["icap.av"]
hold = "all"
action = "inspect"
"""


def _many(number):
    return f"n{number}.many.lab.test"


def _hosts(lab):
    blocks = hosts(lab)
    for number in range(NAMES):
        name = _many(number)
        lab.certificates[name] = lab.issuer.issue(name)
        blocks.append(Host(name, lab.certificates[name]))
    return blocks


class Soak:
    """The activities and what came of them. What fails while somebody disturbs is counted apart."""

    def __init__(self, lab, engine, scanner):
        self.lab, self.engine, self.scanner = lab, engine, scanner
        self.ends = 0
        self.lock = threading.Lock()
        self.good, self.excused, self.wrong = Counter(), Counter(), []
        # All that was tried, so that what never comes off is told as well.
        self.names = set()
        # Resident KiB, once for each disturbance.
        self.resident = []
        # (from, until), by what is disturbed. None: it goes on.
        self.disturbed = []
        self.over = threading.Event()

    def loop(self, name, pause, action, excused_by=()):
        """A thread that does something again and again, each time with another number."""
        self.names.add(name)
        def turn():
            number = 0
            while not self.over.is_set() and time.monotonic() < self.ends:
                began = time.monotonic()
                try:
                    action(number)
                    self._count(self.good, name)
                except (Failed, OSError, ssl.SSLError, ValueError) as failed:
                    self._fail(name, began, excused_by, failed)
                number += 1
                self.over.wait(pause)
        thread = threading.Thread(target=turn, name=name, daemon=True)
        thread.start()
        return thread

    def _count(self, what, name):
        with self.lock:
            what[name] += 1

    def _fail(self, name, began, excused_by, failed):
        with self.lock:
            excused = any(kind in excused_by and (until is None or began < until + AFTER) and since <= time.monotonic()
                          for kind, since, until in self.disturbed)
            if excused:
                self.excused[name] += 1
            else:
                self.wrong.append(f"{name}: {failed}")

    def disturbance(self, kind, action):
        """Something is disturbed for as long as this takes."""
        with self.lock:
            at = len(self.disturbed)
            self.disturbed.append((kind, time.monotonic(), None))
        try:
            action()
        finally:
            with self.lock:
                self.disturbed[at] = (kind, self.disturbed[at][1], time.monotonic())

    # What goes on all the time.

    def download(self, version):
        """A file of 8 MB, whole."""
        def one(number):
            seen = self.lab.client.curl(WWW, SERVER4, version, path="/files/8m", timeout=30, note=False)
            if seen.exit != 0 or seen.body != DOWNLOAD:
                raise Failed(f"exit {seen.exit}, status {seen.status}, {len(seen.body)} bytes: {seen.why}")
        return one

    def name(self, number):
        """A server that has not been asked for a while, or never."""
        seen = self.lab.client.curl(_many(number % NAMES), SERVER4, note=False)
        if seen.exit != 0 or seen.status != 200:
            raise Failed(f"{_many(number % NAMES)}: exit {seen.exit}, status {seen.status}: {seen.why}")

    def resume(self, number):
        """Two connections, of which the second resumes the first, in both versions of TLS."""
        context = ssl.create_default_context(cafile=str(self.lab.trust))
        context.maximum_version = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)[number % 2]
        session = None
        for turn in range(2):
            raw = self.lab.network.client.socket()
            raw.settimeout(15)
            raw.connect((SERVER4, 443))
            with context.wrap_socket(raw, server_hostname=WWW, session=session) as tls:
                tls.sendall(f"GET /number/7 HTTP/1.1\r\nHost: {WWW}\r\nConnection: close\r\n\r\n".encode())
                said = b""
                while piece := tls.recv(65536):
                    said += piece
                if not said.endswith(b"number 7\n"):
                    raise Failed(f"turn {turn}: {said[:60]!r}")
                if turn and not tls.session_reused:
                    raise Failed("the second connection is not a resumption")
                session = tls.session

    def hold(self, number):
        """A file on the list is refused, one that is not is served."""
        version = ("--http1.1", "--http2")[number % 2]
        for name, status in (("listed-bad", 403), ("listed-good", 200)):
            seen = self.lab.client.curl(WWW, SERVER4, version, path=f"/files/{name}", note=False)
            if seen.exit != 0 or seen.status != status:
                raise Failed(f"{name}: exit {seen.exit}, status {seen.status}: {seen.why}")

    def scan(self, number):
        """What ClamAV knows is refused, the rest is served."""
        version = ("--http1.1", "--http2")[number % 2]
        for name, status in (("scanned-bad", 403), ("scanned-good", 200)):
            seen = self.lab.client.curl(WWW, SERVER4, version, path=f"/files/{name}", note=False)
            if seen.exit != 0 or seen.status != status:
                raise Failed(f"{name}: exit {seen.exit}, status {seen.status}: {seen.why}")

    def hellos(self, _):
        """Forty clients that begin a hello, or garbage, and go away."""
        for number in range(40):
            with self.lab.network.client.socket() as raw:
                raw.settimeout(5)
                raw.connect((SERVER4, 443))
                raw.sendall(random.randbytes(60) if number % 2 else b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                if number % 4 == 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def syns(self, _):
        """2000 SYNs from addresses where nobody is."""
        raw = self.lab.network.client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            for _ in range(2000):
                raw.sendto(_syn(f"10.203.0.{random.randint(150, 199)}", SERVER4), (SERVER4, 0))

    # What disturbs.

    def reload(self, number):
        """Settings in force anew, and each third time the log in another file."""
        if number % 3 == 2:
            self.engine.eve.path.rename(self.engine.eve.path.with_name(f"eve-{time.monotonic_ns()}.json"))
        done = run([self.lab.binary, "reload", "-c", self.engine.config], timeout=60, check=False)
        if done.returncode != 0:
            raise Failed(f"exit {done.returncode}: {done.stderr.decode()[-200:]}")

    def flap(self, _):
        """The server's cable is out for a second."""
        def out():
            self.lab.network.server.ip("link", "set", "wan", "down")
            time.sleep(1)
            self.lab.network.server.ip("link", "set", "wan", "up")
            # The return has to last before it is passed on.
            time.sleep(4)
        self.disturbance("link", out)

    def scanner_anew(self, _):
        """c-icap ends and comes back."""
        def anew():
            self.scanner.stop()
            time.sleep(1)
            self.scanner.start()
        self.disturbance("scanner", anew)

    def signer_killed(self, _):
        """The signer dies, and is started again."""
        def killed():
            pid = self.engine.process.popen.pid
            before = signer_of(pid)
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: [each for keeper in children(pid) for each in children(keeper) if each != before], 20, "another signer")
            time.sleep(1)
        self.disturbance("signer", killed)

    def run(self, seconds):
        """All of it, for so long."""
        self.ends = time.monotonic() + seconds
        self.over.clear()
        link = ("link",)
        threads = [
            self.loop("downloads over HTTP/1", 0.5, self.download("--http1.1"), link),
            self.loop("downloads over HTTP/2", 0.5, self.download("--http2"), link),
            self.loop("handshakes with many names", 0.2, self.name, ("link", "signer")),
            self.loop("resumptions", 0.5, self.resume, link),
            self.loop("content holds", 0.5, self.hold, link),
            self.loop("scans", 0.5, self.scan, ("link", "scanner")),
            self.loop("floods of hellos", 5, self.hellos, link),
            self.loop("floods of SYNs", 10, self.syns, link),
            self.loop("reloads", 15, self.reload, ("signer",)),
        ]
        # One at a time, so that nobody is excused for good.
        actions = [("link flaps", self.flap), ("scanner restarts", self.scanner_anew), ("signer kills", self.signer_killed)]
        turn = 0
        while time.monotonic() < self.ends and self.engine.alive():
            name, action = actions[turn % len(actions)]
            self.names.add(name)
            turn += 1
            self.resident.append(self.engine.resident_kb())
            try:
                action(turn)
                self.good[name] += 1
            except (Failed, OSError) as failed:
                self.wrong.append(f"{name}: {failed}")
            self.over.wait(min(25, max(0, self.ends - time.monotonic())))
        self.over.set()
        for each in threads:
            each.join(60)
            if each.is_alive():
                self.wrong.append(f"{each.name}: did not end within a minute")


def _syn(source, target):
    """An IPv4 packet with a SYN to port 443; the kernel fills in length and checksum of the IP header."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, random.getrandbits(16), 0x4000, 64, socket.IPPROTO_TCP, 0) + addresses
    tcp = struct.pack("!HHIIBBHHH", random.randint(1024, 65535), 443, random.getrandbits(32), 0, 0x50, 2, 64240, 0, 0)
    total = sum(struct.unpack("!16H", addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ip + tcp[:16] + struct.pack("!H", ~total & 0xffff) + tcp[18:]


def _page(lab):
    return lab.network.middle.run("curl", "-sS", "--max-time", "5", "http://127.0.0.1:9464/metrics").stdout.decode()


def _sum(page, name, label=""):
    values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*{re.escape(label)}[^}}]*}})? (\S+)$", page, re.M)
    if not values:
        raise Failed(f"the metrics have no {name}")
    return int(sum(float(value) for value in values))


def _quiet(lab):
    """Waits until no flow has state."""
    wait_for(lambda: _sum(_page(lab), "wireglass_flows") == 0, 180, "end of all flows", step=1)


def _at_rest(lab, engine):
    _quiet(lab)
    # Sums are told each second, and the log is written a moment later.
    time.sleep(3)
    page = _page(lab)
    pools = {tuple(found[:2]): float(found[2]) for found in
             re.findall(r'^wireglass_pool_in_use{worker="(\d+)",pool="(\w+)"} (\S+)$', page, re.M)}
    return {"resident": engine.resident_kb(), "pools": pools, "bytes": _sum(page, "wireglass_flow_bytes"), "page": page}


def _events(engine):
    """All events, from the files that were rotated away, too. A line that is not whole is a failure."""
    for path in sorted(engine.folder.glob("eve*.json")):
        for line in path.read_text().splitlines():
            yield json.loads(line)


def _judge(report, soak, kills_before, rests):
    before, after = rests[0], rests[-1]

    def line(name, good, detail):
        report.line(good, f"soak.{name}", detail)

    for name in sorted(soak.names):
        wrong = [each for each in soak.wrong if each.startswith(f"{name}: ")]
        detail = f"{soak.good[name]} good, {soak.excused[name]} in a disturbance that was asked for, {len(wrong)} others"
        line(name.replace(" ", "-").replace("/", ""), not wrong and soak.good[name] > 0, detail + (f": {wrong[0]}" if wrong else ""))
    _judge_memory(line, soak, rests)
    line("budget", after["bytes"] <= before["bytes"], f"flows hold {before['bytes']} bytes after the warm-up, {after['bytes']} at the end")
    more = {" ".join(pool): value - before["pools"].get(pool, 0) for pool, value in after["pools"].items()}
    words = ", ".join(f"{pool} {value:+g}" for pool, value in more.items())
    line("pools", bool(more) and max(more.values()) < IN_CACHES, f"buffers in use, against after the warm-up: {words}")
    _add_up(line, soak, kills_before, after["page"])


def _judge_memory(line, soak, rests):
    """What leaks grows in the second half as in the first one; what is only kept for the next flood does not."""
    grown = rests[-1]["resident"] - rests[-2]["resident"]
    rested = ", ".join(f"{rest['resident']} KiB" for rest in rests)
    twelve = soak.resident[::max(1, len(soak.resident) // 12)]
    line("memory", grown < GROWTH, f"at rest after the warm-up, after half of it, at the end: {rested}; {grown:+d} KiB in the second half; "
         f"under load {' '.join(f'{each / 1024:.0f}' for each in twelve)} MiB")


def _add_up(line, soak, kills_before, page):
    # Floods of SYNs are told in sums.
    flows = 0
    for event in _events(soak.engine):
        if event["event_type"] == "flow":
            flows += 1
        elif event["event_type"] == "summary" and event["wireglass"]["of"] == "flow":
            flows += event["wireglass"]["count"]
    lost = _sum(page, "wireglass_log_dropped_total") + _sum(page, "wireglass_log_lost_total")
    started, done, failed = (_sum(page, f"wireglass_handshakes_{each}_total") for each in ("started", "done", "failed"))
    ended = _sum(page, "wireglass_flows_ended_total")
    line("handshake-counters", started == done + failed, f"{started} begun, {done} done, {failed} failed")
    line("flow-events", lost == 0 and flows == ended, f"{ended} flows ended, {flows} told by events in all files, {lost} events lost")
    starts = _sum(page, "wireglass_signer_starts_total")
    kills = kills_before + soak.good["signer kills"]
    line("signer-starts", starts == 1 + kills, f"{starts} starts, {kills} kills")


@exit_status
def main():
    """Returns the exit status."""
    options = _arguments()
    on_signals_stop()
    # The kernel makes 2 MiB of a few used pages whenever it likes, so that what is resident says little of what is used.
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    report = Report()
    with Lab(options.binary.resolve(), _hosts, RULES) as lab:
        scanner = Scanner(lab, lab.folder / "scanner")
        files = lab.nginx.folder / "files"
        for name, body in (("8m", DOWNLOAD), ("listed-bad", LISTED), ("listed-good", LISTED + b"."),
                           ("scanned-bad", b"x" * 5000 + MARKER), ("scanned-good", b"x" * 5000)):
            (files / name).write_bytes(body)
        with scanner.running():
            engine = lab.wire("soak", rules=CONNECTIONS + RULES + _CONTENT.format(port=PORT),
                              files=(("malware.sha256", f"{hashlib.sha256(LISTED).hexdigest()}  listed\n"),))
            print(f"warm-up: {options.warm_up} s", flush=True)
            warm_up = Soak(lab, engine, scanner)
            warm_up.run(options.warm_up)
            before = _at_rest(lab, engine)
            print(f"soak: {options.minutes:g} minutes", flush=True)
            # What the warm-up has done counts there, and nowhere else.
            kills = _sum(before["page"], "wireglass_signer_starts_total") - 1
            rests, soak = [before], Soak(lab, engine, scanner)
            for _ in range(2):
                soak.run(options.minutes * 30)
                if not engine.alive():
                    raise Failed(f"the engine ended in the middle of it (exit {engine.process.returncode})")
                rests.append(_at_rest(lab, engine))
            soak.names |= warm_up.names
            soak.wrong += warm_up.wrong
            _judge(report, soak, kills, rests)
            status = engine.stop()
            balanced = "mbufs balanced" in engine.log.read_text(errors="replace")
            report.line(status == 0 and balanced, "soak.stop", f"exit {status}, {'mbufs balanced' if balanced else 'mbufs NOT balanced'}")
    return report.summary()


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/soak.sh", description="""
        Runs the engine in the lab for a long time, with everything at once: downloads, handshakes, resumptions, reloads, floods, link flaps,
        log rotation, held content, restarts of an antivirus scanner, kills of the signer. Prints one line for each check at the end;
        exit status 0 only if all passed.""")
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="length of the run in minutes (default: 30)")
    parser.add_argument("--warm-up", type=float, default=300, metavar="S", help="seconds of load before memory is measured for the first time (default: 300)")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), metavar="FILE", help="engine to run (default: target/release/wireglass)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

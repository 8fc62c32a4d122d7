"""The test bed: one path for each kind of forwarding, between the same two hosts.

    client namespace       [line namespace]       middle namespace, one a path      server namespace
    lan-PATH ────veth──── near │ relay │ far ──── inside │ forwarder │ outside ──── wan-PATH

The line is there when the path has a delay; it may also lie on the server's side. All paths are up at the same time, so that
runs over them can take turns; a forwarder whose turn it is not is stopped.
"""

import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import pki
from ..engine import Engine, PlainWire, Setup, init_ca
from ..net import OFFLOADS, Namespace, delete_namespace
from ..nginx import Nginx
from ..ports import AfPacket, AfXdp, has_xdp
from ..shell import Process, run

HOST = "goodput.lab.test"
# Client and server share a core; whatever forwards has the other one.
HOSTS_CORE, MIDDLE_CORE = 0, 1
# Larger than anything that is transferred; a hole in the file system, so it takes no room.
ENDLESS = 64 << 30
DIRECT, TESTPMD, ENGINE, ENGINE_XDP = "direct", "testpmd", "engine", "engine-xdp"
PATHS = (DIRECT, TESTPMD, ENGINE, ENGINE_XDP)
# The engine, by the kind of its ports.
ENGINES = {ENGINE: AfPacket, ENGINE_XDP: AfXdp}

_SERVER = """
  log_format goodput "$arg_run $request_length";
  server {{
    listen 443 ssl;
    ssl_protocols TLSv1.3;
    server_name {host};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    access_log {dir}/uploads.log goodput if=$arg_run;
    location /files/ {{ alias {dir}/files/; }}
    location /upload/ {{ alias {dir}/upload/; dav_methods PUT; }}
  }}
"""


@dataclass(frozen=True)
class Line:
    """What the hosts are joined by: its delay, all of it on one side of the middle, and its rate (0: as fast as it goes)."""

    rtt_ms: float = 0
    side: str = "client"
    mbits: float = 0
    # Whether the kernel may send batches of up to 64 KB over it, which no wire carries.
    offloads: bool = False

    @property
    def name(self):
        """For people; "" for the plain cable."""
        words = [f"{self.rtt_ms:g} ms"] * bool(self.rtt_ms) + [f"{self.mbits:g} Mbit/s"] * bool(self.mbits)
        return ", ".join(words)


class PinnedNamespace(Namespace):
    """A namespace whose programs run on one core."""

    def __init__(self, name, core):
        super().__init__(name)
        self.core = core

    def argv(self, *words):
        return super().argv("taskset", "-c", str(self.core), *words)


class Route:
    """One way from client to server."""

    def __init__(self, bed, index, name):
        self.name = name
        self.bed = bed
        self.client_port, self.server_port = f"lan-{name}", f"wan-{name}"
        self.client_address, self.server_address = f"10.204.{index}.1", f"10.204.{index}.2"
        # `middle` is what Engine and PlainWire look for in a network.
        self.middle = Namespace(f"{bed.prefix}-{name}")
        self.line = PinnedNamespace(f"{bed.prefix}-{name}-line", HOSTS_CORE)
        self.relay = None
        self.forwarder = None

    def build(self, line):
        """Cables, addresses, the relay."""
        bed = self.bed
        new_namespace(self.middle)
        ends = {"client": (bed.client, self.client_port, "inside"), "server": (bed.server, self.server_port, "outside")}
        for side, (host, port, near) in ends.items():
            if line.rtt_ms and side == line.side:
                new_namespace(self.line)
                cable(host, port, self.line, "near")
                cable(self.line, "far", self.middle, near)
                self.relay = Process(
                    self.line.argv(sys.executable, "-m", "lab.goodput.relay", "near", "far", line.rtt_ms / 2, line.mbits),
                    bed.folder / f"relay-{self.name}.log", "relay")
                self.relay.wait_text("relaying", 10)
            else:
                cable(host, port, self.middle, near, line.offloads)
                if line.mbits and not line.rtt_ms:
                    run(["tc", "-n", host.name, "qdisc", "add", "dev", port, "root", "tbf", "rate", f"{line.mbits}mbit",
                         "burst", "64kb", "latency", "50ms"])
        bed.client.ip("addr", "add", f"{self.client_address}/24", "dev", self.client_port)
        bed.server.ip("addr", "add", f"{self.server_address}/24", "dev", self.server_port)

    def start(self):
        """Puts the forwarder in."""
        folder = self.bed.folder / self.name
        if self.name == DIRECT:
            return self._bridge()
        if self.name == TESTPMD:
            self.forwarder = PlainWire(self, folder)
        else:
            setup = Setup(roots=(self.bed.root.cert,), rules=self.bed.rules, cores=(MIDDLE_CORE,), kind=ENGINES[self.name])
            self.forwarder = Engine(self.bed.binary, self, folder, self.bed.ca, setup)
        self.forwarder.start()
        self.rest()
        return None

    def rest(self):
        """Stops what would take time from another path's turn."""
        self._signal(signal.SIGSTOP)

    def wake(self):
        """Its turn."""
        self._signal(signal.SIGCONT)

    def cpu_seconds(self):
        """CPU time of the forwarder's busiest thread so far: the engine's worker. None where the kernel forwards."""
        if not self.forwarder:
            return None
        tasks = Path(f"/proc/{self.forwarder.process.popen.pid}/task").iterdir()
        return max(int(Path(task, "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def stop(self):
        """Ends its programs."""
        for process in (self.forwarder and self.forwarder.process, self.relay):
            if process and process.alive():
                process.popen.send_signal(signal.SIGCONT)
                process.stop(seconds=5)

    def _signal(self, number):
        if self.forwarder:
            self.forwarder.process.popen.send_signal(number)

    def _bridge(self):
        middle = self.middle
        middle.ip("link", "add", "bridge", "type", "bridge")
        for port in ("inside", "outside"):
            middle.ip("link", "set", port, "master", "bridge")
            # What arrives is worked on where the other two paths have their forwarder.
            receive_on(middle, port, MIDDLE_CORE)
        middle.ip("link", "set", "bridge", "up")


class Bed:
    """Context manager: both hosts and all paths, with one kind of line."""

    def __init__(self, binary: Path, paths, line: Line, congestion="cubic", rules=""):
        self.binary = binary
        self.rules = rules
        self.line = line
        self.prefix = f"wg-{os.getpid()}"
        self.client = PinnedNamespace(f"{self.prefix}-client", HOSTS_CORE)
        self.server = PinnedNamespace(f"{self.prefix}-server", HOSTS_CORE)
        self.congestion = congestion
        self.runs = 0
        self.folder = self.nginx = self.root = self.ca = None
        self.routes = self.new_routes(paths)

    def new_routes(self, paths):
        """The routes of `paths`, none of them built yet."""
        return [Route(self, PATHS.index(name) + 1, name) for name in PATHS if name in paths]

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for route in self.routes:
            route.stop()
        if self.nginx:
            self.nginx.stop()
        try:
            for namespace in (self.client, self.server, *(n for r in self.routes for n in (r.middle, r.line))):
                delete_namespace(namespace.name)
        finally:
            for left in (self.folder, *(Path("/var/run/dpdk") / route.middle.name for route in self.routes)):
                if left:
                    shutil.rmtree(left, ignore_errors=True)

    def block(self, folder):
        """nginx's server block."""
        with open(folder / "files" / "endless", "wb") as endless:
            endless.truncate(ENDLESS)
        return _SERVER.format(dir=folder, host=HOST, chain=self.certificate.chain, key=self.certificate.key)

    def new_run(self):
        """A name for a run that no other one has."""
        self.runs += 1
        return f"run{self.runs}"

    def uploads(self, run_id):
        """What the server got of a run's uploads, those that have ended: bytes."""
        words = (line.split() for line in (self.nginx.folder / "uploads.log").read_text().split("\n")[:-1])
        return [int(length) for run, length in words if run == run_id]

    def _build(self):
        # In memory: what is uploaded must not wait for a disk.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-", dir="/dev/shm"))
        self.root = pki.Authority(self.folder / "root", "Lab Public Root")
        self.certificate = pki.Authority(self.folder / "issuer", "Lab Public Issuer", self.root).issue(HOST)
        self.ca = self.folder / "ca"
        init_ca(self.binary, self.ca)
        self.trust = self.folder / "trust.pem"
        self.trust.write_text((self.ca / "trusted.pem").read_text() + self.root.cert.read_text())
        self._build_hosts()
        for route in self.routes:
            route.build(self.line)
        self.nginx = Nginx(self.server, self.folder / "nginx", [self])
        for route in self.routes:
            route.start()

    def _build_hosts(self):
        # Only what is allowed can be set in a namespace. It stays allowed: another lab may be using it.
        allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
        if self.congestion not in allowed.read_text().split():
            allowed.write_text(f"{allowed.read_text().strip()} {self.congestion}")
        for host in (self.client, self.server):
            new_namespace(host)
            # No memory of earlier connections: each run begins as the first one did.
            host.run("sysctl", "-qw", f"net.ipv4.tcp_congestion_control={self.congestion}", "net.ipv4.tcp_no_metrics_save=1")


def without_what_is_missing(paths):
    """Of these paths those that this kernel has; a word tells which it has not."""
    if ENGINE_XDP in paths and not has_xdp():
        print(f"this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): no path {ENGINE_XDP}", flush=True)
        return [path for path in paths if path != ENGINE_XDP]
    return list(paths)


def new_namespace(namespace):
    """Adds it; no IPv6, so that nothing speaks of itself."""
    run(["ip", "netns", "add", namespace.name])
    namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    namespace.ip("link", "set", "lo", "up")


def receive_on(namespace, port, core):
    """Has what arrives at a port worked on by one core (RPS), as the interrupts of a NIC would be bound to it."""
    namespace.run("sh", "-c", f"echo {1 << core:x} > /sys/class/net/{port}/queues/rx-0/rps_cpus")


def cable(one, port, other, far, offloads=False):
    """A veth pair. Without offloads what crosses it is what would be on a wire; with them, batches of up to 64 KB."""
    run(["ip", "-n", one.name, "link", "add", port, "type", "veth", "peer", "name", far, "netns", other.name])
    for namespace, end in ((one, port), (other, far)):
        for offload in () if offloads else OFFLOADS:
            namespace.run("ethtool", "-K", end, offload, "off", check=False)
        namespace.ip("link", "set", end, "up")

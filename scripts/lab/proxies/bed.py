"""The test bed: the goodput lab's three paths, and one routed path for each other proxy.

    client namespace (core 0)         middle namespace, one a path (core 1)          server namespace (core 0)
    lan-PATH ───────veth─────── inside │ bridge, testpmd, engine, proxy │ outside ───────veth─────── wan-PATH

The other proxies are sockets on a host: their middle is a router that redirects port 443 to itself (nftables, NAT). Each end's
arriving frames are worked on by that end's core (RPS), as a NIC's interrupts would be bound: so all that happens on core 1, the
kernel's share included, is the middle's work, and nothing of it happens on core 0.
"""

import os
import shutil
import signal
from pathlib import Path

from .. import pki
from ..engine import Engine, PlainWire, Setup
from ..goodput.bed import (DIRECT, ENGINE, HOST, HOSTS_CORE, MIDDLE_CORE, TESTPMD, Bed, Line, PinnedNamespace, Route, cable,
                           new_namespace, receive_on)
from ..goodput.bed import PATHS as WIRES
from ..shell import Failed, run, wait_for
from .programs import PORT, PROXIES

PATHS = (*WIRES, *PROXIES)
# The flag of a kernel thread in /proc/PID/stat (proc(5)).
PF_KTHREAD = 0x00200000
# Bytes of an object by its name.
OBJECTS = {"1k": 1 << 10, "64k": 64 << 10, "1m": 1 << 20}

_SERVER = """
  log_format check "$ssl_protocol $ssl_cipher $ssl_session_reused $connection";
  server {{
    listen 443 ssl backlog=4096;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
    server_name {host};
    ssl_certificate {folder}/served.pem;
    ssl_certificate_key {folder}/served.key;
    keepalive_requests 100000000;
    access_log {dir}/checks.log check if=$arg_check;
    location /files/ {{ alias {dir}/files/; }}
  }}
"""

_REDIRECT = """
table ip interception {{
  chain arriving {{
    type nat hook prerouting priority dstnat
    iifname "inside" tcp dport {port} redirect
  }}
}}
"""


class WireRoute(Route):
    """A path without addresses of its own: the bridge, testpmd, the engine."""

    def __init__(self, bed, index, name):
        super().__init__(bed, index, name)
        self.middle = PinnedNamespace(self.middle.name, MIDDLE_CORE)

    @property
    def terminates(self):
        """Whether the client speaks TLS with the middle."""
        return self.name not in (DIRECT, TESTPMD)

    @property
    def hosts(self):
        """The client's /etc/hosts for this path."""
        return self.bed.folder / f"hosts-{self.name}"

    def build(self, line):
        super().build(line)
        self.finish()

    def finish(self):
        """What all paths need once their cables are there."""
        for host, port in ((self.bed.client, self.client_port), (self.bed.server, self.server_port)):
            receive_on(host, port, HOSTS_CORE)
        for port in ("inside", "outside"):
            receive_on(self.middle, port, MIDDLE_CORE)
        self.hosts.write_text(f"127.0.0.1 localhost\n{self.server_address} {HOST}\n")
        self.hosts.chmod(0o644)

    def pids(self):
        """All processes in the middle."""
        return _pids(self.middle)

    def cpu_seconds(self):
        """CPU time of all processes in the middle so far."""
        return sum(_process_seconds(pid) for pid in self.pids())

    def _signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


class ProxyRoute(WireRoute):
    """A path whose middle is a router with a proxy on it."""

    def build(self, line):
        bed, middle = self.bed, self.middle
        new_namespace(middle)
        network = self.client_address.rsplit(".", 1)[0]
        self.server_address = f"{network}.129"
        for host, port, near, address, gateway in (
                (bed.client, self.client_port, "inside", self.client_address, f"{network}.2"),
                (bed.server, self.server_port, "outside", self.server_address, f"{network}.130")):
            cable(host, port, middle, near, line.offloads)
            host.ip("addr", "add", f"{address}/25", "dev", port)
            middle.ip("addr", "add", f"{gateway}/25", "dev", near)
        bed.client.ip("route", "add", f"{network}.128/25", "via", f"{network}.2")
        bed.server.ip("route", "add", f"{network}.0/25", "via", f"{network}.130")
        middle.run("sysctl", "-qw", "net.ipv4.ip_forward=1", f"net.ipv4.tcp_congestion_control={bed.congestion}",
                   "net.ipv4.tcp_no_metrics_save=1", "net.core.somaxconn=4096")
        middle.run("nft", "-f", "-", stdin=_REDIRECT.format(port=PORT).encode())
        self.finish()

    def start(self):
        self.forwarder = PROXIES[self.name](self, self.bed.folder / f"proxy-{self.name}")
        self.forwarder.start()
        self.rest()


class ProxyBed(Bed):
    """Context manager: both hosts and the paths of `names`."""

    def __init__(self, binary, names, offloads=False):
        super().__init__(binary, names, Line(offloads=offloads))
        self.prepared = None

    def new_routes(self, paths):
        return [(ProxyRoute if name in PROXIES else WireRoute)(self, index, name)
                for index, name in enumerate(PATHS, 1) if name in paths]

    def block(self, folder):
        """nginx's server block. At first it serves a certificate of an authority that nobody knows."""
        # Squid does not run as root.
        self.folder.chmod(0o711)
        for name, size in OBJECTS.items():
            (folder / "files" / name).write_bytes(os.urandom(size))
        self.prepared = pki.Authority.existing(
            self.folder / "own", self.ca / "trusted.pem", self.ca / "trusted.key").issue(HOST)
        self._serve(pki.Authority(self.folder / "stranger", "Lab Unknown Root").issue(HOST))
        return _SERVER.format(dir=folder, folder=self.folder, host=HOST)

    def prove(self):
        """Each middle refuses the unknown authority's certificate and takes the good one, and the client sees the middle's CA."""
        intercepting = [route for route in self.routes if route.terminates]
        for route in intercepting:
            if self._fetch(route) == "200":
                raise Failed(f"{route.name} does not verify the server's certificate")
        self._serve(self.certificate)
        self.nginx.process.popen.send_signal(signal.SIGHUP)
        for route in self.routes:
            # The server's old worker takes connections for a moment longer.
            wait_for(lambda: self._fetch(route) == "200", 5, f"answer through {route.name}")

    def others_seconds(self):
        """CPU time so far of all processes that have nothing to do with this test bed, ended ones included."""
        ours = {pid for space in (self.client, self.server) for pid in _pids(space)}
        ours.update(pid for route in self.routes for pid in route.pids())
        ours.add(os.getpid())
        return sum(_seconds_with_ended_children(int(path.name)) for path in Path("/proc").iterdir()
                   if path.name.isdigit() and int(path.name) not in ours)

    def checked(self):
        """What the server noted of requests with `?check=1` since it was last asked: [protocol, suite, reused, connection]."""
        log = self.nginx.folder / "checks.log"
        lines = [line.split() for line in log.read_text().splitlines()]
        os.truncate(log, 0)
        return lines

    def _serve(self, certificate):
        shutil.copy(certificate.chain, self.folder / "served.pem")
        shutil.copy(certificate.key, self.folder / "served.key")

    def _fetch(self, route):
        """One request by curl. Returns the status or curl's error."""
        trust = self.ca / "trusted.pem" if route.terminates else self.root.cert
        route.wake()
        try:
            done = self.client.run("curl", "-sS", "--cacert", trust, "--max-time", 10, "-o", "/dev/null", "-w", "%{http_code}",
                                   "--resolve", f"{HOST}:{PORT}:{route.server_address}", f"https://{HOST}/files/1k", check=False)
        finally:
            route.rest()
        return done.stderr.decode(errors="replace").strip() if done.returncode else done.stdout.decode()


def _pids(namespace):
    return [int(word) for word in run(["ip", "netns", "pids", namespace.name], check=False).stdout.split()]


def _process_seconds(pid):
    """User and system time of a process; 0 when it is gone."""
    return sum(map(int, _stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def _seconds_with_ended_children(pid):
    """The same with its ended children, so that nothing is lost when a process ends; 0 for the kernel's own threads."""
    fields = _stat(pid)
    return 0 if not fields or int(fields[6]) & PF_KTHREAD else sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """What /proc/PID/stat says after the name; [] when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def core_idle_seconds():
    """Time so far in which nobody used the middle's core: idle, or taken by the hypervisor. What is left is exact where idle time
    is (NO_HZ), and holds all that the kernel does for the middle."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{MIDDLE_CORE} "):
            _user, _nice, _system, idle, iowait, _irq, _softirq, steal, *_ = map(int, line.split()[1:])
            return (idle + iowait + steal) / os.sysconf("SC_CLK_TCK")
    raise Failed(f"this machine has no core {MIDDLE_CORE}")

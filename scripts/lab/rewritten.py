"""Hosts whose frames are rewritten on their way to the engine, on both sides of it.

    near ─veth─ rewrites ─ lan | the wire | wan ─ rewrites ─veth─ far

What rewrites stands in the namespaces that are the ends elsewhere; `near` and `far` are in the same network as these.
"""

import os
import select
import socket
import threading
from types import SimpleNamespace

from .clients import Client
from .net import OFFLOADS, Namespace, delete_namespace
from .nginx import Host, Nginx
from .shell import run
from .vlan import ETH_P_ALL, PACKET_AUXDATA, SOL_PACKET, receive_frame

NEAR4, NEAR6 = "10.203.0.61", "fd00:203::61"
FAR4, FAR6 = "10.203.0.62", "fd00:203::62"
# There has to be room for what is added to a frame.
MTU = 1400


class Rewriter:
    """A thread that carries frames between two ports of a namespace. `to_wire` and `to_host` return what goes on instead of a frame,
    or None."""

    def __init__(self, namespace, host, wire, to_wire, to_host):
        self.ports = [_raw(namespace, port) for port in (host, wire)]
        self.ways = list(zip(self.ports, reversed(self.ports), (to_wire, to_host)))
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self._run, name=f"rewriter-{wire}", daemon=True)
        self.thread.start()

    def stop(self):
        """Ends the thread."""
        os.close(self.stop_write)
        self.thread.join(2)
        os.close(self.stop_read)
        for port in self.ports:
            port.close()

    def _run(self):
        while True:
            ready, _, _ = select.select([*self.ports, self.stop_read], [], [])
            if self.stop_read in ready:
                return
            for source, target, rewrite in self.ways:
                if source in ready:
                    self._carry(source, target, rewrite)

    @staticmethod
    def _carry(source, target, rewrite):
        try:
            frame, tag = receive_frame(source)
            frame = frame and rewrite(frame[:12] + (tag or b"") + frame[12:])
            if frame:
                target.send(frame)
        except OSError:
            # A port that is going away, or a full queue: a lost frame, as on a wire.
            pass


def _raw(namespace, port):
    with namespace.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((port, ETH_P_ALL))
    sock.setblocking(False)
    return sock


class Rewritten:
    """Context manager: `near` and `far`, which has a web server for these hosts. `to_wire` may be set at any time; what comes from
    `far` may have one of its own."""

    def __init__(self, lab, hosts, to_wire, to_host=lambda frame: frame, far_to_wire=None):
        self.lab = lab
        self.hosts = hosts
        self.to_wire, self.to_host = to_wire, to_host
        self.far_to_wire = far_to_wire or (lambda frame: self.to_wire(frame))
        prefix = lab.network.client.name.rsplit("-", 1)[0]
        self.near, self.far = Namespace(f"{prefix}-near"), Namespace(f"{prefix}-far")
        self.rewriters = []
        self.nginx = None

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self):
        lab, network = self.lab, self.lab.network
        for namespace, wire, host, v4, v6, to_wire in (
                (network.client, "lan", self.near, NEAR4, NEAR6, lambda frame: self.to_wire(frame)),
                (network.server, "wan", self.far, FAR4, FAR6, self.far_to_wire)):
            run(["ip", "netns", "add", host.name])
            host.ip("link", "set", "lo", "up")
            run(["ip", "-n", namespace.name, "link", "add", "rewrites", "type", "veth", "peer", "name", "eth0", "netns", host.name])
            # A port of a wire, not of a host.
            namespace.run("sysctl", "-qw", "net.ipv6.conf.rewrites.disable_ipv6=1")
            for end, port in ((namespace, "rewrites"), (host, "eth0")):
                for offload in OFFLOADS:
                    end.run("ethtool", "-K", port, offload, "off", check=False)
                end.ip("link", "set", port, "up")
            host.ip("addr", "add", f"{v4}/24", "dev", "eth0")
            host.ip("addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
            # Of what the host sends. A device with this MTU would not take what has been added.
            host.ip("route", "change", "10.203.0.0/24", "dev", "eth0", "src", v4, "mtu", MTU)
            host.ip("-6", "route", "add", "fd00:203::/64", "dev", "eth0", "metric", 1, "mtu", MTU)
            self.rewriters.append(Rewriter(namespace, "rewrites", wire, to_wire, self.to_host))
        blocks = [Host(name, lab.certificates[name], addresses=((FAR4, FAR6),), on_vlan=False) for name in self.hosts]
        self.nginx = Nginx(self.far, lab.folder / "nginx-far", blocks)
        self.client = Client(SimpleNamespace(client=self.near), lab.trust)
        self.client.port = lab.client.port  # one row of ports, as eve.json is asked for them

    def __exit__(self, *_):
        if self.nginx:
            self.nginx.stop()
        for rewriter in self.rewriters:
            rewriter.stop()
        for namespace in (self.lab.network.client, self.lab.network.server):
            run(["ip", "-n", namespace.name, "link", "del", "rewrites"], check=False)
        for host in (self.near, self.far):
            delete_namespace(host.name)

"""The network of the fleet's lab.

    clients ─── inner router ─┬─ engine 1 ─┬─ outer router ─── server
    10.210.0.0/24             ├─ engine 2 ─┤                   10.220.0.2
                              └─ engine 3 ─┘
                         10.211.0.0/30 ... 10.213.0.0/30         etcd: 10.230.0.254, on a bridge with all engines

Both routers have one route with three next hops in the same order, and hash addresses and ports. Linux gives both directions of a
connection the same hash, so they take the same segment.
"""

import os
import socket
import threading
import time

from ..net import Namespace, _cable, delete_namespace
from ..shell import Failed, run

ENGINES = (1, 2, 3)
CLIENTS = [f"10.210.0.{n}" for n in range(1, 101)]
SERVER = "10.220.0.2"
# Of servers that are costly to verify: an address of their own, as others behind it would count as such.
COSTLY_SERVER = "10.220.0.3"
ETCD = "10.230.0.254"
# Of the group of next hops, and of that of one engine.
GROUP = 10
# What BFD would be asked for: five probes lost at 100 ms (RFC 5880, 6.8.4). Three are lost by a machine of two cores alone.
INTERVAL, MULTIPLIER = 0.1, 5
# UDP port of BFD for one hop (RFC 5881, 4).
PROBE = 3784


class Segment:
    """The wire of one engine, and the namespace that the engine runs in."""

    def __init__(self, prefix, number):
        self.number = number
        self.middle = Namespace(f"{prefix}-engine{number}")
        self.inner, self.outer = f"10.21{number}.0.1", f"10.21{number}.0.2"
        self.port = f"segment{number}"
        self.address = f"10.230.0.{number}"


class FleetNetwork:
    """`build` makes the namespaces, `remove` takes them away with all that runs inside."""

    def __init__(self):
        prefix = f"wg-{os.getpid()}"
        self.client, self.inner = Namespace(f"{prefix}-client"), Namespace(f"{prefix}-inner")
        self.outer, self.server = Namespace(f"{prefix}-outer"), Namespace(f"{prefix}-server")
        self.etcd = Namespace(f"{prefix}-etcd")
        self.segments = [Segment(prefix, number) for number in ENGINES]

    def build(self):
        """Namespaces, cables, addresses, routes."""
        for namespace in self._all():
            run(["ip", "netns", "add", namespace.name])
            namespace.ip("link", "set", "lo", "up")
            namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        _cable(self.inner, "lan", self.client, "lan")
        _cable(self.outer, "wan", self.server, "wan")
        for number, address in enumerate(CLIENTS):
            self.client.ip("addr", "add", f"{address}/24", "dev", "lan", *(["noprefixroute"] if number else []))
        self.inner.ip("addr", "add", "10.210.0.254/24", "dev", "lan")
        self.outer.ip("addr", "add", "10.220.0.254/24", "dev", "wan")
        self.server.ip("addr", "add", f"{SERVER}/24", "dev", "wan")
        self.server.ip("addr", "add", f"{COSTLY_SERVER}/24", "dev", "wan")
        self.client.ip("route", "add", "default", "via", "10.210.0.254")
        self.server.ip("route", "add", "default", "via", "10.220.0.254")
        for each in self.segments:
            _cable(each.middle, "inside", self.inner, each.port)
            _cable(each.middle, "outside", self.outer, each.port)
            self.inner.ip("addr", "add", f"{each.inner}/30", "dev", each.port)
            self.outer.ip("addr", "add", f"{each.outer}/30", "dev", each.port)
            self._next_hop(self.inner, each)
            self._next_hop(self.outer, each)
        for router, there in ((self.inner, "10.220.0.0/24"), (self.outer, "10.210.0.0/24")):
            # Policy 1 (layer 4) takes the hash that a NIC or a local socket has put at the packet, and that is another one for each direction.
            # Policy 3 hashes what is asked for by itself: addresses, protocol and ports.
            settings = ["net.ipv4.ip_forward=1", "net.ipv4.fib_multipath_hash_policy=3", "net.ipv4.fib_multipath_hash_fields=0x37"]
            router.run("sysctl", "-qw", *settings)
            # Kernels from 6.11 on; those before have one seed for all namespaces of a machine, and other routers need another one.
            router.run("sysctl", "-qw", "net.ipv4.fib_multipath_hash_seed=4711", check=False)
            router.ip("nexthop", "add", "id", GROUP, "group", "/".join(map(str, ENGINES)))
            router.ip("route", "add", there, "nhid", GROUP)
        self._build_management()

    def next_hops(self, router, engines):
        """The router spreads connections over these engines, in this order."""
        for each in self.segments:
            if each.number in engines:
                self._next_hop(router, each)
        router.ip("nexthop", "replace", "id", GROUP, "group", "/".join(map(str, engines)))

    def _next_hop(self, router, segment):
        # Linux forgets it when its link is lost, so it is made anew.
        neighbour = segment.outer if router is self.inner else segment.inner
        router.ip("nexthop", "replace", "id", segment.number, "via", neighbour, "dev", segment.port)

    def management(self, segment, up):
        """Joins an engine with etcd, or parts both."""
        self.etcd.ip("link", "set", segment.port, "up" if up else "down")

    def _build_management(self):
        self.etcd.ip("link", "add", "engines", "type", "bridge")
        self.etcd.ip("addr", "add", f"{ETCD}/24", "dev", "engines")
        self.etcd.ip("link", "set", "engines", "up")
        for each in self.segments:
            _cable(each.middle, "management", self.etcd, each.port)
            self.etcd.ip("link", "set", each.port, "master", "engines")
            each.middle.ip("addr", "add", f"{each.address}/24", "dev", "management")

    def remove(self):
        """Safe to call at any time, and twice."""
        for namespace in self._all():
            delete_namespace(namespace.name)

    def _all(self):
        return (self.client, self.inner, self.outer, self.server, self.etcd, *(each.middle for each in self.segments))


class Probes(threading.Thread):
    """What BFD does on the routers: a segment through which nothing comes any more is no next hop, and is one again when it is back."""

    def __init__(self, network):
        super().__init__(daemon=True)
        self.network = network
        self.over = threading.Event()
        # Engines, in order, that both routers have as next hops. None is left when all are gone: then nothing is changed.
        self.alive = list(ENGINES)
        # (when, engines) of each change.
        self.changes = []
        self._ends = []
        for each in network.segments:
            inner, outer = (router.socket(kind=socket.SOCK_DGRAM) for router in (network.inner, network.outer))
            inner.bind((each.inner, PROBE))
            outer.bind((each.outer, PROBE))
            for end in (inner, outer):
                end.setblocking(False)
            self._ends.append((each, inner, outer))

    def run(self):
        missed = dict.fromkeys(ENGINES, 0)
        while not self.over.wait(INTERVAL):
            for each, inner, outer in self._ends:
                heard = self._heard(inner) & self._heard(outer)
                missed[each.number] = 0 if heard else missed[each.number] + 1
                self._say(inner, each.outer)
                self._say(outer, each.inner)
            alive = [number for number in ENGINES if missed[number] < MULTIPLIER]
            if alive and alive != self.alive:
                try:
                    for router in (self.network.inner, self.network.outer):
                        self.network.next_hops(router, alive)
                except Failed:
                    # A link that was lost just now: its probes are missed soon.
                    continue
                self.alive = alive
                self.changes.append((time.monotonic(), alive))

    def stop(self):
        """Ends it."""
        self.over.set()
        self.join(5)
        for _, inner, outer in self._ends:
            inner.close()
            outer.close()

    @staticmethod
    def _say(end, to):
        try:
            end.sendto(b"probe", (to, PROBE))
        except OSError:
            # No neighbour, or no link: the other end misses it.
            pass

    @staticmethod
    def _heard(end):
        heard = False
        while True:
            try:
                end.recv(64)
                heard = True
            except OSError:
                return heard

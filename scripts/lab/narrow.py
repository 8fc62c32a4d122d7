"""Links behind the engine that carry less than both ends think, on both sides.

    near ──1400── client | the wire | server ──1300── far

The namespaces that were the ends are routers now, and real kernels: they say what fits, or are told to say nothing.
"""

import re
from types import SimpleNamespace

from .clients import Client
from .net import CLIENT4, CLIENT6, OFFLOADS, SERVER4, SERVER6, Namespace
from .nginx import Host, Nginx
from .shell import run

NEAR_MTU, FAR_MTU = 1400, 1300
NEAR4, NEAR6 = "10.205.0.2", "fd00:205::2"
FAR4, FAR6 = "10.204.0.2", "fd00:204::2"
_ROUTER = {NEAR4: ("10.205.0.1", "fd00:205::1"), FAR4: ("10.204.0.1", "fd00:204::1")}
# What a kernel says when a packet does not fit, before it leaves.
_SILENCE = """
table inet silence {
  chain output {
    type filter hook output priority 0;
    icmp type destination-unreachable counter drop
    icmpv6 type packet-too-big counter drop
  }
}
"""


class Narrow:
    """Context manager. `silent`: the routers' ICMP errors are dropped, so that the links are black holes."""

    def __init__(self, lab, hosts, silent=False):
        self.lab = lab
        self.hosts = hosts
        self.silent = silent
        prefix = lab.network.client.name.rsplit("-", 1)[0]
        self.near, self.far = Namespace(f"{prefix}-near"), Namespace(f"{prefix}-far")
        self.nginx = None

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self):
        network, lab = self.lab.network, self.lab
        self._behind(network.client, self.near, NEAR4, NEAR6, NEAR_MTU)
        self._behind(network.server, self.far, FAR4, FAR6, FAR_MTU)
        for router, other, net4, net6 in ((network.client, (SERVER4, SERVER6), "10.204.0.0/24", "fd00:204::/64"),
                                          (network.server, (CLIENT4, CLIENT6), "10.205.0.0/24", "fd00:205::/64")):
            router.ip("route", "add", net4, "via", other[0])
            router.ip("-6", "route", "add", net6, "via", other[1])
            if self.silent:
                router.run("nft", "-f", "-", stdin=_SILENCE.encode())
        blocks = [Host(name, lab.certificates[name], addresses=((FAR4, FAR6),), on_vlan=False) for name in self.hosts]
        self.nginx = Nginx(self.far, lab.folder / "nginx-far", blocks)
        self.client = Client(SimpleNamespace(client=self.near), lab.trust)
        self.client.port = lab.client.port  # one row of ports, as eve.json is asked for them

    def _behind(self, router, host, v4, v6, mtu):
        """A host behind a router. Its own packets are as small as its link; what it says of itself in a SYN is not."""
        run(["ip", "netns", "add", host.name])
        host.ip("link", "set", "lo", "up")
        run(["ip", "-n", router.name, "link", "add", "narrow", "type", "veth", "peer", "name", "narrow",
             "netns", host.name])
        for namespace in (router, host):
            for offload in OFFLOADS:
                namespace.run("ethtool", "-K", "narrow", offload, "off", check=False)
            namespace.ip("link", "set", "narrow", "up")
        gate4, gate6 = _ROUTER[v4]
        for namespace, own4, own6 in ((router, gate4, gate6), (host, v4, v6)):
            namespace.ip("addr", "add", f"{own4}/24", "dev", "narrow")
            namespace.ip("addr", "add", f"{own6}/64", "dev", "narrow", "nodad")
        router.ip("link", "set", "narrow", "mtu", mtu)
        host.ip("route", "add", "default", "via", gate4, "mtu", mtu, "advmss", 1460)
        host.ip("-6", "route", "add", "default", "via", gate6, "mtu", mtu, "advmss", 1440)
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def __exit__(self, *_):
        if self.nginx:
            self.nginx.stop()
        for router in (self.lab.network.client, self.lab.network.server):
            run(["ip", "-n", router.name, "link", "del", "narrow"], check=False)
            router.run("nft", "delete", "table", "inet", "silence", check=False)
            router.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", check=False)
            for net in ("10.204.0.0/24", "10.205.0.0/24"):
                run(["ip", "-n", router.name, "route", "del", net], check=False)
            for net in ("fd00:204::/64", "fd00:205::/64"):
                run(["ip", "-n", router.name, "-6", "route", "del", net], check=False)
        for namespace in (self.near, self.far):
            run(["ip", "netns", "del", namespace.name], check=False)

    def silenced(self):
        """ICMP errors that the routers were kept from sending."""
        said = [router.run("nft", "list", "table", "inet", "silence").stdout.decode()
                for router in (self.lab.network.client, self.lab.network.server)]
        return sum(int(count) for text in said for count in re.findall(r"packets (\d+)", text))

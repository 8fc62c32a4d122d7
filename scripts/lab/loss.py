"""A wire that loses frames: at random, in both directions, on both sides of what sits in the middle."""

from .shell import run


class Loss:
    """Context manager: `percent` of the frames are lost on each of the four ways (to and from client and server).

    A classic BPF program draws a random number for each frame and redirects the unlucky ones into a port that leads
    nowhere. Dropping them in a filter would tell the sender's TCP at once; the sender of a redirected frame believes it
    sent. (netem would do it too, where the kernel has it.)
    """

    def __init__(self, network, percent):
        self.ways = [(namespace, port, way) for namespace, port in ((network.client, "lan"), (network.server, "wan"))
                     for way in ("egress", "ingress")]
        self.program = ("5,"
                        "32 0 0 4294963256,"         # A = random: offset SKF_AD_OFF + SKF_AD_RANDOM
                        "148 0 0 100,"               # A = A % 100
                        f"53 1 0 {percent},"         # A >= percent: skip the next
                        "6 0 0 4294967295,"          # match
                        "6 0 0 0")                   # no match

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self):
        for namespace, port, way in self.ways:
            hole, end = f"hole-{way}", f"end-{way}"
            namespace.ip("link", "add", hole, "type", "veth", "peer", "name", end)
            for each in (hole, end):
                namespace.run("sysctl", "-qw", f"net.ipv6.conf.{each}.disable_ipv6=1")
                namespace.ip("link", "set", each, "up")
            if way == "egress":
                run(["tc", "-n", namespace.name, "qdisc", "add", "dev", port, "clsact"])
                # One segment at a time: the filter stands before the kernel cuts its 64 KB batches into frames.
                namespace.ip("link", "set", port, "gso_max_segs", 1)
            run(["tc", "-n", namespace.name, "filter", "add", "dev", port, way, "bpf", "bytecode", self.program,
                 "action", "mirred", "egress", "redirect", "dev", hole])

    def __exit__(self, *_):
        for namespace, port, way in self.ways:
            run(["tc", "-n", namespace.name, "qdisc", "del", "dev", port, "clsact"], check=False)
            run(["ip", "-n", namespace.name, "link", "set", port, "gso_max_segs", 65535], check=False)
            run(["ip", "-n", namespace.name, "link", "del", f"hole-{way}"], check=False)

    def lost(self):
        """Frames lost so far, by way, from the point of view of the end ("lan egress": sent by the client)."""
        return {f"{port} {way}": int(namespace.run("cat", f"/sys/class/net/hole-{way}/statistics/tx_packets").stdout)
                for namespace, port, way in self.ways}

"""Loss on one side of the middle, in the direction of the data, by nftables."""

from ..shell import run

_RULES = """
table netdev loss {{
  chain lose {{
    type filter hook {hook} device "{port}" priority 0
    numgen random mod 100000 < {parts} counter {verdict}
  }}
}}
"""
HOLE = "hole"


class Loss:
    """Context manager: `percent` of the frames between one host and the middle are lost on `route`."""

    def __init__(self, bed, route, side, direction, percent):
        self.host, self.port = ((bed.client, route.client_port) if side == "client" else (bed.server, route.server_port))
        receives = (side == "client") == (direction == "down")
        # What a filter drops on the way out its sender's TCP is told of at once. Sent into a hole it looks lost on the way.
        self.hook, self.verdict = ("ingress", "drop") if receives else ("egress", f'fwd to "{HOLE}"')
        self.parts = round(percent * 1000)

    def __enter__(self):
        if self.parts:
            if self.hook == "egress":
                self._open_hole()
            self.host.run("nft", "-f", "-", stdin=_RULES.format(
                hook=self.hook, port=self.port, parts=self.parts, verdict=self.verdict).encode())
        return self

    def __exit__(self, *_):
        if self.parts:
            run(self.host.argv("nft", "delete", "table", "netdev", "loss"), check=False)
            if self.hook == "egress":
                self.host.ip("link", "set", self.port, "gso_max_segs", 65535)

    def _open_hole(self):
        # The hook stands before the kernel cuts its batches of up to 64 KB into frames: one segment at a time.
        self.host.ip("link", "set", self.port, "gso_max_segs", 1)
        if self.host.run("ip", "link", "show", HOLE, check=False).returncode != 0:
            self.host.ip("link", "add", HOLE, "type", "veth", "peer", "name", "bottom")
            for end in (HOLE, "bottom"):
                self.host.ip("link", "set", end, "up")

    def lost(self):
        """Frames lost so far."""
        if not self.parts:
            return 0
        words = self.host.run("nft", "list", "table", "netdev", "loss").stdout.decode().split()
        return int(words[words.index("packets") + 1])

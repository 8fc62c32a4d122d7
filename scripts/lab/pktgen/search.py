"""The search for the highest rate without loss (RFC 2544 26.1), by frame size."""

import time
from dataclasses import asdict, dataclass, field

from ..net import OFFLOADS
from . import frames
from .bed import counter, mac
from .sender import flowgen, generator, pktgen, sent

# How often a rate is tried before its loss counts: other programs on the machine lose frames, too.
TRIES = 2
TRIALS = 10
# The server's interface takes what is for another host and drops it: nothing comes back.
NOBODY = "02:00:00:00:00:99"


@dataclass
class Trial:
    """One rate, for some seconds; None: as fast as it goes."""

    asked: float | None
    seconds: float
    sent: int
    received: int

    @property
    def offered(self):
        """Frames in a second, as they were sent."""
        return self.sent / self.seconds

    def lossless(self, allowed):
        """Whether no larger share than `allowed` was lost."""
        return self.sent > 0 and self.sent - self.received <= self.sent * allowed


@dataclass
class Rate:
    """A line of the table."""

    path: str
    size: int
    # testpmd's flowgen, which no rate holds back.
    flat_out: Trial | None = None
    trials: list = field(default_factory=list)
    best: Trial | None = None

    def take(self, tried, allowed):
        """One more trial. Returns whether it was lossless."""
        self.trials.append(tried)
        good = tried.lossless(allowed)
        if good and (not self.best or tried.offered > self.best.offered):
            self.best = tried
        return good

    @property
    def fps(self):
        """Frames in a second without loss."""
        return self.best.offered if self.best else 0

    @property
    def sender_limited(self):
        """Whether the best rate is all that the generator could do, or was given the time to do: the path may carry more."""
        return bool(self.best) and (self.best.asked is None or self.best.offered < 0.9 * self.best.asked)

    @property
    def mbits(self):
        """Of frames, without preamble and gap."""
        return self.fps * self.size * 8 / 1e6

    def as_json(self):
        """All trials of it."""
        return {**asdict(self), "lossless_fps": self.fps, "sender_limited": self.sender_limited, "mbits": self.mbits}


class Search:
    """Searches over one path of a bed."""

    def __init__(self, bed, route, options):
        self.bed, self.route, self.options = bed, route, options
        self.ends = frames.Ends(mac(bed.client, route.client_port), NOBODY, route.server_address)

    def size(self, size):
        """As fast as it goes first, then by halves between what was lossless and what was not, until they are as near as `resolution`."""
        options, result = self.options, Rate(self.route.name, size)
        pcap = self.bed.folder / f"{size}.pcap"
        frames.write_pcap(pcap, frames.forwarded(self.ends, size, options.frames))
        self.route.wake()
        try:
            # Flows and caches: not part of any trial.
            self._trial(pcap, 5000, 0.2)
            if options.only_rate:
                self._tried(result, pcap, options.only_rate)
                return result
            result.flat_out = self._flat_out(size)
            if self._tried(result, pcap, None):
                return result
            low, high = 0.0, max(trial.offered for trial in result.trials)
            guess = high * 0.95
            while len(result.trials) < TRIALS and high - low > options.resolution * high:
                if self._tried(result, pcap, guess):
                    low = guess
                else:
                    high = guess
                guess = (low + high) / 2
            return result
        finally:
            self.route.rest()

    def with_pktgen(self):
        """All sizes, by scripts/pktgen/rfc2544.lua, which needs both ends."""
        bed, route, options = self.bed, self.route, self.options
        bed.server.ip("link", "set", route.server_port, "netns", bed.client.name)
        for offload in OFFLOADS:
            bed.client.run("ethtool", "-K", route.server_port, offload, "off", check=False)
        bed.client.ip("link", "set", route.server_port, "up")
        route.wake()
        try:
            sender = pktgen(bed, options.pktgen, "rfc2544.lua", (route.client_port, route.server_port), {
                "SIZES": " ".join(map(str, options.sizes)), "SECONDS": options.seconds, "RESOLUTION": options.resolution,
                "LOSS": options.loss, "TARGET_MAC": NOBODY, "TARGET": route.server_address, "PROTOCOL": options.frames,
                "RATE": options.only_rate or 0})
            told = sender.wait((options.seconds + 4) * (TRIALS + TRIES) * len(options.sizes) + 60)
        finally:
            route.rest()
        results = {size: Rate(route.name, size) for size in options.sizes}
        for line in told.splitlines():
            if line.startswith("trial "):
                size, asked, seconds, gone, come = map(float, line.split()[1:])
                results[int(size)].take(Trial(asked or None, seconds, int(gone), int(come)), options.loss)
        return list(results.values())

    def _tried(self, result, pcap, rate):
        for _ in range(TRIES + bool(self.options.only_rate)):
            if result.take(self._trial(pcap, rate, self.options.seconds), self.options.loss):
                return True
        return False

    def _trial(self, pcap, rate, seconds):
        before = self._received()
        gone, took = sent(generator(self.bed, self.route.client_port, pcap, rate, seconds).wait(seconds + 20))
        time.sleep(0.2)
        return Trial(rate, took, gone, self._received() - before)

    def _flat_out(self, size):
        port = self.route.client_port
        before, gone = self._received(), counter(self.bed.client, port, "tx_packets")
        sender, began = flowgen(self.bed, port, size - frames.FCS, NOBODY), time.monotonic()
        time.sleep(self.options.seconds)
        sender.stop()
        took = time.monotonic() - began
        time.sleep(0.2)
        return Trial(None, took, counter(self.bed.client, port, "tx_packets") - gone, self._received() - before)

    def _received(self):
        return counter(self.bed.server, self.route.server_port, "rx_packets")

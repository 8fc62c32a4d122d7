"""A line with a delay, a rate and a queue: python3 -m lab.goodput.relay PORT PORT ONE_WAY_MS MBITS

Each frame leaves the other port that much later than it came. Where the rate is not 0, frames follow each other no faster than
that, and those that find more than QUEUE bytes waiting are dropped, as at a router. (netem does it where the kernel has it.)
"""

import select
import socket
import sys
import time
from collections import deque

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
QUEUE = 400_000
# Frames taken from one port before the other one has its turn.
BURST = 64


class Way:
    """One direction."""

    def __init__(self, source, target, delay, seconds_per_byte):
        self.source, self.target = source, target
        self.delay, self.seconds_per_byte = delay, seconds_per_byte
        self.free_at = 0.0
        self.waiting = deque()
        self.dropped = 0

    def take(self):
        """Reads what has arrived."""
        for _ in range(BURST):
            try:
                frame = self.source.recv(2048)
            except BlockingIOError:
                return
            now = time.monotonic()
            starts = max(self.free_at, now)
            if (starts - now) > QUEUE * self.seconds_per_byte > 0:
                self.dropped += 1
                continue
            self.free_at = starts + len(frame) * self.seconds_per_byte
            self.waiting.append((self.free_at + self.delay, frame))

    def give(self):
        """Sends what is due. Returns when the next frame is, or None."""
        waiting, now = self.waiting, time.monotonic()
        while waiting:
            if waiting[0][0] > now:
                return waiting[0][0]
            try:
                self.target.send(waiting.popleft()[1])
            except OSError:
                self.dropped += 1
        return None


def port(name):
    """A raw socket on an interface."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    wire.bind((name, ETH_P_ALL))
    wire.setblocking(False)
    return wire


def main():
    """Runs until it is killed."""
    one, other = port(sys.argv[1]), port(sys.argv[2])
    delay, mbits = float(sys.argv[3]) / 1000, float(sys.argv[4])
    seconds_per_byte = 8 / (mbits * 1e6) if mbits else 0.0
    ways = (Way(one, other, delay, seconds_per_byte), Way(other, one, delay, seconds_per_byte))
    # select, as poll and epoll count in milliseconds.
    arrivals = {way.source: way for way in ways}
    print("relaying", flush=True)
    while True:
        due = [at for way in ways if (at := way.give()) is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for source in select.select(arrivals, (), (), wait)[0]:
            arrivals[source].take()


if __name__ == "__main__":
    main()

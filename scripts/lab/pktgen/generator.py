"""The project's own generator: sends the frames of a capture file round and round into an interface, at a rate.

    python3 -m lab.pktgen.generator INTERFACE FILE FRAMES_PER_SECOND SECONDS

A rate of 0: as fast as it goes. Says "sending", and at the end "sent FRAMES SECONDS". Frames whose time has passed are sent at once, but
no more than BURST in a row: half of what the rings of the path hold. They go into a ring that the kernel sends from, past the queueing
discipline, as DPDK's net_af_packet does it (packet(7), linux/if_packet.h).
"""

import itertools
import mmap
import socket
import struct
import sys
import time

from .frames import read_pcap

BURST = 1024
# Frames for one system call.
CALL = 32
SLOT, SLOTS = 2048, 1024
SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_QDISC_BYPASS = 263, 10, 13, 20
TPACKET_V2, SEND_REQUEST, SENDING = 1, 1, 2
# Of a slot: what tpacket2_hdr takes.
DATA = 32


class Ring:
    """A packet socket's ring of frames to send."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        for option, value in ((PACKET_VERSION, TPACKET_V2), (PACKET_QDISC_BYPASS, 1),
                              (PACKET_TX_RING, struct.pack("=4I", mmap.PAGESIZE, SLOT * SLOTS // mmap.PAGESIZE, SLOT, SLOTS))):
            self.socket.setsockopt(SOL_PACKET, option, value)
        self.socket.bind((port, 0))
        self.memory = mmap.mmap(self.socket.fileno(), SLOT * SLOTS)
        self.place = 0

    def send(self, frames):
        """Sends them, and waits for room if there is none."""
        for frame in frames:
            place = self.place
            while struct.unpack_from("=I", self.memory, place)[0] & (SEND_REQUEST | SENDING):
                self.flush()
            self.memory[place + DATA:place + DATA + len(frame)] = frame
            struct.pack_into("=II", self.memory, place, SEND_REQUEST, len(frame))
            self.place = (place + SLOT) % (SLOT * SLOTS)
        self.socket.send(b"", socket.MSG_DONTWAIT)

    def flush(self):
        """Waits until all has left."""
        self.socket.send(b"")


def main():
    """Sends, and tells how much it was."""
    port, file, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    ring, frames = Ring(port), itertools.cycle(read_pcap(file))
    print("sending", flush=True)
    sent, count = 0, CALL
    due = at = began = time.perf_counter()
    while at < began + seconds:
        if rate:
            due = max(due, at - BURST / rate)
            count = min(int((at - due) * rate), CALL)
            due += count / rate
        if count:
            ring.send(itertools.islice(frames, count))
            sent += count
        else:
            # Some 50 microseconds at least: the hosts share the core.
            time.sleep(1 / rate)
        at = time.perf_counter()
    ring.flush()
    print("sent", sent, f"{at - began:.4f}", flush=True)


if __name__ == "__main__":
    main()

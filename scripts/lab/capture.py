"""Frames as tcpdump saw them on one end of the wire."""

import re
import signal
import struct
from pathlib import Path

from .shell import Failed, Process, wait_for


class Capture:
    """Context manager: tcpdump on a port of a namespace, for one TCP port number. `frames` is there after the end."""

    def __init__(self, namespace, port, tcp_port, folder: Path):
        self.file = folder / f"{namespace.name}-{tcp_port}.pcap"
        self.log = folder / f"{namespace.name}-{tcp_port}.tcpdump"
        # A tagged frame is found only with the `vlan` keyword, which shifts the offsets for what stands behind it.
        wanted = f"tcp port {tcp_port} or (vlan and tcp port {tcp_port})"
        self.argv = namespace.argv("tcpdump", "-Z", "root", "--immediate-mode", "-U", "-s", "0", "-ni", port,
                                   "-w", self.file, wanted)
        self.process = None

    def __enter__(self):
        # What an earlier one has left would pass for this one's.
        for left in (self.file, self.log):
            left.unlink(missing_ok=True)
        self.process = Process(self.argv, self.log, "tcpdump")
        self.process.wait_text("listening on", 10)
        return self

    def __exit__(self, *_):
        self.process.stop(signal.SIGINT)

    def frames(self):
        """The captured Ethernet frames, in order."""
        if re.search(r"[1-9]\d* packets? dropped by kernel", self.process.text()):
            raise Failed("tcpdump lost frames")
        return read_pcap(self.file)

    def wait_frames(self, enough, seconds=3):
        """Waits until the frames captured so far satisfy `enough(frames)`."""
        wait_for(lambda: self.file.exists() and enough(read_pcap(self.file)), seconds, "end of the connection in the capture")


def read_pcap(path: Path):
    """The packets of a little-endian pcap file; a last packet that is still being written is left out."""
    data = path.read_bytes()
    frames, offset = [], 24
    while offset + 16 <= len(data):
        (length,) = struct.unpack_from("<8xI4x", data, offset)
        frame = data[offset + 16:offset + 16 + length]
        if len(frame) < length:
            break
        frames.append(frame)
        offset += 16 + length
    return frames


def by_direction(frames):
    """Frames split by their source MAC address: within one direction the order is that of the wire."""
    split = {}
    for frame in frames:
        split.setdefault(frame[6:12], []).append(frame)
    return split

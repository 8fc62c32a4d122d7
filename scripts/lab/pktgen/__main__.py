"""Lossless rates by frame size, and floods beside TLS: `scripts/pktgen.sh` is the way in."""

import argparse
import json
import sys
import time
from pathlib import Path

from ..goodput.bed import ENGINE, ENGINE_XDP, ENGINES, without_what_is_missing
from ..lab import exit_status, on_signals_stop
from ..machine import machine
from ..net import remove_left_overs
from ..svg import Panel, bars
from . import flood, frames
from .bed import PATHS, RateBed
from .search import Search

QUICK_RATE = 2000


@exit_status
def main():
    """Returns the exit status."""
    options = _arguments()
    if options.write:
        _write(options)
        return 0
    on_signals_stop()
    remove_left_overs()
    began, rates, floods, faults = time.monotonic(), [], [], []
    if "rates" in options.trial:
        with RateBed(options.binary, options.paths) as bed:
            faults += _rates(bed, options, rates)
    if set(options.trial) & set(flood.KINDS):
        with RateBed(options.binary, options.paths) as bed:
            faults += _floods(bed, options, floods)
    if options.json:
        options.json.write_text(json.dumps({
            **machine("scripts/pktgen.sh", options.binary), "seconds": options.seconds, "loss": options.loss, "seed": options.seed,
            "rates": [each.as_json() for each in rates], "floods": [each.as_json() for each in floods]}, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(_plot(rates))
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"\n{len(rates) + len(floods) - len(faults)} passed, {len(faults)} failed, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if faults else 0


def _write(options):
    folder, source_mac, target_mac, target = options.write
    for kind in flood.KINDS:
        ends = frames.Ends(source_mac, target_mac, target)
        path, _ = flood.capture(kind, Path(folder), ends, options.seed, (frames.stranger(0)[0], flood.LIVE_PORT))
        print(path)


def _plot(rates):
    panels = [Panel(f"{size} bytes: frames a second without loss",
                    [(line.path, line.fps, line.path in ENGINES) for line in rates if line.size == size])
              for size in dict.fromkeys(line.size for line in rates)]
    return bars(panels, "net_af_packet on veth, sender and hosts on one core, the forwarder on the other: scripts/pktgen.sh")


def _rates(bed, options, lines):
    print(f"\n| path | size | lossless frames/s | Mbit/s | trials | flat out: offered, passed /s |\n{'|---' * 6}|", flush=True)
    searches = [Search(bed, route, options) for route in bed.routes]
    if options.pktgen:
        found = (line for search in searches for line in search.with_pktgen())
    else:
        found = (search.size(size) for size in options.sizes for search in searches)
    for line in found:
        lines.append(line)
        mark, flat = ">= " if line.sender_limited else "", line.flat_out
        told = f"{flat.offered:.0f}, {flat.received / flat.seconds:.0f}" if flat else ""
        print(f"| {line.path} | {line.size} | {mark}{line.fps:.0f} | {line.mbits:.0f} | {len(line.trials)} | {told} |", flush=True)
    for size in dict.fromkeys(line.size for line in lines):
        fps = {line.path: line.fps for line in lines if line.size == size}
        if fps.get(ENGINE) and ENGINE_XDP in fps:
            print(f"AF_XDP over AF_PACKET, {size} bytes: {fps[ENGINE_XDP] / fps[ENGINE]:.2f}", flush=True)
    return [f"{line.path}, {line.size} bytes: no rate without loss, down to {line.trials[-1].asked or 0:.0f} frames/s"
            for line in lines if not line.best]


def _floods(bed, options, lines):
    print("\n| path | flood | frames/s | downloads alone, Mbit/s | beside it | kept | failed | counted by the engine |\n"
          f"{'|---' * 8}|", flush=True)
    faults = []
    for kind in (each for each in flood.KINDS if each in options.trial):
        for route in bed.routes:
            line = flood.flood(bed, route, kind, options)
            lines.append(line)
            reasons = ", ".join(f"{reason.removeprefix('packet.')} {count}" for reason, count in sorted(line.counted.items()))
            print(f"| {line.path} | {kind} | {line.sent / line.seconds:.0f} | {line.alone.mbits:.0f} | {line.beside.mbits:.0f} | "
                  f"{line.kept:.0%} | {line.alone.failed + line.beside.failed} | {reasons} |", flush=True)
            if line.faults:
                faults.append(f"{line.path}, {kind}: {'; '.join(line.faults)}")
    return faults


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/pktgen.sh", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
Sends stateless load through the engine, and for comparison through testpmd's io forwarding, on the same kind of ports (net_af_packet on
veth, rings of 2048 frames). Exit status 1 if a line is red. Trials:

  rates      the highest rate without loss (RFC 2544 26.1) for each frame size: segments of 1000 TCP connections, which the engine
             follows and bypasses, since it has not seen their beginning
  syn        SYNs of 50,000 spoofed clients, beside TLS downloads on new connections; the engine's table has room for 2048 flows
  fragments  IPv4 and IPv6 fragments of segments to the intercepted port: in order, backwards, never finished, overlapping, tiny,
             repeated, too long. IPv4 fragments never reach a DPDK program behind net_af_packet: the kernel reassembles them first
  malformed  false headers, random bytes, flipped bits; and forged segments of a decrypted connection

A line of `rates` is red if no rate passes without loss. A line of a flood is red if the path dies, a download fails or keeps less than
a tenth of its goodput, the forged connection stalls, or the engine does not count a reason that it should.

The sender is the project's own generator (lab/pktgen/generator.py), which keeps a rate and counts, and beside it testpmd's flowgen at
full speed. With --pktgen, Pktgen-DPDK sends everything, with the scripts of scripts/pktgen; they also run by hand on real NICs. Known
to work: Pktgen 23.03.0 with Debian's DPDK 22.11.11 and Lua 5.4.

Senders, client and server share core 0; the forwarder has core 1. The sender's packets cost the kernel as much as the forwarder's. So
the rates compare two forwarders on such ports and show that nothing is lost; they do not say what the engine does on a NIC. `>=` means
that the generator could send no more, or had no time to.""")
    parser.add_argument("--trial", nargs="+", choices=["rates", *flood.KINDS], default=["rates", *flood.KINDS])
    parser.add_argument("--sizes", type=int, nargs="+", metavar="BYTES", help=f"frame sizes, with FCS; default: {' '.join(map(str, frames.SIZES))}")
    parser.add_argument("--frames", choices=["tcp", "udp"], default="tcp", help="frames that `rates` sends; default: tcp")
    parser.add_argument("--seconds", type=float, help="length of a trial; default: 2, with --pktgen 5, since it prepares its frames first")
    parser.add_argument("--resolution", type=float, default=0.05, help="the search ends when two rates are this close, as a share; default: 0.05")
    parser.add_argument("--loss", type=float, default=0, metavar="SHARE", help="share of lost frames that counts as no loss; default: 0")
    parser.add_argument("--flood-rate", type=float, default=10000, metavar="FRAMES",
                        help="frames per second of a flood; default: 10000; at least 2000, to fill the engine's table")
    parser.add_argument("--seed", type=int, default=2544, help="seed of the random frames; default: 2544")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--pktgen", type=Path, metavar="PROGRAM", help="send with this Pktgen-DPDK, built with -Denable_lua=true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all trials, with machine, versions and commit")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the lossless rates")
    parser.add_argument("--quick", action="store_true", help=f"only the engine, {QUICK_RATE} frames a second: only checks that it works")
    parser.add_argument("--write", nargs=4, metavar=("FOLDER", "SOURCE_MAC", "TARGET_MAC", "TARGET"),
                        help="only write the floods as capture files, with frames to the IPv4 address TARGET, for scripts/pktgen/flood.lua on real NICs")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help="engine to run, already built")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    options.paths = options.paths if options.write or options.quick else without_what_is_missing(options.paths)
    options.sizes = options.sizes or ([64, 1518] if options.quick else list(frames.SIZES))
    options.seconds = options.seconds or (5.0 if options.pktgen else 1.5 if options.quick else 2.0)
    options.only_rate = QUICK_RATE if options.quick else None
    if options.quick:
        options.flood_rate, options.paths = QUICK_RATE, [ENGINE]
    return options


if __name__ == "__main__":
    sys.exit(main())

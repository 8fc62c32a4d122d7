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
Stateless load, through the engine and through testpmd's io forwarding between the same kind of ports (net_af_packet on veth, rings of
2048 frames). Exit status 1 if anything is amiss. Trials:

  rates      the highest rate of frames that pass without loss (RFC 2544 26.1), by frame size: segments of 1000 TCP connections
             that the engine follows and, since it has not seen them begin, bypasses
  syn        SYNs of 50,000 spoofed clients beside downloads over TLS, each on a new connection; the engine's table has room for 2048
  fragments  IPv4 and IPv6 fragments of segments to the intercepted port: in order, backwards, never finished, overlapping, tiny,
             repeated, too long. IPv4 ones do not reach a DPDK program behind net_af_packet: it has the kernel put them together
  malformed  headers that lie, random bytes, flipped bits; and forged segments of a connection that is being decrypted

A line of `rates` is red if no rate passes without loss. A line of the floods is red if the path dies, a download beside the flood
fails or less than a tenth of their goodput is left, the forged connection stalls, or the engine has not counted a reason that it should.

What sends is the project's own generator (lab/pktgen/generator.py), which keeps the rate and counts; testpmd's flowgen besides, flat
out; or with --pktgen all of it is Pktgen-DPDK with the scripts of scripts/pktgen, which can be run by hand on real NICs as well.
Known to work: Pktgen 23.03.0 with Debian's DPDK 22.11.11 and Lua 5.4.

Senders, client and server share core 0, what forwards has core 1; the sender's packets cost the kernel as much as the forwarder's. So
the rates say how two forwarders compare on such ports and that nothing is lost, not what the engine does on a NIC. `>=`: the generator
could do no more, or was not given the time to.""")
    parser.add_argument("--trial", nargs="+", choices=["rates", *flood.KINDS], default=["rates", *flood.KINDS])
    parser.add_argument("--sizes", type=int, nargs="+", metavar="BYTES", help=f"with FCS; default: {' '.join(map(str, frames.SIZES))}")
    parser.add_argument("--frames", choices=["tcp", "udp"], default="tcp", help="that `rates` sends")
    parser.add_argument("--seconds", type=float, help="of a trial; default: 2; with --pktgen 5, as it fills its frames first")
    parser.add_argument("--resolution", type=float, default=0.05, help="how near two rates may be where the search ends; default: 0.05")
    parser.add_argument("--loss", type=float, default=0, metavar="SHARE", help="that counts as none; default: 0")
    parser.add_argument("--flood-rate", type=float, default=10000, metavar="FRAMES",
                        help="a second; default: 10000; at least 2000, to fill the engine's table")
    parser.add_argument("--seed", type=int, default=2544, help="of the random frames")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--pktgen", type=Path, metavar="PROGRAM", help="Pktgen-DPDK's, built with -Denable_lua=true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all trials, with machine, versions and commit")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the lossless rates")
    parser.add_argument("--quick", action="store_true", help=f"only the engine, {QUICK_RATE} frames a second: does it work at all?")
    parser.add_argument("--write", nargs=4, metavar=("FOLDER", "SOURCE_MAC", "TARGET_MAC", "TARGET"),
                        help="only write the floods' capture files, for scripts/pktgen/flood.lua on real NICs: frames to an IPv4 address")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help="an engine that is built already")
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

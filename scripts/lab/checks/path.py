"""Paths that carry less than both ends think: a router on each side says so, or says nothing. The kernels are real."""

import os
import re

from ..hosts import BYPASS, WWW
from ..narrow import FAR4, FAR6, Narrow
from ..runner import check
from ..shell import Failed
from .bulk import file_hash, intercepted

SIZE = 3_000_000


def _counters(lab):
    """What became of ICMP messages, and how many black holes were found, since the start."""
    done = lab.network.middle.run("curl", "-sS", "--max-time", 5, "http://127.0.0.1:9464/metrics")
    found = {}
    for name, labels, value in re.findall(r"^wireglass_(too_big_messages|tcp_black_holes)_total\{(.*)\} (\d+)$",
                                          done.stdout.decode(), re.M):
        reason = re.search(r'reason="too_big\.(\w+)"', labels)
        key = reason[1] if reason else name
        found[key] = found.get(key, 0) + int(value)
    return found


def _grown(lab, before):
    after = _counters(lab)
    return {key: value - before.get(key, 0) for key, value in after.items() if value > before.get(key, 0)}


def _both_ways(lab, narrow, address, judge=intercepted, host=WWW):
    """A file down and one up, through both narrow links, compared by hash."""
    source = narrow.nginx.folder / "files" / "3m"
    source.write_bytes(os.urandom(SIZE))
    down, up = lab.folder / "narrow-down", narrow.nginx.folder / "upload" / "narrow-up"
    judge(lab, narrow.client.curl(host, address, path="/files/3m", out=down, timeout=40))
    judge(lab, narrow.client.curl(host, address, "-T", source, path="/upload/narrow-up", timeout=40))
    for copy in (down, up):
        if file_hash(copy) != file_hash(source):
            raise Failed(f"{copy.name}: {copy.stat().st_size} of {SIZE} bytes, and their hash differs")
        copy.unlink()


def _told(grown):
    return ", ".join(f"{key} {value}" for key, value in sorted(grown.items()))


def _with_messages(lab, address):
    before = _counters(lab)
    with Narrow(lab, [WWW]) as narrow:
        _both_ways(lab, narrow, address)
    grown = _grown(lab, before)
    # One for each direction of a connection that carries much.
    if grown.get("lowered", 0) < 2 or grown.get("tcp_black_holes"):
        raise Failed(f"the size was not learnt from the routers: {_told(grown)}")
    return _told(grown)


def _without_messages(lab, address):
    before = _counters(lab)
    with Narrow(lab, [WWW], silent=True) as narrow:
        _both_ways(lab, narrow, address)
        silenced = narrow.silenced()
    grown = _grown(lab, before)
    if not silenced or grown.get("lowered") or grown.get("tcp_black_holes", 0) < 2:
        raise Failed(f"{silenced} messages dropped, {_told(grown)}")
    return f"{silenced} messages dropped, {_told(grown)}"


@check("path.narrow-link")
def narrow_link(lab):
    """Links of 1400 and 1300 bytes behind the wire, IPv4: what the routers say is heeded; down and up"""
    return _with_messages(lab, FAR4)


@check("path.narrow-link-ipv6")
def narrow_link_ipv6(lab):
    """The same over IPv6"""
    return _with_messages(lab, FAR6)


@check("path.black-hole")
def black_hole(lab):
    """The routers' messages are dropped: found out all the same, down and up"""
    return _without_messages(lab, FAR4)


@check("path.black-hole-ipv6")
def black_hole_ipv6(lab):
    """The same over IPv6"""
    return _without_messages(lab, FAR6)


@check("path.bypassed")
def bypassed(lab):
    """A bypassed connection's ends get the routers' messages, and heed them"""
    def untouched(lab, seen):
        if seen.exit != 0 or seen.leaf != lab.certificates[BYPASS].der:
            raise Failed(f"curl exit {seen.exit}: {seen.why}")
    before = _counters(lab)
    with Narrow(lab, [BYPASS]) as narrow:
        _both_ways(lab, narrow, FAR4, untouched, BYPASS)
    grown = _grown(lab, before)
    if grown.get("lowered"):
        raise Failed(f"a leg took what was meant for an end: {_told(grown)}")
    return _told(grown)

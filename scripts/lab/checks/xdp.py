"""AF_XDP ports on veth: `xdp:INTERFACE`, at work, refused with words, and gone without a trace."""

import functools
import signal

from ..hosts import BYPASS, TLS12, WWW
from ..net import SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6
from ..ports import AfXdp, has_xdp
from ..runner import check
from ..shell import Failed, run, wait_for
from . import bulk, wire
from .fetch import fetched

_PORTS = ("inside", "outside")


def _xdp(function):
    """With an engine, and where the kernel has AF_XDP; elsewhere a word says that it was not tried."""
    @functools.wraps(function)
    def with_xdp(lab):
        if not lab.binary:
            raise Failed("no engine in this lab")
        if not has_xdp():
            return "NOT TRIED: this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)"
        return function(lab)
    return with_xdp


def _begin(lab, name, **options):
    return lab.wire(f"xdp-{name}", kind=AfXdp, **options)


def _end(lab, engine):
    status = engine.stop()
    if status != 0 or "mbufs balanced" not in engine.log.read_text():
        raise Failed(f"stop: exit {status}, or no line `mbufs balanced`")
    if _programs(lab):
        raise Failed(f"an XDP program is left on {' '.join(_programs(lab))}")


def _programs(lab):
    """Ports that have an XDP program."""
    return [port for port in _PORTS if b"prog/xdp" in lab.network.middle.run("ip", "link", "show", "dev", port).stdout]


def _bypassed(lab, address=SERVER4):
    seen = lab.client.curl(BYPASS, address)
    if seen.exit != 0 or seen.leaf != lab.certificates[BYPASS].der:
        raise Failed(f"bypass: curl exit {seen.exit}: {seen.why or 'another certificate than the server has'}")


def _refused(lab, name, words, prefix=(), change=("", ""), **options):
    """`run` ends with 1 and these words."""
    engine = lab.engine_of(f"xdp-{name}", kind=AfXdp, **options)
    engine.config.write_text(engine.config.read_text().replace(*change))
    binary, *rest = engine.argv[engine.argv.index(lab.binary):]
    done = lab.network.middle.run(*prefix, binary, *rest, timeout=20, check=False)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode != 1 or not said or not all(word in said[-1] for word in words):
        raise Failed(f"exit {done.returncode}, said `{said[-1] if said else ''}`")
    return said[-1].removeprefix("wireglass: ")


@check("xdp.traffic", group="alone")
@_xdp
def traffic(lab):
    """Decrypted and bypassed, IPv4, IPv6, in a VLAN, TLS 1.2; full frames; frames that are no IP; native mode, nothing is left behind"""
    engine = _begin(lab, "traffic")
    for address in (SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6, TLS12[0]):
        fetched(lab, address)
    for address in (SERVER4, VLAN_SERVER6):
        _bypassed(lab, address)
    for each in (wire.ping_full_frame, wire.ping_vlan, wire.other_frames, wire.udp):
        each(lab)
    if _programs(lab) != list(_PORTS):
        raise Failed(f"native XDP programs on {_programs(lab)} only")
    _end(lab, engine)


@check("xdp.bulk", group="alone")
@_xdp
def much(lab):
    """100 MB down and up, by hash; each frame is accounted for"""
    engine = _begin(lab, "bulk")
    told = f"down {bulk.download_http1(lab)}, up {bulk.upload_http2(lab)}"
    _end(lab, engine)
    return told


@check("xdp.restart", group="alone")
@_xdp
def restart(lab):
    """Started, stopped, killed by SIGKILL, which leaves its XDP programs, and started again: they are taken over, and then gone"""
    _end(lab, _start_and_fetch(lab, "restart-1"))
    killed = _start_and_fetch(lab, "restart-2")
    killed.process.popen.send_signal(signal.SIGKILL)
    wait_for(lambda: not killed.alive(), 5, "end after SIGKILL")
    left = _programs(lab)
    _end(lab, _start_and_fetch(lab, "restart-3"))
    return f"after SIGKILL there were programs on {' '.join(left) or 'no port'}"


def _start_and_fetch(lab, name):
    engine = _begin(lab, name)
    fetched(lab, SERVER4)
    return engine


@check("xdp.reload", group="alone")
@_xdp
def reload(lab):
    """A reload while a 100 MB download runs takes the ports nothing"""
    engine = _begin(lab, "reload")
    answers = []
    command = (lab.binary, "reload", "-c", engine.config)
    lab.network.middle.run("sh", "-c", f"sleep 0.2; {' '.join(map(str, command))} > {engine.folder}/reloaded 2>&1 &")
    answers.append(bulk.download_http2(lab))
    wait_for(lambda: (engine.folder / "reloaded").read_text(), 10, "answer of `wireglass reload`")
    _bypassed(lab)
    _end(lab, engine)
    return answers[0]


@check("xdp.link", group="alone")
@_xdp
def link(lab):
    """The other end of a port goes down and comes back: two events, and traffic again; DPDK's driver says "up" all the time"""
    engine = _begin(lab, "link")
    fetched(lab, SERVER4)

    def told():
        links = [event for event in engine.eve.events() if "link" in event.get("wireglass", {})]
        return links, engine.log.read_text()
    for state, words in (("down", "link is down"), ("up", "link is up")):
        before = told()[1].count(words)
        lab.network.client.ip("link", "set", "lan", state)
        wait_for(lambda: told()[1].count(words) > before, 5, f"line `{words}`")
    # IPv6 addresses go with the link, and what hangs on it waits for its carrier.
    wait_for(lambda: lab.client.curl(WWW, SERVER4, note=False, timeout=2).exit == 0, 10, "answer after the link was back")
    lab.network.client.run("sh", "-c", "ip addr add fd00:203::1/64 dev lan nodad; ip addr add fd00:203:100::1/64 dev lan.100 nodad",
                           check=False)
    _end(lab, engine)


@check("xdp.refused", group="alone")
@_xdp
def refused(lab):
    """No such interface, too few queues, a capability that is missing, an MTU that is too large: exit 1, each with what to do"""
    _refused(lab, "nowhere", ["no interface nowhere here", "`ip link`"], change=("xdp:inside", "xdp:nowhere"))
    _refused(lab, "no-admin", ["lacks CAP_SYS_ADMIN", "CapabilityBoundingSet="], prefix=("setpriv", "--bounding-set=-sys_admin"))
    # On veth it stays so: DPDK's driver asks for "combined" queues, and veth has none.
    _refused(lab, "queues", ["xdp:inside", "1 queue(s)", "2 worker(s)", "ethtool -L inside combined 2"], cores=(0, 1))
    middle = lab.network.middle
    middle.ip("link", "set", "inside", "mtu", "9000")
    try:
        _refused(lab, "jumbo", ["MTU 9000, but AF_XDP takes 3498 at most", "af_packet:inside"])
    finally:
        middle.ip("link", "set", "inside", "mtu", "1500")
    # The kernel's own limit is the other end's MTU: nobody sees that from here, so the start says it.
    lab.network.client.ip("link", "set", "lan", "mtu", "9000")
    try:
        return _refused(lab, "jumbo-peer", ["net_af_xdp_inside", "MTU", "veth"])
    finally:
        lab.network.client.ip("link", "set", "lan", "mtu", "1500")


@check("xdp.doctor", group="alone")
@_xdp
def doctor(lab):
    """`doctor` says whether each port can be had, before it is tried"""
    engine = lab.engine_of("xdp-doctor", kind=AfXdp)
    said = lab.network.middle.run(lab.binary, "doctor", "-c", engine.config, check=False).stdout.decode()
    lines = [line for line in said.splitlines() if " xdp " in line]
    if len(lines) != 2 or not all(f"xdp:{port}: no device" in line for port, line in zip(_PORTS, lines)):
        raise Failed(f"doctor said {lines}")
    alone = run([lab.binary, "doctor"], check=False).stdout.decode()
    return next(line for line in alone.splitlines() if "AF_XDP" in line).strip()

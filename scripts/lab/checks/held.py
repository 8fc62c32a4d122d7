"""`contact = "hold"`: a forbidden server does not hear of the client."""

import time

from ..capture import Capture
from ..eve import at
from ..hosts import BLOCK_ALERT, BLOCK_PAGE, BLOCK_RESET, BYPASS, WWW
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed
from .fetch import ca_subject, fetched, issuer_of


def _forbidden(lab, host, address, reason="policy.block"):
    with Capture(lab.network.server, "wan", 443, lab.middle.folder) as capture:
        seen = lab.client.curl(host, address, "-k")
        time.sleep(0.5)
    heard = len(capture.frames())
    if heard:
        raise Failed(f"the server's side has seen {heard} packets")
    at(lab.eve.one("tls", seen.local_port), "wireglass.reason", reason)
    return f"0 packets at the server; curl exit {seen.exit}: {seen.why or seen.status}"


@check("held.alert", group="held")
def alert(lab):
    """A forbidden name: not a packet reaches the server (tcpdump there)"""
    return _forbidden(lab, BLOCK_ALERT, SERVER4)


@check("held.reset-ipv6", group="held")
def reset_ipv6(lab):
    """The same over IPv6, with a reset"""
    return _forbidden(lab, BLOCK_RESET, SERVER6)


@check("held.page", group="held")
def page(lab):
    """The same with the block page"""
    return _forbidden(lab, BLOCK_PAGE, SERVER4)


@check("held.counted", group="held")
def counted(lab):
    """What is not forbidden does reach it: the capture sees packets"""
    with Capture(lab.network.server, "wan", 443, lab.middle.folder) as capture:
        seen = lab.client.curl(WWW, SERVER4)
        capture.wait_frames(lambda frames: len(frames) >= 3)
    if seen.exit != 0:
        raise Failed(f"curl exit {seen.exit}: {seen.error[-200:]}")
    return f"{len(capture.frames())} packets"


@check("held.decrypt", group="held")
def decrypt(lab):
    """Allowed names are decrypted, over IPv4 and IPv6"""
    fetched(lab, SERVER4, host=WWW)
    return fetched(lab, SERVER6, host=WWW)


@check("held.bypass", group="held")
def bypass(lab):
    """A bypassed name is relayed: the client sees the server's own certificate"""
    seen = lab.client.curl(BYPASS, SERVER4)
    if seen.exit != 0:
        raise Failed(f"curl exit {seen.exit}: {seen.error[-200:]}")
    if issuer_of(seen.leaf) == ca_subject(lab, "trusted"):
        raise Failed("the client got a copy")
    at(lab.eve.one("tls", seen.local_port), "wireglass.action", "bypass")
    return issuer_of(seen.leaf)


@check("held.refused", group="held")
def refused(lab):
    """A server that refuses: the client is reset, with a reason of its own"""
    seen = lab.client.curl(WWW, lab.network.new_server_address())
    flow = lab.eve.one("flow", seen.local_port, seconds=12)
    return f"{at(flow, 'wireglass.reason', 'srv.refused')}; curl exit {seen.exit}"


@check("held.silent", group="held")
def silent(lab):
    """A client that says nothing is reset after hello_seconds, and the server has heard nothing"""
    with Capture(lab.network.server, "wan", 443, lab.middle.folder) as capture:
        sock, port = lab.client.connect(SERVER4, "silent", timeout=12)
        began = time.monotonic()
        with sock:
            try:
                data = sock.recv(1)
                raise Failed(f"the client got {data!r}")
            except ConnectionResetError:
                after = time.monotonic() - began
    if capture.frames():
        raise Failed(f"the server's side has seen {len(capture.frames())} packets")
    at(lab.eve.one("flow", port, seconds=12), "wireglass.reason", "hello.timeout")
    return f"RST after {after:.1f} s"

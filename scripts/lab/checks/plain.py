"""Port 443 without TLS: blocked by default, left alone with not_tls = "bypass"."""

import time

from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, banner_first, plain_echo
from ..runner import check
from ..shell import Failed
from .fetch import fetched


def _ended(sock):
    """Whether the connection is over: (True, what ended it) or (False, bytes that arrived)."""
    try:
        data = sock.recv(4096)
    except ConnectionResetError:
        return True, "RST"
    except TimeoutError:
        return False, b"(nothing, and the connection stays open)"
    return (True, "FIN") if not data else (False, data)


@check("plain.client-first-blocked")
def client_first_blocked(lab):
    """A plain HTTP request to port 443 is stopped, the server does not get it"""
    with Peer(lab.network, plain_echo) as peer:
        sock, port = lab.client.connect(peer.address, "plain request", timeout=8)
        with sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            over, how = _ended(sock)
        if peer.received:
            raise Failed(f"the server got {peer.received[:40]!r}")
        if not over:
            raise Failed(f"the client got {how[:40]!r}")
    tls = lab.eve.one("flow", port, seconds=10)
    at(tls, "wireglass.reason", "hello.not_tls")
    return f"{how}, reason hello.not_tls"


@check("plain.server-first-blocked")
def server_first_blocked(lab):
    """A server that speaks first on port 443 (as SSH does) is stopped, the client does not get it"""
    with Peer(lab.network, banner_first) as peer:
        try:
            sock, _ = lab.client.connect(peer.address, "plain banner", timeout=8)
            with sock:
                over, how = _ended(sock)
        except ConnectionResetError:
            # The banner follows the SYN-ACK so closely that the reset may be there before connect() returns.
            over, how = True, "RST"
    port, _ = lab.client.made[-1]
    if not over:
        raise Failed(f"the client got {how[:40]!r}")
    flow = lab.eve.one("flow", port, seconds=10)
    return f"{how}, reason {at(flow, 'wireglass.reason')}"


@check("plain.client-first-bypass", group="not-tls-bypass")
def client_first_bypass(lab):
    """not_tls = "bypass": a plain conversation passes, byte for byte"""
    with Peer(lab.network, plain_echo) as peer:
        sock, port = lab.client.connect(peer.address, "plain request")
        with sock:
            for line in (b"GET / HTTP/1.0\r\n\r\n", b"second", b"\x16\x03\x01 looks like TLS now"):
                sock.sendall(line)
                time.sleep(0.05)
                back = sock.recv(4096)
                if back != b"echo " + line:
                    raise Failed(f"sent {line!r}, got {back!r}")
    flow = lab.eve.one("flow", port, seconds=20)
    at(flow, "wireglass.action", "bypass")
    return f"reason {at(flow, 'wireglass.reason')}"


@check("plain.server-first-bypass", group="not-tls-bypass")
def server_first_bypass(lab):
    """not_tls = "bypass": a server that speaks first is heard"""
    with Peer(lab.network, banner_first) as peer:
        sock, _port = lab.client.connect(peer.address, "plain banner")
        with sock:
            banner = sock.recv(4096)
            if banner != b"SSH-2.0-lab\r\n":
                raise Failed(f"the client got {banner!r}")
            sock.sendall(b"SSH-2.0-client\r\n")
            time.sleep(0.3)
        if peer.received != b"SSH-2.0-client\r\n":
            raise Failed(f"the server got {peer.received!r}")


@check("plain.tls-still-decrypted", group="not-tls-bypass")
def tls_still_decrypted(lab):
    """not_tls = "bypass" changes nothing for TLS"""
    fetched(lab, SERVER4, host=WWW)

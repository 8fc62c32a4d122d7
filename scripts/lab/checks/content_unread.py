"""What cannot be read, or in two ways, is not let through: smuggling, fronting, tunnels, and readers driven off."""

import socket

from ..content import APART, TOGETHER, logged, unseen
from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, read_request
from ..runner import check
from ..shell import Failed

_HOST = f"Host: {WWW}\r\n"
# What each would smuggle: a second request, or the first one under another name.
_SMUGGLED = "GET /number/48 HTTP/1.1\r\n" + _HOST + "\r\n"
_AMBIGUOUS = {
    "length and coding": f"POST /number/90 HTTP/1.1\r\n{_HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{_SMUGGLED}",
    "two lengths": f"POST /number/90 HTTP/1.1\r\n{_HOST}Content-Length: 0\r\nContent-Length: 60\r\n\r\n{_SMUGGLED}",
    "length is no number": f"POST /number/90 HTTP/1.1\r\n{_HOST}Content-Length: +0\r\n\r\n{_SMUGGLED}",
    "folded coding": f"POST /number/90 HTTP/1.1\r\n{_HOST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{_SMUGGLED}",
    "coding twice": f"POST /number/90 HTTP/1.1\r\n{_HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "space before the colon": f"POST /number/90 HTTP/1.1\r\n{_HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{_SMUGGLED}",
    "bare LF": f"GET /number/90 HTTP/1.1\n{_HOST}X: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{_SMUGGLED}",
    "bare CR": f"GET /number/90 HTTP/1.1\r\n{_HOST}X: 1\rContent-Length: 60\r\n\r\n{_SMUGGLED}",
    "NUL": f"GET /number/90 HTTP/1.1\r\n{_HOST}X: a\0b\r\n\r\n",
    "no host": "GET /number/90 HTTP/1.1\r\n\r\n",
    "two hosts": f"GET /number/90 HTTP/1.1\r\n{_HOST}Host: other.lab.test\r\n\r\n",
    "host that is none": "GET /number/90 HTTP/1.1\r\nHost: www.lab.test/x\r\n\r\n",
    "absolute form against Host": f"GET https://other.lab.test/number/90 HTTP/1.1\r\n{_HOST}\r\n",
    "Host against SNI": "GET /number/90 HTTP/1.1\r\nHost: hidden.example\r\n\r\n",
    "coding in HTTP/1.0": f"POST /number/90 HTTP/1.0\r\n{_HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{_SMUGGLED}",
}


def _said(lab, request, address=SERVER4, host=WWW):
    """Sends bytes over TLS; returns all that came back, and the client's port."""
    tls, port = lab.client.tls(host, address)
    said = b""
    try:
        tls.sendall(request.encode("latin-1") if isinstance(request, str) else request)
        # Who has answered lingers for whoever has not read yet.
        tls.settimeout(1)
        while piece := tls.recv(65536):
            said += piece
    except (OSError, ValueError):
        pass
    tls.close()
    return said, port


@check("content-unread.ambiguous", "content")
def ambiguous(lab):
    """Fifteen requests that two servers may read in two ways: refused, told, and the server has seen none of them"""
    wrong = []
    for name, request in _AMBIGUOUS.items():
        said, port = _said(lab, request)
        statuses = [line.split()[1] for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        if any(status not in (b"400", b"421") for status in statuses):
            wrong.append(f"{name}: {statuses}")
            continue
        logged(lab, port, None, "content.unparsed")
    if wrong:
        raise Failed("; ".join(wrong))
    for path in ("/number/90", "/number/48"):
        unseen(lab, path)
    return f"{len(_AMBIGUOUS)} requests"


@check("content-unread.shared", "content")
def shared(lab):
    """A second host on one connection: served, unless a [[rule]] treats it in another way; then 421, and the server sees nothing"""
    for version in ("--http1.1", "--http2"):
        seen = lab.client.curl(WWW, SERVER4, version, "-H", f"Host: {TOGETHER}", path="/number/21")
        if seen.exit != 0 or seen.status != 200:
            raise Failed(f"{version} {TOGETHER}: curl exit {seen.exit}, status {seen.status}")
        seen = lab.client.curl(WWW, SERVER4, version, "-H", f"Host: {APART}", path="/number/91")
        if seen.exit != 0 or seen.status != 421:
            raise Failed(f"{version} {APART}: curl exit {seen.exit}, status {seen.status}")
        logged(lab, seen.local_port, None, "content.unparsed")
    unseen(lab, "/number/91")


@check("content-unread.evasions", "content")
def evasions(lab):
    """A blocked path written in other ways, as nginx understands them: none is served"""
    ways = ["/number/%340", "/./number/40", "/x/../number/40", "//number/40", "/number//40", "/NUMBER/../number/40", "/number/40?x",
            f"https://{WWW}/number/40", "/%6eumber/40", "/number/40#x"]
    served = []
    for way in ways:
        said, _port = _said(lab, f"GET {way} HTTP/1.1\r\n{_HOST}Connection: close\r\n\r\n")
        if b"number 40" in said:
            served.append(way)
    if served:
        raise Failed(f"served: {served}")
    return f"{len(ways)} ways"


@check("content-unread.not-http", "content-strict")
def not_http(lab):
    """on_opaque = "block": bytes that are not HTTP do not reach the server"""
    def serve(connection, peer):
        peer.note(connection.recv(100))
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        _said(lab, b"\x00\x01\x02SSH-2.0-x\r\n" + bytes(2000), peer.address)
        peer.finished.wait(5)
    if peer.received:
        raise Failed(f"the server got {peer.received[:40]!r}")


@check("content-unread.upgrade", "content-strict")
def upgrade(lab):
    """on_opaque = "block": the tunnel after an upgrade is ended, with a reason"""
    def serve(connection, peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        peer.note(connection.recv(100))
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, port = lab.client.tls(WWW, peer.address)
        tls.sendall(f"GET /tunnel HTTP/1.1\r\n{_HOST}Upgrade: x\r\nConnection: Upgrade\r\n\r\n".encode())
        try:
            tls.recv(1000)
            tls.sendall(b"through the tunnel")
            tls.settimeout(5)
            while tls.recv(1000):
                pass
        except (OSError, socket.timeout):
            pass
        tls.close()
        peer.finished.wait(5)
    if b"tunnel" in peer.received:
        raise Failed("the tunnel's bytes reached the server")
    logged(lab, port, None, "content.opaque")


@check("content-unread.tunnel-told", "content")
def tunnel_told(lab):
    """on_opaque = "allow": the tunnel passes, with an event"""
    def serve(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        connection.sendall(b"echo " + connection.recv(100))
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, port = lab.client.tls(WWW, peer.address)
        tls.sendall(f"GET /tunnel HTTP/1.1\r\n{_HOST}Upgrade: x\r\nConnection: Upgrade\r\n\r\n".encode())
        said = tls.recv(1000)
        tls.sendall(b"through")
        while b"echo" not in said:
            piece = tls.recv(1000)
            if not piece:
                raise Failed(f"no echo: {said!r}")
            said += piece
        tls.close()
    at(logged(lab, port, None, "content.opaque", "allowed"), "alert.severity", 3)


@check("content-unread.header-table", "content")
def header_table(lab):
    """HTTP/2 bytes that no reader follows end the flow: the server sees no further request"""
    context = lab.client.context()
    context.set_alpn_protocols(["h2"])
    tls, port = lab.client.tls(WWW, SERVER4, context=context)
    # Preface, SETTINGS, then a HEADERS frame whose block is no HPACK.
    tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
                + bytes([0, 0, 3, 1, 5, 0, 0, 0, 1]) + b"\xff\xff\xff")
    try:
        while tls.recv(1000):
            pass
    except OSError:
        pass
    tls.close()
    logged(lab, port, None, "content.unparsed")

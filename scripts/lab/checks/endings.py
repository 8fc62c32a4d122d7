"""Connections that end badly on one side: the other side learns it, and nothing of them stays."""

import socket
import ssl
import struct

from ..clients import BareTls, http_get
from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, endless_response, read_request, reset_in_mid_response, silent
from ..runner import check
from ..shell import Failed, wait_for


def _flow_reason(lab, port, reasons, seconds=15):
    return at(lab.eve.one("flow", port, seconds), "wireglass.reason", reasons)


def _decrypted(lab, port):
    at(lab.eve.one("tls", port), "wireglass.action", "decrypt")


@check("end.server-resets")
def server_resets(lab):
    """The server resets in mid-response: the client gets what came before, then a reset"""
    with Peer(lab.network, reset_in_mid_response, lab.certificates[WWW]) as peer:
        seen = lab.client.curl(WWW, peer.address, "--http1.1")
    if seen.exit != 56 or "reset" not in seen.error.lower():
        raise Failed(f"curl exit {seen.exit} ({seen.why}), expected 56 and a reset")
    if len(seen.body) != 100_000:
        raise Failed(f"{len(seen.body)} of the 100000 bytes sent before the reset arrived")
    _decrypted(lab, seen.local_port)
    return _flow_reason(lab, seen.local_port, ["srv.rst"])


@check("end.client-resets")
def client_resets(lab):
    """The client resets in mid-transfer: the server's connection ends too, the flow is gone"""
    with Peer(lab.network, endless_response, lab.certificates[WWW]) as peer:
        tls, port = lab.client.tls(WWW, peer.address)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        got = 0
        while got < 1_000_000:
            got += len(tls.recv(65536))
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tls.close()
        if not peer.finished.wait(5):
            raise Failed("the server still sends 5 s after the client's reset")
        ended = peer.errors[0]
    _decrypted(lab, port)
    return f"server: {type(ended).__name__}; {_flow_reason(lab, port, ['cli.rst'])}"


@check("end.client-closes")
def client_closes(lab):
    """The client closes (FIN) in mid-transfer: the server's connection ends too"""
    with Peer(lab.network, endless_response, lab.certificates[WWW]) as peer:
        seen = lab.client.curl(WWW, peer.address, "--http1.1", "--max-time", "1.5")
        if seen.exit != 28:
            raise Failed(f"curl exit {seen.exit}: {seen.why}")
        if not peer.finished.wait(8):
            raise Failed("the server still sends 8 s after the client left")
    _decrypted(lab, seen.local_port)
    return _flow_reason(lab, seen.local_port, ["cli.rst", "cli.closed", "flow.closed"])


@check("end.server-closes")
def server_closes(lab):
    """A server that ends the connection in order: the client sees the end of data, not an error"""
    def answers(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nthe end is the length")
        connection.unwrap()
    with Peer(lab.network, answers, lab.certificates[WWW]) as peer:
        seen = lab.client.curl(WWW, peer.address, "--http1.0")
    if seen.exit != 0 or seen.body != b"the end is the length":
        raise Failed(f"curl exit {seen.exit}, body {seen.body[:60]!r}: {seen.why}")
    _decrypted(lab, seen.local_port)
    lab.client.endings[seen.local_port] = ["flow.closed"]


@check("end.close-without-notify")
def close_without_notify(lab):
    """A server that closes TCP without close_notify: the client learns that the data may be cut short"""
    def cuts(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
        connection.shutdown(socket.SHUT_RDWR)
    with Peer(lab.network, cuts, lab.certificates[WWW]) as peer:
        context = lab.client.context()
        # Python hides the difference twice unless told otherwise.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        tls, port = lab.client.tls(WWW, peer.address, context=context)
        tls.suppress_ragged_eofs = False
        try:
            http_get(tls, WWW)
            how = None
        except OSError as wrong:
            how = wrong
        finally:
            tls.close()
    if how is None:
        raise Failed("the client saw an orderly end of data")
    _decrypted(lab, port)
    return f"{type(how).__name__}"


@check("end.half-close")
def half_close(lab):
    """The client is done sending (close_notify, FIN), and still gets the server's answer"""
    def answers_after_end(connection, _peer):
        count = 0
        while piece := connection.recv(4096):
            count += len(piece)
        connection.sendall(f"got {count}".encode())
        connection.unwrap()
    with Peer(lab.network, answers_after_end, lab.certificates[WWW]) as peer:
        connection = BareTls(lab, WWW, peer.address)
        connection.send_hello()
        connection.handshake()
        connection.write(bytes(5000))
        connection.close_sending()
        answer = connection.read()
    if answer != b"got 5000":
        raise Failed(f"the client got {answer!r}")
    _decrypted(lab, connection.port)


@check("end.handshake-abandoned")
def handshake_abandoned(lab):
    """A server that never answers the ClientHello: when the client gives up, the flow and the server's connection end"""
    with Peer(lab.network, silent) as peer:
        seen = lab.client.curl(WWW, peer.address, "--max-time", "2")
        if seen.exit != 28:
            raise Failed(f"curl exit {seen.exit}: {seen.why}")
        if not peer.finished.wait(8):
            raise Failed("the server's connection is still open 8 s after the client left")
    flow = lab.eve.one("flow", seen.local_port, seconds=15)
    return f"reason {at(flow, 'wireglass.reason')}"


@check("end.port-closed")
def port_closed(lab):
    """A server port that is closed stays visibly closed"""
    sock = lab.network.client.socket()
    sock.settimeout(5)
    with sock:
        address = lab.network.new_server_address()
        try:
            sock.connect((address, 443))
        except ConnectionRefusedError:
            return "connection refused"
        except OSError as wrong:
            raise Failed(f"{wrong} instead of `connection refused`") from wrong
    raise Failed("the connection was accepted")


@check("end.untouched-neighbours")
def untouched_neighbours(lab):
    """After all these ends a new connection works"""
    tls, port = lab.client.tls(WWW, SERVER4)
    with tls:
        if b"hello from" not in http_get(tls, WWW):
            raise Failed("no answer")
    _decrypted(lab, port)

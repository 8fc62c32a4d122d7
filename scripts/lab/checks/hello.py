"""ClientHellos that do not come in one piece."""

import socket
import time

from ..clients import BareTls
from ..eve import at
from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed, wait_for
from .fetch import ca_subject, issuer_of


def _split(lab, host, address, size):
    connection = BareTls(lab, host, address)
    connection.send_hello(size)
    connection.handshake()
    connection.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = connection.read()
    if b"hello from" not in answer:
        raise Failed(f"answer {answer[:80]!r}")
    return connection, issuer_of(connection.certificate())


@check("hello.split-decrypt")
def split_decrypt(lab):
    """A ClientHello in up to ten segments is read and decrypted, over IPv4 and IPv6"""
    for address, size in ((SERVER6, 100), (SERVER4, 60)):
        connection, issuer = _split(lab, WWW, address, size)
        if issuer != ca_subject(lab):
            raise Failed(f"not decrypted: certificate from `{issuer}`")
    return f"{connection.pieces} segments"


@check("hello.split-bypass")
def split_bypass(lab):
    """A ClientHello in up to ten segments is held, then bypassed"""
    connection, issuer = _split(lab, BYPASS, SERVER4, 60)
    if "Lab Public Issuer" not in issuer:
        raise Failed(f"not bypassed: certificate from `{issuer}`")
    at(lab.eve.one("tls", connection.port), "wireglass.action", "bypass")
    return f"{connection.pieces} segments"


@check("hello.split-block")
def split_block(lab):
    """A ClientHello in up to ten segments does not get around a block rule"""
    try:
        _split(lab, BLOCK_ALERT, SERVER4, 60)
    except OSError as refused:
        if lab.nginx.requests(BLOCK_ALERT):
            raise Failed("the request reached the server") from None
        return f"refused: {refused}"[:80]
    raise Failed("the client was served")


@check("hello.split-to-bytes")
def split_to_bytes(lab):
    """A ClientHello in segments of one byte is decrypted or refused, never passed unread"""
    # While the engine listens it acknowledges nothing, so that it can still let go; a client sends ten segments without
    # an acknowledgement (RFC 6928) and then waits. hello_seconds ends that.
    before = len(lab.nginx.requests(WWW))
    try:
        connection, issuer = _split(lab, WWW, SERVER4, 1)
    except OSError as refused:
        if len(lab.nginx.requests(WWW)) != before:
            raise Failed("the request reached the server, the answer did not come") from None
        return f"refused: {refused}"
    if issuer != ca_subject(lab):
        raise Failed(f"passed unread: certificate from `{issuer}`")
    return f"decrypted, {connection.pieces} segments"


@check("hello.never-complete")
def never_complete(lab):
    """Half a ClientHello, then silence: the flow is gone after hello_seconds (5)"""
    sock, port = lab.client.connect(SERVER4, "half a hello")
    with sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        began = time.monotonic()
        flow = lab.eve.one("flow", port, seconds=9)
        took = time.monotonic() - began
        at(flow, "wireglass.reason", "hello.timeout")
        if took < 4:
            raise Failed(f"given up after {took:.1f} s already")
        return f"hello.timeout after {took:.1f} s; the client sees {_end_of(sock)}"


@check("hello.client-leaves")
def client_leaves(lab):
    """A client that leaves in the middle of its ClientHello: the flow ends at once"""
    sock, port = lab.client.connect(SERVER4, "left in hello")
    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
    time.sleep(0.1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
    flow = wait_for(lambda: lab.eve.of("flow", port), 3, "flow event after the client's RST")[0]
    return f"reason {at(flow, 'wireglass.reason', 'cli.rst')}"


def _end_of(sock):
    sock.settimeout(3)
    try:
        data = sock.recv(4096)
        return f"{len(data)} bytes" if data else "FIN"
    except ConnectionResetError:
        return "RST"
    except TimeoutError:
        return "nothing"

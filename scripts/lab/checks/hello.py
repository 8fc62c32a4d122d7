"""ClientHellos that do not come in one piece."""

import socket
import ssl
import time

from ..eve import at
from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed, wait_for
from .fetch import ca_subject, issuer_of


class SlowHello:
    """TLS over a TCP connection with the ClientHello sent in pieces of `size` bytes, each a segment of its own."""

    def __init__(self, lab, host, address, size, pause=0.0005):
        context = lab.client.context()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.sock, self.port = lab.client.connect(address, f"python split {host}")
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._step(self.tls.do_handshake)
        hello = self.outgoing.read()
        self.pieces = 0
        for start in range(0, len(hello), size):
            self.sock.sendall(hello[start:start + size])
            self.pieces += 1
            time.sleep(pause)

    def get(self, host):
        """Ends the handshake, sends a request, returns (answer, certificate)."""
        self._until(self.tls.do_handshake)
        certificate = self.tls.getpeercert(True)
        self.tls.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = self._until(lambda: self.tls.read(65536))
        self.sock.close()
        return answer, certificate

    @staticmethod
    def _step(action):
        try:
            return action()
        except ssl.SSLWantReadError:
            return None

    def _until(self, action):
        while True:
            try:
                result = action()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    raise Failed("the connection ended") from None
                self.incoming.write(data)

    def _flush(self):
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())


def _split(lab, host, address, size):
    connection = SlowHello(lab, host, address, size)
    answer, certificate = connection.get(host)
    if b"hello from" not in answer:
        raise Failed(f"answer {answer[:80]!r}")
    return connection, issuer_of(certificate)


@check("hello.split-decrypt")
def split_decrypt(lab):
    """A ClientHello in segments of one byte (and of 100, IPv6) is read and decrypted"""
    for address, size in ((SERVER6, 100), (SERVER4, 1)):
        connection, issuer = _split(lab, WWW, address, size)
        if issuer != ca_subject(lab):
            raise Failed(f"not decrypted: certificate from `{issuer}`")
    return f"{connection.pieces} segments"


@check("hello.split-bypass")
def split_bypass(lab):
    """A ClientHello in segments of one byte is held, then bypassed"""
    connection, issuer = _split(lab, BYPASS, SERVER4, 1)
    if "Lab Public Issuer" not in issuer:
        raise Failed(f"not bypassed: certificate from `{issuer}`")
    at(lab.eve.one("tls", connection.port), "wireglass.action", "bypass")
    return f"{connection.pieces} segments"


@check("hello.split-block")
def split_block(lab):
    """A ClientHello in segments of 10 bytes does not get around a block rule"""
    try:
        connection = SlowHello(lab, BLOCK_ALERT, SERVER4, 10)
        answer, _ = connection.get(BLOCK_ALERT)
    except (OSError, Failed) as refused:
        if lab.nginx.requests(BLOCK_ALERT):
            raise Failed("the request reached the server") from None
        return f"refused: {refused}"[:80]
    raise Failed(f"served: {answer[:60]!r}")


@check("hello.never-complete")
def never_complete(lab):
    """Half a ClientHello, then silence: the flow is gone after hello_seconds (5)"""
    sock, port = lab.client.connect(SERVER4, "half a hello")
    with sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        began = time.monotonic()
        flow = lab.eve.one("flow", port, seconds=9)
        took = time.monotonic() - began
        if "hello.timeout" not in (at(flow, "reason"), at(flow, "wireglass.reason")):
            raise Failed(f"reason {at(flow, 'reason')} / {at(flow, 'wireglass.reason')}")
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

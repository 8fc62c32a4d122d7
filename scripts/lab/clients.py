"""Clients of the lab: curl, openssl s_client and Python's ssl, each from a client port that is used only once."""

import json
import re
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .net import CLIENT4, CLIENT6, VLAN_CLIENT4, VLAN_CLIENT6
from .shell import run


@dataclass
class Fetch:
    """What curl saw of one request."""

    exit: int
    error: str
    body: bytes
    local_port: int
    status: int = 0
    http_version: str = ""
    chain: list = field(default_factory=list)
    info: dict = field(default_factory=dict)

    @property
    def why(self):
        """curl's error in short: its first line, from OpenSSL's own words on where there are any."""
        return (self.error.splitlines() or [""])[0].split("error:")[-1][-90:]

    @property
    def leaf(self):
        """The server's certificate as curl saw it, DER; b"" when it saw none."""
        return self.chain[0] if self.chain else b""


class Client:
    """The client namespace's programs. `trust` is the PEM bundle that they believe in."""

    def __init__(self, network, trust):
        self.network = network
        self.trust = trust
        self._next_port = 20000
        # (client port, what it was) of every TLS connection made: eve.json must have them all in the end.
        self.made = []
        # Client port -> reasons that its flow event may have. An orderly end is logged many seconds after the last FIN, so
        # a check notes here what it expects and `events.flow-reasons` looks at all of them together.
        self.endings = {}

    def port(self, what):
        """A fresh client port, remembered as one connection that eve.json must know."""
        self._next_port += 1
        self.made.append((self._next_port, what))
        return self._next_port

    def curl(self, host, address, *options, path="/", timeout=15, out=None, note=True):
        """Fetches https://HOST/PATH from ADDRESS with the real curl. `out`: a file for the body."""
        port = self.port(f"curl {host}") if note else 0
        numeric = f"[{address}]" if ":" in address else address
        argv = ["curl", "-sS", "--cacert", self.trust, "--max-time", timeout, "--resolve", f"{host}:443:{numeric}",
                "-w", "%{stderr}\n@@%{json}\n@@%{certs}", *options]
        if port:
            argv += ["--local-port", port]
        argv += ["-o", out] if out else []
        done = self.network.client.run(*argv, f"https://{host}{path}", timeout=timeout + 5, check=False)
        said, _, rest = done.stderr.decode(errors="replace").partition("\n@@")
        told, _, certificates = rest.partition("\n@@")
        info = json.loads(told) if told else {}
        blocks = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", certificates, re.S)
        return Fetch(
            exit=done.returncode, error=said.strip(), body=done.stdout, local_port=port,
            status=int(info.get("http_code", 0)), http_version=str(info.get("http_version", "")),
            chain=[ssl.PEM_cert_to_DER_cert(block) for block in blocks], info=info)

    def s_client(self, host, address, *options, stdin=b"", timeout=15):
        """openssl s_client. Returns (exit status, all it said, client port)."""
        port = self.port(f"s_client {host}")
        own, peer = self._own(address), f"[{address}]" if ":" in address else address
        bound = f"[{own}]:{port}" if ":" in own else f"{own}:{port}"
        done = self.network.client.run(
            "timeout", timeout, "openssl", "s_client", "-connect", f"{peer}:443", "-bind", bound, "-servername", host,
            "-CAfile", self.trust, *options, stdin=stdin, timeout=timeout + 5, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace"), port

    def connect(self, address, what, timeout=15, port=443):
        """A TCP connection. Returns (socket, client port)."""
        own = self.port(what)
        sock = self.network.client.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self._own(address), own))
        sock.connect((address, port))
        return sock, own

    def tls(self, host, address, timeout=10, context=None):
        """A TLS connection by Python. Returns (TLS socket, client port)."""
        sock, port = self.connect(address, f"python {host}", timeout)
        return (context or self.context()).wrap_socket(sock, server_hostname=host), port

    def context(self):
        """A client context that trusts what the lab's clients trust."""
        return ssl.create_default_context(cafile=str(self.trust))

    @staticmethod
    def _own(address):
        if ":" in address:
            return VLAN_CLIENT6 if address.startswith("fd00:203:100:") else CLIENT6
        return VLAN_CLIENT4 if address.startswith("10.203.100.") else CLIENT4


class BareTls:
    """TLS over a TCP connection with every byte on the way in our hands, for what a TLS socket does not let one do."""

    def __init__(self, lab, host, address):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = lab.client.context().wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._sock, self.port = lab.client.connect(address, f"python bare {host}")
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pieces = 0

    def send_hello(self, size=65536, pause=0.0005):
        """Sends the ClientHello in pieces of `size` bytes, each a segment of its own; counts them in `pieces`."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = self._outgoing.read()
        for start in range(0, len(hello), size):
            self._sock.sendall(hello[start:start + size])
            self.pieces += 1
            time.sleep(pause)

    def handshake(self):
        """The rest of the handshake."""
        self._until(self._tls.do_handshake)

    def certificate(self):
        """The server's certificate, DER."""
        return self._tls.getpeercert(True)

    def write(self, data):
        """Sends application data."""
        self._tls.write(data)
        self._flush()

    def read(self):
        """Waits for application data; b"" at the end of data."""
        return self._until(lambda: self._tls.read(65536))

    def close_sending(self):
        """close_notify and FIN; the other direction stays open (RFC 8446 6.1)."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()
        self._sock.shutdown(socket.SHUT_WR)

    def finish(self):
        """Reads to the end of data and closes: with bytes unread it would be a RST, which is sent once and may be lost."""
        while self.read():
            pass
        self._sock.close()

    def _until(self, action):
        while True:
            try:
                result = action()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                if data := self._sock.recv(65536):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def _flush(self):
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())


# Options of a Chromium that takes every certificate; JavaScript has some seconds.
TAKES_ANY = ("--ignore-certificate-errors", "--virtual-time-budget=5000")


def chromium(lab, url, *options, home=None, resolver=None, doh=None):
    """What headless Chromium makes of a page, as text; `resolver` is where it finds the host (--host-resolver-rules), or `doh` the address
    of a resolver over HTTPS."""
    with tempfile.TemporaryDirectory() as profile:
        if resolver:
            options = (f"--host-resolver-rules={resolver}", *options)
        else:
            state = Path(profile) / "profile" / "Local State"
            state.parent.mkdir()
            state.write_text(json.dumps({"dns_over_https": {"mode": "secure", "templates": doh}}))
        for _ in range(2):
            done = lab.network.client.run(
                "env", f"HOME={home or profile}", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
                f"--user-data-dir={profile}/profile", "--dump-dom", *options, url,
                check=False, timeout=60)
            # A namespace that is new has just found that its addresses are its own: for Chromium another network.
            if b"ERR_NETWORK_CHANGED" not in done.stderr:
                break
    return done.stdout.decode(errors="replace")


def http_get(sock, host, path="/", limit=1 << 20):
    """One HTTP/1.1 request over a TLS socket, `Connection: close`. Returns everything that came back."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while len(answer) < limit:
        piece = sock.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def describe(der):
    """`openssl x509 -text` of a DER certificate."""
    return run(["openssl", "x509", "-inform", "DER", "-noout", "-text"], stdin=der).stdout.decode()

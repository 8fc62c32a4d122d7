"""ClientHellos that do not come in one piece."""

import socket
import time
from pathlib import Path

from .. import doh
from ..clients import TAKES_ANY, BareTls, chromium
from ..eve import at
from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed, Process, wait_for
from .fetch import ca_subject, issuer_of


def split(lab, host, address, size):
    """A request over a connection whose ClientHello comes in pieces. Returns (connection, issuer that the client saw)."""
    connection = BareTls(lab, host, address)
    return connection, speak(connection, host, size)


def speak(connection, host, size):
    """Likewise, over a connection that is there. Returns the issuer."""
    connection.send_hello(size)
    connection.handshake()
    connection.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = connection.read()
    if b"hello from" not in answer:
        raise Failed(f"answer {answer[:80]!r}")
    issuer = issuer_of(connection.certificate())
    connection.finish()
    return issuer


@check("hello.split-decrypt")
def split_decrypt(lab):
    """A ClientHello in segments of 100, 60 and 1 bytes is read and decrypted"""
    # Ten segments are what a client sends without an acknowledgement (RFC 6928): 60 bytes stay below that, 1 byte does not.
    for address, size in ((SERVER6, 100), (SERVER4, 60), (SERVER4, 1)):
        connection, issuer = split(lab, WWW, address, size)
        if issuer != ca_subject(lab):
            raise Failed(f"not decrypted: certificate from `{issuer}`")
    return f"{connection.pieces} segments"


@check("hello.split-bypass")
def split_bypass(lab):
    """A ClientHello in segments of 60 and of 1 bytes is held, then bypassed"""
    for size in (60, 1):
        connection, issuer = split(lab, BYPASS, SERVER4, size)
        if "Lab Public Issuer" not in issuer:
            raise Failed(f"not bypassed: certificate from `{issuer}`")
        at(lab.eve.one("tls", connection.port), "wireglass.action", "bypass")
    return f"{connection.pieces} segments"


@check("hello.split-block")
def split_block(lab):
    """A ClientHello in segments of 60 and of 1 bytes does not get around a block rule"""
    for size in (60, 1):
        try:
            split(lab, BLOCK_ALERT, SERVER4, size)
        except OSError as refused:
            how = refused
        else:
            raise Failed("the client was served")
    if lab.nginx.requests(BLOCK_ALERT):
        raise Failed("the request reached the server")
    return f"refused: {how}"[:80]


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


@check("hello.ech-chromium")
def ech_chromium(lab):
    """Headless Chromium pretends to have an encrypted hello (GREASE): decrypted, logged as offered, and no reason for anything"""
    before = len(lab.eve.events())
    dom = chromium(lab, f"https://{WWW}/", *TAKES_ANY, resolver=f"MAP {WWW} {SERVER4}")
    if "hello from" not in dom:
        raise Failed(f"page {dom[:300]!r}")

    def offered():
        events = lab.eve.events()[before:]
        return [event for event in events if event["event_type"] == "tls" and "ech" in event["wireglass"]]
    events = wait_for(offered, 5, "a tls event with wireglass.ech")
    for event in events:
        at(event, "tls.sni", WWW)
        at(event, "wireglass.ech", "offered")
        at(event, "wireglass.action", "decrypt")
        at(event, "wireglass.reason", "policy.decrypt")
        if "learned" in event["wireglass"]:
            raise Failed(f"learned {event['wireglass']['learned']}")
    return f"{len(events)} connection(s)"


@check("hello.ech-real")
def ech_real(lab):
    """Chromium finds an ECHConfig in DNS over HTTPS: it shows the outer name, says that it meant another, and comes back with that"""
    hidden = "hidden.wild.lab.test"
    before = len(lab.eve.events())
    certificate = lab.certificates[WWW]
    argv = lab.network.client.argv("/usr/bin/python3", Path(doh.__file__), certificate.chain, certificate.key, hidden, SERVER4, WWW)
    process = Process(argv, lab.folder / "doh.log", "the resolver")
    try:
        process.wait_text("serving", 10)
        dom = chromium(lab, f"https://{hidden}/", *TAKES_ANY, doh=f"https://127.0.0.1:{doh.PORT}/dns-query")
    finally:
        process.stop()
    if "hello from" not in dom:
        raise Failed(f"page {dom[:300]!r}")

    def of_kind(kind, sought):
        return [event for event in lab.eve.events()[before:] if event["event_type"] == kind and sought(event)]

    def of_name(name):
        return wait_for(lambda: of_kind("tls", lambda tls: tls["tls"].get("sni") == name), 10, f"hello with the name {name}")
    wait_for(lambda: of_kind("flow", lambda flow: flow["wireglass"]["reason"] == "tls.ech_required"), 10, "flow that ends by tls.ech_required")
    outer, inner = of_name(WWW), of_name(hidden)
    for tls in outer + inner:
        at(tls, "wireglass.action", "decrypt")
    at(outer[0], "wireglass.ech", "offered")
    return f"{len(outer)} hellos with the outer name, then {len(inner)} with the inner one"

"""The main job: a real client and a real server talk, and the engine reads along."""

import asyncio
import ssl

from ..clients import describe, http_get
from ..eve import at
from ..hosts import HTTP1, TLS12, TLS13, WWW
from ..net import SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6
from ..peers import Peer
from ..runner import check
from ..shell import Failed


def fetched(lab, address, *options, host=WWW, path="/", version=None, expect=b"hello from "):
    """curl gets the right answer, under a certificate that the engine signed. Returns curl's view."""
    seen = lab.client.curl(host, address, *options, path=path)
    if seen.exit != 0:
        raise Failed(f"curl exit {seen.exit}: {seen.why}")
    if seen.status != 200 or not seen.body.startswith(expect):
        raise Failed(f"status {seen.status}, body {seen.body[:60]!r}")
    if version and seen.http_version != version:
        raise Failed(f"HTTP version {seen.http_version}, expected {version}")
    issuer = issuer_of(seen.leaf)
    if issuer != ca_subject(lab):
        raise Failed(f"not decrypted: the client saw a certificate from `{issuer}`")
    return seen


def issuer_of(der):
    """The issuer's name in a certificate, as one line."""
    return _line(describe(der), "Issuer:")


def ca_subject(lab, which="trusted"):
    """The subject of one of the engine's authorities."""
    der = ssl.PEM_cert_to_DER_cert((lab.ca / f"{which}.pem").read_text())
    return _line(describe(der), "Subject:")


def _line(text, label):
    return next(line.split(label, 1)[1].strip() for line in text.splitlines() if line.strip().startswith(label))


def _logged(lab, seen, version, alpn, protocol):
    """The tls and http events tell the same as what the client saw."""
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "decrypt")
    at(tls, "wireglass.rule", "all the rest")
    at(tls, "wireglass.verdict", "ok")
    at(tls, "tls.sni", WWW)
    at(tls, "tls.version", version)
    at(tls, "wireglass.client_leg.version")
    at(tls, "wireglass.server_leg.version", version)
    at(tls, "wireglass.client_leg.alpn", alpn)
    at(tls, "wireglass.server_leg.alpn", alpn)
    http = lab.eve.one("http", seen.local_port)
    at(http, "http.http_method", "GET")
    at(http, "http.hostname", WWW)
    at(http, "http.url", "/")
    at(http, "http.status", 200)
    at(http, "http.protocol", protocol)
    return f"{version}, {at(tls, 'wireglass.server_leg.cipher')}, {protocol} {at(http, 'http.status')}"


@check("fetch.tls13-http2")
def tls13_http2(lab):
    """curl with TLS 1.3 and HTTP/2; both events"""
    seen = fetched(lab, SERVER4, "--http2", "--tlsv1.3", version="2")
    return _logged(lab, seen, "TLS 1.3", "h2", "HTTP/2")


@check("fetch.tls13-http1")
def tls13_http1(lab):
    """curl with TLS 1.3 and HTTP/1.1; both events"""
    seen = fetched(lab, TLS13[0], "--http1.1", version="1.1")
    return _logged(lab, seen, "TLS 1.3", "http/1.1", "HTTP/1.1")


@check("fetch.tls12-http1")
def tls12_http1(lab):
    """A server with TLS 1.2 only, HTTP/1.1; both events"""
    seen = fetched(lab, TLS12[0], "--http1.1", version="1.1")
    return _logged(lab, seen, "TLS 1.2", "http/1.1", "HTTP/1.1")


@check("fetch.tls12-http2")
def tls12_http2(lab):
    """A server with TLS 1.2 only, HTTP/2; both events"""
    seen = fetched(lab, TLS12[0], "--http2", version="2")
    return _logged(lab, seen, "TLS 1.2", "h2", "HTTP/2")


@check("fetch.tls12-client")
def tls12_client(lab):
    """A client with TLS 1.2 only"""
    fetched(lab, SERVER4, "--tls-max", "1.2")


@check("fetch.alpn-mirrored")
def alpn_mirrored(lab):
    """The client offers h2, the server has only http/1.1: so has the client in the end"""
    seen = fetched(lab, HTTP1[0], "--http2", version="1.1")
    at(lab.eve.one("tls", seen.local_port), "wireglass.client_leg.alpn", "http/1.1")


@check("fetch.rsa-server")
def rsa_server(lab):
    """A server with an RSA certificate"""
    fetched(lab, SERVER4, host="rsa.lab.test")


@check("fetch.ipv6")
def ipv6(lab):
    """Over IPv6: TLS 1.3 and 1.2"""
    seen = fetched(lab, SERVER6)
    fetched(lab, TLS12[1])
    at(lab.eve.one("tls", seen.local_port), "src_ip", ["fd00:203::1", "fd00:0203:0000:0000:0000:0000:0000:0001"])


@check("fetch.vlan")
def vlan(lab):
    """Inside an 802.1Q tag, both IP versions; the event names the tag"""
    for address in (VLAN_SERVER4, VLAN_SERVER6):
        seen = fetched(lab, address)
        at(lab.eve.one("tls", seen.local_port), "vlan", [[100]])
    return "vlan [100]"


@check("fetch.wildcard")
def wildcard(lab):
    """A name that the server's certificate covers with a wildcard"""
    # nginx has no block for this name and answers with the first one of the address, which has the wildcard.
    fetched(lab, TLS13[0], host="shop.wild.lab.test")


@check("fetch.keep-alive")
def keep_alive(lab):
    """Three requests on one connection: three http events with tx_id 0, 1, 2"""
    port = lab.client.port("curl keep-alive")
    urls = [f"https://{WWW}/number/{number}" for number in (1, 2, 3)]
    done = lab.network.client.run("curl", "-sS", "--http1.1", "--cacert", lab.trust, "--local-port", port, "--max-time", 10,
                                  "--resolve", f"{WWW}:443:{SERVER4}", *urls, check=False)
    if done.stdout != b"number 1\nnumber 2\nnumber 3\n":
        raise Failed(f"curl got {done.stdout[:80]!r} {done.stderr.decode()[-200:]}")
    events = lab.eve.some("http", port, 3)
    if [at(event, "http.url") for event in events] != ["/number/1", "/number/2", "/number/3"]:
        raise Failed(f"urls in the events: {[at(event, 'http.url') for event in events]}")
    if [at(event, "tx_id") for event in events] != [0, 1, 2]:
        raise Failed(f"tx_id in the events: {[at(event, 'tx_id') for event in events]}")


@check("fetch.resumption")
def resumption(lab):
    """A client that comes back with a session ticket is served"""
    context = lab.client.context()
    session, answers = None, []
    for _ in range(2):
        sock, _port = lab.client.connect(SERVER4, "python resumption")
        with context.wrap_socket(sock, server_hostname=WWW, session=session) as tls:
            answers.append(http_get(tls, WWW))
            session = tls.session
            reused = tls.session_reused
            if issuer_of(tls.getpeercert(True)) != ca_subject(lab):
                raise Failed("not decrypted: the client saw the server's own certificate")
    if not all(b"hello from" in answer for answer in answers):
        raise Failed(f"answers {[answer[:40] for answer in answers]}")
    return f"second connection resumed: {reused}"


@check("fetch.websocket")
def websocket(lab):
    """A WebSocket upgrade; messages of 1 byte to 1 MB come back"""
    import websockets

    async def conversation():
        async def echo(socket, *_):
            async for message in socket:
                await socket.send(message)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = lab.certificates[WWW]
        context.load_cert_chain(certificate.chain, certificate.key)
        listener = lab.network.server.socket()
        listener.bind((lab.network.new_server_address(), 443))
        address = listener.getsockname()[0]
        async with websockets.serve(echo, sock=listener, ssl=context, max_size=None):
            loop = asyncio.get_running_loop()
            sock, port = await loop.run_in_executor(None, lab.client.connect, address, "websocket")
            sock.setblocking(False)
            async with websockets.connect(f"wss://{WWW}/", sock=sock, ssl=lab.client.context(), max_size=None,
                                          server_hostname=WWW) as client:
                leaf = client.transport.get_extra_info("ssl_object").getpeercert(True)
                for size in (1, 1000, 16384, 1_000_000):
                    message = bytes([size % 251]) * size
                    await client.send(message)
                    if await client.recv() != message:
                        raise Failed(f"a message of {size} bytes came back changed")
        return port, leaf
    try:
        port, leaf = asyncio.run(asyncio.wait_for(conversation(), 20))
    except (asyncio.TimeoutError, websockets.WebSocketException) as wrong:
        raise Failed(f"{type(wrong).__name__}: {wrong}") from wrong
    if issuer_of(leaf) != ca_subject(lab):
        raise Failed("not decrypted: the client saw the server's own certificate")
    at(lab.eve.one("http", port), "http.status", 101)
    return "101, 4 messages there and back"


@check("fetch.server-first-data")
def server_data_with_finished(lab):
    """A server that sends as soon as its handshake is over, before any request"""
    def speaks(connection, _peer):
        connection.sendall(b"220 ready\r\n")
        connection.recv(100)
    with Peer(lab.network, speaks, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(WWW, peer.address)
        with tls:
            got = tls.recv(100)
            if got != b"220 ready\r\n":
                raise Failed(f"the client got {got!r}")
            if issuer_of(tls.getpeercert(True)) != ca_subject(lab):
                raise Failed("not decrypted: the client saw the server's own certificate")

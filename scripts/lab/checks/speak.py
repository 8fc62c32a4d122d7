"""What the other end can speak: odd names, malformed hellos, early data, tickets, short records."""

import re

from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..profiles import RAW_BYPASS
from ..runner import check
from ..servers import listener, s_server
from ..shell import Failed
from .fetch import ca_subject
from .profile import GROUP, exclusions


def issuer_line(said):
    """The issuer of the leaf that s_client has printed."""
    found = re.search(r"^issuer=(.*)$", said, re.M)
    if not found:
        raise Failed(f"no certificate: {said[-200:]}")
    return found[1]


def decrypted(lab, said):
    """Whether s_client has seen a copy."""
    return issuer_line(said) == ca_subject(lab)


@check("speak.raw-name", GROUP)
def raw_name(lab):
    """A name that no certificate could have: bypassed by its rule, and refused by hello.name where policy says decrypt"""
    _status, said, port = lab.client.s_client(RAW_BYPASS, SERVER4)
    if decrypted(lab, said):
        raise Failed("not bypassed")
    tls = lab.eve.one("tls", port)
    at(tls, "tls.sni", RAW_BYPASS)
    at(tls, "wireglass.action", "bypass")
    for name in ("bar-.lab.test", "lab.test:443", "1.2.3", "a b.lab.test"):
        _status, said, port = lab.client.s_client(name, SERVER4)
        if "unrecognized name" not in said:
            raise Failed(f"{name}: {said[-200:]}")
        tls = lab.eve.one("tls", port)
        at(tls, "tls.sni", name)
        at(tls, "wireglass.reason", "hello.name")


@check("speak.malformed-hello", GROUP)
def malformed_hello(lab):
    """A malformed ClientHello is answered with decode_error, as by nginx"""
    sock, port = lab.client.connect(SERVER4, "malformed hello")
    with sock:
        sock.sendall(bytes.fromhex("16030100080100000409090909"))
        answer = sock.recv(100)
    if answer != bytes.fromhex("15030300020232"):
        raise Failed(f"answer {answer.hex()}")
    at(lab.eve.one("tls", port), "wireglass.reason", "hello.malformed")


@check("speak.early-data", GROUP)
def early_data(lab):
    """openssl s_client comes back with the server's own ticket and 60,000 bytes of early data: skipped, decrypted"""
    host, session = "early.wild.lab.test", lab.folder / "early.session"
    sizes = (1, 100, 4_100, 16_384, 60_000)
    with listener(lab, lab.certificates[WWW], "-early_data", "-max_early_data", "100000", "-no_anti_replay") as (address, server):
        # X448 has to be asked for again (HelloRetryRequest): what comes before the second hello is skipped, too.
        for size, groups in [(size, "X25519") for size in sizes] + [(4_100, "X448:X25519"), (60_000, "X448:X25519")]:
            early = lab.folder / "early.bytes"
            early.write_bytes(b"early" * (size // 5) + b"y" * (size % 5))
            exclusions(lab, "add", host)
            _status, said, _port = lab.client.s_client(host, address, "-sess_out", session, "-ign_eof", timeout=1)
            if decrypted(lab, said) or not session.exists():
                raise Failed(f"no ticket of the server's: {said[-200:]}")
            exclusions(lab, "remove", host)
            words = f"after {size} early bytes, {groups}"
            # OpenSSL's client fails by itself now and then if an answer comes while it still writes early data: one in ten against
            # its own server, with nothing but a wire between them.
            for _ in range(5):
                _status, said, port = lab.client.s_client(
                    host, address, "-sess_in", session, "-early_data", early, "-groups", groups, "-ign_eof", stdin=words.encode() + b"\n", timeout=1)
                if "tls13_enc:internal error" not in said:
                    break
            if "Early data was rejected" not in said or not decrypted(lab, said):
                raise Failed(f"{size} bytes, {groups}: {said[-300:]}")
            server.wait_text(words, 3)
            at(lab.eve.one("tls", port), "wireglass.action", "decrypt")
            session.unlink()
        if "earlyearly" in server.text():
            raise Failed("the server has got early data")
    return f"{sizes} bytes"


@check("speak.many-tickets", GROUP)
def many_tickets(lab):
    """openssl s_server with 100 tickets in a row: the connection goes on"""
    with s_server(lab, lab.certificates[WWW], "-num_tickets", "100", "-tls1_3") as address:
        seen = lab.client.curl(WWW, address, "--http1.1")
        if (seen.exit, seen.status) != (0, 200):
            raise Failed(f"curl exit {seen.exit}, status {seen.status}: {seen.why}")


@check("speak.short-records", GROUP)
def short_records(lab):
    """openssl s_client -maxfraglen 512: no record of nginx's 100,000 bytes is longer, TLS 1.2 and 1.3"""
    (lab.nginx.folder / "files" / "short").write_bytes(bytes(100_000))
    request = f"GET /files/short HTTP/1.1\r\nHost: {WWW}\r\nConnection: close\r\n\r\n".encode()
    longest = []
    for version, around in (("-tls1_2", 24), ("-tls1_3", 17)):
        _status, said, _port = lab.client.s_client(WWW, SERVER4, version, "-maxfraglen", "512", "-msg", "-ign_eof", stdin=request)
        lengths = [int(high + low, 16) for high, low in re.findall(
            r"<<< [^\n]*RecordHeader[^\n]*\n +17 03 03 (\w\w) (\w\w)", said)]
        if not decrypted(lab, said) or len(lengths) < 100_000 // 512:
            raise Failed(f"{len(lengths)} records: {said[-200:]}")
        longest.append(max(lengths))
        if max(lengths) > 512 + around:
            raise Failed(f"a record of {max(lengths)} bytes")
    return f"longest {longest}"

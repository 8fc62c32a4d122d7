"""Java's TLS (JSSE) on either end: a trust store of its own, no SNI for addresses, its own words for a missing client certificate."""

import contextlib
from pathlib import Path

from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..profiles import named
from ..runner import check
from ..shell import Failed, Process, run, wait_for
from .profile import GROUP, VERSIONS, bypassed, failed, learned, own_certificate

_PROGRAM = Path(__file__).parent.parent / "TlsEnd.java"
_PASSWORD = "changeit"
_TLS_FAILED = 3


def _trusting(lab, *certificates):
    """Java's properties for a trust store with these."""
    store = lab.folder / f"java-trust-{'-'.join(path.stem for path in certificates)}.p12"
    if not store.exists():
        for number, path in enumerate(certificates):
            run(["keytool", "-importcert", "-noprompt", "-alias", str(number), "-file", path, "-keystore", store, "-storepass", _PASSWORD])
    return (f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}")


def _get(lab, host, *words, path="/", trusted=None, address=SERVER4):
    """Exit status and what the client says."""
    names = lab.folder / "java-hosts"
    names.write_text(f"{address} {host}\n")
    done = lab.network.client.run(
        "java", *_trusting(lab, trusted or lab.ca / "trusted.pem"), f"-Djdk.net.hosts.file={names}", _PROGRAM, "get", host, "443", path,
        *words, timeout=60, check=False)
    return done.returncode, (done.stdout or done.stderr).decode(errors="replace").strip()


def _told(lab, key, value):
    """The last tls event with this server name or address: Java's clients choose their ports themselves."""
    def found():
        return [event for event in lab.eve.events() if event["event_type"] == "tls"
                and value == (event["dest_ip"] if key == "dest_ip" else event["tls"].get("sni"))]
    return wait_for(found, 5, f"a tls event with {key} {value}")[-1]


@contextlib.contextmanager
def _server(lab, need="none"):
    """A server in Java. Gives its address."""
    address = lab.network.new_server_address()
    certificate, store = lab.certificates[WWW], lab.folder / "java-server.p12"
    if not store.exists():
        run(["openssl", "pkcs12", "-export", "-in", certificate.chain, "-inkey", certificate.key, "-out", store, "-passout", f"pass:{_PASSWORD}"])
    trusted = _trusting(lab, lab.issuer.cert)
    process = Process(lab.network.server.argv("java", *trusted, _PROGRAM, "serve", address, store, need), lab.folder / f"java-{address}.log", "java")
    try:
        process.wait_text("serving", 60)
        yield address
    finally:
        process.stop()


@check("java.client", GROUP)
def client(lab):
    """Java fetches 100,000 bytes of nginx's by HTTP/1.1 and HTTP/2: decrypted, the copy is what it trusts"""
    (lab.nginx.folder / "files" / "java").write_bytes(bytes(100_000))
    for words, protocol in (((), "HTTP_1_1"), (("h2",), "HTTP_2")):
        host = WWW
        status, said = _get(lab, host, *words, path="/files/java")
        if status != 0 or not said.startswith(f"200 {protocol} 100000 "):
            raise Failed(f"exit {status}: {said[-200:]}")
        at(_told(lab, "sni", host), "wireglass.reason", "policy.decrypt")


@check("java.untrusting", GROUP)
def untrusting(lab):
    """Java without our CA in its trust store: cli.alert, certificate_unknown (46)"""
    host = named("java-untrusting")
    status, said = _get(lab, host, trusted=lab.root.cert)
    if status != _TLS_FAILED or "unable to find valid certification path" not in said:
        raise Failed(f"exit {status}: {said[-200:]}")
    tls = _told(lab, "sni", host)
    at(tls, "wireglass.reason", "cli.alert")
    at(tls, "wireglass.alert", 46)


@check("java.no-name", GROUP)
def no_name(lab):
    """Java sends no SNI to an address: decrypted, and the client itself finds that no name fits"""
    with _server(lab) as address:
        status, said = _get(lab, address, address=address)
        if status != _TLS_FAILED or f"No subject alternative names matching IP address {address}" not in said:
            raise Failed(f"exit {status}: {said[-200:]}")
        tls = _told(lab, "dest_ip", address)
        at(tls, "wireglass.action", "decrypt")
        if "sni" in tls["tls"]:
            raise Failed(f"sni {tls['tls']['sni']}")


@check("java.server", GROUP)
def server(lab):
    """A Java server, TLS 1.2 and 1.3; one that wants a client certificate gets none, and serves"""
    for need in ("none", "want"):
        with _server(lab, need) as address:
            for version in VERSIONS:
                seen = lab.client.curl(WWW, address, *version)
                if (seen.exit, seen.status, seen.body) != (0, 200, b"from Java"):
                    raise Failed(f"{need}: curl exit {seen.exit}, status {seen.status}: {seen.why}")
                tls = lab.eve.one("tls", seen.local_port)
                at(tls, "wireglass.reason", "policy.decrypt")
                if tls["wireglass"].get("client_certificate") != ("asked" if need == "want" else None):
                    raise Failed(f"{need}: client_certificate {tls['wireglass'].get('client_certificate')}")


@check("java.server-insists", GROUP)
def server_insists(lab):
    """A Java server that needs a client certificate: srv.client_cert_required, in TLS 1.2 by bad_certificate; learned, bypassed"""
    with _server(lab, "need") as address:
        for version in VERSIONS:
            failed(lab, WWW, address, "srv.client_cert_required", *version)
    with _server(lab, "need") as address:
        host = named("mtls")
        learned(lab, failed(lab, host, address, "srv.client_cert_required", "--tls-max", "1.2"), "client_certificate")
        seen = bypassed(lab, host, address, "excl.client_certificate", "--tls-max", "1.2", *own_certificate(lab))
        if seen.body != b"from Java":
            raise Failed(f"{seen.body[:60]!r}")

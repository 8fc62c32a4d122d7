"""Servers that cannot be decrypted, or not quite: client certificates, old ciphers, pinning; and what is remembered of them."""

from ..eve import at
from ..hosts import ASKING, INSISTING, WWW
from ..net import SERVER4
from ..profiles import named
from ..runner import check
from ..servers import apache, s_server
from ..shell import Failed, run, wait_for
from .fetch import ca_subject, fetched, issuer_of

GROUP = "profile"
VERSIONS = (("--tls-max", "1.2"), ("--tlsv1.3",))


def failed(lab, host, address, reason, *options, **more):
    """curl is not served, and the log says why. Returns the tls event."""
    seen = lab.client.curl(host, address, *options, **more)
    if seen.exit == 0:
        raise Failed(f"served: status {seen.status}, {seen.body[:60]!r}")
    tls = lab.eve.one("tls", seen.local_port)
    if at(tls, "wireglass.reason") == "policy.decrypt":
        # It came out after both handshakes.
        at(lab.eve.one("flow", seen.local_port), "wireglass.reason", reason)
    else:
        at(tls, "wireglass.reason", reason)
    return tls


def learned(lab, tls, cause):
    """The tls or the flow event says that the server is known from now on."""
    both = [tls, *lab.eve.some("flow", tls["src_port"], 1)]
    said = [event["wireglass"].get("learned") for event in both]
    if cause not in said:
        raise Failed(f"learned: {said}, expected {cause}")


def bypassed(lab, host, address, reason, *options, status=200, **more):
    """curl is served by the server itself, and the log says why."""
    seen = lab.client.curl(host, address, *options, **more)
    if seen.exit != 0 or seen.status != status:
        raise Failed(f"curl exit {seen.exit}, status {seen.status}: {seen.why}")
    if issuer_of(seen.leaf) == ca_subject(lab):
        raise Failed("decrypted")
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "bypass")
    at(tls, "wireglass.reason", reason)
    return seen


def own_certificate(lab):
    """curl's options for a client certificate of the lab's."""
    certificate = lab.certificates["client.lab.test"]
    return ("--cert", certificate.chain, "--key", certificate.key)


@check("profile.client-cert-optional", GROUP)
def client_cert_optional(lab):
    """nginx with `ssl_verify_client optional`: curl without a certificate is served and decrypted, TLS 1.2 and 1.3"""
    for version in VERSIONS:
        seen = fetched(lab, SERVER4, *version, host=ASKING)
        at(lab.eve.one("tls", seen.local_port), "wireglass.client_certificate", "asked")


@check("profile.client-cert-on", GROUP)
def client_cert_on(lab):
    """nginx with `ssl_verify_client on`: its own 400 reaches the client"""
    for version in VERSIONS:
        seen = lab.client.curl(INSISTING, SERVER4, *version)
        if (seen.exit, seen.status) != (0, 400) or b"No required SSL certificate" not in seen.body:
            raise Failed(f"curl exit {seen.exit}, status {seen.status}: {seen.why}")
        at(lab.eve.one("http", seen.local_port), "http.status", 400)


@check("profile.client-cert-verify", GROUP)
def client_cert_verify(lab):
    """`openssl s_server -verify`, which takes an empty list; and the session that it resumes"""
    with s_server(lab, lab.certificates[WWW], "-verify", "1") as address:
        for version in VERSIONS:
            for _ in range(2):
                fetched(lab, address, *version, "--http1.1", expect=b"<HTML>")


@check("profile.client-cert-required", GROUP)
def client_cert_required(lab):
    """`openssl s_server -Verify`, which does not: srv.client_cert_required each time, and never bypassed by default"""
    with s_server(lab, lab.certificates[WWW], "-Verify", "1") as address:
        for version in VERSIONS:
            for _ in range(2):
                tls = failed(lab, WWW, address, "srv.client_cert_required", *version)
                at(tls, "wireglass.client_certificate", "asked")


@check("profile.client-cert-block", GROUP)
def client_cert_block(lab):
    """on_client_certificate = "block": a server that only asks is refused, srv.client_cert_asked"""
    with s_server(lab, lab.certificates[WWW], "-verify", "1") as address:
        for version in VERSIONS:
            failed(lab, named("strict"), address, "srv.client_cert_asked", *version)


@check("profile.client-cert-bypass", GROUP)
def client_cert_bypass(lab):
    """on_client_certificate = "bypass": the second connection shows the client's own certificate"""
    with s_server(lab, lab.certificates[WWW], "-Verify", "1", "-tls1_2") as address:
        learned(lab, failed(lab, named("mtls"), address, "srv.client_cert_required", *own_certificate(lab)), "client_certificate")
        bypassed(lab, named("mtls"), address, "excl.client_certificate", *own_certificate(lab))
    # One that only asks is decrypted once.
    with s_server(lab, lab.certificates[WWW], "-verify", "1") as address:
        seen = fetched(lab, address, "--http1.1", host=named("portal"), expect=b"<HTML>")
        at(lab.eve.one("tls", seen.local_port), "wireglass.learned", "client_certificate")
        seen = bypassed(lab, named("portal"), address, "excl.client_certificate", "--http1.1", *own_certificate(lab))
        if b"Client certificate" not in seen.body:
            raise Failed("the server has not seen the certificate")


@check("profile.client-cert-renegotiation", GROUP)
def client_cert_renegotiation(lab):
    """Apache httpd, SSLVerifyClient for one path, TLS 1.2: named, learned, bypassed"""
    with apache(lab, lab.certificates[WWW], "TLSv1.2") as address:
        seen = lab.client.curl(WWW, address, path="/open")
        if (seen.exit, seen.status) != (0, 204):
            raise Failed(f"/open: curl exit {seen.exit}, status {seen.status}: {seen.why}")
        failed(lab, WWW, address, "srv.client_cert_required", *own_certificate(lab), path="/secret")
        tls = failed(lab, named("reneg"), address, "srv.client_cert_required", *own_certificate(lab), path="/secret")
        learned(lab, tls, "client_certificate")
        bypassed(lab, named("reneg"), address, "excl.client_certificate", *own_certificate(lab), path="/secret", status=404)


@check("profile.client-cert-post-handshake", GROUP)
def client_cert_post_handshake(lab):
    """Apache httpd, SSLVerifyClient for one path, TLS 1.3: 403, as for any client without post-handshake authentication"""
    with apache(lab, lab.certificates[WWW], "TLSv1.3") as address:
        seen = lab.client.curl(WWW, address, path="/open")
        if (seen.exit, seen.status) != (0, 204):
            raise Failed(f"/open: curl exit {seen.exit}, status {seen.status}: {seen.why}")
        seen = lab.client.curl(WWW, address, *own_certificate(lab), path="/secret")
        if (seen.exit, seen.status) != (0, 403):
            raise Failed(f"/secret: curl exit {seen.exit}, status {seen.status}: {seen.why}")
        at(lab.eve.one("http", seen.local_port), "http.status", 403)


# What the server has, by the label of its name; what curl needs to speak with it; and the reason.
OLD = ("--ciphers", "ALL:@SECLEVEL=0")
UNSUPPORTED = {
    "rsa-only": (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), OLD, "cipher.none_server"),
    "dhe-only": (("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"), OLD, "cipher.none_server"),
    "cbc-only": (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"), OLD, "cipher.none_server"),
    "tls11": (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), (*OLD, "--tlsv1.0"), "ver.unsupported_server"),
    "tls10": (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), (*OLD, "--tlsv1.0"), "ver.unsupported_server"),
    "p521": (("-tls1_3", "-groups", "P-521"), ("--curves", "X25519:P-521"), "cipher.none_server"),
    "x448": (("-tls1_3", "-groups", "X448"), ("--curves", "X25519:X448"), "cipher.none_server"),
}


@check("profile.unsupported-bypass", GROUP)
def unsupported_bypass(lab):
    """Static RSA, DHE, CBC, TLS 1.1, TLS 1.0, P-521, X448: refused by name, then bypassed where the profile says so"""
    for label, (server, client, reason) in UNSUPPORTED.items():
        with s_server(lab, lab.certificates["rsa.wild.lab.test"], *server) as address:
            learned(lab, failed(lab, named(label), address, reason, *client), "unsupported")
            bypassed(lab, named(label), address, "excl.unsupported", *client)
            # Another offer has to fail by itself; without it, the client would be a way past the inspection of others.
            failed(lab, named(label), address, reason, "--tlsv1.2")
            # The default profile tries each time.
            for _ in range(2):
                failed(lab, "www.wild.lab.test", address, reason, *client)
    return ", ".join(UNSUPPORTED)


@check("profile.pinned-bypass", GROUP)
def pinned_bypass(lab):
    """curl that trusts the original root alone: refusals of three clients that have taken our CA elsewhere, then bypass"""
    own = ("--cacert", lab.root.cert)
    with s_server(lab, lab.certificates[WWW], "-www") as address:
        # curl takes our CA nowhere yet by this fingerprint (no ALPN).
        offer = ("--no-alpn", "--curves", "X25519:P-256")
        for _ in range(4):
            tls = failed(lab, named("pinned"), address, "cli.alert", *offer, *own)
            at(tls, "wireglass.alert", 48)
            if "learned" in tls["wireglass"]:
                raise Failed("learned from a client that takes our CA nowhere")
        for n in range(3):
            source = ("--interface", lab.network.new_client_address())
            fetched(lab, address, *offer, *source, host=WWW, expect=b"<HTML>")
            # One client alone does not end the inspection of others.
            for again in range(1 if n == 2 else 3):
                tls = failed(lab, named("pinned"), address, "cli.alert", *offer, *own, *source)
                if ("learned" in tls["wireglass"]) != (n == 2):
                    raise Failed(f"client {n + 1}, refusal {again + 1}: {tls['wireglass']}")
        bypassed(lab, named("pinned"), address, "excl.pinned", *offer, *own)
        # By default, nothing is learned away.
        for _ in range(4):
            failed(lab, "also-pinned.wild.lab.test", address, "cli.alert", *offer, *own)


def exclusions(lab, *words, check_exit=True):
    """`wireglass exclusions ...` for the engine that runs."""
    return run([lab.binary, "exclusions", *words, "-c", lab.middle.config], check=check_exit).stdout.decode()


@check("profile.exclusions-command", GROUP)
def exclusions_command(lab):
    """`wireglass exclusions`: list, add, remove"""
    host = "by-hand.wild.lab.test"
    with s_server(lab, lab.certificates[WWW]) as address:
        fetched(lab, address, "--http1.1", host=host, expect=b"<HTML>")
        exclusions(lab, "add", host, "--hours", "2")
        bypassed(lab, host, address, "excl.manual", "--http1.1")
        listed = exclusions(lab, "list")
        if f'manual "{host}" *:443 for ' not in listed:
            raise Failed(f"list: {listed}")
        exclusions(lab, "remove", host)
        fetched(lab, address, "--http1.1", host=host, expect=b"<HTML>")
    return f"{len(listed.splitlines())} listed"


@check("profile.exclusions-kept", GROUP)
def exclusions_kept(lab):
    """What was learned is known after a restart"""
    server, client, reason = UNSUPPORTED["rsa-only"]
    with s_server(lab, lab.certificates["rsa.wild.lab.test"], *server) as address:
        learned(lab, failed(lab, named("restart"), address, reason, *client), "unsupported")
        kept = lab.middle.folder / "exclusions.json"
        wait_for(lambda: named("restart") in kept.read_text(), 5, "line in exclusions.json")
        if lab.middle.stop() != 0:
            raise Failed("the engine did not end well")
        lab.begin(lab.middle)
        bypassed(lab, named("restart"), address, "excl.unsupported", *client)
    return f"{len(kept.read_text().splitlines())} lines"

"""Servers whose certificate is not in order: by default the engine refuses them, whatever the client would accept."""

import ssl

from ..clients import describe
from ..eve import at
from ..hosts import WARNED
from ..net import SERVER4
from ..runner import check
from ..shell import Failed
from .fetch import ca_subject, issuer_of


def _refused(lab, host, reasons):
    # -k: curl itself would take anything, so that a refusal is the engine's.
    seen = lab.client.curl(host, SERVER4, "-k")
    if seen.exit == 0:
        raise Failed(f"the client was served: {seen.body[:60]!r}")
    if lab.nginx.requests(host):
        raise Failed("the request reached the server")
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "block")
    at(tls, "wireglass.reason", reasons)
    return f"{at(tls, 'wireglass.reason')}; curl exit {seen.exit}: {seen.why}"


@check("refuse.expired")
def expired(lab):
    """An expired certificate"""
    return _refused(lab, "expired.lab.test", ["cert.expired"])


@check("refuse.not-yet-valid")
def not_yet_valid(lab):
    """A certificate of the future"""
    return _refused(lab, "future.lab.test", ["cert.not_yet"])


@check("refuse.unknown-issuer")
def unknown_issuer(lab):
    """A certificate from an authority that the engine does not know"""
    return _refused(lab, "stranger.lab.test", ["cert.untrusted"])


@check("refuse.self-signed")
def self_signed(lab):
    """A certificate that vouches for itself"""
    return _refused(lab, "selfsigned.lab.test", ["cert.self_signed"])


@check("refuse.wrong-name")
def wrong_name(lab):
    """A certificate for another name"""
    return _refused(lab, "wrong.lab.test", ["cert.mismatch"])


@check("refuse.own-ca")
def own_ca(lab):
    """A certificate signed with the engine's own authority, coming from outside"""
    return _refused(lab, "own.lab.test", ["cert.own_ca"])


@check("refuse.untrusted-copy")
def untrusted_copy(lab):
    """on_untrusted = "untrusted-ca": the copy comes from the untrusted authority, a careful client refuses it"""
    status, said, port = lab.client.s_client(WARNED, SERVER4, "-showcerts")
    block = said[said.find("-----BEGIN CERTIFICATE-----"):said.find("-----END CERTIFICATE-----") + 25]
    if "BEGIN" not in block:
        raise Failed(f"s_client exit {status} saw no certificate: {said[-200:]}")
    issuer = issuer_of(ssl.PEM_cert_to_DER_cert(block))
    if issuer != ca_subject(lab, "untrusted"):
        raise Failed(f"issuer `{issuer}`")
    careful = lab.client.curl(WARNED, SERVER4)
    if careful.exit != 60:
        raise Failed(f"a client that checks got exit {careful.exit}, expected 60 (issuer unknown)")
    careless = lab.client.curl(WARNED, SERVER4, "-k")
    if careless.exit != 0 or WARNED.encode() not in careless.body:
        raise Failed(f"a client that goes on after the warning got exit {careless.exit}: {careless.error[-200:]}")
    tls = lab.eve.one("tls", port)
    at(tls, "wireglass.minted_by", "untrusted")
    at(tls, "wireglass.action", "decrypt")
    if describe(careless.leaf).count(f"DNS:{WARNED}") != 1:
        raise Failed("the copy does not carry the name")
    return f"issuer {issuer}"


@check("refuse.client-tls11")
def client_tls11(lab):
    """A client that has nothing newer than TLS 1.1"""
    _status, said, port = lab.client.s_client("www.lab.test", SERVER4, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    if "BEGIN CERTIFICATE" in said:
        raise Failed("the handshake went through")
    tls = lab.eve.one("tls", port)
    at(tls, "wireglass.action", "block")
    return f"reason {at(tls, 'wireglass.reason', 'ver.unsupported_client')}"

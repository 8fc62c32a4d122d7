"""What the engine fetches: CRLs, OCSP responses and issuers that nginx and `openssl ocsp` have, and what it does not ask."""

import time
from dataclasses import replace

from ..eve import at
from ..fetcher import (ALLOWED, LOOPBACK, PRIVATE, RESPONDER, STRICT, authority, counted, pki, publish_crl, publish_issuer,
                       responder)
from ..runner import check
from ..servers import s_server
from ..shell import Failed, wait_for
from .fetch import fetched
from .profile import failed
from .revocation import _known

GROUP = "fetcher"
HOST = "fetched.lab.test"
# As long as several looks of the threads that fetch.
QUIET = 1.0


def _counted(lab, kind, outcome, more=1):
    """A condition: so many requests more than now have ended so."""
    before = counted(lab, kind, outcome)
    return lambda: counted(lab, kind, outcome) >= before + more


def _get(lab, address, host=HOST, *options):
    return fetched(lab, address, *options, host=host, expect=b"<HTML>").local_port


@check("fetcher.crl", GROUP)
def crl(lab):
    """A CRL that nginx has: unknown at first, then good; of one that is revoked: unknown, then cert.revoked"""
    ca = authority(lab)
    with pki(lab) as server:
        good = ca.issue(HOST, crl=f"http://{ALLOWED}/list.crl")
        publish_crl(server, ca, good, "list.crl")
        stored = _counted(lab, "crl", "stored")
        with s_server(lab, good) as address:
            _known(lab, _get(lab, address), "unknown")
            wait_for(stored, 10, "a CRL in the cache")
            _known(lab, _get(lab, address), "good", "crl")
        asked = server.asked()
    with pki(lab) as server:
        revoked = ca.issue(HOST, crl=f"http://{ALLOWED}/other.crl")
        ca.revoke(revoked)
        publish_crl(server, ca, revoked, "other.crl")
        stored = _counted(lab, "crl", "stored")
        with s_server(lab, revoked) as address:
            _known(lab, _get(lab, address), "unknown")
            wait_for(stored, 10, "a CRL in the cache")
            at(failed(lab, HOST, address, "cert.revoked", "-k"), "wireglass.revocation_source", "crl")
    if asked != [f"{ALLOWED} GET /list.crl 200"]:
        raise Failed(f"nginx was asked {asked}")


@check("fetcher.ocsp", GROUP)
def ocsp(lab):
    """`openssl ocsp`: unknown, then good, and the copy has a staple; of one that is revoked: unknown, then cert.revoked"""
    ca = authority(lab)
    good, revoked = (ca.issue(name, crl=None, access=f"OCSP;URI:http://{ALLOWED}:{RESPONDER}/") for name in (HOST, f"other-{HOST}"))
    ca.revoke(revoked)
    with pki(lab), responder(lab, ca):
        stored = _counted(lab, "ocsp", "stored")
        with s_server(lab, good) as address:
            _known(lab, _get(lab, address), "unknown")
            wait_for(stored, 10, "an OCSP response in the cache")
            _known(lab, _get(lab, address, HOST, "--cert-status"), "good", "ocsp")
        stored = _counted(lab, "ocsp", "stored")
        with s_server(lab, revoked) as address:
            _known(lab, _get(lab, address, f"other-{HOST}"), "unknown")
            wait_for(stored, 10, "an OCSP response in the cache")
            at(failed(lab, f"other-{HOST}", address, "cert.revoked", "-k"), "wireglass.revocation_source", "ocsp")


@check("fetcher.strict", GROUP)
def strict(lab):
    """on_revocation_unknown = "block": the first connection is refused, the next one is not"""
    ca = authority(lab)
    with pki(lab) as server:
        certificate = ca.issue(STRICT, crl=f"http://{ALLOWED}/strict.crl")
        publish_crl(server, ca, certificate, "strict.crl")
        stored = _counted(lab, "crl", "stored")
        with s_server(lab, certificate) as address:
            failed(lab, STRICT, address, "cert.revocation_unknown", "-k")
            wait_for(stored, 10, "a CRL in the cache")
            _known(lab, _get(lab, address, STRICT), "good", "crl")


@check("fetcher.issuer", GROUP)
def issuer(lab):
    """A server that sends its certificate alone: cert.incomplete, then decrypted with the issuer that nginx has; a stranger stays one"""
    ca = authority(lab)
    access = f"caIssuers;URI:http://{ALLOWED}/issuer.cer"
    alone = ca.issue(HOST, access=access, crl=None)
    alone = replace(alone, chain=alone.cert)
    stranger = lab.stranger.issue(HOST, access=f"caIssuers;URI:http://{ALLOWED}/stranger.cer", crl=None)
    stranger = replace(stranger, chain=stranger.cert)
    with pki(lab) as server:
        publish_issuer(server, ca, "issuer.cer")
        publish_issuer(server, lab.stranger, "stranger.cer")
        stored = _counted(lab, "issuer", "stored")
        with s_server(lab, alone) as address:
            failed(lab, HOST, address, "cert.incomplete", "-k")
            wait_for(stored, 10, "an issuer in the cache")
            _get(lab, address)
        stored = _counted(lab, "issuer", "stored")
        with s_server(lab, stranger) as address:
            failed(lab, HOST, address, "cert.incomplete", "-k")
            wait_for(stored, 10, "an issuer in the cache")
            failed(lab, HOST, address, "cert.untrusted", "-k")


@check("fetcher.private", GROUP)
def private(lab):
    """Issuers at 127.0.0.1, at 10.x, at another port and behind a redirection to 10.x: not asked, and counted"""
    ca = authority(lab)
    with pki(lab) as server:
        publish_issuer(server, ca, "issuer.cer")
        for url in (f"http://{LOOPBACK}/issuer.cer", f"http://{PRIVATE}/issuer.cer", "http://2130706433/issuer.cer",
                    f"http://{ALLOWED}:9464/metrics", f"http://{ALLOWED}/moved/issuer.cer"):
            alone = ca.issue(HOST, access=f"caIssuers;URI:{url}", crl=None)
            forbidden = _counted(lab, "issuer", "forbidden")
            with s_server(lab, replace(alone, chain=alone.cert)) as address:
                failed(lab, HOST, address, "cert.incomplete", "-k")
                wait_for(forbidden, 10, f"{url} among the forbidden")
                failed(lab, HOST, address, "cert.incomplete", "-k")
        time.sleep(QUIET)
        if server.asked() != [f"{ALLOWED} GET /moved/issuer.cer 302"]:
            raise Failed(f"nginx was asked {server.asked()}")


@check("fetcher.off")
def off(lab):
    """Without [fetch], nothing is asked: what certificates name is there, and nobody comes"""
    ca = authority(lab)
    access = f"caIssuers;URI:http://{ALLOWED}/issuer.cer,OCSP;URI:http://{ALLOWED}/ocsp"
    whole = ca.issue(HOST, access=access, crl=f"http://{ALLOWED}/list.crl")
    other = authority(lab).issue(HOST, access=access)
    with pki(lab) as server:
        with s_server(lab, whole) as address:
            _known(lab, _get(lab, address), "unknown")
        with s_server(lab, replace(other, chain=other.cert)) as address:
            failed(lab, HOST, address, "cert.incomplete", "-k")
        time.sleep(QUIET)
        if server.asked():
            raise Failed(f"nginx was asked {server.asked()}")

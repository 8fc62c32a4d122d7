"""Revoked certificates, must-staple, and what the client is told of the copy; chains that are sent in part."""

import ssl
from dataclasses import replace

from .. import revocation as servers
from ..eve import at
from ..net import SERVER4
from ..runner import check
from ..servers import s_server
from ..shell import Failed, run
from .fetch import fetched
from .profile import failed

GROUP = "revocation"


def _known(lab, port, status, source=None):
    """The tls event says what is known of the certificate's revocation."""
    tls = lab.eve.one("tls", port)
    at(tls, "wireglass.revocation", status)
    if tls["wireglass"].get("revocation_source") != source:
        raise Failed(f"revocation_source {tls['wireglass'].get('revocation_source')}, expected {source}")


def _stapling(lab, certificate, staple):
    """`openssl s_server` that staples this file; none: that staples nothing."""
    return s_server(lab, certificate, *(("-status_file", staple) if staple else ()))


def _revoked(lab):
    """A new certificate that has been revoked: that is for good, and each check runs once for each provider."""
    certificate = lab.keeper.issue(servers.REVOKED)
    lab.keeper.revoke(certificate)
    return certificate


def _reload(lab, good=True):
    done = run([lab.binary, "reload", "-c", lab.middle.config], check=False)
    said = (done.stdout + done.stderr).decode()
    if (done.returncode == 0) != good:
        raise Failed(f"reload: exit {done.returncode}: {said[-300:]}")
    return said


@check("revocation.staple", GROUP)
def staple(lab):
    """nginx with ssl_stapling_file: decrypted, and known to be good; without it, unknown and decrypted all the same"""
    for version in (("--tls-max", "1.2"), ("--tlsv1.3",)):
        _known(lab, fetched(lab, SERVER4, *version, host=servers.STAPLED).local_port, "good", "staple")
        _known(lab, fetched(lab, SERVER4, *version, host=servers.SILENT).local_port, "unknown")


@check("revocation.unknown", GROUP)
def unknown(lab):
    """on_revocation_unknown = "block": refused without a staple, decrypted with one"""
    tls = failed(lab, servers.STRICT, SERVER4, "cert.revocation_unknown", "-k")
    at(tls, "wireglass.revocation", "unknown")
    at(tls, "wireglass.alert", 113)
    _known(lab, fetched(lab, SERVER4, host=servers.STRICT_STAPLED).local_port, "good", "staple")


@check("revocation.staple-no-good", GROUP)
def staple_no_good(lab):
    """A staple about another certificate, one by a stranger, and one with another signature: unknown"""
    certificate = lab.certificates[servers.STALE]
    stranger, bent = lab.folder / "stranger.ocsp", lab.folder / "bent.ocsp"
    run(["openssl", "ocsp", "-index", lab.keeper.folder / "issued" / "index", "-CA", lab.keeper.cert, "-rsigner", lab.stranger.cert,
         "-rkey", lab.stranger.key, "-issuer", lab.keeper.cert, "-cert", certificate.cert, "-ndays", 1, "-respout", stranger, "-noverify"])
    good = lab.keeper.staple(certificate).read_bytes()
    # Its thisUpdate, which is signed.
    bent.write_bytes(good.replace(b"Z0", b"Y0", 1))
    for response in (lab.keeper.staple(lab.certificates[servers.STAPLED]), stranger, bent):
        with _stapling(lab, certificate, response) as address:
            _known(lab, fetched(lab, address, host=servers.STALE, expect=b"<HTML>").local_port, "unknown")


@check("revocation.revoked", GROUP)
def revoked(lab):
    """A staple that says "revoked": cert.revoked, and the client is told so"""
    certificate = _revoked(lab)
    with _stapling(lab, certificate, lab.keeper.staple(certificate)) as address:
        tls = failed(lab, servers.REVOKED, address, "cert.revoked", "-k")
        at(tls, "wireglass.revocation_source", "staple")
        at(tls, "wireglass.alert", 44)
    return tls["wireglass"]["findings"][0]["found"]


@check("revocation.must-staple", GROUP)
def must_staple(lab):
    """A certificate with must-staple: refused without a staple; decrypted with one, in a resumed session, too"""
    certificate = lab.certificates[servers.MUST_STAPLE]
    with _stapling(lab, certificate, None) as address:
        failed(lab, servers.MUST_STAPLE, address, "cert.must_staple", "-k")
    with _stapling(lab, certificate, lab.keeper.staple(certificate)) as address:
        for resumed in (None, True, True):
            seen = fetched(lab, address, host=servers.MUST_STAPLE, expect=b"<HTML>")
            tls = lab.eve.one("tls", seen.local_port)
            if tls["tls"].get("session_resumed") != resumed:
                raise Failed(f"session_resumed {tls['tls'].get('session_resumed')}, expected {resumed}")
            _known(lab, seen.local_port, "good", "staple")


@check("revocation.crl", GROUP)
def crl(lab):
    """A CRL by `openssl ca` in a folder of trust.crls, read by `wireglass reload`: good, then revoked; one that is none changes nothing"""
    listed, broken = (lab.middle.folder / "crls" / name for name in ("keeper.crl", "broken.crl"))
    certificate = lab.keeper.issue(servers.LISTED)
    try:
        with s_server(lab, certificate) as address:
            lab.keeper.crl(listed, certificate)
            if str(listed) not in _reload(lab):
                raise Failed("the reload does not name the file")
            _known(lab, fetched(lab, address, host=servers.LISTED, expect=b"<HTML>").local_port, "good", "crl")
            lab.keeper.revoke(certificate)
            lab.keeper.crl(listed, certificate)
            _reload(lab)
            tls = failed(lab, servers.LISTED, address, "cert.revoked", "-k")
            at(tls, "wireglass.revocation_source", "crl")
            broken.write_bytes(b"\x30\x03\x02\x01\x01")
            said = _reload(lab, good=False)
            if "broken.crl" not in said or "expected a CRL" not in said:
                raise Failed(f"reload says {said[-200:]!r}")
            failed(lab, servers.LISTED, address, "cert.revoked", "-k")
    finally:
        for path in (listed, broken):
            path.unlink(missing_ok=True)
        _reload(lab)


@check("revocation.verify", GROUP)
def verify(lab):
    """`wireglass verify --staple` says the same"""
    certificate = _revoked(lab)
    words = [lab.binary, "verify", "-c", lab.middle.config, "--name", servers.REVOKED, certificate.chain]
    done = run([*words, "--staple", lab.keeper.staple(certificate)], check=False)
    said = done.stdout.decode()
    if done.returncode != 2 or "cert.revoked" not in said or "revocation: revoked, says the staple" not in said:
        raise Failed(f"exit {done.returncode}: {said}")
    done = run(words, check=False)
    if done.returncode != 0 or "revocation: unknown (no stapled OCSP response" not in done.stdout.decode():
        raise Failed(f"without it, exit {done.returncode}: {done.stdout.decode()}")


@check("revocation.copy-curl", GROUP)
def copy_curl(lab):
    """curl --cert-status takes the copy of what was found good, and refuses that of what is unknown"""
    fetched(lab, SERVER4, "--cert-status", host=servers.STAPLED)
    seen = lab.client.curl(servers.SILENT, SERVER4, "--cert-status")
    if seen.exit != 91:
        raise Failed(f"exit {seen.exit}, expected 91 (invalid certificate status): {seen.why}")
    return seen.why


@check("revocation.copy-openssl", GROUP)
def copy_openssl(lab):
    """openssl s_client -status: "good", with an end"""
    for version in ("-tls1_2", "-tls1_3"):
        _status, said, _port = lab.client.s_client(servers.STAPLED, SERVER4, "-status", version)
        for part in ("OCSP Response Status: successful", "Cert Status: good", "Next Update:"):
            if part not in said:
                raise Failed(f"{version}: no `{part}` in {said[:600]}")


@check("revocation.copy-gnutls", GROUP)
def copy_gnutls(lab):
    """gnutls-cli takes the copy with its staple, and ocsptool finds the signature right"""
    saved = lab.folder / "copy.ocsp"
    done = lab.network.client.run(
        "gnutls-cli", "--x509cafile", lab.trust, "--save-ocsp", saved, "--sni-hostname", servers.STAPLED, "--verify-hostname",
        servers.STAPLED, "--port", 443, SERVER4, stdin=b"", timeout=20, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if "The certificate is trusted" not in said or not saved.exists():
        raise Failed(f"exit {done.returncode}: {said[-500:]}")
    told = run(["ocsptool", "--verify-response", "--load-trust", lab.ca / "trusted.pem", "--load-issuer", lab.ca / "trusted.pem",
                "--inder", "--load-response", saved], check=False)
    told = (told.stdout + told.stderr).decode(errors="replace")
    if "Success" not in told:
        raise Failed(f"ocsptool: {told[-400:]}")


@check("revocation.ca-crl", GROUP)
def ca_crl(lab):
    """`wireglass ca crl`, at the address in the copy: `openssl verify -crl_check` takes the copy, and refuses it once it is revoked"""
    seen = fetched(lab, SERVER4, host=servers.SILENT)
    copy = lab.folder / "copy.pem"
    copy.write_text(ssl.DER_cert_to_PEM_cert(seen.leaf))
    if servers.CRL_URL not in run(["openssl", "x509", "-in", copy, "-noout", "-text"]).stdout.decode():
        raise Failed(f"the copy does not say {servers.CRL_URL}")
    serial = at(lab.eve.one("tls", seen.local_port), "wireglass.minted_serial")
    out = lab.folder / "wireglass.crl"
    for words, expected in (((), 0), (("--revoke", serial), 2)):
        run([lab.binary, "ca", "crl", "-c", lab.middle.config, "--out", out, *words])
        pem = out.with_suffix(".pem")
        pem.write_bytes(run(["openssl", "crl", "-inform", "DER", "-in", out]).stdout)
        done = run(["openssl", "verify", "-crl_check", "-CAfile", lab.ca / "trusted.pem", "-CRLfile", pem, copy], check=False)
        if done.returncode != expected:
            raise Failed(f"openssl verify: exit {done.returncode}, expected {expected}: {done.stderr.decode()[-200:]}")


@check("revocation.incomplete", GROUP)
def incomplete(lab):
    """A server that sends its certificate alone: cert.incomplete; decrypted with trust.intermediates, or once its issuer was seen elsewhere"""
    # One that no other check, nor provider, has shown.
    number = len(list(lab.folder.glob("hidden-*")))
    hidden = type(lab.issuer)(lab.folder / f"hidden-{number}", f"Lab Hidden Issuer {number}", lab.root)
    access = "caIssuers;URI:http://ca.lab.test/hidden.cer"
    whole, alone = (hidden.issue(name, access=access) for name in (servers.WHOLE, servers.ALONE))
    alone = replace(alone, chain=alone.cert)
    known = lab.middle.folder / "between" / "hidden.pem"
    with s_server(lab, alone) as address:
        failed(lab, servers.ALONE, address, "cert.incomplete", "-k")
        known.write_text(hidden.cert.read_text())
        _reload(lab)
        fetched(lab, address, host=servers.ALONE, expect=b"<HTML>")
        known.unlink()
        _reload(lab)
        failed(lab, servers.ALONE, address, "cert.incomplete", "-k")
        with s_server(lab, whole) as other:
            fetched(lab, other, host=servers.WHOLE, expect=b"<HTML>")
        fetched(lab, address, host=servers.ALONE, expect=b"<HTML>")

"""The certificate that the engine makes: what it carries over from the original and what it must leave out."""

import hashlib
import re
import ssl
from datetime import datetime

from ..clients import describe
from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, run
from .fetch import ca_subject, fetched, issuer_of


def _need(condition, what):
    if not condition:
        raise Failed(what)


def _extension(text, label):
    found = re.search(rf"{re.escape(label)}:( critical)?\s*\n\s+(.*)", text)
    return (found[2].strip(), bool(found[1])) if found else (None, False)


def _dates(der):
    said = run(["openssl", "x509", "-inform", "DER", "-noout", "-dates"], stdin=der).stdout.decode()
    return [datetime.strptime(line.split("=")[1], "%b %d %H:%M:%S %Y %Z") for line in said.strip().splitlines()]


@check("minted.fields")
def fields(lab):
    """Names as the original's, usage no wider, nothing that would call the original's issuer"""
    seen = fetched(lab, SERVER4)
    copy, original = describe(seen.leaf), describe(lab.certificates[WWW].der)
    _need(_extension(copy, "X509v3 Subject Alternative Name")[0]
          == _extension(original, "X509v3 Subject Alternative Name")[0], "subjectAltName differs from the original")
    _need(re.search(r"Subject: (.*)", copy)[1] == re.search(r"Subject: (.*)", original)[1],
          f"subject `{re.search(r'Subject: (.*)', copy)[1]}` differs from the original")
    usage, _ = _extension(copy, "X509v3 Extended Key Usage")
    _need(usage == "TLS Web Server Authentication", f"extended key usage `{usage}`")
    basic, critical = _extension(copy, "X509v3 Basic Constraints")
    _need(basic == "CA:FALSE", f"basic constraints `{basic}`, critical {critical}")
    key_usage, _ = _extension(copy, "X509v3 Key Usage")
    _need(key_usage == "Digital Signature", f"key usage `{key_usage}`")
    for absent in ("Authority Information Access", "CRL Distribution", "CT Precertificate", "status_request"):
        _need(absent not in copy, f"the copy has {absent}")
    _need("id-ecPublicKey" in copy, "the copy's key is not an EC key")
    return "SAN, subject, EKU serverAuth, CA:FALSE, no AIA or CRL"


@check("minted.validity")
def validity(lab):
    """Valid now, within the original's dates, and no longer than max_days"""
    seen = fetched(lab, SERVER4)
    begin, end = _dates(seen.leaf)
    original_begin, original_end = _dates(lab.certificates[WWW].der)
    now = datetime.utcnow()
    _need(begin <= now <= end, f"not valid now: {begin} to {end}")
    _need(original_begin <= begin and end <= original_end, f"{begin} to {end} is outside the original's dates")
    _need((end - now).days <= 90, f"valid for {(end - now).days} days more, max_days is 90")
    return f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}"


@check("minted.chain")
def chain(lab):
    """openssl verifies it against the trusted authority alone; serial and key are new"""
    seen = fetched(lab, SERVER4)
    leaf = lab.folder / "minted.pem"
    leaf.write_text(ssl.DER_cert_to_PEM_cert(seen.leaf))
    run(["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", WWW, "-x509_strict",
         "-CAfile", lab.ca / "trusted.pem", leaf])
    copy, original = describe(seen.leaf), describe(lab.certificates[WWW].der)
    serial, old_serial = (re.search(r"Serial Number:\s*(.*)", text)[1] for text in (copy, original))
    _need(serial != old_serial, "the copy has the original's serial number")
    _need(len(serial.replace(":", "")) >= 28, f"a short serial number: {serial}")
    _need(re.search(r"pub:\s*([0-9a-f:\s]+)", copy)[1] != re.search(r"pub:\s*([0-9a-f:\s]+)", original)[1],
          "the copy has the original's key")
    ca_key = run(["openssl", "x509", "-in", lab.ca / "trusted.pem", "-noout", "-pubkey"]).stdout
    leaf_key = run(["openssl", "x509", "-in", leaf, "-noout", "-pubkey"]).stdout
    _need(ca_key != leaf_key, "the copy has the authority's key")
    return f"serial {serial[:23]}..."


@check("minted.same-again")
def same_again(lab):
    """A second connection gets the same copy: it is kept, not made anew"""
    first, second = (fetched(lab, SERVER4).leaf for _ in range(2))
    _need(first == second, "two connections, two copies")


@check("minted.rsa-for-old-client")
def rsa_for_old_client(lab):
    """A client that knows no ECDSA gets a copy with an RSA key"""
    status, said, _port = lab.client.s_client(
        "rsa.lab.test", SERVER4, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-sigalgs", "RSA+SHA256:RSA-PSS+SHA256",
        "-showcerts", "-verify_return_error")
    block = said[said.find("-----BEGIN CERTIFICATE-----"):said.find("-----END CERTIFICATE-----") + 25]
    if status != 0 or "BEGIN" not in block:
        raise Failed(f"s_client exit {status}: {said[-300:]}")
    der = ssl.PEM_cert_to_DER_cert(block)
    _need("rsaEncryption" in describe(der), "the copy's key is not RSA")
    _need(issuer_of(der) == ca_subject(lab), f"issuer {issuer_of(der)}")


@check("minted.event")
def event(lab):
    """The tls event describes the original and names the copy's serial"""
    seen = fetched(lab, SERVER4)
    tls = lab.eve.one("tls", seen.local_port)
    digest = hashlib.sha1(lab.certificates[WWW].der).hexdigest()
    fingerprint = ":".join(digest[place:place + 2] for place in range(0, 40, 2))
    at(tls, "tls.fingerprint", fingerprint)
    at(tls, "wireglass.minted_by", "trusted")
    minted = at(tls, "wireglass.minted_serial").replace(":", "").lower().lstrip("0")
    serial = re.search(r"Serial Number:\s*(.*)", describe(seen.leaf))[1].replace(":", "").strip().lstrip("0")
    _need(minted == serial, f"minted_serial {minted}, the copy's serial number is {serial}")
    for name in ("subject", "issuerdn", "serial", "notbefore", "notafter", "subjectaltname", "ja3", "ja4"):
        at(tls, f"tls.{name}")
    _need("Lab Public Issuer" in at(tls, "tls.issuerdn"), f"issuerdn {at(tls, 'tls.issuerdn')}")
    return f"ja4 {at(tls, 'tls.ja4')}"

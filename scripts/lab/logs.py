"""Logs of Certificate Transparency as the lab has them: keys, and certificates with what they have promised (RFC 6962)."""

import base64
import hashlib
import json
import struct
import time
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .pki import Certificate

_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_DER, _SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


class Log:
    """One log. `operator`: who runs it."""

    def __init__(self, operator):
        self.operator = operator
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = self.key.public_key().public_bytes(_DER, _SPKI)

    def promise(self, tbs, issuer):
        """Its SignedCertificateTimestamp for a TBSCertificate without any. `issuer`: DER of the issuer's key."""
        moment = struct.pack(">Q", int(time.time() * 1000) - 60_000)
        entry = hashlib.sha256(issuer).digest() + len(tbs).to_bytes(3, "big") + tbs
        signature = self.key.sign(b"\0\0" + moment + b"\0\1" + entry + b"\0\0", ec.ECDSA(hashes.SHA256()))
        return b"\0" + hashlib.sha256(self.public).digest() + moment + b"\0\0\4\3" + _vec16(signature)


def _vec16(data):
    return struct.pack(">H", len(data)) + data


def _octets(data):
    """An OCTET STRING in DER, of up to 255 bytes."""
    return b"\x04" + (b"\x81" if len(data) > 127 else b"") + bytes([len(data)]) + data


def write_list(path: Path, logs):
    """A log list in JSON, version 3."""
    known = [{"name": log.operator, "email": [], "logs": [{
        "description": log.operator, "log_id": base64.b64encode(hashlib.sha256(log.public).digest()).decode(),
        "key": base64.b64encode(log.public).decode(), "mmd": 86400, "state": {"usable": {"timestamp": "2024-01-01T00:00:00Z"}}}]}
        for log in logs]
    path.write_text(json.dumps({"version": "1", "operators": known}))


def issue(authority, host, logs, changed=False):
    """A server certificate of 90 days, with the promises of these logs in it. `changed`: they are those for another certificate."""
    issuer = x509.load_pem_x509_certificate(authority.cert.read_bytes())
    signer = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.utcnow()

    def builder(name):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = x509.CertificateBuilder(issuer.subject, subject, key.public_key(), serial, now - timedelta(days=1), now + timedelta(days=89))
        for extension, critical in (
                (x509.BasicConstraints(False, None), True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
                (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)):
            made = made.add_extension(extension, critical)
        return made

    serial = x509.random_serial_number()
    promised = builder("other.lab.test" if changed else host).sign(signer, hashes.SHA256()).tbs_certificate_bytes
    public = signer.public_key().public_bytes(_DER, _SPKI)
    scts = _vec16(b"".join(_vec16(log.promise(promised, public)) for log in logs))
    made = builder(host)
    if logs:
        made = made.add_extension(x509.UnrecognizedExtension(_SCT_LIST, _octets(scts)), False)
    made = made.sign(signer, hashes.SHA256())
    paths = Certificate(*(authority.folder / f"{host}-{serial:x}.{kind}" for kind in ("pem", "chain", "key")))
    for path in (paths.cert, paths.chain):
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths

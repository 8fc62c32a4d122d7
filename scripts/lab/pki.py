"""A small public-key infrastructure made with the openssl command: the lab's "public" roots and server certificates."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from .shell import run

NOW_VALID = ("20240101000000Z", "20491231235959Z")
AUTHORITY_VALID = ("20190101000000Z", "20491231235959Z")
LONG_AGO = ("20200101000000Z", "20210101000000Z")
FAR_AHEAD = ("20480101000000Z", "20490101000000Z")

_CA_CONFIG = """
[ca]
default_ca = lab
[lab]
new_certs_dir = {dir}
database = {dir}/index
default_md = sha256
rand_serial = yes
unique_subject = no
policy = any
[any]
organizationName = optional
commonName = supplied
"""

_CA_EXTENSIONS = """
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

# Client authentication, AIA and CRL addresses are there to be left out by the engine's copy.
_LEAF_EXTENSIONS = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
authorityInfoAccess = {access}
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate as a server uses it: `chain` (leaf first) and `key`, both PEM files."""

    cert: Path
    chain: Path
    key: Path

    @property
    def der(self):
        """The leaf, DER."""
        return ssl.PEM_cert_to_DER_cert(self.cert.read_text())


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path, name: str, parent=None):
        self.folder = folder
        self.parent = parent
        _prepare(folder)
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        new_key(self.key, "ec")
        signer = parent or self
        signer.sign(self.key, f"/O=Lab/CN={name}", _CA_EXTENSIONS, AUTHORITY_VALID, self.cert)

    @classmethod
    def existing(cls, folder: Path, cert: Path, key: Path):
        """An authority around a certificate and key that somebody else made."""
        authority = cls.__new__(cls)
        authority.folder, authority.parent, authority.cert, authority.key = folder, None, cert, key
        _prepare(folder)
        return authority

    def issue(self, host, names=None, dates=NOW_VALID, key="ec", more="", access="OCSP;URI:http://ocsp.lab.test/",
              crl="http://crl.lab.test/lab.crl"):
        """A server certificate for `host`. `names`: what the subjectAltName says (default: the host); `more`: lines of extensions;
        `access`: its authorityInfoAccess; `crl`: where its CRL is, or none."""
        more += f"crlDistributionPoints = URI:{crl}\n" if crl else ""
        leaf = Certificate(*(self.folder / f"{host}.{kind}" for kind in ("pem", "chain", "key")))
        new_key(leaf.key, key)
        listed = ", ".join(f"DNS:{name}" for name in (names or [host]))
        self.sign(leaf.key, f"/O=Lab/CN={host}", _LEAF_EXTENSIONS.format(names=listed, access=access) + more, dates, leaf.cert)
        # An intermediate is sent by the server, a root never is.
        intermediate = self.cert.read_text() if self.parent else ""
        leaf.chain.write_text(leaf.cert.read_text() + intermediate)
        return leaf

    def staple(self, certificate, days=1):
        """What `openssl ocsp` says of a certificate of this authority's: an OCSP response in a file, DER."""
        response = certificate.cert.with_suffix(".ocsp")
        run(["openssl", "ocsp", "-index", self.folder / "issued" / "index", "-CA", self.cert, "-rsigner", self.cert, "-rkey", self.key,
             "-issuer", self.cert, "-cert", certificate.cert, "-ndays", days, "-respout", response, "-noverify"])
        return response

    def revoke(self, certificate):
        """Revokes a certificate of this authority's, from the next statement on."""
        run(["openssl", "ca", "-config", certificate.cert.with_suffix(".cnf"), "-cert", self.cert, "-keyfile", self.key,
             "-revoke", certificate.cert, "-crl_reason", "keyCompromise"])

    def crl(self, out, certificate):
        """Writes the list of what is revoked. `certificate`: any that it has issued."""
        run(["openssl", "ca", "-config", certificate.cert.with_suffix(".cnf"), "-cert", self.cert, "-keyfile", self.key, "-gencrl",
             "-crldays", 1, "-out", out])

    def sign(self, key, subject, extensions, dates, out):
        """Signs a certificate with exact dates, which `openssl x509` cannot do and `openssl ca` can."""
        request, config, extra = (out.with_suffix(f".{kind}") for kind in ("csr", "cnf", "ext"))
        config.write_text(_CA_CONFIG.format(dir=self.folder / "issued"))
        extra.write_text(extensions)
        run(["openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request, "-config", "/dev/null"])
        run(["openssl", "ca", "-batch", "-notext", "-config", config, "-extfile", extra, "-in", request, "-out", out,
             *(["-cert", self.cert] if self.cert.exists() else ["-selfsign"]), "-keyfile", self.key,
             "-startdate", dates[0], "-enddate", dates[1]])


def self_signed(folder: Path, host):
    """A server certificate that vouches for itself."""
    cert, key = folder / f"{host}.pem", folder / f"{host}.key"
    new_key(key, "ec")
    run(["openssl", "req", "-x509", "-new", "-key", key, "-out", cert, "-days", 365, "-subj", f"/O=Lab/CN={host}",
         "-config", "/dev/null", "-addext", f"subjectAltName=DNS:{host}"])
    return Certificate(cert, cert, key)


def _prepare(folder: Path):
    (folder / "issued").mkdir(parents=True, exist_ok=True)
    (folder / "issued" / "index").touch()


def new_key(path: Path, kind):
    options = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if kind == "rsa" else ["EC", "-pkeyopt",
                                                                                "ec_paramgen_curve:P-256"]
    run(["openssl", "genpkey", "-quiet", "-algorithm", *options, "-out", path])
    path.chmod(0o600)

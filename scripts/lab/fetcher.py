"""Where certificates say that CRLs, OCSP responses and issuers are: on the engine's own machine, at addresses of its loopback interface."""

import contextlib

from .net import Namespace
from .nginx import IN_FOLDER, TEMPORARY
from .shell import Failed, Process, run, tail, wait_for

# The one is in fetch.allow, the others are not.
ALLOWED, PRIVATE, LOOPBACK = "10.77.0.1", "10.78.0.1", "127.0.0.1"
RESPONDER = 2560
STRICT = "strict-fetched.lab.test"

SETUP = {
    "rules": f"""
[[rule]]
name = "strict"
sni = ["{STRICT}"]
action = "decrypt"
profile = "strict"

[profile.strict]
on_revocation_unknown = "block"

[fetch]
crls = true
ocsp = true
issuers = true
allow = ["{ALLOWED}"]
ports = [80, {RESPONDER}]
""",
}

_NGINX = IN_FOLDER + """
events {{ worker_connections 64; }}
http {{
  log_format lab "$server_addr $request_method $uri $status";
  access_log {dir}/access.log lab;
""" + TEMPORARY + """
  server {{
    {listens}
    root {dir}/www;
    location /moved/ {{ return 302 http://{private}/issuer.cer; }}
  }}
}}
"""


class Pki:
    """The web server of a PKI, in a namespace, and what was asked of it."""

    def __init__(self, namespace: Namespace, folder):
        self.folder = folder
        self.www = folder / "www"
        self.www.mkdir(parents=True, exist_ok=True)
        self.access = folder / "access.log"
        self.access.touch()
        for address in (ALLOWED, PRIVATE):
            namespace.run("ip", "address", "replace", f"{address}/32", "dev", "lo")
        listens = " ".join(f"listen {address}:80;" for address in (ALLOWED, PRIVATE, LOOPBACK))
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(dir=folder, listens=listens, private=PRIVATE))
        self.process = Process(namespace.argv("nginx", "-e", folder / "error.log", "-c", config), folder / "nginx.log", "nginx of the PKI")
        wait_for(lambda: f"{ALLOWED}:80".encode() in namespace.run("ss", "-Htln", check=False).stdout, 10,
                 f"listening nginx of the PKI\n{tail(folder / 'nginx.log')}")

    def asked(self):
        """Lines of the access log: address, method, path, status."""
        return self.access.read_text().splitlines()


@contextlib.contextmanager
def pki(lab):
    """Runs it."""
    server = Pki(lab.network.middle, lab.folder / f"pki-{_next(lab, 'pki')}")
    try:
        yield server
    finally:
        server.process.stop()


@contextlib.contextmanager
def responder(lab, authority):
    """`openssl ocsp` for this authority."""
    number = _next(lab, "responder")
    log = lab.folder / f"responder-{number}.log"
    argv = lab.network.middle.argv("openssl", "ocsp", "-index", authority.folder / "issued" / "index", "-port", RESPONDER, "-CA", authority.cert,
                                   "-rsigner", authority.cert, "-rkey", authority.key, "-ndays", 1, "-text")
    process = Process(argv, log, "openssl ocsp")
    try:
        wait_for(lambda: f":{RESPONDER}".encode() in lab.network.middle.run("ss", "-Htln", check=False).stdout, 10,
                 f"listening openssl ocsp\n{tail(log)}")
        yield process
    finally:
        process.stop()


def authority(lab):
    """A CA whose certificate no server has shown yet."""
    number = _next(lab, "fetched-ca")
    return type(lab.issuer)(lab.folder / f"fetched-ca-{number}", f"Lab Fetched Issuer {number}", lab.root)


def publish_crl(server, ca, certificate, name):
    """Puts the CA's list under this name. DER, as RFC 5280 has it."""
    pem = server.folder / f"{name}.pem"
    ca.crl(pem, certificate)
    run(["openssl", "crl", "-in", pem, "-outform", "DER", "-out", server.www / name])


def publish_issuer(server, ca, name):
    """Likewise its certificate."""
    run(["openssl", "x509", "-in", ca.cert, "-outform", "DER", "-out", server.www / name])


def counted(lab, kind, outcome):
    """What the metrics say of requests that ended so."""
    page = lab.network.middle.run("curl", "-sS", "--max-time", 5, "http://127.0.0.1:9464/metrics").stdout.decode()
    wanted = f'wireglass_fetches_total{{kind="{kind}",outcome="{outcome}"}} '
    for line in page.splitlines():
        if line.startswith(wanted):
            return int(line.split()[-1])
    raise Failed(f"no {wanted}in the metrics")


def _next(lab, what):
    numbers = lab.__dict__.setdefault("fetched", {})
    numbers[what] = numbers.get(what, 0) + 1
    return numbers[what]

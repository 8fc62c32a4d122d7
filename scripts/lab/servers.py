"""Other people's servers with what nginx has no setting for: `openssl s_server` and Apache httpd, each on an address of its own."""

import contextlib
from pathlib import Path

from .shell import Failed, Process, tail, wait_for

_MODULES = Path("/usr/lib/apache2/modules")

_APACHE = """
ServerName lab.test
ServerRoot {dir}
PidFile {dir}/apache.pid
ErrorLog {dir}/apache-error.log
{modules}
User www-data
Group www-data
Listen {address}:443
SSLSessionCache none
<VirtualHost *:443>
  SSLEngine on
  SSLCertificateFile {chain}
  SSLCertificateKeyFile {key}
  SSLProtocol {protocol}
  SSLCACertificateFile {clients}
  RedirectMatch 204 ^/open
  <Location />
    Require all granted
  </Location>
  <Location /secret>
    SSLVerifyClient require
    SSLVerifyDepth 3
  </Location>
</VirtualHost>
"""


@contextlib.contextmanager
def s_server(lab, certificate, *options):
    """`openssl s_server -www`, which answers each request with a page about the session. Gives its address."""
    with listener(lab, certificate, "-www", *options) as (address, _process):
        yield address


@contextlib.contextmanager
def listener(lab, certificate, *options):
    """`openssl s_server`, which prints what it is sent. Gives its address and its process."""
    address = lab.network.new_server_address()
    argv = lab.network.server.argv("openssl", "s_server", "-accept", f"{address}:443", "-cert", certificate.cert, "-cert_chain",
                                   certificate.chain, "-key", certificate.key, *options)
    with _running(lab, argv, f"s_server-{address}", address) as process:
        yield address, process


@contextlib.contextmanager
def apache(lab, certificate, protocol):
    """Apache httpd: /open answers 204 to all, /secret asks for a client certificate of the lab's and answers 404. Gives its address."""
    address = lab.network.new_server_address()
    folder = lab.folder / f"apache-{address}"
    folder.mkdir()
    clients = folder / "clients.pem"
    clients.write_text(lab.root.cert.read_text() + lab.issuer.cert.read_text())
    modules = "\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so"
                        for name in ("mpm_event", "authz_core", "alias", "ssl"))
    config = folder / "apache.conf"
    config.write_text(_APACHE.format(dir=folder, modules=modules, address=address, chain=certificate.chain, key=certificate.key,
                                     protocol=protocol, clients=clients))
    with _running(lab, lab.network.server.argv("apache2", "-DFOREGROUND", "-f", config), f"apache-{address}", address):
        yield address


@contextlib.contextmanager
def _running(lab, argv, name, address):
    process = Process(argv, lab.folder / f"{name}.log", name)

    def listening():
        if not process.alive():
            raise Failed(f"{name} ended\n{tail(process.log)}")
        return f"{address}:443".encode() in lab.network.server.run("ss", "-Htln", check=False).stdout
    try:
        wait_for(listening, 10, f"listening {name}")
        yield process
    finally:
        process.stop()

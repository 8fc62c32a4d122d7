"""Servers that begin in plain text: Exim, Dovecot, PostgreSQL and OpenLDAP in the server's namespace."""

import contextlib
import functools
import shutil
import tempfile
import threading
from pathlib import Path

from .hosts import WWW
from .net import SERVER4
from .shell import Failed, Process, run, wait_for

# On 2525 is an SMTP server without TLS.
SETUP = {"intercept": """
[starttls]
smtp = [25, 2525]
imap = [143]
pop3 = [110]
postgres = [5432]
ldap = [389]
"""}

_EXIM = """
primary_hostname = {name}
local_interfaces = {address}
daemon_smtp_ports = 25
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
pid_file_path = {folder}/exim.pid
tls_advertise_hosts = *
tls_certificate = {folder}/chain.pem
tls_privatekey = {folder}/key.pem
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
nowhere:
  driver = redirect
  allow_fail
  data = :blackhole:
begin transports
"""

_DOVECOT = """
protocols = imap pop3
listen = {address}
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = required
ssl_cert = <{folder}/chain.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail
first_valid_uid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail
}}
"""

_SLAPD = """
include /etc/ldap/schema/core.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCertificateFile {folder}/chain.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/chain.pem
TLSVerifyClient never
"""


@contextlib.contextmanager
def _folder(lab, owner):
    """A folder that a daemon's own user can reach, with the certificate in it."""
    folder = Path(tempfile.mkdtemp(prefix="wg-starttls-"))
    try:
        folder.chmod(0o755)
        certificate = lab.certificates[WWW]
        for source, name in ((certificate.chain, "chain.pem"), (certificate.key, "key.pem")):
            shutil.copy(source, folder / name)
            shutil.chown(folder / name, owner)
            (folder / name).chmod(0o600)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(lab, folder, name, port, *argv):
    log = folder / f"{name}.out"
    process = Process(lab.network.server.argv(*argv), log, name)

    def listens():
        if not process.alive():
            raise Failed(f"{name} ended: {log.read_text(errors='replace')[-400:]}")
        listening = lab.network.server.run("ss", "-Hltn", f"sport = :{port}").stdout
        return listening.strip()
    try:
        wait_for(listens, 15, f"{name} on port {port}")
        yield
    finally:
        process.stop()


@contextlib.contextmanager
def exim(lab):
    """SMTP on port 25; mail goes nowhere."""
    with _folder(lab, "Debian-exim") as folder:
        (folder / "spool").mkdir()
        shutil.chown(folder / "spool", "Debian-exim", "Debian-exim")
        config = folder / "exim.conf"
        config.write_text(_EXIM.format(folder=folder, name=WWW, address=SERVER4))
        with _running(lab, folder, "exim", 25, "exim4", "-C", config, "-bdf"):
            yield


@contextlib.contextmanager
def dovecot(lab):
    """IMAP on port 143, POP3 on port 110; every password is right."""
    with _folder(lab, "root") as folder:
        (folder / "mail").mkdir()
        shutil.chown(folder / "mail", "nobody", "nogroup")
        config = folder / "dovecot.conf"
        config.write_text(_DOVECOT.format(folder=folder, address=SERVER4))
        with _running(lab, folder, "dovecot", 143, "dovecot", "-F", "-c", config):
            yield


@contextlib.contextmanager
def postgres(lab):
    """PostgreSQL on port 5432, which takes connections over TLS only and trusts everyone."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    as_postgres = ("runuser", "-u", "postgres", "--")
    with _folder(lab, "postgres") as folder:
        data = folder / "data"
        data.mkdir()
        shutil.chown(data, "postgres", "postgres")
        run([*as_postgres, programs / "initdb", "-D", data, "-A", "trust", "--no-sync"], timeout=60, cwd="/")
        (data / "pg_hba.conf").write_text("hostssl all all all trust\n")
        options = {"listen_addresses": SERVER4, "unix_socket_directories": data, "ssl": "on", "fsync": "off",
                   "ssl_cert_file": folder / "chain.pem", "ssl_key_file": folder / "key.pem"}
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with _running(lab, folder, "postgres", 5432, *as_postgres, programs / "postgres", "-D", data, *words):
            yield


@contextlib.contextmanager
def slapd(lab):
    """LDAP on port 389, with nothing but a root DSE."""
    with _folder(lab, "root") as folder:
        config = folder / "slapd.conf"
        config.write_text(_SLAPD.format(folder=folder))
        with _running(lab, folder, "slapd", 389, "slapd", "-f", config, "-h", f"ldap://{SERVER4}", "-d", "0"):
            yield


class WithoutTls:
    """Context manager: an SMTP server on port 2525 that offers no TLS. `received` is what it was told."""

    def __init__(self, lab):
        self.received = b""
        self._listener = lab.network.server.socket()
        self._listener.setsockopt(1, 2, 1)
        self._listener.bind((SERVER4, 2525))
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.sendall(b"220 lab ESMTP\r\n")
                for line in iter(functools.partial(connection.recv, 4096), b""):
                    self.received += line
                    connection.sendall(b"250 lab\r\n")

"""The other proxies, each with the least configuration that does the engine's job: the CA's certificate towards the client, a
verified certificate from the server, TLS on both sides, one worker.

SSLsplit, Squid and mitmproxy mint as the engine does, with the engine's CA. HAProxy and nginx cannot: they have a certificate of
that CA for the one name, made before. Resumption is off wherever it can be switched off. Logs of requests are off.
"""

import re
import shutil

from .. import pki
from ..goodput.bed import HOST
from ..nginx import Nginx
from ..shell import Failed, Process, run, tail, wait_for

# Where all of them listen, in a namespace of their own.
PORT = 443

_HAPROXY = """
global
  nbthread 1
  maxconn 4096
  tune.ssl.cachesize 0
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  # A server connection belongs to one client connection, and ends with it.
  http-reuse never
frontend clients
  bind :{port} ssl crt {prepared} ssl-min-ver TLSv1.3 no-tls-tickets
  default_backend origin
backend origin
  server origin {server}:{port} ssl verify required ca-file {root} verifyhost {host} sni str({host}) ssl-min-ver TLSv1.3 no-ssl-reuse
"""

_NGINX = """
  upstream origin {{
    server {server}:{port} max_fails=0;
    keepalive 64;
    keepalive_requests 100000000;
  }}
  server {{
    listen {port} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
    keepalive_requests 100000000;
    access_log off;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {root};
    proxy_ssl_verify_depth 3;
    proxy_ssl_name {host};
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_session_reuse off;
    proxy_set_header Host $host;
    proxy_http_version 1.1;
    proxy_max_temp_file_size 0;
    proxy_buffers 16 32k;
    # A client that asks for the end of the connection gets a server connection of its own, as with all the others.
    location / {{
      if ($http_connection = close) {{ proxy_pass https://{server}:{port}; }}
      proxy_set_header Connection "";
      proxy_pass https://origin;
    }}
  }}
"""

_SQUID = """
http_port 127.0.0.1:3128
https_port {port} intercept ssl-bump tls-cert={folder}/ca.pem tls-key={folder}/ca.key generate-host-certificates=on \
dynamic_cert_mem_cache_size=4MB options=NO_TICKET
sslcrtd_program /usr/lib/squid/security_file_certgen -s {folder}/minted -M 4MB
sslcrtd_children 1 startup=1 idle=1
tls_outgoing_options cafile={folder}/root.pem default-ca=off
acl hello at_step SslBump1
ssl_bump peek hello
ssl_bump bump all
http_access allow all
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
hosts_file {hosts}
workers 1
pinger_enable off
shutdown_lifetime 0 seconds
"""


class Proxy:
    """One of them on a route. `process` is its first process once it runs; there may be more in its namespace."""

    name = title = ""
    version_argv = ()
    mints = True

    def __init__(self, route, folder):
        self.route, self.bed, self.folder = route, route.bed, folder
        folder.mkdir()
        self.log = folder / "proxy.log"
        self.process = None

    @classmethod
    def version(cls):
        """Its name with its version, as it says itself."""
        done = run(cls.version_argv, check=False)
        found = re.search(r"\d+\.\d+(\.\d+)*", (done.stdout + done.stderr).decode(errors="replace"))
        return f"{cls.title} {found[0] if found else '?'}"

    def start(self):
        """Starts it and waits until it listens."""
        middle = self.route.middle
        self.process = Process(middle.argv(*self.argv()), self.log, self.name)

        def listening():
            if not self.process.alive():
                raise Failed(f"{self.name} ended\n{tail(self.log)}")
            return f":{PORT} ".encode() in middle.run("ss", "-Htln", check=False).stdout
        try:
            wait_for(listening, 20, f"listening {self.name}")
        except Failed as failed:
            raise Failed(f"{failed}\n{tail(self.log)}") from None

    def argv(self):
        """Its command line; writes its files."""
        raise NotImplementedError

    def write(self, name, text):
        """A file in its folder. Returns the path."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def ca(self, kind):
        """The CA's certificate ("pem") or key ("key")."""
        return self.bed.ca / f"trusted.{kind}"


class Haproxy(Proxy):
    """One thread."""

    name, title, mints = "haproxy", "HAProxy", False
    version_argv = ("haproxy", "-v")

    def argv(self):
        prepared = self.bed.prepared
        both = self.write("prepared.pem", prepared.chain.read_text() + prepared.key.read_text())
        config = self.write("haproxy.cfg", _HAPROXY.format(
            port=PORT, prepared=both, server=self.route.server_address, root=self.bed.root.cert, host=HOST))
        return ["haproxy", "-db", "-f", config]


class NginxProxy(Proxy):
    """One worker process."""

    name, title, mints = "nginx", "nginx", False
    version_argv = ("nginx", "-v")

    def start(self):
        self.process = Nginx(self.route.middle, self.folder, [self]).process

    def block(self, _folder):
        """For `Nginx`."""
        prepared = self.bed.prepared
        return _NGINX.format(port=PORT, server=self.route.server_address, chain=prepared.chain, key=prepared.key,
                             root=self.bed.root.cert, host=HOST)


class Sslsplit(Proxy):
    """Threads as it comes. Relays bytes, reads no HTTP. Verifies only when told to; the leaf's key is one for all, here P-256."""

    name, title = "sslsplit", "SSLsplit"
    version_argv = ("sslsplit", "-V")

    def argv(self):
        key = self.folder / "leaf.key"
        pki.new_key(key, "ec")
        return ["env", f"SSL_CERT_FILE={self.bed.root.cert}", "sslsplit", "-u", "root", "-k", self.ca("key"), "-c", self.ca("pem"),
                "-K", key, "-o", "VerifyPeer=yes", "ssl", "0.0.0.0", PORT]


class Squid(Proxy):
    """One worker and one process that mints; nothing is cached but minted certificates."""

    name, title = "squid", "Squid"
    version_argv = ("squid", "-v")

    def argv(self):
        for name, source in (("ca.pem", self.ca("pem")), ("ca.key", self.ca("key")), ("root.pem", self.bed.root.cert)):
            self.write(name, source.read_text())
        run(["/usr/lib/squid/security_file_certgen", "-c", "-s", self.folder / "minted", "-M", "4MB"])
        config = self.write("squid.conf", _SQUID.format(port=PORT, folder=self.folder, hosts=self.route.hosts))
        # It does not run as root.
        run(["chown", "-R", "proxy:", self.folder])
        return ["squid", "-N", "-f", config]


class Mitmproxy(Proxy):
    """mitmdump, without output, its single Python thread as it comes; bodies are passed on as they arrive."""

    name, title = "mitmproxy", "mitmproxy"
    version_argv = ("mitmdump", "--version")

    def argv(self):
        self.write("mitmproxy-ca.pem", self.ca("key").read_text() + self.ca("pem").read_text())
        return ["mitmdump", "--quiet", "--mode", "transparent", "--listen-host", "0.0.0.0", "--listen-port", PORT,
                "--set", f"confdir={self.folder}", "--set", f"ssl_verify_upstream_trusted_ca={self.bed.root.cert}",
                "--set", "stream_large_bodies=1"]


PROXIES = {each.name: each for each in (Haproxy, NginxProxy, Sslsplit, Squid, Mitmproxy)}

"""The real web server of the lab: nginx with one server block for each host name and address."""

from dataclasses import dataclass
from pathlib import Path

from .net import SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6
from .shell import Failed, Process, run, tail, wait_for

# An nginx that runs in the foreground and writes nowhere else.
IN_FOLDER = """
daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
"""
TEMPORARY = """
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
"""

_HEAD = IN_FOLDER + """
events {{ worker_connections 2048; }}
http {{
  # $ssl_server_name first: one line for each request that arrived, by host, with what the server leg negotiated.
  log_format lab "$ssl_server_name $request_method $uri $status $ssl_protocol $server_protocol $remote_addr $remote_port";
  access_log {dir}/access.log lab;
  client_max_body_size 0;
  default_type text/plain;
  types {{ application/x-msdownload exe; }}
  ssl_session_cache shared:lab:1m;
""" + TEMPORARY

_SERVER = """
  server {{
    {listens}
    server_name {host};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols {protocols};
    {more}
    location = / {{ return 200 "hello from {host}\\n"; }}
    location ~ ^/number/([0-9]+)$ {{ return 200 "number $1\\n"; }}
    location = /moved {{ return 302 https://{host}/; }}
    location /files/ {{ alias {dir}/files/; }}
    location /packed/ {{ alias {dir}/files/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /upload/ {{ alias {dir}/upload/; dav_methods PUT; }}
  }}
"""


@dataclass(frozen=True)
class Host:
    """One server block."""

    name: str
    certificate: object
    protocols: str = "TLSv1.2 TLSv1.3"
    http2: bool = True
    addresses: tuple = ((SERVER4, SERVER6),)
    on_vlan: bool = True
    more: str = ""

    def block(self, folder):
        """Its text in nginx.conf."""
        pairs = self.addresses + (((VLAN_SERVER4, VLAN_SERVER6),) if self.on_vlan else ())
        options = "ssl http2" if self.http2 else "ssl"
        listens = " ".join(f"listen {v4}:443 {options}; listen [{v6}]:443 {options};" for v4, v6 in pairs)
        return _SERVER.format(dir=folder, listens=listens, host=self.name, chain=self.certificate.chain,
                              key=self.certificate.key, protocols=self.protocols, more=self.more)


class Nginx:
    """One nginx in a namespace."""

    def __init__(self, namespace, folder: Path, hosts):
        self.folder = folder
        for name in ("files", "upload"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.access = folder / "access.log"
        self.access.touch()
        config = folder / "nginx.conf"
        config.write_text(_HEAD.format(dir=folder) + "".join(host.block(folder) for host in hosts) + "}\n")
        argv = namespace.argv("nginx", "-e", folder / "error.log", "-c", config)
        tried = run([*argv, "-t"], check=False)
        if tried.returncode != 0:
            raise Failed(f"nginx refuses its configuration: {tried.stderr.decode()[-400:]}")
        self.process = Process(argv, folder / "nginx.log", "nginx")
        wait_for(self._listening(namespace), 10, f"listening nginx\n{tail(folder / 'nginx.log')}")

    def requests(self, host, since=0):
        """The access log's lines for one host, from this byte on: empty means that no request has reached the server."""
        return [line for line in self.access.read_text()[since:].splitlines() if line.split(" ", 1)[0] == host]

    def stop(self):
        """Ends nginx with its workers."""
        self.process.stop()

    def _listening(self, namespace):
        def condition():
            if not self.process.alive():
                raise Failed(f"nginx ended\n{tail(self.process.log)}")
            return b":443" in namespace.run("ss", "-Htln", check=False).stdout
        return condition

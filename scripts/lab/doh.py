"""A resolver over HTTPS as a process of its own: `doh.py CERTIFICATE KEY HOST ADDRESS PUBLIC_NAME`, on 127.0.0.1 and port 8453.

It knows one host: its address, and an HTTPS record whose ECHConfig (RFC 9849) has this public name and a key that nobody has.
"""

import base64
import http.server
import os
import socket
import ssl
import struct
import sys
import time

A, HTTPS = 1, 65
PORT = 8453
# Chromium asks for both at once, and waits for the second no more than a few milliseconds longer than for the address: so that comes last.
ADDRESS_TAKES = 0.3


def _config_list(public_name):
    """An ECHConfigList with X25519, HKDF-SHA256 and AES-128-GCM. Any 32 bytes are a public key of X25519."""
    contents = b"\x07" + struct.pack(">HH", 0x20, 32) + os.urandom(32) + struct.pack(">HHH", 4, 1, 1)
    contents += bytes([64, len(public_name)]) + public_name.encode() + b"\0\0"
    config = b"\xfe\x0d" + struct.pack(">H", len(contents)) + contents
    return struct.pack(">H", len(config)) + config


def _parameter(key, value):
    return struct.pack(">HH", key, len(value)) + value


class _Resolver:
    def __init__(self, host, address, public_name):
        self.host = host
        # Of the host itself, with HTTP/2 and ECH (RFC 9460).
        service = struct.pack(">H", 1) + b"\0" + _parameter(1, b"\x02h2") + _parameter(5, _config_list(public_name))
        self.records = {A: socket.inet_aton(address), HTTPS: service}

    def answer(self, query):
        """The response to a query with one question: a record, or that there is none."""
        end, labels = 12, []
        while query[end]:
            labels.append(query[end + 1:end + 1 + query[end]].decode())
            end += 1 + query[end]
        kind = struct.unpack(">H", query[end + 1:end + 3])[0]
        data = self.records.get(kind) if ".".join(labels).lower() == self.host else None
        if data is not None and kind == A:
            time.sleep(ADDRESS_TAKES)
        head = query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 0 if data is None else 1, 0, 0)
        record = b"" if data is None else b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        return head + query[12:end + 5] + record


def _handler(resolver):
    class Handler(http.server.BaseHTTPRequestHandler):
        """RFC 8484: the query is the body of a POST, or in the path of a GET."""

        protocol_version = "HTTP/1.1"

        def _reply(self, query):
            body = resolver.answer(query)
            self.send_response(200)
            self.send_header("content-type", "application/dns-message")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self._reply(self.rfile.read(int(self.headers["content-length"])))

        def do_GET(self):
            query = self.path.partition("dns=")[2]
            self._reply(base64.urlsafe_b64decode(query + "=" * (-len(query) % 4)))

        def log_message(self, *_):
            """Says nothing."""

    return Handler


def main(certificate, key, host, address, public_name):
    """Serves until it is ended."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), _handler(_Resolver(host, address, public_name)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

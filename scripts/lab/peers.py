"""Servers of the lab that misbehave on purpose, each a few lines of Python in a thread of the server namespace."""

import socket
import ssl
import struct
import threading


class Peer:
    """Listens on an IPv4 address of its own, port 443, or at this (namespace, address, port); each connection gets a thread that
    runs `handler(connection, peer)`.

    `connections` counts what was accepted, `received` is everything that plain (not TLS) handlers noted with `note`,
    `errors` holds the exceptions that ended a handler.
    """

    def __init__(self, network, handler, certificate=None, place=None):
        namespace, self.address, port = place or (network.server, network.new_server_address(), 443)
        self.handler = handler
        self.connections = 0
        self.received = b""
        self.errors = []
        self.finished = threading.Event()
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.chain, certificate.key)
        self.listener = namespace.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.address, port))
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def note(self, data):
        """Remembers bytes that arrived."""
        self.received += data

    def close(self):
        """Ends listening; open connections end with their handlers."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(20)
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.handler(connection, self)
        except (OSError, ValueError) as error:
            self.errors.append(error)
        finally:
            self.finished.set()
            connection.close()


def reset(connection):
    """Ends a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection):
    """Reads the head of an HTTP/1.1 request."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise ValueError("the client left before its request was complete")
        head += piece
    return head


def reset_in_mid_response(connection, _peer):
    """Promises 1 MB, sends 100 KB, resets."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    # Let the bytes arrive first: a RST may overtake what is still queued, and then nothing of the body is seen.
    threading.Event().wait(0.5)
    reset(connection)


def endless_response(connection, _peer):
    """Sends for as long as somebody takes it; ends with the exception of the failed send."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    block = bytes(65536)
    while True:
        connection.sendall(block)


def plain_echo(connection, peer):
    """Not TLS: answers every read with the same bytes."""
    while data := connection.recv(4096):
        peer.note(data)
        connection.sendall(b"echo " + data)


def banner_first(connection, peer):
    """Not TLS, and the server speaks first, as SSH and SMTP servers do."""
    connection.sendall(b"SSH-2.0-lab\r\n")
    while data := connection.recv(4096):
        peer.note(data)


def silent(connection, peer):
    """Accepts, reads, says nothing."""
    while data := connection.recv(4096):
        peer.note(data)

"""One end of QUIC, by aioquic, as a process of its own: `serve ADDRESS CHAIN KEY [retry]`, or `get ADDRESS HOST ROOTS VERSION PROTOCOLS`.

The client sends a text and expects it back, 200 times. PROTOCOLS: so many application protocols are offered, so that the hello is long.
Exit 0: it has come back. Exit 3: nobody has answered within two seconds.
"""

import asyncio
import sys

from aioquic.asyncio import connect, serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicProtocolVersion

ALPN, PORT, TIMES = ["h3"], 443, 200
VERSIONS = {"1": QuicProtocolVersion.VERSION_1, "2": QuicProtocolVersion.VERSION_2}


class _Echo(QuicConnectionProtocol):
    """Says what it hears, many times."""

    heard = b""

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.heard += event.data
            if event.end_stream:
                self._quic.send_stream_data(event.stream_id, self.heard * TIMES, end_stream=True)
                self.transmit()


async def _serve(address, chain, key, *options):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN, supported_versions=list(VERSIONS.values()))
    configuration.load_cert_chain(chain, key)
    await serve(address, PORT, configuration=configuration, create_protocol=_Echo, retry="retry" in options)
    print("serving", flush=True)
    await asyncio.Future()


async def _get(address, host, roots, version, protocols):
    more = [f"protocol-{number:020}" for number in range(int(protocols))]
    configuration = QuicConfiguration(alpn_protocols=ALPN + more, server_name=host, original_version=VERSIONS[version],
                                      supported_versions=list(VERSIONS.values()))
    configuration.load_verify_locations(roots)
    said = b"from end to end " * 100
    try:
        async with asyncio.timeout(2):
            async with connect(address, PORT, configuration=configuration) as client:
                reader, writer = await client.create_stream()
                writer.write(said)
                writer.write_eof()
                heard = await reader.read()
    except (TimeoutError, ConnectionError):
        return 3
    return 0 if heard == said * TIMES else 1


if __name__ == "__main__":
    sys.exit(asyncio.run({"serve": _serve, "get": _get}[sys.argv[1]](*sys.argv[2:])))

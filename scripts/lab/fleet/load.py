"""Clients, each from an address of its own, that fetch one page again and again. Runs in the clients' namespace, in a process of its own.

Each line of output is one request, or one that failed: {"t": SECONDS, "port": PORT, "client": ADDRESS, "error": WHY or null}.
Ends when its standard input does.
"""

import argparse
import asyncio
import json
import random
import ssl
import sys
import time


async def fetch(host, address, client, context):
    """One connection, one request. Returns its port."""
    reader, writer = await asyncio.open_connection(
        address, 443, ssl=context, server_hostname=host, local_addr=(client, 0), ssl_handshake_timeout=8)
    port = writer.get_extra_info("sockname")[1]
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        if b" 200 OK" not in answer.split(b"\r\n", 1)[0]:
            raise OSError(f"answered {answer[:40]!r}")
    finally:
        writer.close()
    return port


async def again_and_again(options, client, context, over):
    """One client."""
    await asyncio.sleep(random.random() * options.every)
    while not over.is_set():
        began = time.monotonic()
        said = {"t": began, "client": client, "port": 0, "error": None}
        try:
            said["port"] = await asyncio.wait_for(fetch(options.host, options.address, client, context), 10)
        except (OSError, asyncio.TimeoutError, ssl.SSLError) as wrong:
            said["error"] = f"{type(wrong).__name__}: {wrong}"
        said["took"] = time.monotonic() - began
        print(json.dumps(said), flush=True)
        try:
            await asyncio.wait_for(over.wait(), options.every)
        except asyncio.TimeoutError:
            pass


async def main():
    """All of them."""
    parser = argparse.ArgumentParser()
    for name in ("--host", "--address", "--trust", "--clients"):
        parser.add_argument(name, required=True)
    parser.add_argument("--every", type=float, required=True)
    options = parser.parse_args()
    context = ssl.create_default_context(cafile=options.trust)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    await asyncio.gather(*(again_and_again(options, client, context, over) for client in options.clients.split(",")))


if __name__ == "__main__":
    asyncio.run(main())

"""The configuration loaded anew under traffic: nothing fails, nothing stays."""

import json
import re
import threading
import time

from ..hosts import BLOCK_RESET, WWW
from ..net import SERVER4
from ..peers import Peer, read_request
from ..runner import check
from ..shell import Failed, run
from .bulk import _random_file, file_hash, intercepted
from .fetch import fetched

RELOADS = 10
NAMES = 200_000
LIST = """
[[list]]
name = "many"
kind = "domain"
files = ["many.txt"]

[[rule]]
name = "many"
sni = { list = "many" }
action = "block"
"""


def _reload(lab, engine):
    done = run([lab.binary, "reload", "-c", engine.config], check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode()


def _generation(lab, engine):
    """Number of the settings in force, and how many older ones flows have."""
    done = run([lab.binary, "top", "--json", "--interval", "0.1", "-c", engine.config], timeout=30)
    told = json.loads(done.stdout)
    return told["generation"], told["generations_older"]


def _settled(lab, engine):
    """The same, once no flow has an older one, or after some time: closed flows linger for TIME-WAIT."""
    until = time.monotonic() + 90
    generation, older = _generation(lab, engine)
    while older and time.monotonic() < until:
        time.sleep(1)
        generation, older = _generation(lab, engine)
    return generation, older


def _names(engine, number):
    lines = (f"host{each}.list{number}.test\n" for each in range(NAMES))
    (engine.folder / "many.txt").write_text("".join(lines))


def _wire(lab, name):
    """An engine whose rules ask for a list of many names first."""
    engine = lab.engine_of(name)
    text = engine.config.read_text()
    engine.config.write_text(text.replace("[[rule]]", f"{LIST}\n[[rule]]", 1))
    _names(engine, 0)
    return lab.begin(engine)


class Streams:
    """A server that tells an event each 20 ms, as server-sent events do, and a client that listens."""

    def __init__(self, lab, context=None):
        self.stop = threading.Event()
        self.heard, self.told, self.wrong = 0, 0, None
        self.peer = Peer(lab.network, self._tell, lab.certificates[WWW])
        self.tls, self.port = lab.client.tls(WWW, self.peer.address, timeout=20, context=context)
        self.tls.sendall(f"GET /events HTTP/1.1\r\nHost: {WWW}\r\n\r\n".encode())
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _tell(self, connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while not self.stop.is_set():
            connection.sendall(f"data: {self.told}\n\n".encode())
            self.told += 1
            time.sleep(0.02)
        connection.unwrap()

    def _listen(self):
        heard = b""
        try:
            while piece := self.tls.recv(65536):
                heard += piece
        except OSError as error:
            self.wrong = error
        numbers = [int(number) for number in re.findall(rb"data: (\d+)\n\n", heard)]
        self.heard = len(numbers)
        if numbers != list(range(len(numbers))):
            self.wrong = "events out of order"

    def end(self):
        """Ends the stream. Raises Failed where not every event has arrived."""
        self.stop.set()
        self.listener.join(20)
        self.tls.close()
        self.peer.close()
        if self.wrong or self.heard != self.told:
            raise Failed(f"{self.heard} of {self.told} events: {self.wrong}")


@check("reload.under-load", group="alone")
def under_load(lab):
    """Ten reloads during a download, a stream and handshakes: nothing fails, and the memory comes back"""
    engine = _wire(lab, "reload")
    # Caches and arenas have their size after some connections and reloads.
    for number in range(3):
        fetched(lab, SERVER4)
        _names(engine, number)
        _reload(lab, engine)
    if (older := _settled(lab, engine)[1]) != 0:
        raise Failed(f"{older} older generations before anything has begun")
    before = engine.resident_kb()

    source, target = _random_file(lab.nginx.folder / "files" / "100m"), lab.folder / "downloaded"
    stream = Streams(lab)
    results = {"download": None, "handshakes": 0, "wrong": []}
    over = threading.Event()

    def download():
        results["download"] = lab.client.curl(WWW, SERVER4, "--http1.1", "--limit-rate", "8M", path="/files/100m",
                                              out=target, timeout=90)

    def handshakes():
        while not over.is_set():
            try:
                fetched(lab, SERVER4)
                results["handshakes"] += 1
            except Failed as failed:
                results["wrong"].append(str(failed))

    threads = [threading.Thread(target=each, daemon=True) for each in (download, handshakes)]
    for each in threads:
        each.start()
    took = []
    for number in range(RELOADS):
        _names(engine, 10 + number)
        began = time.monotonic()
        status, said = _reload(lab, engine)
        took.append(time.monotonic() - began)
        if status != 0 or "many.txt" not in said:
            raise Failed(f"reload {number + 1}: exit {status}: {said}")
        time.sleep(0.7)
    generation, older = _generation(lab, engine)
    if older < 2:
        raise Failed(f"{older} older generations, although a download and a stream are older than {RELOADS} reloads")
    threads[0].join(100)
    over.set()
    threads[1].join(30)
    stream.end()
    if results["wrong"]:
        raise Failed(f"{len(results['wrong'])} requests failed: {results['wrong'][0]}")
    intercepted(lab, results["download"])
    if file_hash(target) != file_hash(source):
        raise Failed("the download's hash differs")
    target.unlink()
    generation, older = _settled(lab, engine)
    if generation != 4 + RELOADS or older:
        raise Failed(f"generation {generation}, and {older} older ones are still held")
    growth = engine.resident_kb() - before
    if (status := engine.stop()) != 0:
        raise Failed(f"exit {status}")
    # One list of that many names takes 6 MB, and there were ten; what the allocator keeps differs by some megabytes from run to run.
    if growth > 30_000:
        raise Failed(f"{growth} KiB more than before")
    return (f"{RELOADS} reloads of {NAMES} names in {max(took):.2f} s at most, {results['handshakes']} requests, "
            f"{stream.heard} events, 100 MB; {growth:+d} KiB")


@check("reload.fault", group="alone")
def fault(lab):
    """A broken configuration changes nothing and is told with file, line and key; a whole one is in force for the next flow"""
    engine = lab.wire("reload-fault")
    good = engine.config.read_text()

    def blocked():
        return lab.client.curl(BLOCK_RESET, SERVER4).exit != 0

    if not blocked():
        raise Failed("not blocked before")
    engine.config.write_text(good.replace('action = "block"', 'action = "blok"'))
    status, said = _reload(lab, engine)
    if status != 1 or not re.search(rf"{re.escape(str(engine.config))}:\d+: rule\[2\]\.action: expected", said):
        raise Failed(f"exit {status}: {said}")
    if not blocked() or _generation(lab, engine)[0] != 1:
        raise Failed("something has changed")
    engine.config.write_text(good.replace('action = "block"\nblock_with = "reset"', 'action = "bypass"')
                             .replace("[metrics]\nlisten = \"127.0.0.1:9464\"", "[metrics]\nlisten = \"127.0.0.1:9465\""))
    status, said = _reload(lab, engine)
    if status != 0 or "rule.action" not in said or "restart of the engine: metrics.listen" not in said:
        raise Failed(f"exit {status}: {said}")
    if blocked():
        raise Failed("still blocked")
    fetched(lab, SERVER4)
    if (status := engine.stop()) != 0:
        raise Failed(f"exit {status}")

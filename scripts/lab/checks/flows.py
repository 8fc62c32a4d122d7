"""`wireglass flows` against the live engine: a slow download is found, with both legs, and explained."""

import json
import stat
import threading
import time

from ..hosts import WWW
from ..peers import Peer, endless_response
from ..runner import check
from ..shell import Failed, run


def _flows(lab, *options):
    if not lab.binary:
        raise Failed("no engine in this lab")
    said = run([lab.binary, "flows", "-c", lab.middle.config, "--json", *options], timeout=20).stdout.decode()
    return [json.loads(line) for line in said.splitlines()]


@check("flows.slow-reader")
def slow_reader(lab):
    """A client that does not read: its leg is limited by the receiver, the server's is held back"""
    with Peer(lab.network, endless_response, lab.certificates[WWW]) as peer:
        tls, port = lab.client.tls(WWW, peer.address)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        tls.recv(65536)
        deadline = time.monotonic() + 15
        while True:
            found = _flows(lab, "--port", str(port), "--phase", "decrypted")
            if len(found) != 1:
                raise Failed(f"{len(found)} flows with port {port}, expected one")
            client, server = (found[0][leg] for leg in ("client_leg", "server_leg"))
            if client["tcp"]["limited_by"] == "receiver" and server["tcp"]["recv_queue"] > 0:
                break
            if time.monotonic() > deadline:
                raise Failed(f"not explained: {json.dumps(found[0])}")
            time.sleep(0.2)
        tls.close()
    if found[0]["sni"] != WWW or not client["tls"]["version"] or not server["tls"]["version"]:
        raise Failed(f"SNI or TLS is missing: {json.dumps(found[0])}")
    if server["tcp"]["limited_by"] != "application" or client["tcp"]["send_queue"] == 0:
        raise Failed(f"the wrong leg is to blame: {json.dumps(found[0])}")
    return f"client leg: {client['tcp']['send_queue']} bytes queued, window {client['tcp']['snd_wnd']}"


@check("flows.text")
def text(lab):
    """The same as text, while bytes go by: one line for the flow, one for each leg; by name and not by another"""
    done = threading.Event()

    def reader(tls):
        try:
            while not done.is_set() and tls.recv(16384):
                time.sleep(0.01)
        except OSError:
            pass

    with Peer(lab.network, endless_response, lab.certificates[WWW]) as peer:
        tls, port = lab.client.tls(WWW, peer.address)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        thread = threading.Thread(target=reader, args=(tls,))
        thread.start()
        try:
            time.sleep(0.5)
            argv = [lab.binary, "flows", "-c", lab.middle.config, "--port", str(port), "--sni"]
            lines = run([*argv, WWW.upper()]).stdout.decode().splitlines()
            other = run([*argv, "*.nowhere.test"])
        finally:
            done.set()
            thread.join(10)
            tls.close()
    begins = [line.split()[0] for line in lines]
    if len(lines) != 3 or begins[1:] != ["client", "server"] or f":{port} > {peer.address}:443 " not in lines[0]:
        raise Failed(f"expected a flow and two legs, got {lines}")
    if "ESTAB" not in lines[1] or "cwnd:" not in lines[2] or f'sni:"{WWW}"' not in lines[0]:
        raise Failed(f"fields are missing: {lines}")
    if other.stdout or b"no flow matches" not in other.stderr:
        raise Failed(f"another name matches: {other.stdout!r} {other.stderr!r}")
    return lines[1].strip()[:100]


@check("flows.socket")
def socket(lab):
    """The control socket has mode 0600; without an engine the command says what to do"""
    path = lab.middle.folder / "control.sock"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != 0o600:
        raise Failed(f"mode {mode:o}")
    done = run([lab.binary, "flows", "--socket", lab.folder / "nobody.sock"], check=False)
    said = done.stderr.decode()
    if done.returncode != 1 or "wireglass run" not in said:
        raise Failed(f"without an engine: exit {done.returncode}: {said}")

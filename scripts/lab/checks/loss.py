"""A bad line: 2 % of all frames are lost on each of the four ways, and nobody may notice more than a delay."""

import os

from ..clients import BareTls
from ..eve import at
from ..hosts import BYPASS, WWW
from ..loss import Loss
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed
from .bulk import file_hash, intercepted
from .fetch import ca_subject, fetched
from .hello import speak

SIZE = 10_000_000


def _sample(lab):
    path = lab.nginx.folder / "files" / "10m"
    if not path.exists():
        path.write_bytes(os.urandom(SIZE))
    return path


def _told(loss):
    lost = loss.lost()
    if min(lost.values()) == 0:
        raise Failed(f"the lab lost nothing on one of the ways: {lost}")
    return f"lost frames: {', '.join(f'{port} {count}' for port, count in lost.items())}"


@check("loss.download")
def download(lab):
    """10 MB down, compared by hash"""
    source, target = _sample(lab), lab.folder / "lossy"
    with Loss(lab.network, 2) as loss:
        intercepted(lab, lab.client.curl(WWW, SERVER4, path="/files/10m", out=target, timeout=60))
        told = _told(loss)
    if file_hash(source) != file_hash(target):
        raise Failed("the hash differs")
    return told


@check("loss.upload")
def upload(lab):
    """10 MB up over IPv6, compared by hash"""
    source, target = _sample(lab), lab.nginx.folder / "upload" / "lossy"
    with Loss(lab.network, 2) as loss:
        intercepted(lab, lab.client.curl(WWW, SERVER6, "-T", source, path="/upload/lossy", timeout=60))
        told = _told(loss)
    if file_hash(source) != file_hash(target):
        raise Failed("the hash differs")
    return told


@check("loss.handshakes")
def handshakes(lab):
    """20 connections, one after the other, while 5 % are lost"""
    with Loss(lab.network, 5) as loss:
        for _ in range(20):
            fetched(lab, SERVER4, "--connect-timeout", "20", "--max-time", "30")
        return f"lost frames: {sum(loss.lost().values())}"


@check("loss.split-hello")
def split_hello(lab):
    """ClientHellos in segments of one byte, for a decrypted and a bypassed server, while 5 % are lost"""
    with Loss(lab.network, 5) as loss:
        for host in (WWW, BYPASS) * 4:
            connection = BareTls(lab, host, SERVER4)
            try:
                issuer = speak(connection, host, 1)
            except OSError as error:
                reason = at(lab.eve.one("flow", connection.port, seconds=9), "wireglass.reason")
                raise Failed(f"{host}: {error}, {reason}") from error
            if (issuer == ca_subject(lab)) != (host == WWW):
                raise Failed(f"{host}: certificate from `{issuer}`")
        return f"lost frames: {sum(loss.lost().values())}"

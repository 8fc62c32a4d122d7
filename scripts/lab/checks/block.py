"""Rules that say block: the client is told, the server never sees a request."""

from ..eve import at
from ..hosts import BLOCK_ALERT, BLOCK_RESET
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed


def _refused(lab, host, address, words):
    seen = lab.client.curl(host, address, "-k")
    if seen.exit == 0:
        raise Failed(f"curl was served: {seen.body[:60]!r}")
    if seen.exit != 35 or not any(word in seen.error.lower() for word in words):
        raise Failed(f"curl exit {seen.exit} ({seen.why}), expected 35 with one of {words}")
    if lab.nginx.requests(host):
        raise Failed("the request reached the server")
    return seen


def _logged(lab, seen, rule):
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "block")
    at(tls, "wireglass.rule", rule)
    lab.client.endings[seen.local_port] = ["policy.block"]
    return f"{seen.why}; reason {at(tls, 'wireglass.reason', 'policy.block')}"


@check("block.alert")
def alert(lab):
    """block_with = "alert": a TLS alert ends the client's handshake"""
    _refused(lab, BLOCK_ALERT, SERVER6, ["alert"])
    return _logged(lab, _refused(lab, BLOCK_ALERT, SERVER4, ["alert"]), "no advertisements")


@check("block.reset")
def reset(lab):
    """block_with = "reset": a RST ends the client's connection"""
    return _logged(lab, _refused(lab, BLOCK_RESET, SERVER4, ["reset by peer", "ssl_error_syscall"]), "no trackers")


@check("block.prompt")
def prompt(lab):
    """A blocked client is told within a second, not left to its own time-out"""
    seen = lab.client.curl(BLOCK_ALERT, SERVER4, "-k")
    took = float(seen.info.get("time_total", 99))
    if seen.exit == 0 or took > 1:
        raise Failed(f"exit {seen.exit} after {took:.2f} s")
    return f"{took * 1000:.0f} ms"

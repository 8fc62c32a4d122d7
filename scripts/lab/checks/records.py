"""Records by one crypto library, handshakes by another: `crypto.records`."""

from ..net import SERVER4
from ..runner import check
from ..shell import Failed, run
from .bulk import _download
from .events import metrics
from .fetch import fetched

SUITES = {
    "AES-128-GCM": ("--tls13-ciphers", "TLS_AES_128_GCM_SHA256"),
    "AES-256-GCM": ("--tls13-ciphers", "TLS_AES_256_GCM_SHA384"),
    "ChaCha20-Poly1305": ("--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"),
}


def _taken(lab):
    """Which library each suite has, as the metrics tell."""
    begins = "wireglass_record_library_info{"
    labels = [dict(pair.split("=") for pair in name[len(begins):-1].replace('"', "").split(",")) for name in metrics(lab) if name.startswith(begins)]
    return {each["suite"]: each["library"] for each in labels}


@check("records.library")
def library(lab):
    """`crypto.records` of either library, taken by a reload: the metrics say so, and each suite's traffic flows, TLS 1.2 and 1.3, and 100 MB come as they are"""
    config = lab.middle.config
    before = config.read_text()
    if "[crypto]\n" not in before:
        raise Failed("no [crypto] in the lab's configuration")
    try:
        for name in ("aws-lc-rs", "ring"):
            config.write_text(before.replace("[crypto]\n", f'[crypto]\nrecords = "{name}"\n'))
            run([lab.binary, "reload", "-c", config])
            if _taken(lab) != dict.fromkeys(SUITES, name):
                raise Failed(f"with {name}: {_taken(lab)}")
            for options in (*SUITES.values(), ("--tls-max", "1.2")):
                fetched(lab, SERVER4, *options)
            _download(lab, SERVER4)
    finally:
        config.write_text(before)
        run([lab.binary, "reload", "-c", config])
    return ", ".join(f"{suite} by {name}" for suite, name in _taken(lab).items())

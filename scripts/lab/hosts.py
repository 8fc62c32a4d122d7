"""The servers of the lab's checks: host names, certificates (good and bad), and the rules that speak of them."""

from . import pki, revocation
from .nginx import Host

BYPASS, BLOCK_ALERT, BLOCK_RESET = "bank.lab.test", "ads.lab.test", "tracker.lab.test"
BLOCK_PAGE = "games.lab.test"
WWW, WARNED = "www.lab.test", "warned.lab.test"
# Ask for a client certificate, and insist on one.
ASKING, INSISTING = "asking.lab.test", "insisting.lab.test"
# Address pairs of the servers that speak one TLS version only (nginx takes the version from the address, not the name).
TLS12 = ("10.203.0.12", "fd00:203::12")
TLS13 = ("10.203.0.13", "fd00:203::13")
HTTP1 = ("10.203.0.14", "fd00:203::14")

RULES = f"""
[[rule]]
name = "no banking"
sni = ["{BYPASS}"]
action = "bypass"

[[rule]]
name = "no advertisements"
sni = ["{BLOCK_ALERT}"]
action = "block"

[[rule]]
name = "no trackers"
sni = ["{BLOCK_RESET}"]
action = "block"
block_with = "reset"

[[rule]]
name = "no games"
sni = ["{BLOCK_PAGE}"]
action = "block"
block_with = "page"

[[rule]]
name = "warn"
sni = ["{WARNED}"]
action = "decrypt"
profile = "warn"

[[rule]]
name = "all the rest"
action = "decrypt"
profile = "default"

[profile.default]
min_version = "1.2"

[profile.warn]
on_untrusted = "untrusted-ca"
"""


def hosts(lab):
    """Issues the certificates (kept in `lab.certificates`) and returns nginx's server blocks."""
    issue = lab.issuer.issue
    lab.certificates = {
        WWW: issue(WWW, [WWW, "lab.test", "*.wild.lab.test"]),
        "rsa.lab.test": issue("rsa.lab.test", key="rsa"),
        BYPASS: issue(BYPASS),
        BLOCK_ALERT: issue(BLOCK_ALERT),
        BLOCK_RESET: issue(BLOCK_RESET),
        BLOCK_PAGE: issue(BLOCK_PAGE),
        WARNED: lab.stranger.issue(WARNED),
        "expired.lab.test": issue("expired.lab.test", dates=pki.LONG_AGO),
        "future.lab.test": issue("future.lab.test", dates=pki.FAR_AHEAD),
        "wrong.lab.test": issue("wrong.lab.test", ["right.lab.test"]),
        "stranger.lab.test": lab.stranger.issue("stranger.lab.test"),
        "selfsigned.lab.test": pki.self_signed(lab.folder, "selfsigned.lab.test"),
        "own.lab.test": lab.own.issue("own.lab.test"),
    }
    blocks = [Host(name, certificate) for name, certificate in lab.certificates.items()]
    for name, verify in ((ASKING, "optional"), (INSISTING, "on")):
        lab.certificates[name] = issue(name)
        verify = f"ssl_verify_client {verify}; ssl_verify_depth 3; ssl_client_certificate {lab.root.cert};"
        blocks.append(Host(name, lab.certificates[name], more=verify))
    revocation.hosts(lab, blocks)
    # Of programs that are no nginx, and of a client.
    lab.certificates["rsa.wild.lab.test"] = issue("rsa.wild.lab.test", ["*.wild.lab.test"], key="rsa")
    lab.certificates["client.lab.test"] = issue("client.lab.test")
    www = lab.certificates[WWW]
    apart = {"on_vlan": False}
    blocks.append(Host(WWW, www, protocols="TLSv1.2", addresses=(TLS12,), **apart))
    blocks.append(Host(WWW, www, protocols="TLSv1.3", addresses=(TLS13,), **apart))
    blocks.append(Host(WWW, www, http2=False, addresses=(HTTP1,), **apart))
    return blocks

"""The lab's rules for what a profile says of servers that cannot be decrypted."""

from .hosts import RULES

# Names below the wildcard of the main certificate, by the profile that they get; all others have the default.
BYPASSING = ("mtls", "portal", "reneg", "rsa-only", "dhe-only", "cbc-only", "tls11", "tls10", "p521", "x448", "pinned", "restart")
BLOCKING = ("strict",)
# No certificate could have it.
RAW_BYPASS = "foo-.lab.test"


def named(label):
    """The server name with this label."""
    return f"{label}.wild.lab.test"


def _rule(profile, labels):
    names = ", ".join(f'"{named(label)}"' for label in labels)
    return f"""
[[rule]]
name = "{profile}"
sni = [{names}]
action = "decrypt"
profile = "{profile}"
"""


_RAW = f"""
[[rule]]
name = "raw"
sni = ["{RAW_BYPASS}"]
action = "bypass"
"""

SETUP = {"rules": _RAW + _rule("bypassing", BYPASSING) + _rule("blocking", BLOCKING) + RULES + """
[profile.bypassing]
on_client_certificate = "bypass"
on_unsupported = "bypass"
on_pinned = "bypass"

[profile.blocking]
on_client_certificate = "block"

[exclusions]
file = "exclusions.json"
hours = 1
"""}

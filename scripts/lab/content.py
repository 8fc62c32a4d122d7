"""The lab's rules on content, what their answers look like, and the rest that the checks of them share."""

from .eve import at
from .hosts import RULES, WWW
from .shell import Failed

# In the folder of the engine that has the rules.
FILES = (("ads.hosts", "0.0.0.0 ads.wild.lab.test\n"),)
LISTED = "ads.wild.lab.test"

# Names that the certificate of WWW is for, too. Connections for the first one are not decrypted.
APART, TOGETHER = "bank.wild.lab.test", "open.wild.lab.test"
CONNECTIONS = f"""
[[rule]]
name = "no wild banking"
sni = ["{APART}"]
action = "bypass"
"""

# nginx answers /number/N for every N: what a rule blocks, it would have served.
CONTENT = """
[content]
on_unparsed = "block"
on_opaque = "allow"

[[list]]
name = "ads"
kind = "domain"
files = ["ads.hosts"]

[[content.rule]]
name = "no ads"
host = { list = "ads" }
action = "block"

[[content.rule]]
name = "no forties"
path = ["/number/4*"]
action = "block"

[[content.rule]]
name = "fifties are reset"
path = ["/number/5*"]
action = "block"
respond = "reset"

[[content.rule]]
name = "sixties have a status"
path = ["/number/6*"]
action = "block"
respond = 451

[[content.rule]]
name = "seventies go elsewhere"
path = ["/number/7*"]
action = "block"
respond = { redirect = "https://www.lab.test/number/1" }

[[content.rule]]
name = "eighties are told"
path = ["/number/8*"]
action = "alert"

[[content.rule]]
name = "no uploads"
method = ["POST", "PUT"]
path = ["/upload/blocked/*"]
action = "block"

[[content.rule]]
name = "no executables"
direction = "response"
content_type = ["application/x-msdownload"]
action = "block"

[[content.rule]]
name = "no typed files"
path = ["/files/typed-*", "/packed/*"]
file_type = ["executable", "archive", "office"]
action = "block"

[[content.rule]]
name = "no grpc secrets"
path = ["/lab.Echo/Secret"]
action = "block"

[[header]]
host = ["www.lab.test"]
set = { "X-Tenant" = "lab" }
remove = ["X-Secret"]
"""

SETUP = {"rules": CONNECTIONS + RULES + CONTENT, "files": FILES}
STRICT = {"rules": CONNECTIONS + RULES + CONTENT.replace('on_opaque = "allow"', 'on_opaque = "block"'), "files": FILES}


def blocked(lab, seen, rule, status=403):
    """What a client saw is an answer of the engine's, the log has it, and the server has no request of that path."""
    if seen.exit != 0:
        raise Failed(f"curl exit {seen.exit}: {seen.why}")
    if seen.status != status:
        raise Failed(f"status {seen.status}, expected {status}; body {seen.body[:60]!r}")
    alert = logged(lab, seen.local_port, rule)
    if status == 403 and seen.body and at(alert, "wireglass.event").encode() not in seen.body:
        raise Failed(f"the page does not name the event: {seen.body[:200]!r}")
    return alert


def logged(lab, port, rule, reason="content.blocked", action="blocked"):
    """The first alert of a connection; it is of this rule."""
    alert = lab.eve.one("alert", port)
    at(alert, "alert.action", action)
    at(alert, "wireglass.reason", reason)
    if rule:
        at(alert, "alert.signature", rule)
    return alert


def unseen(lab, path, method=None):
    """No request for the path has reached nginx through this engine."""
    found = [line for line in lab.nginx.requests(WWW, lab.logged_before)
             if line.split()[2].startswith(path) and method in (None, line.split()[1])]
    if found:
        raise Failed(f"the server has seen it: {found[0]}")

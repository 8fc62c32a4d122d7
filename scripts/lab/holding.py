"""The lab's rules that have files looked at, and the files."""

import hashlib

from .content import CONNECTIONS
from .hosts import RULES

# A program, and a text: the first is held as a whole by its type, of the second a rule holds the tail.
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 8_000
TEXT = b"a line that is on the list\n" * 20_000
LINES = "".join(f"{hashlib.sha256(file).hexdigest()}  listed\n" for file in (PROGRAM, TEXT))

# What no list of hashes has: a rule goes by places in the file, and by what it is called.
RULE = """import "hash"
rule disguised : program disguise
{
    strings:
        $end = "the very end"
    condition:
        uint32be(0) == 0x7F454C46 and $end at filesize - 12 and filename matches /^yara-/ and hash.md5(0, 4) != ""
}
"""
DISGUISED = b"\x7fELF\x02\x01\x01" + bytes(range(200)) * 10_000 + b"the very end"

CONTENT = """
[yara.lab]
rules = ["*.yar"]

[[list]]
name = "malware"
kind = "sha256"
files = ["malware.sha256"]

[[content.rule]]
name = "no grpc secrets"
path = ["/lab.Echo/Secret"]
action = "block"

[[content.rule]]
name = "yara files"
path = ["*/yara-*"]
inspect = ["yara.lab"]
action = "inspect"

[[content.rule]]
name = "late files"
path = ["/files/late-*"]
inspect = ["list.malware"]
hold = "tail"
action = "inspect"

[[content.rule]]
name = "no archives go up"
direction = "request"
file_type = ["archive"]
action = "block"

[[content.rule]]
name = "late uploads"
direction = "request"
path = ["/upload/late-*"]
inspect = ["list.malware"]
hold = "tail"
action = "inspect"

[[content.rule]]
name = "uploads"
direction = "request"
inspect = ["list.malware"]
hold = "all"
action = "inspect"

[[content.rule]]
name = "files"
inspect = ["list.malware"]
action = "inspect"
"""

SETUP = {"rules": CONNECTIONS + RULES + CONTENT, "files": (("malware.sha256", LINES), ("lab.yar", RULE))}

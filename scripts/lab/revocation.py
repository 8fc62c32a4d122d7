"""The lab's servers for what is said of the revocation of their certificates, and for chains that they send in part."""

from .nginx import Host

STAPLED, SILENT = "stapled.lab.test", "silent.lab.test"
# The profile of these has on_revocation_unknown = "block".
STRICT, STRICT_STAPLED = "strict.lab.test", "strict-stapled.lab.test"
MUST_STAPLE, LISTED, REVOKED, STALE = "must-staple.lab.test", "listed.lab.test", "revoked.lab.test", "stale.lab.test"
ALONE, WHOLE = "alone.lab.test", "whole.lab.test"
CRL_URL = "http://pki.lab.test/wireglass.crl"

SETUP = {
    "rules": f"""
[[rule]]
name = "strict"
sni = ["{STRICT}", "{STRICT_STAPLED}"]
action = "decrypt"
profile = "strict"

[profile.strict]
on_revocation_unknown = "block"
""",
    "trust": 'crls = ["crls"]\nintermediates = ["between"]',
    "ca": f'crl_url = "{CRL_URL}"',
    # So that the folders are there.
    "files": (("crls/README", ""), ("between/README", "")),
}


def hosts(lab, blocks):
    """Issues the certificates, and adds nginx's server blocks."""
    # An authority of its own: its list is about no other certificate of the lab's.
    lab.keeper = type(lab.issuer)(lab.folder / "keeper", "Lab Keeper of Lists", lab.root)
    for name in (STAPLED, SILENT, STRICT, STRICT_STAPLED, STALE):
        lab.certificates[name] = lab.keeper.issue(name)
    lab.certificates[MUST_STAPLE] = lab.keeper.issue(MUST_STAPLE, more="tlsfeature = status_request\n")
    for name in (STAPLED, STRICT_STAPLED):
        staple = lab.keeper.staple(lab.certificates[name])
        blocks.append(Host(name, lab.certificates[name], more=f"ssl_stapling on; ssl_stapling_file {staple};"))
    for name in (SILENT, STRICT):
        blocks.append(Host(name, lab.certificates[name]))

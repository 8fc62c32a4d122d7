"""Protocols that go over to TLS in place, with Debian's servers and clients of all kinds."""

import re
import ssl

from .. import starttls as servers
from ..eve import at
from ..hosts import BLOCK_ALERT, WWW
from ..net import CLIENT4, SERVER4
from ..runner import check
from ..shell import Failed, wait_for
from .fetch import ca_subject, issuer_of


def _s_client(lab, protocol, port, host=WWW):
    """openssl s_client: the issuer that it saw ("" for none), and the `tls` event."""
    own = lab.client.port(f"s_client -starttls {protocol}")
    done = lab.network.client.run(
        "timeout", 15, "openssl", "s_client", "-starttls", protocol, "-connect", f"{SERVER4}:{port}", "-bind", f"{CLIENT4}:{own}",
        "-servername", host, "-CAfile", lab.trust, "-verify_return_error", "-showcerts", timeout=20, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    block = re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.S)
    issuer = issuer_of(ssl.PEM_cert_to_DER_cert(block[0])) if block else ""
    return issuer, lab.eve.one("tls", own), said


def _inspected(lab, protocol, port, app_proto):
    issuer, event, said = _s_client(lab, protocol, port)
    at(event, "wireglass.reason", "policy.decrypt")
    at(event, "app_proto_orig", app_proto)
    at(event, "tls.sni", WWW)
    if issuer != ca_subject(lab, "trusted"):
        raise Failed(f"issuer `{issuer}`: {said[-300:]}")


def _with(lab, *argv, port, wanted, stdin=b"", protocol):
    """Another client, whose port is its own choice. It ends well, says `wanted`, and its connection was decrypted."""
    before = len(lab.eve.events())
    done = lab.network.client.run(*argv, timeout=30, check=False, stdin=stdin)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != 0 or wanted not in said:
        raise Failed(f"{argv[0]} exit {done.returncode}: {said[-400:]}")

    def event():
        new = lab.eve.events()[before:]
        return [e for e in new if e["event_type"] == "tls" and e["dest_port"] == port]
    for each in wait_for(event, 5, f"a tls event for port {port}"):
        at(each, "wireglass.reason", "policy.decrypt")
        at(each, "app_proto_orig", protocol)
    return said


def _curl(lab, url, *options, port, protocol, stdin=b""):
    return _with(lab, "curl", "-sSv", "--ssl-reqd", "--cacert", lab.trust, "--max-time", 20, "--connect-to", f"{WWW}:{port}:{SERVER4}:{port}",
                 *options, url, port=port, wanted="SSL certificate verify ok", protocol=protocol, stdin=stdin)


def _gnutls(lab, protocol, port, app_proto):
    # Without --sni-hostname it would send the address.
    _with(lab, "timeout", 15, "gnutls-cli", f"--starttls-proto={protocol}", f"--x509cafile={lab.trust}", f"--sni-hostname={WWW}",
          f"--verify-hostname={WWW}", "-p", port, SERVER4, port=port, wanted="Handshake was completed", protocol=app_proto)


@check("starttls.smtp", group="starttls")
def smtp(lab):
    """SMTP: s_client, gnutls-cli, and a mail by curl, to Exim"""
    with servers.exim(lab):
        _inspected(lab, "smtp", 25, "smtp")
        _gnutls(lab, "smtp", 25, "smtp")
        _curl(lab, f"smtp://{WWW}:25/client.lab.test", "--mail-from", "a@lab.test", "--mail-rcpt", "b@lab.test", "-T", "-",
              port=25, protocol="smtp", stdin=b"Subject: lab\r\n\r\nHello.\r\n")
    return "3 clients, copies of the engine's CA"


@check("starttls.imap", group="starttls")
def imap(lab):
    """IMAP: s_client, gnutls-cli, and curl's login, to Dovecot"""
    with servers.dovecot(lab):
        _inspected(lab, "imap", 143, "imap")
        _gnutls(lab, "imap", 143, "imap")
        said = _curl(lab, f"imap://user:secret@{WWW}:143/", port=143, protocol="imap")
        if "INBOX" not in said:
            raise Failed(f"no INBOX: {said[-300:]}")
    return "3 clients"


@check("starttls.pop3", group="starttls")
def pop3(lab):
    """POP3: s_client, gnutls-cli, and curl's login, to Dovecot"""
    with servers.dovecot(lab):
        _inspected(lab, "pop3", 110, "pop3")
        _gnutls(lab, "pop3", 110, "pop3")
        _curl(lab, f"pop3://user:secret@{WWW}:110/", port=110, protocol="pop3")
    return "3 clients"


@check("starttls.postgres", group="starttls")
def postgres(lab):
    """PostgreSQL: s_client, gnutls-cli, and a query by psql with verify-full"""
    with servers.postgres(lab):
        _inspected(lab, "postgres", 5432, "pgsql")
        _gnutls(lab, "postgres", 5432, "pgsql")
        where = f"host={WWW} hostaddr={SERVER4} sslmode=verify-full sslrootcert={lab.trust} user=postgres dbname=postgres"
        _with(lab, "psql", where, "-Atc", "select 6 * 7, ssl from pg_stat_ssl where pid = pg_backend_pid()",
              port=5432, wanted="42|t", protocol="pgsql")
    return "3 clients"


@check("starttls.ldap", group="starttls")
def ldap(lab):
    """LDAP: s_client, gnutls-cli, and ldapsearch -ZZ, to OpenLDAP"""
    with servers.slapd(lab):
        _inspected(lab, "ldap", 389, "ldap")
        _gnutls(lab, "ldap", 389, "ldap")
        # It can only look for the name that it connects to, which is an address here; the other two have verified.
        _with(lab, "env", f"LDAPTLS_CACERT={lab.trust}", "LDAPTLS_REQCERT=allow", "ldapsearch", "-ZZ", "-x", "-H", f"ldap://{SERVER4}", "-s", "base",
              "-b", "", "supportedLDAPVersion", port=389, wanted="supportedLDAPVersion: 3", protocol="ldap")
    return "3 clients"


@check("starttls.forbidden", group="starttls")
def forbidden(lab):
    """A rule on the name holds after STARTTLS as well"""
    with servers.exim(lab):
        issuer, event, said = _s_client(lab, "smtp", 25, BLOCK_ALERT)
    at(event, "wireglass.reason", "policy.block")
    if issuer or "alert" not in said:
        raise Failed(f"issuer {issuer}: {said[-300:]}")
    return "alert to the client"


def _say(lab, port, *words):
    """A client that speaks plain: what it got before it was reset (True) or left alone, and its port."""
    sock, own = lab.client.connect(SERVER4, "plain words", port=port, timeout=8)
    heard = b""
    with sock:
        try:
            for word in words:
                heard += sock.recv(4096)
                sock.sendall(word)
            while data := sock.recv(4096):
                heard += data
        except ConnectionResetError:
            return heard, True, own
    return heard, False, own


@check("starttls.pipelined", group="starttls")
def pipelined(lab):
    """Plain bytes behind STARTTLS do not get as far as the session (CVE-2011-0411)"""
    with servers.exim(lab):
        heard, was_reset, port = _say(lab, 25, b"EHLO me\r\n", b"STARTTLS\r\nRSET\r\n")
    at(lab.eve.one("tls", port), "wireglass.reason", "starttls.pipelined")
    if not was_reset or b"220 TLS" in heard:
        raise Failed(f"reset {was_reset}, {heard[-100:]!r}")
    return "RST"


@check("starttls.stripped", group="starttls")
def stripped(lab):
    """A server without STARTTLS: the client that goes on in plain is stopped, and its mail is not heard"""
    with servers.WithoutTls(lab) as server:
        _heard, was_reset, port = _say(lab, 2525, b"EHLO me\r\n", b"MAIL FROM:<a@lab.test>\r\n")
    at(lab.eve.one("tls", port), "wireglass.reason", "starttls.stripped")
    if not was_reset or b"MAIL" in server.received:
        raise Failed(f"reset {was_reset}, the server heard {server.received!r}")
    return "RST"


@check("starttls.unused", group="starttls")
def unused(lab):
    """A client that does not want TLS is stopped"""
    with servers.exim(lab):
        _heard, was_reset, port = _say(lab, 25, b"EHLO me\r\n", b"MAIL FROM:<a@lab.test>\r\n")
    at(lab.eve.one("tls", port), "wireglass.reason", "starttls.unused")
    if not was_reset:
        raise Failed("the client was left alone")
    return "RST"

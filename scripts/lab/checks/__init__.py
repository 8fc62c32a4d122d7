"""The checks, one module for each subject. Importing a module registers its checks; the order here is the running order."""

from . import wire, fragments, fetch, load, bulk, records, hello, loss, path, bypass, block, page, refuse, speak, profile, java, revocation, timestamps, fetcher, minted, plain, held, starttls, endings, flows, events, content, content_http2, content_files, content_unread, content_hold, content_uploads, scanned, replay, past, quic, reload, xdp, mirror, captured, operate, confine, custody, command, init, links, sight  # noqa: F401

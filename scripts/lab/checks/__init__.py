"""The checks, one module for each subject. Importing a module registers its checks; the order here is the running order."""

from . import wire, fragments, fetch, load, bulk, hello, loss, path, bypass, block, refuse, minted, plain, endings, flows, events, replay, past, reload, command  # noqa: F401

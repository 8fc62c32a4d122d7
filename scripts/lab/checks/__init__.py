"""The checks, one module for each subject. Importing a module registers its checks; the order here is the running order."""

from . import wire, fragments, fetch, load, bulk, hello, loss, bypass, block, refuse, minted, plain, endings, events, command  # noqa: F401

"""Goodput of real hosts' TCP and TLS through the engine, compared with the same path without it."""

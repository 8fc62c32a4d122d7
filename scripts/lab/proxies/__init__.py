"""The engine beside other TLS-intercepting proxies: the same hosts, objects and core for each."""

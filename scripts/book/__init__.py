"""The documents as a web site: gathered, built by mdBook, checked."""

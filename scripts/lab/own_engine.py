"""Engines that a check starts for itself."""

import contextlib

from .shell import Failed


@contextlib.contextmanager
def own_engine(lab, name, **options):
    """An engine that is there for as long as this lasts, and ends well."""
    with running(lab.wire(name, **options)) as engine:
        yield engine


@contextlib.contextmanager
def running(engine):
    """The same, of one that has begun."""
    try:
        yield engine
        if not engine.alive():
            raise Failed(f"the engine ended in the middle of it (exit {engine.process.returncode})")
    finally:
        status = engine.stop()
    if status != 0 or "mbufs balanced" not in engine.log.read_text(errors="replace"):
        raise Failed(f"the engine's end: exit {status}")


def need_engine(lab):
    """Such a check has nothing to do with a plain wire."""
    if not lab.binary:
        raise Failed("no engine in this lab")

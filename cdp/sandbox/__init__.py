"""A local channel that behaves like the real ones, faults included. It listens on loopback and nowhere else."""

from cdp.sandbox.server import Sandbox, serve

__all__ = ["Sandbox", "serve"]

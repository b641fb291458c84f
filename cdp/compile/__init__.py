"""The compiler: segments, traits and syncs become sqlglot trees of named CTEs. Pure; nothing here runs SQL."""

from cdp.compile.clock import Clock
from cdp.compile.statement import Query, compile_segment, compile_sync, compile_trait, model_sha256

__all__ = ["Clock", "Query", "compile_segment", "compile_sync", "compile_trait", "model_sha256"]

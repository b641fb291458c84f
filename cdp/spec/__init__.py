"""Frozen models of every YAML kind. Pure: nothing here reads a file or knows an engine."""

from cdp.spec import activation, model, policy
from cdp.spec.base import Kind, Spec, Text, Tree

__all__ = ["Kind", "Spec", "Text", "Tree", "activation", "model", "policy"]

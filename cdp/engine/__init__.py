"""Engines: where compiled SQL runs. `connect` opens the one that an environment names."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cdp.engine.base import Engine
from cdp.errors import CdpError, EngineError
from cdp.spec.activation import Environment

__all__ = ["Engine", "connect"]

NEEDS = {"sail": ("pysail", "pyspark"), "spark": ("pyspark", "delta")}


def connect(environment: Environment, *, root: Path) -> Engine:
    """Open the environment's engine.

    Args:
        environment: of conf/cdp.yml.
        root: the project's folder, where a relative `lakehouse` starts.

    Raises:
        UsageError: the engine cannot work in the lakehouse's folder.
        EngineError: the engine's packages are not installed, or it does not start.
    """
    name = environment.engine
    missing = [module for module in NEEDS[name] if find_spec(module) is None]
    if missing:
        raise EngineError(f"engine {name} needs {', '.join(missing)}", fix=f"pip install 'composable-cdp[{name}]'")
    lakehouse = root / environment.lakehouse if environment.lakehouse else None
    try:
        engine: Engine = import_module(f"cdp.engine.{name}").connect(
            lakehouse=lakehouse, catalog=environment.catalog, settings=environment.spark
        )
    except CdpError:
        raise
    except Exception as error:  # a JVM or a server that does not start raises anything
        fix = "check that Java 17 or later is installed (JAVA_HOME)" if name == "spark" else "run again with -v"
        raise EngineError(f"engine {name} did not start ({type(error).__name__})", fix=fix) from None
    return engine

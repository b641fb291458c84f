"""Apache Spark with delta-spark: local, a standalone cluster, or any Spark Connect server (`sc://`)."""

from __future__ import annotations

import logging
from pathlib import Path

from cdp.engine.base import Engine

# For small tables; a cluster's own settings in conf/cdp.yml win.
DEFAULTS = {
    "spark.master": "local[*]",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    # Of the classes that it makes for statements Spark keeps 100; those of a whole plan are kept, so that the next one needs not make them.
    "spark.sql.codegen.cache.maxEntries": "2000",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # The embedded engine cannot merge over files with INT96 timestamps.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
}


# What the meaning of our SQL rests on, for every session; no setting of a project changes it.
FIXED = {
    # Delta's parser leaves named parameters to the analyzer, which binds them only with this.
    "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",
    # A literal such as '${env:HOME}' is what it says.
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
}


class SparkEngine(Engine):
    """An engine on a Spark session; instances of one process share the session's catalog."""

    name = "spark"
    brief = "parquet"  # a new table's Delta log takes it half a second to read


def connect(*, lakehouse: Path | None, catalog: str | None, settings: dict[str, str]) -> SparkEngine:
    """Open a session with delta-spark, or on the Connect server that `spark.remote` names."""
    from pyspark.sql import SparkSession

    if remote := settings.get("spark.remote"):
        session = SparkSession.builder.remote(remote).create()
    else:
        from delta import configure_spark_with_delta_pip

        builder = SparkSession.builder.appName("cdp")
        for name, value in {**DEFAULTS, **settings}.items():
            builder = builder.config(name, value)
        session = configure_spark_with_delta_pip(builder).getOrCreate()
    for name, value in FIXED.items():
        session.conf.set(name, value)
    logging.getLogger("SQLQueryContextLogger").disabled = True  # it prints statements that failed, whole
    return SparkEngine(session, lakehouse=lakehouse, catalog=catalog)

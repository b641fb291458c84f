# Databricks notebook source
# MAGIC %md
# MAGIC # Look at a sync before it is planned
# MAGIC The same calls as `cdp validate`, `cdp compile` and `cdp plan`, step by step. Nothing leaves: a plan is only stored.
# MAGIC It runs on Databricks, in Jupyter, and as `python notebooks/look_before_you_plan.py`.

# COMMAND ----------

from pathlib import Path

from cdp import connectors, engine
from cdp.compile import Clock, compile_segment
from cdp.governance.decide import govern
from cdp.project.load import find_root, load
from cdp.sync.planning import make_plan

SYNC = "a1c_reminder_email"

# COMMAND ----------

# MAGIC %md
# MAGIC ## The project
# MAGIC Every file is read and every reference checked; all mistakes are reported at once.

# COMMAND ----------

project = load(find_root(Path.cwd()), connectors=connectors.names())
environment = project.environment()
now = Clock.now(project.timezone)
sync = project.syncs[SYNC]
print(f"{SYNC}: the segment {sync.segment} to {sync.destination}, for {sync.purpose}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## The SQL
# MAGIC A segment is a query of keys, for a day that anyone can choose.

# COMMAND ----------

segment = compile_segment(project, sync.segment, now)
print(segment.select.sql("spark", pretty=True))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The decision
# MAGIC What each column says of a person, what being in the audience says, and who may not be told.

# COMMAND ----------

governed = govern(project, SYNC, clock=now, now=now)
for column, classes in governed.decision.columns.items():
    print(f"{column}: {', '.join(classes)}")
print(f"being in it: {', '.join(governed.decision.members)}")
print(f"left out: {', '.join(governed.rules)}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## The plan
# MAGIC What would be sent now: the difference to what the destination has acknowledged.

# COMMAND ----------

session = engine.connect(environment, root=project.root)
plan = make_plan(governed, session, environment.control, now=now.instant, as_of=now.instant, defaults=project.config.guards)
session.close()
print(dict(plan.counts))
print(f"deliver it: cdp apply {plan.id}")

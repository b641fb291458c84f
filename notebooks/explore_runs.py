# Databricks notebook source
# MAGIC %md
# MAGIC # What was sent
# MAGIC The record stands in plain Delta tables: every run, every receipt, every row that was put on the wire. Query them as any other.
# MAGIC It runs on Databricks, in Jupyter, and as `python notebooks/explore_runs.py` after a `cdp sync`.

# COMMAND ----------

from pathlib import Path

from cdp import connectors, engine
from cdp.project.load import find_root, load

# COMMAND ----------

project = load(find_root(Path.cwd()), connectors=connectors.names())
environment = project.environment()
control = environment.control
session = engine.connect(environment, root=project.root)
made = [table for table in ("runs", "receipts", "disclosures") if session.exists(f"{control}.{table}")]
session.register([f"{control}.{table}" for table in made])
if len(made) < 3:
    print("nothing was sent yet: run `cdp sync --all` first")


def show(question: str, sql: str) -> None:
    """Print a question and the rows that answer it."""
    print(f"\n{question}")
    if len(made) < 3:
        return
    rows = session.query(sql)
    print("  " + " | ".join(rows.column_names))
    for row in rows.to_pylist():
        print("  " + " | ".join(str(value) for value in row.values()))


# COMMAND ----------

# MAGIC %md
# MAGIC ## Runs
# MAGIC A run has a row when it starts and one when it ends; its state is the row of the highest `n`.

# COMMAND ----------

show(
    "The last ten runs",
    f"""SELECT sync, run, max_by(status, n) AS status, max_by(delivered, n) AS delivered, max_by(rejected, n) AS rejected,
               max_by(retryable, n) AS retryable, min(at) AS started
        FROM {control}.runs GROUP BY sync, run ORDER BY started DESC LIMIT 10""",
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Receipts
# MAGIC What the channels answered, by reason. A receipt holds a code of the channel, never its text.

# COMMAND ----------

show(
    "Answers by sync",
    f"""SELECT sync, op, status, coalesce(code, '') AS code, count(*) AS answers
        FROM {control}.receipts GROUP BY sync, op, status, code ORDER BY sync, op, status, code""",
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Disclosures
# MAGIC Who was told how much, under which agreement and for which purpose. Counts only: the people are in `cdp disclosures --key`.

# COMMAND ----------

show(
    "Told, by receiver",
    f"""SELECT destination, agreement, purpose, count(DISTINCT person) AS people, count(*) AS times, max(at) AS last
        FROM {control}.disclosures GROUP BY destination, agreement, purpose ORDER BY destination, purpose""",
)

# COMMAND ----------

session.close()

"""DuckDB doing what any diff needs, over the same files: the bar of the planner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb


class Duck:
    """The join and the hashes, and no more: nothing is governed, stored for a person, or signed.

    Args:
        lake: the lakehouse's folder.
        folder: for what it writes.
        columns: what a patient's row tells.
    """

    def __init__(self, lake: Path, folder: Path, columns: Sequence[str]) -> None:
        self.patients = f"read_parquet('{lake}/clinical/patients/*.parquet')"
        self.columns = columns
        self.acknowledged, self.out = folder / "acknowledged.parquet", folder / "changes.parquet"
        self.connection = duckdb.connect()

    def hold(self) -> None:
        """The contents are DuckDB's own hashes, so what is acknowledged is a file of its own, of the same rows."""
        self.connection.execute(f"COPY ({self._wanted()}) TO '{self.acknowledged}' (FORMAT parquet)")

    def _wanted(self) -> str:
        return f"SELECT patient_id AS key, hash({', '.join(self.columns)}) AS content FROM {self.patients}"

    def diff(self) -> dict[str, int]:
        """What differs, in a file, and how many of each kind."""
        op = "CASE WHEN a.key IS NULL THEN 'add' WHEN w.key IS NULL THEN 'remove' ELSE 'change' END"
        differs = f"""
            SELECT {op} AS op, coalesce(w.key, a.key) AS key, w.content
            FROM ({self._wanted()}) AS w FULL OUTER JOIN read_parquet('{self.acknowledged}') AS a ON w.key = a.key
            WHERE w.content IS DISTINCT FROM a.content"""
        self.connection.execute(f"COPY ({differs}) TO '{self.out}' (FORMAT parquet)")
        counted = f"SELECT op, count(*) FROM read_parquet('{self.out}') GROUP BY op ORDER BY op"
        return dict(self.connection.execute(counted).fetchall())

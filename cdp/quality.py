"""Expectations of Great Expectations, asked of a Spark data frame: counts and verdicts, never a value of a row.

Its results hold samples of the rows that fail unless they are boolean, and its errors quote them (attack 19). So verdicts are asked for as
BOOLEAN_ONLY, beside them only the metrics that are counts, and what it logs or raises is dropped. It works without a context, so that it
writes no file, without persisting the frame, and with its analytics off. The rows that fail stay in the engine.

It takes seconds to import, which only who asks an expectation pays.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, Literal

from cdp.errors import DataError, EngineError
from cdp.project.check_quality import BOUNDS, misfits
from cdp.project.language import patterns
from cdp.spec.quality import Asked, Expectation, NumberBetween, Otherwise, ValuesBetween, literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

KEY = "_key"  # the column by which rows that fail are named, in the engine only
_BOOLEAN = {"result_format": {"result_format": "BOOLEAN_ONLY"}}
_FAILED = "_failed"
_VERDICTS: Mapping[Otherwise, Literal["refused", "warned", "dropped"]] = {"refuse": "refused", "warn": "warned", "drop": "dropped"}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one expectation.

    Attributes:
        expectation: its name; `columns`: what it looked at.
        mostly: the share of the rows that must meet it.
        evaluated: how many rows were asked: of most expectations, those that have a value.
        failed: how many of them do not meet it; None where it is asked of all rows together.
        verdict: `met`, or what is done about the failure.
    """

    expectation: str
    columns: tuple[str, ...]
    mostly: float
    evaluated: int
    failed: int | None
    verdict: Literal["met", "refused", "warned", "dropped"]

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON object with stable keys; `share` is that of the rows that fail."""
        share = None if self.failed is None or not self.evaluated else round(self.failed / self.evaluated, 6)
        return {**{name: getattr(self, name) for name in self.__slots__}, "columns": list(self.columns), "share": share}

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> Result:
        """The result that `as_json` gave."""
        named = {name: body[name] for name in cls.__slots__}
        return cls(**{**named, "columns": tuple(body["columns"])})


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The results, in the order of the expectations, and the keys of rows that are to be dropped, where there are any."""

    results: tuple[Result, ...]
    failing: DataFrame | None


def check_installed() -> None:
    """Whether expectations can be asked at all, without importing what asks them.

    Raises:
        EngineError: Great Expectations is not installed.
    """
    if importlib.util.find_spec("great_expectations") is None:
        raise EngineError("`quality:` needs great-expectations", fix="pip install 'composable-cdp[quality]'")


def check_types(expectations: Sequence[Expectation], types: Mapping[str, str]) -> None:
    """Whether each expectation fits the columns that it is asked of, as the engine types them.

    Raises:
        DataError: one does not; all are named.
    """
    wrong = []
    for number, expectation in enumerate(expectations):
        asked = expectation.arguments
        for path, message, hint in misfits(asked, {column: types[column] for column in asked.columns}):
            wrong.append(f"quality[{number}].{expectation.name}{''.join(f'.{part}' for part in path)}: {message}; {hint}")
    if wrong:
        raise DataError("; ".join(wrong), fix="mend `quality:` of the sync")


def judge(rows: DataFrame, expectations: Sequence[Expectation], types: Mapping[str, str]) -> Verdicts:
    """Ask expectations of rows; what can be counted in one pass is.

    Args:
        rows: the columns that leave under their own names, and KEY, which tells rows apart.
        expectations: what to ask.
        types: the Spark types of the columns, which `check_types` has seen.

    Raises:
        DataError: one cannot be evaluated on these rows.
    """
    judgement = _Judgement(rows)
    prepared = [judgement.prepared(each, types) for each in expectations]
    judgement.compute([metric for _, metrics in prepared for metric in metrics.values()])
    results = tuple(judgement.result(*each, said) for each, said in zip(prepared, expectations, strict=True))
    dropping = [each for each, result in zip(prepared, results, strict=True) if result.verdict == "dropped"]
    return Verdicts(results, reduce(lambda a, b: a.union(b), map(judgement.failing, dropping)).distinct() if dropping else None)


@dataclass(frozen=True, slots=True)
class _Library:
    """What is used of Great Expectations."""

    expectation: Any
    engine: Any
    calculator: Any
    metric: Any


@cache
def _library() -> _Library:
    """Great Expectations, imported with its analytics off and without its changes to this process."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings(action="ignore"):
        showwarning = warnings.showwarning
        import great_expectations.expectations  # noqa: F401 - registers the expectations
        from great_expectations.execution_engine import SparkDFExecutionEngine
        from great_expectations.expectations.registry import get_expectation_impl
        from great_expectations.validator.metric_configuration import MetricConfiguration
        from great_expectations.validator.metrics_calculator import MetricsCalculator

        if warnings.showwarning is not showwarning:
            logging.captureWarnings(False)
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL + 1)  # it logs errors of engines, which quote values
    return _Library(get_expectation_impl, SparkDFExecutionEngine, MetricsCalculator, MetricConfiguration)


_Prepared = tuple[Any, Mapping[str, Any]]  # an expectation of the library, and the metrics that its verdict needs, by name


class _Judgement:
    """Expectations asked of one data frame."""

    def __init__(self, rows: DataFrame) -> None:
        self.rows, self.library = rows, _library()
        self.engine = self.library.engine(spark=rows.sparkSession, persist=False)
        self.engine.load_batch_data("rows", rows)
        self.calculator = self.library.calculator(self.engine)
        self.count = self.library.metric("table.row_count", {})
        self.found: dict[Any, Any] = {}

    def prepared(self, expectation: Expectation, types: Mapping[str, str]) -> _Prepared:
        """An expectation as the library's, with the metrics that its verdict needs."""
        made = self.library.expectation(expectation.name)(**_arguments(expectation.arguments, types))
        return made, made.get_validation_dependencies(self.engine, dict(_BOOLEAN)).metric_configurations

    def compute(self, metrics: Sequence[Any]) -> None:
        """Compute metrics; those that cannot be computed are missing from `found`."""
        found, _ = self.calculator.compute_metrics([self.count, *metrics])
        self.found.update(found)

    def result(self, made: Any, metrics: Mapping[str, Any], said: Expectation) -> Result:
        """The verdict on an expectation, and its counts."""
        if any(metric.id not in self.found for metric in metrics.values()):
            what = f"{said.name} of {', '.join(said.arguments.columns) or 'the rows'}"
            raise DataError(
                f"{what} cannot be evaluated", fix="compare its arguments with the columns, and see whether other commands can read them"
            )
        met = made.metrics_validate(self.found, dict(_BOOLEAN), self.engine).success
        evaluated, failed = self.found[self.count.id], None
        if said.arguments.by_row:
            evaluated, failed = self._counts(made.map_metric, metrics)
        met = failed == 0 if said.otherwise == "drop" else met
        mostly = getattr(said.arguments, "mostly", 1.0)
        return Result(said.name, said.arguments.columns, mostly, evaluated, failed, "met" if met else _VERDICTS[said.otherwise])

    def _counts(self, asked: str, metrics: Mapping[str, Any]) -> tuple[int, int]:
        """How many rows were asked, and how many failed."""
        counts = {name: int(self.found[metric.id] or 0) for name, metric in metrics.items()}
        evaluated = counts.get(f"{asked}.filtered_row_count", counts["table.row_count"])
        if asked not in ("column_values.nonnull", "column_values.null"):
            evaluated -= counts.get("column_values.nonnull.unexpected_count", 0)
        return evaluated, counts[f"{asked}.unexpected_count"]

    def failing(self, prepared: _Prepared) -> DataFrame:
        """The keys of the rows that do not meet an expectation, as a data frame that nothing has read yet."""
        from pyspark.sql import functions

        made, metrics = prepared
        counted = metrics[f"{made.map_metric}.unexpected_count"]
        condition = self.library.metric(f"{made.map_metric}.condition", counted.metric_domain_kwargs, counted.metric_value_kwargs)
        self.compute([condition])
        fails, domain, accessor = self.found[condition.id]
        asked = self.engine.get_domain_records({**domain, **accessor})
        failing: DataFrame = asked.withColumn(_FAILED, fails).filter(functions.col(_FAILED)).select(KEY)  # a column: it may hold a window
        return failing


def _arguments(asked: Asked, types: Mapping[str, str]) -> dict[str, Any]:
    """The arguments as the library takes them: values of the columns' types, patterns as every engine reads them."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in asked if name in asked.model_fields_set}
    for argument, texts in asked.patterns.items():
        read = [patterns.read(text) for text in texts]
        given[argument] = read if isinstance(given[argument], list) else read[0]
    if "value_set" in given:
        given["value_set"] = [literal(text, types[asked.columns[0]]) for text in given["value_set"]]
    if isinstance(asked, ValuesBetween | NumberBetween):
        bounds = {bound: value for bound in BOUNDS if (value := given.get(bound)) is not None}
        given.update({bound: literal(str(value), types[asked.columns[0]]) for bound, value in bounds.items()})
    return given

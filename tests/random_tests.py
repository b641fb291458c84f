"""Random tests of the segment language: a name and what it must satisfy, directed by what the entities declare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.random_rows import CODES, NUMBERS, WORDS
from tests.slow_evaluator import Model
from tests.slow_measures import column_type

Tree = Any
Trees = st.SearchStrategy[Tree]
VALUE_SETS = {"condition": ("diabetes", "diabetes_icd", "any_diabetes"), "observation": ("hba1c", "glucose")}
MULTIPLE = {"days": (1, 7, 14, 30, 90), "weeks": (1, 2, 13), "months": (1, 2, 6, 12), "years": (1, 2)}
PERIODS = ("today", "yesterday", "measurement_year", "this_month", "last_month", "last_quarter", "last_week", "last_year", "this_week")
UNITS = ("%", "mg/dL", "mmol/L", "mmHg")
ORDERS = ("eq", "ne", "gt", "gte", "lt", "lte")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Scope:
    """The row that a condition is written on: its entity and name, the named rows around it, innermost first, how deep it is."""

    entity: str
    name: str
    around: tuple[tuple[str, str], ...] = ()  # (name, entity)
    depth: int = 0

    def inside(self, entity: str, name: str = "") -> Scope:
        """A related row."""
        return Scope(entity, name, (((self.name, self.entity), *self.around) if self.name else self.around), self.depth + 1)

    def deeper(self, depth: int) -> Scope:
        return replace(self, depth=depth)

    @property
    def within_patient(self) -> bool:
        """Whether it is a row inside of a patient's."""
        return bool(self.around) and self.around[-1][1] == "patient"


def either(*choices: Trees | list[Trees]) -> Trees:
    """One of the strategies, each as likely; `st.one_of` would prefer the one that is itself one of many."""
    flat = [each for choice in choices for each in (choice if isinstance(choice, list) else [choice])]
    return st.integers(0, len(flat) - 1).flatmap(lambda n: flat[n])


class Tests:
    """What may be tested, given a model.

    Args:
        model: the documents.
        without: constructs that are left out, by the names that `has` is asked for.
    """

    def __init__(self, model: Model, without: frozenset[str] = frozenset()) -> None:
        self.model = model
        self.without = without

    def has(self, *constructs: str) -> bool:
        return not self.without & set(constructs)

    # -- tests --------------------------------------------------------------------------------------------------------

    def _test(self, scope: Scope) -> Trees:
        """A test of a column, of a column over a to-one relation, of a trait or of the age."""
        entity = self.model.entities[scope.entity]
        names = [name for name in (*entity.get("columns", {}), *entity.get("group_by", {})) if not name.endswith("_id")]
        choices = [self._column(scope, scope.entity, name, name) for name in names]
        for relation, spec in entity.get("relations", {}).items():
            if "one" in spec and (spec["one"] != "patient" or self.has("back")):
                there = self.model.entities[spec["one"]]["columns"]
                choices += [self._column(scope, spec["one"], name, f"{relation}.{name}") for name in there if not name.endswith("_id")]
        if scope.entity == "patient":
            choices += [self._age(), self._age(), *(self._trait(scope, name) for name in self.model.traits if self.has(f"trait {name}"))]
        return either([choice for choice in choices if choice is not None])

    def _column(self, scope: Scope, entity: str, name: str, path: str) -> Trees | None:
        spec = self.model.entities[entity].get("columns", {}).get(name, {})
        if spec.get("fields"):
            if not self.has("struct"):
                return None
            return either([self._typed(scope, kind, WORDS[field], f"{path}.{field}") for field, kind in spec["fields"].items()])
        if spec.get("array"):
            return self._array(WORDS[name], path) if self.has("array") else None
        kind = column_type(self.model, entity, name)
        if kind == "code":
            return self._code(entity, path)
        if spec.get("unit"):
            return self._quantity(path, spec["unit"] if spec["unit"] != "unit" else None)
        return self._typed(scope, kind, WORDS.get(name, ()), path)

    def _typed(self, scope: Scope, kind: str, words: tuple[str, ...], path: str) -> Trees:
        null = st.sampled_from([None, {"not_null": "true"}, {"is_null": "true"}])
        test: Trees
        if kind == "boolean":
            test = st.sampled_from(["true", "false"])
        elif kind in ("string", "code"):
            test = self._textual(words)
        elif kind in ("date", "timestamp"):
            test = either(self._dated(scope, kind), self._dated(scope, kind), self._referred(scope, kind, path))
        else:
            test = either(self._numeric(), self._referred(scope, kind, path))
        return either(test, test, test, null).map(lambda t: {path: t})

    def _textual(self, words: tuple[str, ...]) -> Trees:
        word = st.sampled_from(words)
        some = st.lists(word, min_size=1, max_size=2, unique=True)
        part = word.map(lambda w: w[: max(2, len(w) // 2)])
        choices: list[Trees] = [
            word,
            some,
            word.map(lambda w: {"ne": w}),
            some.map(lambda ws: {"not_in": ws}),
            part.map(lambda w: {"starts_with": w}),
            word.map(lambda w: {"ends_with": w[-2:]}),
            part.map(lambda w: {"contains": w}),
        ]
        if self.has("ignore_case"):
            choices += [
                word.map(lambda w: {"eq": w.upper(), "ignore_case": "true"}),
                some.map(lambda ws: {"in": ws, "ignore_case": "true"}),
            ]
        if self.has("matches"):
            choices.append(word.map(lambda w: {"matches": f"^{w[:2]}.*{w[-1]}$"}))
        return either(choices)

    def _numeric(self) -> Trees:
        number = st.sampled_from([n for n in NUMBERS if "." not in n])
        pair = st.tuples(number, number).map(lambda two: {"between": sorted(two, key=float)})
        return either(
            st.builds(lambda op, n: {op: n}, st.sampled_from(ORDERS), number), pair, st.lists(number, min_size=1, max_size=3, unique=True)
        )

    def _quantity(self, path: str, fixed: str | None) -> Trees:
        if not self.has("units"):
            unit: Trees = st.sampled_from(["%", "percent"])
        else:
            unit = st.just(fixed) if fixed else st.sampled_from(UNITS)
        number = st.sampled_from(NUMBERS)
        plain = st.builds(lambda op, n, u: {path: {op: f"{n} {u}"}}, st.sampled_from(ORDERS), number, unit)
        several = st.builds(
            lambda op, ns, u: {path: {op: [f"{n} {u}" for n in ns]}},
            st.sampled_from(["in", "not_in"]),
            st.lists(number, min_size=1, max_size=2),
            unit,
        )
        return either(
            plain, plain, several if self.has("quantity in") else plain, st.sampled_from([{path: None}, {path: {"not_null": "true"}}])
        )

    def _code(self, entity: str, path: str) -> Trees:
        value_set = st.sampled_from([v for v in VALUE_SETS[entity] if self.has(f"value_set {v}")])
        literal = st.sampled_from(CODES[entity])
        tests = [value_set.map(lambda v: {"in": v})] * 4
        tests += [
            literal,
            st.lists(literal, min_size=1, max_size=2, unique=True),
            value_set.map(lambda v: {"not_in": v}),
            literal.map(lambda c: {"ne": c}),
        ]
        return either(tests).map(lambda t: {path: t})

    def _array(self, words: tuple[str, ...], path: str) -> Trees:
        some = st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)
        return either(st.builds(lambda op, of: {path: {op: of}}, st.sampled_from(["any_of", "all_of"]), some), st.just({path: None}))

    def _age(self) -> Trees:
        at = st.sampled_from([None, "measurement_year.end", "2026-02-28", "as_of - 1 months"])
        years = st.sampled_from(["18", "26", "65", "0", "56"])
        months = st.sampled_from(["0", "1", "17", "216"])

        def test(op: str, n: str, day: str | None, unit: str | None) -> Tree:
            return {"age": {op: n, **({"unit": unit} if unit else {}), **({"at": day} if day else {})}}

        ops = st.sampled_from(ORDERS)
        return either(
            st.builds(test, ops, years, at, st.none()), st.builds(test, ops, months, at, st.just("months")), st.just({"age": None})
        )

    def _trait(self, scope: Scope, name: str) -> Trees:
        trait = self.model.traits[name]
        if "case" in trait:
            return self._typed(scope, "string", ("child", "senior", "adult"), name)
        if "days_covered" in trait:
            field = st.sampled_from(["days", "of_days", "fill_days", "longest_gap"])
            numbers = st.builds(
                lambda f, op, n: {f"{name}.{f}": {op: n}}, field, st.sampled_from(ORDERS), st.sampled_from(["1", "30", "90", "2"])
            )
            dates = st.builds(lambda f, t: {f"{name}.{f}": t}, st.sampled_from(["first_fill", "until"]), self._dated(scope, "date"))
            return either(numbers, dates, st.sampled_from(["0.5", "0.8", "1"]).map(lambda n: {f"{name}.share": {"lt": n}}))
        if "list" in trait:
            return self._array(WORDS["kind"], name)
        if "most_frequent" in trait:
            return self._typed(scope, "string", WORDS["kind"], name)
        if "count" in trait:
            return self._numeric().map(lambda t: {name: t})  # it always has a value
        if "_between" in trait.get("of", "") or "expr" in trait:
            return self._typed(scope, "integer", (), name)
        if trait.get("of") == "value":
            return self._quantity(name, None)
        date = self._dated(scope, "timestamp").map(lambda t: {f"{name}.date": t})
        return either(self._quantity(f"{name}.value", None), date, st.just({name: None}))

    # -- days ---------------------------------------------------------------------------------------------------------

    def _dated(self, scope: Scope, kind: str) -> Trees:
        day = st.sampled_from(["2026-07-02", "2026-06-02", "2025-12-31", "2026-03-08", "2024-02-29"])
        tests: list[Trees] = [self._window(scope)] * 4
        tests.append(st.builds(lambda op, d: {op: d}, st.sampled_from(ORDERS), day))
        if kind == "timestamp":
            tests.append(st.sampled_from(["2026-07-02T12:00", "2026-06-02T06:00"]).map(lambda moment: {"gt": moment}))
            if self.has("time_of_day"):
                hours = st.sampled_from([["22:00", "06:00"], ["06:00", "12:00"], ["00:00", "01:30"]])
                tests.append(hours.map(lambda span: {"time_of_day": span}))
        if self.has("weekday"):
            tests.append(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True).map(lambda ds: {"weekday": ds}))
        if self.has("anniversary"):
            near = st.sampled_from(
                [{"upcoming": {"days": "7"}}, {"within": {"days": "30"}}, {"during": "this_month"}, {"upcoming": {"days": ["7", "31"]}}]
            )
            tests.append(near.map(lambda window: {"anniversary": window}))
        return either(tests)

    def _window(self, scope: Scope, *, future: bool = True) -> Trees:
        """One window word with its span."""
        span = self._span(ranged=True)
        windows: list[Trees] = [
            span.map(lambda s: {"within": s}),
            span.map(lambda s: {"within": s}),
            self._span(ranged=False).map(lambda s: {"older_than": s}),
            st.sampled_from(PERIODS).map(lambda p: {"during": p}),
            st.builds(lambda s: {"during": {"period": "measurement_year", "and_prior": s}}, self._span(ranged=False)),
            st.sampled_from(["1", "6"]).map(lambda n: {"during": {"period": "last_year", "first": {"months": n}}}),
            st.builds(lambda w, p: {w: p}, st.sampled_from(["before", "after", "since", "until"]), self._point(scope)),
        ]
        if future:
            windows.append(span.map(lambda s: {"upcoming": s}))
        if self.has("anchored"):
            edge = st.sampled_from(["after", "before"])
            windows += [
                st.builds(lambda s, e, p: {"within": {**s, e: p}}, span, edge, st.sampled_from(moments))
                for moments in [self._moments(scope)]
                if moments
            ]
            windows += [st.sampled_from(names).map(lambda n: {"during": n}) for names in [self._timed(scope)] if names]
        return either(windows)

    def _span(self, *, ranged: bool) -> Trees:
        def spans(unit: str) -> Trees:
            one = st.sampled_from([str(n) for n in MULTIPLE[unit]]).map(lambda n: {unit: n})
            two = st.sampled_from([{unit: [str(a), str(b)]} for a, b in zip((0, *MULTIPLE[unit]), MULTIPLE[unit], strict=False)])
            return either(one, two) if ranged else one

        return st.sampled_from(sorted(MULTIPLE)).flatmap(spans)

    def _point(self, scope: Scope) -> Trees:
        fixed = [
            "as_of",
            "as_of - 30 days",
            "as_of - 6 months",
            "2026-06-02",
            "measurement_year.start",
            "last_month.end",
            "as_of - 1 years",
        ]
        moments = self._moments(scope) if self.has("anchored") else []
        shifted = [f"{moment} {shift}" for moment in moments for shift in ("+ 7 days", "- 1 months")]
        return st.sampled_from(fixed * 2 + moments + shifted)

    def _moments(self, scope: Scope) -> list[str]:
        """The dates of the rows around, by the names of those rows; the birth date by itself."""
        found = []
        for name, entity in scope.around:
            columns = self.model.entities[entity].get("columns", {})
            found += [
                f"{name}.{column}" for column, spec in columns.items() if spec.get("type") in ("date", "timestamp") and name != entity
            ]
        if scope.entity != "patient" and any(entity == "patient" for _, entity in scope.around):
            found.append("birth_date")
        return found

    def _timed(self, scope: Scope) -> list[str]:
        """The names of rows around that have a time."""
        return [name for name, entity in scope.around if self.model.entities[entity].get("time")]

    def _referred(self, scope: Scope, kind: str, path: str) -> Trees:
        """A comparison with a value of a row around."""
        refs = []
        for name, entity in scope.around if self.has("ref") else ():
            columns = self.model.entities[entity].get("columns", {})
            refs += [f"{name}.{column}" for column, spec in columns.items() if spec.get("type") == kind and not spec.get("unit")]
        if kind == "date" and scope.entity != "patient" and path != "birth_date" and self.has("ref") and scope.within_patient:
            refs.append("birth_date")
        refs = [ref for ref in refs if ref != path]
        if not refs:
            return self._dated(scope, kind) if kind in ("date", "timestamp") else self._numeric()
        return st.builds(lambda op, ref: {op: {"ref": ref}}, st.sampled_from(ORDERS), st.sampled_from(refs))

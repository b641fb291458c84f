"""Terms in plain English, one short line each, as an analyst would say them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdp.project.terms import (
    AgeBetween,
    Anniversary,
    AtTime,
    Chosen,
    ColumnRef,
    Compare,
    CompareTo,
    Condition,
    ContactOf,
    Converted,
    Covered,
    DayOf,
    Every,
    Exists,
    Formula,
    Holds,
    InSegment,
    InSql,
    InWindow,
    IsNull,
    Measure,
    Negation,
    OneOf,
    OnWeekday,
    Operand,
    Picked,
    Satisfies,
    Some,
    SqlValue,
    Tally,
)
from cdp.project.terms.people import ConsentMissing, ContactInvalid, Rule
from cdp.project.terms.sayings import CLOCK, COMPARED, COVERED, WEEKDAYS, age, listed, said, series, window_of
from cdp.project.terms.types import column_of
from cdp.project.terms.uses import Term

if TYPE_CHECKING:
    from cdp.project.project import Project

Rows = tuple[str, ...]  # what the rows around are, innermost first


def describe(term: Term, project: Project) -> str:
    """What a condition asks, or what a value is.

    `age 18 to 75`; `has conditions: code in diabetes, within the last 6 months`; `not in segment in_hospice`.
    """
    return _Words(project).term(term, ())


def describe_rule(rule: Rule, project: Project) -> str:
    """What a rule of the eligibility keeps people out for.

    `age below 18, unless the sync reaches the personal representative`.
    """
    match rule.when:
        case ConsentMissing(of_classes):
            text = "the consent that a special class asks for is missing" if of_classes else "consent is missing"
        case ContactInvalid():
            text = "there is no address or number that the channel could use"
        case condition:
            text = describe(condition, project)
    if rule.instead is not None:
        text += ", unless this channel can write where they asked for"
    return f"{text}, unless {describe(rule.unless, project)}" if rule.unless is not None else text


def parts(term: Condition, project: Project) -> tuple[tuple[str, Condition], ...]:
    """The conditions that a condition is made of, each with its description; none of a single test."""
    match term:
        case Every(of) | Some(of) | Compare(operand=Tally(of)):
            inner: tuple[Condition, ...] = of if not _said_at_once(term) else ()
        case Negation(of=Every() | Some() | Negation() as of):
            inner = (of,)
        case _:
            inner = ()
    return tuple((describe(part, project), part) for part in inner)


def _said_at_once(term: Condition) -> bool:
    """Whether the parts of a condition are one test: of a range, or of a series."""
    if not isinstance(term, Every):
        return False
    if all(isinstance(part, CompareTo) for part in term.of):
        return True
    return _range(term) is not None or series([_asked(part) for part in term.of]) is not None


def _range(term: Condition) -> tuple[Compare, Compare] | None:
    """The two bounds of a `between`."""
    if not isinstance(term, Every) or len(term.of) != 2:
        return None
    low, high = term.of
    if not (isinstance(low, Compare) and isinstance(high, Compare)):
        return None
    together = low.operand == high.operand and (low.op, high.op, low.units) == ("gte", "lte", high.units)
    return (low, high) if together else None


class _Words:
    """Says the terms of one project."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def term(self, term: Term, rows: Rows) -> str:
        match term:
            case ColumnRef() | DayOf() | Converted() | Measure() | Picked() | Covered() | Tally() | Chosen() | SqlValue() | Formula():
                return self.value(term, rows)
        return self.condition(term, rows)

    # -- conditions -------------------------------------------------------------------------------------------------

    def condition(self, term: Condition, rows: Rows) -> str:
        match term:
            case Every(of):
                return self._range(term, rows) or self._series(of, rows) or self._there(of, rows) or self._joined(of, " and ", rows)
            case Some(of):
                return self._value_set(of, rows) or self._joined(of, " or ", rows)
            case Negation(of):
                return self._not(of, rows)
            case InSegment(name, given):
                filled = f" with {', '.join(f'{key} {value}' for key, value in given)}" if given else ""
                return f"in segment {name}{filled}"
            case InSql(name):
                return f"in segment {name}"
            case Exists(measure):
                return self._has("has", measure, rows)
            case Satisfies(measure, of):
                return f"{self._pick(measure, rows)} has {self.condition(of, (measure.link.entity, *rows))}"
            case AgeBetween():
                return age(term)
            case ContactOf(whose):
                return f"the sync reaches the {whose.replace('_', ' ')}"
        return self._test(term, rows)

    def _test(self, term: Condition, rows: Rows) -> str:
        match term:
            case Compare():
                return self._compare(term, rows)
            case CompareTo(operand, op, other, kind):
                return f"{self.value(operand, rows)} {COMPARED[op, kind in CLOCK]} {self.value(other, rows)}"
            case OneOf(operand, values):
                what = f"in {term.named}" if term.named else f"is {listed(values)}"
                return f"{self.value(operand, rows)} {what}"
            case Holds(operand, values):
                what = f"in {term.named}" if term.named else listed(values, "and" if term.all else "or")
                return f"{self.value(operand, rows)} {'with one' if term.named else 'with'} {what}"
            case IsNull(operand):
                return f"lacks {_row(way)}" if (way := self._way(operand)) else f"{self.value(operand, rows)} not known"
            case InWindow(operand, window):
                return f"{self.value(operand, rows)} {window_of(window, self._outer(rows))}"
            case Anniversary(operand, window):
                return f"the anniversary of {self.value(operand, rows)} {window_of(window, self._outer(rows))}"
            case AtTime(operand, start, end):
                return f"{self.value(operand, rows)} from {start // 60:02}:{start % 60:02} to {end // 60:02}:{end % 60:02}"
            case OnWeekday(operand, days):
                return f"{self.value(operand, rows)} on {listed(tuple(WEEKDAYS[day - 1] for day in days))}"
        raise AssertionError(f"{type(term).__name__} is said by `condition`")

    def _joined(self, of: tuple[Condition, ...], word: str, rows: Rows) -> str:
        if len(of) == 2 and (known := self._known_and_not(of, rows)):
            return known
        return word.join(self._grouped(part, rows) for part in of)

    def _grouped(self, term: Condition, rows: Rows) -> str:
        """A part among others, in parentheses where it would run into them."""
        text = self.condition(term, rows)
        joined = isinstance(term, (Every, Some)) and (" and " in text or " or " in text)
        inner = term.of if isinstance(term, Negation) else term
        return f"({text})" if joined or (isinstance(inner, (Exists, Satisfies)) and ": " in text) else text

    def _known_and_not(self, of: tuple[Condition, ...], rows: Rows) -> str:
        """`not_in`: there is a value, and it is none of those."""
        match of:
            case (Negation(OneOf(operand) as inner), Negation(IsNull(known))) if operand == known:
                values = f"in {inner.named}" if inner.named else listed(inner.values)
                return f"{self.value(operand, rows)} known but not {values}"
        return ""

    def _range(self, term: Every, rows: Rows) -> str:
        bounds = _range(term)
        if bounds is None:
            return ""
        low, high = bounds
        unit = f" {low.units[0]}" if low.units else self._unit(low.operand)
        return f"{self.value(low.operand, rows)} {said(low.value)} to {said(high.value)}{unit}"

    def _unit(self, operand: Operand) -> str:
        """The unit of a column that has one unit."""
        column = column_of(operand)
        entity = self.project.entities.get(column.entity) if column else None
        spec = entity.columns.get(column.column) if entity and column else None
        return f" {spec.unit}" if entity and spec and spec.unit and spec.unit not in entity.columns else ""

    def _way(self, operand: Operand) -> tuple[str, ...]:
        """The to-one relations that lead to a row, where the operand is that row's key: whether there is such a row."""
        if not isinstance(operand, ColumnRef) or not operand.hops or self.project.entities[operand.entity].key != operand.column:
            return ()
        return tuple(hop.name for hop in operand.hops)

    def _there(self, of: tuple[Condition, ...], rows: Rows) -> str:
        """`has` of a to-one relation."""
        match of:
            case (Negation(IsNull(operand)), where) if way := self._way(operand):
                return f"has {_row(way)}: {self.condition(where, rows)}"
        return ""

    def _series(self, of: tuple[Condition, ...], rows: Rows) -> str:
        """What `each` came to: the same of several windows, or each more, or less, than the one before."""
        if all(isinstance(part, CompareTo) for part in of):
            steps = [part for part in of if isinstance(part, CompareTo)]
            found = series([asked for part in steps for asked in (part.operand, part.other)])
            trend = {"gt": "rising", "lt": "falling"}.get(steps[0].op)
            return f"{self.value(found[0], rows)} {trend} over {found[1]}" if found and trend else ""
        found = series([_asked(part) for part in of])
        alike = {_asked_of(part, found[0]) for part in of} if found else set()
        once = alike.pop() if len(alike) == 1 else None
        return f"{self.condition(once, rows)} in each of {found[1]}" if found and once is not None else ""

    def _value_set(self, of: tuple[Condition, ...], rows: Rows) -> str:
        """The parts of one value set, one for each code system."""
        names = {(part.operand, part.named) if isinstance(part, OneOf) else None for part in of}
        first = of[0]
        return self.condition(first, rows) if len(names) == 1 and isinstance(first, OneOf) and first.named else ""

    def _not(self, of: Condition, rows: Rows) -> str:
        match of:
            case Exists(measure):
                return self._has("lacks", measure, rows)
            case InSegment() | InSql():
                return f"not {self.condition(of, rows)}"
            case IsNull(operand):
                return f"has {_row(way)}" if (way := self._way(operand)) else f"{self.value(operand, rows)} known"
            case Every(parts) if said := self._there(parts, rows):
                return f"lacks{said.removeprefix('has')}"
            case Negation(inner):
                return self.condition(inner, rows)
        return f"not ({self.condition(of, rows)})"

    def _compare(self, term: Compare, rows: Rows) -> str:
        if isinstance(term.operand, Tally):
            tests = "; ".join(self.condition(part, rows) for part in term.operand.of)
            return f"{COMPARED[term.op, False].removeprefix('is ')} {said(term.value)} of these: {tests}"
        unit = f" {term.units[0]}" if term.units else self._unit(term.operand)
        word = COMPARED[term.op, term.type in CLOCK]
        cases = " whatever the case of its letters" if term.ignore_case else ""
        return f"{self.value(term.operand, rows)} {word} {said(term.value)}{unit}{cases}"

    # -- measures ---------------------------------------------------------------------------------------------------

    def _has(self, verb: str, measure: Measure, rows: Rows) -> str:
        if measure.verb in ("latest", "earliest"):
            name = self._trait(measure)
            return f"{'has' if verb == 'has' else 'lacks'} {name or self._pick(measure, rows)}"
        details = self._details(measure, rows)
        return f"{verb} {_path(measure)}{': ' if details else ''}{details}"

    def _details(self, measure: Measure, rows: Rows) -> str:
        """Which rows: `where`, the window, and what counts once."""
        inner = (measure.link.entity, *rows)
        found = [self.condition(measure.where, inner)] if measure.where is not None else []
        if measure.window is not None:
            found.append(window_of(measure.window, self._outer(inner)))
        if measure.distinct is not None:
            by = "day" if measure.distinct == "day" else self.value(measure.distinct, inner)
            found.append("on different days" if by == "day" else f"of different {by}")
        if measure.spaced is not None:
            found.append(f"at least {measure.spaced} days apart")
        return ", ".join(found)

    def _pick(self, measure: Measure, rows: Rows) -> str:
        details = self._details(measure, rows)
        return f"the {measure.verb} of {_path(measure)}{f' ({details})' if details else ''}"

    def _measure(self, measure: Measure, rows: Rows) -> str:
        details = self._details(measure, rows)
        where = f" ({details})" if details else ""
        of = self.value(measure.of, (measure.link.entity, *rows)) if measure.of is not None else ""
        match measure.verb:
            case "count":
                return f"number of {_path(measure)}{where}"
            case "most_frequent":
                return f"most frequent {of} of {_path(measure)}{where}"
            case "list":
                first = f"first {measure.limit} " if measure.limit else ""
                return f"list of the {first}{of} of {_path(measure)}{where}"
            case "days_covered":
                return f"days covered by {_path(measure)}{where}"
            case "exists":
                return f"{_path(measure)}{where}"
        words = {"avg": "average", "min": "lowest", "max": "highest"}
        return f"{words.get(measure.verb, measure.verb)} {of or 'row'} of {_path(measure)}{where}"

    # -- values -----------------------------------------------------------------------------------------------------

    def value(self, operand: Operand, rows: Rows) -> str:
        if not isinstance(operand, ColumnRef) and (name := self._trait(operand)):
            return name
        match operand:
            case ColumnRef():
                return self._column(operand, rows)
            case DayOf(column):
                return f"day of {self._column(column, rows)}"
            case Converted(column):
                return self._column(column, rows)
            case Picked(measure, column):
                trait = self._trait(measure)
                name = self._column(column, (measure.link.entity, *rows))
                return f"{trait}.{name}" if trait else f"{name} of {self._pick(measure, rows)}"
            case Covered(measure, value):
                return f"{COVERED[value]} of {self._trait(measure) or self._measure(measure, rows)}"
            case Measure():
                return self._measure(operand, rows)
            case Tally(of):
                return f"number of these that hold: {'; '.join(self.condition(part, rows) for part in of)}"
            case SqlValue(trait):
                return trait
            case Chosen():
                return "the first that holds of " + "; ".join(f"{self.condition(when, rows)}" for when, _ in operand.branches)
        return operand.tree.sql(dialect="spark", normalize_functions=False)

    def _trait(self, operand: Operand) -> str:
        return next((name for name, value in self.project.bound.traits.items() if value == operand), "")

    def _column(self, column: ColumnRef, rows: Rows) -> str:
        path = ".".join([*(hop.name for hop in column.hops), column.column, *column.field])
        if not column.up:
            return path
        around = rows[column.up] if column.up < len(rows) else "" if column.hops else column.entity
        return f"{path} of the {around or 'row around'}"

    def _outer(self, rows: Rows) -> _Columns:
        return _Columns(self, rows)


class _Columns:
    """Says the columns that a window is anchored at."""

    def __init__(self, words: _Words, rows: Rows) -> None:
        self.words, self.rows = words, rows

    def __call__(self, column: ColumnRef) -> str:
        return self.words.value(column, self.rows)


def _asked(term: Condition) -> object:
    """What a condition is asked of."""
    return term.measure if isinstance(term, Exists) else getattr(term, "operand", None)


def _asked_of(term: Condition, operand: Measure | Picked) -> Condition | None:
    """The same condition of another operand, of those that a series is made of."""
    if isinstance(term, Compare):
        return replace(term, operand=operand)
    return Exists(operand) if isinstance(term, Exists) and isinstance(operand, Measure) else None


def _row(way: tuple[str, ...]) -> str:
    return ".".join(way)


def _path(measure: Measure) -> str:
    return ".".join([*(hop.name for hop in measure.hops), measure.link.name])

"""JSON Schema of the segment language: conditions, measures, windows, operators, points in time.

pydantic does not know the language (a `Tree` to it), so its shapes are written here, one entry for each word. The word
lists themselves stand in `cdp.project` and `cdp.spec`; a test compares, so that a new word cannot be forgotten. A schema
tells shapes, not meaning: whether a name exists and a literal fits its column is for `cdp validate`.

Conditions are written once for each `Scope`: the open one knows no names, that of an entity completes its columns,
traits and relations, and goes on inside `where` with the entity that the relation leads to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.spec.model import VERBS

Schema = dict[str, Any]

NAME: Final = "^[a-z][a-z0-9_]{0,99}$"
PATH: Final = r"^[a-z_][a-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
_NUMBER: Final = r"(\d{1,5}|\$[a-z_][a-z0-9_]*)"
POINT: Final = rf"^(\$?[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*|\d{{4}}-\d{{2}}-\d{{2}})(\s*[+-]\s*{_NUMBER}\s+(days|weeks|months|years))?$"
UNITS: Final = ("days", "weeks", "months", "years")
COVERED: Final = ("share", "days", "of_days", "first_fill", "fill_days", "until", "longest_gap")
SCALARS: Final = ["string", "number", "boolean"]

VERB_HELP: Final[Mapping[str, str]] = {
    "has": "There is a related row. `has: observations`",
    "lacks": "There is no related row; the same as `not: {has: ...}`. `lacks: observations`",
    "count": "How many related rows; of nothing it is 0. `count: visits`, `is: {gte: 3}`",
    "sum": "The sum of `of`; of nothing it is null, which fails `is`.",
    "avg": "The mean of `of`; of nothing it is null, which fails `is`.",
    "min": "The lowest `of`; of nothing it is null, which fails `is`.",
    "max": "The highest `of`; of nothing it is null, which fails `is`.",
    "latest": "The last row by time. Without `of` the value is the row, and `is` is a condition on it.",
    "earliest": "The first row by time. Without `of` the value is the row, and `is` is a condition on it.",
    "most_frequent": "The value of `of` that the most rows have; on a tie the lowest.",
    "list": "The values of `of`, in the order of time. Test it with `any_of` and `all_of`.",
    "days_covered": "How many days the fills cover: `share`, `days`, `of_days`, `first_fill`, `fill_days`, `until`, `longest_gap`.",
}
LOGIC_HELP: Final[Mapping[str, str]] = {
    "all": "All of these conditions hold; the same as a plain list.",
    "any": "At least one of these conditions holds.",
    "not": "The exact complement: true also where the inner condition is not known.",
    "n_of": "How many of these conditions hold is tested by `is`: `is: {gte: 2}`",
    "segment": "The row is in another segment of the same entity.",
}
MODIFIER_HELP: Final[Mapping[str, str]] = {
    "as": "A name for the row, for conditions further inside: `as: stay`, then `after: stay.end`.",
    "where": "Which rows compete: one row must satisfy all of it.",
    "is": "What the value, or the row that won, must satisfy.",
    "of": "A column of the row, or an expression: `weeks_between(lmp_date, as_of)`.",
    "by": "`day`: rows of one local calendar day are equally late.",
    "ties": "Which of several equally late rows is picked; a row without the value loses: `{value: lowest}`",
    "distinct": "Of count and list: `day` or a column; equal ones count once.",
    "spaced": "Of count: only days at least so far apart count, from the earliest on: `{days: 28}`, `{weeks: 4}`",
    "limit": "Of list: at most so many.",
    "supply": "Of days_covered: the column that says for how many days a fill lasts.",
    "same": "Of days_covered: fills that share this follow each other; others overlap.",
    "each": "One window for each unit of time back from as_of: `{weeks: [1, 4]}`. `is` must hold in each, or say `rising` or `falling`.",
    "even_if_open": "Of lacks: its window after an event may still be running.",
}
WINDOW_HELP: Final[Mapping[str, str]] = {
    "within": "The last so many days, both ends included: `{months: 6}`, `{days: [30, 90]}`, `{days: [1, 14], after: stay.end}`",
    "upcoming": "From today on: `{days: 7}`. The entity must say `future: visible`.",
    "older_than": "Strictly before so long ago: `{days: 30}`",
    "during": "A period, a named row, `{period: measurement_year, and_prior: {years: 9}}` or `{from: 2026-01-01, to: stay.end}`",
    "before": "Before this day, without it.",
    "after": "After this day, without it.",
    "since": "From this day on, with it.",
    "until": "Up to this day, with it.",
}
OPERATOR_HELP: Final[Mapping[str, str]] = {
    "eq": "Equal; the same as a plain value.",
    "ne": "Not equal; there must be a value. For the exact complement write `not`.",
    "in": "One of a list, or of a value set by its name.",
    "not_in": "None of them; there must be a value. For the exact complement write `not`.",
    "gt": "Greater than.",
    "gte": "Greater than, or equal.",
    "lt": "Less than.",
    "lte": "Less than, or equal.",
    "between": "Between two values, both included: `[18, 75]`",
    "starts_with": "The text begins so.",
    "ends_with": "The text ends so.",
    "contains": "The text has this in it.",
    "matches": "The regular expression (RE2) is found in the text; anchor it with ^ and $.",
    "ignore_case": "Beside a test of text: large and small letters are the same.",
    "any_of": "The array holds at least one of them.",
    "all_of": "The array holds all of them.",
    "is_null": "There is no value.",
    "not_null": "There is a value.",
    "time_of_day": 'The local time lies in this span, its end excluded; it may pass midnight: `["22:00", "06:00"]`',
    "weekday": "The local day is one of these: `[sat, sun]`",
    "anniversary": "Some year's return of the day lies in the window: `{upcoming: {days: 7}}`",
    **WINDOW_HELP,
}
ANCHOR_HELP: Final[Mapping[str, str]] = {
    "after": "The window is counted from this day on: `{days: [1, 14], after: stay.end}`",
    "before": "The window is counted back from this day: `{days: [1, 180], before: first.filled_on}`",
}
AGE_HELP: Final[Mapping[str, str]] = {
    "at": "Of age: on which day; default as_of. `at: measurement_year.end`",
    "unit": "Of age: `years` (default) or `months`, completed.",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that a condition may begin with.

    Attributes:
        name: the entity; empty for the scope that knows no names.
        operands: columns, traits and paths, each with a line about it.
        relations: the relations, each with the scope that it leads to.
        periods: names for `during`.
    """

    name: str = ""
    operands: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, Scope] = field(default_factory=dict)
    periods: tuple[str, ...] = ()

    def key(self, definition: str) -> str:
        """The name of this scope's own copy of a definition."""
        return f"{definition}.{self.name}" if self.name else definition

    def ref(self, definition: str) -> Schema:
        """A reference to it."""
        return ref(self.key(definition))


OPEN: Final = Scope()


def ref(definition: str) -> Schema:
    """A reference to a definition."""
    return {"$ref": f"#/definitions/{definition}"}


def completed(names: Iterable[str], pattern: str = NAME) -> Schema:
    """Text that an editor completes to these names; a new name is no mistake until `cdp validate` says so."""
    known = sorted(names)
    return {"anyOf": [{"enum": known}, {"type": "string", "pattern": pattern}]} if known else {"type": "string", "pattern": pattern}


# -- words without names ----------------------------------------------------------------------------------------------


def _mapping(properties: Mapping[str, Any], *required: str, **more: Any) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False, **more}


def _span(*anchors: str, ranged: bool = True, units: tuple[str, ...] = UNITS) -> Schema:
    """One unit and a number, or where it is `ranged` two; `anchors` are days that it may be counted from."""
    number: Schema = {"type": ["integer", "string"], "minimum": 0, "pattern": rf"^{_NUMBER}$"}
    pair = {"items": number, "minItems": 2, "maxItems": 2}
    count = {**number, "type": ["integer", "string", "array"], **pair} if ranged else number
    days = {word: {**ref("point"), "description": ANCHOR_HELP[word]} for word in anchors}
    return _mapping({**dict.fromkeys(units, count), **days}, oneOf=[{"required": [unit]} for unit in units])


BOOLEAN: Final[Schema] = {"type": ["boolean", "string"], "pattern": "^(true|false|yes|no|on|off)$"}
SCALAR: Final[Schema] = {"type": SCALARS}
VALUE: Final[Schema] = {
    "type": [*SCALARS, "object"],
    "description": "A literal, a parameter `$name`, or the value of another name: `{ref: stay.end}`",
    "properties": {"ref": {"type": "string", "pattern": PATH}},
    "required": ["ref"],
    "additionalProperties": False,
}
_TEXT: Final[Schema] = {"type": ["string", "number"]}
_LIST: Final[Schema] = {"type": "array", "items": {"type": SCALARS}, "minItems": 1}
_SETS: Final[Schema] = {"anyOf": [ref("name.value_set"), _LIST, {"type": "string", "pattern": r"^\$"}]}
_CLOCK: Final[Schema] = {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$"}
_WEEKDAY: Final[Schema] = {"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}

WINDOW_SHAPES: Final[Mapping[str, Schema]] = {
    "within": _span("after", "before"),
    "upcoming": _span(),
    "older_than": _span(ranged=False),
    "during": {
        "type": ["string", "object"],
        "anyOf": [ref("name.period"), {"type": "object"}],
        "properties": {
            "period": ref("name.period"),
            "and_prior": _span(ranged=False),
            "first": _span(ranged=False),
            "from": ref("point"),
            "to": ref("point"),
        },
        "if": {"type": "object"},
        "then": {"oneOf": [{"required": ["period"]}, {"required": ["from", "to"]}]},
        "additionalProperties": False,
    },
    **{word: ref("point") for word in ("before", "after", "since", "until")},
}
OPERATOR_SHAPES: Final[Mapping[str, Schema]] = {
    **{word: ref("value") for word in ("eq", "ne", "gt", "gte", "lt", "lte")},
    **dict.fromkeys(("in", "not_in", "any_of", "all_of"), _SETS),
    "between": {"type": "array", "items": ref("value"), "minItems": 2, "maxItems": 2},
    **dict.fromkeys(("starts_with", "ends_with", "contains"), _TEXT),
    "matches": {"type": "string", "minLength": 1},
    **dict.fromkeys(("ignore_case", "is_null", "not_null"), BOOLEAN),
    "time_of_day": {"type": "array", "items": _CLOCK, "minItems": 2, "maxItems": 2},
    "weekday": {"anyOf": [_WEEKDAY, {"type": "array", "items": _WEEKDAY, "minItems": 1}]},
    "anniversary": _mapping({word: ref(f"window.{word}") for word in WINDOW_SHAPES}, minProperties=1),
    **{word: ref(f"window.{word}") for word in WINDOW_SHAPES},
}
AGE_SHAPES: Final[Mapping[str, Schema]] = {"at": ref("point"), "unit": {"enum": ["years", "months"]}}


def words(help_: Mapping[str, str], shapes: Mapping[str, Schema]) -> Schema:
    """The properties of some words, each with what it means."""
    return {word: {**shapes[word], **_help(text)} for word, text in help_.items()}


def _help(text: str) -> Schema:
    """What an editor shows: it takes `description` as plain text, where marks are noise."""
    return {"description": text.replace("`", ""), "markdownDescription": text}


def definitions() -> dict[str, Schema]:
    """The definitions that are the same in every scope."""
    tests = {**words(OPERATOR_HELP, OPERATOR_SHAPES), **words(AGE_HELP, AGE_SHAPES)}
    return {
        "point": {
            "type": "string",
            "pattern": POINT,
            "description": "A day: `2026-01-31`, `as_of - 30 days`, `measurement_year.end`, `stay.end + 14 days`, `birth_date + 42 days`",
        },
        "value": VALUE,
        "test": {
            "type": [*SCALARS, "null", "array", "object"],
            "description": "A value (equal), a list (one of), null (no value), or operators, all of which must hold",
            "items": SCALAR,
            "minItems": 1,
            "minProperties": 1,
            "properties": tests,
            "additionalProperties": False,
        },
        **{f"window.{word}": shape for word, shape in WINDOW_SHAPES.items()},
    }


# -- conditions and measures ------------------------------------------------------------------------------------------


def scoped(scope: Scope) -> dict[str, Schema]:
    """The definitions of conditions and measures in one scope."""
    return {
        scope.key("related"): completed(scope.relations, PATH),
        scope.key("condition"): _condition(scope),
        scope.key("measure"): _measure(scope),
        scope.key("tests"): _tests(scope),
    }


def _condition(scope: Scope) -> Schema:
    """A list, or a mapping: with a verb a measure, else tests.

    `if` rather than `oneOf`: a mistake is then reported where it stands, not as "matches none of these".
    """
    verb = {"type": "object", "anyOf": [{"required": [word]} for word in VERBS]}
    return {
        "type": ["object", "array"],
        "description": "A test `{name: test}`, a measure `{verb: relation, ...}`, or a list: all of them hold",
        "items": scope.ref("condition"),
        "minItems": 1,
        "minProperties": 1,
        "properties": {word: _help(VERB_HELP[word]) for word in VERBS},
        "if": verb,
        "then": scope.ref("measure"),
        "else": scope.ref("tests"),
    }


def _tests(scope: Scope) -> Schema:
    several = {"type": "array", "items": scope.ref("condition"), "minItems": 1}
    shapes = {"all": several, "any": several, "not": scope.ref("condition"), "n_of": several, "segment": ref("name.segment")}
    return {
        "properties": {
            **words(LOGIC_HELP, shapes),
            "with": {"type": "object", "additionalProperties": SCALAR, "description": "Values for the parameters of a template."},
            "is": {**ref("test"), "description": "Of n_of: how many must hold."},
            **{name: {**ref("test"), "description": text} for name, text in scope.operands.items()},
        },
        "additionalProperties": ref("test"),
        "propertyNames": {"pattern": PATH},
        "dependencies": {"with": ["segment"], "is": ["n_of"], "n_of": ["is"]},
    }


def measure_words() -> Schema:
    """The properties of a measure without its verbs, `where` and `is`: what traits have too."""
    shapes: dict[str, Schema] = {
        "as": {"type": "string", "pattern": NAME},
        "of": {"type": "string", "minLength": 1},
        "by": {"enum": ["day"]},
        "ties": {"type": "object", "additionalProperties": {"enum": ["lowest", "highest"]}, "minProperties": 1, "maxProperties": 1},
        "distinct": {"type": "string", "pattern": PATH},
        "spaced": _span(ranged=False, units=("days", "weeks")),
        "limit": {"type": "integer", "minimum": 1},
        "supply": {"type": "string", "pattern": PATH},
        "same": {"type": "string", "pattern": PATH},
        "each": _span(),
        "even_if_open": BOOLEAN,
    }
    own = {word: text for word, text in MODIFIER_HELP.items() if word in shapes}
    return {**words(own, shapes), **words(WINDOW_HELP, {word: ref(f"window.{word}") for word in WINDOW_SHAPES})}


def related(scope: Scope) -> Schema:
    """What a verb takes: a relation, or a path that ends in one."""
    return scope.ref("related")


def _measure(scope: Scope) -> Schema:
    return {
        "properties": {
            **{word: {**related(scope), **_help(VERB_HELP[word])} for word in VERBS},
            **{word: _help(MODIFIER_HELP[word]) for word in ("where", "is")},
            **measure_words(),
        },
        "additionalProperties": False,
        "oneOf": [{"required": [word]} for word in VERBS],
        "allOf": [*inside(scope, picked=True), _is()],
    }


_ROW: Final[Schema] = {"anyOf": [{"required": ["latest"]}, {"required": ["earliest"]}], "not": {"required": ["of"]}}
_COVER: Final[Schema] = {"required": ["days_covered"], "not": {"required": ["of"]}}
_TESTS: Final[Schema] = _mapping(dict.fromkeys(COVERED, ref("test")), minProperties=1)
_COVERED: Final[Schema] = {"anyOf": [_TESTS, {"type": "array", "items": _TESTS, "minItems": 1}]}
_VERB: Final = f"^({'|'.join(VERBS)})$"


def _is() -> Schema:
    """What `is` may be: nothing after has and lacks, a condition on the row that was picked, else a test of the value."""
    return {
        "if": {"anyOf": [{"required": ["has"]}, {"required": ["lacks"]}]},
        "then": {"properties": {"is": False}},
        "else": {
            "required": ["is"],
            "if": _ROW,
            "else": {"if": _COVER, "then": {"properties": {"is": _COVERED}}, "else": {"properties": {"is": ref("test")}}},
        },
    }


def inside(scope: Scope, *, picked: bool = False) -> list[Schema]:
    """What `where`, and `is` of a row that is `picked`, speak of: the entity that the relation leads to.

    One rule for each relation, and one for a relation that the scope does not know. They do not overlap: an editor offers
    the names of the first list of conditions that it finds.
    """

    def there(target: Scope) -> Schema:
        row = {"if": _ROW, "then": {"properties": {"is": target.ref("condition")}}} if picked else {}
        return {"properties": {"where": target.ref("condition")}, **row}

    rules = [{"if": _leads_to({"const": name}), "then": there(target)} for name, target in scope.relations.items()]
    return [*rules, {"if": _leads_to({"enum": sorted(scope.relations)}), "else": there(OPEN)}] if rules else [there(OPEN)]


def _leads_to(name: Schema) -> Schema:
    return {"type": "object", "patternProperties": {_VERB: name}}

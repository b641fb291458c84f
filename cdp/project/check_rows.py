"""Special rows (governance/rows.yml): references, and conditions over a row's own columns. Who may know them: `cdp.governance`.

A rule says which rows are special, and so which are not: where they are withheld, what is left of a column that the rule looks at
no longer holds the class. That is relied on, so the codes of a rule are reviewed ones, and all that are reviewed as the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cdp.project.index import Index
from cdp.project.project import Project
from cdp.project.source import short
from cdp.project.terms import ColumnRef, Compare, CompareTo, Condition, Converted, DayOf, Every, Holds, IsNull, Negation, OneOf, Some
from cdp.project.terms.uses import within
from cdp.spec.model import Entity
from cdp.spec.policy import RowRule

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

COMPARISONS: Final = (Every, Some, Negation, Compare, CompareTo, OneOf, Holds, IsNull, ColumnRef, DayOf, Converted)
PUBLIC: Final = "public"


def check(project: Project, index: Index) -> None:
    """Report rules of unknown classes, and about entities that are not there or have no table."""
    for number, rule in enumerate(project.policy.rows):
        document, path = index.sources["rows", "rows"], ("rules", number)
        index.refer(document, (*path, "class"), rule.cls, index.inside("classes", "classes"), "class")
        if rule.cls == PUBLIC:
            message = f"{PUBLIC} may be known by everybody, so nothing would be withheld"
            index.problems.add(document, (*path, "class"), message, hint="name the class that only some may know")
        if not rule.entities:
            index.problems.add(document, (*path, "entities"), "must name the entities whose rows it is about")
        for at, name in enumerate(rule.entities):
            found = index.refer(document, (*path, "entities", at), name, index.names("entity"), "entity")
            entity = project.entities.get(name)
            if found and entity is not None and not entity.table:
                message = f"{name} has no table: its rows are made of others"
                index.problems.add(document, (*path, "entities", at), message, hint="name the entities that it is made of")


def bind_rows(binder: Binder) -> dict[tuple[int, str], Condition]:
    """The conditions of the rules, by the rule's number and each entity that it is about."""
    bound: dict[tuple[int, str], Condition] = {}
    for number, rule in enumerate(binder.project.policy.rows):
        for name in rule.entities:
            entity = binder.project.entities.get(name)
            at = binder.place("rows", "rows", "rules", number, "where").told(f"it is asked of every row of {name}")
            if entity is None or not entity.table:
                continue  # reported by `check`
            term = own_columns(binder, rule.where, entity, at)
            if term is not None:
                bound[number, name] = term
    for number, rule in enumerate(binder.project.policy.rows):
        if rule.cls in binder.project.policy.classes and rule.cls != PUBLIC:
            _reviewed(binder, number, rule, bound)
    return bound


def own_columns(binder: Binder, tree: object, entity: Entity, at: Place) -> Condition | None:
    """A condition that compares a row's own columns, whatever the day; None after a problem was reported."""
    term = binder.condition(tree, entity, at)
    if term is None:
        return None
    for part in within(term):
        if isinstance(part, ColumnRef) and (part.hops or part.up):
            return at.wrong("is asked where the table is read, so it compares columns of the row itself: no relations")
        if not isinstance(part, COMPARISONS):
            hint = "no windows, ages, traits, measures or segments"
            return at.wrong("is asked where the table is read, so it compares columns of the row itself with values", hint=hint)
    return term


def branches(term: Condition) -> Iterator[Condition]:
    """The conditions of which one is enough."""
    for part in term.of if isinstance(term, Some) else (term,):
        yield from branches(part) if isinstance(part, Some) else (part,)


def columns_of(term: Condition) -> frozenset[str]:
    """The columns that a condition names; those that hold code systems are not named."""
    return frozenset(part.column for part in within(term) if isinstance(part, ColumnRef))


def decided_by(term: Condition) -> dict[str, list[Condition]]:
    """The branches of a condition that rest on one column alone, by that column: what is left then holds none of their values."""
    found: dict[str, list[Condition]] = {}
    for branch in branches(term):
        columns = columns_of(branch)
        if len(columns) == 1:
            found.setdefault(next(iter(columns)), []).append(branch)
    return found


def sets_of(term: Condition) -> frozenset[str]:
    """The value sets that a condition names."""
    return frozenset(part.named for part in within(term) if isinstance(part, (OneOf, Holds)) and part.named)


# -- reviews ----------------------------------------------------------------------------------------------------------

Terms = dict[tuple[int, str], Condition]


def _reviewed(binder: Binder, number: int, rule: RowRule, bound: Terms) -> None:
    """Refuse value sets that nobody reviewed as the rule's class, and rules that leave out what is reviewed as it."""
    project, at = binder.project, binder.place("rows", "rows", "rules", number, "where")
    named = frozenset[str]().union(*(sets_of(term) for (of, _), term in bound.items() if of == number))
    for name in sorted(named):
        review = project.policy.reviews.get(name)
        if review is None or not within_class(review.cls, rule.cls):
            said = "nobody has reviewed" if review is None else f"governance/value_sets.yml says {review.cls} of"
            at.wrong(f"{said} value set {name}, and the rule says {rule.cls} of its codes", hint="have the codes looked at; say it in both")
    for name in rule.entities:
        decided = decided_by(bound[number, name]) if (number, name) in bound else {}
        for column, spec in project.entities[name].columns.items() if decided else ():
            if column in decided and spec.type == "code" and any(within_class(held, rule.cls) for held in spec.may_hold):
                _left_out(binder, rule.cls, project.entities[name], column, bound, at)


def _left_out(binder: Binder, cls: str, entity: Entity, column: str, bound: Terms, at: Place) -> None:
    """Refuse codes that are reviewed as the class while no rule of it withholds the rows whose column holds one."""
    project = binder.project
    rules = [(name, term) for (of, name), term in bound.items() if project.policy.rows[of].cls == cls]
    tests = [part for name, term in rules if name == entity.name for part in decided_by(term).get(column, ())]
    withheld = {code for test in tests for code in _codes(test, project)}
    elsewhere = {each for name, term in rules for each in _of_no_codes(project.entities[name], term)}
    for name, review in project.policy.reviews.items():
        if name in elsewhere or name not in project.value_sets or not within_class(review.cls, cls):
            continue
        if left := sorted(_possible(binder, name, entity, column) - withheld):
            message = f"leaves out {short(left[0])} of value set {name}, which governance/value_sets.yml says to be {review.cls}"
            at.wrong(f"{message}; {entity.name}.{column} may hold it", hint=f"any: [{{{column}: {{in: {name}}}}}, ...]")


def _codes(test: Condition, project: Project) -> set[str]:
    """The codes for which a test of one column is true, those of a whole value set that it names."""
    match test:
        case OneOf(_, values, named=named) | Holds(_, values, _, False, named=named):
            return {*map(str, values), *(project.value_sets[named].all_codes if named else ())}
        case Compare(_, "eq", value):
            return {str(value)}
        case _:
            return set()


def _of_no_codes(entity: Entity, term: Condition) -> Iterator[str]:
    """The value sets that a condition compares with what is no code: they list facilities, or wards."""
    for part in within(term):
        if isinstance(part, OneOf) and isinstance(part.operand, ColumnRef) and entity.columns[part.operand.column].type != "code":
            yield part.named


def _possible(binder: Binder, value_set: str, entity: Entity, column: str) -> set[str]:
    """The codes of a value set that a column can hold: of its system, where it is of one."""
    system = entity.columns[column].system
    systems = binder.system_names(system) if system and system not in entity.columns else ()
    members = binder.project.value_sets[value_set].members
    return {code for part in members for code in part.codes if not systems or part.system in systems}


def within_class(cls: str, above: str) -> bool:
    """Whether a class is another one or stands below it."""
    return cls == above or cls.startswith(f"{above}.")

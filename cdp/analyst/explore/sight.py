"""What whoever looks may see of single people: a role is a receiver, and the same function decides as for a destination."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from cdp.analyst.explore.cells import SMALL
from cdp.analyst.explore.rows import Reach, Through
from cdp.compile import sql
from cdp.engine.base import Engine
from cdp.errors import Refusal, RefusedError, UsageError
from cdp.governance.decide import Governor
from cdp.governance.masks import apply_mask, is_constant, is_wire, lower
from cdp.governance.masks.functions import About
from cdp.governance.masks.held import class_of, fitting
from cdp.governance.receivers import MEMBERSHIP, Grant, Receiver, decide
from cdp.governance.taint import Fact, Relation, Unsupported
from cdp.project.load import Project
from cdp.project.terms import ColumnRef
from cdp.spec.access import Role


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody who looks, in a role or in none. Without a role only what is public is seen.

    Attributes:
        governor: the project's policy.
        name: the role's name; empty for none.
        role: what it may see.
        facilities: those of the person, for roles that read the rows of their own only.
    """

    governor: Governor
    name: str = ""
    role: Role | None = None
    facilities: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Project, wanted: str | None, person: str) -> Sight:
        """The sight of a person.

        Args:
            project: its policy says who has which role.
            wanted: the role to look in; by default the person's own where they have just one.
            person: as roles.yml names them, `uid:1001`.

        Raises:
            UsageError: there is no such role, or it matters which of several a person looks in.
            RefusedError: the person does not have it.
        """
        policy = project.policy
        own = {role for each in policy.people if each.id == person for role in each.roles}
        name = wanted or (next(iter(own)) if len(own) == 1 else "")
        if name and name not in policy.roles:
            known = f"one of: {', '.join(sorted(policy.roles))}" if policy.roles else "declare it in governance/roles.yml"
            raise UsageError(f"there is no role named {name}", fix=known)
        if name and policy.people and name not in own:
            fix = f"have the owners of governance/roles.yml add it, or take {', '.join(sorted(own)) or 'none'}"
            raise RefusedError(f"role {name}", [Refusal("role", person, "", (), f"people of roles.yml do not give it to {person}", fix)])
        if not name and any(policy.roles[each].rows is not None for each in own if each in policy.roles):
            said = f"{person} has several roles, and they read different rows"
            raise UsageError(said, fix=f"name the one to look in: --role {' or '.join(sorted(own))}")
        facilities = next((each.facilities for each in policy.people if each.id == person), ())
        return cls(Governor.of(project), name, policy.roles.get(name), facilities)

    @property
    def small(self) -> int:
        """How many people a cell must have to be shown."""
        if self.role is None:
            return SMALL
        return 1 if self.role.exact_counts else self.role.small_cells

    @property
    def receiver(self) -> Receiver:
        """Who is told."""
        role = self.role or Role()
        return Receiver(
            self.name or "no role", (Grant(f"role {self.name}" if self.name else "no role", frozenset(role.see), frozenset(role.use)),)
        )

    @property
    def reach(self) -> Reach:
        """The rows that are read."""
        return Reach.of(self.governor.project, self.governor.views.of(self.receiver), self.name, self.facilities)

    def through(self, engine: Engine) -> Through:
        """The engine as whoever looks reads it: every query of data goes through here."""
        return Through(engine, self.reach)

    def members(self, select: exp.Select, what: str) -> None:
        """Check that being in what a query returns may be told of single people.

        In a role by what it may `use`. In none by all but the special classes, which nobody reaches but by name.

        Raises:
            RefusedError: with every reason.
        """
        relation, tree = self.relation(select), self.governor.tree
        if relation is None:
            raise RefusedError(what, [Refusal("syntax", what, "", (), "what it tells cannot be analysed", "write it in another way")])
        refusals = [refusal for refusal in decide(Relation({}, relation.rows), self.receiver, tree) if refusal.what == MEMBERSHIP]
        if self.role is None:
            named = (
                f"name a role of governance/roles.yml whose `use` lists it: --role {next(iter(self.governor.project.policy.roles), 'NAME')}"
            )
            refusals = [replace(refusal, fix=named) for refusal in refusals if tree.is_special(refusal.cls) or tree.never(refusal.cls)]
        if refusals:
            raise RefusedError(what, refusals)

    def relation(self, select: exp.Select) -> Relation | None:
        """What a query tells; None where that cannot be analysed."""
        try:
            return self.governor.views.of(self.receiver).analyst.query(select)
        except Unsupported:
            return None

    def hidden(self, select: exp.Select) -> dict[str, tuple[str, ...]]:
        """Of each output column, the classes that the role does not see: none where it is shown."""
        relation = self.relation(select)
        if relation is None:
            return {each.alias_or_name: ("what cannot be analysed",) for each in select.expressions}
        return {name: self.lacking(facts) for name, facts in relation.columns.items()}

    def lacking(self, facts: Iterable[Fact]) -> tuple[str, ...]:
        """The classes of a value that the role does not see."""
        see = self.role.see if self.role else ()
        return tuple(sorted({fact.cls for fact in facts if not self.governor.tree.covers(see, fact.cls)}))

    def mask(self, facts: frozenset[Fact], column: ColumnRef) -> str | None:
        """A mask of the project that lowers a column until the role sees it, and leaves something to see."""
        for name, mask in fitting(self.governor.project, column).items():
            told = not (is_constant(name, mask) or is_wire(name, mask))
            if told and not self.lacking(lower(self.governor.tree, name, mask, facts)):
                return name
        return None


@dataclass(frozen=True, slots=True)
class View:
    """The columns of a query as a role sees them.

    Attributes:
        select: the query without the columns that are hidden, others masked.
        masked: by column, the mask it is seen through.
        hidden: by column, the classes that the role does not see.
    """

    select: exp.Select
    masked: Mapping[str, str]
    hidden: Mapping[str, tuple[str, ...]]


def view(sight: Sight, select: exp.Select, columns: Mapping[str, ColumnRef], day: dt.date) -> View:
    """A query as a role sees it.

    Args:
        sight: who looks.
        select: the query.
        columns: what each output column that is looked at is; others are kept as they are.
        day: the day on which ages are taken.
    """
    project = sight.governor.project
    relation = sight.relation(select)
    masked: dict[str, str] = {}
    hidden: dict[str, tuple[str, ...]] = {}
    values: list[exp.Expr] = []
    for name in (each.alias_or_name for each in select.expressions):
        value: exp.Expr = sql.column(SEEN, name)
        facts = relation.columns[name] if relation else None
        lacking = () if name not in columns else sight.lacking(facts) if facts is not None else ("what cannot be analysed",)
        mask = sight.mask(facts, columns[name]) if lacking and facts is not None else None
        if mask:
            value = sql.local_day(value, project.timezone) if columns[name].type == "timestamp" else value
            about = About(class_of(project, columns[name]), day)
            value, masked[name] = apply_mask(mask, project.policy.masks[mask], value, about), mask
        elif lacking:
            hidden[name] = lacking
            continue
        values.append(sql.alias(value, name))
    inner = exp.Subquery(this=select, alias=exp.TableAlias(this=sql.identifier(SEEN)))
    return View(exp.Select(expressions=values, from_=exp.From(this=inner)), masked, hidden)


SEEN = "seen"

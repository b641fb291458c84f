"""What whoever looks may see of single people: a role is a receiver, and the same function decides as for a destination."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from cdp.analyst.cells import SMALL
from cdp.compile import sql
from cdp.errors import Refusal, RefusedError, UsageError
from cdp.governance.decide import Governor
from cdp.governance.masks import apply_mask, has_mechanism, is_wire, lower
from cdp.governance.receivers import MEMBERSHIP, Grant, Receiver, decide
from cdp.governance.taint import Fact, Relation, Unsupported
from cdp.project.load import Project
from cdp.spec.model import ColumnType
from cdp.spec.policy import Role

CONSTANT = frozenset({"null", "redact"})  # masks that leave nothing to look at


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody who looks, in a role or in none. Without a role only what is public is seen.

    Attributes:
        governor: the project's policy.
        name: the role's name; empty for none.
        role: what it may see.
    """

    governor: Governor
    name: str = ""
    role: Role | None = None

    @classmethod
    def of(cls, project: Project, wanted: str | None, person: str) -> Sight:
        """The sight of a person.

        Args:
            project: its policy says who has which role.
            wanted: the role to look in; by default the person's own where they have just one.
            person: as roles.yml names them, `uid:1001`.

        Raises:
            UsageError: there is no such role.
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
        return cls(Governor.of(project), name, policy.roles.get(name))

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
            return self.governor.analyst.query(select)
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

    def mask(self, facts: frozenset[Fact]) -> str | None:
        """A mask of the project that lowers a value until the role sees it, and leaves something to see."""
        masks, tree = self.governor.project.policy.masks, self.governor.tree
        for name, mask in masks.items():
            fits = name not in CONSTANT and has_mechanism(name, mask) and not is_wire(mask)
            if fits and not self.lacking(lower(tree, name, mask, facts)):
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


def view(sight: Sight, select: exp.Select, kinds: Mapping[str, tuple[str, ColumnType]], day: dt.date) -> View:
    """A query as a role sees it.

    Args:
        sight: who looks.
        select: the query.
        kinds: the class and type of each output column that is looked at; others are kept as they are.
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
        lacking = () if name not in kinds else sight.lacking(facts) if facts is not None else ("what cannot be analysed",)
        mask = sight.mask(facts) if lacking and facts is not None else None
        if mask:
            cls, kind = kinds[name]
            value = sql.local_day(value, project.timezone) if kind == "timestamp" else value
            value, masked[name] = apply_mask(mask, project.policy.masks[mask], value, cls, day), mask
        elif lacking:
            hidden[name] = lacking
            continue
        values.append(sql.alias(value, name))
    inner = exp.Subquery(this=select, alias=exp.TableAlias(this=sql.identifier(SEEN)))
    return View(exp.Select(expressions=values, from_=exp.From(this=inner)), masked, hidden)


SEEN = "seen"

"""Random conditions of the segment language, directed by what the entities declare; each is valid as it is written.

A condition is a tree of dict, list, text and None. `text` writes it as a line of YAML, which is what a failing test shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypothesis import strategies as st

from tests.random_rows import WORDS
from tests.random_tests import Scope, Tests, Tree, Trees, either
from tests.slow_measures import column_type

DEEPEST = 3


class Grammar(Tests):
    """What may be written, given a model."""

    def conditions(self, entity: str) -> Trees:
        """Conditions on an entity."""
        return self._condition(Scope(entity, entity))

    # -- conditions ---------------------------------------------------------------------------------------------------

    @st.composite
    @staticmethod
    def _draw_condition(draw: st.DrawFn, self: Grammar, scope: Scope) -> Tree:
        simple = [self._test(scope)] * 3 + ([self._measure(scope)] * 6 if scope.depth < DEEPEST and self._many(scope) else [])
        if scope.depth >= DEEPEST:
            return draw(either(simple))
        part = self._condition(scope.deeper(scope.depth + 1))
        parts = st.lists(part, min_size=2, max_size=3)
        logic: list[Trees] = [
            parts,
            parts.map(lambda of: {"all": of}),
            parts.map(lambda of: {"any": of}),
            part.map(lambda of: {"not": of}),
            *self._segments(scope),
        ]
        if self.has("n_of"):
            logic.append(st.builds(lambda of, n: {"n_of": of, "is": {"gte": str(n)}}, parts, st.integers(1, 2)))
        return draw(either([*simple, *logic]))

    def _condition(self, scope: Scope) -> Trees:
        return st.deferred(lambda: Grammar._draw_condition(self, scope))

    def _segments(self, scope: Scope) -> list[Trees]:
        if scope.entity == "visit":
            return [st.just({"segment": "measured_visit"})]
        if scope.entity == "patient" and self.has("template"):
            given = st.fixed_dictionaries(
                {"times": st.sampled_from(["1", "2"]), "back": st.sampled_from(["30", "90"]), "how": st.sampled_from(WORDS["kind"])}
            )
            return [given.map(lambda with_: {"segment": "visited_often", "with": with_})]
        return []

    # -- measures -----------------------------------------------------------------------------------------------------

    def _many(self, scope: Scope) -> list[tuple[str, str]]:
        """The relations that a measure may name here, with the entities they lead to."""

        def of(entity: str) -> list[tuple[str, str]]:
            relations = self.model.entities[entity].get("relations", {})
            return [(name, spec["many"]) for name, spec in relations.items() if "many" in spec and self.has(f"relation {name}")]

        found = of(scope.entity)
        if self.has("correlated") and scope.entity != "patient" and scope.within_patient:
            found += [(f"patient.{name}", target) for name, target in of("patient")]
        if self.has("correlated"):
            found += [(f"drug.{name}", target) for name, target in of("drug") if scope.entity == "fill"]
        return found

    @st.composite
    @staticmethod
    def _draw_measure(draw: st.DrawFn, self: Grammar, scope: Scope) -> Tree:
        relation, target = draw(st.sampled_from(self._many(scope)))
        timed = self.model.entities[target].get("time") is not None
        verbs = ["has", "has", "lacks", "count", *(["latest", "earliest"] if timed else []), *self._aggregates(target)]
        verb = draw(st.sampled_from(verbs))
        tree: dict[str, Tree] = {verb: relation}
        name = draw(st.sampled_from(["", "one", "other", "third"])) if self.has("as") else ""
        name = "" if name in (scope.name, *(taken for taken, _ in scope.around)) else name
        inner = scope.inside(target, name)
        if name:
            tree["as"] = name
        if draw(st.integers(0, 2)):
            tree["where"] = draw(self._condition(inner))
        each = verb == "count" and timed and self.has("each") and draw(st.integers(0, 5)) == 0
        if timed and not each and draw(st.booleans()):
            future = self.model.entities[target].get("future") == "visible"
            tree.update(draw(self._window(inner, future=future)))
        if verb == "lacks" and self.has("even_if_open"):
            tree["even_if_open"] = "true"
        if each:
            tree["each"] = draw(st.sampled_from([{"weeks": ["1", "3"]}, {"months": ["2", "3"]}, {"days": ["1", "2"]}]))
            tree["is"] = draw(st.sampled_from(["rising", "falling", {"gte": "1"}, {"lt": "2"}]))
        elif verb not in ("has", "lacks"):
            self._ending(draw, verb, target, inner, tree)
        return tree

    def _measure(self, scope: Scope) -> Trees:
        return Grammar._draw_measure(self, scope)

    def _aggregates(self, target: str) -> list[str]:
        found = [verb for verb in ("sum", "avg", "min", "max") if self._numbers(target) and self.has(verb)]
        found += ["most_frequent"] if self._words(target) and self.has("most_frequent") else []
        return found + (["list"] if self._words(target) and self.has("list") else [])

    def _numbers(self, target: str) -> list[str]:
        columns = self.model.entities[target].get("columns", {})
        return [
            name for name in columns if column_type(self.model, target, name) in ("integer", "decimal") and not columns[name].get("fields")
        ]

    def _words(self, target: str) -> list[str]:
        columns = self.model.entities[target].get("columns", {})
        return [
            n
            for n, spec in columns.items()
            if n in WORDS and spec.get("type") == "string" and not spec.get("array") and n not in ("unit", "code_system")
        ]

    def _ending(self, draw: st.DrawFn, verb: str, target: str, inner: Scope, tree: dict[str, Tree]) -> None:
        """What follows the window: `distinct`, `spaced`, the pick, `of` and `is`."""
        columns = self.model.entities[target].get("columns", {})
        plain = inner.deeper(DEEPEST)
        if verb == "count":
            timed = self.model.entities[target].get("time") is not None
            words = [w for w in self._words(target) if self.has("distinct")]
            more = [{}, {}, *([{"distinct": "day"}] if timed and self.has("distinct") else []), *({"distinct": word} for word in words)]
            more += [{"spaced": {"days": n}} for n in ("1", "7", "28") if timed and self.has("spaced")]
            tree.update(draw(st.sampled_from(more)))
            tree["is"] = draw(st.sampled_from(["0", "1", {"gte": "2"}, {"lt": "2"}, {"ne": "1"}, {"between": ["1", "2"]}, ["0", "2"]]))
        elif verb in ("latest", "earliest"):
            self._pick(draw, target, tree)
            tree["is"] = draw(self._condition(plain) if self.has("satisfies") else self._test(plain))
        elif verb == "most_frequent":
            tree["of"] = draw(st.sampled_from(self._words(target)))
            tree["is"] = draw(self._textual(WORDS[tree["of"]]))
        elif verb == "list":
            tree["of"] = draw(st.sampled_from(self._words(target)))
            tree.update(draw(st.sampled_from([{}, {"limit": "1"}, {"limit": "2", "distinct": tree["of"]}])))
            some = st.lists(st.sampled_from(WORDS[tree["of"]]), min_size=1, max_size=2, unique=True)
            tree["is"] = draw(st.builds(lambda op, of: {op: of}, st.sampled_from(["any_of", "all_of"]), some))
        else:
            tree["of"] = draw(st.sampled_from(self._numbers(target)))
            spec: Mapping[str, Tree] = columns[tree["of"]]
            path = (
                self._quantity("is", spec["unit"] if spec["unit"] != "unit" else None)
                if spec.get("unit")
                else self._numeric().map(lambda t: {"is": t})
            )
            tree.update(draw(path))

    def _pick(self, draw: st.DrawFn, target: str, tree: dict[str, Tree]) -> None:
        if draw(st.booleans()):
            tree["by"] = "day"
        if (numbers := self._numbers(target)) and draw(st.booleans()):
            tree["ties"] = {draw(st.sampled_from(numbers)): draw(st.sampled_from(["lowest", "highest"]))}


# -- as YAML ----------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_$][\w.$]*|\d[\d.-]*|\d{4}-\d{2}-\d{2}|[a-z_.]+ [+-] \d+ [a-z]+|\d[\d.]* [%A-Za-z/]+")


def text(tree: Tree) -> str:
    """A tree as one line of YAML."""
    if tree is None:
        return "null"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {text(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(text(part) for part in tree) + "]"
    return tree if _PLAIN.fullmatch(tree) else '"' + tree.replace("\\", "\\\\").replace('"', '\\"') + '"'

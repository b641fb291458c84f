"""What follows from numbers by arithmetic alone.

Every number of an output counts people of certain kinds, so the numbers are linear equations over the kinds. Whoever is in
one set and in another, or in one and not in the other, can be solved for when the kinds that they are of are a linear
combination of those of the numbers on display. No formula over what is displayed may give a small cell (CMS cell size
suppression policy), so all of these are tried.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

Cell = Hashable
Kind = frozenset[Cell]  # people who are told apart by nothing but the cells that count them
NEAR = 1e-6  # zero, after arithmetic on fractions


class Equations:
    """The kinds of people behind the cells of one output.

    Args:
        kinds: every kind that there may be; too few of them make more follow than does, never less.
        values: the true number of each cell.
    """

    def __init__(self, kinds: Sequence[Kind], values: Mapping[Cell, int]) -> None:
        import numpy as np

        self.cells = list(values)
        self.values = np.array([values[cell] for cell in self.cells], dtype=float)
        rows = {tuple(cell in kind for cell in self.cells) for kind in kinds}
        self.counted = np.array(sorted(rows), dtype=float).reshape(-1, len(self.cells))

    def following(self, known: Mapping[Cell, int], small: int) -> Iterator[tuple[Cell, ...]]:
        """For each small group that follows: the cells on display, of people at all, that it is computed from.

        Args:
            known: the cells whose numbers are on display.
            small: groups from one person to below this many are small.
        """
        import numpy as np

        places = [number for number, cell in enumerate(self.cells) if cell in known]
        if not places or not self.counted.size:
            return
        shown = self.counted[:, places]
        left, sizes, right = np.linalg.svd(shown, full_matrices=False)
        rank = int((sizes > NEAR).sum())
        basis, back = left[:, :rank], (right[:rank].T / sizes[:rank])
        for asked in self._asked():
            part = basis.T @ asked
            solvable = np.abs(basis @ part - asked).max(axis=0) < NEAR
            terms = back @ part[:, solvable]
            for column in terms[:, _few(self.values[places] @ terms, small)].T:
                yield tuple(self._used(column, places))

    def _asked(self) -> Iterator[Matrix]:
        """Who is in one set and in another one, and who is in it and not in the other: for each set the kinds, by column."""
        import numpy as np

        for number in range(len(self.cells)):
            inside = self.counted[:, [number]]
            yield np.unique(np.hstack([inside * self.counted, inside * (1 - self.counted)]), axis=1)

    def _used(self, terms: Matrix, places: Sequence[int]) -> Iterator[Cell]:
        for term, place in zip(terms, places, strict=True):
            if abs(term) > NEAR and self.values[place]:
                yield self.cells[place]


def _few(numbers: Matrix, small: int) -> NDArray[np.bool_]:
    return (numbers > 1 - NEAR * 10) & (numbers < small - NEAR * 10)

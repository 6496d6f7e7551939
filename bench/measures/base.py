"""What a measure is, and the rows of figures that it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.placement import Placement
    from bench.programs import Need
    from bench.scale import Scale

    Figures = Mapping["Row", float]


class Row(NamedTuple):
    """A line of the table: its name, the unit of its figures, and the decimals worth printing."""

    name: str
    unit: str
    decimals: int = 1

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}]"


class Measure(Protocol):
    """Puts figures to one contender at a time.

    *needs* must be there for it.  Its bed is built by *build*; *placement* is asked for when it
    is run.
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...
    @property
    def build(self) -> Build: ...
    @property
    def placement(self) -> Callable[[], Placement]: ...

    def rows(self, scale: Scale) -> list[Row]:
        """All rows that it can fill."""

    def suits(self, contender: Contender) -> bool:
        """Whether there is anything to measure."""

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """The figures of *contender*: some or all of the rows.

        Raises MeasureError, OSError, SetupError and what subprocess raises.
        """

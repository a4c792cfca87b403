"""The contract between the Reporting API and what can reach the raw hits, which the process wires up."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from schemas.anonymisation import Anonymisation


class VisitName(NamedTuple):
    """A visit as clients name it."""

    site_id: int
    visit_id: int


class Past(Protocol):
    """Blocking; raises stream.protocol.LogError when processors or sink don't follow in time."""

    def export(self, visits: Collection[VisitName]) -> Mapping[str, list[dict[str, Any]]]:
        """Everything stored of the visits, by kind."""
        ...

    def delete(self, visits: Collection[VisitName]) -> Mapping[str, int]:
        """Forget the visits for ever; counts of what went, by kind."""
        ...

    def anonymise(self, wish: Anonymisation) -> None:
        """Rewrite hits of the past; reports show it on return."""
        ...

    def purge(self) -> None:
        """Drop rows and archives that are past their lifetimes now."""
        ...

    def explain(self, site_id: int, visit_id: int) -> Mapping[str, Any] | None:
        """The story of a visit; None for an unknown one."""
        ...

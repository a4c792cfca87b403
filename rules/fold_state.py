"""What a fold remembers of an owner between hits, what it is told, and the rows that it makes, by key."""

from dataclasses import dataclass

import msgspec

from rules.local_time import LocalClock
from schemas.config import Tracking
from schemas.rows import Action, Conversion, ConversionItem, Row, Visit, VisitLink


class Cart(msgspec.Struct, array_like=True):
    """The rows of the open cart, which the next cart or an order of the visit replaces."""

    conversion: Conversion
    items: list[ConversionItem]


class FoldState(msgspec.Struct, array_like=True):
    """What the fold remembers of an owner: the last visit, and what only the open visit needs.

    The last visit's row is also the visitor's profile: each visit's figures follow from those before."""

    visit: Visit | None = None
    pageviews: int = 0
    last_kind: int = 0
    """Kind of the last page or search, whose time on page the next action tells; 0 before the first."""
    last_title: str = ""
    last_keyword: str = ""
    cart: Cart | None = None
    last_page: Action | None = None
    """The last page view that has a pageview id: later hits may bring its performance timings."""
    began_with_search: bool = False
    """Not used: states are stored by position, and those of instances that run have it here."""
    link: VisitLink | None = None
    """What the visitor of the open visit was told of it, when that is not the owner."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an owner was told by other folds; the fold of its hits depends on it."""

    lost_orders: frozenset[int] = frozenset()
    """hit_ids of orders whose order id belongs to an earlier order."""
    links: tuple[VisitLink, ...] = ()
    """Visits of this visitor that belong to other owners, by first_time."""

    def latest_link(self, before: int) -> VisitLink | None:
        """The last linked visit that began before a time."""
        found = None
        for link in self.links:
            if link.first_time >= before:
                break
            found = link
        return found


NO_FACTS = Facts()


class VisitRules(msgspec.Struct, frozen=True):
    """What of the configuration the fold needs."""

    tracking: Tracking
    clock: LocalClock


RowKey = tuple[str, int, int, int, int | str]
"""(table, site_id, date, visit_id or hit_id, goal_id or sku or 0)"""


def row_key(row: Row) -> RowKey:
    """The identity of a row: its ClickHouse sorting key, with the table's name in front."""
    if isinstance(row, Action):
        return ("actions", row.site_id, row.date, row.hit_id, 0)
    if isinstance(row, Visit):
        return ("visits", row.site_id, row.date, row.visit_id, 0)
    if isinstance(row, Conversion):
        return ("conversions", row.site_id, row.date, row.hit_id, row.goal_id)
    if isinstance(row, VisitLink):
        return ("links", row.site_id, 0, row.visit_id, row.visitor_id)
    return ("conversion_items", row.site_id, row.date, row.hit_id, row.sku)


def row_of_key(key: RowKey, owner: int) -> Row:
    """A row with nothing but its key, to be deleted."""
    table, site_id, date, number, last = key
    match table:
        case "actions":
            return Action(
                site_id=site_id, date=date, hit_id=number, visit_id=0, visitor_id=owner, owner=owner
            )
        case "visits":
            return Visit(
                site_id=site_id, date=date, visit_id=number, visitor_id=owner, owner=owner, config_id=0
            )
        case "conversions":
            return Conversion(
                site_id=site_id, date=date, hit_id=number, goal_id=int(last), visit_id=0,
                visitor_id=owner, owner=owner,
            )  # fmt: skip
        case _:
            return ConversionItem(
                site_id=site_id, date=date, hit_id=number, sku=str(last), goal_id=0, visit_id=0
            )


class Rows:
    """The rows that a fold made or changed, by key; a key that must no longer exist holds its last row as
    deleted."""

    __slots__ = ("conversions", "deleted", "rows")

    def __init__(self) -> None:
        self.rows: dict[RowKey, Row] = {}
        self.deleted: dict[RowKey, Row] = {}
        self.conversions: list[Conversion] = []
        """Goals and orders in the order in which they were made; unlike carts they stay."""

    def put(self, row: Row) -> None:
        key = row_key(row)
        self.rows[key] = row
        if self.deleted:
            self.deleted.pop(key, None)

    def convert(self, conversion: Conversion) -> None:
        """Put a goal or an order."""
        self.put(conversion)
        self.conversions.append(conversion)

    def delete(self, row: Row) -> None:
        """`row` needs only its key columns."""
        key = row_key(row)
        self.rows.pop(key, None)
        self.deleted[key] = row

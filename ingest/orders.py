"""Order numbers seen lately: a repeated one is answered as Matomo answers it.

Only the answer is decided here, and only as far back as this process remembers. The hit is written in any
case: which of several orders with one number counts is decided by the processors, from all ever accepted."""

from ingest.query import Params, decode, integer


class RecentOrders:
    """The newest `limit` order numbers at least, by site, compared without case."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._newer: set[tuple[int, str]] = set()
        self._older: set[tuple[int, str]] = set()

    def add(self, site_id: int, params: Params) -> bool:
        """Whether the request holds an order whose number was seen before; remembers it."""
        if not params.get("ec_id") or integer(params.get("idgoal"), -1) != 0:
            return False
        order = (site_id, decode(params["ec_id"]).lower())
        if order in self._newer or order in self._older:
            return True
        self._newer.add(order)
        if len(self._newer) >= self._limit:
            self._newer, self._older = set(), self._newer
        return False

"""Small counting numbers for visits and actions, as Matomo's tables give them.

Here a visit and an action are known by the id of a hit, which is large. With compatibility=strict the visits
log shows what Matomo's auto-increments would be: visits and actions are counted over the whole instance in
the order in which their first hits were accepted, and so are the distinct URLs, titles and names that
actions, orders and carts bring, also a cart that a later one replaced: the hits tell of it (of an order whose
hit is kept no longer, items go by SKU). The numbers are counted when they are asked for, over all rows; a
deleted visit moves those after it."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from reporting.method import ApiRequest
from reporting.pages import full_url
from reporting.rows import is_strict
from reporting.visits import Found, VisitParts


@dataclass(frozen=True)
class Numbers:
    """Maps what the numbers are of; whatever is missing keeps the id it has."""

    visits: Mapping[int, int] = field(default_factory=dict)
    actions: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """By type and text. A URL has the kind of its action as type: a page and a download are two."""

    prefixes: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """Of URLs: the scheme and www with which each was first seen, which is how it is shown."""

    def visit(self, visit_id: int) -> int:
        return self.visits.get(visit_id, visit_id)

    def action(self, hit_id: int) -> int:
        return self.actions.get(hit_id, hit_id)

    def url(self, action: Found) -> int:
        return self.names.get((int(action["kind"]), action["url"]), int(action["hit_id"]))

    def full_url(self, action: Found) -> str:
        prefix = self.prefixes.get((int(action["kind"]), action["url"]), action["url_prefix"])
        return full_url(action["url"], prefix)

    def products(self, items: Sequence[Found]) -> list[Found]:
        """In the order in which their SKUs were first seen; as they are where nothing is numbered."""
        return sorted(items, key=lambda item: self.names.get((_SKU, item["sku"]), 0))


_SKU = 5


_NAMES = (
    "arrayFilter(one -> one.2 != '', arrayConcat("
    "multiIf(kind = 1, [(toUInt8(4), title), (toUInt8(1), url)],"
    " kind = 8, [(toUInt8(8), search_keyword)],"
    " kind = 10, [(kind, url), (toUInt8(10), event_category), (toUInt8(11), event_action),"
    " (toUInt8(12), event_name)],"
    " kind = 13, [(kind, url), (toUInt8(13), content_name), (toUInt8(14), content_piece),"
    " (toUInt8(15), content_target), (toUInt8(16), content_interaction)],"
    " [(kind, url)]),"
    " [(toUInt8(5), product_sku), (toUInt8(6), product_name)],"
    " arrayMap(one -> (toUInt8(7), one), product_categories)))"
)
"""What an action brings that is numbered, in the order in which it gets its numbers: (type, text)."""

_ITEM_NAMES = (
    "arrayFilter(one -> one.2 != '', arrayConcat([(toUInt8(5), sku), (toUInt8(6), name)],"
    " arrayMap(one -> (toUInt8(7), one), categories)))"
)
_SENT_NAMES = (
    "arrayFilter(one -> one.2 != '', arrayFlatten(arrayMap(item -> arrayConcat("
    "[(toUInt8(5), JSONExtractString(item, 1)), (toUInt8(6), JSONExtractString(item, 2))],"
    " if(JSONType(item, 3) = 'Array',"
    " arrayMap(one -> (toUInt8(7), JSONExtractString(one)), JSONExtractArrayRaw(item, 3)),"
    " [(toUInt8(7), JSONExtractString(item, 3))])),"
    " JSONExtractArrayRaw(decodeURLFormComponent(extractURLParameter(concat('?', query), 'ec_items'))))))"
)
"""The same of the items that a hit came with: [SKU, name, category or categories, price, quantity]."""

_VISITS = (
    "SELECT visit_id AS id, number FROM (SELECT visit_id, row_number() OVER (ORDER BY visit_id) AS number"
    " FROM visits FINAL) WHERE visit_id IN {ids:Array(UInt64)}"
)
_ACTIONS = (
    "SELECT hit_id AS id, number FROM (SELECT hit_id, row_number() OVER (ORDER BY hit_id) AS number"
    " FROM actions FINAL) WHERE hit_id IN {ids:Array(UInt64)}"
)
_TEXTS = (
    "SELECT name.1 AS type, name.2 AS text, number, prefix FROM"
    " (SELECT name, row_number() OVER (ORDER BY min((hit_id, place)), name) AS number,"
    " argMin(url_prefix, (hit_id, place)) AS prefix FROM"
    f" (SELECT hit_id, url_prefix, 0 AS later, {_NAMES} AS names FROM actions FINAL"
    f" UNION ALL SELECT hit_id, 0, 0, {_SENT_NAMES} AS names FROM hits FINAL"
    " WHERE exclusion = '' AND position(query, 'ec_items=') > 0"
    f" UNION ALL SELECT hit_id, 0, 1000, {_ITEM_NAMES} AS names FROM conversion_items FINAL)"
    " ARRAY JOIN names AS name, arrayMap(at -> at + later, arrayEnumerate(names)) AS place GROUP BY name)"
    " WHERE name.2 IN {texts:Array(String)}"
)


async def _numbers(request: ApiRequest, sql: str, ids: Collection[int]) -> Mapping[int, int]:
    if not ids:
        return {}
    rows = await request.database.select(sql, {"ids": sorted(ids)})
    return {int(row["id"]): int(row["number"]) for row in rows}


async def read_numbers(request: ApiRequest, parts: Sequence[VisitParts]) -> Numbers:
    """The numbers of visits and of what they did; none unless the instance is strict."""
    if not is_strict(request) or not parts:
        return Numbers()
    actions = [action for part in parts for action in part.actions]
    texts = {action["url"] for action in actions}
    texts.update(item["sku"] for part in parts for items in part.items.values() for item in items)
    texts.discard("")
    found = await request.database.select(_TEXTS, {"texts": sorted(texts)}) if texts else ()
    return Numbers(
        await _numbers(request, _VISITS, {int(part.visit["visit_id"]) for part in parts}),
        await _numbers(request, _ACTIONS, {int(action["hit_id"]) for action in actions}),
        {(int(row["type"]), row["text"]): int(row["number"]) for row in found},
        {(int(row["type"]), row["text"]): int(row["prefix"]) for row in found},
    )

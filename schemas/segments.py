"""Segment names of the Reporting API: what each one compares, on which row, and which values it takes.

`sql` is an expression over the columns of the row's table. Text compares without case; numbers as numbers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.plugins import Plugin, installed_plugins

Scope = Literal["visit", "action", "conversion", "item"]
Kind = Literal["text", "number", "url", "visitor_id", "texts", "numbers", "ip", "goal_name", "continent"]
"""`texts` and `numbers` are arrays of which one element must fit; `url` ignores scheme and www;
`goal_name` and `continent` are resolved to ids and country codes before the query."""


@dataclass(frozen=True, kw_only=True)
class SegmentField:
    name: str
    sql: str
    scope: Scope = "visit"
    kind: Kind = "text"
    title: str = ""
    category: str = "Visitors"
    metric: bool = False
    """Shown as a metric (numbers that are compared) rather than as a dimension."""
    where: str = ""
    """Rows of the table that the name speaks about, such as `kind = 1`."""
    values: Mapping[str, str | int] = field(default_factory=dict)
    """Closed list: accepted value (lower case) -> stored value. Empty: any value."""
    column: str = ""
    """How messages name the column of a closed list (clients know Matomo's names). Empty: another value is no
    mistake, no row has it."""
    suggestions: bool = True
    """Its values may be offered by API.getSuggestedValuesForSegment."""


DEVICE_TYPES = (
    "desktop", "smartphone", "tablet", "feature phone", "console", "tv", "car browser", "smart display",
    "camera",
    "portable media player", "phablet", "smart speaker", "wearable", "peripheral",
)  # fmt: skip

VISITOR_TYPES: Mapping[str, str | int] = {
    "new": 0, "returning": 1, "returningcustomer": 2,
}  # fmt: skip
ECOMMERCE_STATES: Mapping[str, str | int] = {
    "none": 0, "ordered": 1, "abandonedcart": 2, "orderedthenabandonedcart": 3,
}  # fmt: skip
REFERRER_TYPES: Mapping[str, str | int] = {
    "direct": 1, "search": 2, "website": 3, "campaign": 6, "social": 7, "ai": 8,
}  # fmt: skip
ACTION_TYPES: Mapping[str, str | int] = {
    "pageviews": 1, "outlinks": 2, "downloads": 3, "sitesearches": 8, "events": 10, "contents": 13,
}  # fmt: skip

_PAGE = "kind = 1"
_SEARCH = "kind = 8"
_EVENT = "kind = 10"
_CONTENT = "kind = 13"


def _visit(name: str, sql: str, title: str, kind: Kind = "text", **more: object) -> SegmentField:
    return SegmentField(name=name, sql=sql, title=title, kind=kind, **more)  # type: ignore[arg-type]


def _number(name: str, sql: str, title: str, **more: object) -> SegmentField:
    return SegmentField(name=name, sql=sql, title=title, kind="number", metric=True, **more)  # type: ignore[arg-type]


def _action(name: str, sql: str, title: str, where: str, kind: Kind = "text", **more: object) -> SegmentField:
    more.setdefault("category", "Behaviour")
    return SegmentField(name=name, sql=sql, title=title, where=where, scope="action", kind=kind, **more)  # type: ignore[arg-type]


_VISIT_FIELDS = (
    _number("actions", "actions", "Actions In Visit"),
    _number("daysSinceFirstVisit", "intDiv(seconds_since_first, 86400)", "Days since first visit"),
    _number(
        "daysSinceLastEcommerceOrder", "intDiv(seconds_since_order, 86400)", "Days since last Ecommerce order"
    ),
    _number("daysSinceLastVisit", "intDiv(seconds_since_last, 86400)", "Days since last visit"),
    _number("events", "events", "Events"),
    _number("visitLocalMinute", "intDiv(visitor_seconds, 60) % 60", "Local time — minute (start of visit)"),
    _number("interactions", "interactions", "Number of Interactions"),
    _number("searches", "searches", "Number of Internal Searches"),
    _number("visitCount", "visit_count", "Number of visits"),
    _number("secondsSinceFirstVisit", "seconds_since_first", "Seconds since first visit"),
    _number("secondsSinceLastEcommerceOrder", "seconds_since_order", "Seconds since last Ecommerce order"),
    _number("secondsSinceLastVisit", "seconds_since_last", "Seconds since last visit"),
    _number("visitDuration", "duration", "Visit Duration (in seconds)"),
    _visit("visitIp", "ip", "Visitor IP", "ip", metric=True, suggestions=False),
    _visit("browserName", "browser", "Browser", column="log_visit.config_browser_name"),
    _visit("browserCode", "browser", "Browser code"),
    _visit("browserEngine", "browser_engine", "Browser engine"),
    _visit("browserVersion", "browser_version", "Browser version"),
    _visit("deviceBrand", "device_brand", "Device brand"),
    _visit("deviceModel", "device_model", "Device model"),
    _visit(
        "deviceType",
        "device_type",
        "Device type",
        values={name: at for at, name in enumerate(DEVICE_TYPES)},
        column="log_visit.config_device_type",
    ),
    _visit("fingerprint", "config_id", "Fingerprint", "visitor_id"),
    _visit("visitLocalHour", "visitor_hour", "Local time — hour (start of visit)", "number"),
    _visit("operatingSystemName", "os", "Operating system", column="log_visit.config_os"),
    _visit("operatingSystemCode", "os", "Operating system code"),
    _visit("operatingSystemVersion", "os_version", "Operating system version"),
    _visit("profilable", "toUInt8(owner != config_id)", "Profilable", "number"),
    _visit("resolution", "resolution", "Resolution"),
    _visit("visitStartServerHour", "toHour(first_time)", "Site time — hour (start of visit)", "number"),
    _visit("visitServerHour", "toHour(last_time)", "Site time — hour (time of last action)", "number"),
    _visit(
        "visitEndServerDate", "toString(toDate(last_time, 'UTC'))", "Time in UTC — date (time of last action)"
    ),
    _visit(
        "visitEndServerDayOfMonth",
        "toDayOfMonth(last_time)",
        "Time in UTC — day of month (time of last action)",
        "number",
    ),
    _visit(
        "visitEndServerDayOfWeek",
        "toDayOfWeek(last_time)",
        "Time in UTC — day of week (time of last action)",
        "number",
    ),
    _visit(
        "visitEndServerDayOfYear",
        "toDayOfYear(last_time)",
        "Time in UTC — day of year (time of last action)",
        "number",
    ),
    _visit(
        "visitStartServerMinute", "toMinute(first_time)", "Time in UTC — minute (start of visit)", "number"
    ),
    _visit(
        "visitEndServerMinute", "toMinute(last_time)", "Time in UTC — minute (time of last action)", "number"
    ),
    _visit(
        "visitEndServerMonth", "toMonth(last_time)", "Time in UTC — month (time of last action)", "number"
    ),
    _visit(
        "visitEndServerQuarter",
        "toQuarter(last_time)",
        "Time in UTC — quarter (time of last action)",
        "number",
    ),
    _visit(
        "visitEndServerSecond", "toSecond(last_time)", "Time in UTC — second (Time of last action)", "number"
    ),
    _visit(
        "visitEndServerWeekOfYear",
        "toISOWeek(last_time)",
        "Time in UTC — week of year (time of last action)",
        "number",
    ),
    _visit("visitEndServerYear", "toYear(last_time)", "Time in UTC — year (time of last action)", "number"),
    _visit("userId", "user_id", "User ID"),
    _visit(
        "visitEcommerceStatus",
        "buyer",
        "Visit Ecommerce status at the end of the visit",
        values=ECOMMERCE_STATES,
        column="log_visit.visit_goal_buyer",
    ),
    _visit("visitId", "visit_id", "Visit ID", "number"),
    _visit("visitConvertedGoalId", "goals", "Visit converted a specific Goal Id", "numbers"),
    _visit("visitConvertedGoalName", "goals", "Visit converted a specific Goal Name", "goal_name"),
    _visit("visitConverted", "toUInt8(converted)", "Visit converted at least one Goal", "number"),
    _visit("visitorType", "returning", "Visit type", values=VISITOR_TYPES),
    _visit("visitorId", "visitor_id", "Visitor ID", "visitor_id"),
    _visit("city", "city", "City", category="Visitor location"),
    _visit("continentCode", "country", "Continent", "continent", category="Visitor location"),
    _visit(
        "countryName", "country", "Country", category="Visitor location", column="log_visit.location_country"
    ),
    _visit("countryCode", "country", "Country code", category="Visitor location"),
    _visit("languageCode", "language", "Language", category="Visitor location"),
    _visit("latitude", "toFloat64OrNull(latitude)", "Latitude", "number", category="Visitor location"),
    _visit("longitude", "toFloat64OrNull(longitude)", "Longitude", "number", category="Visitor location"),
    _visit("regionCode", "region", "Region", category="Visitor location"),
    _visit("entryPageUrl", "entry_url", "Entry Page URL", "url", category="Behaviour"),
    _visit("entryPageTitle", "entry_title", "Entry Page title", category="Behaviour"),
    _visit("exitPageUrl", "exit_url", "Exit Page URL", "url", category="Behaviour"),
    _visit("exitPageTitle", "exit_title", "Exit Page Title", category="Behaviour"),
    _visit(
        "referrerType",
        "referrer_type",
        "Channel Type",
        category="Acquisition",
        values=REFERRER_TYPES,
        column="log_visit.referer_type",
    ),
    _visit("referrerKeyword", "referrer_keyword", "Keyword", category="Acquisition"),
    _visit("referrerName", "referrer_name", "Referrer Name", category="Acquisition"),
    _visit("referrerUrl", "referrer_url", "Referrer URL", category="Acquisition"),
)

_ACTION_FIELDS = (
    _action("bandwidth", "bandwidth", "Bandwidth", "bandwidth >= 0", "number", metric=True),
    _action("actionType", "kind", "Action Type", "1", values=ACTION_TYPES, column="log_action.type"),
    _action("actionUrl", "url", "Action URL", "kind IN (1, 2, 3, 10)", "url"),
    _action("siteSearchCategory", "search_category", "Category (Site Search)", _SEARCH),
    _action("outlinkUrl", "url", "Clicked Outlink", "kind = 2", "url"),
    _action("contentInteraction", "content_interaction", "Content Interaction", _CONTENT),
    _action("contentName", "content_name", "Content Name", _CONTENT),
    _action("contentPiece", "content_piece", "Content Piece", _CONTENT),
    _action("contentTarget", "content_target", "Content Target", _CONTENT),
    _action("downloadUrl", "url", "Download URL", "kind = 3", "url"),
    _action("siteSearchKeyword", "search_keyword", "Keyword (Site Search)", _SEARCH),
    _action(
        "siteSearchCount",
        "search_count",
        "Keyword count (Site Search)",
        "kind = 8 AND search_count >= 0",
        "number",
    ),
    _action("pageTitle", "title", "Page Title", _PAGE),
    _action("pageUrl", "url", "Page URL", _PAGE, "url"),
    _action("actionServerHour", "local_hour", "Site time — hour", "1", "number"),
    _action("actionServerMinute", "toMinute(time)", "Time in UTC — minute", "1", "number"),
    _action(
        "eventValue",
        "event_value",
        "Event value",
        "kind = 10 AND has_event_value",
        "number",
        category="Events",
        metric=True,
    ),
    _action("eventAction", "event_action", "Event Action", _EVENT, category="Events"),
    _action("eventCategory", "event_category", "Event Category", _EVENT, category="Events"),
    _action("eventName", "event_name", "Event Name", _EVENT, category="Events"),
    _action("eventUrl", "url", "Event URL", _EVENT, "url", category="Events"),
    _action(
        "productViewPrice",
        "product_price",
        "Viewed Product Price",
        "has_product_price",
        "number",
        category="Ecommerce",
        metric=True,
    ),
    _action("productViewName", "product_name", "Viewed Product Name", _PAGE, category="Ecommerce"),
    _action("productViewSku", "product_sku", "Viewed Product SKU", _PAGE, category="Ecommerce"),
    _action(
        "productViewCategory",
        "product_categories",
        "Viewed Product Category",
        _PAGE,
        "texts",
        category="Ecommerce",
    ),
)


def _order(name: str, sql: str, title: str, where: str, kind: Kind = "number") -> SegmentField:
    return SegmentField(
        name=name,
        sql=sql,
        title=title,
        where=where,
        scope="conversion",
        kind=kind,
        category="Ecommerce",
        metric=True,
    )


_ECOMMERCE_FIELDS = (
    _order("orderId", "order_id", "Order ID", "goal_id = 0", "text"),
    _order("revenueOrder", "revenue", "Order Revenue", "goal_id = 0"),
    _order("revenueAbandonedCart", "revenue", "Revenue Left In Cart", "goal_id = -1"),
    SegmentField(
        name="productPrice",
        sql="price",
        title="Product Price",
        scope="item",
        kind="number",
        category="Ecommerce",
        metric=True,
    ),
    SegmentField(name="productName", sql="name", title="Product Name", scope="item", category="Ecommerce"),
    SegmentField(name="productSku", sql="sku", title="Product SKU", scope="item", category="Ecommerce"),
    SegmentField(
        name="productCategory",
        sql="categories",
        title="Product Category",
        scope="item",
        kind="texts",
        category="Ecommerce",
    ),
)


def _custom_variables() -> tuple[SegmentField, ...]:
    fields = []
    for part, place, word in (("Name", 1, "name"), ("Value", 2, "value")):
        for scope, prefix, where in (("visit", "customVariable", ""), ("action", "customVariablePage", "1")):
            label = "visit" if scope == "visit" else "page"
            fields.append(
                SegmentField(
                    name=prefix + part,
                    sql=f"arrayMap(v -> v.{place}, mapValues(custom_variables))",
                    title=f"Custom Variable {word} (scope {label})",
                    scope=scope,  # type: ignore[arg-type]
                    kind="texts",
                    category="Custom Variables",
                    where=where,
                )
            )
            for number in range(1, 6):
                fields.append(
                    SegmentField(
                        name=f"{prefix}{part}{number}",
                        sql=f"custom_variables[{number}].{place}",
                        title=f"Custom Variable {word} {number} (scope {label})",
                        scope=scope,  # type: ignore[arg-type]
                        category="Custom Variables",
                        where=where,
                    )
                )
    return tuple(fields)


def _per_category() -> tuple[SegmentField, ...]:
    """productCategory1..5 and productViewCategory1..5: one place of the category list."""
    fields = []
    for number in range(1, 6):
        fields.append(
            SegmentField(
                name=f"productCategory{number}",
                sql=f"categories[{number}]",
                title=f"Product Category {number}",
                scope="item",
                category="Ecommerce",
            )
        )
        fields.append(
            _action(
                f"productViewCategory{number}",
                f"product_categories[{number}]",
                f"Viewed Product Category {number}",
                _PAGE,
                category="Ecommerce",
            )
        )
    return tuple(fields)


def plugin_segments(plugin: Plugin) -> Iterator[SegmentField]:
    """The names by which a plugin's dimensions choose visits."""
    for one in plugin.dimensions:
        if one.segment:
            bare = re.sub(r"\bv\.", "", one.sql)
            yield SegmentField(name=one.segment, sql=bare, title=one.title, category=one.category)


_OWN_SEGMENTS = {
    one.name: one
    for one in (*_VISIT_FIELDS, *_ACTION_FIELDS, *_ECOMMERCE_FIELDS, *_custom_variables(), *_per_category())
}
SEGMENTS: Mapping[str, SegmentField] = {
    **{one.name: one for plugin in installed_plugins() for one in plugin_segments(plugin)},
    **_OWN_SEGMENTS,
}
"""A plugin can't replace a name of ours."""


def dimension_field(dimension_id: int, scope: str, name: str) -> SegmentField:
    """The segment dimension<N> of a site's active custom dimension."""
    return SegmentField(
        name=f"dimension{dimension_id}",
        sql=f"dimensions[{int(dimension_id)}]",
        scope="visit" if scope == "visit" else "action",
        title=name,
        category="Visitors" if scope == "visit" else "Behaviour",
        where="" if scope == "visit" else "1",
    )

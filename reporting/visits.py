"""Visits with everything they did, as Live shows them."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reporting.api import zone_of
from reporting.icons import icon
from reporting.method import ApiRequest
from reporting.methods.referrers import TYPE_NAMES, TYPE_SEGMENTS
from reporting.pages import full_url
from reporting.queries import compiled_segment
from reporting.rows import money, number
from reporting.table import Columns, Row, Value
from reporting.wording import currency_symbol, grouped, pretty_seconds
from rules.locations import continent_code, continent_name, country_name, language_name, region_name
from rules.prepared import SEARCH_ENGINE, SOCIAL_NETWORK
from rules.referrers import search_engine_url, social_network_host
from rules.user_agents import browser_name, device_type_name, engine_label, os_name
from schemas.config import Config, Site
from schemas.hit import format_visitor_id
from schemas.rows import CART_GOAL, ORDER_GOAL, ActionKind

Found = Mapping[str, Any]
"""A row of the database, keyed by column; times also as <name>_ts, unix seconds."""

_IMAGES = "plugins/Morpheus/images"
VISITOR_TYPES = ("new", "returning", "returningCustomer")
ECOMMERCE_STATES = ("none", "ordered", "abandonedCart", "orderedThenAbandonedCart")
_ECOMMERCE_ICONS = (None, "ecommerceOrder", "ecommerceAbandonedCart", "ecommerceOrder")
_TIMINGS = ("time_network", "time_server", "time_transfer", "time_dom_processing", "time_dom_completion",
            "time_on_load")  # fmt: skip


@dataclass
class VisitParts:
    """A visit's rows in the tables."""

    visit: Found
    actions: list[Found] = field(default_factory=list)
    conversions: list[Found] = field(default_factory=list)
    items: dict[int, list[Found]] = field(default_factory=dict)
    """Products by the hit of their order or cart."""


@dataclass(frozen=True)
class Totals:
    """What a visitor ordered and left in carts, over all time."""

    revenue: float = 0.0
    orders: int = 0
    items: int = 0
    cart_revenue: float = 0.0
    carts: int = 0
    cart_items: int = 0


@dataclass(frozen=True, kw_only=True)
class VisitQuery:
    """Which visits to read: unix seconds, both included; 0 is open."""

    site_id: int
    since: int = 0
    until: int = 0
    limit: int | None = None
    visitor_id: int | None = None
    ascending: bool = False
    with_actions: bool = True


_TIMES = "toUnixTimestamp(first_time) AS first_ts, toUnixTimestamp(last_time) AS last_ts"


async def read_visits(request: ApiRequest, query: VisitQuery) -> list[VisitParts]:
    """Newest first unless ascending."""
    since = datetime.fromtimestamp(query.since, UTC).date() - timedelta(days=1)
    until = datetime.fromtimestamp(query.until, UTC).date() + timedelta(days=1) if query.until else None
    parameters: dict[str, object] = {
        "site": query.site_id, "since": query.since, "until": query.until or 4_000_000_000,
        "first": since if query.since else datetime(1970, 1, 2, tzinfo=UTC).date(),
        "last": until or datetime(2105, 1, 1, tzinfo=UTC).date(),
    }  # fmt: skip
    conditions = [
        "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}",
        "toUnixTimestamp(last_time) BETWEEN {since:UInt32} AND {until:UInt32}",
    ]
    if query.visitor_id is not None:
        conditions.append("visitor_id = {visitor:UInt64}")
        parameters["visitor"] = query.visitor_id
    if request.segment:
        segment = compiled_segment(request, query.site_id)
        if not segment.is_all:
            conditions.append(f"({segment.visit})")
            parameters.update(segment.parameters)
    order = "ASC" if query.ascending else "DESC"
    limit = f" LIMIT {int(query.limit)}" if query.limit is not None and query.limit >= 0 else ""
    visits = await request.database.select(
        f"SELECT *, {_TIMES} FROM visits FINAL WHERE {' AND '.join(conditions)}"
        f" ORDER BY last_time {order}, visit_id {order}{limit}",
        parameters,
    )
    parts = {int(visit["visit_id"]): VisitParts(visit) for visit in visits}
    if parts and query.with_actions:
        await _add_details(request, query.site_id, parts)
    return list(parts.values())


async def _add_details(request: ApiRequest, site_id: int, parts: Mapping[int, VisitParts]) -> None:
    firsts = [datetime.fromtimestamp(int(part.visit["first_ts"]), UTC).date() for part in parts.values()]
    lasts = [datetime.fromtimestamp(int(part.visit["last_ts"]), UTC).date() for part in parts.values()]
    parameters: dict[str, object] = {
        "site": site_id, "visits": list(parts), "first": min(firsts) - timedelta(days=1),
        "last": max(lasts) + timedelta(days=1),
    }  # fmt: skip
    where = (
        "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        " AND visit_id IN {visits:Array(UInt64)}"
    )
    for table, name in (("actions", "actions"), ("conversions", "conversions")):
        rows = await request.database.select(
            f"SELECT *, toUnixTimestamp(time) AS ts FROM {table} FINAL WHERE {where} ORDER BY time, hit_id",
            parameters,
        )
        for row in rows:
            getattr(parts[int(row["visit_id"])], name).append(row)
    items = await request.database.select(
        f"SELECT * FROM conversion_items FINAL WHERE {where} ORDER BY hit_id, sku", parameters
    )
    for item in items:
        parts[int(item["visit_id"])].items.setdefault(int(item["hit_id"]), []).append(item)


async def read_totals(request: ApiRequest, site_id: int, visitors: Iterable[int]) -> dict[int, Totals]:
    rows = await request.database.select(
        "SELECT visitor_id, goal_id, sum(revenue) AS money, count() AS times, sum(items) AS products"
        " FROM conversions FINAL WHERE site_id = {site:UInt32} AND goal_id <= 0"
        " AND visitor_id IN {visitors:Array(UInt64)} GROUP BY visitor_id, goal_id",
        {"site": site_id, "visitors": list(visitors)},
    )
    found: dict[int, dict[int, Found]] = {}
    for row in rows:
        found.setdefault(int(row["visitor_id"]), {})[int(row["goal_id"])] = row
    nothing: Found = {"money": 0.0, "times": 0, "products": 0}
    result = {}
    for visitor, by_goal in found.items():
        order, cart = by_goal.get(ORDER_GOAL, nothing), by_goal.get(CART_GOAL, nothing)
        result[visitor] = Totals(
            float(order["money"]), int(order["times"]), int(order["products"]),
            float(cart["money"]), int(cart["times"]), int(cart["products"]),
        )  # fmt: skip
    return result


# --- Dates in words --------------------------------------------------------------------------------


def pretty_date(moment: datetime) -> str:
    """Thursday, September 10, 2026"""
    return f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}"


def pretty_moment(moment: datetime) -> str:
    """Sep 10, 2026 10:00:00"""
    return f"{moment:%b} {moment.day}, {moment.year} {moment:%H:%M:%S}"


def local(timestamp: Any, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(int(timestamp), zone)


def wall_clock(timestamp: Any, zone: ZoneInfo) -> int:
    """The site's local time as if it were UTC: what Matomo calls the timestamp of an action."""
    offset = local(timestamp, zone).utcoffset()
    return int(timestamp) + (0 if offset is None else int(offset.total_seconds()))


# --- Actions ---------------------------------------------------------------------------------------


def _base(action: Found, kind: str, zone: ZoneInfo, url: str | None, *, with_title: bool) -> Columns:
    columns: Columns = {"type": kind, "url": url}
    if with_title:
        columns["pageTitle"] = action["title"] or None
    return columns | {
        "pageIdAction": None if url is None else int(action["hit_id"]),
        "idpageview": action["pageview_id"] or None,
        "serverTimePretty": pretty_moment(local(action["ts"], zone)),
        "pageId": int(action["hit_id"]),
    }


def _page_columns(action: Found, zone: ZoneInfo, spent: int) -> Columns:
    url = full_url(action["url"], action["url_prefix"])
    columns = _base(action, "action", zone, url, with_title=True)
    timings = [int(action[name]) for name in _TIMINGS if int(action[name]) >= 0]
    # a page's load time is known when all its parts are
    load = sum(timings) if len(timings) == len(_TIMINGS) else 0
    if load:
        columns["pageLoadTime"] = f"{number(round(load / 1000, 2))}s"
    if action["has_product_price"]:
        columns["productViewPrice"] = money(float(action["product_price"]))
    if action["product_name"]:
        columns["productViewName"] = action["product_name"]
    if action["product_sku"]:
        columns["productViewSku"] = action["product_sku"]
    if url:
        columns |= {"timeSpent": spent, "timeSpentPretty": pretty_seconds(spent)}
    if load:
        columns["pageLoadTimeMilliseconds"] = load
    columns |= {
        "pageviewPosition": int(action["position"]) or None,
        "title": action["title"] or None,
        "subtitle": url,
        "icon": "",
        "iconSVG": f"{_IMAGES}/action.svg",
        "timestamp": wall_clock(action["ts"], zone),
    }
    categories = [one for one in action["product_categories"] if one]
    if categories:
        columns["productViewCategories"] = categories
    return columns


def _shown_as(name: str, title: str, subtitle: str) -> Columns:
    return {
        "icon": f"{_IMAGES}/{name}.png",
        "iconSVG": f"{_IMAGES}/{name}.svg",
        "title": title,
        "subtitle": subtitle,
    }


def _link_columns(action: Found, zone: ZoneInfo) -> Columns:
    url = full_url(action["url"], action["url_prefix"])
    outlink = int(action["kind"]) == ActionKind.OUTLINK
    columns = _base(action, "outlink" if outlink else "download", zone, url, with_title=True)
    columns["pageviewPosition"] = int(action["position"]) or None
    columns |= _shown_as("link", "Outlink", url) if outlink else _shown_as("download", "Download", url)
    return columns | {"timestamp": wall_clock(action["ts"], zone)}


def _search_columns(action: Found, zone: ZoneInfo) -> Columns:
    columns = _base(action, "search", zone, None, with_title=False)
    count = int(action["search_count"])
    subtitle = action["search_keyword"]
    if action["search_category"]:
        subtitle += f" - Search Category: {action['search_category']}"
    if count > 0:
        subtitle += f" - Search Results Count: {count}"
    return columns | {
        "siteSearchKeyword": action["search_keyword"],
        "siteSearchCategory": action["search_category"],
        "siteSearchCount": count if count >= 0 else None,
        "pageviewPosition": int(action["position"]) or None,
        **_shown_as("search", "Site Search", subtitle),
        "timestamp": wall_clock(action["ts"], zone),
    }


def _event_columns(action: Found, zone: ZoneInfo) -> Columns:
    columns = _base(
        action, "event", zone, full_url(action["url"], action["url_prefix"]) or None, with_title=False
    )
    category, name = action["event_category"], action["event_action"]
    columns |= {
        "eventCategory": category,
        "eventAction": name,
        "pageviewPosition": int(action["position"]) or None,
        "timestamp": wall_clock(action["ts"], zone),
        # the quotes do not match in Matomo either
        **_shown_as("event", "Event", f'Category: "{category}\', Action: "{name}"'),
    }
    if action["event_name"]:
        columns["eventName"] = action["event_name"]
    if action["has_event_value"]:
        columns["eventValue"] = number(round(float(action["event_value"]), 3))
    return columns


def _content_columns(action: Found, zone: ZoneInfo) -> Columns:
    url = full_url(action["url"], action["url_prefix"])
    columns = _base(action, str(ActionKind.CONTENT), zone, url, with_title=True)
    interaction = action["content_interaction"]
    for name, stored in (
        ("contentName", "content_name"), ("contentPiece", "content_piece"),
        ("contentTarget", "content_target"), ("contentInteraction", "content_interaction"),
    ):  # fmt: skip
        columns[name] = action[stored] or None
    columns["pageviewPosition"] = int(action["position"]) or None
    subtitle = " - ".join(part for part in (action["content_name"], action["content_piece"]) if part)
    if interaction:
        columns |= _shown_as("contentinteraction", f"Content Interaction ({interaction})", subtitle)
    else:
        columns |= _shown_as("contentimpression", "Content Impression", subtitle)
    return columns | {"timestamp": wall_clock(action["ts"], zone)}


def _own_dimensions(found: Found, known: Mapping[int, str]) -> Columns:
    return {f"dimension{key}": found["dimensions"].get(key) for key in known}


def custom_variables(found: Found, suffix: str = "") -> Columns:
    """Slot -> name and value under numbered names."""
    shown: dict[str, Value] = {}
    for slot in sorted(found["custom_variables"]):
        name, value = found["custom_variables"][slot]
        shown[str(slot)] = {
            f"customVariable{suffix}Name{slot}": name,
            f"customVariable{suffix}Value{slot}": value,
        }
    return {"customVariables": shown} if shown else {}


_COUNTED_SECONDS = 10


def time_spent(actions: Sequence[Found], at: int, visit: Found) -> int:
    """Seconds on the page at index `at`: what the actions up to the next page count as spent before them;
    without a next page until the visit's end; 0 for a page that is the last thing that happened."""
    following = actions[at + 1 :]
    for place, later in enumerate(following):
        if int(later["kind"]) == ActionKind.PAGE:
            return sum(int(action["time_spent_previous"]) for action in following[: place + 1])
    left = max(0, int(visit["duration"]) - (int(actions[at]["ts"]) - int(visit["first_ts"])))
    if not following and left <= _COUNTED_SECONDS:
        # a visit counts a second for its last hit and some for conversions; more than that was told by pings
        return 0
    return left


def _action_row(
    part: VisitParts, at: int, zone: ZoneInfo, dimensions: Mapping[int, str], *, carts_follow: bool
) -> Columns:
    action = part.actions[at]
    kind = int(action["kind"])
    if kind in (ActionKind.OUTLINK, ActionKind.DOWNLOAD):
        columns = _link_columns(action, zone)
    elif kind == ActionKind.SEARCH:
        columns = _search_columns(action, zone)
    elif kind == ActionKind.EVENT:
        columns = _event_columns(action, zone)
    elif kind == ActionKind.CONTENT:
        columns = _content_columns(action, zone)
    else:
        spent = time_spent(part.actions, at, part.visit)
        if at == len(part.actions) - 1 and carts_follow:
            visit = part.visit
            spent = max(0, int(visit["duration"]) - (int(action["ts"]) - int(visit["first_ts"])))
        columns = _page_columns(action, zone, spent)
    columns |= _own_dimensions(action, dimensions)
    return columns | custom_variables(action, "Page")


def _referrer_columns(conversion: Found) -> Columns:
    kind = str(conversion["referrer_type"])
    return {
        "referrerType": TYPE_SEGMENTS.get(kind, kind),
        "referrerName": conversion["referrer_name"],
        "referrerKeyword": conversion["referrer_keyword"],
    }


def _conversion_row(
    conversion: Found, part: VisitParts, site: Site, config: Config, zone: ZoneInfo
) -> Columns:
    goal_id = int(conversion["goal_id"])
    when = pretty_moment(local(conversion["ts"], zone))
    revenue = money(float(conversion["revenue"]))
    symbol = currency_symbol(site.currency)
    if goal_id > 0:
        goal = config.goals.get(site.site_id, {}).get(goal_id)
        name = goal.name if goal else f"Goal {goal_id}"
        subtitle = name if not revenue else f"{name} ({symbol}{_amount(revenue)} revenue)"
        action_hit = next((one for one in part.actions if one["hit_id"] == conversion["hit_id"]), None)
        return {
            "type": "goal",
            "goalName": name,
            "goalId": goal_id,
            "idpageview": None,
            "revenue": revenue,
            "goalPageId": None if action_hit is None else int(action_hit["hit_id"]),
            "serverTimePretty": when,
            "url": conversion["url"],
            **_referrer_columns(conversion),
            **_shown_as("goal", "Goal conversion", subtitle),
            "timestamp": wall_clock(conversion["ts"], zone),
        }
    ordered = goal_id == ORDER_GOAL
    columns: Columns = {"type": "ecommerceOrder" if ordered else "ecommerceAbandonedCart"}
    if ordered:
        columns["orderId"] = conversion["order_id"]
    columns["revenue"] = revenue
    if ordered:
        columns |= {
            "revenueSubTotal": money(float(conversion["subtotal"])),
            "revenueTax": money(float(conversion["tax"])),
            "revenueShipping": money(float(conversion["shipping"])),
            "revenueDiscount": money(float(conversion["discount"])),
        }
    columns |= {
        "items": int(conversion["items"]),
        "serverTimePretty": when,
        "idpageview": None,
        **_referrer_columns(conversion),
    }
    items = part.items.get(int(conversion["hit_id"]), [])
    columns["itemDetails"] = [_item(item) for item in items]
    names = ", ".join(item["name"] for item in items)
    title = f"Ordered ({conversion['order_id']})" if ordered else "Abandoned Cart"
    subtitle = f"{symbol}{_amount(revenue)} revenue - {int(conversion['items'])} items: {names})"
    kind = "ecommerceOrder" if ordered else "ecommerceAbandonedCart"
    return columns | _shown_as(kind, title, subtitle) | {"timestamp": wall_clock(conversion["ts"], zone)}


def _amount(revenue: float) -> str:
    """2, 7.50, 2,510.11"""
    return grouped(revenue, "en", 0 if revenue == int(revenue) else 2)


def _item(item: Found) -> Columns:
    categories = [one for one in item["categories"] if one]
    return {
        "itemSKU": item["sku"],
        "itemName": item["name"],
        "itemCategory": categories[0] if categories else "",
        "price": money(float(item["price"])),
        "quantity": int(item["quantity"]),
        "categories": categories,
    }


def action_details(part: VisitParts, site: Site, config: Config, zone: ZoneInfo) -> list[Value]:
    """Actions and conversions by time. A conversion follows the action of its hit; one that has none comes
    first in its second."""
    dimensions = {
        one.dimension_id: one.name
        for one in config.dimensions.get(site.site_id, {}).values()
        if one.scope == "action" and one.active
    }
    last_action = int(part.actions[-1]["ts"]) if part.actions else 0
    follows = any(int(one["goal_id"]) <= 0 and int(one["ts"]) > last_action for one in part.conversions)
    rows: list[tuple[int, int, int, Columns]] = []
    for at, action in enumerate(part.actions):
        columns = _action_row(part, at, zone, dimensions, carts_follow=follows)
        rows.append((int(action["ts"]), int(action["hit_id"]), 0, columns))
    with_action = {int(action["hit_id"]) for action in part.actions}
    for conversion in part.conversions:
        columns = _conversion_row(conversion, part, site, config, zone)
        hit_id = int(conversion["hit_id"])
        rows.append((int(conversion["ts"]), hit_id if hit_id in with_action else 0, 1, columns))
    rows.sort(key=lambda row: row[:3])
    return [columns for _, _, _, columns in rows]


# --- Visits ----------------------------------------------------------------------------------------


def _time_columns(visit: Found, zone: ZoneInfo) -> Columns:
    first, last = local(visit["first_ts"], zone), local(visit["last_ts"], zone)
    last_utc = local(visit["last_ts"], ZoneInfo("UTC"))
    return {
        "serverDate": last_utc.date().isoformat(),
        "visitServerHour": str(last_utc.hour),
        "lastActionTimestamp": int(visit["last_ts"]),
        "lastActionDateTime": f"{last_utc:%Y-%m-%d %H:%M:%S}",
        "siteName": None,
        "serverTimestamp": int(visit["last_ts"]),
        "firstActionTimestamp": int(visit["first_ts"]),
        "serverTimePretty": f"{last:%H:%M:%S}",
        "serverDatePretty": pretty_date(last),
        "serverDatePrettyFirstAction": pretty_date(first),
        "serverTimePrettyFirstAction": f"{first:%H:%M:%S}",
    }


def _referrer_of(visit: Found) -> Columns:
    kind = str(visit["referrer_type"])
    name = visit["referrer_name"]
    engine = int(visit["referrer_type"]) == SEARCH_ENGINE
    social = int(visit["referrer_type"]) == SOCIAL_NETWORK
    engine_url = search_engine_url(name) if engine else ""
    network = social_network_host(name) if social else ""
    keyword = visit["referrer_keyword"]
    if engine and not keyword:
        keyword = "Keyword not defined"
    return {
        "referrerType": TYPE_SEGMENTS.get(kind, kind),
        "referrerTypeName": TYPE_NAMES.get(kind, kind),
        "referrerName": name,
        "referrerKeyword": keyword,
        "referrerKeywordPosition": None,
        "referrerUrl": visit["referrer_url"] or None,
        "referrerSearchEngineUrl": engine_url or None,
        "referrerSearchEngineIcon": icon("searchEngines", engine_url.split("://")[-1]) if engine else None,
        "referrerSocialNetworkUrl": network or None,
        "referrerSocialNetworkIcon": icon("socials", network) if social else None,
    }


def versioned(name: str, version: str) -> str:
    return name if version in ("", "UNK") else f"{name} {version}"


def model_name(model: str) -> str:
    """`generic desktop`, which the detector says of agents without a model, is shown in capitals."""
    if not model:
        return "Unknown"
    return model.title() if model.startswith("generic ") else model


def _device_of(visit: Found) -> Columns:
    kind = device_type_name(int(visit["device_type"]))
    system, browser = os_name(visit["os"]), browser_name(visit["browser"])
    engine = visit["browser_engine"]
    return {
        "deviceType": kind,
        "deviceTypeIcon": icon("devices", kind.lower().replace(" ", "_")),
        "deviceBrand": visit["device_brand"] or "Unknown",
        "deviceModel": model_name(visit["device_model"]),
        "operatingSystem": versioned(system, visit["os_version"]),
        "operatingSystemName": system,
        "operatingSystemIcon": icon("os", visit["os"]),
        "operatingSystemCode": visit["os"] or "UNK",
        "operatingSystemVersion": visit["os_version"] or None,
        "browserFamily": engine,
        "browserFamilyDescription": engine_label(engine),
        "browser": versioned(browser, visit["browser_version"]),
        "browserName": browser,
        "browserIcon": icon("browsers", visit["browser"]),
        "browserCode": visit["browser"] or "UNK",
        "browserVersion": visit["browser_version"] or None,
    }


def _place_of(visit: Found) -> Columns:
    country, region, city = visit["country"], visit["region"], visit["city"]
    continent = continent_code(country)
    return {
        "continent": continent_name(continent),
        "continentCode": continent,
        "country": country_name(country),
        "countryCode": country or "xx",
        "countryFlag": icon("flags", country or "xx"),
        "region": region_name(country, region) if region else None,
        "regionCode": region or None,
        "city": city or None,
        "location": ", ".join(
            part
            for part in (city, region_name(country, region) if region else "", country_name(country))
            if part
        ),
        "latitude": visit["latitude"] or None,
        "longitude": visit["longitude"] or None,
    }


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def visit_row(part: VisitParts, request: ApiRequest, site: Site, totals: Totals) -> Row:
    """One visit with all its fields, in the order clients know."""
    visit, config = part.visit, request.config
    zone = zone_of(site.timezone)
    returning, buyer = int(visit["returning"]), int(visit["buyer"])
    converted = bool(visit["converted"])
    columns: Columns = {
        "idSite": site.site_id,
        "idVisit": int(visit["visit_id"]),
        "visitIp": visit["ip"] or "0.0.0.0",  # noqa: S104 - an address that is shown
        "visitorId": format_visitor_id(int(visit["visitor_id"])),
        "fingerprint": format_visitor_id(int(visit["config_id"])),
        "actionDetails": action_details(part, site, config, zone),
        "goalConversions": sum(1 for goal in visit["goals"] if goal > 0),
        "siteCurrency": site.currency,
        "siteCurrencySymbol": currency_symbol(site.currency),
    }
    times = _time_columns(visit, zone)
    times["siteName"] = site.name
    columns |= times
    customer = bool(visit["has_order_before"]) or 0 in visit["goals"]
    columns |= {
        "userId": visit["user_id"] or None,
        "visitorType": VISITOR_TYPES[returning],
        "visitorTypeIcon": "plugins/Live/images/returningVisitor.png" if returning else None,
        "visitConverted": int(converted),
        "visitConvertedIcon": f"{_IMAGES}/goal.svg" if converted else None,
        "visitCount": int(visit["visit_count"]),
        "visitEcommerceStatus": ECOMMERCE_STATES[buyer],
        "visitEcommerceStatusIcon": f"{_IMAGES}/{_ECOMMERCE_ICONS[buyer]}.svg" if buyer else None,
        "daysSinceFirstVisit": int(visit["seconds_since_first"]) // 86400,
        "secondsSinceFirstVisit": int(visit["seconds_since_first"]),
        "daysSinceLastEcommerceOrder": int(visit["seconds_since_order"]) // 86400,
        "secondsSinceLastEcommerceOrder": int(visit["seconds_since_order"]) if customer else None,
        "visitDuration": int(visit["duration"]),
        "visitDurationPretty": pretty_seconds(int(visit["duration"])),
        "searches": int(visit["searches"]),
        "actions": int(visit["actions"]),
        "interactions": int(visit["interactions"]),
    }
    columns |= _referrer_of(visit)
    columns |= {"languageCode": visit["language"], "language": language_name(visit["language"])}
    columns |= _device_of(visit)
    if site.ecommerce:
        columns |= {
            "totalEcommerceRevenue": money(totals.revenue),
            "totalEcommerceConversions": totals.orders,
            "totalEcommerceItems": totals.items,
            "totalAbandonedCartsRevenue": money(totals.cart_revenue),
            "totalAbandonedCarts": totals.carts,
            "totalAbandonedCartsItems": totals.cart_items,
        }
    columns["events"] = int(visit["events"])
    columns |= _place_of(visit)
    plugins = sorted(visit["plugins"])
    columns |= {
        "visitLocalTime": _clock(int(visit["visitor_seconds"])),
        "visitLocalHour": str(int(visit["visitor_seconds"]) // 3600),
        "daysSinceLastVisit": int(visit["seconds_since_last"]) // 86400,
        "secondsSinceLastVisit": int(visit["seconds_since_last"]),
        "resolution": visit["resolution"] or "unknown",
        "plugins": ", ".join(plugins),
        "pluginsIcons": [
            {"pluginIcon": icon("plugins", name), "pluginName": name} for name in plugins
        ] or None,
    }  # fmt: skip
    dimensions = config.dimensions.get(site.site_id, {}).values()
    for one in dimensions:
        if one.scope == "visit" and one.active:
            columns[f"dimension{one.dimension_id}"] = visit["dimensions"].get(one.dimension_id)
    return Row(columns | custom_variables(visit))

"""What a visit did, as Live shows it: actions and conversions by time."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from reporting.methods.referrers import TYPE_SEGMENTS
from reporting.numbering import Numbers
from reporting.rows import money, number, rounded
from reporting.table import Columns, Value
from reporting.visit_dates import local, pretty_moment, wall_clock
from reporting.visits import Found, VisitParts
from reporting.wording import pretty_money, pretty_seconds
from schemas.config import Config, Site
from schemas.rows import ORDER_GOAL, ActionKind

IMAGES = "plugins/Morpheus/images"
_TIMINGS = ("time_network", "time_server", "time_transfer", "time_dom_processing", "time_dom_completion",
            "time_on_load")  # fmt: skip


def _base(
    action: Found, kind: str, zone: tzinfo, numbers: Numbers, url: str | None, *, with_title: bool
) -> Columns:
    columns: Columns = {"type": kind, "url": url}
    if with_title:
        columns["pageTitle"] = action["title"] or None
    return columns | {
        "pageIdAction": None if url is None else numbers.url(action),
        "idpageview": action["pageview_id"] or None,
        "serverTimePretty": pretty_moment(local(action["ts"], zone)),
        "pageId": numbers.action(int(action["hit_id"])),
    }


def _page_columns(action: Found, zone: tzinfo, numbers: Numbers, spent: int) -> Columns:
    url = numbers.full_url(action)
    columns = _base(action, "action", zone, numbers, url, with_title=True)
    timings = [int(action[name]) for name in _TIMINGS if int(action[name]) >= 0]
    # a page's load time is known when all its parts are
    load = sum(timings) if len(timings) == len(_TIMINGS) else 0
    if load:
        columns["pageLoadTime"] = f"{rounded(load / 1000, 2)}s"
    if action["has_product_price"]:
        columns["productViewPrice"] = number(float(action["product_price"]))
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
        "iconSVG": f"{IMAGES}/action.svg",
        "timestamp": wall_clock(action["ts"], zone),
    }
    categories = [one for one in action["product_categories"] if one]
    if categories:
        columns["productViewCategories"] = categories
    return columns


def _shown_as(name: str, title: str, subtitle: str) -> Columns:
    return {
        "icon": f"{IMAGES}/{name}.png",
        "iconSVG": f"{IMAGES}/{name}.svg",
        "title": title,
        "subtitle": subtitle,
    }


def _link_columns(action: Found, zone: tzinfo, numbers: Numbers) -> Columns:
    url = numbers.full_url(action)
    outlink = int(action["kind"]) == ActionKind.OUTLINK
    columns = _base(action, "outlink" if outlink else "download", zone, numbers, url, with_title=True)
    columns["pageviewPosition"] = int(action["position"]) or None
    columns |= _shown_as("link", "Outlink", url) if outlink else _shown_as("download", "Download", url)
    return columns | {"timestamp": wall_clock(action["ts"], zone)}


def _search_columns(action: Found, zone: tzinfo, numbers: Numbers) -> Columns:
    columns = _base(action, "search", zone, numbers, None, with_title=False)
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


def _event_columns(action: Found, zone: tzinfo, numbers: Numbers) -> Columns:
    columns = _base(
        action,
        "event",
        zone,
        numbers,
        numbers.full_url(action) or None,
        with_title=False,
    )
    category, name = action["event_category"], action["event_action"]
    # the quotes do not match in Matomo either
    shown = _shown_as("event", "Event", f'Category: "{category}\', Action: "{name}"')
    if not action["url"] and not action["event_name"]:
        # with neither the words come first
        shown = {key: shown[key] for key in ("title", "subtitle", "icon", "iconSVG")}
    columns |= {
        "eventCategory": category,
        "eventAction": name,
        "pageviewPosition": int(action["position"]) or None,
        "timestamp": wall_clock(action["ts"], zone),
        **shown,
    }
    if action["event_name"]:
        columns["eventName"] = action["event_name"]
    if action["has_event_value"]:
        columns["eventValue"] = number(round(float(action["event_value"]), 3))
    return columns


def _content_columns(action: Found, zone: tzinfo, numbers: Numbers) -> Columns:
    url = numbers.full_url(action)
    columns = _base(action, str(ActionKind.CONTENT), zone, numbers, url, with_title=True)
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
    """Seconds on the page at index `at`: what the actions up to the next page count as spent before them.
    Without a next page until the visit's end, when that is known: a visit counts a second for its last hit
    and some for conversions, more than that was told by pings."""
    spent = 0
    for later in actions[at + 1 :]:
        spent += int(later["time_spent_previous"])
        if int(later["kind"]) == ActionKind.PAGE:
            return spent
    left = int(visit["duration"]) - (int(actions[at]["ts"]) - int(visit["first_ts"]))
    return left if left > _COUNTED_SECONDS else spent


def _action_row(
    part: VisitParts,
    at: int,
    zone: tzinfo,
    numbers: Numbers,
    dimensions: Mapping[int, str],
    *,
    carts_follow: bool,
) -> Columns:
    action = part.actions[at]
    kind = int(action["kind"])
    if kind in (ActionKind.OUTLINK, ActionKind.DOWNLOAD):
        columns = _link_columns(action, zone, numbers)
    elif kind == ActionKind.SEARCH:
        columns = _search_columns(action, zone, numbers)
    elif kind == ActionKind.EVENT:
        columns = _event_columns(action, zone, numbers)
    elif kind == ActionKind.CONTENT:
        columns = _content_columns(action, zone, numbers)
    else:
        spent = time_spent(part.actions, at, part.visit)
        if at == len(part.actions) - 1 and carts_follow:
            visit = part.visit
            spent = max(0, int(visit["duration"]) - (int(action["ts"]) - int(visit["first_ts"])))
        columns = _page_columns(action, zone, numbers, spent)
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
    conversion: Found, part: VisitParts, site: Site, config: Config, zone: tzinfo, numbers: Numbers
) -> Columns:
    goal_id = int(conversion["goal_id"])
    when = pretty_moment(local(conversion["ts"], zone))
    revenue = money(float(conversion["revenue"]))
    amount = pretty_money(revenue, site.currency, "en")
    if goal_id > 0:
        goal = config.goals.get(site.site_id, {}).get(goal_id)
        name = goal.name if goal else f"Goal {goal_id}"
        subtitle = name if not revenue else f"{name} ({amount} revenue)"
        action_hit = next((one for one in part.actions if one["hit_id"] == conversion["hit_id"]), None)
        return {
            "type": "goal",
            "goalName": name,
            "goalId": goal_id,
            "idpageview": None,
            "revenue": revenue,
            "goalPageId": None if action_hit is None else numbers.action(int(action_hit["hit_id"])),
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
    items = numbers.products(part.items.get(int(conversion["hit_id"]), []))
    columns["itemDetails"] = [_item(item) for item in items]
    names = ", ".join(item["name"] for item in items)
    title = f"Ordered ({conversion['order_id']})" if ordered else "Abandoned Cart"
    subtitle = f"{amount} revenue - {int(conversion['items'])} items: {names})"
    kind = "ecommerceOrder" if ordered else "ecommerceAbandonedCart"
    return columns | _shown_as(kind, title, subtitle) | {"timestamp": wall_clock(conversion["ts"], zone)}


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


def action_details(
    part: VisitParts, site: Site, config: Config, zone: tzinfo, numbers: Numbers
) -> list[Value]:
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
        columns = _action_row(part, at, zone, numbers, dimensions, carts_follow=follows)
        rows.append((int(action["ts"]), int(action["hit_id"]), 0, columns))
    with_action = {int(action["hit_id"]) for action in part.actions}
    for conversion in part.conversions:
        columns = _conversion_row(conversion, part, site, config, zone, numbers)
        columns |= dict.fromkeys((f"dimension{key}" for key in dimensions), None)
        hit_id = int(conversion["hit_id"])
        rows.append((int(conversion["ts"]), hit_id if hit_id in with_action else 0, 1, columns))
    rows.sort(key=lambda row: row[:3])
    return [columns for _, _, _, columns in rows]

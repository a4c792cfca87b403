"""A visit with all its fields, as Live shows it."""

from datetime import UTC, tzinfo

from reporting.access import ANONYMOUS
from reporting.action_details import IMAGES, action_details, custom_variables
from reporting.api import zone_of
from reporting.icons import icon
from reporting.method import ApiRequest
from reporting.methods.referrers import TYPE_NAMES, TYPE_SEGMENTS
from reporting.numbering import Numbers
from reporting.rows import money
from reporting.table import Columns, Row
from reporting.visit_dates import local, pretty_date
from reporting.visits import Found, Totals, VisitParts
from reporting.wording import currency_symbol, pretty_seconds
from rules.locations import continent_code, continent_name, country_name, language_name, region_name
from rules.prepared import SEARCH_ENGINE, SOCIAL_NETWORK
from rules.query import parse_query
from rules.referrers import search_engine_url, social_network_host
from rules.user_agents import browser_name, device_type_name, engine_label, os_name
from schemas.config import Site
from schemas.hit import format_visitor_id

VISITOR_TYPES = ("new", "returning", "returningCustomer")
ECOMMERCE_STATES = ("none", "ordered", "abandonedCart", "orderedThenAbandonedCart")
_ECOMMERCE_ICONS = (None, "ecommerceOrder", "ecommerceAbandonedCart", "ecommerceOrder")


def _time_columns(visit: Found, zone: tzinfo) -> Columns:
    first, last = local(visit["first_ts"], zone), local(visit["last_ts"], zone)
    last_utc = local(visit["last_ts"], UTC)
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


_SESSION_OF_GOOGLE = frozenset(("sa", "ved", "ei", "usg", "bvm"))
"""Parameters of a clicked result that say nothing of the search."""


def _result_address(url: str) -> str:
    """The address of a clicked Google result without the parameters of the click."""
    address, mark, query = url.partition("?")
    if not mark or not address.endswith("/url"):
        return url
    kept = [part for part in query.split("&") if part.partition("=")[0] not in _SESSION_OF_GOOGLE]
    return f"{address}?{'&'.join(kept)}" if kept else address


def _keyword_position(url: str) -> str | None:
    """The place of the result that was clicked, where Google tells it (`cd`)."""
    return parse_query(url.partition("?")[2].partition("#")[0]).get("cd") or None


def _referrer_of(visit: Found) -> Columns:
    kind = str(visit["referrer_type"])
    name = visit["referrer_name"]
    engine = int(visit["referrer_type"]) == SEARCH_ENGINE
    social = int(visit["referrer_type"]) == SOCIAL_NETWORK
    google = engine and name == "Google"
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
        "referrerKeywordPosition": _keyword_position(visit["referrer_url"]) if google else None,
        "referrerUrl": (_result_address(visit["referrer_url"]) if google else visit["referrer_url"]) or None,
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


def visit_row(part: VisitParts, request: ApiRequest, site: Site, totals: Totals, numbers: Numbers) -> Row:
    """One visit with all its fields, in the order clients know; who sends no token learns what was done, not
    who it was."""
    visit, config = part.visit, request.config
    known = request.grant.login != ANONYMOUS.login
    zone = zone_of(site.timezone)
    returning, buyer = int(visit["returning"]), int(visit["buyer"])
    converted = bool(visit["converted"])
    columns: Columns = {
        "idSite": site.site_id,
        "idVisit": numbers.visit(int(visit["visit_id"])),
        "visitIp": (visit["ip"] or "0.0.0.0") if known else None,  # noqa: S104 - an address that is shown
        "visitorId": known and format_visitor_id(int(visit["visitor_id"])),
        "fingerprint": format_visitor_id(int(visit["config_id"])),
        "actionDetails": action_details(part, site, config, zone, numbers),
        "goalConversions": sum(1 for goal in visit["goals"] if goal > 0),
        "siteCurrency": site.currency,
        "siteCurrencySymbol": currency_symbol(site.currency),
    }
    times = _time_columns(visit, zone)
    times["siteName"] = site.name
    columns |= times
    customer = bool(visit["has_order_before"]) or 0 in visit["goals"]
    columns |= {
        "userId": (visit["user_id"] if known else "") or None,
        "visitorType": VISITOR_TYPES[returning],
        "visitorTypeIcon": "plugins/Live/images/returningVisitor.png" if returning else None,
        "visitConverted": int(converted),
        "visitConvertedIcon": f"{IMAGES}/goal.svg" if converted else None,
        "visitCount": int(visit["visit_count"]),
        "visitEcommerceStatus": ECOMMERCE_STATES[buyer],
        "visitEcommerceStatusIcon": f"{IMAGES}/{_ECOMMERCE_ICONS[buyer]}.svg" if buyer else None,
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

"""What makes a tracking request bad (answered with 400) besides its site, its ids and its authority."""

from urllib.parse import parse_qsl, urlsplit

from ingest.query import TIMINGS, Params, decode, integer
from schemas.config import Config, Site

_STORED_KINDS = ("ma_id", "cra", "cra_tp", "cra_st")
"""Media and crash requests: they are kept as they came."""


def is_given(params: Params, name: str) -> bool:
    """Sent with a value that is neither empty nor `0`."""
    value = params.get(name)
    return value is not None and decode(value) not in ("", "0")


def search_keyword(params: Params, site: Site, config: Config) -> bool:
    """Whether the request is a site search: by `search`, or by the page URL's query or fragment."""
    if not site.site_search:
        return False
    if is_given(params, "search"):
        return True
    names = site.search_keyword_parameters
    if names is None:
        names = config.tracking.site_search_keyword_parameters
    wanted = {name.lower() for name in names}
    try:
        url = urlsplit(decode(params.get("url", "")))
    except ValueError:
        return False
    return any(
        name.lower().removesuffix("[]") in wanted and value not in ("", "0")
        for name, value in parse_qsl(url.query) + parse_qsl(url.fragment)
    )


def has_custom_kind(params: Params, site: Site, config: Config) -> bool:
    """Whether the request says what it is: event, content, search, outlink, download, media or crash."""
    return (
        (is_given(params, "e_c") and is_given(params, "e_a"))
        or is_given(params, "c_n")
        or is_given(params, "link")
        or is_given(params, "download")
        or any(is_given(params, name) for name in _STORED_KINDS)
        or search_keyword(params, site, config)
    )


def fault(params: Params, site: Site, config: Config) -> str:
    """Why the request is refused, empty when it is not.

    Pings, orders, carts and manual goals record no action: what is wrong with one is no fault of theirs."""
    if "idgoal" in params:
        goal_id = integer(params["idgoal"], -1)
        if goal_id > 0:
            goal = config.goals.get(site.site_id, {}).get(goal_id)
            if goal is None or goal.deleted:
                return f"idgoal={goal_id}: site {site.site_id} has no such goal"
            return ""
        if goal_id == 0:
            return ""
    if "pf_net" in params or "pf_srv" in params or "pf_dm1" in params or "pf_onl" in params:
        for name in TIMINGS:
            value = params.get(name)
            # -1 is what trackers' servers take for "not sent".
            if value is not None and not value.isdigit() and integer(value, -1) < -1:
                return f"{name}: a time in milliseconds was expected, not a negative number"
    if params.get("ping", "0") != "0":
        return ""
    if "e_c" in params:
        category, action = decode(params["e_c"]), decode(params.get("e_a", ""))
        if category and action and not (category.strip() and action.strip()):
            return "e_c and e_a: an event needs a category and an action that are not blank"
    if params.get("ca", "0") == "1" and not has_custom_kind(params, site, config):
        return "ca=1: a custom action without an event, content, search, outlink, download, media or crash"
    return ""

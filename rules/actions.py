"""Which action a hit is, and what it says of it (tracking semantics section 5).

Several kinds can match one hit; download beats outlink, event, content, search and page, in this order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from rules.ecommerce import ProductView, product_view
from rules.prepared import ActionDraft
from rules.query import cut_bytes, is_set, query_parameters, read_integer, read_leading_number
from rules.urls import NO_URL, UNTITLED_CLICK, PageUrl, clean_click_url, clean_text
from schemas.config import Site, Tracking
from schemas.rows import ActionKind

Params = Mapping[str, str]
Timings = tuple[int, int, int, int, int, int]

SEARCH_CATEGORY_MAX_BYTES = 200
PAGEVIEW_ID_LENGTH = 6
EVENT_VALUE_DECIMALS = 3
LARGEST_TIMING = 16_777_215
NO_TIMINGS: Timings = (-1, -1, -1, -1, -1, -1)
MEDIA_PREFIXES = ("ma_", "cra")
MEDIA_SIGNS = ("ma_id", "cra", "cra_tp", "cra_st")
"""One of them makes a custom action (`ca=1`) one of media or crash tracking."""

_UNSIGNED = re.compile(r"\d{1,15}", re.ASCII)
_encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, eq=False)
class ActionRules:
    """What a site says of its actions."""

    site_search: bool
    keyword_parameters: tuple[str, ...]
    category_parameters: tuple[str, ...]
    title_delimiter: str
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Search:
    """A site search: keyword (never empty), category, number of results (-1 unknown)."""

    keyword: str
    category: str
    count: int


def action_rules(site: Site, tracking: Tracking) -> ActionRules:
    keywords = site.search_keyword_parameters
    categories = site.search_category_parameters
    return ActionRules(
        site_search=site.site_search,
        keyword_parameters=_lowered(
            tracking.site_search_keyword_parameters if keywords is None else keywords
        ),
        category_parameters=_lowered(
            tracking.site_search_category_parameters if categories is None else categories
        ),
        title_delimiter=tracking.action_title_category_delimiter,
        max_bytes=tracking.page_maximum_length,
    )


def _lowered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in names if name.strip())


def action_of(params: Params, raw_url: str, page: PageUrl, rules: ActionRules) -> ActionDraft | None:
    """The hit's action, or None for a custom action (`ca=1`) of no known kind.

    `raw_url` is the page's address as sent, `page` its cleaned form.
    """
    draft = _kind_of_action(params, raw_url, page, rules)
    if draft is None:
        return None
    if "bw_bytes" in params:
        draft.bandwidth = max(-1, read_integer(params["bw_bytes"], -1))
    draft.media = media_parameters(params)
    return draft


def _kind_of_action(params: Params, raw_url: str, page: PageUrl, rules: ActionRules) -> ActionDraft | None:
    clicked, kind = params.get("download"), ActionKind.DOWNLOAD
    if not clicked:
        clicked, kind = params.get("link"), ActionKind.OUTLINK
    if clicked:
        target = clean_click_url(clicked, rules.max_bytes)
        # A click on what is no URL (`mailto:...`) is recorded as a view of a page without URL.
        return _with_url(ActionKind.PAGE, UNTITLED_CLICK) if target is NO_URL else _with_url(kind, target)
    if params.get("e_c") and params.get("e_a"):
        event = _event(params, page, rules)
        if event is not None:
            return event
    if params.get("c_n"):
        content = _content(params, page, rules)
        if content is not None:
            return content
    if rules.site_search:
        search = detect_search(params, raw_url, rules)
        if search is not None:
            return ActionDraft(
                ActionKind.SEARCH,
                search_keyword=search.keyword,
                search_category=search.category,
                search_count=search.count,
            )
    if is_set(params, "ca"):
        is_media = any(params.get(name) for name in MEDIA_SIGNS)
        return ActionDraft(ActionKind.MEDIA, url=page.url, url_prefix=page.prefix) if is_media else None
    return _page(params, page, rules)


def _with_url(kind: int, url: PageUrl) -> ActionDraft:
    return ActionDraft(kind, url=url.url, url_prefix=url.prefix)


def _event(params: Params, page: PageUrl, rules: ActionRules) -> ActionDraft | None:
    """An event needs a category and an action that are not blank."""
    category = clean_name(params["e_c"], rules.max_bytes)
    action = clean_name(params["e_a"], rules.max_bytes)
    if not category or not action:
        return None
    value = params.get("e_v", "").strip()
    return ActionDraft(
        ActionKind.EVENT,
        url=page.url,
        url_prefix=page.prefix,
        event_category=category,
        event_action=action,
        event_name=clean_name(params.get("e_n", ""), rules.max_bytes),
        event_value=round(read_leading_number(value), EVENT_VALUE_DECIMALS),
        has_event_value=value != "",
    )


def _content(params: Params, page: PageUrl, rules: ActionRules) -> ActionDraft | None:
    """A content impression or, with `c_i`, an interaction; it needs a name."""
    name = clean_name(params["c_n"], rules.max_bytes)
    if not name:
        return None
    return ActionDraft(
        ActionKind.CONTENT,
        url=page.url,
        url_prefix=page.prefix,
        content_name=name,
        content_piece=clean_name(params.get("c_p", ""), rules.max_bytes),
        content_target=clean_name(params.get("c_t", ""), rules.max_bytes),
        content_interaction=clean_name(params.get("c_i", ""), rules.max_bytes),
    )


def _page(params: Params, page: PageUrl, rules: ActionRules) -> ActionDraft:
    draft = ActionDraft(
        ActionKind.PAGE, url=page.url, url_prefix=page.prefix, title=page_title(params, rules)
    )
    viewed: ProductView | None = product_view(params)
    if viewed is not None:
        draft.product_sku = viewed.sku
        draft.product_name = viewed.name
        draft.product_categories = list(viewed.categories)
        if viewed.price is not None:
            draft.product_price = viewed.price
            draft.has_product_price = True
    return draft


def page_title(params: Params, rules: ActionRules) -> str:
    """The page's title: one line, trimmed, its categories joined again without blanks; `0` is no title."""
    title = params.get("action_name", "")
    if not title:
        return ""
    title = clean_text(title)
    if rules.title_delimiter and rules.title_delimiter in title:
        categories = (category.strip() for category in title.split(rules.title_delimiter))
        title = rules.title_delimiter.join(category for category in categories if category)
    return "" if title == "0" else cut_bytes(title, rules.max_bytes)


def clean_name(text: str, max_bytes: int) -> str:
    return cut_bytes(clean_text(text), max_bytes) if text else ""


def detect_search(params: Params, raw_url: str, rules: ActionRules) -> Search | None:
    """The site search of a hit: from its own parameters, else from query and fragment of the page's URL.

    The number of results in the URL beats the one in the parameter. What lies beyond the longest URL is not
    read.
    """
    keyword = params.get("search")
    if keyword and (keyword := clean_name(keyword, rules.max_bytes)) and keyword != "0":
        category = clean_name(params.get("search_cat", ""), SEARCH_CATEGORY_MAX_BYTES)
        return Search(keyword, category, _count(params.get("search_count")))
    if not rules.keyword_parameters or ("?" not in raw_url and "#" not in raw_url):
        return None
    return _search_in_url(params, cut_bytes(raw_url, rules.max_bytes), rules)


def _search_in_url(params: Params, raw_url: str, rules: ActionRules) -> Search | None:
    address, _, fragment = raw_url.partition("#")
    query = address.partition("?")[2]
    lowered = f"{query}&{fragment}".lower()
    # Most URLs hold no search: this spares them the decoding.
    if "%" not in lowered and not any(name in lowered for name in rules.keyword_parameters):
        return None
    in_url = query_parameters(fragment.lstrip("?/!"), params.get("cs", "utf-8"))
    in_url |= query_parameters(query, params.get("cs", "utf-8"))
    keyword = _first_value(in_url, rules.keyword_parameters, rules.max_bytes)
    if not keyword:
        return None
    category = _first_value(in_url, rules.category_parameters, SEARCH_CATEGORY_MAX_BYTES)
    count = _count(in_url.get("search_count"))
    return Search(keyword, category, count if count >= 0 else _count(params.get("search_count")))


def _first_value(values: Params, names: tuple[str, ...], max_bytes: int) -> str:
    for name in names:
        value = clean_name(values.get(name, ""), max_bytes)
        if value and value != "0":
            return value
    return ""


def _count(text: str | None) -> int:
    if text is None or not _UNSIGNED.fullmatch(text):
        return -1
    return int(text)


def page_timings(params: Params) -> Timings:
    """pf_net, pf_srv, pf_tfr, pf_dm1, pf_dm2, pf_onl in milliseconds; -1 when absent or unreadable."""
    get = params.get
    network, server, transfer = get("pf_net"), get("pf_srv"), get("pf_tfr")
    processing, completion, on_load = get("pf_dm1"), get("pf_dm2"), get("pf_onl")
    if network is server is transfer is processing is completion is on_load is None:
        return NO_TIMINGS
    return (
        -1 if network is None else _timing(network),
        -1 if server is None else _timing(server),
        -1 if transfer is None else _timing(transfer),
        -1 if processing is None else _timing(processing),
        -1 if completion is None else _timing(completion),
        -1 if on_load is None else _timing(on_load),
    )


def _timing(text: str) -> int:
    value = read_integer(text, -1)
    return value if -1 <= value <= LARGEST_TIMING else min(max(-1, value), LARGEST_TIMING)


def pageview_id(params: Params) -> str:
    """`pv_id`: it joins the hits of one page view."""
    return params.get("pv_id", "")[:PAGEVIEW_ID_LENGTH]


def media_parameters(params: Params) -> str:
    """JSON of the parameters of media and crash tracking, empty when there are none."""
    if params.keys().isdisjoint(MEDIA_SIGNS):
        return ""
    found = {name: value for name, value in params.items() if name.startswith(MEDIA_PREFIXES)}
    return _encode_json(found).decode() if found else ""

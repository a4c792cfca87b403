"""Rows that processors emit and the sink stores.

Each is a msgpack array in the order of its table's columns (schemas/ddl). The sink appends version and
is_deleted to the encoded bytes and gives them to ClickHouse as MsgPack without decoding, so the order and
the types are the contract: integers for dates (days since 1970-01-01, local to the site) and times (unix
seconds), floats for money, never None.

They hold no cycles, so the collector need not look at them (gc=False): with the collector's thresholds
of processors.service that took 20 % off the processing of a hit.
"""

import msgspec


class Visit(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One row per visit. Key: (site_id, date, visit_id)."""

    site_id: int
    date: int
    """Local day of the last action, in the site's timezone."""
    visit_id: int
    """hit_id of the visit's first hit in event order."""
    visitor_id: int
    owner: int
    config_id: int
    user_id: str = ""
    first_time: int = 0
    last_time: int = 0
    """Time of the last action, not of a ping."""
    local_hour: int = 0
    """0..23 of the last action, in the site's timezone."""
    visitor_hour: int = 0
    """0..23 on the visitor's clock (parameters h, m, s), of the first hit."""
    visitor_seconds: int = 0
    """Seconds since midnight on the visitor's clock."""
    duration: int = 0
    """Seconds (tracking semantics section 3)."""
    returning: int = 0
    """0 new, 1 returning, 2 returning customer."""
    visit_count: int = 1
    seconds_since_first: int = 0
    seconds_since_last: int = 0
    seconds_since_order: int = 0
    has_order_before: bool = False
    actions: int = 0
    """Pages, downloads, outlinks, searches, events."""
    interactions: int = 0
    """Pages and searches (and outlinks, downloads as the semantics page says)."""
    searches: int = 0
    events: int = 0
    converted: bool = False
    goals: list[int] = msgspec.field(default_factory=list)
    """Goals converted, one entry per conversion; 0 for an order."""
    buyer: int = 0
    """0 none, 1 ordered, 2 cart, 3 ordered and cart."""
    entry_url: str = ""
    entry_title: str = ""
    exit_url: str = ""
    exit_title: str = ""
    referrer_type: int = 1
    """1 direct, 2 search engine, 3 website, 6 campaign, 7 social network, 8 AI assistant."""
    referrer_name: str = ""
    referrer_keyword: str = ""
    referrer_url: str = ""
    os: str = ""
    """Short code of the device detector, such as WIN, AND."""
    os_version: str = ""
    browser: str = ""
    """Short code of the device detector, such as FF, CH."""
    browser_version: str = ""
    browser_engine: str = ""
    device_type: int = 255
    """Index in rules.user_agents.DEVICE_TYPES; 255 unknown."""
    device_brand: str = ""
    device_model: str = ""
    client_type: int = 0
    """Index in rules.user_agents.CLIENT_TYPES; 0 unknown."""
    resolution: str = ""
    plugins: list[str] = msgspec.field(default_factory=list)
    """Names in fixed order: pdf, flash, java, director, quicktime, realplayer, windowsmedia, gears,
    silverlight, cookie."""
    language: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    latitude: str = ""
    """Decimal text, empty when unknown."""
    longitude: str = ""
    ip: str = ""
    dimensions: dict[int, str] = msgspec.field(default_factory=dict)
    """Visit scope: index of the dimension to value."""
    custom_variables: dict[int, tuple[str, str]] = msgspec.field(default_factory=dict)
    hits: int = 0
    """Hits that the fold placed in the visit, pings included."""


class ActionKind:
    """Kind of an action; the numbers are stored (and are Matomo's public action types)."""

    PAGE = 1
    OUTLINK = 2
    DOWNLOAD = 3
    SEARCH = 8
    EVENT = 10
    CONTENT = 13
    """A content impression or interaction."""
    MEDIA = 99
    """A request of media or crash tracking (`ca=1` with `ma_id`, `cra`...): kept, counted nowhere."""
    PRODUCT_VIEW = 5
    """Not stored: a page with product parameters is a PAGE with product_* filled."""


class Action(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One row per action. Key: (site_id, date, hit_id). A hit makes at most one action."""

    site_id: int
    date: int
    hit_id: int
    visit_id: int
    visitor_id: int
    owner: int
    time: int = 0
    local_hour: int = 0
    kind: int = ActionKind.PAGE
    url: str = ""
    """Without scheme and www (both are in url_prefix); empty for searches."""
    url_prefix: int = 0
    """0 http://, 1 http://www., 2 https://, 3 https://www., 4 none stored, 5 a click on what is no URL."""
    title: str = ""
    """Page title."""
    event_category: str = ""
    event_action: str = ""
    event_name: str = ""
    event_value: float = 0.0
    has_event_value: bool = False
    search_keyword: str = ""
    search_category: str = ""
    search_count: int = -1
    """Results of the search, -1 when not given."""
    content_name: str = ""
    content_piece: str = ""
    content_target: str = ""
    content_interaction: str = ""
    """Empty for an impression."""
    position: int = 0
    """1-based place among the visit's interactions (pages, searches...)."""
    pageview_position: int = 0
    """1-based place of the page view that the action belongs to."""
    pageview_id: str = ""
    """pv_id"""
    previous_url: str = ""
    previous_title: str = ""
    previous_kind: int = 0
    """Kind of the previous page or search of the visit; 0 for none."""
    previous_keyword: str = ""
    time_spent_previous: int = 0
    """Seconds on the previous page or search, 0..1800, known when this action arrives."""
    time_network: int = -1
    """Milliseconds; -1 when not measured. The same for the next five."""
    time_server: int = -1
    time_transfer: int = -1
    time_dom_processing: int = -1
    time_dom_completion: int = -1
    time_on_load: int = -1
    product_sku: str = ""
    product_name: str = ""
    product_categories: list[str] = msgspec.field(default_factory=list)
    product_price: float = 0.0
    has_product_price: bool = False
    dimensions: dict[int, str] = msgspec.field(default_factory=dict)
    """Action scope: index of the dimension to value."""
    custom_variables: dict[int, tuple[str, str]] = msgspec.field(default_factory=dict)
    bandwidth: int = -1
    media: str = ""
    """JSON of the media and crash parameters (ma_*, cra*), empty when none."""
    user_id: str = ""


ORDER_GOAL = 0
CART_GOAL = -1


class Conversion(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One row per conversion, order or open cart. Key: (site_id, date, hit_id, goal_id)."""

    site_id: int
    date: int
    """Local day of the conversion."""
    hit_id: int
    goal_id: int
    """0 order, -1 cart."""
    visit_id: int
    visitor_id: int
    owner: int
    time: int = 0
    url: str = ""
    revenue: float = 0.0
    order_id: str = ""
    subtotal: float = 0.0
    tax: float = 0.0
    shipping: float = 0.0
    discount: float = 0.0
    items: int = 0
    """Sum of the quantities."""
    referrer_type: int = 1
    """Attribution (tracking semantics section 7)."""
    referrer_name: str = ""
    referrer_keyword: str = ""
    returning: int = 0
    visit_count: int = 1
    seconds_since_first: int = 0
    seconds_since_order: int = 0
    pageviews_before: int = 0
    """Page views of the visit before the conversion."""
    action_kind: int = 0
    """Kind of the action that matched; 0 for manual goals and ecommerce."""
    dimensions: dict[int, str] = msgspec.field(default_factory=dict)


class ConversionItem(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One row per product of an order or cart. Key: (site_id, date, hit_id, sku)."""

    site_id: int
    date: int
    hit_id: int
    sku: str
    goal_id: int
    """0 order, -1 cart."""
    visit_id: int
    time: int = 0
    order_id: str = ""
    name: str = ""
    categories: list[str] = msgspec.field(default_factory=list)
    """One to five."""
    price: float = 0.0
    quantity: int = 1


class VisitLink(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """A visit that goes by another visitor id than its owner's (a login on a device known before): what the
    fold of that visitor must know of it. Key: (site_id, visit_id, visitor_id). On topic `links`, keyed by
    visitor_id; no table."""

    site_id: int
    visitor_id: int
    owner: int
    visit_id: int
    first_time: int
    visit_count: int
    seconds_since_first: int
    has_order_before: bool
    seconds_since_order: int


Row = Visit | Action | Conversion | ConversionItem | VisitLink


class Tally(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """How many hits of consecutive input offsets had one outcome. Never deleted.

    Key: (topic, partition, first_offset, site_id, received_on, outcome, reason)."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    """The offsets [first_offset, next_offset) of the unit of work; each of them is in exactly one count."""
    site_id: int
    received_on: int
    """UTC day of receipt, days since 1970-01-01."""
    outcome: str
    reason: str
    count: int


class DeadLetter(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """A message that could not be processed; it never blocks a partition and can be sent again."""

    topic: str
    partition: int
    offset: int
    step: str
    """decode, prepare, fold, store"""
    reason: str
    payload: bytes
    time: int
    """Unix seconds of the failure."""


encode_row = msgspec.msgpack.Encoder().encode


def encode_output(row: Row, *, is_deleted: bool = False) -> bytes:
    """The value of a message on `visits`, `actions`, `conversions`, `conversion_items`: one flag byte
    (1 when the row no longer exists; its key columns are then its old key), then the encoded row."""
    return (b"\x01" if is_deleted else b"\x00") + encode_row(row)


EPOCH_BITS = 44


def row_version(epoch: int, offset: int) -> int:
    """What ReplacingMergeTree compares: a later output of a key wins, also after a reset of the log."""
    return (epoch << EPOCH_BITS) | offset


def offset_of_version(version: int) -> int:
    """The offset on the log of the message that a row was made from."""
    return version & ((1 << EPOCH_BITS) - 1)

"""A hit made ready for the fold: parsed, typed, enriched; nothing in it depends on other hits.

`rules.prepare.prepare` makes it from a schemas.hit.Hit and the configuration of the hit's offset.
"""

import msgspec

DIRECT, SEARCH_ENGINE, WEBSITE, CAMPAIGN, SOCIAL_NETWORK, AI_ASSISTANT = 1, 2, 3, 6, 7, 8


class Referrer(msgspec.Struct, array_like=True, gc=False):
    """Where a visit came from; texts are cut to 255 characters, the URL to 1500."""

    type: int = DIRECT
    name: str = ""
    keyword: str = ""
    url: str = ""


class Agent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the device detector says of a user agent and its client hints."""

    os: str = ""
    os_version: str = ""
    browser: str = ""
    browser_version: str = ""
    browser_engine: str = ""
    device_type: int = 255
    device_brand: str = ""
    device_model: str = ""
    client_type: int = 0
    is_bot: bool = False


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One product of an order or a cart."""

    sku: str
    name: str = ""
    categories: tuple[str, ...] = ()
    price: float = 0.0
    quantity: int = 1


class Ecommerce(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An order (order_id not empty) or a cart update."""

    order_id: str = ""
    revenue: float = 0.0
    subtotal: float = 0.0
    tax: float = 0.0
    shipping: float = 0.0
    discount: float = 0.0
    items: tuple[Item, ...] = ()


class GoalMatch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A goal that the hit converts on its own: a matched pattern or a manual goal."""

    goal_id: int
    revenue: float = 0.0
    allow_multiple: bool = False
    manual: bool = False


class ThresholdGoal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A goal that depends on the visit: visit_duration (seconds) or visit_nb_pageviews, greater than."""

    goal_id: int
    attribute: str
    threshold: float
    revenue: float = 0.0
    allow_multiple: bool = False


class ActionDraft(msgspec.Struct, array_like=True, gc=False):
    """What a hit says of its action; fields as in schemas.rows.Action."""

    kind: int
    url: str = ""
    url_prefix: int = 4
    title: str = ""
    event_category: str = ""
    event_action: str = ""
    event_name: str = ""
    event_value: float = 0.0
    has_event_value: bool = False
    search_keyword: str = ""
    search_category: str = ""
    search_count: int = -1
    content_name: str = ""
    content_piece: str = ""
    content_target: str = ""
    content_interaction: str = ""
    product_sku: str = ""
    product_name: str = ""
    product_categories: list[str] = msgspec.field(default_factory=list)
    product_price: float = 0.0
    has_product_price: bool = False
    bandwidth: int = -1
    media: str = ""


class PreparedHit(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """The fold's only input besides its state and the visit rules of the configuration."""

    site_id: int
    hit_id: int
    time: int
    owner: int
    visitor_id: int
    config_id: int
    user_id: str = ""
    is_ping: bool = False
    new_visit: bool = False
    action: ActionDraft | None = None
    """None for pings, manual goals, orders and carts."""
    page_url: str = ""
    """The hit's full URL as cleaned for display (with scheme): Conversion.url."""
    goals: tuple[GoalMatch, ...] = ()
    """Manual goal, or pattern goals that matched; () when the request holds an ecommerce conversion."""
    threshold_goals: tuple[ThresholdGoal, ...] = ()
    """Of the site; () when pattern goals do not run for this request."""
    ecommerce: Ecommerce | None = None
    referrer: Referrer = msgspec.field(default_factory=Referrer)
    attribution: Referrer | None = None
    """From the attribution parameters (_rcn, _rck): wins over the visit's referrer."""
    attribution_referrer: Referrer | None = None
    """From _ref, when it is a search engine, a website or a social network."""
    agent: Agent = Agent()
    resolution: str = ""
    plugins: tuple[str, ...] = ()
    language: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    latitude: str = ""
    longitude: str = ""
    ip: str = ""
    visitor_seconds: int = -1
    """Seconds since midnight on the visitor's clock (h, m, s); -1 when not sent."""
    visit_dimensions: dict[int, str] = msgspec.field(default_factory=dict)
    action_dimensions: dict[int, str] = msgspec.field(default_factory=dict)
    """Keyed by dimension_id, active ones only; extraction rules applied."""
    visit_custom_variables: dict[int, tuple[str, str]] = msgspec.field(default_factory=dict)
    action_custom_variables: dict[int, tuple[str, str]] = msgspec.field(default_factory=dict)
    pageview_id: str = ""
    timings: tuple[int, int, int, int, int, int] = (-1, -1, -1, -1, -1, -1)
    """pf_net, pf_srv, pf_tfr, pf_dm1, pf_dm2, pf_onl in milliseconds, -1 when absent."""
    country_override: str = ""
    """The `country` parameter sent with authority: it also changes a visit that is already open."""

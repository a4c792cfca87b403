"""The table of tracking parameters: every parameter of Matomo's Tracking HTTP API that a hit may carry.

All of them are parsed and kept: the cleaned query of a hit is stored whole (`hit.query`), so a parameter that
no rule reads today can be read by a replay tomorrow. `lands_in` names where the value ends up besides that.
"""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """How a value is read. What can't be read counts as absent unless the meaning says otherwise."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    """1 is yes, everything else no."""
    MILLISECONDS = "milliseconds"
    TIME = "time"
    """Unix seconds, or a date with or without a time of day, UTC."""
    URL = "url"
    HEX = "hex"
    JSON = "json"
    SECRET = "secret"  # noqa: S105 - the name of a kind of value


class Group(StrEnum):
    REQUIRED = "required"
    RECOMMENDED = "recommended"
    USER = "user"
    ACTION = "action"
    PERFORMANCE = "performance"
    EVENT = "event"
    CONTENT = "content"
    SEARCH = "search"
    GOAL = "goal"
    ECOMMERCE = "ecommerce"
    ATTRIBUTION = "attribution"
    DIMENSION = "dimension"
    CUSTOM_VARIABLE = "custom_variable"
    MEDIA = "media"
    CRASH = "crash"
    AUTHORITY = "authority"
    REQUEST = "request"
    BULK = "bulk"
    LEGACY = "legacy"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One tracking parameter."""

    name: str
    """`dimension<n>` stands for dimension1, dimension2 and so on."""
    group: Group
    kind: Kind
    meaning: str
    lands_in: str
    """table.column, `hit.<field>`, `answer` for what only changes the answer, or `hit.query`: kept there."""
    limit: str = ""
    """Longest value or range of values that is used; empty: none of its own."""
    needs_authority: bool = False
    """Only believed with a token that may write to the site; without one the request is refused."""


def _parameter(
    name: str,
    group: Group,
    kind: Kind,
    lands_in: str,
    meaning: str,
    limit: str = "",
    *,
    needs_authority: bool = False,
) -> Parameter:
    return Parameter(
        name=name,
        group=group,
        kind=kind,
        meaning=meaning,
        lands_in=lands_in,
        limit=limit,
        needs_authority=needs_authority,
    )


_REQUIRED = (
    _parameter("idsite", Group.REQUIRED, Kind.INTEGER, "hit.site_id", "Number of the site.", "a known site"),
    _parameter(
        "rec", Group.REQUIRED, Kind.INTEGER, "hit.exclusion", "Any number but 0 asks for recording.", "not 0"
    ),
)

_RECOMMENDED = (
    _parameter("url", Group.RECOMMENDED, Kind.URL, "actions.url", "Address of the page.", "1024 bytes"),
    _parameter(
        "action_name",
        Group.RECOMMENDED,
        Kind.TEXT,
        "actions.title",
        "Title of the page or name of the action; slashes divide it into categories where configured.",
        "1024 bytes",
    ),
    _parameter(
        "_id",
        Group.RECOMMENDED,
        Kind.HEX,
        "hit.visitor_id",
        "Visitor id from the client's cookie.",
        "16 digits",
    ),
    _parameter(
        "rand", Group.RECOMMENDED, Kind.TEXT, "hit.query", "A random value that keeps caches from answering."
    ),
    _parameter("apiv", Group.RECOMMENDED, Kind.INTEGER, "hit.query", "Version of the tracking API: 1."),
)

_USER = (
    _parameter(
        "urlref",
        Group.USER,
        Kind.URL,
        "visits.referrer_url",
        "Address the visitor came from.",
        "1500 characters",
    ),
    _parameter(
        "res", Group.USER, Kind.TEXT, "visits.resolution", "Screen size such as 1280x1024.", "2 numbers"
    ),
    _parameter("h", Group.USER, Kind.INTEGER, "visits.visitor_hour", "Hour on the visitor's clock.", "0..23"),
    _parameter(
        "m", Group.USER, Kind.INTEGER, "visits.visitor_seconds", "Minute on the visitor's clock.", "0..59"
    ),
    _parameter(
        "s", Group.USER, Kind.INTEGER, "visits.visitor_seconds", "Second on the visitor's clock.", "0..59"
    ),
    _parameter("fla", Group.USER, Kind.FLAG, "visits.plugins", "The browser has Flash."),
    _parameter("java", Group.USER, Kind.FLAG, "visits.plugins", "The browser has Java."),
    _parameter("qt", Group.USER, Kind.FLAG, "visits.plugins", "The browser has QuickTime."),
    _parameter("realp", Group.USER, Kind.FLAG, "visits.plugins", "The browser has RealPlayer."),
    _parameter("pdf", Group.USER, Kind.FLAG, "visits.plugins", "The browser shows PDF documents."),
    _parameter("wma", Group.USER, Kind.FLAG, "visits.plugins", "The browser has Windows Media."),
    _parameter("ag", Group.USER, Kind.FLAG, "visits.plugins", "The browser has Silverlight."),
    _parameter("cookie", Group.USER, Kind.FLAG, "visits.plugins", "The browser takes cookies."),
    _parameter(
        "ua", Group.USER, Kind.TEXT, "hit.user_agent", "User agent in place of the header.", "2048 characters"
    ),
    _parameter(
        "uadata", Group.USER, Kind.JSON, "hit.client_hints", "Client hints in place of the Sec-CH-UA headers."
    ),
    _parameter("lang", Group.USER, Kind.TEXT, "hit.language", "Language in place of Accept-Language."),
    _parameter(
        "uid",
        Group.USER,
        Kind.TEXT,
        "hit.user_id",
        "The site's own id of the user; its hash is the visitor id.",
        "1024 characters",
    ),
    _parameter(
        "cid",
        Group.USER,
        Kind.HEX,
        "hit.visitor_id",
        "Forced visitor id.",
        "exactly 16 characters, else refused",
    ),
    _parameter("new_visit", Group.USER, Kind.FLAG, "visits.visit_id", "This hit begins a visit."),
    _parameter(
        "consent",
        Group.USER,
        Kind.FLAG,
        "hit.query",
        "The visitor gave consent; clients send it with hits held back until then.",
    ),
)

_ACTION = (
    _parameter("link", Group.ACTION, Kind.URL, "actions.url", "An outlink that was followed.", "1024 bytes"),
    _parameter("download", Group.ACTION, Kind.URL, "actions.url", "A file that was fetched.", "1024 bytes"),
    _parameter(
        "ping",
        Group.ACTION,
        Kind.INTEGER,
        "visits.duration",
        "1: the visitor is still there; no action is recorded.",
        "0 or 1",
    ),
    _parameter(
        "ca",
        Group.ACTION,
        Kind.FLAG,
        "hit.query",
        "This is no page view: refused when it is nothing else either.",
    ),
    _parameter(
        "pv_id",
        Group.ACTION,
        Kind.TEXT,
        "actions.pageview_id",
        "Joins the hits of one page view.",
        "6 characters",
    ),
    _parameter(
        "cs", Group.ACTION, Kind.TEXT, "hit.query", "Character set of the page, when it is not UTF-8."
    ),
    _parameter(
        "bw_bytes",
        Group.ACTION,
        Kind.INTEGER,
        "actions.bandwidth",
        "Bytes sent for the action.",
        "0 and more",
    ),
)

_PERFORMANCE = tuple(
    _parameter(
        name,
        Group.PERFORMANCE,
        Kind.MILLISECONDS,
        f"actions.{column}",
        meaning,
        "0..16777215; below -1 refused",
    )
    for name, column, meaning in (
        ("pf_net", "time_network", "Time to connect."),
        ("pf_srv", "time_server", "Time until the server answered."),
        ("pf_tfr", "time_transfer", "Time to transfer the page."),
        ("pf_dm1", "time_dom_processing", "Time until the page could be used."),
        ("pf_dm2", "time_dom_completion", "Time until the page was complete."),
        ("pf_onl", "time_on_load", "Time of the page's own load handlers."),
    )
)

_EVENT = (
    _parameter(
        "e_c",
        Group.EVENT,
        Kind.TEXT,
        "actions.event_category",
        "Category of an event; not blank.",
        "1024 bytes",
    ),
    _parameter(
        "e_a", Group.EVENT, Kind.TEXT, "actions.event_action", "Action of an event; not blank.", "1024 bytes"
    ),
    _parameter("e_n", Group.EVENT, Kind.TEXT, "actions.event_name", "Name of an event.", "1024 bytes"),
    _parameter("e_v", Group.EVENT, Kind.NUMBER, "actions.event_value", "Value of an event.", "3 decimals"),
)

_CONTENT = (
    _parameter("c_n", Group.CONTENT, Kind.TEXT, "actions.content_name", "Name of a content.", "1024 bytes"),
    _parameter("c_p", Group.CONTENT, Kind.TEXT, "actions.content_piece", "What was shown.", "1024 bytes"),
    _parameter(
        "c_t", Group.CONTENT, Kind.URL, "actions.content_target", "Where the content leads.", "1024 bytes"
    ),
    _parameter(
        "c_i",
        Group.CONTENT,
        Kind.TEXT,
        "actions.content_interaction",
        "What the visitor did with it; absent: it was only shown.",
        "1024 bytes",
    ),
)

_SEARCH = (
    _parameter(
        "search", Group.SEARCH, Kind.TEXT, "actions.search_keyword", "Words sought on the site.", "1024 bytes"
    ),
    _parameter(
        "search_cat",
        Group.SEARCH,
        Kind.TEXT,
        "actions.search_category",
        "Category sought in.",
        "200 characters",
    ),
    _parameter(
        "search_count", Group.SEARCH, Kind.INTEGER, "actions.search_count", "Number of results.", "0 and more"
    ),
)

_GOAL = (
    _parameter(
        "idgoal",
        Group.GOAL,
        Kind.INTEGER,
        "conversions.goal_id",
        "A goal reached by hand; 0 is an order or a cart. An unknown goal is refused, no number is none.",
        "0 or a known goal",
    ),
    _parameter(
        "revenue",
        Group.GOAL,
        Kind.NUMBER,
        "conversions.revenue",
        "Revenue of the goal, or total of the order.",
    ),
)

_ECOMMERCE = (
    _parameter(
        "ec_id",
        Group.ECOMMERCE,
        Kind.TEXT,
        "conversions.order_id",
        "Number of the order, unique in its site whatever the case; absent: the cart changed.",
        "100 characters",
    ),
    _parameter(
        "ec_items",
        Group.ECOMMERCE,
        Kind.JSON,
        "conversion_items",
        "List of [sku, name, category or up to 5 of them, price, quantity].",
        "5 categories per item",
    ),
    _parameter(
        "ec_st", Group.ECOMMERCE, Kind.NUMBER, "conversions.subtotal", "Total without tax and shipping."
    ),
    _parameter("ec_tx", Group.ECOMMERCE, Kind.NUMBER, "conversions.tax", "Tax."),
    _parameter("ec_sh", Group.ECOMMERCE, Kind.NUMBER, "conversions.shipping", "Shipping costs."),
    _parameter("ec_dt", Group.ECOMMERCE, Kind.NUMBER, "conversions.discount", "Discount."),
    _parameter(
        "_ects",
        Group.ECOMMERCE,
        Kind.TIME,
        "hit.query",
        "Time of the visitor's last order, as old clients say.",
    ),
    _parameter("_pks", Group.ECOMMERCE, Kind.TEXT, "actions.product_sku", "SKU of the product looked at."),
    _parameter("_pkn", Group.ECOMMERCE, Kind.TEXT, "actions.product_name", "Name of the product looked at."),
    _parameter(
        "_pkc",
        Group.ECOMMERCE,
        Kind.JSON,
        "actions.product_categories",
        "Category looked at, or a list of them.",
        "5 categories",
    ),
    _parameter(
        "_pkp", Group.ECOMMERCE, Kind.NUMBER, "actions.product_price", "Price of the product looked at."
    ),
)

_ATTRIBUTION = (
    _parameter(
        "_rcn",
        Group.ATTRIBUTION,
        Kind.TEXT,
        "conversions.referrer_name",
        "Campaign to credit.",
        "255 characters",
    ),
    _parameter(
        "_rck",
        Group.ATTRIBUTION,
        Kind.TEXT,
        "conversions.referrer_keyword",
        "Keyword of the campaign to credit.",
        "255 characters",
    ),
    _parameter(
        "_refts",
        Group.ATTRIBUTION,
        Kind.TIME,
        "hit.query",
        "When the visitor came by what is to be credited.",
    ),
    _parameter(
        "_ref",
        Group.ATTRIBUTION,
        Kind.URL,
        "conversions.referrer_name",
        "Referrer to credit.",
        "1500 characters",
    ),
    _parameter(
        "ignore_referrer",
        Group.ATTRIBUTION,
        Kind.FLAG,
        "visits.referrer_type",
        "Take the visit for a direct one.",
    ),
    _parameter(
        "ignore_referer",
        Group.ATTRIBUTION,
        Kind.FLAG,
        "visits.referrer_type",
        "The same, spelled as the header.",
    ),
)

_DIMENSION = (
    _parameter(
        "dimension<n>",
        Group.DIMENSION,
        Kind.TEXT,
        "visits.dimensions",
        "Value of custom dimension number n, of its visit or its action.",
        "250 characters",
    ),
)

_CUSTOM_VARIABLE = (
    _parameter(
        "_cvar",
        Group.CUSTOM_VARIABLE,
        Kind.JSON,
        "visits.custom_variables",
        'Variables of the visit: {"1": ["name", "value"]}.',
        "200 characters each",
    ),
    _parameter(
        "cvar",
        Group.CUSTOM_VARIABLE,
        Kind.JSON,
        "actions.custom_variables",
        "Variables of the action, in the same form.",
        "200 characters each",
    ),
    _parameter(
        "e_cvar",
        Group.CUSTOM_VARIABLE,
        Kind.JSON,
        "hit.query",
        "Variables of an event, as old clients send them.",
        "200 characters each",
    ),
)

_MEDIA = tuple(
    _parameter(name, Group.MEDIA, kind, "actions.media", meaning, limit)
    for name, kind, meaning, limit in (
        ("ma_id", Kind.TEXT, "Random id of one play of a media on a page.", "6 characters"),
        ("ma_ti", Kind.TEXT, "Title of the media.", ""),
        ("ma_re", Kind.URL, "Address of the media.", ""),
        ("ma_mt", Kind.TEXT, "Type of the media: video or audio.", ""),
        ("ma_pn", Kind.TEXT, "Name of the player.", ""),
        ("ma_st", Kind.INTEGER, "Seconds played so far.", "0 and more"),
        ("ma_le", Kind.INTEGER, "Length of the media in seconds.", "0 and more"),
        ("ma_ps", Kind.INTEGER, "Position in the media in seconds.", "0 and more"),
        ("ma_ttp", Kind.INTEGER, "Seconds until the media began to play.", "0 and more"),
        ("ma_w", Kind.INTEGER, "Width of the media in pixels.", "0 and more"),
        ("ma_h", Kind.INTEGER, "Height of the media in pixels.", "0 and more"),
        ("ma_fs", Kind.FLAG, "The media fills the screen.", ""),
        ("ma_se", Kind.TEXT, "Positions in the media that were played, separated by commas.", ""),
    )
)

_CRASH = tuple(
    _parameter(name, Group.CRASH, kind, "hit.query", meaning)
    for name, kind, meaning in (
        ("cra", Kind.TEXT, "Message of an error on the page."),
        ("cra_st", Kind.TEXT, "Stack trace of the error."),
        ("cra_ct", Kind.TEXT, "Category of the error."),
        ("cra_tp", Kind.TEXT, "Type of the error."),
        ("cra_ru", Kind.URL, "Address of the script in which it happened."),
        ("cra_rl", Kind.INTEGER, "Line in that script."),
        ("cra_rc", Kind.INTEGER, "Column in that line."),
    )
)

_AUTHORITY = (
    _parameter("token_auth", Group.AUTHORITY, Kind.SECRET, "hit.authenticated", "Token; never stored."),
    _parameter(
        "cip",
        Group.AUTHORITY,
        Kind.TEXT,
        "hit.ip",
        "Address of the visitor; stored masked.",
        needs_authority=True,
    ),
    _parameter(
        "cdt",
        Group.AUTHORITY,
        Kind.TIME,
        "hit.time",
        "When it happened. A token is only needed for a day ago and more.",
        "20 years back to now, else now",
        needs_authority=True,
    ),
    _parameter(
        "cdo",
        Group.AUTHORITY,
        Kind.INTEGER,
        "hit.time",
        "Seconds before `cdt` or before now; a token is needed as for `cdt`.",
        needs_authority=True,
    ),
    _parameter(
        "country",
        Group.AUTHORITY,
        Kind.TEXT,
        "visits.country",
        "Country code.",
        "2 letters",
        needs_authority=True,
    ),
    _parameter(
        "region", Group.AUTHORITY, Kind.TEXT, "visits.region", "Code of the region.", needs_authority=True
    ),
    _parameter("city", Group.AUTHORITY, Kind.TEXT, "visits.city", "Name of the city.", needs_authority=True),
    _parameter(
        "lat", Group.AUTHORITY, Kind.NUMBER, "visits.latitude", "Latitude.", "-180..180", needs_authority=True
    ),
    _parameter(
        "long",
        Group.AUTHORITY,
        Kind.NUMBER,
        "visits.longitude",
        "Longitude.",
        "-180..180",
        needs_authority=True,
    ),
)

_REQUEST = (
    _parameter(
        "send_image",
        Group.REQUEST,
        Kind.INTEGER,
        "answer",
        "0: answer without an image, status 204.",
        "0 or 1",
    ),
    _parameter("bots", Group.REQUEST, Kind.FLAG, "hit.exclusion", "Record what looks like a bot too."),
    _parameter(
        "debug",
        Group.REQUEST,
        Kind.FLAG,
        "answer",
        "1: answer with what was decided; needs a token to see it.",
    ),
    _parameter("r", Group.REQUEST, Kind.TEXT, "hit.query", "A random value, as `rand`."),
    _parameter(
        "queuedtracking",
        Group.REQUEST,
        Kind.FLAG,
        "hit.query",
        "0 asks Matomo not to queue the hit; here every hit is queued and durable.",
    ),
    _parameter(
        "fl",
        Group.REQUEST,
        Kind.TEXT,
        "hit.query",
        "Which feature of a client sent the hit, where it says so.",
    ),
)

_BULK = (
    _parameter(
        "requests", Group.BULK, Kind.JSON, "hit.origin", "Member of a bulk body: queries as texts or objects."
    ),
)

_LEGACY = (
    _parameter("_idts", Group.LEGACY, Kind.TIME, "hit.query", "When the client's cookie was made."),
    _parameter("_idvc", Group.LEGACY, Kind.INTEGER, "hit.query", "Number of visits, as the client counts."),
    _parameter("_idn", Group.LEGACY, Kind.FLAG, "hit.query", "The client takes the visitor for a new one."),
    _parameter(
        "_viewts", Group.LEGACY, Kind.TIME, "hit.query", "Time of the last visit, as the client says."
    ),
    _parameter(
        "gt_ms",
        Group.LEGACY,
        Kind.MILLISECONDS,
        "hit.query",
        "Time to make the page, before pf_srv.",
        "0 and more",
    ),
    _parameter("dir", Group.LEGACY, Kind.FLAG, "visits.plugins", "The browser has Director."),
    _parameter("gears", Group.LEGACY, Kind.FLAG, "visits.plugins", "The browser has Gears."),
)

PARAMETERS: tuple[Parameter, ...] = (
    *_REQUIRED,
    *_RECOMMENDED,
    *_USER,
    *_ACTION,
    *_PERFORMANCE,
    *_EVENT,
    *_CONTENT,
    *_SEARCH,
    *_GOAL,
    *_ECOMMERCE,
    *_ATTRIBUTION,
    *_DIMENSION,
    *_CUSTOM_VARIABLE,
    *_MEDIA,
    *_CRASH,
    *_AUTHORITY,
    *_REQUEST,
    *_BULK,
    *_LEGACY,
)

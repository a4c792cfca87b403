"""What may be taken out of hits of the past, under the names that clients of the API use for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Unset:
    """What holds the value of a column: parameters of a hit's query, fields of the hit or of its location."""

    parameters: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    default: str | None = ""
    """What the column shows then."""


_AGENT = Unset(("ua", "uadata"), ("user_agent", "client_hints"), default="UNK")

VISIT_COLUMNS: Mapping[str, Unset] = {
    "config_browser_name": _AGENT,
    "config_os": _AGENT,
    "config_resolution": Unset(("res",), default="unknown"),
    "location_browser_lang": Unset(("lang",), ("language",)),
    "location_city": Unset(("city",), location=("city",), default=None),
    "location_country": Unset(("country",), location=("country",), default="xx"),
    "location_latitude": Unset(("lat",), location=("latitude",), default=None),
    "location_longitude": Unset(("long",), location=("longitude",), default=None),
    "location_region": Unset(("region",), location=("region",), default=None),
    "referer_name": Unset(("_rcn",)),
    "referer_keyword": Unset(("_rck",)),
    "referer_url": Unset(("urlref", "_ref", "urlref_origin", "_ref_origin"), ("referer",)),
    "user_id": Unset(("uid",), ("user_id",), default=None),
}
ACTION_COLUMNS: Mapping[str, Unset] = {
    "custom_float": Unset(("e_v",), default=None),
    "idaction_content_target": Unset(("c_t",), default=None),
    "idaction_event_name": Unset(("e_n",), default=None),
    "idaction_name": Unset(("action_name",), default=None),
    "idpageview": Unset(("pv_id",), default=None),
    "search_cat": Unset(("search_cat",), default=None),
    "search_count": Unset(("search_count",), default=None),
}


@dataclass(frozen=True, kw_only=True)
class Anonymisation:
    """One wish for hits of some sites and days (in each site's timezone, both inclusive)."""

    site_ids: tuple[int, ...]
    first: date
    last: date
    ip: bool = False
    location: bool = False
    user_id: bool = False
    visit_columns: tuple[str, ...] = ()
    action_columns: tuple[str, ...] = ()

"""Configuration as events on topic `config`: one partition, append-only, never compacted.

Each event carries the whole new state of one entity, so the configuration at any offset is the last event of
each entity before it. Sites, goals and dimensions get their ids in log order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    site_id: int
    goal_id: int
    name: str
    description: str = ""
    match_attribute: str = "url"
    """url, title, file, external_website, event_category, event_action, event_name, visit_duration,
    visit_nb_pageviews, manually"""
    pattern: str = ""
    pattern_type: str = "contains"
    """contains, exact, regex; greater_than for visit_duration and visit_nb_pageviews"""
    case_sensitive: bool = False
    allow_multiple: bool = False
    revenue: float = 0.0
    event_value_as_revenue: bool = False
    deleted: bool = False


class Extraction(msgspec.Struct, frozen=True):
    """Fills an action-scoped dimension from the URL, a query parameter or the title."""

    dimension: str
    """url, urlparam, action_name"""
    pattern: str
    """A regular expression whose first group is the value; for urlparam the parameter's name."""


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    site_id: int
    dimension_id: int
    """idcustomdimension: the number in the tracking parameter dimension<N>; unique in its site."""
    index: int
    """1-based place within its scope."""
    scope: Literal["visit", "action"]
    name: str
    active: bool = True
    case_sensitive: bool = True
    extractions: tuple[Extraction, ...] = ()


class Site(msgspec.Struct, frozen=True, kw_only=True):
    site_id: int
    name: str
    urls: tuple[str, ...] = ()
    """The main URL first."""
    created_at: str = ""
    """YYYY-MM-DD HH:MM:SS, UTC."""
    creator: str = ""
    ecommerce: bool = False
    site_search: bool = True
    search_keyword_parameters: tuple[str, ...] | None = None
    """None: the instance's."""
    search_category_parameters: tuple[str, ...] | None = None
    timezone: str = "UTC"
    currency: str = "USD"
    group: str = ""
    type: str = "website"
    excluded_ips: tuple[str, ...] = ()
    excluded_parameters: tuple[str, ...] = ()
    excluded_user_agents: tuple[str, ...] = ()
    excluded_referrers: tuple[str, ...] = ()
    exclude_unknown_urls: bool = False
    keep_url_fragments: int = 0
    """0 the instance's setting, 1 keep, 2 drop."""
    deleted: bool = False


class StoredSegment(msgspec.Struct, frozen=True, kw_only=True):
    segment_id: int
    name: str
    definition: str
    login: str = ""
    site_id: int = 0
    """0: for every site."""
    auto_archive: bool = False
    enabled_all_users: bool = False
    created_at: str = ""
    updated_at: str = ""
    deleted: bool = False


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """A note on a day of a site."""

    site_id: int
    annotation_id: int
    date: str
    """YYYY-MM-DD in the site's timezone."""
    note: str
    starred: bool = False
    login: str = ""
    deleted: bool = False


class ScheduledReport(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for a report by mail; kept for clients, nothing is sent."""

    report_id: int
    site_id: int
    login: str = ""
    description: str = ""
    period: str = "week"
    hour: int = 0
    report_type: str = "email"
    report_format: str = "pdf"
    reports: tuple[str, ...] = ()
    segment_id: int = 0
    created_at: str = ""
    deleted: bool = False


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """Instance-wide tracking rules; the defaults are Matomo's (tracking semantics)."""

    visit_standard_length: int = 1800
    window_look_back_for_visitor: int = 0
    create_new_visit_after_midnight: bool = True
    create_new_visit_when_campaign_changes: bool = True
    create_new_visit_when_website_referrer_changes: bool = False
    create_new_visit_after_x_actions: int = 10000
    default_time_one_page_visit: int = 0
    trust_visitors_cookies: bool = False
    enable_userid_overwrites_visitorid: bool = True
    enable_fingerprinting_across_websites: bool = False
    use_third_party_id_cookie: bool = False
    anonymous_visitor_ids: tuple[str, ...] = ("0000000000000000",)
    page_maximum_length: int = 1024
    action_title_category_delimiter: str = ""
    action_url_category_delimiter: str = "/"
    enable_language_to_country_guess: bool = True
    record_statistics: bool = True
    exclude_requests: str = ""
    ignore_visits_cookie_names: tuple[str, ...] = ("matomo_ignore", "piwik_ignore")
    """Whoever has one of these cookies is left out."""
    tracking_requests_require_authentication_when_custom_timestamp_newer_than: int = 86400
    campaign_names: tuple[str, ...] = (
        "pk_cpn", "pk_campaign", "piwik_campaign", "mtm_campaign", "matomo_campaign",
        "utm_campaign", "utm_source", "utm_medium",
    )  # fmt: skip
    campaign_keywords: tuple[str, ...] = (
        "pk_kwd", "pk_keyword", "piwik_kwd", "mtm_kwd", "mtm_keyword", "matomo_kwd", "utm_term",
    )  # fmt: skip
    excluded_url_parameters: tuple[str, ...] = (
        "gclid", "fbclid", "msclkid", "twclid", "wbraid", "gbraid", "yclid", "fb_xd_fragment",
        "fb_comment_id", "phpsessid", "jsessionid", "sessionid", "aspsessionid", "doing_wp_cron", "sid",
        "pk_vid",
    )  # fmt: skip
    site_search_keyword_parameters: tuple[str, ...] = (
        "q", "query", "s", "search", "searchword", "k", "keyword",
    )  # fmt: skip
    site_search_category_parameters: tuple[str, ...] = ()
    excluded_ips: tuple[str, ...] = ()
    excluded_parameters: tuple[str, ...] = ()
    excluded_user_agents: tuple[str, ...] = ()
    excluded_referrers: tuple[str, ...] = ()
    keep_url_fragments: bool = False
    exclude_referrer_spam: bool = True
    ai_assistants: bool = True
    client_hint_headers: bool = True
    """Whether `Sec-CH-UA` headers tell the browser of a hit that comes without `uadata`."""
    default_timezone: str = "UTC"
    """Of sites that are added without one."""
    default_currency: str = "USD"


STRICT_TRACKING = Tracking(ai_assistants=False, client_hint_headers=False, anonymous_visitor_ids=())
"""What an instance begins with under HITSTREAM_COMPATIBILITY=strict: the Matomo that it is compared with
knows no AI assistants, reads no brands from headers and takes an id of zeros for a visitor's. All that
differs is listed in docs/differences.md."""


CONFIG_HEADER = "X-Hitstream-Config"
"""`epoch:offset` of the configuration under which the process that answers reports gave an answer. Ingest
reads it and does not pass it on."""


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """Instance-wide privacy rules."""

    ip_mask_bytes: int = 2
    """0..4 bytes of an IPv4 address; IPv6 loses 0, 64, 80, 104 or all 128 bits."""
    use_masked_ip_for_enrichment: bool = False
    honour_do_not_track: bool = False
    """Hits with `DNT: 1` or `X-Do-Not-Track: 1` are only counted."""
    honour_global_privacy_control: bool = False
    """Hits with `Sec-GPC: 1` are only counted."""
    require_consent: bool = False
    """Hits without consent=1 are only counted."""
    force_cookieless: bool = False
    anonymise_user_id: bool = False
    anonymise_order_id: bool = False
    anonymise_referrer: Literal["", "exclude_query", "exclude_path", "exclude_all"] = ""
    keep_rows_days: int = 0
    """Days that visits and actions are kept, by whole months; 0: as HITSTREAM_KEEP_ROWS_DAYS says."""
    keep_archives_days: int = 0
    """The same for archives and HITSTREAM_KEEP_ARCHIVES_DAYS."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Hits of these sites with an event time in [begin, end) that were accepted before this event are folded
    under the configuration at this event's own offset (rules.replays)."""

    site_ids: tuple[int, ...]
    begin: int
    """Unix seconds."""
    end: int
    login: str = ""
    whole: bool = False
    """Rows that stay the same are stored again too, as after an upgrade that makes other rows of hits."""


ConfigEntity = Site | Goal | Dimension | StoredSegment | Annotation | ScheduledReport | Tracking | Privacy


class ConfigEvent(msgspec.Struct, frozen=True, kw_only=True):
    """JSON on topic `config`; exactly one of the fields is set. Unknown fields are ignored."""

    at: int
    """Unix milliseconds."""
    site: Site | None = None
    goal: Goal | None = None
    dimension: Dimension | None = None
    segment: StoredSegment | None = None
    annotation: Annotation | None = None
    scheduled_report: ScheduledReport | None = None
    tracking: Tracking | None = None
    privacy: Privacy | None = None
    replay: Replay | None = None


encode_config_event = msgspec.json.Encoder().encode
decode_config_event = msgspec.json.Decoder(ConfigEvent).decode


@dataclass(frozen=True)
class Config:
    """The whole configuration before `offset`: a value; `with_event` gives the next one."""

    offset: int = 0
    sites: Mapping[int, Site] = field(default_factory=dict)
    """Deleted sites are kept, with `deleted`; the next id is one more than the largest."""
    goals: Mapping[int, Mapping[int, Goal]] = field(default_factory=dict)
    """site_id -> goal_id -> goal"""
    dimensions: Mapping[int, Mapping[int, Dimension]] = field(default_factory=dict)
    """site_id -> dimension_id -> dimension"""
    segments: Mapping[int, StoredSegment] = field(default_factory=dict)
    annotations: Mapping[int, Annotation] = field(default_factory=dict)
    scheduled_reports: Mapping[int, ScheduledReport] = field(default_factory=dict)
    tracking: Tracking = field(default_factory=Tracking)
    privacy: Privacy = field(default_factory=Privacy)
    replays: tuple[tuple[int, Replay], ...] = ()
    """(offset of the event, replay), in the order of the log."""

    def with_event(self, event: ConfigEvent) -> "Config":
        changed = replace(self, offset=self.offset + 1)
        if event.site is not None:
            changed = replace(changed, sites={**self.sites, event.site.site_id: event.site})
        if event.goal is not None:
            of_site = {**self.goals.get(event.goal.site_id, {}), event.goal.goal_id: event.goal}
            changed = replace(changed, goals={**self.goals, event.goal.site_id: of_site})
        if event.dimension is not None:
            site_id = event.dimension.site_id
            of_dims = {**self.dimensions.get(site_id, {}), event.dimension.dimension_id: event.dimension}
            changed = replace(changed, dimensions={**self.dimensions, site_id: of_dims})
        if event.segment is not None:
            changed = replace(changed, segments={**self.segments, event.segment.segment_id: event.segment})
        if event.annotation is not None:
            note = event.annotation
            changed = replace(changed, annotations={**self.annotations, note.annotation_id: note})
        if event.scheduled_report is not None:
            wish = event.scheduled_report
            changed = replace(changed, scheduled_reports={**self.scheduled_reports, wish.report_id: wish})
        if event.tracking is not None:
            changed = replace(changed, tracking=event.tracking)
        if event.privacy is not None:
            changed = replace(changed, privacy=event.privacy)
        if event.replay is not None:
            changed = replace(changed, replays=(*self.replays, (self.offset, event.replay)))
        return changed

    def site(self, site_id: int) -> Site | None:
        site = self.sites.get(site_id)
        return None if site is None or site.deleted else site

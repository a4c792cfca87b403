"""What is known of each report besides its data: category, dimension, metrics; for metadata methods.

Built from the declared shapes; titles of metrics are those of reporting.wording."""

from collections.abc import Mapping
from dataclasses import dataclass

from reporting.method import Method, Unit
from reporting.wording import column_title


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """One report: `Module.action` with what clients are told about it."""

    method: str
    category: str
    subcategory: str
    name: str
    dimension: str = ""
    metrics: tuple[str, ...] = ()
    processed: tuple[str, ...] = ()
    goal_metrics: bool = False
    documentation: str = ""
    subtable_action: str = ""
    constant_rows: bool = False
    evolution: tuple[str, ...] = ()
    """Metrics that a row evolution shows, in its order; empty: metrics and processed."""

    @property
    def module(self) -> str:
        return self.method.split(".")[0]

    @property
    def action(self) -> str:
        return self.method.split(".")[1]

    @property
    def unique_id(self) -> str:
        return f"{self.module}_{self.action}"


VISITS = ("nb_visits", "nb_uniq_visitors", "nb_actions", "nb_users")
VISITS_PROCESSED = ("nb_actions_per_visit", "avg_time_on_site", "bounce_rate")
EVENTS = ("nb_events", "sum_event_value", "min_event_value", "max_event_value", "nb_events_with_value")
PAGES = ("nb_hits", "nb_visits")
PAGES_PROCESSED = ("avg_time_on_page", "bounce_rate", "exit_rate")
ENTRY = ("entry_nb_visits", "entry_bounce_count")
EXIT = ("exit_nb_visits", "nb_visits")

_TITLES = {
    "nb_hits": "Pageviews", "avg_time_on_site": "Avg. Time on Website", "entry_nb_visits": "Entrances",
    "entry_bounce_count": "Bounces", "exit_nb_visits": "Exits", "nb_events": "Events",
    "sum_event_value": "Event value", "min_event_value": "Minimum Event value",
    "max_event_value": "Maximum Event value", "nb_events_with_value": "Events with a value",
    "avg_event_value": "Average Event value", "interaction_rate": "Interaction Rate",
    "nb_impressions": "Impressions", "nb_interactions": "Content Interactions",
    "nb_pages_per_search": "Search Results pages", "nb_visits_percentage": "% Visits",
    "nb_uniq_pageviews": "Unique Pageviews", "nb_uniq_downloads": "Unique Downloads",
    "nb_uniq_outlinks": "Unique Outlinks", "nb_keywords": "Unique Keywords",
}  # fmt: skip
_PAGE_TITLES = {"nb_visits": "Unique Pageviews"}


def metric_title(entry: ReportEntry, name: str, language: str) -> str:
    if entry.module == "Actions" and entry.dimension.startswith("Page") and name in _PAGE_TITLES:
        return _PAGE_TITLES[name]
    known = _TITLES.get(name) if language == "en" else None
    return known or column_title(name, language)


def _visits(
    method: str, category: str, subcategory: str, name: str, dimension: str, **more: object
) -> ReportEntry:
    return ReportEntry(
        method=method,
        category=category,
        subcategory=subcategory,
        name=name,
        dimension=dimension,
        metrics=VISITS,
        processed=VISITS_PROCESSED,
        goal_metrics=True,
        **more,  # type: ignore[arg-type]
    )


def _pages(
    method: str, subcategory: str, name: str, dimension: str, metrics: tuple[str, ...], doc: str
) -> ReportEntry:
    return ReportEntry(
        method=method,
        category="Actions",
        subcategory=subcategory,
        name=name,
        dimension=dimension,
        metrics=metrics,
        processed=PAGES_PROCESSED,
        documentation=doc,
    )


def _events(method: str, name: str, dimension: str, sub: str) -> ReportEntry:
    return ReportEntry(
        method=method,
        category="Actions",
        subcategory="Events",
        name=name,
        dimension=dimension,
        metrics=EVENTS,
        processed=("avg_event_value",),
        subtable_action=sub,
        documentation=f"Events by {dimension.lower()}: how often they happened and their values.",
    )


_ENTRIES: tuple[ReportEntry, ...] = (
    ReportEntry(
        method="VisitsSummary.get",
        category="Visitors",
        subcategory="Overview",
        name="Visits Summary",
        metrics=("nb_uniq_visitors", "nb_visits", "nb_actions", "max_actions"),
        processed=("bounce_rate", "nb_actions_per_visit", "avg_time_on_site"),
        documentation="How many visitors came, what they did and how long they stayed.",
    ),
    ReportEntry(
        method="VisitFrequency.get",
        category="Visitors",
        subcategory="Engagement",
        name="Returning Visits",
        metrics=tuple(f"{name}_returning" for name in ("nb_visits", "nb_actions", "max_actions")),
        documentation="The same figures for new and for returning visits.",
    ),
    _visits("UserCountry.getCountry", "Visitors", "Locations", "Country", "Country"),
    _visits("UserCountry.getContinent", "Visitors", "Locations", "Continent", "Continent"),
    _visits("UserCountry.getRegion", "Visitors", "Locations", "Region", "Region"),
    _visits("UserCountry.getCity", "Visitors", "Locations", "City", "City"),
    _visits("UserLanguage.getLanguage", "Visitors", "Locations", "Browser language", "Language"),
    _visits("UserLanguage.getLanguageCode", "Visitors", "Locations", "Language code", "Language code"),
    _visits("UserId.getUsers", "Visitors", "User IDs", "User IDs", "User ID"),
    _visits(
        "DevicesDetection.getType", "Visitors", "Devices", "Device type", "Device type", constant_rows=True
    ),
    _visits("DevicesDetection.getBrand", "Visitors", "Devices", "Device brand", "Device brand"),
    _visits("DevicesDetection.getModel", "Visitors", "Devices", "Device model", "Device model"),
    _visits(
        "DevicesDetection.getOsFamilies",
        "Visitors",
        "Software",
        "Operating System families",
        "Operating system family",
    ),
    _visits(
        "DevicesDetection.getOsVersions",
        "Visitors",
        "Software",
        "Operating System versions",
        "Operating system version",
    ),
    _visits("DevicesDetection.getBrowsers", "Visitors", "Software", "Browsers", "Browser"),
    _visits(
        "DevicesDetection.getBrowserVersions", "Visitors", "Software", "Browser version", "Browser version"
    ),
    _visits(
        "DevicesDetection.getBrowserEngines", "Visitors", "Software", "Browser engines", "Browser engine"
    ),
    _visits("Resolution.getResolution", "Visitors", "Devices", "Resolution", "Resolution"),
    _visits("Resolution.getConfiguration", "Visitors", "Software", "Configurations", "Configuration"),
    ReportEntry(
        method="DevicePlugins.getPlugin",
        category="Visitors",
        subcategory="Software",
        name="Browser Plugins",
        dimension="Plugin",
        metrics=("nb_visits",),
        processed=("nb_visits_percentage",),
        constant_rows=True,
    ),
    _visits(
        "VisitTime.getVisitInformationPerServerTime",
        "Visitors",
        "Times",
        "Visits per hour in the site's timezone",
        "Hour",
        constant_rows=True,
    ),
    _visits(
        "VisitTime.getVisitInformationPerLocalTime",
        "Visitors",
        "Times",
        "Visits per local hour",
        "Local hour",
        constant_rows=True,
    ),
    ReportEntry(
        method="VisitorInterest.getNumberOfVisitsPerVisitDuration",
        category="Visitors",
        subcategory="Engagement",
        name="Visit Duration",
        dimension="Visit duration",
        metrics=("nb_visits",),
        constant_rows=True,
    ),
    ReportEntry(
        method="VisitorInterest.getNumberOfVisitsPerPage",
        category="Visitors",
        subcategory="Engagement",
        name="Pages per Visit",
        dimension="Pages per visit",
        metrics=("nb_visits",),
        constant_rows=True,
    ),
    ReportEntry(
        method="VisitorInterest.getNumberOfVisitsByVisitCount",
        category="Visitors",
        subcategory="Engagement",
        name="Visits by visit number",
        dimension="Visits by visit number",
        metrics=("nb_visits",),
        processed=("nb_visits_percentage",),
        constant_rows=True,
    ),
    ReportEntry(
        method="VisitorInterest.getNumberOfVisitsByDaysSinceLast",
        category="Visitors",
        subcategory="Engagement",
        name="Visits by days since last visit",
        dimension="Visits by days since last visit",
        metrics=("nb_visits",),
        constant_rows=True,
    ),
    ReportEntry(
        method="Actions.get",
        category="Actions",
        subcategory="",
        name="Actions - Main metrics",
        metrics=(
            "nb_pageviews",
            "nb_uniq_pageviews",
            "nb_downloads",
            "nb_uniq_downloads",
            "nb_outlinks",
            "nb_uniq_outlinks",
            "nb_searches",
            "nb_keywords",
        ),
        documentation="How many pages, downloads, outlinks and searches there were.",
    ),
    _pages("Actions.getPageUrls", "Pages", "Page URLs", "Page URL", PAGES, "Pages by URL, in folders."),
    _pages(
        "Actions.getEntryPageUrls",
        "Entry pages",
        "Entry pages",
        "Entry Page URL",
        ENTRY,
        "Where visits began.",
    ),
    _pages(
        "Actions.getExitPageUrls", "Exit pages", "Exit pages", "Exit Page URL", EXIT, "Where visits ended."
    ),
    _pages("Actions.getPageTitles", "Page titles", "Page titles", "Page Title", PAGES, "Pages by title."),
    _pages(
        "Actions.getEntryPageTitles",
        "Entry pages",
        "Entry page titles",
        "Entry Page title",
        ENTRY,
        "Titles of the pages on which visits began.",
    ),
    _pages(
        "Actions.getExitPageTitles",
        "Exit pages",
        "Exit page titles",
        "Exit Page Title",
        EXIT,
        "Titles of the pages on which visits ended.",
    ),
    ReportEntry(
        method="Actions.getOutlinks",
        category="Actions",
        subcategory="Outlinks",
        name="Outlinks",
        dimension="Clicked Outlink",
        metrics=("nb_visits", "nb_hits"),
        documentation="Links to other sites.",
    ),
    ReportEntry(
        method="Actions.getDownloads",
        category="Actions",
        subcategory="Downloads",
        name="Downloads",
        dimension="Download URL",
        metrics=("nb_visits", "nb_hits"),
        documentation="Files that were loaded.",
    ),
    ReportEntry(
        method="Actions.getSiteSearchKeywords",
        category="Actions",
        subcategory="Site Search",
        name="Site Search Keywords",
        dimension="Keyword (Site Search)",
        metrics=("nb_visits", "nb_pages_per_search"),
        processed=("exit_rate",),
        documentation="What visitors searched for on the site.",
    ),
    ReportEntry(
        method="Actions.getSiteSearchNoResultKeywords",
        category="Actions",
        subcategory="Site Search",
        name="Search Keywords with No Results",
        dimension="Keyword (Site Search)",
        metrics=("nb_visits",),
        processed=("exit_rate",),
        documentation="Searches that found nothing.",
    ),
    ReportEntry(
        method="Actions.getSiteSearchCategories",
        category="Actions",
        subcategory="Site Search",
        name="Search Categories",
        dimension="Category (Site Search)",
        metrics=("nb_visits", "nb_pages_per_search"),
        documentation="Categories that visitors searched in.",
    ),
    _events("Events.getCategory", "Event Categories", "Event Category", "getActionFromCategoryId"),
    _events("Events.getAction", "Event Actions", "Event Action", "getNameFromActionId"),
    _events("Events.getName", "Event Names", "Event Name", "getActionFromNameId"),
    *(
        ReportEntry(
            method=f"Contents.{action}",
            category="Actions",
            subcategory="Contents",
            name=name,
            dimension=name,
            metrics=("nb_impressions", "nb_interactions"),
            processed=("interaction_rate",),
            documentation="What was shown and what was used.",
        )
        for action, name in (("getContentNames", "Content Name"), ("getContentPieces", "Content Piece"))
    ),
    _visits(
        "Referrers.getReferrerType",
        "Acquisition",
        "All Channels",
        "Channel Type",
        "Channel Type",
        constant_rows=True,
    ),
    _visits("Referrers.getAll", "Acquisition", "All Channels", "All Channels", "Referrer"),
    _visits(
        "Referrers.getKeywords",
        "Acquisition",
        "Search Engines & Keywords",
        "Keywords",
        "Keyword",
        subtable_action="getSearchEnginesFromKeywordId",
    ),
    _visits(
        "Referrers.getSearchEngines",
        "Acquisition",
        "Search Engines & Keywords",
        "Search Engines",
        "Search Engine",
        subtable_action="getKeywordsFromSearchEngineId",
    ),
    _visits(
        "Referrers.getWebsites",
        "Acquisition",
        "Websites",
        "Websites",
        "Website",
        subtable_action="getUrlsFromWebsiteId",
    ),
    _visits(
        "Referrers.getCampaigns",
        "Acquisition",
        "Campaigns",
        "Campaigns",
        "Campaign",
        subtable_action="getKeywordsFromCampaignId",
    ),
    _visits(
        "Referrers.getSocials",
        "Acquisition",
        "Social Networks",
        "Social Networks",
        "Social network",
        subtable_action="getUrlsForSocial",
    ),
    ReportEntry(
        method="Goals.get",
        category="Goals",
        subcategory="Overview",
        name="Goals Overview",
        metrics=("nb_conversions", "nb_visits_converted", "revenue"),
        processed=("conversion_rate",),
        documentation="What visits converted.",
    ),
    ReportEntry(
        method="Goals.getVisitsUntilConversion",
        category="Goals",
        subcategory="Overview",
        name="Visits to Conversion",
        dimension="Visits to Conversion",
        metrics=("nb_conversions",),
        constant_rows=True,
    ),
    ReportEntry(
        method="Goals.getDaysToConversion",
        category="Goals",
        subcategory="Overview",
        name="Days to Conversion",
        dimension="Days to Conversion",
        metrics=("nb_conversions",),
        constant_rows=True,
    ),
    *(
        ReportEntry(
            method=f"Goals.{action}",
            category="Ecommerce",
            subcategory="Products",
            name=name,
            dimension=name,
            metrics=("revenue", "quantity", "orders", "nb_visits"),
            processed=("avg_price", "avg_quantity", "conversion_rate"),
        )
        for action, name in (
            ("getItemsSku", "Product SKU"),
            ("getItemsName", "Product Name"),
            ("getItemsCategory", "Product Category"),
        )
    ),
)

CATALOGUE: Mapping[str, ReportEntry] = {entry.method: entry for entry in _ENTRIES}

_TYPES = {
    Unit.PERCENT: "percent", Unit.SECONDS: "duration_s", Unit.CLOCK: "duration_s", Unit.MONEY: "money",
    Unit.BYTES: "byte", Unit.SHORT_SECONDS: "duration_s", Unit.NUMBER: "number",
}  # fmt: skip
_KNOWN_TYPES = {
    "bounce_rate": "percent", "exit_rate": "percent", "conversion_rate": "percent",
    "interaction_rate": "percent",
    "nb_visits_percentage": "percent", "avg_time_on_site": "duration_s", "avg_time_on_page": "duration_s",
    "revenue": "money", "avg_price": "money",
}  # fmt: skip


def metric_type(name: str, method: Method) -> str:
    """number, percent, duration_s, money or byte."""
    units = {metric.name: metric.unit for metric in method.shape.processed} | dict(method.shape.units or {})
    if name in units:
        return _TYPES[units[name]]
    return _KNOWN_TYPES.get(name, "number")

"""What is known of each report besides its data: category, dimension, metrics; for metadata methods.

One declaration per report; what goes with each site's goals and dimensions is added by `entries_of`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from reporting.report_entry import VISITS, VISITS_PROCESSED, ReportEntry
from schemas.config import Config
from schemas.plugins import Plugin, PluginMetric, installed_plugins

_GOAL_METRICS = ("nb_conversions", "revenue")
_PAGE_GOAL_METRICS = ("nb_conversions", "nb_conversions_attrib", "revenue_attrib")
_ENTRY_GOAL_METRICS = ("nb_conversions", "nb_conversions_entry", "revenue_entry")
_VISITS = ReportEntry(
    method="", category="Visitors", name="", metrics=VISITS, processed=VISITS_PROCESSED,
    goal_metrics=_GOAL_METRICS,
)  # fmt: skip
_PLAIN_VISITS = replace(_VISITS, processed=(*VISITS_PROCESSED, "conversion_rate"), goal_metrics=())
"""Reports whose rows don't tell goals apart."""
_PLACES = replace(_VISITS, subcategory="Locations", metrics=VISITS[:3])
_OF_PAGES = ("avg_time_on_page", "bounce_rate", "exit_rate", "avg_time_generation")
"""What is known of every page, whichever of it a report shows."""
_PAGES = ReportEntry(
    method="", category="Actions", name="", metrics=("nb_hits", "nb_visits"), processed=_OF_PAGES,
    typed=_OF_PAGES, titles={"nb_visits": "Unique Pageviews"},
)  # fmt: skip
_ENTRIES_OF_VISITS = replace(
    _PAGES, metrics=("entry_nb_visits", "entry_bounce_count"),
    processed=("bounce_rate", "avg_time_generation"), subcategory="Entry pages",
    goal_metrics=_ENTRY_GOAL_METRICS,
    processed_goal_metrics=("revenue_per_visit", "revenue_per_entry", "nb_conversions_entry_rate"),
)  # fmt: skip
_EXITS = replace(
    _PAGES, metrics=("exit_nb_visits", "nb_visits"), processed=("exit_rate", "avg_time_generation"),
    subcategory="Exit pages",
)  # fmt: skip
_SEARCHES = ReportEntry(
    method="", category="Actions", subcategory="Site Search", name="", guide="docs/site-search/",
    typed=_OF_PAGES, titles={"nb_visits": "Searches", "exit_rate": "% Search Exits"},
)  # fmt: skip
_EVENTS = ReportEntry(
    method="", category="Actions", subcategory="Events", name="", guide="docs/event-tracking/",
    metrics=("nb_events", "sum_event_value", "min_event_value", "max_event_value", "nb_events_with_value"),
    processed=("avg_event_value",), titles={"avg_event_value": "The average of all values for this event"},
)  # fmt: skip
_COUNTS = ReportEntry(
    method="", category="Actions", subcategory="Engagement", name="", metrics=("nb_visits",),
    constant_rows=True,
)  # fmt: skip
_SITES = ReportEntry(
    method="", category="All Websites", name="", dimension="Website",
    metrics=("nb_visits", "nb_actions", "nb_pageviews", "revenue", "nb_conversions", "orders",
             "ecommerce_revenue"),
    processed=tuple(
        f"{name}_evolution"
        for name in ("visits", "actions", "pageviews", "revenue", "nb_conversions", "orders",
                     "ecommerce_revenue")
    ),
    titles={"orders": "Ecommerce Orders"},
    documentation="The main metrics of sites, and how they changed since the period before.",
)  # fmt: skip
_ITEMS = ReportEntry(
    method="", category="Ecommerce", subcategory="Products", name="", guide="docs/ecommerce-analytics/",
    metrics=("revenue", "quantity", "orders", "nb_visits"),
    processed=("avg_price", "avg_quantity", "conversion_rate"),
    titles={"revenue": "Product Revenue", "conversion_rate": "Product Conversion Rate"},
)  # fmt: skip
_GOALS = ReportEntry(
    method="Goals.get", category="Goals", name="Goals", guide="docs/tracking-goals-web-analytics/",
    metrics=("nb_conversions", "nb_visits_converted", "revenue"), processed=("conversion_rate",),
    documentation="What visits converted.",
)  # fmt: skip
_UNTIL = tuple(
    ReportEntry(
        method=f"Goals.{action}", category="Goals", name=name, dimension=name, metrics=("nb_conversions",),
        guide="docs/tracking-goals-web-analytics/", documentation=text, constant_rows=True,
    )
    for action, name, text in (
        ("getVisitsUntilConversion", "Visits to Conversion", "In which of their visits visitors converted."),
        ("getDaysToConversion", "Days to Conversion", "How long after the first visit they converted."),
    )
)  # fmt: skip
_LOAD_TIMES = ("avg_time_network", "avg_time_server", "avg_time_transfer", "avg_time_dom_processing",
               "avg_time_dom_completion", "avg_time_on_load", "avg_page_load_time")  # fmt: skip
_SUMMARY = ("nb_uniq_visitors", "nb_visits", "nb_users", "nb_actions", "max_actions")
_SUMMARY_TITLES = {"avg_time_on_site": "Avg. Visit Duration (in seconds)"}
_MAIN_ACTIONS = ("nb_pageviews", "nb_uniq_pageviews", "nb_downloads", "nb_uniq_downloads", "nb_outlinks",
                 "nb_uniq_outlinks", "nb_searches", "nb_keywords")  # fmt: skip
_ORIGINS = (
    *(
        f"Referrers_visitorsFrom{name}{suffix}"
        for name in ("SearchEngines", "SocialNetworks", "DirectEntry", "Websites", "Campaigns")
        for suffix in ("", "_percent")
    ),
    *(
        f"Referrers_distinct{name}"
        for name in ("SearchEngines", "SocialNetworks", "Websites", "Keywords", "Campaigns")
    ),
)
_FREQUENCY = tuple(
    f"{name}_{suffix}"
    for suffix in ("returning", "new")
    for name in ("nb_visits", "nb_actions", "nb_uniq_visitors", "nb_users", "max_actions")
)
_FREQUENCY_PROCESSED = tuple(
    f"{name}_{suffix}"
    for suffix in ("returning", "new")
    for name in ("avg_time_on_site", "nb_actions_per_visit", "bounce_rate")
)


def _named(base: ReportEntry, method: str, name: str, dimension: str = "", **more: str) -> ReportEntry:
    """A report of a kind. `related` and `sub` are names of actions of the same module."""
    module = method.split(".")[0]
    related = tuple(f"{module}.{action}" for action in more.get("related", "").split() if action)
    return replace(
        base,
        method=method,
        name=name,
        dimension=dimension or base.dimension,
        category=more.get("category", base.category),
        subcategory=more.get("subcategory", base.subcategory),
        subtable_action=more.get("sub", base.subtable_action),
        guide=more.get("guide", base.guide),
        related=related,
        documentation=more.get("documentation", base.documentation),
    )


def _visitors() -> Iterator[ReportEntry]:
    yield ReportEntry(
        method="VisitsSummary.get",
        category="Visitors",
        subcategory="Overview",
        name="Visits Summary",
        metrics=_SUMMARY,
        processed=("bounce_rate", "nb_actions_per_visit", "avg_time_on_site"),
        titles=_SUMMARY_TITLES,
        documentation="How many visitors came, what they did and how long they stayed.",
    )
    languages = replace(_PLAIN_VISITS, subcategory="Locations")
    yield _named(_PLACES, "UserCountry.getCountry", "Country", "Country")
    yield _named(_PLACES, "UserCountry.getContinent", "Continent", "Continent")
    yield _named(_PLACES, "UserCountry.getRegion", "Region", "Region")
    yield _named(
        languages, "UserLanguage.getLanguage", "Web-browser language", "Language", related="getLanguageCode"
    )
    yield _named(_PLACES, "UserCountry.getCity", "City", "City")
    yield _named(
        languages, "UserLanguage.getLanguageCode", "Language code", "Language", related="getLanguage"
    )
    devices, software = (
        replace(_VISITS, subcategory="Devices"),
        replace(_PLAIN_VISITS, subcategory="Software"),
    )
    yield _named(devices, "DevicesDetection.getType", "Device type", "Device type")
    yield _named(devices, "DevicesDetection.getModel", "Device model", "Device model")
    yield _named(devices, "DevicesDetection.getBrand", "Device brand", "Device brand")
    yield _named(
        software, "Resolution.getResolution", "Screen Resolution", "Resolution", related="getConfiguration",
        subcategory="Devices",
    )  # fmt: skip
    yield _named(
        software, "DevicesDetection.getOsVersions", "Operating System versions", "Operating system version",
        related="getOsFamilies",
    )  # fmt: skip
    yield _named(
        devices, "DevicesDetection.getBrowsers", "Browsers", "Browser", related="getBrowserVersions",
        subcategory="Software",
    )  # fmt: skip
    yield _named(
        software, "DevicesDetection.getBrowserVersions", "Browser version", "Browser version",
        related="getBrowsers",
    )  # fmt: skip
    yield _named(
        software, "Resolution.getConfiguration", "Configurations", "Configuration", related="getResolution"
    )
    yield _named(
        software, "DevicesDetection.getOsFamilies", "Operating System families", "Operating system family",
        related="getOsVersions",
    )  # fmt: skip
    yield _named(software, "DevicesDetection.getBrowserEngines", "Browser engines", "Browser engine")
    yield ReportEntry(
        method="DevicePlugins.getPlugin",
        category="Visitors",
        subcategory="Software",
        name="Browser Plugins",
        dimension="Plugin",
        metrics=("nb_visits",),
        processed=("nb_visits_percentage",),
        constant_rows=True,
    )
    times = replace(_PLAIN_VISITS, subcategory="Times", constant_rows=True)
    yield _named(
        times, "VisitTime.getVisitInformationPerLocalTime", "Visits per local time",
        "Local time — hour (start of visit)", related="getByDayOfWeek",
    )  # fmt: skip
    yield _named(
        replace(_VISITS, subcategory="Times", constant_rows=True),
        "VisitTime.getVisitInformationPerServerTime", "Visits per hour in the site's timezone",
        "Site time — hour (start of visit)",
    )  # fmt: skip
    yield _named(
        times, "VisitTime.getByDayOfWeek", "Visits by day of the week", "Day of the week",
        related="getVisitInformationPerLocalTime",
    )  # fmt: skip
    yield ReportEntry(
        method="UserId.getUsers",
        category="Visitors",
        subcategory="User IDs",
        name="User IDs",
        dimension="UserId",
        metrics=("label", "nb_visits", "nb_actions", "nb_visits_converted"),
        processed=(*VISITS_PROCESSED, "conversion_rate"),
        guide="docs/user-id/",
        documentation="Visits by the user ID that the site sent.",
    )
    variables = _named(
        _VISITS, "CustomVariables.getCustomVariables", "Custom Variables", "Custom Variable name",
        subcategory="Custom Variables", sub="getCustomVariablesValuesFromNameId",
        guide="docs/custom-variables/", documentation="Visits and actions by the variables that pages set.",
    )  # fmt: skip
    parts = tuple(
        (f"CustomVariables_CustomVariable{part}", f"Custom Variable {part.lower()}")
        for part in ("Name", "Value")
    )
    yield replace(variables, dimensions=parts)


def _actions() -> Iterator[ReportEntry]:
    yield ReportEntry(
        method="Actions.get",
        category="Actions",
        name="Actions - Main metrics",
        metrics=_MAIN_ACTIONS,
        processed=("avg_time_generation",),
        documentation="How many pages, downloads, outlinks and searches there were.",
    )
    pages = replace(
        _PAGES,
        goal_metrics=_PAGE_GOAL_METRICS,
        processed_goal_metrics=("revenue_per_visit", "nb_conversions_page_rate"),
    )
    yield _named(
        pages, "Actions.getPageUrls", "Page URLs", "Page URL", subcategory="Pages", sub="getPageUrls",
        related="getEntryPageUrls getExitPageUrls", documentation="Pages by URL, in folders.",
    )  # fmt: skip
    yield _named(
        _ENTRIES_OF_VISITS, "Actions.getEntryPageUrls", "Entry pages", "Entry Page URL",
        sub="getEntryPageUrls", related="getEntryPageTitles", documentation="Where visits began.",
    )  # fmt: skip
    yield _named(
        _ENTRIES_OF_VISITS, "Actions.getEntryPageTitles", "Entry page titles", "Entry Page title",
        sub="getEntryPageTitles", related="getPageTitles getEntryPageUrls",
        documentation="Titles of the pages on which visits began.",
    )  # fmt: skip
    yield _named(
        _EXITS, "Actions.getExitPageUrls", "Exit pages", "Exit Page URL", sub="getExitPageUrls",
        related="getExitPageTitles", documentation="Where visits ended.",
    )  # fmt: skip
    yield _named(
        _EXITS, "Actions.getExitPageTitles", "Exit page titles", "Exit Page Title",
        sub="getExitPageTitles", related="getPageTitles getExitPageUrls",
        documentation="Titles of the pages on which visits ended.",
    )  # fmt: skip
    yield _named(
        pages, "Actions.getPageTitles", "Page titles", "Page Title", subcategory="Page titles",
        sub="getPageTitles", related="getEntryPageTitles getExitPageTitles", documentation="Pages by title.",
    )  # fmt: skip
    searched = replace(_SEARCHES, metrics=("nb_visits", "nb_pages_per_search"), processed=("exit_rate",))
    followed = replace(_SEARCHES, metrics=("nb_hits_following_search", "nb_hits"))
    yield _named(
        searched, "Actions.getSiteSearchKeywords", "Site Search Keywords", "Keyword",
        documentation="What visitors searched for on the site.",
    )  # fmt: skip
    yield _named(
        followed, "Actions.getPageUrlsFollowingSiteSearch", "Pages Following a Site Search",
        "Destination Page", related="getPageTitlesFollowingSiteSearch",
        documentation="Pages that were opened after a search.",
    )  # fmt: skip
    yield _named(
        replace(searched, metrics=("nb_visits",)), "Actions.getSiteSearchNoResultKeywords",
        "Search Keywords with No Results", "Keyword with No Search Result",
        documentation="Searches that found nothing.",
    )  # fmt: skip
    yield _named(
        followed, "Actions.getPageTitlesFollowingSiteSearch", "Page Titles Following a Site Search",
        "Destination Page", related="getPageUrlsFollowingSiteSearch",
        documentation="Titles of pages that were opened after a search.",
    )  # fmt: skip
    yield _named(
        replace(_SEARCHES, metrics=("nb_visits", "nb_pages_per_search", "exit_rate"), typed=()),
        "Actions.getSiteSearchCategories", "Search Categories", "Search Category",
        documentation="Categories that visitors searched in.",
    )  # fmt: skip
    links = ReportEntry(method="", category="Actions", name="", metrics=("nb_visits", "nb_hits"))
    yield _named(
        replace(links, titles={"nb_visits": "Unique Clicks", "nb_hits": "Clicks"}), "Actions.getOutlinks",
        "Outlinks", "Clicked Outlink", subcategory="Outlinks", sub="getOutlinks",
        documentation="Links to other sites.",
    )  # fmt: skip
    yield _named(
        replace(links, titles={"nb_visits": "Unique Downloads", "nb_hits": "Downloads"}),
        "Actions.getDownloads", "Downloads", "Download URL", subcategory="Downloads", sub="getDownloads",
        documentation="Files that were loaded.",
    )  # fmt: skip
    for method, word, sub, below in (
        ("getCategory", "Category", "getActionFromCategoryId", "Action"),
        ("getAction", "Action", "getNameFromActionId", "Name"),
        ("getName", "Name", "getActionFromNameId", "Action"),
    ):
        plural = "Categories" if word == "Category" else f"{word}s"
        entry = _named(
            _EVENTS, f"Events.{method}", f"Event {plural}", f"Event {word}", sub=sub,
            documentation=f"Events by {word.lower()}: how often they happened and their values.",
        )  # fmt: skip
        parts = tuple((f"Events_Event{name}", f"Event {name}") for name in (word, below))
        yield replace(entry, dimensions=parts)
    for action, name in (("getContentNames", "Content Name"), ("getContentPieces", "Content Piece")):
        yield ReportEntry(
            method=f"Contents.{action}",
            category="Actions",
            subcategory="Contents",
            name=name,
            dimension=name,
            metrics=("nb_impressions", "nb_interactions"),
            processed=("interaction_rate",),
            guide="docs/content-tracking/",
            subtable_action=action,
            documentation="What was shown and what was used.",
        )


def _engagement() -> Iterator[ReportEntry]:
    yield _named(
        _COUNTS, "VisitorInterest.getNumberOfVisitsPerVisitDuration", "Length of visits", "Visit duration"
    )
    yield _named(_COUNTS, "VisitorInterest.getNumberOfVisitsPerPage", "Pages per visit", "Pages per visit")
    yield _named(
        replace(_COUNTS, processed=("nb_visits_percentage",)),
        "VisitorInterest.getNumberOfVisitsByVisitCount", "Visits by visit number", "Visits by visit number",
    )  # fmt: skip
    yield _named(
        _COUNTS, "VisitorInterest.getNumberOfVisitsByDaysSinceLast", "Visits by days since last visit",
        "Days since last visit",
    )  # fmt: skip
    yield ReportEntry(
        method="VisitFrequency.get",
        category="Actions",
        subcategory="Engagement",
        name="Returning Visits",
        metrics=_FREQUENCY,
        processed=_FREQUENCY_PROCESSED,
        documentation="The same figures for new and for returning visits.",
    )
    yield ReportEntry(
        method="PagePerformance.get",
        category="Actions",
        subcategory="Performance",
        name="Performance overview",
        metrics=_LOAD_TIMES,
        processed=_LOAD_TIMES,
        guide="faq/how-to/how-do-i-see-page-performance-reports/",
        documentation="How long pages took to load, step by step.",
    )


def _acquisition() -> Iterator[ReportEntry]:
    yield ReportEntry(
        method="Referrers.get",
        category="Referrers",
        name="Referrers Overview",
        metrics=_ORIGINS,
        documentation="Where visits came from, in one row.",
    )
    base = replace(_VISITS, category="Referrers")
    yield _named(
        replace(base, constant_rows=True), "Referrers.getReferrerType", "Channel Type", "Channel Type",
        subcategory="All Channels",
    )  # fmt: skip
    plain = replace(_PLAIN_VISITS, category="Referrers")
    yield replace(
        _named(plain, "Referrers.getAll", "All Channels", "Referrer", subcategory="All Channels"),
        stored=False,
    )
    keyword, engine = ("Referrers_Keyword", "Keyword"), ("Referrers_SearchEngine", "Search Engine")
    page = ("Referrers_WebsitePage", "Website Page")

    def below(row: tuple[str, str], inner: tuple[str, str], entry: ReportEntry) -> ReportEntry:
        return replace(entry, dimensions=(row, inner))

    engines = replace(base, subcategory="Search Engines & Keywords")
    keywords = _named(
        engines, "Referrers.getKeywords", "Keywords", "Keyword", sub="getSearchEnginesFromKeywordId"
    )
    yield below(keyword, engine, keywords)
    searched = _named(
        engines, "Referrers.getSearchEngines", "Search Engines", "Search Engine",
        sub="getKeywordsFromSearchEngineId",
    )  # fmt: skip
    yield below(engine, keyword, searched)
    websites = _named(
        base, "Referrers.getWebsites", "Websites", "Website", subcategory="Websites",
        sub="getUrlsFromWebsiteId",
    )  # fmt: skip
    yield below(("Referrers_Website", "Website"), page, websites)
    networks = _named(
        plain, "Referrers.getSocials", "Social Networks", "Social network", subcategory="Social Networks",
        sub="getUrlsForSocial",
    )  # fmt: skip
    yield below(("Referrers_SocialNetwork", "Social network"), page, networks)
    campaigns = _named(
        base, "Referrers.getCampaigns", "Campaigns", "Campaign", subcategory="Campaigns",
        sub="getKeywordsFromCampaignId", guide="docs/tracking-campaigns/",
    )  # fmt: skip
    yield below(("Referrers_Campaign", "Campaign"), keyword, campaigns)


def _products() -> Iterator[ReportEntry]:
    for action, name in (
        ("getItemsName", "Product Name"),
        ("getItemsSku", "Product SKU"),
        ("getItemsCategory", "Product Category"),
    ):
        yield _named(_ITEMS, f"Goals.{action}", name, name)


_BEFORE_GOALS: tuple[ReportEntry, ...] = (
    _named(_SITES, "MultiSites.getAll", "All Websites dashboard"),
    _named(_SITES, "MultiSites.getOne", "Single Website dashboard"),
    *_visitors(),
    *_actions(),
    *_engagement(),
    *_acquisition(),
)
_PRODUCTS: tuple[ReportEntry, ...] = tuple(_products())
_ALL_GOALS: tuple[ReportEntry, ...] = (
    _GOALS,
    *(replace(entry, goal_metrics=_GOAL_METRICS) for entry in _UNTIL),
)


def _with_metrics(entry: ReportEntry, plugin: Plugin, metrics: Sequence[PluginMetric]) -> ReportEntry:
    names = {f"{plugin.name}_{one.name}": one for one in metrics}
    return replace(
        entry,
        metrics=tuple(names),
        titles={name: one.title for name, one in names.items()},
        meanings={name: one.documentation for name, one in names.items() if one.documentation},
    )


def plugin_entries(plugin: Plugin) -> Iterator[ReportEntry]:
    """The reports that a plugin adds."""
    for one in plugin.dimensions:
        yield replace(
            _VISITS,
            method=f"{plugin.name}.{one.action}",
            category=one.category,
            subcategory=one.subcategory,
            name=one.report_title,
            dimension=one.title,
            documentation=one.documentation,
        )
    if plugin.metrics:
        entry = ReportEntry(method=f"{plugin.name}.get", category="Visitors", name=plugin.name)
        yield _with_metrics(entry, plugin, plugin.metrics)
    for report in plugin.reports:
        entry = ReportEntry(
            method=f"{plugin.name}.{report.action}",
            category=report.category,
            subcategory=report.subcategory,
            name=report.report_title,
            dimension=report.title,
            documentation=report.documentation,
        )
        yield _with_metrics(entry, plugin, report.metrics)


_OF_PLUGINS: tuple[ReportEntry, ...] = tuple(
    entry for plugin in installed_plugins() for entry in plugin_entries(plugin)
)
_MAIN_METRICS = ReportEntry(
    method="API.get",
    category="API",
    name="Main metrics",
    metrics=(*_MAIN_ACTIONS, *_ORIGINS, *_GOALS.metrics, *_SUMMARY, *_FREQUENCY, *_LOAD_TIMES),
    processed=(
        "avg_time_generation", "conversion_rate", "bounce_rate", "nb_actions_per_visit", "avg_time_on_site",
        *_FREQUENCY_PROCESSED, *_LOAD_TIMES,
    ),
    titles=_SUMMARY_TITLES,
    documentation="The one-row reports of all modules together.",
)  # fmt: skip

CATALOGUE: Mapping[str, ReportEntry] = {
    entry.method: entry for entry in (*_BEFORE_GOALS, *_PRODUCTS, *_ALL_GOALS, *_OF_PLUGINS, _MAIN_METRICS)
}
"""Every report that needs no goal and no dimension, by its method."""

ORDERS = "ecommerceOrder"
CARTS = "ecommerceAbandonedCart"


def _of_goal(goal: str, name: str, title: str) -> Iterator[ReportEntry]:
    """The reports of one goal: `name` in the overview's name, `title` before those of the others."""
    parameters = (("idGoal", goal),)
    ecommerce = goal in (ORDERS, CARTS)
    overview, until = _GOALS, _UNTIL
    if ecommerce:
        guide = "docs/ecommerce-analytics/"
        overview = replace(_GOALS, category="Ecommerce", guide=guide, documentation="")
        until = tuple(replace(entry, category="Ecommerce", guide=guide, documentation="") for entry in _UNTIL)
    if goal == ORDERS:
        overview = replace(
            overview,
            metrics=(
                "nb_conversions", "nb_visits_converted", "conversion_rate", "revenue", "revenue_subtotal",
                "revenue_tax", "revenue_shipping", "revenue_discount", "items",
            ),
            processed=("avg_order_revenue",),
            titles={"nb_conversions": "Ecommerce Orders"},
        )  # fmt: skip
    elif goal == CARTS:
        overview = replace(
            overview,
            metrics=("nb_conversions", "conversion_rate", "revenue", "items"),
            processed=("avg_order_revenue",),
            titles={
                "nb_conversions": "Abandoned Carts",
                "revenue": "Revenue left in cart",
                "items": "Products left in cart",
            },
        )
    yield replace(overview, name=name, parameters=parameters)
    for entry in until:
        yield replace(entry, name=f"{title} - {entry.name}", parameters=parameters)


def _of_dimensions(config: Config, site_id: int) -> Iterator[ReportEntry]:
    dimensions = [one for one in config.dimensions.get(site_id, {}).values() if one.active]
    for one in sorted(dimensions, key=lambda one: (one.scope != "visit", one.dimension_id)):
        base = ReportEntry(
            method="CustomDimensions.getCustomDimension",
            category="Visitors",
            subcategory=f"customdimension{one.dimension_id}",
            name=one.name,
            dimension=one.name,
            metrics=("nb_visits", "nb_actions"),
            processed=("avg_time_on_site", "bounce_rate", "nb_actions_per_visit"),
            subtable_action="getCustomDimension",
            parameters=(("idDimension", str(one.dimension_id)),),
        )
        if one.scope != "visit":
            base = replace(
                base,
                category="Actions",
                metrics=("nb_hits", "nb_visits"),
                processed=("avg_time_on_dimension", "bounce_rate", "exit_rate", "avg_time_generation"),
                titles={"nb_hits": "Actions", "nb_visits": "Unique Actions"},
            )
        yield base


def entries_of(config: Config, site_id: int) -> Sequence[ReportEntry]:
    """The reports of a site, with those of its goals, its shop and its custom dimensions."""
    site = config.site(site_id)
    shop: list[ReportEntry] = []
    if site is not None and site.ecommerce:
        shop += [*_of_goal(ORDERS, "Ecommerce Orders", "Ecommerce Orders")]
        shop += [*_of_goal(CARTS, "Abandoned Carts", "Abandoned Carts")]
        shop += _PRODUCTS
    goals: list[ReportEntry] = []
    kept = [goal for goal in config.goals.get(site_id, {}).values() if not goal.deleted]
    if kept:
        goals += _of_goal("0", "Goals Overview", "Goals Overview")
    for goal in kept:
        goals += _of_goal(str(goal.goal_id), f"Goal {goal.name}", goal.name)
    dimensions = _of_dimensions(config, site_id)
    return (*_BEFORE_GOALS, *dimensions, *shop, *_ALL_GOALS, *goals, *_OF_PLUGINS, _MAIN_METRICS)


def find_entry(
    config: Config, site_id: int, method: str, parameters: Mapping[str, str]
) -> ReportEntry | None:
    """The site's report of a method, with the goal or dimension that the parameters name."""
    found = [entry for entry in entries_of(config, site_id) if entry.method == method]
    for entry in found:
        if entry.parameters and all(parameters.get(name) == value for name, value in entry.parameters):
            return entry
    if any(parameters.get(name) for entry in found for name, _ in entry.parameters):
        return None
    return next((entry for entry in found if not entry.parameters), CATALOGUE.get(method))

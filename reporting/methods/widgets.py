"""API.getWidgetMetadata and getReportPagesMetadata: the reports of a site as the pages of a menu.

There is no page here that shows them: clients build their own menus and dashboards from these lists, which
derive from the catalogue of reports. Help texts are left empty."""

from collections.abc import Iterator
from dataclasses import dataclass

from reporting.catalogue import entries_of
from reporting.german import translated
from reporting.method import Access, ApiRequest, Method
from reporting.report_entry import ReportEntry
from reporting.table import Result, Value


@dataclass(frozen=True)
class _Category:
    id: str
    name: str
    order: int
    icon: str = ""


_CATEGORIES = {
    "Visitors": _Category("General_Visitors", "Visitors", 5, "icon-reporting-visitors"),
    "Actions": _Category("General_Actions", "Behaviour", 10, "icon-reporting-actions"),
    "Referrers": _Category("Referrers_Referrers", "Acquisition", 15, "icon-reporting-referer"),
    "Ecommerce": _Category("Goals_Ecommerce", "Ecommerce", 20, "icon-reporting-ecommerce"),
    "Goals": _Category("Goals_Goals", "Goals", 25, "icon-reporting-goal"),
}
"""By the category of a report's metadata. The ids are what Matomo's clients know pages by."""
_LAST = 99

_SUBCATEGORIES = {
    ("Visitors", "Overview"): ("General_Overview", 2),
    ("Visitors", "Locations"): ("UserCountry_SubmenuLocations", 10),
    ("Visitors", "Devices"): ("DevicesDetection_Devices", 15),
    ("Visitors", "Software"): ("DevicesDetection_Software", 20),
    ("Visitors", "Times"): ("VisitTime_SubmenuTimes", 35),
    ("Visitors", "User IDs"): ("UserId_UserReportTitle", 40),
    ("Visitors", "Custom Variables"): ("CustomVariables_CustomVariables", 45),
    ("Actions", "Pages"): ("General_Pages", 5),
    ("Actions", "Entry pages"): ("Actions_SubmenuPagesEntry", 10),
    ("Actions", "Exit pages"): ("Actions_SubmenuPagesExit", 15),
    ("Actions", "Page titles"): ("Actions_SubmenuPageTitles", 20),
    ("Actions", "Site Search"): ("Actions_SubmenuSitesearch", 25),
    ("Actions", "Outlinks"): ("General_Outlinks", 30),
    ("Actions", "Downloads"): ("General_Downloads", 35),
    ("Actions", "Events"): ("Events_Events", 40),
    ("Actions", "Contents"): ("Contents_Contents", 45),
    ("Actions", "Engagement"): ("VisitorInterest_Engagement", 46),
    ("Actions", "Performance"): ("PagePerformance_Performance", 47),
    ("Referrers", ""): ("General_Overview", 2),
    ("Referrers", "All Channels"): ("Referrers_WidgetGetAll", 5),
    ("Referrers", "Search Engines & Keywords"): ("Referrers_SubmenuSearchEngines", 10),
    ("Referrers", "Websites"): ("Referrers_SubmenuWebsitesOnly", 15),
    ("Referrers", "Social Networks"): ("Referrers_Socials", 16),
    ("Referrers", "Campaigns"): ("Referrers_Campaigns", 20),
    ("Ecommerce", ""): ("General_Overview", 2),
    ("Ecommerce", "Products"): ("Goals_Products", 10),
    ("Goals", ""): ("General_Overview", 2),
}
"""Category and subcategory of a report's metadata -> id and order. Others (plugins, custom dimensions) go by
their name, last."""


def _category(category: _Category, language: str) -> Value:
    return {
        "id": category.id,
        "name": translated(category.name, language),
        "order": category.order,
        "icon": category.icon,
        "help": "",
        "widget": None,
    }


def _of(entry: ReportEntry) -> _Category:
    return _CATEGORIES.get(entry.category) or _Category(entry.category, entry.category, _LAST)


def _subcategory(entry: ReportEntry, language: str) -> dict[str, Value]:
    """The page of a report; each goal and each custom dimension has one of its own."""
    of_goal = dict(entry.parameters).get("idGoal", "")
    if entry.category == "Goals" and of_goal not in ("", "0"):
        return {"id": of_goal, "name": entry.name.partition(" - ")[0], "order": 900, "help": ""}
    if "idDimension" in dict(entry.parameters):
        return {"id": entry.subcategory, "name": entry.name, "order": _LAST, "help": ""}
    known = _SUBCATEGORIES.get((entry.category, entry.subcategory), (entry.subcategory, _LAST))
    return {
        "id": known[0],
        "name": translated(entry.subcategory or "Overview", language),
        "order": known[1],
        "help": "",
    }


def _widget(entry: ReportEntry, order: int, language: str) -> dict[str, Value]:
    parameters: dict[str, Value] = {"module": entry.module, "action": entry.action, **dict(entry.parameters)}
    own = "".join(f"{name}{value}" for name, value in entry.parameters)
    return {
        "name": translated(entry.name, language),
        "module": entry.module,
        "action": entry.action,
        "order": order,
        "parameters": parameters,
        "uniqueId": f"widget{entry.module}{entry.action}{own}",
        "isWide": False,
        "viewDataTable": "table" if entry.dimension else "sparklines",
        "isReport": True,
    }


def _shown(request: ApiRequest) -> Iterator[tuple[ReportEntry, int]]:
    """Reports that have a page, with their place among those of their category."""
    places: dict[str, int] = {}
    for entry in entries_of(request.config, request.site_id):
        # what is about all sites or made of other reports is no page of a site
        if entry.method in request.state["methods"] and entry.category not in ("All Websites", "API"):
            places[entry.category] = places.get(entry.category, 0) + 1
            yield entry, places[entry.category]


def _order(category: _Category, subcategory: dict[str, Value]) -> tuple[int, str, int, str]:
    return category.order, category.id, int(str(subcategory["order"])), str(subcategory["id"])


def _widgets(request: ApiRequest) -> Result:
    """Each report as something to put on a dashboard, by category and page."""
    found = []
    for entry, place in _shown(request):
        category, subcategory = _of(entry), _subcategory(entry, request.language)
        name, *rest = _widget(entry, place, request.language).items()
        widget = dict(
            (name, ("category", _category(category, request.language)), ("subcategory", subcategory), *rest)
        )
        found.append((_order(category, subcategory), place, widget))
    return [widget for _, _, widget in sorted(found, key=lambda one: one[:2])]


def _pages(request: ApiRequest) -> Result:
    """The pages of a site's menu with the reports on them, in the order of the menu."""
    pages: dict[str, tuple[tuple[int, str, int, str], dict[str, Value], list[Value]]] = {}
    for entry, place in _shown(request):
        category, subcategory = _of(entry), _subcategory(entry, request.language)
        unique = f"{category.id}.{subcategory['id']}"
        page = pages.setdefault(
            unique,
            (
                _order(category, subcategory),
                {
                    "uniqueId": unique,
                    "category": _category(category, request.language),
                    "subcategory": subcategory,
                },
                [],
            ),
        )
        page[2].append(_widget(entry, place, request.language))
    ordered = sorted(pages.values(), key=lambda page: page[0])
    return [{**page, "widgets": widgets} for _, page, widgets in ordered]


def _without_comparisons(_: ApiRequest) -> Result:
    """The pages, as `category.subcategory`, whose methods answer `compare=1` as if it weren't there."""
    return ["General_Visitors.Live_VisitorLog", "General_Visitors.General_RealTime",
            "General_Actions.Transitions_Transitions"]  # fmt: skip


METHODS: dict[str, Method] = {
    "API.getPagesComparisonsDisabledFor": Method(answer=_without_comparisons, access=Access.SOME_VIEW),
    "API.getWidgetMetadata": Method(answer=_widgets, takes_sites=True, several_sites=False),
    "API.getReportPagesMetadata": Method(answer=_pages, takes_sites=True, several_sites=False),
}

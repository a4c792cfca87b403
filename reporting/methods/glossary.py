"""API: what reports and metrics mean, for a glossary."""

from reporting.catalogue import entries_of
from reporting.method import ApiRequest, Method
from reporting.methods.report_metadata import documentation_of
from reporting.report_entry import metric_title
from reporting.table import Result, Value


def _sorted(found: dict[str, dict[str, Value]]) -> list[Value]:
    return [found[name] for name in sorted(found, key=str.casefold)]


def _reports(request: ApiRequest) -> Result:
    """Every report of the site once, under its name and category."""
    found: dict[str, dict[str, Value]] = {}
    for entry in entries_of(request.config, request.site_id):
        text = documentation_of(entry)
        if text:
            name = f"{entry.name} ({entry.category})"
            found.setdefault(name, {"name": name, "documentation": text})
    return _sorted(found)


def _metrics(request: ApiRequest) -> Result:
    """Every metric once per title; a title that is another metric's elsewhere has the category with it."""
    ids: dict[str, str] = {}
    found: dict[str, dict[str, Value]] = {}
    for entry in entries_of(request.config, request.site_id):
        for metric, text in entry.documented.items():
            name = metric_title(entry, metric, request.language)
            if ids.setdefault(name, metric) != metric:
                name = f"{name} ({entry.category})"
            found.setdefault(name, {"name": name, "id": metric, "documentation": text})
    return _sorted(found)


METHODS: dict[str, Method] = {
    "API.getGlossaryReports": Method(answer=_reports, takes_sites=True, several_sites=False),
    "API.getGlossaryMetrics": Method(answer=_metrics, takes_sites=True, several_sites=False),
}

"""Every title that a German client reads is German."""

import pytest

from reporting.catalogue import CATALOGUE
from reporting.german import translated
from reporting.report_entry import ReportEntry, metric_title

SAME_IN_BOTH = {"API", "Software", "Engagement", "Region", "Plugin", "Downloads", "Website",
                "Browser"}  # fmt: skip


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.method)
def test_titles_of_reports_are_german(entry: ReportEntry) -> None:
    titles = (entry.category, entry.subcategory, entry.name, entry.dimension)
    for title in (*titles, *(title for _, title in entry.dimensions)):
        if title and title not in SAME_IN_BOTH:
            assert translated(title, "de") != title, title
        assert translated(title, "en") == title


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.method)
def test_titles_of_metrics_are_words_in_both_languages(entry: ReportEntry) -> None:
    names = (*entry.metrics, *entry.processed, *entry.goal_metrics, *entry.processed_goal_metrics)
    for name in names:
        if name == "max_actions_new":
            continue  # has no title in Matomo either
        for language in ("en", "de"):
            assert metric_title(entry, name, language) != name


def test_a_goal_keeps_the_name_that_people_gave_it() -> None:
    assert translated("Goal Kauf", "de") == "Ziel Kauf"
    assert translated("Kauf - Days to Conversion", "de") == "Kauf - Tage bis zur Konversion"


def test_a_metric_is_called_as_its_report_calls_it() -> None:
    """By the column's title where the report's own has no German words."""
    entry = CATALOGUE["Referrers.getWebsites"]
    assert metric_title(entry, "avg_time_on_site", "de") == "Durchschnittszeit auf der Webseite"
    assert metric_title(entry, "nb_hits", "de") == "Seitenansichten"

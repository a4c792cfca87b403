"""Metrics as metadata describes them: their titles in a report, their types, what they mean.

Titles are those that Matomo's clients know; the explanations are ours."""

from collections.abc import Mapping

from reporting.german import translated
from reporting.method import Method, Unit
from reporting.wording import column_title, has_title

_TITLES: Mapping[str, str] = {
    "nb_hits": "Pageviews",
    "avg_time_on_site": "Avg. Time on Website",
    "avg_time_on_dimension": "Avg. Time On Dimension",
    "avg_time_generation": "Avg. generation time",
    "entry_nb_visits": "Entrances",
    "entry_bounce_count": "Bounces",
    "exit_nb_visits": "Exits",
    "nb_hits_following_search": "Clicked in search results",
    "nb_visits_percentage": "% Visits",
    "nb_uniq_pageviews": "Unique Pageviews",
    "nb_uniq_downloads": "Unique Downloads",
    "nb_uniq_outlinks": "Unique Outlinks",
    "nb_keywords": "Unique Keywords",
    "nb_pages_per_search": "Search Results pages",
    "avg_order_revenue": "Average Order Value",
    "items": "Purchased Products",
    "revenue_per_visit": "Revenue per Visit",
    "revenue_per_entry": "Revenue per Entry",
    "nb_conversions_attrib": "Conversions",
    "revenue_attrib": "Revenue",
    "nb_conversions_page_rate": "Viewed before conversion rate",
    "nb_conversions_entry": "Conversions",
    "revenue_entry": "Revenue",
    "nb_conversions_entry_rate": "Conversion Rate",
    "ecommerce_revenue": "Product Revenue",
    "nb_conversions_evolution": "Conversions Evolution",
    "orders_evolution": "Ecommerce Orders Evolution",
    "ecommerce_revenue_evolution": "Product Revenue Evolution",
    "avg_page_load_time": "Avg. page load time",
    "avg_time_network": "Avg. network time",
    "avg_time_server": "Avg. server time",
    "avg_time_transfer": "Avg. transfer time",
    "avg_time_dom_processing": "Avg. DOM processing time",
    "avg_time_dom_completion": "Avg. DOM completion time",
    "avg_time_on_load": "Avg. on load time",
    "nb_visits_returning": "Returning Visits",
    "nb_actions_returning": "Actions by Returning Visits",
    "nb_uniq_visitors_returning": "Unique returning visitors",
    "nb_users_returning": "Returning Users",
    "max_actions_returning": "Maximum actions in one returning visit",
    "avg_time_on_site_returning": "Avg. Duration of a Returning Visit (in sec)",
    "nb_actions_per_visit_returning": "Avg. Actions per Returning Visit",
    "bounce_rate_returning": "Bounce Rate for Returning Visits",
    "nb_visits_new": "New Visits",
    "nb_actions_new": "Actions by New Visits",
    "nb_uniq_visitors_new": "Unique new visitors",
    "nb_users_new": "New Users",
    "avg_time_on_site_new": "Avg. Duration of a New Visit (in sec)",
    "nb_actions_per_visit_new": "Avg. Actions per New Visit",
    "bounce_rate_new": "Bounce Rate for New Visits",
    "Referrers_distinctSearchEngines": "Distinct search engines",
    "Referrers_distinctSocialNetworks": "Distinct social networks",
    "Referrers_distinctWebsites": "Distinct websites",
    "Referrers_distinctKeywords": "Distinct keywords",
    "Referrers_distinctCampaigns": "Distinct campaigns",
    **{
        f"Referrers_visitorsFrom{name}{suffix}": f"{prefix} from {words}"
        for name, words in (
            ("SearchEngines", "Search Engines"),
            ("SocialNetworks", "Social Networks"),
            ("DirectEntry", "Direct Entry"),
            ("Websites", "Websites"),
            ("Campaigns", "Campaigns"),
        )
        for suffix, prefix in (("", "Visitors"), ("_percent", "Percent of Visitors"))
    },
}


def general_title(name: str, language: str) -> str:
    """A metric's title where the report has no other one for it."""
    known = _TITLES.get(name)
    if known is None:
        return column_title(name, language)
    words = translated(known, language)
    # a column's German title is nearer than the English one of reports
    return column_title(name, language) if language == "de" and words == known and has_title(name) else words


_TYPES = {
    Unit.PERCENT: "percent", Unit.SECONDS: "duration_s", Unit.CLOCK: "duration_s", Unit.MONEY: "money",
    Unit.BYTES: "byte", Unit.SHORT_SECONDS: "duration_s", Unit.NUMBER: "number",
}  # fmt: skip
_MONEY = ("revenue", "avg_price", "avg_order_revenue", "ecommerce_revenue")


def metric_type(name: str, method: Method) -> str:
    """number, percent, duration_s, money or byte: as the report declares it, else as the name says."""
    units = {metric.name: metric.unit for metric in method.shape.processed} | dict(method.shape.units or {})
    if name in units and units[name] is not Unit.NUMBER:
        return _TYPES[units[name]]
    if name == "revenue_per_entry":
        return "number"
    if name.endswith(("_rate", "_percent", "_percentage", "_evolution", "_rate_new", "_rate_returning")):
        return "percent"
    if name in _MONEY or name.startswith(("revenue_", "goal_revenue")):
        return "money"
    if name.startswith("avg_") and "time" in name:
        return "duration_s"
    return "number"


_MEANINGS: Mapping[str, str] = {
    "nb_uniq_visitors": "How many different visitors came; each counts once in the period.",
    "nb_visits": "How many visits there were; one ends after 30 minutes without a hit.",
    "nb_users": "How many different user IDs were seen; only sites that send user IDs have any.",
    "nb_actions": "Everything visitors did: pages viewed, files loaded, links followed, searches.",
    "bounce_rate": "The share of visits that ended after a single action.",
    "nb_actions_per_visit": "Actions divided by visits.",
    "avg_time_on_site": "How long visits lasted on average.",
    "conversion_rate": "The share of visits in which a goal was reached.",
    "nb_pageviews": "How often pages were viewed.",
    "nb_uniq_pageviews": "Page views, counting a page once per visit.",
    "nb_downloads": "How often files were loaded.",
    "nb_uniq_downloads": "Downloads, counting a file once per visit.",
    "nb_outlinks": "How often links to other sites were followed.",
    "nb_uniq_outlinks": "Outlinks, counting a link once per visit.",
    "nb_searches": "How often visitors used the site's own search.",
    "nb_hits": "How often it was viewed or followed.",
    "avg_time_on_page": "How long visitors stayed on this page on average.",
    "exit_rate": "The share of its views after which the visit ended.",
    "avg_time_generation": "A former measure of the server's time; no longer recorded.",
    "entry_nb_visits": "Visits that began here.",
    "entry_bounce_count": "Visits that began here and had no further action.",
    "exit_nb_visits": "Visits that ended here.",
    "nb_pages_per_search": "How many pages of results were looked at per search.",
    "nb_hits_following_search": "How often it was opened from the search results.",
    "nb_events": "How many events there were.",
    "nb_events_with_value": "Events that carried a value.",
    "sum_event_value": "The values of all events added up.",
    "min_event_value": "The smallest value of an event.",
    "max_event_value": "The largest value of an event.",
    "avg_event_value": "The values of events divided by the events that had one.",
    "nb_impressions": "How often the content was shown.",
    "nb_interactions": "How often visitors interacted with the content.",
    "interaction_rate": "Interactions divided by impressions.",
    "avg_time_network": "How long the connection to the server took.",
    "avg_time_server": "How long the server took to begin its answer.",
    "avg_time_transfer": "How long the answer took to arrive.",
    "avg_time_dom_processing": "How long the browser took from the answer to a usable page.",
    "avg_time_dom_completion": "How long images and scripts took after that.",
    "avg_time_on_load": "How long the page's own code ran when everything had arrived.",
    "avg_page_load_time": "All of these together.",
}


def metric_meaning(name: str) -> str:
    """What a metric counts, in English; empty when there is nothing to say."""
    return _MEANINGS.get(name, "")

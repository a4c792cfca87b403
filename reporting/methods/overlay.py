"""Overlay: where visitors of a page went next, for showing it on the page itself."""

from reporting.german import translated
from reporting.method import Access, ApiRequest, Method, ReportShape
from reporting.methods.site_settings import site_of
from reporting.methods.sites_global import METHODS as SITES_GLOBAL
from reporting.methods.transitions import following, page_of
from reporting.table import Result, Table
from rules.urls import clean_url, url_rules

MAX_PAGES = 300
"""More are one row `Others`: nobody looks at more links on a page."""

_WORDS = {
    "oneClick": "1 click",
    "clicks": "%s clicks",
    "clicksFromXLinks": "%1$s clicks on %2$s links",
    "link": "Link",
}
"""What clients that draw the overlay say, by the names they ask for; %s are the numbers they fill in."""


def _words(request: ApiRequest) -> Result:
    return {name: translated(text, request.language) for name, text in _WORDS.items()}


async def _following_pages(request: ApiRequest) -> Result:
    """Pages, outlinks and downloads in one table, columns `label` and `referrals`. The address may be what
    a browser shows: the parts that the site leaves out of addresses are left out of it."""
    site, tracking = site_of(request), request.config.tracking
    url = clean_url(url_rules(site, tracking), request.parameters.required("url")).url
    if not url:
        return Table()
    parts = await following(request, page_of(url), MAX_PAGES)
    return Table([row for name in ("followingPages", "outlinks", "downloads") for row in parts[name]])


METHODS: dict[str, Method] = {
    "Overlay.getTranslations": Method(answer=_words, access=Access.SOME_VIEW, filters=False),
    "Overlay.getExcludedQueryParameters": SITES_GLOBAL["SitesManager.getExcludedQueryParameters"],
    "Overlay.getFollowingPages": Method(
        answer=_following_pages,
        takes_sites=True,
        takes_period=True,
        several_sites=False,
        several_periods=False,
        required=("url",),
        shape=ReportShape(sort_stored=True),
    ),
}

"""SitesManager: the code that a site puts into its pages."""

from reporting.method import ApiRequest, Method
from reporting.methods.site_settings import host_and_path, site_of
from reporting.table import Result


def _tracker_base(request: ApiRequest) -> str:
    given = request.parameters.text("piwikUrl") or str(request.state.get("base_url", ""))
    return given.split("://", 1)[-1].rstrip("/")


def _quoted(text: str) -> str:
    """Inside a single-quoted string of a script in a page."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("<", "\\u003C").replace("\n", " ")


def _javascript_tag(request: ApiRequest) -> Result:
    """The snippet that loads the tracker, as HTML text."""
    parameters = request.parameters
    calls: list[str] = []
    if parameters.flag("mergeSubdomains") or parameters.flag("mergeAliasUrls"):
        hosts = [f"*.{host_and_path(url)}" for url in site_of(request).urls]
        if parameters.flag("mergeSubdomains") and hosts:
            calls.append(f"setCookieDomain', '{_quoted(hosts[0])}'")
        listed = ",".join(f"'{_quoted(host)}'" for host in hosts)
        calls.append(f"setDomains', [{listed}]")
    for name, method in (
        ("customCampaignNameQueryParam", "setCampaignNameKey"),
        ("customCampaignKeywordParam", "setCampaignKeywordKey"),
    ):
        if parameters.text(name):
            calls.append(f"{method}', '{_quoted(parameters.text(name))}'")
    if parameters.flag("doNotTrack"):
        calls.append("setDoNotTrack', true")
    if parameters.flag("disableCookies"):
        calls.append("disableCookies'")
    calls += ["trackPageView'", "enableLinkTracking'"]
    pushes = "".join(f"  _paq.push(['{call}]);\n" for call in calls)
    return (
        "<!-- Matomo -->\n<script>\n"
        "  var _paq = window._paq = window._paq || [];\n"
        '  /* tracker methods like "setCustomDimension" should be called before "trackPageView" */\n'
        f"{pushes}"
        "  (function() {\n"
        f'    var u="//{_quoted(_tracker_base(request))}/";\n'
        "    _paq.push(['setTrackerUrl', u+'matomo.php']);\n"
        f"    _paq.push(['setSiteId', '{request.site_id}']);\n"
        "    var d=document, g=d.createElement('script'), s=d.getElementsByTagName('script')[0];\n"
        "    g.async=true; g.src=u+'matomo.js'; s.parentNode.insertBefore(g,s);\n"
        "  })();\n</script>\n<!-- End Matomo Code -->\n"
    )


def _image_code(request: ApiRequest) -> Result:
    query = f"idsite={request.site_id}&amp;rec=1"
    if goal := request.parameters.integer("idGoal"):
        query += f"&amp;idgoal={goal}"
    base = str(request.parameters.text("piwikUrl") or request.state.get("base_url", ""))
    scheme = "https" if base.startswith("https://") else "http"
    return (
        "<!-- Matomo Image Tracker-->\n"
        f'<img referrerpolicy="no-referrer-when-downgrade" src="{scheme}://{_tracker_base(request)}/matomo.php?{query}"'
        ' style="border:0" alt="" />\n<!-- End Matomo -->'
    )


METHODS: dict[str, Method] = {
    "SitesManager.getJavascriptTag": Method(answer=_javascript_tag, takes_sites=True, several_sites=False),
    "SitesManager.getImageTrackingCode": Method(answer=_image_code, takes_sites=True, several_sites=False),
}

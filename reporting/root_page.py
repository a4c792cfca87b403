"""What a browser sees at the root of an instance: where everything is. Needs no token and tells nothing."""

from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Hitstream</title>
<style>body { font: 16px/1.5 sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em }</style>
<h1>Hitstream</h1>
<p>Web analytics: trackers of Matomo send their hits here, clients of its Reporting API ask for reports.</p>
<ul>
<li><a href="matomo.php">matomo.php</a>: the tracker endpoint</li>
<li>index.php?module=API&amp;method=...&amp;token_auth=...: the Reporting API;
<code>method=API.getReportMetadata</code> lists the reports</li>
<li><a href="index.php?module=CoreAdminHome&amp;action=optOut">opt-out</a>: for visitors</li>
<li><a href="health/ready">health/ready</a>: whether hits are taken</li>
</ul>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


async def show_root(_request: web.Request) -> web.Response:
    return web.Response(text=_PAGE, content_type="text/html", charset="utf-8", headers=_HEADERS)

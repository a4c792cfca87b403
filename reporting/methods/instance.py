"""API: the version, bulk requests, plugins."""

import sys

from reporting.errors import ApiError, missing_parameter
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import parse_query
from reporting.render.php import escape, plain
from reporting.table import Result, Value

MATOMO_VERSION = "5.2.0-b5"
"""The version whose answers these are; clients switch their behaviour on it."""
_MAX_REQUESTS = 100


async def _bulk(request: ApiRequest) -> Result:
    """The results of several requests in one list; a refusal stands in its place.

    Every one keeps the format of the whole, and has no token but that of the whole."""
    urls = request.parameters.texts("urls")
    if not urls:
        raise missing_parameter("urls")
    if len(urls) > _MAX_REQUESTS:
        raise ApiError(f"{len(urls)} requests are too many for one bulk request: at most {_MAX_REQUESTS}.")
    format_name = request.parameters.text("format").lower()
    results: list[Value] = []
    for url in urls:
        values = {**parse_query(url.partition("?")[2] or url), "format": format_name, "module": "API"}
        values.pop("token_auth", None)
        try:
            result = plain(await request.call(values))
        except ApiError as error:
            # What prints raw values prints the message as the error page would.
            message = escape(error.message) if format_name == "original" else error.message
            result = {"result": "error", "message": message}
        results.append(result if isinstance(result, (dict, list)) else {"value": result})
    return results


def _plugin_active(request: ApiRequest) -> Result:
    name = request.parameters.required("pluginName")
    methods = request.state["methods"]
    return any(known.startswith(f"{name}.") for known in methods)


def _client(request: ApiRequest) -> Result:
    """The address that the request came from, as the API sees it."""
    return str(request.state.get("client", ""))


def _runtime(_: ApiRequest) -> Result:
    """Clients ask what PHP runs here; it is Python."""
    version = sys.version_info
    return {
        "version": ".".join(str(part) for part in version[:3]),
        "major": version.major,
        "minor": version.minor,
        "release": version.micro,
        "versionId": version.major * 10_000 + version.minor * 100 + version.micro,
        "extra": "Python",
    }


METHODS: dict[str, Method] = {
    "API.getPhpVersion": Method(answer=_runtime, access=Access.SUPERUSER, filters=False),
    "API.getIpFromHeader": Method(answer=_client, access=Access.SOME_VIEW),
    "API.getMatomoVersion": Method(answer=lambda _: MATOMO_VERSION, access=Access.SOME_VIEW),
    "API.getPiwikVersion": Method(answer=lambda _: MATOMO_VERSION, access=Access.SOME_VIEW),
    "API.getBulkRequest": Method(answer=_bulk, access=Access.NONE, filters=False),
    "API.isPluginActivated": Method(answer=_plugin_active, access=Access.SOME_VIEW, required=("pluginName",)),
}

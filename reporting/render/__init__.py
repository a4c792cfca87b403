"""From a result, or a refusal, to an HTTP answer in one of Matomo's formats."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from reporting.errors import ApiError
from reporting.parameters import Parameters
from reporting.periods import Period
from reporting.render.console import render_console
from reporting.render.delimited import NO_DATA, render_delimited
from reporting.render.feed import render_feed
from reporting.render.html import render_html
from reporting.render.objects import export_result, serialize_result
from reporting.render.php import escape, plain, scalar_text, to_json
from reporting.render.xml import HEAD, render_xml, render_xml_error
from reporting.table import Table, TableMap, Value
from reporting.wording import pretty_period, pretty_range

FORMATS = ("console", "csv", "html", "json", "original", "rss", "tsv", "xml")

_PLAIN = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_XML = "text/xml; charset=utf-8"
_SHEET = "application/vnd.ms-excel"


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What renderers know about the request besides the result."""

    method: str
    report_name: str
    periods: tuple[Period, ...]
    site_id: int
    site_name: str
    base_url: str
    """Of index.php, for links in feeds."""
    now: datetime
    dates: str = ""
    """The date parameter, for the name of a file with several periods."""


def parse_format(parameters: Parameters) -> str:
    """Lower case; xml when missing or empty. Raises ApiError for unknown ones."""
    name = parameters.text("format").lower() or "xml"
    if name not in FORMATS:
        raise ApiError(
            f"Renderer format '{parameters.text('format')}' not valid. Try any of the following instead:"
            f" {', '.join(FORMATS)}."
        )
    return name


_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.]*(\[[0-9]+\])?")


def _callback(parameters: Parameters) -> str:
    """`callback` or `jsoncallback` when it is a name; anything else is ignored."""
    name = parameters.text("callback") or parameters.text("jsoncallback")
    return name if _CALLBACK.fullmatch(name) else ""


def _json_response(value: object, parameters: Parameters, status: int) -> Response:
    body, callback = to_json(value), _callback(parameters)
    if callback:
        return Response(status, "application/javascript; charset=utf-8", f"{callback}({body})".encode())
    return Response(status, "application/json; charset=utf-8", body.encode())


def render_error(error: ApiError, format_name: str, parameters: Parameters) -> Response:
    """`format_name` may be one that doesn't exist: then the message is plain text."""
    message, status = escape(error.message), error.status
    match format_name:
        case "json":
            return _json_response({"result": "error", "message": message}, parameters, status)
        case "xml":
            return Response(status, _XML, render_xml_error(message).encode())
        case "csv" | "tsv":
            return Response(status, _HTML, f"Error: {message}".encode())
        case "html":
            return Response(status, _PLAIN, message.replace("\n", "<br />\n").encode())
        case "original":
            return Response(
                500 if status == 200 else status, "text/html; charset=UTF-8", error.message.encode()
            )
        case _:
            return Response(status, _PLAIN, f"Error: {message}".encode())


def _render_success(format_name: str, parameters: Parameters) -> Response:
    """What methods that only do something answer."""
    match format_name:
        case "json":
            return _json_response({"result": "success", "message": "ok"}, parameters, 200)
        case "xml":
            return Response(200, _XML, (HEAD + '<result>\n\t<success message="ok" />\n</result>').encode())
        case "csv" | "tsv":
            return Response(200, _SHEET, b"message\nok")
        case "html":
            return Response(200, _HTML, b"Success: ok")
        case _:
            return Response(200, _PLAIN, b"Success:ok")


def render(value: Value, format_name: str, parameters: Parameters, scene: Scene) -> Response:
    """None is success without a result. Raises ApiError when the format cannot show the structure."""
    if value is None:
        return _render_success(format_name, parameters)
    language = parameters.text("language") or "en"
    translate = parameters.flag("translateColumnNames")
    match format_name:
        case "json":
            shown = plain(value)
            return _json_response(
                shown if isinstance(shown, (dict, list)) else {"value": shown}, parameters, 200
            )
        case "xml":
            return Response(200, _XML, render_xml(value).encode("utf-8", "replace"))
        case "csv" | "tsv":
            text = render_delimited(
                value,
                separator="," if format_name == "csv" else "\t",
                language=language,
                translate=translate,
                metadata=parameters.flag("showMetadata", True),
            )
            unicode = parameters.flag("convertToUnicode", True) and text != NO_DATA
            body = (
                b"\xff\xfe" + text.encode("utf-16-le", "replace")
                if unicode
                else text.encode("utf-8", "replace")
            )
            return Response(200, _SHEET, body, {"Content-Disposition": _file_name(scene, language)})
        case "html":
            shown_table = render_html(
                value, table_id=scene.method.replace(".", "_"), language=language, translate=translate
            )
            return Response(200, _HTML, shown_table.encode("utf-8", "replace"))
        case "rss":
            text = render_feed(
                value,
                site_id=scene.site_id,
                site_name=scene.site_name,
                periods={period.key: period for period in scene.periods},
                base_url=scene.base_url,
                now=scene.now,
            )
            return Response(200, _XML, text.encode("utf-8", "replace"))
        case "console":
            return Response(200, _PLAIN, render_console(value).encode("utf-8", "replace"))
        case _:
            return _render_original(value, parameters)


def _render_original(value: Value, parameters: Parameters) -> Response:
    if parameters.flag("serialize"):
        return Response(200, _PLAIN, serialize_result(value).encode("utf-8", "replace"))
    if isinstance(value, (Table, TableMap)):
        return Response(
            200, "text/html; charset=UTF-8", render_html(value, table_id="").encode("utf-8", "replace")
        )
    if isinstance(value, (Mapping, list)):
        return Response(200, _PLAIN, export_result(value).encode("utf-8", "replace"))
    return Response(200, "text/html; charset=UTF-8", scalar_text(value).encode("utf-8", "replace"))


def _file_name(scene: Scene, language: str) -> str:
    name = "Export"
    if scene.periods:
        first, last = scene.periods[0], scene.periods[-1]
        shown = pretty_period(first, language)
        if first != last:
            bounds = re.fullmatch(r"\s*(\d{4}-\d\d-\d\d),(\d{4}-\d\d-\d\d)\s*", scene.dates)
            start, end = first.start, last.end
            if bounds:
                start, end = start.fromisoformat(bounds[1]), end.fromisoformat(bounds[2])
            shown = pretty_range(start, end, language)
        name = f"Export _ {scene.report_name} _ {shown}.csv"
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"

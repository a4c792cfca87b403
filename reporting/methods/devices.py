"""Visits by the visitor's device, system, browser, resolution and plugins."""

import re
from urllib.parse import quote_plus

from device_detector.parser.settings import AVAILABLE_BROWSERS

from reporting.icons import icon
from reporting.method import ApiRequest, Method, ReportShape, Unit
from reporting.methods.breakdown import UNKNOWN, Tables, all_labels, dimension, dimension_shape
from reporting.queries import Labels, read_aggregates
from reporting.rows import Shown, cell_number, number, quotient
from reporting.table import Columns, Row, Table
from reporting.visit_rows import model_name, versioned
from rules.user_agents import (
    DEVICE_TYPES,
    browser_name,
    device_type_name,
    engine_label,
    os_family,
    os_name,
)


def _device_type(labels: Labels) -> Shown:
    at = int(labels[0])
    name = device_type_name(at)
    if at >= len(DEVICE_TYPES):
        return Shown(UNKNOWN, {"logo": icon("devices", "unknown")})
    word = DEVICE_TYPES[at]
    return Shown(
        name,
        {
            "segment": f"deviceType=={quote_plus(word)}",
            "logo": icon("devices", word.replace(" ", "_")),
        },
    )


def _with_every_type(table: Table) -> Table:
    """Types without visits are rows of zero visits."""
    present = {row.label for row in table.rows}
    missing = []
    for at, _ in enumerate(DEVICE_TYPES):
        one = _device_type((str(at),))
        if one.label not in present:
            missing.append(Row({"label": one.label, "nb_visits": 0}, dict(one.metadata)))
    return table.with_rows([*table.rows, *missing])


def _brand(labels: Labels) -> Shown:
    name = labels[0] or UNKNOWN
    return Shown(
        name,
        {"logo": icon("brand", name if labels[0] else ""), "segment": f"deviceBrand=={quote_plus(name)}"},
    )


def _model(labels: Labels) -> Shown:
    brand, model = labels
    label = f"{brand} - {model_name(model)}" if brand else model_name(model)
    return Shown(
        label,
        {"segment": f"deviceBrand=={quote_plus(brand or UNKNOWN)};deviceModel=={quote_plus(model)}"},
    )


def _os_family(labels: Labels) -> Shown:
    return Shown(labels[0], {"logo": icon("os", _FAMILY_ICONS.get(labels[0], ""))})


_FAMILY_ICONS = {
    "Android": "AND", "Windows": "WIN", "Mac": "MAC", "iOS": "IOS", "GNU/Linux": "LIN", "Chrome OS": "COS",
    "BlackBerry": "BLB", "Windows Mobile": "WMO", "Symbian": "SYM", "Unix": "UNX",
}  # fmt: skip


def _os_version(labels: Labels) -> Shown:
    code, version = labels
    return Shown(
        versioned(os_name(code), version),
        {
            "segment": f"operatingSystemCode=={code or 'UNK'};operatingSystemVersion=={quote_plus(version)}",
            "logo": icon("os", code),
        },
    )


def _browser(labels: Labels) -> Shown:
    code = labels[0]
    metadata: Columns = {"logo": icon("browsers", code)}
    if code in AVAILABLE_BROWSERS or code in ("", "UNK"):
        metadata["segment"] = f"browserCode=={quote_plus(code or 'UNK')}"
    return Shown(browser_name(code), metadata)


def _browser_version(labels: Labels) -> Shown:
    code, version = labels
    return Shown(
        versioned(browser_name(code), version),
        {
            "segment": f"browserCode=={quote_plus(code or 'UNK')};browserVersion=={quote_plus(version)}",
            "logo": icon("browsers", code),
        },
    )


def _engine(labels: Labels) -> Shown:
    return Shown(engine_label(labels[0]), {"segment": f"browserEngine=={quote_plus(labels[0])}"})


def _resolution(labels: Labels) -> Shown:
    name = labels[0] or "unknown"
    return Shown(name, {"segment": f"resolution=={quote_plus(name)}"})


def _plausible_resolution(labels: Labels) -> Labels | None:
    name = labels[0]
    return labels if name == "" or (re.fullmatch(r"\d+x\d+", name) and name != "0x0") else None


def _configuration(labels: Labels) -> Shown:
    system, browser, resolution = labels
    return Shown(f"{os_name(system)} / {browser_name(browser)} / {resolution or 'unknown'}")


PLUGINS = ("pdf", "flash", "java", "quicktime", "realplayer", "windowsmedia", "silverlight", "cookie")


async def _plugins(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["plugins", "summary"])
    result = {}
    for cell, groups in data.items():
        counts = {labels[0]: metrics["nb_visits"] for labels, metrics in groups["plugins"].rows.items()}
        visits = groups["summary"].rows.get((), {}).get("nb_visits", 0.0)
        rows = [
            Row(
                {
                    "label": name.capitalize(),
                    "nb_visits": number(counts.get(name, 0.0)),
                    "nb_visits_percentage": quotient(counts.get(name, 0.0), visits, 4),
                }
            )
            for name in PLUGINS
        ]
        rows.sort(key=lambda row: -cell_number(row, "nb_visits"))
        result[cell] = Table(rows if visits else [])
    return result


METHODS: dict[str, Method] = {
    "DevicesDetection.getType": dimension(
        "device_types",
        all_labels,
        _device_type,
        dimension_shape("Device type", "DevicesDetection_DeviceType"),
        _with_every_type,
    ),
    "DevicesDetection.getBrand": dimension(
        "device_brands", all_labels, _brand, dimension_shape("Device brand", "DevicesDetection_DeviceBrand")
    ),
    "DevicesDetection.getModel": dimension(
        "device_models", all_labels, _model, dimension_shape("Device model", "DevicesDetection_DeviceModel")
    ),
    "DevicesDetection.getOsFamilies": dimension(
        "systems",
        lambda labels: (os_family(labels[0]),),
        _os_family,
        dimension_shape("Operating System families", "DevicesDetection_OsFamily"),
        with_goals=False,
    ),
    "DevicesDetection.getOsVersions": dimension(
        "system_versions",
        all_labels,
        _os_version,
        dimension_shape("Operating System versions", "DevicesDetection_OsVersion"),
        with_goals=False,
    ),
    "DevicesDetection.getBrowsers": dimension(
        "browsers", all_labels, _browser, dimension_shape("Browsers", "DevicesDetection_BrowserName")
    ),
    "DevicesDetection.getBrowserVersions": dimension(
        "browser_versions",
        all_labels,
        _browser_version,
        dimension_shape("Browser version", "DevicesDetection_BrowserVersion"),
        with_goals=False,
    ),
    "DevicesDetection.getBrowserEngines": dimension(
        "engines",
        all_labels,
        _engine,
        dimension_shape("Browser engines", "DevicesDetection_BrowserEngine"),
        with_goals=False,
    ),
    "Resolution.getResolution": dimension(
        "resolutions",
        _plausible_resolution,
        _resolution,
        dimension_shape("Resolution", "Resolution_Resolution"),
        with_goals=False,
    ),
    "Resolution.getConfiguration": dimension(
        "configurations",
        all_labels,
        _configuration,
        dimension_shape("Visitor Configuration", "Resolution_Configuration"),
        with_goals=False,
    ),
    "DevicePlugins.getPlugin": Method(
        cells=_plugins,
        shape=ReportShape(
            name="Browser Plugins",
            dimension="DevicePlugins_Plugin",
            units={"nb_visits_percentage": Unit.PERCENT},
        ),
    ),
}

"""The reports that plugins declare (schemas.plugins)."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote_plus

from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.methods.breakdown import all_labels, dimension
from reporting.queries import Labels, read_aggregates
from reporting.rows import Shown, number
from reporting.table import Columns, Row, Table, simple_table
from schemas.plugins import Plugin, PluginDimension, PluginMetric, PluginReport, installed_plugins
from schemas.reports import plugin_key

_UNITS = {"number": Unit.NUMBER, "percent": Unit.PERCENT, "seconds": Unit.SECONDS, "money": Unit.MONEY}
NOT_DEFINED = "Not defined"


def column_of(plugin: Plugin, metric: PluginMetric) -> str:
    return f"{plugin.name}_{metric.name}"


def _columns(plugin: Plugin, metrics: tuple[PluginMetric, ...], values: Mapping[str, float]) -> Columns:
    return {column_of(plugin, one): number(values.get(one.name, 0.0)) for one in metrics}


def _units(plugin: Plugin, metrics: tuple[PluginMetric, ...]) -> dict[str, Unit]:
    return {column_of(plugin, one): _UNITS[one.unit] for one in metrics if one.unit != "number"}


def _dimension(plugin: Plugin, one: PluginDimension) -> Method:
    def shown(labels: Labels) -> Shown:
        text = labels[0]
        metadata: Columns = {"segment": f"{one.segment}=={quote_plus(text)}"} if one.segment else {}
        return Shown(text or NOT_DEFINED, metadata)

    shape = ReportShape(name=one.report_title, dimension=f"{plugin.name}_{one.action.removeprefix('get')}")
    return dimension(plugin_key(plugin, one.action), all_labels, shown, shape)


async def plugin_metrics(request: ApiRequest, plugin: Plugin) -> Mapping[Cell, Columns]:
    """The plugin's plain metrics of every cell, zeros where nothing happened."""
    key = plugin_key(plugin, "get")
    data = await read_aggregates(request, [key])
    return {
        cell: _columns(plugin, plugin.metrics, groups[key].rows.get((), {})) for cell, groups in data.items()
    }


def _get(plugin: Plugin) -> Method:
    async def cells(request: ApiRequest) -> Mapping[Cell, Table]:
        found = await plugin_metrics(request, plugin)
        return {
            cell: simple_table(columns, filled=not any(columns.values())) for cell, columns in found.items()
        }

    shape = ReportShape(name=plugin.name, sort_column="", units=_units(plugin, plugin.metrics))
    return Method(cells=cells, shape=shape)


def _report(plugin: Plugin, report: PluginReport) -> Method:
    key = plugin_key(plugin, report.action)

    async def cells(request: ApiRequest) -> Mapping[Cell, Table]:
        data = await read_aggregates(request, [key])
        result = {}
        for cell, groups in data.items():
            rows = [
                Row({"label": labels[0] or NOT_DEFINED, **_columns(plugin, report.metrics, metrics)})
                for labels, metrics in groups[key].rows.items()
            ]
            result[cell] = Table(rows)
        return result

    shape = ReportShape(
        name=report.report_title,
        dimension=f"{plugin.name}_{report.action.removeprefix('get')}",
        sort_column=column_of(plugin, report.metrics[0]),
        units=_units(plugin, report.metrics),
    )
    return Method(cells=cells, shape=shape)


def methods_of(plugin: Plugin) -> Iterator[tuple[str, Method]]:
    for one in plugin.dimensions:
        yield f"{plugin.name}.{one.action}", _dimension(plugin, one)
    if plugin.metrics:
        yield f"{plugin.name}.get", _get(plugin)
    for report in plugin.reports:
        yield f"{plugin.name}.{report.action}", _report(plugin, report)


METHODS: dict[str, Method] = {
    name: method for plugin in installed_plugins() for name, method in methods_of(plugin)
}

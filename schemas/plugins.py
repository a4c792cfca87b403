"""What another package may add to reports: declarations, found through the entry point `hitstream.plugins`.

A plugin is data. Its SQL is as trusted as the package that brings it; it runs over the row of visits (`v`) or
of actions (`a`), whose columns docs/plugins.md lists. Every process reads the same plugins when it starts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from schemas.metrics import Merge

GROUP = "hitstream.plugins"
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{1,40}")
_ACTION = re.compile(r"get[A-Z][A-Za-z0-9]{0,60}")
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,60}")
_SEGMENT = re.compile(r"[a-z][A-Za-z0-9]{1,40}")

PluginSource = Literal["visits", "actions"]
PluginUnit = Literal["number", "percent", "seconds", "money"]


class PluginError(Exception):
    """A plugin that can't be used; says which one and why."""


@dataclass(frozen=True, kw_only=True)
class PluginDimension:
    """A property of visits: a report with all metrics of visits and goals, and a segment to choose by it."""

    action: str
    """`getPartOfDay`: the report is `<Plugin>.getPartOfDay`."""
    title: str
    """Of the dimension, in the singular: `Part of the day`."""
    report_title: str
    sql: str
    """An expression over `v` that gives the label as text; rows with the same label are one row."""
    segment: str = ""
    """A name for API segments, such as `partOfDay`; empty: none."""
    category: str = "Visitors"
    subcategory: str = ""
    documentation: str = ""


@dataclass(frozen=True, kw_only=True)
class PluginMetric:
    """A number per day: a column `<Plugin>_<name>`."""

    name: str
    title: str
    sql: str
    """An aggregate expression over the report's rows: `countIf(v.duration > 600)`."""
    merge: Merge = "sum"
    """How the days of a period become one number."""
    unit: PluginUnit = "number"
    documentation: str = ""


@dataclass(frozen=True, kw_only=True)
class PluginReport:
    """Rows with metrics of their own."""

    action: str
    title: str
    """Of the dimension."""
    report_title: str
    source: PluginSource
    sql: str
    """An expression over `v` or `a` that gives the label as text."""
    metrics: tuple[PluginMetric, ...]
    """The first one is what rows are sorted by."""
    where: str = ""
    category: str = "Visitors"
    subcategory: str = ""
    documentation: str = ""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What one package adds. `name` is the API module of its reports and the prefix of its metrics."""

    name: str
    dimensions: tuple[PluginDimension, ...] = ()
    metrics: tuple[PluginMetric, ...] = ()
    """Of visits (`v`); `<name>.get` answers them, and they appear in API.get."""
    reports: tuple[PluginReport, ...] = ()


def check_plugin(plugin: object) -> Plugin:
    """The plugin, when its names can be used. Raises PluginError."""
    if not isinstance(plugin, Plugin):
        raise PluginError(f"expected a schemas.plugins.Plugin, found {type(plugin).__name__}")
    if not _NAME.fullmatch(plugin.name):
        raise PluginError(f"{plugin.name!r} is no name for a plugin: letters and digits, first a capital")
    actions = [one.action for one in plugin.dimensions] + [one.action for one in plugin.reports]
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PluginError(f"{plugin.name}: {action!r} is no name for a report, as getSomething is")
    metrics = [one.name for one in plugin.metrics]
    for report in plugin.reports:
        names = [one.name for one in report.metrics]
        if not names or len(set(names)) < len(names):
            raise PluginError(f"{plugin.name}.{report.action} needs metrics of different names")
        metrics += names
    for name in metrics:
        if not _METRIC.fullmatch(name):
            raise PluginError(f"{plugin.name}: {name!r} is no name for a metric, as long_visits is")
    for dimension in plugin.dimensions:
        if dimension.segment and not _SEGMENT.fullmatch(dimension.segment):
            raise PluginError(f"{plugin.name}: {dimension.segment!r} is no name for a segment")
    taken = [*actions, *(one.segment for one in plugin.dimensions if one.segment)]
    if len(set(taken)) < len(taken):
        raise PluginError(f"{plugin.name}: two reports or segments have the same name")
    return plugin


def load_plugins(found: Iterable[EntryPoint]) -> tuple[Plugin, ...]:
    """The plugins of entry points, by name. Raises PluginError that names the entry point."""
    plugins: dict[str, Plugin] = {}
    for entry in sorted(found, key=lambda entry: entry.name):
        try:
            plugin = check_plugin(entry.load())
        except Exception as error:
            raise PluginError(f"the plugin {entry.name} ({entry.value}) can't be used: {error}") from error
        if plugin.name in plugins:
            raise PluginError(f"two plugins are called {plugin.name}; one of them is {entry.value}")
        plugins[plugin.name] = plugin
    return tuple(plugins.values())


@cache
def installed_plugins() -> tuple[Plugin, ...]:
    """Those of the environment, read once per process."""
    return load_plugins(entry_points(group=GROUP))

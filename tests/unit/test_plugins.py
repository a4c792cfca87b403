"""Plugins: what may be declared, and what becomes of it."""

import importlib.util
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from reporting.catalogue import plugin_entries
from reporting.methods import METHODS, with_plugins
from reporting.methods.plugins import methods_of
from schemas.plugins import GROUP, Plugin, PluginError, PluginMetric, check_plugin, load_plugins
from schemas.report_queries import day_sql
from schemas.reports import plugin_aggregates
from schemas.segments import plugin_segments

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "example-plugin" / "hitstream_daytime.py"


def example() -> Plugin:
    spec = importlib.util.spec_from_file_location("hitstream_daytime", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plugin = module.PLUGIN
    assert isinstance(plugin, Plugin)
    return plugin


def test_the_example_becomes_methods_aggregates_segments_and_metadata() -> None:
    plugin = check_plugin(example())
    assert set(dict(methods_of(plugin))) == {"Daytime.getPartOfDay", "Daytime.get", "Daytime.getFileTypes"}
    assert [one.name for one in plugin_aggregates(plugin)] == [
        "plugin_Daytime_getPartOfDay",
        "plugin_Daytime_getPartOfDay_goals",
        "plugin_Daytime_get",
        "plugin_Daytime_getFileTypes",
    ]
    assert [one.name for one in plugin_segments(plugin)] == ["partOfDay"]
    entries = {entry.method: entry for entry in plugin_entries(plugin)}
    assert entries["Daytime.get"].metrics == ("Daytime_long_visits",)
    assert entries["Daytime.getFileTypes"].titles["Daytime_downloads"] == "Downloads"
    assert set(with_plugins(METHODS, dict(methods_of(plugin)))) > set(METHODS)


def test_a_segment_of_a_dimension_speaks_of_bare_columns() -> None:
    """Segments are conditions on a table without alias."""
    (one,) = plugin_segments(example())
    assert "v." not in one.sql
    assert "visitor_hour < 6" in one.sql


def test_a_plain_metric_has_one_row_per_day() -> None:
    aggregate = next(one for one in plugin_aggregates(example()) if one.name == "plugin_Daytime_get")
    assert "GROUP BY date" in day_sql(aggregate)
    assert "toFloat64(countIf(v.duration >= 600)) AS long_visits" in day_sql(aggregate)


@pytest.mark.parametrize(
    ("plugin", "complaint"),
    [
        (object(), "expected a schemas.plugins.Plugin"),
        (replace(example(), name="day time"), "no name for a plugin"),
        (replace(example(), metrics=(PluginMetric(name="X y", title="X", sql="1"),)), "no name for a metric"),
        (replace(example(), dimensions=(replace(example().dimensions[0], action="PartOfDay"),)), "no name"),
        (replace(example(), dimensions=example().dimensions * 2), "the same name"),
        (replace(example(), reports=(replace(example().reports[0], metrics=()),)), "needs metrics"),
    ],
)  # fmt: skip
def test_a_wrong_plugin_is_refused_with_the_reason(plugin: object, complaint: str) -> None:
    with pytest.raises(PluginError, match=complaint):
        check_plugin(plugin)


def test_a_plugin_can_not_take_a_module_of_ours() -> None:
    taken = dict(methods_of(replace(example(), name="Actions")))
    with pytest.raises(PluginError, match="needs another name"):
        with_plugins(METHODS, taken)


def test_an_entry_point_that_can_not_be_loaded_is_named() -> None:
    broken = EntryPoint(name="broken", value="no_such_module:PLUGIN", group=GROUP)
    with pytest.raises(PluginError, match=r"broken \(no_such_module:PLUGIN\)"):
        load_plugins([broken])

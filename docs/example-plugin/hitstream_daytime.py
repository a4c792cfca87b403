"""An example of a plugin: one dimension, one metric, one report (docs/plugins.md)."""

from schemas.plugins import Plugin, PluginDimension, PluginMetric, PluginReport

PLUGIN = Plugin(
    name="Daytime",
    dimensions=(
        PluginDimension(
            action="getPartOfDay",
            title="Part of the day",
            report_title="Parts of the day",
            sql="multiIf(v.visitor_hour < 6, 'night', v.visitor_hour < 12, 'morning',"
            " v.visitor_hour < 18, 'afternoon', 'evening')",
            segment="partOfDay",
            category="Daytime",
            subcategory="Times",
            documentation="Visits by the part of the visitor's day in which they began.",
        ),
    ),
    metrics=(
        PluginMetric(
            name="long_visits",
            title="Visits of ten minutes or more",
            sql="countIf(v.duration >= 600)",
            documentation="Visits that lasted ten minutes or more.",
        ),
    ),
    reports=(
        PluginReport(
            action="getFileTypes",
            title="File type",
            report_title="Downloads by file type",
            source="actions",
            sql="lower(extract(a.url, '[.]([A-Za-z0-9]+)$'))",
            where="a.kind = 3",
            metrics=(
                PluginMetric(name="downloads", title="Downloads", sql="count()"),
                PluginMetric(name="visits", title="Visits with downloads", sql="uniqExact(a.visit_id)"),
            ),
            category="Actions",
            subcategory="Downloads",
            documentation="Which kinds of files visitors loaded.",
        ),
    ),
)

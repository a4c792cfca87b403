"""RSS: one item per date of one site, newest first."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from reporting.errors import ApiError
from reporting.periods import Period
from reporting.render.html import html_cell
from reporting.render.php import escape, scalar_text
from reporting.render.shape import as_table
from reporting.table import Table, TableMap, Value

_REFUSED = (
    "RSS feeds can be generated for one specific website &idSite=X.\n"
    "Please specify only one idSite or consider using &format=XML instead."
)


def render_feed(
    value: Value, *, site_id: int, site_name: str, periods: Mapping[str, Period], base_url: str, now: datetime
) -> str:
    """Raises ApiError for anything but a date map. `periods` are keyed as the map is."""
    if not isinstance(value, TableMap) or value.key_name not in ("date", "period"):
        raise ApiError(_REFUSED)
    moment = format_datetime(now)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<rss version="2.0">',
        "  <channel>",
        "    <title>matomo statistics - RSS</title>",
        "    <link>https://matomo.org</link>",
        "    <description>Matomo RSS feed</description>",
        f"    <pubDate>{moment}</pubDate>",
        "    <generator>matomo</generator>",
        "    <language>en</language>",
        f"    <lastBuildDate>{moment}</lastBuildDate>",
    ]
    for key, item in reversed(value.items.items()):
        period = periods[key]
        day = datetime(period.start.year, period.start.month, period.start.day, tzinfo=now.tzinfo)
        link = escape(
            f"{base_url}?module=CoreHome&action=index&idSite={site_id}&period={period.kind}"
            f"&date={period.start.isoformat()}"
        )
        empty = isinstance(item, Table) and item.filled
        lines += [
            "\t<item>",
            f"\t\t<pubDate>{format_datetime(day)}</pubDate>",
            f"\t\t<guid>{link}</guid>",
            f"\t\t<link>{link}</link>",
            f"\t\t<title>{escape(site_name)} on {escape(key)}</title>",
            "\t\t<author>https://matomo.org</author>",
            f"\t\t<description>{escape(_table(Table() if empty else as_table(item)))}</description>",
            "\t</item>",
        ]
    lines += ["\t</channel>", "</rss>"]
    return "\n".join(lines)


def _cell(value: Value) -> str:
    """Texts are escaped once, with the whole description."""
    return html_cell(value) if isinstance(value, (Mapping, list, Table, TableMap)) else scalar_text(value)


def _table(table: Table) -> str:
    if not len(table):
        return "<strong><em>Empty table</em></strong><br />"
    names = list(dict.fromkeys(name for row in table for name in row.columns))
    head = "".join(f"\t<td><strong>{escape(name)}</strong></td>" for name in names)
    body = []
    for row in table:
        cells = (row.columns.get(name) for name in names)
        body.append("".join(f"\t<td>{'-' if cell is None else _cell(cell)}</td>" for cell in cells))
    rows = "".join(f"<tr>{line}</tr>" for line in body)
    return f"<table border=1 width=70%><tr>{head}</tr>{rows}</table>"

"""The formats of answers, to the byte where clients depend on it."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import ApiError
from reporting.parameters import Parameters, parse_query
from reporting.periods import Period
from reporting.render import Response, Scene, parse_format, render, render_error
from reporting.render.objects import export_result, serialize_result
from reporting.render.php import float_text, serialize, to_json, var_export
from reporting.table import Row, Table, TableMap, Value, simple_table, single_value

DAY = Period("day", date(2010, 1, 5), date(2010, 1, 5))


def scene(**changes: Any) -> Scene:
    values: dict[str, Any] = {
        "method": "VisitsSummary.get", "report_name": "Visits Summary", "periods": (DAY,), "site_id": 1,
        "site_name": "Shop & Co", "base_url": "http://stats.example/",
        "now": datetime(2026, 1, 2, tzinfo=UTC),
    }  # fmt: skip
    return Scene(**{**values, **changes})


def shown(value: Value, format_name: str, scene_: Scene | None = None, **parameters: str) -> Response:
    return render(value, format_name, Parameters(parameters), scene_ or scene())


def text(value: Value, format_name: str, **parameters: str) -> str:
    body = shown(value, format_name, **parameters).body
    return body.decode("utf-16" if body.startswith(b"\xff\xfe") else "utf-8")


SUMMARY = simple_table({"nb_visits": 7, "bounce_rate": "14%"})
REPORT = Table(
    [
        Row({"label": 'a "b", c', "nb_visits": 2}, {"segment": "x==1;y==2"}, None, 3),
        Row({"label": "<é>", "goals": {"idgoal=1": {"revenue": 1.0}}, "empty": None}, {"url": "http://a/b"}),
    ]
)


def test_a_one_row_report_is_an_object() -> None:
    assert text(SUMMARY, "json") == '{"nb_visits":7,"bounce_rate":"14%"}'
    assert text(SUMMARY, "xml") == (
        '<?xml version="1.0" encoding="utf-8" ?>\n'
        "<result>\n\t<nb_visits>7</nb_visits>\n\t<bounce_rate>14%</bounce_rate>\n</result>"
    )
    assert text(SUMMARY, "csv") == "nb_visits,bounce_rate\n7,14%"


def test_one_number_is_a_bare_value() -> None:
    value = single_value("nb_visits", 7)
    assert text(value, "json") == '{"value":7}'
    assert text(value, "xml").endswith("<result>7</result>")
    assert text(value, "csv") == "value\n7"
    assert "<th>nb_visits</th>" in text(value, "html")


def test_a_report_of_rows_in_json() -> None:
    assert text(REPORT, "json") == (
        '[{"label":"a \\"b\\", c","nb_visits":2,"segment":"x==1;y==2","idsubdatatable":3},'
        '{"label":"<\\u00e9>","goals":{"idgoal=1":{"revenue":1}},"empty":null,"url":"http:\\/\\/a\\/b"}]'
    )


def test_a_report_of_rows_in_xml() -> None:
    assert text(REPORT, "xml").splitlines()[1:] == [
        "<result>",
        "\t<row>",
        "\t\t<label>a &quot;b&quot;, c</label>",
        "\t\t<nb_visits>2</nb_visits>",
        "\t\t<segment>x==1;y==2</segment>",
        "\t\t<idsubdatatable>3</idsubdatatable>",
        "\t</row>",
        "\t<row>",
        "\t\t<label>&lt;é&gt;</label>",
        "\t\t<goals>",
        "\t\t\t<row idgoal='1'>",
        "\t\t\t\t<revenue>1</revenue>",
        "\t\t\t</row>",
        "\t\t</goals>",
        "\t\t<empty />",
        "\t\t<url>http://a/b</url>",
        "\t</row>",
        "</result>",
    ]


def test_a_report_of_rows_in_csv_quotes_commas_quotes_and_semicolons() -> None:
    assert text(REPORT, "csv").splitlines() == [
        "label,nb_visits,metadata_segment,goals_idgoal=1_revenue,empty,metadata_url",
        '"a ""b"", c",2,"x==1;y==2",,,',
        "<é>,,,1,,http://a/b",
    ]


def test_csv_is_utf_16_unless_asked_otherwise() -> None:
    assert shown(REPORT, "csv").body.startswith(b"\xff\xfel\x00a\x00")
    assert shown(REPORT, "csv", convertToUnicode="0").body.startswith(b"label,")
    assert shown(Table(), "csv").body == b"No data available"


def test_csv_runs_no_formula_in_a_spreadsheet() -> None:
    value = Table([Row({"label": "=HYPERLINK(1)", "change": "-50%", "up": "+400%"})])
    assert text(value, "csv").splitlines()[1] == "'=HYPERLINK(1),-50%,+400%"


def test_html_shows_missing_cells_and_metadata() -> None:
    lines = [line.strip() for line in text(REPORT, "html").splitlines()]
    assert lines[0] == '<table id="VisitsSummary_get" border="1">'
    assert "<td>a &quot;b&quot;, c</td>" in lines
    assert "<td>'segment' =&gt; 'x==1;y==2'</td>" in lines
    assert lines[-7:-3] == [")</pre></td>", "<td>-</td>", "<td>'url' =&gt; 'http://a/b'</td>", "<td>-</td>"]
    assert "<script>" not in text(Table([Row({"label": "<script>"})]), "html")


def test_file_names_say_report_and_date() -> None:
    header = shown(SUMMARY, "tsv").headers["Content-Disposition"]
    name = "Export%20_%20Visits%20Summary%20_%20Tuesday%2C%20January%205%2C%202010.csv"
    assert header == f"attachment; filename*=UTF-8''{name}"
    plain = shown([1], "csv", scene(periods=()))
    assert plain.headers["Content-Disposition"] == "attachment; filename*=UTF-8''Export"


def days(**items: Value) -> TableMap:
    return TableMap("date", {f"2010-01-0{key[1]}": item for key, item in items.items()})


def test_an_empty_date_in_a_map_is_empty_though_alone_it_is_zeros() -> None:
    zero = simple_table({"nb_visits": 0, "x": 0}, filled=True)
    value = days(d4=SUMMARY, d5=zero)
    assert text(zero, "json") == '{"nb_visits":0,"x":0}'
    assert text(value, "json") == '{"2010-01-04":{"nb_visits":7,"bounce_rate":"14%"},"2010-01-05":[]}'
    assert text(value, "xml").splitlines()[-2] == '\t<result date="2010-01-05" />'
    assert text(value, "csv") == "date,nb_visits,bounce_rate\n2010-01-04,7,14%"
    assert text(days(d5=zero), "csv") == "date"


def test_a_map_of_numbers() -> None:
    value = days(d4=single_value("nb_visits", 3), d5=single_value("nb_visits", 0, filled=True))
    assert text(value, "json") == '{"2010-01-04":3,"2010-01-05":0}'
    assert text(value, "xml").splitlines()[2:4] == [
        '\t<result date="2010-01-04">3</result>', '\t<result date="2010-01-05" />',
    ]  # fmt: skip
    assert text(value, "csv") == "date,value\n2010-01-04,3\n2010-01-05,0"


def test_two_maps_shift_the_lines_of_later_sites_as_matomo_does() -> None:
    value = TableMap("idSite", {"1": days(d4=SUMMARY), "2": days(d4=SUMMARY)})
    assert text(value, "csv").splitlines() == [
        "idSite,date,nb_visits,bounce_rate", "1,2010-01-04,7,14%", "2,2010-01-04,,7,14%",
    ]  # fmt: skip
    with pytest.raises(ApiError, match="does not work with this combination"):
        shown(value, "html")


def test_lists_and_objects_of_configuration() -> None:
    assert text([1, 2], "json") == "[1,2]"
    assert text([1, 2], "csv") == "1\n2"
    assert text([1], "xml").splitlines()[1:] == ["<result>", "\t<row>1</row>", "</result>"]
    site: Value = {"idsite": 1, "group": "", "active": True}
    assert text(site, "xml").splitlines()[2] == "\t<row>"
    assert text([site], "xml").splitlines()[2:6] == [
        "\t<row>", "\t\t<idsite>1</idsite>", "\t\t<group />", "\t\t<active>1</active>",
    ]  # fmt: skip
    assert text([site], "csv") == "idsite,group,active\n1,,1"
    assert text({"1": site}, "xml").splitlines()[2] == '\t<row key="1">'
    assert text([], "json") == "[]"
    assert text([], "xml").endswith("<result />")
    assert text(None, "json") == '{"result":"success","message":"ok"}'


def test_reports_within_a_structure_stay_reports() -> None:
    value: Value = {
        "label": "x",
        "reportData": days(d4=Table([Row({"nb_visits": 1}, {}, None, 3)]), d5=Table()),
    }
    assert text(value, "xml").splitlines()[2:] == [
        "\t<label>x</label>",
        "\t<reportData>",
        '\t\t<result date="2010-01-04">',
        "\t\t\t<row>",
        "\t\t\t\t<nb_visits>1</nb_visits>",
        "\t\t\t\t<idsubdatatable>3</idsubdatatable>",
        "\t\t\t</row>",
        "\t\t</result>",
        '\t\t<result date="2010-01-05" />',
        "\t</reportData>",
        "</result>",
    ]


def test_columns_that_are_no_tag_names_become_attributes() -> None:
    value = Table([Row({"label": "a", "2": 6})])
    assert text(value, "xml").splitlines()[3:5] == [
        '\t\t<col name="label">a</col>',
        '\t\t<col name="2">6</col>',
    ]


def test_nested_structures_are_refused_where_there_are_only_tables() -> None:
    report: Value = {"website": "Site", "metadata": {"name": "x"}}
    with pytest.raises(ApiError, match="not convertible in the requested format: Only integer keys"):
        shown(report, "csv")
    assert text(report, "original").startswith("array (\n  'website' => 'Site',\n  'metadata' => \n  array (")


def test_feeds_are_for_dates_of_one_site() -> None:
    with pytest.raises(ApiError, match="RSS feeds can be generated for one specific website"):
        shown(SUMMARY, "rss")
    four = Period("day", date(2010, 1, 4), date(2010, 1, 4))
    value = TableMap("date", {"2010-01-04": SUMMARY, "2010-01-05": Table()})
    feed = shown(value, "rss", scene(periods=(four, DAY))).body.decode()
    assert feed.index("on 2010-01-05") < feed.index("on 2010-01-04")
    assert "<title>Shop &amp; Co on 2010-01-04</title>" in feed
    assert "<link>http://stats.example/?module=CoreHome&amp;action=index&amp;idSite=1" in feed
    assert "Empty table" in feed


def test_callbacks_must_be_names() -> None:
    assert text(SUMMARY, "json", callback="a.b").startswith("a.b({")
    assert text(SUMMARY, "json", jsoncallback="jQuery1_2").startswith("jQuery1_2({")
    assert text(SUMMARY, "json", callback="a<b>").startswith("{")
    assert shown(SUMMARY, "json", callback="cb").content_type == "application/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("format_name", "body", "content_type", "status"),
    [
        ("json", '{"result":"error","message":"a &gt; b"}', "application/json; charset=utf-8", 200),
        ("csv", "Error: a &gt; b", "text/html; charset=utf-8", 200),
        ("html", "a &gt; b", "text/plain; charset=utf-8", 200),
        ("console", "Error: a &gt; b", "text/plain; charset=utf-8", 200),
        ("original", "a > b", "text/html; charset=UTF-8", 500),
        ("pdf", "Error: a &gt; b", "text/plain; charset=utf-8", 200),
    ],
)
def test_refusals_in_every_format(format_name: str, body: str, content_type: str, status: int) -> None:
    response = render_error(ApiError("a > b"), format_name, Parameters({}))
    assert (response.body.decode(), response.content_type, response.status) == (body, content_type, status)


def test_a_format_is_named_whatever_its_case_and_unknown_ones_are_refused() -> None:
    assert parse_format(Parameters({"format": "Csv"})) == "csv"
    assert parse_format(Parameters({"format": ""})) == "xml"
    with pytest.raises(ApiError, match="Renderer format 'pdf' not valid"):
        parse_format(Parameters({"format": "pdf"}))


def test_floats_have_the_digits_php_shows() -> None:
    assert float_text(3311.2200000000003, 14) == "3311.22"
    assert float_text(3311.2200000000003, 17) == "3311.2200000000003"
    assert float_text(0.00001, 14) == "1.0E-5"
    assert to_json({"a": 1.0, "b": 0.5}) == '{"a":1,"b":0.5}'
    assert var_export(1.0) == "1.0"


def test_php_serialisation_counts_bytes() -> None:
    assert serialize({"a": [1, True, None, "é", 1.5]}) == (
        'a:1:{s:1:"a";a:5:{i:0;i:1;i:1;b:1;i:2;N;i:3;s:2:"é";i:4;d:1.5;}}'
    )


def test_var_export_escapes_quotes() -> None:
    assert var_export(["it's \\ fine"]) == "array (\n  0 => 'it\\'s \\\\ fine',\n)"


def test_queries_nest_as_in_php() -> None:
    assert parse_query("urls[0]=a%26b&urls[1]=c&x[]=1&x[]=2&a.b=3&n[k][j]=4&n=&n[k]=5") == {
        "urls": {"0": "a&b", "1": "c"}, "x": {"0": "1", "1": "2"}, "a_b": "3", "n": {"k": "5"},
    }  # fmt: skip


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
rows = st.builds(
    Row,
    st.dictionaries(
        st.text(min_size=1, max_size=10), st.one_of(cells, st.dictionaries(st.text(max_size=5), cells))
    ),
    st.dictionaries(st.text(min_size=1, max_size=10), cells),
    st.none(),
    st.one_of(st.none(), st.integers(min_value=1, max_value=9)),
)


@given(
    st.lists(rows, max_size=4), st.sampled_from(["json", "xml", "csv", "tsv", "html", "console", "original"])
)
def test_no_content_breaks_a_renderer(content: list[Row], format_name: str) -> None:
    response = shown(Table(content), format_name)
    assert response.status == 200
    if format_name == "xml":
        from xml.etree import ElementTree

        ElementTree.fromstring(response.body.decode())


@given(st.text(max_size=200))
def test_no_query_breaks_the_parser(query: str) -> None:
    assert isinstance(parse_query(query), dict)


def test_a_serialized_table_is_what_php_writes_for_its_object() -> None:
    """The text is PHP 8.2's own serialize() of such an object; NUL marks what is protected or private."""
    table = Table([Row({"label": "x", "n": 1.5}, {"a": 1})])
    assert serialize_result(table).replace("\0", "~") == (
        r'O:15:"Piwik\DataTable":4:{s:7:"~*~rows";a:1:{i:0;O:19:"Piwik\DataTable\Row":4:{i:0;i:0;i:1;a:2:'
        r'{s:5:"label";s:1:"x";s:1:"n";d:1.5;}i:2;a:4:{s:15:"maxVisitsSummed";i:0;'
        r's:29:"~Piwik\DataTable\Row~metadata";a:1:{s:1:"a";i:1;}'
        r's:37:"~Piwik\DataTable\Row~isSubtableLoaded";b:0;s:10:"subtableId";N;}i:3;N;}}'
        r's:13:"~*~summaryRow";N;s:11:"~*~metadata";a:0:{}s:12:"~*~totalsRow";N;}'
    )


def test_a_map_of_tables_is_serialized_under_its_keys() -> None:
    shown = serialize_result(TableMap("idSite", {"7": simple_table({"nb_visits": 1})})).replace("\0", "~")
    assert shown.startswith(
        r'O:19:"Piwik\DataTable\Map":2:{s:8:"~*~array";a:1:{i:7;O:22:"Piwik\DataTable\Simple"'
    )
    assert shown.endswith('s:10:"~*~keyName";s:6:"idSite";}')


def test_tables_within_an_exported_array_are_objects_with_numbers() -> None:
    shown = export_result({"first": Table([Row({"label": "x", "n": 2})]), "second": Table(), "plain": [1]})
    lines = shown.splitlines()
    assert lines[:9] == [
        "array (",
        "  'first' => ",
        r"  \Piwik\DataTable::__set_state(array(",
        "     'rows' => ",
        "    array (",
        "      0 => ",
        r"      \Piwik\DataTable\Row::__set_state(array(",
        "         'label' => 'x',",
        "         'n' => 2,",
    ]
    assert [line.strip() for line in lines if "currentId" in line] == [
        "'currentId' => 1,",
        "'currentId' => 2,",
    ]
    assert lines[-4:] == ["  array (", "    0 => 1,", "  ),", ")"]

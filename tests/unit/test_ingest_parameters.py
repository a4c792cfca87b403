"""The table of tracking parameters."""

from schemas import rows
from schemas.hit import Hit
from schemas.parameters import PARAMETERS, Group, Kind

TABLES = {
    "visits": rows.Visit,
    "actions": rows.Action,
    "conversions": rows.Conversion,
    "conversion_items": rows.ConversionItem,
    "hit": Hit,
}


def test_names_are_unique() -> None:
    names = [parameter.name for parameter in PARAMETERS]
    assert len(set(names)) == len(names)


def test_kinds_and_groups_are_known_and_meanings_are_sentences() -> None:
    for parameter in PARAMETERS:
        assert parameter.kind in Kind
        assert parameter.group in Group
        assert not parameter.meaning[0].islower(), parameter.name
        assert parameter.meaning[-1] in ".}", parameter.name


def test_every_group_has_parameters() -> None:
    assert {parameter.group for parameter in PARAMETERS} == set(Group)


def test_values_land_in_columns_that_exist() -> None:
    for parameter in PARAMETERS:
        if parameter.lands_in == "answer":
            continue
        table, _, column = parameter.lands_in.partition(".")
        assert table in TABLES, parameter.name
        assert not column or column in TABLES[table].__struct_fields__, parameter.name


def test_what_needs_authority_is_what_ingest_guards() -> None:
    guarded = {parameter.name for parameter in PARAMETERS if parameter.needs_authority}
    assert guarded == {"cip", "cdt", "cdo", "country", "region", "city", "lat", "long"}

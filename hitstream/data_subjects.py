"""What the Reporting API may ask about single visits: reporting.past.Past over one engine."""

# ruff: noqa: S608 - texts of queries are constants, values are bound parameters

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hitstream.anonymisation import Anonymiser
from hitstream.drain import DrainTimeoutError
from hitstream.engine import Engine
from hitstream.erasure import Subject
from hitstream.past import story_of
from ingest.geolocation import Geolocator
from ingest.intake import SECRET_DAY
from ingest.settings import IngestSettings
from reporting.errors import ApiError
from reporting.past import VisitName
from schemas.anonymisation import Anonymisation
from schemas.hit import format_visitor_id
from schemas.settings import load_settings
from stream.secrets import SaltStore

_KINDS = {
    "visits": "visits", "actions": "actions", "conversions": "conversions",
    "conversion_items": "conversion_items",
}  # fmt: skip


class EnginePast:
    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self._engine, self._data_dir = engine, data_dir

    def delete(self, visits: Collection[VisitName]) -> Mapping[str, int]:
        done = self._engine.eraser.delete([Subject(one.site_id, one.visit_id) for one in visits])
        return {
            "visits": done.visits,
            "hits": done.hits,
            **{name: count for name, count in done.rows.items() if name not in ("visits", "hits")},
        }

    def export(self, visits: Collection[VisitName]) -> Mapping[str, list[dict[str, Any]]]:
        by_site: dict[int, list[int]] = defaultdict(list)
        for one in visits:
            by_site[one.site_id].append(one.visit_id)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*_KINDS, "hits")}
        for site_id, visit_ids in by_site.items():
            for name, table in _KINDS.items():
                query = (
                    "SELECT * EXCEPT (version, is_deleted, inserted_at, owner_less_visitor)"
                    f" FROM {table} FINAL"
                    " WHERE site_id = {site:UInt32} AND visit_id IN {ids:Array(UInt64)} ORDER BY ALL"
                )
                result = self._engine.database.client.query(
                    query,
                    parameters={"site": site_id, "ids": visit_ids},
                    settings={"asterisk_include_alias_columns": 1},
                )
                found[name] += [
                    _readable(dict(zip(result.column_names, row, strict=True))) for row in result.result_rows
                ]
            for stored in self._engine.eraser.hits_of(site_id, visit_ids):
                found["hits"].append(_readable(msgspec.structs.asdict(stored.hit)))
        return found

    def anonymise(self, wish: Anonymisation) -> None:
        engine = self._engine
        locator = Geolocator(load_settings(IngestSettings).geoip_database)
        salts = SaltStore(engine.log)
        try:
            secret = salts.salt(0, SECRET_DAY)
            Anonymiser(
                engine.database,
                engine.eraser,
                engine.log.epoch,
                engine.current_config,
                locator.locate,
                secret,
            ).carry_out(wish)
        finally:
            salts.close()
            locator.close()

    def purge(self) -> None:
        self._engine.retention.step()

    def explain(self, site_id: int, visit_id: int) -> Mapping[str, Any] | None:
        try:
            found = story_of(self._engine, self._data_dir, visit_id)
        except DrainTimeoutError as error:
            raise ApiError(f"Not all raw hits are stored yet: {error}") from None
        return found if found is not None and found["visit"]["site_id"] == site_id else None


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them; ids that JSON readers would round become texts."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("visitor_id", "owner", "config_id"):
            value = format_visitor_id(value)
        elif name in ("hit_id", "visit_id"):
            value = str(value)
        elif name in ("dimensions", "custom_variables"):
            value = {str(key): list(each) if isinstance(each, tuple) else each for key, each in value.items()}
        elif name == "location":
            value = msgspec.structs.asdict(value)
        elif hasattr(value, "isoformat"):
            value = value.isoformat()
        shown[name] = value
    return shown

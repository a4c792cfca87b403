"""A stored hit without what is to be forgotten of it, as if ingest had never been told more."""

from collections.abc import Callable

import msgspec

from ingest.addresses import UNKNOWN_ADDRESS, masked_address
from ingest.privacy import pseudonym
from ingest.query import decode, split_query, with_values
from schemas.anonymisation import ACTION_COLUMNS, VISIT_COLUMNS, Anonymisation
from schemas.hit import Hit, Location

LEAST_MASK_BYTES = 2
PSEUDONYM_DIGITS = 40
_PLACES = ("country", "region", "city", "lat", "long")
_NOWHERE = Location()


def anonymised(
    hit: Hit, wish: Anonymisation, mask_bytes: int, locate: Callable[[str], Location], secret: bytes
) -> Hit:
    """Doing it twice changes nothing more. `mask_bytes`: of addresses, as the settings say; at least two."""
    params = split_query(hit.query)
    values: dict[str, str | None] = {}
    fields: dict[str, str | Location] = {}
    masked = masked_address(hit.ip or UNKNOWN_ADDRESS, max(mask_bytes, LEAST_MASK_BYTES))
    if wish.ip:
        fields["ip"] = masked
        values["cip"] = masked
    if wish.location:
        fields["location"] = locate(masked)
        values |= dict.fromkeys(_PLACES)
    if wish.user_id and hit.user_id and not _is_pseudonym(hit.user_id):
        # Of what the query says, which may be longer than what is stored beside it.
        name = decode(params.get("uid", "")) or hit.user_id
        fields["user_id"] = values["uid"] = pseudonym(name, secret)
    columns = [VISIT_COLUMNS[name] for name in wish.visit_columns]
    columns += [ACTION_COLUMNS[name] for name in wish.action_columns]
    for column in columns:
        values |= dict.fromkeys(column.parameters)
        fields |= dict.fromkeys(column.fields, "")
        if column.location:
            place = fields.get("location", hit.location)
            cleared = {name: getattr(_NOWHERE, name) for name in column.location}
            assert isinstance(place, Location)
            fields["location"] = msgspec.structs.replace(place, **cleared)
    present = {name: value for name, value in values.items() if name in params}
    query = with_values(hit.query, present) if present else hit.query
    return msgspec.structs.replace(hit, query=query, **fields)


def _is_pseudonym(user_id: str) -> bool:
    return len(user_id) == PSEUDONYM_DIGITS and not user_id.strip("0123456789abcdef")

"""SegmentEditor: segments that have a name."""

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from reporting.errors import ApiError, no_access, unknown_site
from reporting.method import Access, ApiRequest, Method
from reporting.segments import parse_segment
from reporting.table import Result, Value
from schemas.config import Config, ConfigEvent, StoredSegment


def segment_columns(segment: StoredSegment) -> dict[str, Value]:
    # Clients use the hash as a cache key; it guards nothing.
    digest = hashlib.md5(unquote(segment.definition).encode(), usedforsecurity=False).hexdigest()
    return {
        "idsegment": segment.segment_id,
        "name": segment.name,
        "definition": segment.definition,
        "hash": digest,
        "login": segment.login,
        "enable_all_users": int(segment.enabled_all_users),
        "enable_only_idsite": segment.site_id,
        "auto_archive": int(segment.auto_archive),
        "ts_created": segment.created_at,
        "ts_last_edit": segment.updated_at or None,
        "deleted": int(segment.deleted),
    }


def _checked_definition(text: str) -> str:
    """Raises ApiError when the definition is no segment; names of dimensions depend on the site."""
    if not text.strip():
        raise ApiError("The definition of a segment must not be empty.")
    parse_segment(text)
    return text.replace("#", "%23").replace("'", "%27").replace("&", "%26")


def _changes(request: ApiRequest) -> dict[str, Any]:
    parameters = request.parameters
    changes: dict[str, Any] = {}
    if "name" in parameters:
        if not parameters.text("name").strip():
            raise ApiError("The name of a segment must not be empty.")
        changes["name"] = parameters.text("name").strip()[:255]
    if "definition" in parameters:
        changes["definition"] = _checked_definition(parameters.text("definition"))
    if "idSite" in parameters:
        site_id = parameters.integer("idSite", 0)
        if site_id and not request.grant.allows("view", site_id):
            raise no_access("view", site_id)
        if site_id and request.config.site(site_id) is None:
            raise unknown_site(str(site_id))
        changes["site_id"] = site_id
    if "autoArchive" in parameters:
        changes["auto_archive"] = parameters.flag("autoArchive")
    if "enabledAllUsers" in parameters:
        everyone = parameters.flag("enabledAllUsers")
        if everyone and not request.grant.superuser:
            raise ApiError("Only a super user may share a segment with all users.", 401)
        changes["enabled_all_users"] = everyone
    return changes


def _at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


def _now(request: ApiRequest) -> str:
    return request.now.strftime("%Y-%m-%d %H:%M:%S")


async def _add(request: ApiRequest) -> Result:
    if request.grant.login == "anonymous":
        raise ApiError("You must be logged in to access this functionality.", 401)
    changes = _changes(request)

    def change(config: Config) -> Sequence[ConfigEvent]:
        draft = StoredSegment(
            segment_id=max(config.segments, default=0) + 1,
            name="",
            definition="",
            login=request.grant.login,
            created_at=_now(request),
        )
        return [ConfigEvent(at=_at(request), segment=msgspec.structs.replace(draft, **changes))]

    config = await request.change(change)
    return max(config.segments)


def _own(request: ApiRequest) -> StoredSegment:
    """The segment of idSegment if the caller may change it. Raises ApiError."""
    segment = _find(request)
    if segment is None:
        raise ApiError(f"The segment with the id {request.parameters.text('idSegment')} does not exist.")
    if segment.login != request.grant.login and not request.grant.superuser:
        raise ApiError(f"The segment '{segment.name}' belongs to another user.", 401)
    return segment


def _find(request: ApiRequest) -> StoredSegment | None:
    segment = request.config.segments.get(request.parameters.integer("idSegment", 0))
    return None if segment is None or segment.deleted else segment


async def _update(request: ApiRequest) -> Result:
    segment = _own(request)
    changes = {**_changes(request), "updated_at": _now(request)}

    def change(_: Config) -> Sequence[ConfigEvent]:
        return [ConfigEvent(at=_at(request), segment=msgspec.structs.replace(segment, **changes))]

    await request.change(change)
    return None


async def _set(request: ApiRequest, **changes: Any) -> Result:
    segment = _own(request)

    def change(_: Config) -> Sequence[ConfigEvent]:
        return [ConfigEvent(at=_at(request), segment=msgspec.structs.replace(segment, **changes))]

    await request.change(change)
    return None


async def _delete(request: ApiRequest) -> Result:
    return await _set(request, deleted=True)


def _visible(request: ApiRequest, segment: StoredSegment) -> bool:
    return request.grant.superuser or segment.enabled_all_users or segment.login == request.grant.login


def _get(request: ApiRequest) -> Result:
    segment = _find(request)
    if segment is None:
        return False
    if not _visible(request, segment):
        raise ApiError(f"The segment '{segment.name}' belongs to another user.", 401)
    return segment_columns(segment)


def _get_all(request: ApiRequest) -> Result:
    """Segments for every site and, with idSite, those of the site; by name."""
    site_id = request.sites[0] if request.sites else None
    found = [
        segment
        for segment in request.config.segments.values()
        if not segment.deleted
        and _visible(request, segment)
        and (site_id is None or segment.site_id in (0, site_id))
    ]
    found.sort(key=lambda segment: segment.name.lower())
    return [segment_columns(segment) for segment in found]


METHODS: dict[str, Method] = {
    "SegmentEditor.add": Method(answer=_add, access=Access.SOME_VIEW, required=("name", "definition")),
    "SegmentEditor.update": Method(
        answer=_update, access=Access.SOME_VIEW, required=("idSegment", "name", "definition")
    ),
    "SegmentEditor.delete": Method(answer=_delete, access=Access.SOME_VIEW, required=("idSegment",)),
    "SegmentEditor.get": Method(answer=_get, access=Access.SOME_VIEW, required=("idSegment",)),
    "SegmentEditor.getAll": Method(
        answer=_get_all, access=Access.VIEW, takes_sites=True, site_optional=True, several_sites=False
    ),
    "SegmentEditor.isUserCanAddNewSegment": Method(
        answer=lambda request: request.grant.login != "anonymous", takes_sites=True, several_sites=False
    ),
}

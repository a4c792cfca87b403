"""CustomDimensions: which dimensions a site has."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import re2

from reporting.errors import ApiError, no_access
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.table import Result, Value
from schemas.access import Role
from schemas.config import Config, ConfigEvent, Dimension, Extraction

SCOPES = ("visit", "action")
EXTRACTION_SOURCES: Mapping[str, str] = {
    "url": "Page URL", "urlparam": "Page URL Parameter", "action_name": "Page Title",
}  # fmt: skip
CAPACITY = 5
"""Dimensions per scope and site that Matomo offers; more may be made."""


def dimension_columns(dimension: Dimension) -> dict[str, Value]:
    """Numbers are texts here, as Matomo has them."""
    return {
        "idcustomdimension": str(dimension.dimension_id),
        "idsite": str(dimension.site_id),
        "name": dimension.name,
        "index": str(dimension.index),
        "scope": dimension.scope,
        "active": dimension.active,
        "extractions": [
            {"dimension": extraction.dimension, "pattern": extraction.pattern}
            for extraction in dimension.extractions
        ],
        "case_sensitive": dimension.case_sensitive,
    }


def parse_extractions(parameters: Parameters) -> tuple[Extraction, ...]:
    """`extractions[0][dimension]=url&extractions[0][pattern]=...`. Raises ApiError."""
    found: list[Extraction] = []
    for entry in parameters.nested("extractions").values():
        if not isinstance(entry, Mapping):
            raise ApiError("An extraction needs a dimension and a pattern.")
        source, pattern = str(entry.get("dimension", "")), str(entry.get("pattern", ""))
        if not source and not pattern:
            continue
        if source not in EXTRACTION_SOURCES:
            raise ApiError(
                f"'{source}' is no source of an extraction: expected {', '.join(EXTRACTION_SOURCES)}."
            )
        if not pattern:
            raise ApiError("The pattern of an extraction must not be empty.")
        if source != "urlparam":
            _check_expression(pattern)
        found.append(Extraction(source, pattern))
    return tuple(found)


def _check_expression(pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ApiError(f"The extraction '{pattern}' is not valid: {error}") from None
    if compiled.groups != 1:
        raise ApiError(
            f"The extraction '{pattern}' has {compiled.groups} groups: expected exactly one, for example"
            " /(.{2})/page."
        )


def _changes(parameters: Parameters) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "name" in parameters:
        name = parameters.text("name").strip()
        if not name:
            raise ApiError("The name of a custom dimension must not be empty.")
        if any(mark in name for mark in "./\\&<>\"'"):
            raise ApiError("The name of a custom dimension may not contain any of . / \\ & < > \" '.")
        changes["name"] = name[:255]
    if "active" in parameters:
        changes["active"] = parameters.flag("active")
    if "caseSensitive" in parameters:
        changes["case_sensitive"] = parameters.flag("caseSensitive", True)
    if "extractions" in parameters:
        changes["extractions"] = parse_extractions(parameters)
    return changes


def _at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


async def _add(request: ApiRequest) -> Result:
    scope = request.parameters.text("scope")
    if scope not in SCOPES:
        raise ApiError(
            f"Invalid value '{scope}' for 'scope' specified. Available scopes are: {', '.join(SCOPES)}"
        )
    chosen: Literal["visit", "action"] = "visit" if scope == "visit" else "action"
    changes = _changes(request.parameters)
    if chosen == "visit" and changes.get("extractions"):
        raise ApiError("Extractions can be used only in scope 'action'.")

    def change(config: Config) -> Sequence[ConfigEvent]:
        held = config.dimensions.get(request.site_id, {})
        draft = Dimension(
            site_id=request.site_id,
            dimension_id=max(held, default=0) + 1,
            index=max((one.index for one in held.values() if one.scope == chosen), default=0) + 1,
            scope=chosen,
            name="",
            active=False,
        )
        return [ConfigEvent(at=_at(request), dimension=msgspec.structs.replace(draft, **changes))]

    config = await request.change(change)
    return max(config.dimensions[request.site_id])


def wanted_dimension(request: ApiRequest) -> Dimension:
    """The dimension of idDimension. Raises ApiError."""
    dimension_id = request.parameters.integer("idDimension", 0)
    dimension = request.config.dimensions.get(request.site_id, {}).get(dimension_id)
    if dimension is None:
        raise ApiError(f"Dimension {dimension_id} for website {request.site_id} does not exist.")
    return dimension


async def _update(request: ApiRequest) -> Result:
    dimension = wanted_dimension(request)
    changes = _changes(request.parameters)
    if dimension.scope == "visit" and changes.get("extractions"):
        raise ApiError("Extractions can be used only in scope 'action'.")

    def change(config: Config) -> Sequence[ConfigEvent]:
        newest = config.dimensions[request.site_id][dimension.dimension_id]
        return [ConfigEvent(at=_at(request), dimension=msgspec.structs.replace(newest, **changes))]

    await request.change(change)
    return None


def _held(request: ApiRequest, role: Role) -> Mapping[int, Dimension]:
    """The dimensions of idSite; none for a site that does not exist, which only a super user may ask for."""
    site_id = request.parameters.integer("idSite", 0)
    if not request.grant.allows(role, site_id):
        raise no_access(role, site_id)
    return request.config.dimensions.get(site_id, {})


def _configured(request: ApiRequest) -> Result:
    held = _held(request, "view")
    return [dimension_columns(dimension) for _, dimension in sorted(held.items())]


def _having_scope(request: ApiRequest) -> Result:
    """The active ones of a scope."""
    scope = request.parameters.text("scope")
    held = _held(request, "view")
    return [dimension_columns(one) for _, one in sorted(held.items()) if one.scope == scope and one.active]


def _scopes(request: ApiRequest) -> Result:
    held = _held(request, "write").values()
    shown: list[Value] = []
    for scope in SCOPES:
        used = sum(one.scope == scope for one in held)
        shown.append(
            {
                "value": scope,
                "name": scope.capitalize(),
                "numSlotsAvailable": CAPACITY,
                "numSlotsUsed": used,
                "numSlotsLeft": max(0, CAPACITY - used),
                "supportsExtractions": scope == "action",
            }
        )
    return shown


def _sources(_: ApiRequest) -> Result:
    return [{"value": value, "name": name} for value, name in EXTRACTION_SOURCES.items()]


def _method(answer: Any, access: Access = Access.VIEW, required: tuple[str, ...] = ()) -> Method:
    return Method(answer=answer, access=access, takes_sites=True, several_sites=False, required=required)


def _of_any_site(answer: Any, *required: str) -> Method:
    """`answer` checks the access itself."""
    return Method(answer=answer, access=Access.NONE, required=("idSite", *required))


METHODS: dict[str, Method] = {
    "CustomDimensions.configureNewCustomDimension": _method(_add, Access.WRITE, ("name", "scope")),
    "CustomDimensions.configureExistingCustomDimension": Method(
        answer=_update, access=Access.WRITE, takes_sites=True, several_sites=False,
        required=("idDimension",),
    ),
    "CustomDimensions.getConfiguredCustomDimensions": _of_any_site(_configured),
    "CustomDimensions.getConfiguredCustomDimensionsHavingScope": _of_any_site(_having_scope, "scope"),
    "CustomDimensions.getAvailableScopes": _of_any_site(_scopes),
    "CustomDimensions.getAvailableExtractionDimensions": Method(answer=_sources, access=Access.SOME_VIEW),
}  # fmt: skip

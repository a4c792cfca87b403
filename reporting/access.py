"""What a grant allows on the sites of a request, and the refusals when it doesn't."""

from collections.abc import Iterable

from reporting.errors import ApiError, no_access
from schemas.access import Grant, Role

ANONYMOUS = Grant(login="anonymous")
"""Who sends no token, until that login is given rights."""


def sites_with(grant: Grant, role: Role, site_ids: Iterable[int]) -> tuple[int, ...]:
    """Those of `site_ids` for which the grant has at least `role`, in their order."""
    return tuple(site_id for site_id in site_ids if grant.allows(role, site_id))


def require_on_sites(grant: Grant, role: Role, site_ids: Iterable[int]) -> None:
    """Raises ApiError 401 that names the first site without the right."""
    for site_id in site_ids:
        if not grant.allows(role, site_id):
            raise no_access(role, site_id)


def require_superuser(grant: Grant) -> None:
    if not grant.superuser:
        raise ApiError("You can't access this resource as it requires a 'superuser' access.", 401)


def require_somewhere(grant: Grant, role: Role) -> None:
    """At least one site with the role."""
    if grant.superuser or any(grant.allows(role, site_id) for site_id in grant.roles):
        return
    raise ApiError(
        f"You can't access this resource as it requires {role} access for at least one website.", 401
    )

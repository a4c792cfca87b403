"""Who asks, and what they may see: pure decisions on a grant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reporting.errors import ApiError, no_access

RANK: Mapping[str, int] = {"noaccess": 0, "view": 1, "write": 2, "admin": 3, "superuser": 4}


@dataclass(frozen=True)
class Grant:
    """The rights of a request. `roles` maps a site id to view, write or admin."""

    login: str = "anonymous"
    superuser: bool = False
    roles: Mapping[int, str] = field(default_factory=dict)

    def may(self, role: str, site_id: int) -> bool:
        return self.superuser or RANK[self.roles.get(site_id, "noaccess")] >= RANK[role]

    def sites_with(self, role: str, site_ids: Iterable[int]) -> tuple[int, ...]:
        """Those of `site_ids` for which the grant has at least `role`, in their order."""
        return tuple(site_id for site_id in site_ids if self.may(role, site_id))


ANONYMOUS = Grant()


def require_on_sites(grant: Grant, role: str, site_ids: Iterable[int]) -> None:
    """Raises ApiError 401 that names the first site without the right."""
    for site_id in site_ids:
        if not grant.may(role, site_id):
            raise no_access(role, site_id)


def require_superuser(grant: Grant) -> None:
    if not grant.superuser:
        raise ApiError("You can't access this resource as it requires a 'superuser' access.", 401)


def require_somewhere(grant: Grant, role: str) -> None:
    """At least one site with the role."""
    if grant.superuser or any(RANK[held] >= RANK[role] for held in grant.roles.values()):
        return
    raise ApiError(
        f"You can't access this resource as it requires {role} access for at least one website.", 401
    )

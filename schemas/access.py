"""Who may do what: the grant behind a token."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Role = Literal["view", "write", "admin"]
"""Each role includes those before it."""

_RANKS: Mapping[str, int] = {"view": 1, "write": 2, "admin": 3}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a token may do. JSON in the store of tokens; unknown fields are ignored."""

    login: str
    superuser: bool = False
    """Every role on every site, and what is not of one site."""
    roles: dict[int, Role] = {}
    """site_id -> role; absent: none."""
    created_at: int = 0
    """Unix seconds."""
    expires_at: int = 0
    """Unix seconds from which the token is unknown; 0: never."""

    def allows(self, role: Role, site_id: int) -> bool:
        """Whether the grant includes `role` on the site."""
        return self.superuser or _RANKS.get(self.roles.get(site_id, ""), 0) >= _RANKS[role]


encode_grant = msgspec.json.Encoder().encode
decode_grant = msgspec.json.Decoder(Grant).decode

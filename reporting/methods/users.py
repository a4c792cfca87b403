"""UsersManager: who may see and change what, and the tokens they use."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from reporting.errors import ApiError, no_access, unknown_site
from reporting.method import Access, ApiRequest, Method
from reporting.methods.sites import known_sites
from reporting.table import Result, Value
from schemas.access import Grant, Role
from stream.secrets import TokenStore
from stream.users import ANONYMOUS, User, UserStore, hash_password, password_matches

_LOGIN = re.compile(r"[A-Za-zÄäÖöÜüß0-9_.@+-]{2,100}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost")
_ROLES: Mapping[str, Role] = {"view": "view", "write": "write", "admin": "admin"}


def _store(request: ApiRequest) -> UserStore:
    store: UserStore = request.state["users"]
    return store


def _tokens(request: ApiRequest) -> TokenStore:
    store: TokenStore = request.state["tokens"]
    return store


async def _run(work: Any, *values: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work, *values)


def _existing(request: ApiRequest, login: str) -> User:
    """Raises ApiError. The anonymous user always exists."""
    user = _store(request).find(login)
    if user is not None:
        return user
    if login == ANONYMOUS:
        return User(login=ANONYMOUS, email="anonymous@example.org")
    raise ApiError(f"User '{login}' doesn't exist.")


def _user_columns(user: User, *, whole: bool) -> dict[str, Value]:
    columns: dict[str, Value] = {
        "login": user.login,
        "email": user.email,
        "superuser_access": int(user.superuser),
        "date_registered": user.registered_at,
    }
    return columns if whole else {"login": user.login}


def _all_users(request: ApiRequest) -> list[User]:
    """Stored users; the owner of the admin token and anonymous, too."""
    users = dict(_store(request).all())
    users.setdefault(ANONYMOUS, User(login=ANONYMOUS, email="anonymous@example.org"))
    for grant in _tokens(request).grants():
        users.setdefault(grant.login, User(login=grant.login, superuser=grant.superuser, roles=grant.roles))
    return [users[login] for login in sorted(users)]


async def _add_user(request: ApiRequest) -> Result:
    parameters = request.parameters
    login, password, email = (parameters.required(name) for name in ("userLogin", "password", "email"))
    if not _LOGIN.fullmatch(login) or login == ANONYMOUS:
        raise ApiError(
            f"The login '{login}' is not valid: 2 to 100 letters, digits and the characters _ . @ + - are"
            " allowed."
        )
    if not _EMAIL.fullmatch(email):
        raise ApiError(f"The email '{email}' doesn't have a valid format.")
    if len(password) < 6:
        raise ApiError("The password is too short: at least 6 characters are needed.")
    store = _store(request)
    if store.find(login) is not None:
        raise ApiError(f"The username '{login}' already exists.")
    if any(user.email.lower() == email.lower() for user in store.all().values()):
        raise ApiError(f"The user with the email '{email}' already exists.")
    roles: dict[int, Role] = {}
    site_id = parameters.integer("initialIdSite")
    if site_id:
        _check_manages(request, (site_id,))
        roles[site_id] = "view"
    elif not request.grant.superuser:
        raise ApiError("Please specify a value for 'initialIdSite'.")
    hashed = await _run(hash_password, password)
    user = User(
        login=login,
        email=email,
        password=hashed,
        roles=roles,
        registered_at=request.now.strftime("%Y-%m-%d %H:%M:%S"),
    )
    await _run(store.put, user)
    return None


async def _update_user(request: ApiRequest) -> Result:
    """A user changes the own address and password; a super user everybody's."""
    parameters = request.parameters
    user = _existing(request, parameters.required("userLogin"))
    own = user.login == request.grant.login
    if not own and not request.grant.superuser:
        raise ApiError(f"The user has to be either a Super User or the user '{user.login}' itself.", 401)
    if own and not request.grant.superuser:
        given = parameters.text("passwordConfirmation")
        if not await _run(password_matches, user.password, given):
            raise ApiError("The current password you entered is not correct.", 401)
    changes: dict[str, Any] = {}
    if email := parameters.text("email"):
        if not _EMAIL.fullmatch(email):
            raise ApiError(f"The email '{email}' doesn't have a valid format.")
        changes["email"] = email
    if password := parameters.text("password"):
        if len(password) < 6:
            raise ApiError("The password is too short: at least 6 characters are needed.")
        changes["password"] = await _run(hash_password, password)
    await _run(_store(request).put, msgspec.structs.replace(user, **changes))
    return None


async def _delete_user(request: ApiRequest) -> Result:
    user = _existing(request, request.parameters.required("userLogin"))
    if user.login == ANONYMOUS:
        raise ApiError("The anonymous user cannot be deleted.")
    await _run(_store(request).remove, user.login)
    return None


def _check_manages(request: ApiRequest, site_ids: tuple[int, ...]) -> None:
    """Raises ApiError unless the caller is admin of all these sites, which exist."""
    for site_id in site_ids:
        if not request.grant.allows("admin", site_id):
            raise no_access("admin", site_id)
        if request.config.site(site_id) is None:
            raise unknown_site(str(site_id))


def _site_ids(request: ApiRequest, name: str) -> tuple[int, ...]:
    texts = request.parameters.comma_list(name)
    if "all" in texts:
        return tuple(site.site_id for site in known_sites(request.config))
    ids = tuple(dict.fromkeys(int(text) for text in texts if text.isdecimal() and len(text) < 10))
    if not ids:
        raise ApiError(f"Please specify a value for '{name}'.")
    return ids


async def _set_access(request: ApiRequest) -> Result:
    parameters = request.parameters
    user = _existing(request, parameters.required("userLogin"))
    access = parameters.comma_list("access")[:1]
    chosen = access[0] if access else ""
    if chosen not in (*_ROLES, "noaccess"):
        raise ApiError(f"The access '{chosen}' is unknown: expected noaccess, view, write or admin.")
    if user.login == ANONYMOUS and chosen not in ("noaccess", "view"):
        raise ApiError("The anonymous user may have no more than 'view' access.")
    if user.superuser:
        raise ApiError(f"User '{user.login}' is a super user, who has access to all sites.")
    site_ids = _site_ids(request, "idSites")
    _check_manages(request, site_ids)
    roles = {site_id: role for site_id, role in user.roles.items() if site_id not in site_ids}
    if chosen in _ROLES:
        roles |= dict.fromkeys(site_ids, _ROLES[chosen])
    await _run(_store(request).put, msgspec.structs.replace(user, roles=roles))
    return None


async def _set_superuser(request: ApiRequest) -> Result:
    user = _existing(request, request.parameters.required("userLogin"))
    wanted = request.parameters.flag("hasSuperUserAccess")
    if user.login == ANONYMOUS:
        raise ApiError("The anonymous user cannot be a super user.")
    await _run(_store(request).put, msgspec.structs.replace(user, superuser=wanted))
    return None


async def _create_token(request: ApiRequest) -> Result:
    """A new random token for a user; shown once, stored as a hash."""
    parameters = request.parameters
    login = parameters.required("userLogin")
    if not parameters.text("description").strip():
        raise ApiError("Please specify a value for 'description'.")
    if parameters.text("expireDate") or parameters.integer("expireHours"):
        raise ApiError("Tokens that expire are not offered: revoke the token when it is no longer needed.")
    if request.grant.superuser and login == request.grant.login:
        grant = Grant(login=login, superuser=True)
    else:
        user = _existing(request, login)
        if user.login == ANONYMOUS:
            raise ApiError("The anonymous user has no tokens.")
        if not request.grant.superuser:
            if request.grant.login != login:
                raise ApiError(f"The user has to be either a Super User or the user '{login}' itself.", 401)
            given = parameters.text("passwordConfirmation")
            if not await _run(password_matches, user.password, given):
                raise ApiError("The current password you entered is not correct.", 401)
        grant = user.grant()
    token = secrets.token_hex(16)
    created = msgspec.structs.replace(grant, created_at=int(request.now.timestamp()))
    await _run(_tokens(request).add, token, created)
    return token


def _users(request: ApiRequest) -> Result:
    """A super user sees everybody, an admin those who have access to one of the admin's sites."""
    wanted = request.parameters.comma_list("userLogins")
    shown: list[Value] = []
    for user in _all_users(request):
        if wanted and user.login not in wanted:
            continue
        shared = any(request.grant.allows("admin", site_id) for site_id in user.roles)
        if request.grant.superuser or shared or user.login == request.grant.login:
            shown.append(_user_columns(user, whole=True))
    return shown


def _user(request: ApiRequest) -> Result:
    login = request.parameters.required("userLogin")
    if login != request.grant.login and not request.grant.superuser:
        raise ApiError(f"The user has to be either a Super User or the user '{login}' itself.", 401)
    found = next((user for user in _all_users(request) if user.login == login), None)
    if found is None:
        raise ApiError(f"User '{login}' doesn't exist.")
    return _user_columns(found, whole=True)


def _logins(request: ApiRequest) -> Result:
    return [user.login for user in _all_users(request)]


def _sites_by_user(request: ApiRequest) -> Result:
    access = _wanted_role(request)
    return {
        user.login: [site_id for site_id, role in sorted(user.roles.items()) if role == access]
        for user in _all_users(request)
        if access in user.roles.values()
    }


def _wanted_role(request: ApiRequest) -> Role:
    access = request.parameters.required("access")
    if access not in _ROLES:
        raise ApiError(f"The access '{access}' is unknown: expected view, write or admin.")
    return _ROLES[access]


def _access_on_site(request: ApiRequest) -> Result:
    return {
        user.login: user.roles[request.site_id]
        for user in _all_users(request)
        if request.site_id in user.roles
    }


def _users_with_access(request: ApiRequest) -> Result:
    access = _wanted_role(request)
    return [
        _user_columns(user, whole=True)
        for user in _all_users(request)
        if user.roles.get(request.site_id) == access
    ]


def _sites_of_user(request: ApiRequest) -> Result:
    user = _existing(request, request.parameters.required("userLogin"))
    return [{"site": site_id, "access": role} for site_id, role in sorted(user.roles.items())]


def _superusers(request: ApiRequest) -> Result:
    return [_user_columns(user, whole=True) for user in _all_users(request) if user.superuser]


def _user_exists(request: ApiRequest) -> Result:
    login = request.parameters.required("userLogin")
    return any(user.login == login for user in _all_users(request))


def _email_exists(request: ApiRequest) -> Result:
    email = request.parameters.required("userEmail").lower()
    return any(user.email.lower() == email for user in _all_users(request))


def _roles(_: ApiRequest) -> Result:
    return [
        {"id": "view", "name": "View", "description": "Sees all reports."},
        {"id": "write", "name": "Write", "description": "Sees all reports and changes goals and dimensions."},
        {"id": "admin", "name": "Admin", "description": "Manages the site and who has access to it."},
    ]


def _by_login(answer: Any, access: Access, *required: str) -> Method:
    return Method(answer=answer, access=access, required=("userLogin", *required))


METHODS: dict[str, Method] = {
    "UsersManager.addUser": _by_login(_add_user, Access.SOME_ADMIN, "password", "email"),
    "UsersManager.updateUser": _by_login(_update_user, Access.SOME_VIEW),
    "UsersManager.deleteUser": _by_login(_delete_user, Access.SUPERUSER),
    "UsersManager.setUserAccess": _by_login(_set_access, Access.SOME_ADMIN, "access", "idSites"),
    "UsersManager.setSuperUserAccess": _by_login(_set_superuser, Access.SUPERUSER, "hasSuperUserAccess"),
    "UsersManager.createAppSpecificTokenAuth": _by_login(_create_token, Access.SOME_VIEW, "description"),
    "UsersManager.getUsers": Method(answer=_users, access=Access.SOME_ADMIN),
    "UsersManager.getUser": _by_login(_user, Access.SOME_VIEW),
    "UsersManager.getUsersLogin": Method(answer=_logins, access=Access.SOME_ADMIN),
    "UsersManager.getUsersSitesFromAccess": Method(
        answer=_sites_by_user, access=Access.SUPERUSER, required=("access",)
    ),
    "UsersManager.getUsersAccessFromSite": Method(
        answer=_access_on_site, access=Access.ADMIN, takes_sites=True, several_sites=False
    ),
    "UsersManager.getUsersWithSiteAccess": Method(
        answer=_users_with_access, access=Access.ADMIN, takes_sites=True, several_sites=False,
        required=("access",),
    ),
    "UsersManager.getSitesAccessFromUser": _by_login(_sites_of_user, Access.SUPERUSER),
    "UsersManager.getUsersHavingSuperUserAccess": Method(answer=_superusers, access=Access.SOME_VIEW),
    "UsersManager.hasSuperUserAccess": Method(
        answer=lambda request: request.grant.superuser, access=Access.NONE
    ),
    "UsersManager.userExists": _by_login(_user_exists, Access.SOME_VIEW),
    "UsersManager.userEmailExists": Method(
        answer=_email_exists, access=Access.SOME_VIEW, required=("userEmail",)
    ),
    "UsersManager.getAvailableRoles": Method(answer=_roles, access=Access.SOME_ADMIN),
}  # fmt: skip

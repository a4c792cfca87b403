"""UsersManager: who may see and change what, and the tokens they use."""

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from reporting.errors import ApiError, no_access, unknown_site
from reporting.method import Access, ApiRequest, Method
from reporting.methods.site_settings import known_sites
from reporting.parameters import Parameters
from reporting.table import Result, Value
from schemas.access import Grant, Role
from stream.secrets import TokenStore
from stream.users import ANONYMOUS, User, UserStore, hash_password, password_matches

_LOGIN = re.compile(r"[A-Za-zÄäÖöÜüß0-9_.@+-]{2,100}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost")
_MOST_HOURS = 876_000
_PREFERENCES = ("defaultReport", "defaultReportDate", "hideSegmentDefinitionChangeMessage")
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


def _expiry(parameters: Parameters, now: datetime) -> int:
    """Unix seconds of expireDate (UTC) or in expireHours; 0 when neither is sent. Raises ApiError."""
    text = parameters.text("expireDate")
    if text:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ApiError(f"expireDate is '{text}': expected YYYY-MM-DD or YYYY-MM-DD HH:MM:SS.") from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        if at <= now:
            raise ApiError(f"expireDate is '{text}': expected a moment that is still to come.")
        return int(at.timestamp())
    hours = parameters.integer("expireHours", 0)
    if hours < 0 or hours > _MOST_HOURS:
        raise ApiError(f"expireHours is {hours}: expected 0 (never) to {_MOST_HOURS}.")
    return int(now.timestamp()) + 3600 * hours if hours else 0


async def _create_token(request: ApiRequest) -> Result:
    """A new random token for a user; shown once, stored as a hash."""
    parameters = request.parameters
    login = parameters.required("userLogin")
    if not parameters.text("description").strip():
        raise ApiError("Please specify a value for 'description'.")
    expires_at = _expiry(parameters, request.now)
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
    created = msgspec.structs.replace(grant, created_at=int(request.now.timestamp()), expires_at=expires_at)
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


def _part(rows: Sequence[Value], parameters: Parameters) -> list[Value]:
    """`limit` rows from `offset` on."""
    start = max(0, parameters.integer("offset", 0))
    limit = parameters.integer("limit", 0)
    return list(rows[start : start + limit] if limit > 0 else rows[start:])


def _users_plus_role(request: ApiRequest) -> Result:
    """Users with their role on a site, `noaccess` without one; those that an admin may see."""
    parameters = request.parameters
    pattern, wanted = parameters.text("filter_search").lower(), parameters.text("filter_access")
    rows: list[Value] = []
    for user in _all_users(request):
        role = "superuser" if user.superuser else user.roles.get(request.site_id, "noaccess")
        if role == "noaccess" and not request.grant.superuser:
            continue
        if pattern not in user.login.lower() and pattern not in user.email.lower():
            continue
        if wanted and role != wanted and not (wanted == "some" and role != "noaccess"):
            continue
        rows.append({**_user_columns(user, whole=True), "role": role, "capabilities": []})
    return _part(rows, parameters)


def _access_for_user(request: ApiRequest) -> Result:
    """The sites that the caller manages, with the user's role on each."""
    parameters = request.parameters
    user = _existing(request, parameters.required("userLogin"))
    pattern, wanted = parameters.text("filter_search").lower(), parameters.text("filter_access")
    rows: list[Value] = []
    for site in known_sites(request.config):
        role = user.roles.get(site.site_id, "noaccess")
        if not request.grant.allows("admin", site.site_id) or pattern not in site.name.lower():
            continue
        if wanted and role != wanted and not (wanted == "some" and role != "noaccess"):
            continue
        rows.append({"idsite": site.site_id, "site_name": site.name, "role": role, "capabilities": []})
    return _part(rows, parameters)


def _user_by_email(request: ApiRequest) -> User:
    email = request.parameters.required("userEmail").lower()
    found = next((user for user in _all_users(request) if user.email.lower() == email), None)
    if found is None:
        raise ApiError(f"User '{request.parameters.text('userEmail')}' doesn't exist.")
    return found


def _capabilities(request: ApiRequest) -> Result:
    """There are none: roles say all."""
    names = request.parameters.comma_list("capabilities")
    raise ApiError(f"The capability '{names[0] if names else ''}' doesn't exist: there are only roles here.")


def _no_mail(_: ApiRequest) -> Result:
    raise ApiError("Invitations need mail, which is not sent here: use UsersManager.addUser with a password.")


def _own_or_any(request: ApiRequest) -> User:
    """The user of userLogin for that user or a super user. Raises ApiError."""
    login = request.parameters.required("userLogin")
    if login != request.grant.login and not request.grant.superuser:
        raise ApiError(f"The user has to be either a Super User or the user '{login}' itself.", 401)
    return _existing(request, login)


def _preference_name(request: ApiRequest) -> str:
    name = request.parameters.required("preferenceName")
    if name not in _PREFERENCES:
        raise ApiError(f"The preference '{name}' is unknown: expected one of {', '.join(_PREFERENCES)}.")
    return name


async def _set_preference(request: ApiRequest) -> Result:
    name = _preference_name(request)
    user = _own_or_any(request)
    preferences = {**user.preferences, name: request.parameters.text("preferenceValue")[:255]}
    await _run(_store(request).put, msgspec.structs.replace(user, preferences=preferences))
    return None


def _preference(request: ApiRequest) -> Result:
    login = request.parameters.text("userLogin") or request.grant.login
    if login != request.grant.login and not request.grant.superuser:
        raise ApiError(f"The user has to be either a Super User or the user '{login}' itself.", 401)
    user = _store(request).find(login)
    return user.preferences.get(_preference_name(request), False) if user is not None else False


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
    "UsersManager.inviteUser": _by_login(_no_mail, Access.SOME_ADMIN, "email"),
    "UsersManager.resendInvite": _by_login(_no_mail, Access.SOME_ADMIN),
    "UsersManager.addCapabilities": _by_login(_capabilities, Access.SOME_ADMIN, "capabilities", "idSites"),
    "UsersManager.removeCapabilities": _by_login(
        _capabilities, Access.SOME_ADMIN, "capabilities", "idSites"
    ),
    "UsersManager.getAvailableCapabilities": Method(answer=lambda _: [], access=Access.SOME_ADMIN),
    "UsersManager.setUserPreference": _by_login(
        _set_preference, Access.SOME_VIEW, "preferenceName", "preferenceValue"
    ),
    "UsersManager.getUserPreference": Method(
        answer=_preference, access=Access.SOME_VIEW, required=("preferenceName",)
    ),
    "UsersManager.getUsersPlusRole": Method(
        answer=_users_plus_role, access=Access.ADMIN, takes_sites=True, several_sites=False
    ),
    "UsersManager.getSitesAccessForUser": _by_login(_access_for_user, Access.SOME_ADMIN),
    "UsersManager.getUserByEmail": Method(
        answer=lambda request: _user_columns(_user_by_email(request), whole=True),
        access=Access.SUPERUSER, required=("userEmail",),
    ),
    "UsersManager.getUserLoginFromUserEmail": Method(
        answer=lambda request: _user_by_email(request).login, access=Access.SOME_ADMIN,
        required=("userEmail",),
    ),
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

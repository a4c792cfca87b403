"""Refusals of the Reporting API: a message and the HTTP status that carries it.

Nearly every refusal is a 200 in Matomo (the answer's body says `error`), so clients look at the body.
"""


class ApiError(Exception):
    """A request that is refused; `message` is plain text, escaped when rendered."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def missing_parameter(name: str) -> ApiError:
    return ApiError(f"Please specify a value for '{name}'.")


def no_access(role: str, site_id: int) -> ApiError:
    """`role` is view, write or admin."""
    return ApiError(
        f"You can't access this resource as it requires '{role}' access for the website id = {site_id}.", 401
    )


def unknown_site(shown: str) -> ApiError:
    return ApiError(f"An unexpected website was found in the request: website id was set to '{shown}' .")

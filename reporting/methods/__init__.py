"""The methods of the Reporting API, one module per Matomo module or group of them."""

from collections.abc import Mapping

from reporting.method import Method
from reporting.methods import (
    actions,
    annotations,
    combined,
    custom_dimensions,
    custom_dimensions_config,
    events,
    evolution,
    goals,
    goals_config,
    instance,
    languages,
    live,
    multi_sites,
    privacy,
    referrers,
    report_metadata,
    segments_config,
    sites,
    transitions,
    users,
    visitors,
    visits_summary,
)

METHODS: Mapping[str, Method] = {
    **instance.METHODS,
    **visits_summary.METHODS,
    **actions.METHODS,
    **referrers.METHODS,
    **goals.METHODS,
    **goals_config.METHODS,
    **events.METHODS,
    **transitions.METHODS,
    **evolution.METHODS,
    **report_metadata.METHODS,
    **live.METHODS,
    **combined.METHODS,
    **multi_sites.METHODS,
    **visitors.METHODS,
    **custom_dimensions.METHODS,
    **custom_dimensions_config.METHODS,
    **segments_config.METHODS,
    **sites.METHODS,
    **users.METHODS,
    **privacy.METHODS,
    **annotations.METHODS,
    **languages.METHODS,
}
"""Every method by its name in Matomo's spelling."""

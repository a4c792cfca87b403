"""The methods of the Reporting API, one module per Matomo module or group of them."""

from collections.abc import Mapping

from reporting.method import Method
from reporting.methods import (
    actions,
    annotations,
    combined,
    custom_dimensions,
    custom_dimensions_config,
    custom_variables,
    data_subjects,
    devices,
    events,
    evolution,
    glossary,
    goals,
    goals_config,
    insights,
    instance,
    languages,
    live,
    multi_sites,
    overlay,
    plugins,
    privacy,
    processed_report,
    referrers,
    report_metadata,
    segments_config,
    site_settings,
    sites,
    sites_global,
    tallies,
    tracking_code,
    transitions,
    user_country,
    users,
    visit_time,
    visitor_interest,
    visitors,
    visits_summary,
    widgets,
)
from schemas.plugins import PluginError

_OWN: Mapping[str, Method] = {
    **instance.METHODS,
    **visits_summary.METHODS,
    **actions.METHODS,
    **referrers.METHODS,
    **glossary.METHODS,
    **goals.METHODS,
    **goals_config.METHODS,
    **events.METHODS,
    **transitions.METHODS,
    **overlay.METHODS,
    **evolution.METHODS,
    **report_metadata.METHODS,
    **widgets.METHODS,
    **processed_report.METHODS,
    **live.METHODS,
    **insights.METHODS,
    **combined.METHODS,
    **multi_sites.METHODS,
    **user_country.METHODS,
    **visitors.METHODS,
    **devices.METHODS,
    **visit_time.METHODS,
    **visitor_interest.METHODS,
    **custom_dimensions.METHODS,
    **custom_dimensions_config.METHODS,
    **custom_variables.METHODS,
    **segments_config.METHODS,
    **sites.METHODS,
    **site_settings.METHODS,
    **sites_global.METHODS,
    **tracking_code.METHODS,
    **users.METHODS,
    **privacy.METHODS,
    **data_subjects.METHODS,
    **annotations.METHODS,
    **languages.METHODS,
    **tallies.METHODS,
}


def with_plugins(own: Mapping[str, Method], added: Mapping[str, Method]) -> dict[str, Method]:
    """Both. Raises PluginError when a plugin takes a module's name."""
    modules = {name.partition(".")[0] for name in own}
    for name in added:
        if name.partition(".")[0] in modules:
            raise PluginError(f"the plugin of {name} needs another name: this module is Hitstream's")
    return {**own, **added}


METHODS: Mapping[str, Method] = with_plugins(_OWN, plugins.METHODS)
"""Every method by its name in Matomo's spelling."""

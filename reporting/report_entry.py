"""One report as clients are told about it: the type of the catalogue's entries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reporting.german import translated
from reporting.metric_titles import general_title, metric_meaning

VISITS = ("nb_visits", "nb_uniq_visitors", "nb_actions", "nb_users")
VISITS_PROCESSED = ("nb_actions_per_visit", "avg_time_on_site", "bounce_rate")


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """One report: `Module.action` with what clients are told about it."""

    method: str
    category: str
    subcategory: str = ""
    name: str
    dimension: str = ""
    metrics: tuple[str, ...] = ()
    processed: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    """Whose types are told after those of `metrics`, shown or not; empty: of `processed`."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """English titles of metrics that have another one elsewhere."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What metrics of the report's own count."""
    goal_metrics: tuple[str, ...] = ()
    """Metrics that the rows have per goal; empty: conversions are no part of the report."""
    processed_goal_metrics: tuple[str, ...] = ("revenue_per_visit",)
    documentation: str = ""
    guide: str = ""
    """The last part of the address of Matomo's guide to the subject."""
    dimensions: tuple[tuple[str, str], ...] = ()
    """Names and titles of the dimensions that flattened rows show."""
    subtable_action: str = ""
    related: tuple[str, ...] = ()
    """Methods of reports that show the same from another side."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What the method needs besides site and period: the goal, the dimension."""
    constant_rows: bool = False
    stored: bool = True
    """False: put together for each question, so there is no evolution of it."""
    evolution: tuple[str, ...] = ()
    """Metrics that a row evolution shows, in its order; empty: metrics and processed."""

    @property
    def module(self) -> str:
        return self.method.split(".")[0]

    @property
    def action(self) -> str:
        return self.method.split(".")[1]

    @property
    def unique_id(self) -> str:
        return "_".join((self.module, self.action, *(f"{name}--{value}" for name, value in self.parameters)))

    @property
    def documented(self) -> dict[str, str]:
        """Metrics that are explained, with the explanation."""
        if self.category == "Ecommerce" and self.dimension:
            return {}
        names = (*self.metrics, *self.processed)
        if self.has_visits and "conversion_rate" not in names:
            names += ("conversion_rate",)
        texts = {name: self.meanings.get(name) or metric_meaning(name) for name in names}
        return {name: text for name, text in texts.items() if text}

    @property
    def has_visits(self) -> bool:
        """Whether the rows are visits, whose conversion rate is known besides the report's own metrics."""
        return self.metrics[:2] == VISITS[:2]


def metric_title(entry: ReportEntry, name: str, language: str) -> str:
    own = entry.titles.get(name)
    return translated(own, language) if own else general_title(name, language)

"""Settings of `hitstream processor`."""

from dataclasses import dataclass

from schemas.settings import setting
from stream.opening import LogSettings


@dataclass(frozen=True)
class ProcessorSettings(LogSettings):
    allowed_lateness_days: int = setting(
        3, "days for which hits stay in the owner's journal, for late hits and verdicts", minimum=1
    )
    process_batch: int = setting(8000, "most hits in one unit of work", minimum=1)
    metrics_host: str = setting(
        "127.0.0.1", "address on which stages without a port of their own show /metrics and /health"
    )
    processor_metrics_port: int = setting(
        0,
        "port for /metrics and /health of a processor (`up`: and the next ones); 0 for none",
        minimum=0,
    )
    reporting_url: str = setting("", "address of the database process, for owners refolded from raw hits")
    admin_token: str = setting("", "token with superuser access", secret=True)

"""Opens the log that the settings name: the embedded one in the data directory, or one on a broker."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.settings import SettingsError, setting
from stream.embedded import EmbeddedLimits, EmbeddedLog
from stream.protocol import Log

if TYPE_CHECKING:
    from stream.kafka_client import Connection


@dataclass(frozen=True)
class LogSettings:
    """What every process has to agree on to find the log."""

    data_dir: Path = setting(Path("data"), "directory that holds the log, the state and the database")
    partitions: int = setting(
        8, "partitions of the log, fixed when it is created (on a broker: by `hitstream topics`)", minimum=1
    )
    keep_log_days: float = setting(
        2.0,
        "days that hits stay on the log in the data directory after everyone has read them",
        minimum=0.0,
    )
    kafka: str = setting(
        "", "brokers of a Kafka-compatible log, as host:port,host:port; empty: the log in the data directory"
    )
    kafka_prefix: str = setting("hitstream", "what the names of topics and groups on the broker begin with")
    kafka_options: Path | None = setting(
        None, "file of options of librdkafka, such as those of TLS and SASL, as name=value lines"
    )


def log_directory(data_dir: Path) -> Path:
    """Where the embedded log lies."""
    return data_dir / "log"


def kafka_directory(data_dir: Path) -> Path:
    """Where the state and the locks of a log on a broker lie."""
    return data_dir / "kafka"


def kafka_connection(settings: LogSettings) -> "Connection":
    """Raises SettingsError when the packages or the options are missing or wrong."""
    try:
        from stream.kafka_client import Connection, OptionsError, read_options
    except ImportError as error:
        raise SettingsError(
            f"HITSTREAM_KAFKA is set, but a package is missing ({error}): pip install 'hitstream[cluster]'"
        ) from None
    if not settings.kafka_prefix or "." in settings.kafka_prefix:
        raise SettingsError(f"HITSTREAM_KAFKA_PREFIX={settings.kafka_prefix!r}: expected a name without dots")
    try:
        options = read_options(settings.kafka_options) if settings.kafka_options else {}
    except OptionsError as error:
        raise SettingsError(f"HITSTREAM_KAFKA_OPTIONS: {error}") from None
    return Connection(settings.kafka, options)


def open_log(settings: LogSettings) -> Log:
    """Raises SettingsError, LogMismatchError, LogError."""
    if not settings.kafka:
        limits = EmbeddedLimits(hits_retention=timedelta(days=settings.keep_log_days))
        return EmbeddedLog(log_directory(settings.data_dir), settings.partitions, limits)
    connection = kafka_connection(settings)
    from stream.kafka import KafkaLog

    return KafkaLog(connection, kafka_directory(settings.data_dir), prefix=settings.kafka_prefix)

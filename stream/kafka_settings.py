"""Where the settings of topics on the broker differ from those that topics are made with; putting this right.

Somebody may have changed them on purpose, and an older version made others, so this is asked for."""

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka.admin import (  # type: ignore[attr-defined,unused-ignore]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from stream.kafka_client import TIMEOUT_S
from stream.kafka_topics import Meta, settings_of, topic_name


class Difference(NamedTuple):
    """A setting of a topic on the broker."""

    topic: str
    setting: str
    found: str
    wanted: str


def differences(admin: AdminClient, prefix: str, meta: Meta) -> list[Difference]:
    """Of all topics of the epoch, by topic and setting. What the broker does not know is no difference.

    Raises KafkaException."""
    begin = topic_name(prefix, meta.epoch, "")
    names = sorted(name for name in admin.list_topics(timeout=TIMEOUT_S).topics if name.startswith(begin))
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = admin.describe_configs(asked, request_timeout=TIMEOUT_S) if asked else {}
    found: dict[str, Mapping[str, ConfigEntry]] = {
        resource.name: answer.result() for resource, answer in answers.items()
    }
    return [
        Difference(name, setting, entries[setting].value or "", wanted)
        for name, entries in sorted(found.items())
        for setting, wanted in sorted(settings_of(name.removeprefix(begin), meta.plan).items())
        if setting in entries and entries[setting].value != wanted
    ]


def put_right(admin: AdminClient, different: list[Difference]) -> None:
    """Gives these settings the values that topics are made with. Raises KafkaException."""
    changes: dict[str, list[ConfigEntry]] = {}
    for one in different:
        entry = ConfigEntry(one.setting, one.wanted, incremental_operation=AlterConfigOpType.SET)
        changes.setdefault(one.topic, []).append(entry)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        for topic, entries in changes.items()
    ]
    for answer in admin.incremental_alter_configs(resources, request_timeout=TIMEOUT_S).values():
        answer.result()

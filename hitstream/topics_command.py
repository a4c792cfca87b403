"""`hitstream topics`: makes the log on a broker."""

import argparse
import sys
from dataclasses import replace

from schemas.settings import SettingsError, load_settings
from stream.opening import LogSettings, kafka_connection
from stream.protocol import LogError


def run_topics(options: argparse.Namespace) -> int:
    """Returns the exit status. Raises SettingsError."""
    settings = load_settings(LogSettings)
    if not settings.kafka:
        raise SettingsError(
            "HITSTREAM_KAFKA is not set: expected host:port of a broker; without one the log lies in the data"
            " directory and needs no topics"
        )
    connection = kafka_connection(settings)
    from stream.kafka import count_brokers, default_plan, make_log
    from stream.kafka_client import translate_errors
    from stream.kafka_settings import differences, put_right

    try:
        plan = default_plan(count_brokers(connection), settings.partitions)
        replication = options.replication or plan.replication
        min_insync = options.min_insync or max(1, replication - 1)
        if not 1 <= min_insync <= replication:
            raise SettingsError(
                f"--min-insync {min_insync}: expected 1 to {replication}, the number of copies"
            )
        if options.hits_days < 1 or options.outputs_days < 1:
            raise SettingsError("--hits-days and --outputs-days: expected at least 1")
        plan = replace(
            plan,
            replication=replication,
            min_insync=min_insync,
            hits_hours=options.hits_days * 24,
            outputs_hours=options.outputs_days * 24,
        )
        meta, made = make_log(connection, settings.kafka_prefix, plan)
        with translate_errors(connection, "Comparing the settings of topics"):
            admin = connection.admin()
            different = differences(admin, settings.kafka_prefix, meta)
            if options.restore_settings and different:
                put_right(admin, different)
    except LogError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    found = meta.plan
    print(
        f"log {settings.kafka_prefix} at {settings.kafka}: epoch {meta.epoch}, {found.partitions} partitions,"
        f" {found.replication} copies of which {found.min_insync} must have a message;"
        f" {len(made)} topics made"
    )
    if plan != found:
        print("it keeps what it was made with; retention and copies are changed with the broker's tools")
    for one in different:
        if options.restore_settings:
            print(f"{one.topic}: {one.setting} was {one.found}, is {one.wanted} now")
        else:
            print(f"{one.topic}: {one.setting} is {one.found}, made anew it would be {one.wanted}")
    if different and not options.restore_settings:
        print("`hitstream topics --restore-settings` sets them so")
    return 0

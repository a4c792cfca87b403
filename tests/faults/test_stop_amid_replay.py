"""The database process stops at once, also while a replay waits for processors that are not there."""

import http.client
import threading
import time
from pathlib import Path

from tests.builders import config_events
from tests.faults.instance import Instance, fill_log, log_of
from tests.faults.traffic import SITE

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


def ask_for_replay(instance: Instance) -> None:
    """Its answer comes when the owners were asked, or not at all."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            instance.ask("/hitstream/replay", {})
            return
        except ConnectionRefusedError:
            time.sleep(0.1)
        except (OSError, http.client.HTTPException) as error:
            if "refused" not in str(error):
                return
            time.sleep(0.1)


def test_a_database_process_stops_while_a_replay_waits_for_processors(tmp_path: Path) -> None:
    fill_log(tmp_path, config_events(**SITE), [])
    instance = Instance(tmp_path)
    log = log_of(tmp_path)
    reader = log.reader()
    recorded = reader.end_offsets("config")[0]
    instance.add("database")
    try:
        asking = threading.Thread(target=ask_for_replay, args=(instance,))
        asking.start()
        deadline = time.monotonic() + READY_SECONDS
        while sum(reader.end_offsets("history").values()) == 0:
            assert time.monotonic() < deadline, instance.output()
            time.sleep(0.05)
        assert reader.end_offsets("config")[0] == recorded + 1
        began = time.monotonic()
        instance.remove("database")
        assert time.monotonic() - began < STOP_SECONDS, instance.output()
        asking.join(STOP_SECONDS)
        assert not asking.is_alive()
    finally:
        instance.stop()
        reader.close()
        log.close()

"""An instance that nobody uses: how fast it starts, what it takes of a core and of memory."""

import time
from pathlib import Path

from bench.measure import Processes, Result, proportional_mib
from hitstream.client import InstanceError
from tests.instance import TOKEN, RunningInstance

SETTLING_SECONDS = 20.0
QUICKEST_LOOK_S = 0.01


def bench_idle(folder: Path, seconds: float) -> Result:
    """Of `hitstream up` with one site, started a second time; at rest for `seconds`."""
    instance = RunningInstance(folder / "idle", {"HITSTREAM_ADMIN_TOKEN": TOKEN, "HITSTREAM_FIRST_SITE": "1"})
    instance.start()
    try:
        instance.wait_until_ready()
        instance.stop()
        instance.start()
        began = time.perf_counter()
        while not _accepts(instance):
            time.sleep(QUICKEST_LOOK_S)
        started = time.perf_counter() - began
        instance.wait_until_ready()
        time.sleep(SETTLING_SECONDS)
        assert instance.process is not None
        pids = {"supervisor": instance.process.pid, **instance.children()}
        processes = Processes(pids)
        time.sleep(seconds)
        used = sum(processes.us_per(1).values()) / 1e6
        memory = sum(proportional_mib(pid) for pid in pids.values())
    finally:
        instance.stop()
    return {"start_to_first_hit_s": started, "idle_cores": used / seconds, "idle_mib": memory}


def _accepts(instance: RunningInstance) -> bool:
    client = instance.client()
    try:
        status, _ = client.request("GET", "/matomo.php?idsite=1&rec=1&url=http://idle.example/&send_image=0")
    except InstanceError:
        return False
    finally:
        client.close()
    return status == 204

"""What a benchmark reads off the machine: processes, repetitions, versions."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

Result = dict[str, float]

_TICKS = os.sysconf("SC_CLK_TCK")
VERSIONS_OF = ("aiohttp", "chdb", "clickhouse-connect", "confluent-kafka", "msgspec", "orjson", "uvloop")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _mib(pid: int, field: str, file: str = "status") -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_mib(pid: int) -> float:
    """The most memory that a process held, its files mapped into memory included."""
    return _mib(pid, "VmHWM:")


def memory_mib(pid: int) -> float:
    """The memory that a process holds now."""
    return _mib(pid, "VmRSS:")


def proportional_mib(pid: int) -> float:
    """The memory that a process holds now; of what it shares with others, its share."""
    return _mib(pid, "Pss:", "smaps_rollup")


def is_source(module: ModuleSpec | None) -> bool:
    """False for a module that was compiled."""
    return module is None or (module.origin or "").endswith(".py")


def cpu_model() -> str:
    """Name, family and model: machines of one name differ. Empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return ""
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return " ".join(told.get(name, "") for name in ("model name", "cpu family", "model")).strip()


def machine() -> dict[str, object]:
    """What the figures depend on."""
    versions = {}
    for name in VERSIONS_OF:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "compiled": not is_source(find_spec("ingest.acceptance")),
        "packages": versions,
        "load_before": os.getloadavg()[2],
        "at": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


def repeated(run: Callable[[], Mapping[str, float]], times: int) -> tuple[Result, Result]:
    """Medians of several runs, and by figure how far its runs lie apart as a share of the median."""
    runs = [run() for _ in range(times)]
    medians = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
    return medians, {name: spread([one[name] for one in runs]) for name in runs[0]}


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median; 0 for a median of 0."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


class Processes:
    """CPU of some processes between two moments."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def us_per(self, count: int) -> Result:
        """Microseconds of CPU since the beginning for each of `count` hits, by process."""
        return {
            f"{name}_us_cpu": 1e6 * (cpu_seconds(pid) - self._began[name]) / count
            for name, pid in self._pids.items()
        }

    def peaks(self) -> Result:
        return {f"{name}_peak_mib": peak_mib(pid) for name, pid in self._pids.items()}

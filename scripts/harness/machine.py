"""What the bench ran on, and what a process costs there."""

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.servers.process import Process


def describe() -> dict[str, str]:
    """The machine in a few words; what else it was doing shows in `load`."""
    return {
        "cpu": f"{_model()} x {os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis-py": version("redis"),
        "load": f"{os.getloadavg()[0]:.2f} before the first measurement",
        "at": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def rss(process: Process) -> float:
    """Resident memory of a process, in bytes."""
    return float(psutil.Process(process.pid).memory_info().rss)


def cpu_seconds(process: Process) -> float:
    """Processor time that a process has used since its start."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


class Cpu:
    """Processor time of named processes over a stretch of wall clock."""

    def __init__(self, processes: Mapping[str, Process]) -> None:
        self._processes = processes
        self._start = time.perf_counter()
        self._before = {name: cpu_seconds(process) for name, process in processes.items()}

    def percent(self) -> dict[str, float]:
        """Per cent of one core that each has used since this was made."""
        spent = time.perf_counter() - self._start
        return {
            name: 100 * (cpu_seconds(process) - self._before[name]) / spent
            for name, process in self._processes.items()
        }


def _model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

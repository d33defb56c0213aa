"""Under what circumstances a number was made: code, versions, machine, levers; for run.json and reports.

Nothing here imports torch or asks a slow tool; it takes 20 to 40 ms. The host is never named, the user only
where the typed command does it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.env import in_force

CHECKOUT = Path(__file__).resolve().parents[1]
NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver describes each GPU; nvidia-smi says the same, half a second later."""
PACKAGES = (
    "efficientsam-bench",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "transformers",
    "safetensors",
    "numpy",
    "scipy",
    "pillow",
    "pandas",
    "pyarrow",
    "pycocotools",
    "hotcoco",
)
"""Distributions whose version can move a number or a byte of a shard."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Those that decide how torch multiplies matrices; with amx_bf16, "medium" precision computes in bf16."""


def provenance() -> dict[str, Any]:
    """Return the circumstances of this process as plain values that JSON holds.

    Returns:
        date (UTC, seconds), git (commit and dirty of this checkout, None outside one), versions, python,
        platform, hardware (cpu, cores, memory, GPUs), threads, levers (`bench.env.ENV`: the value in force or
        None), preload (names of preloaded libraries, e.g. tcmalloc) and argv. If torch is imported already,
        threads also holds its thread count and matmul precision.
    """
    preload = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(CHECKOUT),
        "versions": _versions(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "hardware": _hardware(),
        "threads": _threads(),
        "levers": in_force(),
        "preload": [Path(name).name for name in preload],
        "argv": _argv(),
    }


def git_state(checkout: Path) -> dict[str, Any] | None:
    """Return {"commit": 40 hex digits, "dirty": whether tracked files differ from it} of a checkout.

    None if the folder is not the top of a git tree (an installed package may lie inside somebody else's), has
    no commit yet, or git does not answer.
    """
    if not (checkout / ".git").exists():
        return None
    # Within a git hook, GIT_DIR and its kin point to another tree.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(checkout), "status", "--porcelain=v2", "--branch"]
    try:
        status = subprocess.run(
            [*command, "--untracked-files=no"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = status.stdout.splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if commit == "(initial)":
        return None
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _hardware() -> dict[str, Any]:
    cpu = _cpuinfo()
    affinity = getattr(os, "sched_getaffinity", None)
    cores = os.cpu_count()
    return {
        "cpu": cpu.get("model name") or _cpu_name(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in cpu.get("flags", cpu.get("Features", "")).split()],
        "cores": cores,
        "usable_cores": len(affinity(0)) if affinity else cores,
        "memory_gib": _memory_gib(),
        "gpus": list(_gpus()),
    }


def _cpuinfo() -> Mapping[str, str]:
    """Return the fields of the first core in /proc/cpuinfo, empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_name() -> str:
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            brand = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(brand, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> Iterator[str]:
    """Yield the name of each GPU: from torch if it already uses them, else from the NVIDIA driver's files."""
    torch = sys.modules.get("torch")
    # Asking a torch that has not started CUDA would start it, and spoil later forks.
    if torch is not None and torch.cuda.is_initialized():
        yield from (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return
    for path in sorted(NVIDIA.glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        yield from (line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))


def _threads() -> dict[str, Any]:
    threads: dict[str, Any] = {name: os.environ.get(name) for name in THREADS}
    torch = sys.modules.get("torch")
    if torch is not None:
        threads["torch"] = torch.get_num_threads()
        threads["float32_matmul_precision"] = torch.get_float32_matmul_precision()
    return threads


def _argv() -> list[str]:
    """Return the command as typed, but interpreter and script by name, for paths tell of home folders."""
    command = list(sys.orig_argv) or list(sys.argv)
    paths = 2 if len(command) > 1 and not command[1].startswith("-") else 1
    return [Path(part).name for part in command[:paths]] + command[paths:]

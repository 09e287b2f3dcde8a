"""The programs that the benchmarks run, their versions, and what the machine is."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# program -> how to get it
SOURCES = {
    "nginx": "apt-get install nginx",
    "wrk": "apt-get install wrk",
    "py-spy": "pip install py-spy",
    "varnishd": "apt-get install varnish",
}
VERSION_OPTIONS = {"nginx": "-v", "wrk": "-v", "varnishd": "-V"}


def need(*programs: str) -> None:
    """Ends the run with what to install if a program is missing."""
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks read /proc and need Linux")
    missing = [program for program in programs if not have(program)]
    if missing:
        ways = "; ".join(f"{program} ({SOURCES[program]})" for program in missing)
        sys.exit(f"not found on PATH: {ways}")
    if "nginx" in programs and "http_slice_module" not in said("nginx", "-V"):
        sys.exit("this nginx was built without its slice module: Debian's and nginx.org's have it")


def have(program: str) -> bool:
    return shutil.which(program) is not None


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def program_version(program: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", said(program, VERSION_OPTIONS[program]))
    return f"{program} {found[0] if found else '?'}"


def environment(*programs: str) -> dict[str, str]:
    """What a figure is worthless without."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("ascii"))
    libraries = [f"{name} {version(name)}" for name in ("edgecache", "aiohttp", "uvloop")]
    return {
        "machine": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": ", ".join([*libraries, *map(program_version, programs)]),
        "load at start": f"{os.getloadavg()[0]:.1f}",
    }

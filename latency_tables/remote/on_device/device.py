"""What the device says of itself: its processor, how busy it is."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name; on Linux with family, model and stepping, as virtual machines often hide the name.

    Arm processors tell no name: theirs is the device's, with the kinds of cores ("CPU part").
    """
    blocks: list[dict[str, str]] = []
    if cpuinfo.exists():
        for block in cpuinfo.read_text(errors="replace").split("\n\n"):
            pairs = (line.partition(":") for line in block.splitlines())
            blocks.append({key.strip(): value.strip() for key, _, value in pairs})
    fields = blocks[0] if blocks else {}
    parts = sorted({block["CPU part"] for block in blocks if "CPU part" in block})
    name = fields.get("model name") or (_board() if parts else "")
    name = name or platform.processor() or platform.machine() or "unknown"
    about = [f"{key} {fields[key]}" for key in ("cpu family", "model", "stepping") if key in fields]
    about += [f"CPU part {', '.join(parts)}"] if parts else []
    return f"{name} ({', '.join(about)})" if about else name


def _board() -> str:
    """What a single-board computer or an Android phone calls itself; "" if it does not say."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0 \n")
    except OSError:
        pass
    words = []
    for name in ("ro.product.manufacturer", "ro.product.model", "ro.soc.model"):
        try:
            words.append(subprocess.run(["getprop", name], stdout=subprocess.PIPE, timeout=5).stdout.decode().strip())
        except (OSError, subprocess.SubprocessError):
            return ""
    return " ".join(word for word in words if word)


def load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None

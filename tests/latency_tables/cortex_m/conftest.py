from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables.cortex_m.compilers import Firmware, build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.image import NETWORK, build_image
from latency_tables.cortex_m.program import Program

for package in ("unicorn", "ziglang", "elftools"):
    pytest.importorskip(package)


_OTHERS = [("cortex-m3", "gcc"), ("cortex-m7", "gcc"), ("cortex-m7", "zig"), ("cortex-m33", "zig")]
_MACHINES = [("cortex-m3", "zig"), ("cortex-m4", "zig"), *(pytest.param(m, marks=pytest.mark.slow) for m in _OTHERS)]


@pytest.fixture(scope="session", params=_MACHINES, ids="-".join)
def firmware(request: pytest.FixtureRequest) -> Firmware:
    """Without and with the DSP instructions."""
    core, compiler = request.param
    if compiler == "gcc" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    return build_firmware(get_core(core), compiler)


@pytest.fixture(scope="session")
def m4() -> Firmware:
    return build_firmware(get_core("cortex-m4"))


@pytest.fixture(scope="session")
def count_in_qemu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Program, Firmware], int]:
    """Instructions from reset to the end of one inference of zeros, as QEMU counts them; skips without QEMU."""
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")
    folder = tmp_path_factory.mktemp("qemu")
    plugin = folder / "count.so"
    source = Path(__file__).with_name("qemu_count.c")
    compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    build = [*compiler, "-O1", "-shared", "-fPIC", "-Wl,-z,undefs"]
    subprocess.run([*build, "-o", str(plugin), str(source)], check=True, capture_output=True)

    def count(program: Program, firmware: Firmware) -> int:
        (folder / "kernels.elf").write_bytes(firmware.elf)
        (folder / "network.bin").write_bytes(build_image(program, firmware).constants)
        command = ["qemu-system-arm", "-M", str(firmware.core.board), "-display", "none", "-monitor", "none"]
        command += ["-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel", "kernels.elf"]
        command += ["-device", f"loader,file=network.bin,addr={NETWORK:#x},force-raw=on"]
        command += ["-plugin", f"{plugin},stop={firmware.symbols['ofa_stop']:#x}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        found = re.fullmatch(r"instructions (\d+)\n", done.stderr)
        assert found and done.returncode == 0, (done.returncode, done.stderr)
        return int(found[1])

    return count

"""The bundle's Makefile: the same flags as everywhere, one object a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.compilers import FLAGS, GCC_FLAGS

_TEXT = """\
# make check       compile for this machine, compare with the golden outputs
# make sanitize    the same, and 1,000 random images, under the address and undefined-behaviour sanitizers
# make firmware    build/firmware.elf and .bin for {title}: CC=arm-none-eabi-gcc, or CC="zig cc"
# make semihosting build/semihosting.elf: reads golden/ through a debugger or QEMU
# make ... DWT=1   with the cycle counter around every inference
# make ... ARRAY=1 weights as a C array, for compilers without .incbin
HOSTCC ?= cc
ifeq ($(origin CC),default)
CC = arm-none-eabi-gcc
endif

ZIG := $(filter zig ziglang,$(notdir $(subst ., ,$(CC))))
TARGET := $(if $(ZIG),{zig},{gcc})
OBJCOPY := $(if $(ZIG),$(patsubst cc,objcopy,$(CC)),$(patsubst %gcc,%objcopy,$(CC)))
# zig's would take SRAM for a part of the image: it is told the section, which is all as long as nothing is in .data
BINARY := -O binary $(if $(ZIG),-j .text)
CFLAGS := $(TARGET) {flags}
HOSTFLAGS := -std=c11 -O2 -Wall -Wextra
DEFINES := -I. -Ikernels $(if $(DWT),-DOFA_DWT) $(if $(ARRAY),-DOFA_WEIGHTS_ARRAY)
LINK := -nostdlib -Wl,--entry=ofa_reset -Wl,--build-id=none -T board.ld
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

# in the order they are linked
IMAGE := {sources}
HOSTED := main.c $(filter-out firmware/startup.c firmware/firmware.c firmware/rp2350.c,$(IMAGE))
NAMES := $(patsubst %.c,build/%.o,$(notdir $(IMAGE)))
HEADERS := $(wildcard *.h kernels/*.h)

VPATH := kernels firmware

.PHONY: check host sanitize firmware semihosting clean

check: build/net
\tbuild/net --check golden/inputs.bin golden/outputs.bin

host: build/net

sanitize: build/net-sanitize
\tbuild/net-sanitize --check golden/inputs.bin golden/outputs.bin
\tbuild/net-sanitize --random 1000

firmware: build/firmware.elf build/firmware.bin

semihosting: build/semihosting.elf

build/net: $(HOSTED) $(HEADERS) weights.bin $(if $(ARRAY),weights.inc)
\t@mkdir -p build
\t$(HOSTCC) $(HOSTFLAGS) $(DEFINES) $(HOSTED) -o $@

build/net-sanitize: $(HOSTED) $(HEADERS) weights.bin $(if $(ARRAY),weights.inc)
\t@mkdir -p build
\t$(HOSTCC) $(HOSTFLAGS) $(SANITIZE) $(DEFINES) $(HOSTED) -o $@

build/%.o: %.c $(HEADERS)
\t@mkdir -p build
\t$(CC) $(CFLAGS) $(DEFINES) -c $< -o $@

build/weights.o: weights.bin $(if $(ARRAY),weights.inc)

build/firmware.elf: $(NAMES) board.ld
\t$(CC) $(TARGET) $(LINK) $(NAMES) -o $@

build/semihosting.elf: $(patsubst build/firmware.o,build/semihosting.o,$(NAMES)) board.ld
\t$(CC) $(TARGET) $(LINK) $(filter %.o,$^) -o $@

build/%.bin: build/%.elf
\t$(OBJCOPY) $(BINARY) $< $@

weights.inc: weights.bin
\tod -An -v -tu1 weights.bin | sed -e 's/^ */ /' -e 's/  */,/g' -e 's/^,//' -e 's/$$/,/' > $@

clean:
\trm -rf build weights.inc found_outputs.bin
"""


def makefile(board: Board, sources: Sequence[str]) -> str:
    """`sources` in the order they are linked."""
    assert len({PurePosixPath(source).name for source in sources}) == len(sources), "objects would overwrite another"
    core = board.processor
    return _TEXT.format(
        title=board.title,
        zig=" ".join(["-target thumb-freestanding-eabi", f"-mcpu={core.zig}"]),
        gcc=" ".join([f"-mcpu={core.gcc}", *GCC_FLAGS]),
        flags=" ".join(FLAGS),
        sources=" ".join(sources),
    )

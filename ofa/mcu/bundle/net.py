"""`net.c` and `net.h`: a program as data that the kernels read, in C that a person can read too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from latency_tables.cortex_m.arena import Layout
from latency_tables.cortex_m.kernel_sources import kernel_struct
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import Affine, Bytes
from ofa.mcu.bundle.weights import Weights

#: the C expression of an address, by the offset in the arena
Address = Callable[[int], str]


def net_header(program: Program, layout: Layout, weights: Weights, tables: Bytes | None) -> str:
    height, width, channels = program.shapes[program.input]
    before, after = (_affine(program, name) for name in (program.input, program.output))
    lines = [
        "/* The network: put an image in, run, take the scores out. */",
        "#ifndef OFA_NET_H",
        "#define OFA_NET_H",
        "",
        '#include "kernels.h"',
        "",
        "/* All maps lie in the arena, input and output too: fill the input anew before every run. */",
        f"#define OFA_NET_ARENA_BYTES {layout.num_bytes}",
        "extern int8_t ofa_net_arena[OFA_NET_ARENA_BYTES];",
        "",
        f"#define OFA_NET_WEIGHTS_BYTES {len(weights.data)}",
        "extern const unsigned char ofa_net_weights[OFA_NET_WEIGHTS_BYTES];",
        "",
        "/* row by row, pixel by pixel, channel by channel; real value = scale * (q - zero) */",
        f"#define OFA_NET_HEIGHT {height}",
        f"#define OFA_NET_WIDTH {width}",
        f"#define OFA_NET_CHANNELS {channels}",
        f"#define OFA_NET_INPUT_BYTES {program.size(program.input)}",
        f"#define OFA_NET_INPUT (ofa_net_arena + {layout.offsets[program.input]})",
        f"#define OFA_NET_INPUT_SCALE {before.scale!r}f",
        f"#define OFA_NET_INPUT_ZERO {before.zero}",
        "",
        "/* a score for every class */",
        f"#define OFA_NET_OUTPUT_BYTES {program.size(program.output)}",
        f"#define OFA_NET_OUTPUT (ofa_net_arena + {layout.offsets[program.output]})",
        f"#define OFA_NET_OUTPUT_SCALE {after.scale!r}f",
        f"#define OFA_NET_OUTPUT_ZERO {after.zero}",
        "",
        "/* one inference */",
        "void ofa_net_run(void);",
        "",
        f"#define OFA_NET_HAS_PIXELS {int(tables is not None)}",
        "#if OFA_NET_HAS_PIXELS",
        "/* what a byte of a picture becomes */",
        "extern const int8_t ofa_net_pixels[OFA_NET_CHANNELS][256];",
        "",
        "/* a picture of 8 bits a channel, its channels side by side, becomes the input */",
        "static inline void ofa_net_set_pixels(const uint8_t *pixels) {",
        "    int8_t *input = OFA_NET_INPUT;",
        "    for (int32_t left = OFA_NET_HEIGHT * OFA_NET_WIDTH; left > 0; left--) {",
        "        for (int32_t channel = 0; channel < OFA_NET_CHANNELS; channel++) {",
        "            *input++ = ofa_net_pixels[channel][*pixels++];",
        "        }",
        "    }",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def net_source(
    program: Program,
    layout: Layout,
    weights: Weights,
    tables: Bytes | None,
    *,
    arena: str = "int8_t ofa_net_arena[OFA_NET_ARENA_BYTES] OFA_ARENA;",
    places: Mapping[str, str] | None = None,
    scratch: Mapping[str, str] | None = None,
) -> str:
    """The calls' arguments, and the steps.

    `arena` defines the memory of the maps. By default they are in one array; `places` (by map) and `scratch` (by the
    map that a call writes) are other C expressions of their addresses.
    """
    places = places or {name: f"AT({offset})" for name, offset in layout.offsets.items()}
    scratch = scratch or {name: f"AT({offset})" for name, offset in layout.scratch.items()}
    calls = [
        _call(number, call, program, {**places}, scratch.get(call.output), weights.places[number])
        for number, call in enumerate(program.calls)
    ]
    sizes = [f"OFA_CHECK(call_{number}, {len(call.arguments())});" for number, call in enumerate(program.calls)]
    steps = [f"    {{ofa_{call.kernel}, &call_{number}}}," for number, call in enumerate(program.calls)]
    return "\n".join([
        "/* The network's calls, in order: which kernel, and its struct of kernels.h, member by member. */",
        '#include "net.h"',
        "",
        "/* members of structs in structs follow one another */",
        '#pragma GCC diagnostic ignored "-Wmissing-braces"',
        "",
        "/* not cleared at reset: no output depends on a byte that was not written before */",
        "#ifdef __arm__",
        '#define OFA_ARENA __attribute__((section(".bss.ofa_net_arena"), aligned(16)))',
        "#else",
        "#define OFA_ARENA __attribute__((aligned(16)))",
        "#endif",
        arena,
        "",
        "#define AT(offset) ((void *)(ofa_net_arena + (offset)))",
        "#define WEIGHTS(offset) ((const void *)(ofa_net_weights + (offset)))",
        "",
        *calls,
        "/* as many words as the kernels' structs have, where an address is a word */",
        '#define OFA_CHECK(call, words) _Static_assert(sizeof(void *) > 4 || sizeof(call) == 4 * (words), "struct")',
        *sizes,
        "",
        f"const struct step ofa_net_steps[{len(steps)}] = {{",
        *steps,
        "};",
        f"const int32_t ofa_net_num_steps = {len(steps)};",
        *(_pixels(tables) if tables is not None else ()),
    ]) + "\n"  # fmt: skip


def class_names(names: Sequence[str]) -> str:
    """`classes.h`"""
    quoted = ",\n".join(f"    {c_string(name)}" for name in names)
    return (
        "/* What the scores are of. */\n"
        f"static const char *const ofa_class_names[OFA_NET_OUTPUT_BYTES] = {{\n{quoted},\n}};\n"
    )


def c_string(text: str) -> str:
    """A string literal of C: printable ASCII as it is, every other byte of UTF-8 in octal."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def _call(
    number: int,
    call: Call,
    program: Program,
    places: Mapping[str, str],
    scratch: str | None,
    constants: Mapping[str, int],
) -> str:
    here = {"x": places[call.inputs[0]], "y": places[call.output], "null": "0"}
    here |= {word: places[name] for word, name in zip(("second", "third"), call.inputs[1:], strict=False)}
    if scratch is not None:
        here["scratch"] = scratch
    here |= {name: f"WEIGHTS({offset})" for name, offset in constants.items()}
    words = [here[word] if isinstance(word, str) else _number(word) for word in call.arguments()]
    sizes = " and ".join(_sides(program.shapes[name]) for name in call.inputs)
    said = call.output.replace("*/", "* /")
    return (
        f"/* {said}: {sizes} -> {_sides(program.shapes[call.output])} */\n"
        f"static const struct {kernel_struct(call.kernel)} call_{number} = {{\n{_wrapped(words)}}};\n"
    )


def _number(word: int) -> str:
    word = int(word)
    if word == -(2**31):
        return "-2147483647 - 1"
    return f"{word}u" if word >= 2**31 else str(word)


def _wrapped(words: Sequence[str]) -> str:
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) > 116:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line]) + "\n"


def _sides(shape: Map) -> str:
    return " x ".join(map(str, shape))


def _pixels(tables: Bytes) -> list[str]:
    rows = [f"    {{\n{_wrapped([str(int(q)) for q in row])}    }}," for row in tables]
    return ["", "const int8_t ofa_net_pixels[OFA_NET_CHANNELS][256] = {", *rows, "};"]


def _affine(program: Program, name: str) -> Affine:
    affine = program.affine.get(name, Affine(1.0, 0))
    return Affine(float(affine.scale), int(affine.zero))

/* The golden inputs through the network on a board or in an emulator, by files of the host (semihosting): a debugger
 * or QEMU must be attached. Reads golden/inputs.bin, writes found_outputs.bin, compares that with golden/outputs.bin
 * where that is; ends with 0 if they are the same. */
#include "net.h"

extern uint32_t ofa_stack_bottom[], ofa_stack_top[];

#define OFA_PAINT 0xc5c5c5c5u

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
#define EXIT_GOOD 0x20026u
#define EXIT_BAD 0x20023u

static uint32_t host(uint32_t operation, uintptr_t argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *text) { host(SYS_WRITE0, (uintptr_t)text); }

static void say_number(const char *before, uint32_t number) {
    char digits[12];
    char *place = digits + sizeof digits;
    *--place = 0;
    *--place = '\n';
    do {
        *--place = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(before);
    say(place);
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode) {
    uintptr_t words[3] = {(uintptr_t)name, mode, length};
    return (int32_t)host(SYS_OPEN, (uintptr_t)words);
}

/* whether `count` bytes were read; written */
static int read_file(int32_t file, void *to, uint32_t count) {
    uintptr_t words[3] = {(uintptr_t)file, (uintptr_t)to, count};
    return host(SYS_READ, (uintptr_t)words) == 0;
}

static int write_file(int32_t file, const void *from, uint32_t count) {
    uintptr_t words[3] = {(uintptr_t)file, (uintptr_t)from, count};
    return host(SYS_WRITE, (uintptr_t)words) == 0;
}

static void close_file(int32_t file) {
    uintptr_t word = (uintptr_t)file;
    host(SYS_CLOSE, (uintptr_t)&word);
}

static uint32_t stack_in_use(void) {
    const uint32_t *word = ofa_stack_bottom;
    while (word < ofa_stack_top && *word == OFA_PAINT) {
        word++;
    }
    return (uint32_t)((const char *)ofa_stack_top - (const char *)word);
}

/* whether the next output of the file is the one in the arena */
static int same_output(int32_t file) {
    char expected[32];
    int same = 1;
    for (uint32_t done = 0; done < OFA_NET_OUTPUT_BYTES;) {
        uint32_t count = OFA_NET_OUTPUT_BYTES - done;
        count = count < sizeof expected ? count : sizeof expected;
        if (!read_file(file, expected, count)) {
            return 0;
        }
        for (uint32_t i = 0; i < count; i++) {
            same &= expected[i] == (char)OFA_NET_OUTPUT[done + i];
        }
        done += count;
    }
    return same;
}

#ifdef OFA_DWT
#define DEMCR (*(volatile uint32_t *)0xe000edfcu)
#define DWT_CTRL (*(volatile uint32_t *)0xe0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xe0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xe0001fb0u)
#endif

#ifdef OFA_MPU_FLASH
#define MPU_CTRL (*(volatile uint32_t *)0xe000ed94u)
#define MPU_RNR (*(volatile uint32_t *)0xe000ed98u)
#define MPU_RBAR (*(volatile uint32_t *)0xe000ed9cu)
#define MPU_RASR (*(volatile uint32_t *)0xe000eda0u)

extern const void *const ofa_vectors[];

/* for emulators with more memory than the board: all that is not the board's faults, and so does a write to flash */
static void close_memory(void) {
    MPU_RNR = 0;
    MPU_RBAR = (uint32_t)(uintptr_t)ofa_vectors;
    MPU_RASR = OFA_MPU_FLASH | 6u << 24; /* read only */
    MPU_RNR = 1;
    MPU_RBAR = (uint32_t)(uintptr_t)ofa_stack_bottom;
    MPU_RASR = OFA_MPU_SRAM | 3u << 24 | 1u << 28; /* read and write, never run */
    MPU_CTRL = 1;
    __asm__ volatile("dsb\n\tisb" : : : "memory");
}
#endif

/* a fault ends the run instead of waiting for somebody to look */
__attribute__((noreturn)) void ofa_fault(void) {
    say("fault: an access outside of the board's memory\n");
    host(SYS_EXIT, EXIT_BAD);
    for (;;) {
    }
}

int main(void) {
#ifdef OFA_MPU_FLASH
    close_memory();
#endif
    int32_t inputs = open_file("golden/inputs.bin", 17, READ_BINARY);
    int32_t expected = open_file("golden/outputs.bin", 18, READ_BINARY);
    int32_t found = open_file("found_outputs.bin", 17, WRITE_BINARY);
    uint32_t images = 0, wrong = 0, cycles = 0;
#ifdef OFA_DWT
    DEMCR |= 1u << 24;
    DWT_LAR = 0xc5acce55u;
    DWT_CTRL |= 1u;
#endif
    while (inputs >= 0 && read_file(inputs, OFA_NET_INPUT, OFA_NET_INPUT_BYTES)) {
#ifdef OFA_DWT
        uint32_t before = DWT_CYCCNT;
#endif
        ofa_net_run();
#ifdef OFA_DWT
        cycles = DWT_CYCCNT - before;
#endif
        images++;
        if (found >= 0 && !write_file(found, OFA_NET_OUTPUT, OFA_NET_OUTPUT_BYTES)) {
            say("found_outputs.bin cannot be written\n");
            wrong++;
        }
        if (expected >= 0) {
            wrong += !same_output(expected);
        }
    }
    if (found >= 0) {
        close_file(found);
    }
    say_number("images ", images);
    say_number("wrong ", wrong);
    say_number("stack_bytes ", stack_in_use());
    if (cycles) {
        say_number("cycles ", cycles);
    }
    host(SYS_EXIT, images && !wrong ? EXIT_GOOD : EXIT_BAD);
    return 0;
}

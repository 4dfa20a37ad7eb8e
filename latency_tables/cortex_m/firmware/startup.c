/* From reset to main on a bare Cortex-M: vector table, painted stack, initialised variables. */
#include <stdint.h>

/* of the linker script */
extern uint32_t ofa_stack_bottom[], ofa_stack_top[];
extern uint32_t ofa_data_load[], ofa_data_start[], ofa_data_end[], ofa_bss_start[], ofa_bss_end[];

int main(void);

/* what the stack is filled with: words that still hold it were never in use */
#define OFA_PAINT 0xc5c5c5c5u

/* where every fault and every interrupt that nobody handles ends */
__attribute__((noreturn, weak)) void ofa_fault(void) {
    for (;;) {
    }
}

__attribute__((noreturn)) void ofa_reset(void) {
    uint32_t *top;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (uint32_t *word = ofa_stack_bottom; word < top; word++) {
        *word = OFA_PAINT;
    }
    for (uint32_t *to = ofa_data_start, *from = ofa_data_load; to < ofa_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *word = ofa_bss_start; word < ofa_bss_end; word++) {
        *word = 0;
    }
    main();
    ofa_fault();
}

/* the sixteen entries that every core has; interrupts of peripherals, which a board adds, stay off */
__attribute__((section(".vectors"), used)) const void *const ofa_vectors[16] = {
    ofa_stack_top,
    (const void *)ofa_reset,
    (const void *)ofa_fault, /* NMI */
    (const void *)ofa_fault, /* HardFault */
    (const void *)ofa_fault, /* MemManage */
    (const void *)ofa_fault, /* BusFault */
    (const void *)ofa_fault, /* UsageFault */
    (const void *)ofa_fault, /* SecureFault */
    0,
    0,
    0,
    (const void *)ofa_fault, /* SVCall */
    (const void *)ofa_fault, /* DebugMonitor */
    0,
    (const void *)ofa_fault, /* PendSV */
    (const void *)ofa_fault, /* SysTick */
};

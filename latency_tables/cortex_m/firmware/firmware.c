/* The smallest program around a network: one inference after another. Put your camera before it and your decision
 * behind it. With -DOFA_DWT the core's cycle counter is read around every inference, into `ofa_cycles`. */
#include <stdint.h>

void ofa_net_run(void);

#ifdef OFA_DWT
#define DEMCR (*(volatile uint32_t *)0xe000edfcu)
#define DWT_CTRL (*(volatile uint32_t *)0xe0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xe0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xe0001fb0u)

volatile uint32_t ofa_cycles;
#endif

/* a place for a breakpoint: the output lies in the arena now */
__attribute__((noinline)) void ofa_done(void) { __asm__ volatile("" : : : "memory"); }

int main(void) {
#ifdef OFA_DWT
    DEMCR |= 1u << 24;       /* trace on */
    DWT_LAR = 0xc5acce55u;   /* unlock: some Cortex-M7 need it, others ignore it */
    DWT_CTRL |= 1u;
#endif
    for (;;) {
#ifdef OFA_DWT
        uint32_t before = DWT_CYCCNT;
#endif
        ofa_net_run();
#ifdef OFA_DWT
        ofa_cycles = DWT_CYCCNT - before;
#endif
        ofa_done();
    }
}

/* From reset to the end of one inference, for emulators: no part of a deployed network. */
#include "kernels.h"

extern char ofa_stack_top[];
extern const struct {
    const struct step *steps;
    int32_t count;
} ofa_network;

/* ends the emulation (semihosting SYS_EXIT); not inlined, so that one inference is told from what is around it */
__attribute__((noinline, noreturn)) void ofa_stop(void) {
    register int32_t operation __asm__("r0") = 0x18;
    register int32_t reason __asm__("r1") = 0x20026;
    for (;;) {
        __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(reason) : "memory");
    }
}

__attribute__((noreturn)) void ofa_start(void) {
    ofa_run(ofa_network.steps, ofa_network.count);
    ofa_stop();
}

__attribute__((section(".vectors"), used)) const void *const ofa_vectors[] = {ofa_stack_top, (const void *)ofa_start};

/* every kernel is there, whether a network needs it or not; a network finds them in this order */
__attribute__((section(".kernels"), used)) void (*const ofa_kernels[])(const void *) = {
    ofa_pointwise,
    ofa_convolution,
    ofa_depthwise,
    ofa_global_average,
    ofa_average_pool,
    ofa_max_pool,
    ofa_add,
    ofa_scale,
    ofa_lookup,
    ofa_layer_norm,
    ofa_attention,
    ofa_inverted_residual,
    ofa_attention_by_operators,
    ofa_linear_attention,
    ofa_overwriting_attention,
    ofa_overwriting_mlp,
    ofa_patch_embedding,
};

/* The network's constants, from weights.bin. */
#include "net.h"

#if defined(OFA_WEIGHTS_ARRAY) || defined(__APPLE__) || defined(_WIN32)

const unsigned char ofa_net_weights[OFA_NET_WEIGHTS_BYTES] __attribute__((aligned(16))) = {
#include "weights.inc" /* `make weights.inc` */
};

#else

#ifdef __arm__
#define OFA_TYPE "%progbits"
#else
#define OFA_TYPE "@progbits"
#endif

__asm__(".section .rodata.ofa_net_weights, \"a\", " OFA_TYPE "\n"
        ".balign 16\n"
        ".global ofa_net_weights\n"
        "ofa_net_weights:\n"
        ".incbin \"weights.bin\"\n"
        ".previous\n");

#endif

/* One inference: the steps of a network, one after the other. */
#include "kernels.h"

void ofa_run(const struct step *steps, int32_t count) {
    for (; count > 0; count--) {
        steps->kernel(steps->arguments);
        steps++;
    }
}

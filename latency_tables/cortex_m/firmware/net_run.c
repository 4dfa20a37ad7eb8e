/* One inference of the network of net.c. */
#include "kernels.h"

extern const struct step ofa_net_steps[];
extern const int32_t ofa_net_num_steps;

void ofa_net_run(void);

void ofa_net_run(void) { ofa_run(ofa_net_steps, ofa_net_num_steps); }

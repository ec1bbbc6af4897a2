/*
 * broken.c - a rule of the cluster, broken on demand, to see that the simulator finds it.
 *
 * Lives here: the one function that the linker puts between the room's files (-Wl,--wrap=claim_condemn): the removal of ghosts.
 * Never here: a test hook inside src.
 * Runs in: the simulator.
 */
#include "sim.h"

struct claim;

void __real_claim_condemn(struct cluster *c, struct claim *claim);
void __wrap_claim_condemn(struct cluster *c, struct claim *claim);

bool broken_is_on;

void
__wrap_claim_condemn(struct cluster *c, struct claim *claim)
{
    if (!broken_is_on)
        __real_claim_condemn(c, claim);
}

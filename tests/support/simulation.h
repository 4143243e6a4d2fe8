/* simulation.h: the ranks of a run as threads of one process that take turns, on a network made by
 * a seed: its messages are late, overtake each other, come twice or not at all, and ranks die. No
 * MPI. A transport of src/comm, so that whole runs can be tried thousands of times. */
#ifndef BALLOT_TEST_SIMULATION_H
#define BALLOT_TEST_SIMULATION_H

#include "ballot/comm.h"

/** What the network does. Chances are of one message in so many; 0: never. */
typedef struct bal_network {
    uint64_t seed;
    int late;  /* takes up to a hundred times as long as the others: it is overtaken */
    int twice; /* comes again, later */
    int again; /* is lost, and sent again after a time-out */
    int lost;  /* is lost for good: whoever waits for it gives up */
    int death; /* is the last that its sender sends */
} bal_network;

/** What a rank does; its communicator is the simulation's. */
typedef bal_status bal_rank_main(bal_comm *comm, void *what);

/** Run n_ranks ranks to their end. A rank that died, or gave up, sees BAL_LOST from then on.
 *  @param statuses  [n_ranks] what each rank's main returned */
void bal_simulate(int n_ranks, const bal_network *network, bal_rank_main *rank_main, void *what,
                  bal_status *statuses);

/** Called for every reduction once it is complete: a place for faults that no network has, as a
 * rank that lies, or one that is told something else than the others. NULL: none.
 *  @param contributions  [n_ranks] what each rank brings, to be changed
 *  @param rank           -1 before they are combined; then, for each rank, the words it will see */
typedef void bal_tamper(int n_ranks, const bal_reduction *how, uint64_t **contributions, int rank,
                        uint64_t *words);
extern bal_tamper *bal_simulation_tamper;

#endif

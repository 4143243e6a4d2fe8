/* replicas.c: comparing the copies of a model, and naming the one that differs. */
#include <stdlib.h>

#include "ballot/replicas.h"

bal_status bal_replica_fingerprint(bal_shared *shared, const bal_tensors *tensors,
                                   const bal_states *states, uint64_t *fingerprint)
{
    *fingerprint = bal_states_fingerprint_part(states, tensors, bal_shared_part(shared),
                                               bal_shared_n_parts(shared));
    return bal_shared_sum(shared, fingerprint, 1);
}

/* Which copy and tensor: every tensor's fingerprint from every rank. A copy stands for one, however
 * many ranks share it, and is named by the first of them. */
static bal_status name_difference(bal_comm *comm, bal_shared *shared, const bal_tensors *tensors,
                                  const bal_states *states)
{
    int n = tensors->n, size = bal_comm_size(comm), n_copies = 0;
    int part = bal_shared_part(shared), n_parts = bal_shared_n_parts(shared);
    uint64_t *mine = bal_alloc((size_t)n + 1, sizeof *mine);
    uint64_t *all = bal_alloc(((size_t)n + 1) * (size_t)size, sizeof *all);
    int *copies = bal_alloc((size_t)size, sizeof *copies); /* the first rank of each */
    bal_status status = mine == NULL || all == NULL || copies == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory to compare ranks")
                            : BAL_OK;
    status = bal_comm_agree(comm, status);
    if (status != BAL_OK) goto done;
    for (int i = 0; i < n; ++i)
        mine[i] = bal_tensor_fingerprint_part(&tensors->at[i], i, part, n_parts) +
                  bal_states_fingerprint_of(states, tensors, i, part, n_parts);
    status = bal_comm_agree(comm, bal_shared_sum(shared, mine, n));
    if (status != BAL_OK) goto done;
    mine[n] = (uint64_t)part;
    status = bal_comm_gather(comm, mine, n + 1, all);
    for (int rank = 0; rank < size; ++rank)
        if (all[rank * (n + 1) + n] == 0) copies[n_copies++] = rank;
    for (int i = 0; i < n && status == BAL_OK; ++i) {
        int best = 0, odd = -1; /* what most copies hold is taken to be right */
        uint64_t right = 0;
        for (int a = 0; a < n_copies; ++a) {
            uint64_t print = all[copies[a] * (n + 1) + i];
            int same = 0;
            for (int b = 0; b < n_copies; ++b) same += all[copies[b] * (n + 1) + i] == print;
            if (same > best) best = same, right = print;
        }
        for (int a = 0; a < n_copies && odd < 0; ++a)
            if (all[copies[a] * (n + 1) + i] != right) odd = copies[a];
        if (odd >= 0)
            status = bal_fail(BAL_ERR_STATE,
                              "replicas drifted: tensor %s of rank %d differs from that of %d of "
                              "%d copies; check the memory of that rank's machine",
                              tensors->at[i].name, odd, best, n_copies);
    }
done:
    free(mine);
    free(all);
    free(copies);
    return status;
}

bal_status bal_replicas_compare(bal_comm *comm, bal_shared *shared, const bal_tensors *tensors,
                                const bal_states *states, uint64_t *fingerprint)
{
    uint64_t words[2] = {0};
    BAL_TRY(bal_comm_agree(comm, bal_replica_fingerprint(shared, tensors, states, &words[0])));
    words[1] = words[0];
    BAL_TRY(bal_comm_reduce(comm, &(bal_reduction){.n_min = 1, .n_max = 1}, words));
    *fingerprint = words[0];
    return words[0] == words[1] ? BAL_OK : name_difference(comm, shared, tensors, states);
}

/* include/ballot/replicas.h: whether all copies of a model, of nodes or ranks, are the same. Knows
 * fingerprints; knows nothing of why they should be. */
#ifndef BALLOT_REPLICAS_H
#define BALLOT_REPLICAS_H

#include "ballot/comm.h"
#include "ballot/states.h"

BAL_C_BEGIN

/** bal_states_fingerprint of tensors in shared memory: the ranks of the copy hash a part each.
 *  Collective on the copy. @return BAL_OK; BAL_ERR_MPI. */
bal_status bal_replica_fingerprint(bal_shared *shared, const bal_tensors *tensors,
                                   const bal_states *states, uint64_t *fingerprint);
/** Are all copies of the tensors the same? Names rank and tensor if not. Collective.
 *  @param fingerprint  of the tensors, where they are
 *  @return BAL_OK; BAL_ERR_STATE; BAL_ERR_MPI. */
bal_status bal_replicas_compare(bal_comm *comm, bal_shared *shared, const bal_tensors *tensors,
                                const bal_states *states, uint64_t *fingerprint);

BAL_C_END

#endif

/* include/ballot/ballot.h: the front door: one include for all of ballot.
 *
 * The story of a run, in the order in which the rooms work:
 *
 * The ranks meet: bal_comm_start begins MPI and gives each its bal_comm (comm_mpi.h, comm.h). Each
 * opens the same model with bal_source_open (source.h): hub.h reads the files, quant.h rounds the
 * weights to integer codes, tensors.h lists them, and model.h computes with them. bal_corpus_open
 * turns a text into a data set, by the tokenizer that came with the model (text.h, data.h,
 * batch.h); bal_task_open and bal_task_dataset do so with questions and answers (task.h).
 *
 * A step deals its slots to the ranks (bal_slot_rank, vote.h). For each of its slots a rank draws a
 * mini-batch with bal_dataset_draw, and takes a random direction z of +1 and -1, one for each code.
 * Both are functions of the seed, the step and the slot, so that nobody has to send them
 * (perturb.h). Two forward passes say what the batch costs at code + z and at code - z:
 * bal_forward_losses, or bal_answerer_answer where answers are written (answer.h). There is no
 * backward pass. The vote is the sign of their difference: which way along z is down. bal_probe and
 * bal_probe_votes do all of this, and more (probe.h). bal_ballot_cast puts the vote on the ballot.
 *
 * bal_ballot_count adds up the votes of all ranks, the one message of a step. Rank 0 writes the
 * ballot to disk with bal_journal_append (record.h) before anyone acts on it. Then bal_optim_apply
 * adds each code's votes over the slots, and the rule moves codes by them (optim.h). That takes
 * integers alone, so every rank moves its codes alike; bal_states_fingerprint shows that they
 * agree. From time to time bal_checkpoint_write saves the model.
 *
 * bal_train does all of this for a bal_job, or continues where it stopped (job.h, train.h).
 * bal_evaluate and bal_replicas_compare are what ranks do together with a model (evaluate.h,
 * replicas.h), and bal_estimate_job says what a job takes (estimate.h). kernels.h is the
 * arithmetic below it all, bench.h its speed, blockwise.h how real numbers fit in 8 bits, json.h
 * and ini.h how JSON and INI are read.
 *
 * Calls that can fail return a bal_status, and bal_failure gives the message that explains it
 * (core.h). "Collective" in a comment says that all ranks make the call together; "Local", that one
 * rank may make it alone. The programs in examples/ show the first steps. */
#ifndef BALLOT_BALLOT_H
#define BALLOT_BALLOT_H

#include "ballot/answer.h"
#include "ballot/balance.h"
#include "ballot/batch.h"
#include "ballot/bench.h"
#include "ballot/blockwise.h"
#include "ballot/comm.h"
#include "ballot/comm_mpi.h"
#include "ballot/core.h"
#include "ballot/data.h"
#include "ballot/estimate.h"
#include "ballot/evaluate.h"
#include "ballot/hub.h"
#include "ballot/ini.h"
#include "ballot/job.h"
#include "ballot/json.h"
#include "ballot/kernels.h"
#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/perturb.h"
#include "ballot/probe.h"
#include "ballot/quant.h"
#include "ballot/record.h"
#include "ballot/replicas.h"
#include "ballot/source.h"
#include "ballot/states.h"
#include "ballot/task.h"
#include "ballot/tensors.h"
#include "ballot/text.h"
#include "ballot/train.h"
#include "ballot/vote.h"

#endif

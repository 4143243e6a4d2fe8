/* mpirun -n RANKS step MODEL TEXT: the first of a hundred training steps, the same on any ranks. */
#include "need.h"

enum { N_SLOTS = 64, N_EXAMPLES = 2, CONTEXT = 64, SEED = 1, N_TOKENS = N_EXAMPLES * CONTEXT };

int main(int argc, char **argv)
{
    bal_comm *comm;
    bal_bundle bundle = {0}; /* a model of int8 codes, and its tokenizer */
    bal_dataset text = {0};
    bal_batch batch;
    bal_forward *forward; /* work space of forward passes */
    bal_optim *optim;     /* what moves codes by votes */
    bal_ballot *ballot;
    if (argc != 3) need(bal_fail(BAL_ERR_ARG, "usage: step MODEL TEXT"));
    need(bal_comm_start(&comm));
    bal_job job = bal_job_default();
    bal_states states = bal_rule_of(job.rule.name)->states; /* what the rule remembers */
    bal_source_options to_train = {.formats = {.matrices = BAL_I8}, .states = &states};
    need(bal_source_open(argv[1], &to_train, &bundle));
    job.rule.travel = 4.0; /* auto is for whole runs, which search for it */
    job.run.steps = 100, job.vote.slots = N_SLOTS, job.data.context = CONTEXT;
    snprintf(job.data.train, sizeof job.data.train, "%s", argv[2]);
    need(bal_job_open_data(&job, NULL, BAL_SPLIT_TRAIN, true, &bundle, &text));
    need(bal_batch_init(&batch, bal_batch_text(N_EXAMPLES, CONTEXT)));
    bal_machine machine = {.kernels = bal_kernels_at(bal_isa_best())};
    bal_tensors *tensors = need_room(bal_model_tensors(bundle.model));
    bool on_ballot[MAX_TENSORS]; /* which tensors are voted on */
    need(bal_job_tensors(&job, tensors, on_ballot));
    bal_measure measure = bal_job_measure(&job, bal_job_streams(&job), &machine, tensors, on_ballot);
    need(bal_job_optim(&job, &machine, tensors, &states, &measure, &optim));
    need(bal_ballot_create(comm, bal_job_ballot(&job), &ballot));
    need(bal_forward_create(bundle.model, machine.kernels, N_TOKENS, CONTEXT, &forward));

    for (int slot = bal_comm_rank(comm); slot < N_SLOTS; slot += bal_comm_size(comm)) {
        bal_direction z = {.measure = measure, .slot = (uint32_t)slot};
        bal_losses at[2] = {{0}, {0}}; /* losses at code + z and at code - z */
        bal_dataset_draw(&text, machine.kernels, SEED, 0, z.slot, N_EXAMPLES, &batch);
        need(bal_forward_losses(forward, &batch, &z, at));
        int64_t better = at[1].loss - at[0].loss; /* along +z */
        need(bal_ballot_cast(ballot, slot, (better > 0) - (better < 0)));
    }
    uint64_t bits[BAL_SIGN_BITS * N_SLOTS / 64]; /* the votes of all ranks */
    need(bal_ballot_count(ballot, bits, &(bal_totals){0}));
    bal_optim_apply(optim, 0, bits, 0, 1, (uint32_t[MAX_TENSORS]){0});
    if (bal_comm_rank(comm) == 0)
        printf("%lld of %d directions raise or lower the loss\nfingerprint %016llx\n",
               (long long)bal_ballot_n_decided(bal_job_ballot(&job), bits), N_SLOTS,
               (unsigned long long)bal_states_fingerprint(&states, tensors));
    bal_ballot_destroy(&ballot);
    bal_optim_destroy(&optim);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_dataset_clear(&text);
    bal_bundle_clear(&bundle);
    bal_states_clear(&states);
    bal_comm_end(&comm);
    return 0;
}

/* rule MODEL TEXT: training by a rule of your own: a code takes a step where votes are clear. */
#include "need.h"

enum { N_STEPS = 10, N_SLOTS = 256, CONTEXT = 64, SEED = 1, CLEAR = 16 };

/* tally[i]: votes to raise code first + i, less those to lower it. CLEAR is one sigma of chance. */
static uint32_t update(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                       int8_t *const remembered[], int16_t *tally)
{
    (void)step, (void)remembered; /* this rule has no schedule and no memory */
    uint32_t n_moved = 0;
    for (int64_t i = 0; i < n; ++i) {
        int code = bal_tensor_code(tensor, first + i);
        int move = (tally[i] > CLEAR) - (tally[i] < -CLEAR);
        if (move == 0 || code - 1 < tensor->low || code + 1 > tensor->high) continue;
        bal_tensor_put(tensor, first + i, code + move);
        ++n_moved;
    }
    return n_moved;
}

int main(int argc, char **argv)
{
    static const bal_rule rule = {.update = update};
    static bal_bundle bundle; /* these live until the program ends */
    static bal_dataset text;
    static bal_batch batch;
    static bal_forward *forward;
    static bal_optim *optim;
    static bool on_ballot[MAX_TENSORS];
    const bal_kernels *kernels = bal_kernels_at(bal_isa_best());
    if (argc != 3) need(bal_fail(BAL_ERR_ARG, "usage: rule MODEL TEXT"));
    need(bal_source_open(argv[1], &(bal_source_options){.formats = {.matrices = BAL_I8}}, &bundle));
    bal_tensors *tensors = need_room(bal_model_tensors(bundle.model));
    bal_corpus_options cut = {.context = CONTEXT};
    need(bal_corpus_open(argv[2], bundle.tokenizer, &cut, &text));
    need(bal_batch_init(&batch, bal_batch_text(1, CONTEXT)));
    need(bal_forward_create(bundle.model, kernels, CONTEXT, CONTEXT, &forward));
    for (int i = 0; i < tensors->n; ++i) on_ballot[i] = true;
    bal_measure measure = {kernels, {.noise = 1, .density = 1.0}, SEED, 0, on_ballot, NULL};
    bal_optim_options options = {{.kind = &rule}, measure, {N_SLOTS, BAL_SIGN_BITS}, N_STEPS, 0};
    need(bal_optim_create(tensors, &rule.states, &options, &optim));
    for (uint32_t step = 0; step < N_STEPS; ++step) {
        int64_t loss = 0;
        uint64_t bits[BAL_SIGN_BITS * N_SLOTS / 64] = {0}; /* the votes */
        bal_direction z = {.measure = bal_measure_at(measure, step)};
        for (z.slot = 0; z.slot < N_SLOTS; ++z.slot) {
            bal_losses at[2] = {{0}, {0}}; /* losses at code + z and at code - z */
            bal_dataset_draw(&text, kernels, SEED, step, z.slot, 1, &batch);
            need(bal_forward_losses(forward, &batch, &z, at));
            int64_t better = at[1].loss - at[0].loss; /* along +z */
            bal_ballot_put(options.ballot, bits, (int)z.slot, (better > 0) - (better < 0));
            loss += at[0].loss + at[1].loss;
        }
        bal_optim_apply(optim, step, bits, 0, 1, (uint32_t[MAX_TENSORS]){0});
        printf("step %u: %.4f nats per token\n", step,
               (double)loss / (2.0 * N_SLOTS * CONTEXT * BAL_LOSS_UNITS_PER_NAT));
    }
}

/* optim.c: a counted ballot to new codes, tensor by tensor, block by block. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim_impl.h"

struct bal_optim {
    bal_tensors *tensors;
    const bal_kernels *kernels;
    bal_optim_options options;
    const bal_rule *rule;
    bal_tally *tally;
    int8_t *votes; /* [n_slots] */
};

bal_status bal_optim_create(bal_tensors *tensors, const bal_kernels *kernels,
                            const bal_optim_options *options, bal_optim **optim)
{
    const bal_rule *rule = &bal_rules[options->rule.kind];
    BAL_TRY(rule->check(options));
    bal_status status = BAL_ERR_MEMORY;
    bal_optim *o = bal_alloc(1, sizeof *o);
    if (o == NULL) goto done;
    *o = (bal_optim){.tensors = tensors, .kernels = kernels, .options = *options, .rule = rule};
    o->votes = bal_alloc((size_t)options->ballot.n_slots, 1);
    if (o->votes == NULL) goto done;
    status = bal_tally_create(options->ballot.n_slots, options->tally, &o->tally);
    if (status != BAL_OK) goto done;
    *optim = o;
    o = NULL;
done:
    bal_optim_destroy(&o);
    if (status != BAL_OK)
        bal_fail(status, "no memory for the updates of %d slots", options->ballot.n_slots);
    return status;
}

void bal_optim_destroy(bal_optim **optim)
{
    bal_optim *o = *optim;
    if (o == NULL) return;
    bal_tally_destroy(&o->tally);
    free(o->votes);
    free(o);
    *optim = NULL;
}

bal_measure bal_optim_measure(const bal_optim *o, int64_t step)
{
    return (bal_measure){.kernels = o->kernels,
                         .options = o->options.perturb,
                         .seed = o->options.seed,
                         .step = (uint32_t)step,
                         .n_tensors = o->tensors->n,
                         .on_ballot = o->options.on_ballot};
}

/* How far a vote moves a carry: rate = travel sqrt(3 / (density steps)) (1 - t / steps), so that
 * pure noise, of tallies with variance n_slots, carries a code by travel steps RMS over the run. A
 * vote is 256 rate / sqrt(n_slots) = multiplier * 2^(shift - 15), rounded to the nearest odd
 * multiplier. */
static bal_rule_step begin_step(const bal_optim *o, int64_t step)
{
    const bal_optim_options *options = &o->options;
    double n_steps = (double)options->n_steps;
    double rate = options->rule.travel * sqrt(3.0 / (options->perturb.density * n_steps)) *
                  (1.0 - (double)step / n_steps);
    double multiplier = 32768.0 * (256.0 * rate / sqrt((double)options->ballot.n_slots));
    bal_rule_step s = {.options = options, .kernels = o->kernels};
    for (; multiplier >= 32768.0 && s.shift < BAL_SHIFT_MAX; ++s.shift) multiplier /= 2.0;
    s.multiplier = (multiplier < 32767.0 ? (int)multiplier : 32767) | 1;
    return s;
}

void bal_optim_apply(bal_optim *o, int64_t step, const uint64_t *bits, int part, int n_parts,
                     uint32_t *flips)
{
    enum { SPAN = BAL_SPAN_BLOCKS };
    bal_measure measure = bal_optim_measure(o, step);
    bal_ballot_votes(o->options.ballot, bits, o->votes);
    bal_tally_load(o->tally, &measure, o->votes);
    bal_rule_step rule_step = begin_step(o, step);
    for (int index = 0; index < measure.n_tensors; ++index) {
        bal_tensor *tensor = &o->tensors->at[index];
        flips[index] = 0;
        if (!measure.on_ballot[index]) continue;
        assert(tensor->carry != NULL);
        int64_t first, end;
        bal_tensor_slice(tensor, part, n_parts, &first, &end);
        for (int64_t n; first < end; first += n) {
            _Alignas(64) int16_t tally[SPAN * BAL_BLOCK_CODES];
            n = SPAN - first % SPAN < end - first ? SPAN - first % SPAN : end - first;
            bal_tally_fill(o->tally, index, first, n, tally);
            flips[index] += o->rule->update(&rule_step, tensor, first * BAL_BLOCK_CODES,
                                            n * BAL_BLOCK_CODES, tally);
        }
    }
}

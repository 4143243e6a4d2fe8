/* optim.c: a counted ballot to new codes, tensor by tensor, block by block. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim_impl.h"

struct bal_optim {
    bal_tensors *tensors;
    bal_states states;
    bal_optim_options options;
    bal_tally *tally;
    int tally_shift;
    int8_t *votes;       /* [n_slots] */
    double rate, factor; /* of the steps to come, see bal_rule_step */
};

/* Wide sets have so many votes that their sums would leave 16 bits. Units keep the standard
 * deviation of noise at 512 to 1024: 16 of them fit below 2^14, and rounding adds a millionth to
 * its square. */
static int tally_shift(const bal_optim_options *options)
{
    int shift = 0;
    if (options->measure.options.kind != BAL_DIRECTIONS_WALSH_WIDE) return 0;
    double deviation = sqrt((double)options->ballot.n_slots) * bal_ballot_vote_rms(options->ballot);
    for (; deviation > 1024.0; deviation /= 2.0) ++shift;
    return shift;
}

bal_status bal_optim_create(bal_tensors *tensors, const bal_states *states,
                            const bal_optim_options *options, bal_optim **optim)
{
    const bal_rule *rule = options->rule.kind;
    assert(states->n == rule->states.n);
    for (int i = 1; i < states->n; ++i) /* as a reader of checkpoints finds them */
        assert(strcmp(states->at[i - 1].name, states->at[i].name) < 0);
    if (rule->check != NULL) BAL_TRY(rule->check(options));
    bal_status status = BAL_ERR_MEMORY;
    bal_optim *o = bal_alloc(1, sizeof *o);
    if (o == NULL) goto done;
    *o = (bal_optim){.tensors = tensors,
                     .states = *states,
                     .options = *options,
                     .tally_shift = tally_shift(options)};
    o->factor = 1.0;
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

void bal_optim_set_rate(bal_optim *optim, double rate, double factor)
{
    optim->rate = rate;
    optim->factor = factor;
}

/* Blocks first .. end - 1 of a tensor, a span at a time. @return codes that changed */
static uint32_t apply_to(const bal_optim *o, const bal_rule_step *step, int index, int64_t first,
                         int64_t end)
{
    enum { SPAN = BAL_SPAN_BLOCKS };
    bal_tensor *tensor = &o->tensors->at[index];
    uint32_t n_flips = 0;
    for (int64_t n; first < end; first += n) {
        _Alignas(64) int16_t tally[SPAN * BAL_BLOCK_CODES];
        n = SPAN - first % SPAN < end - first ? SPAN - first % SPAN : end - first;
        int8_t *remembered[BAL_STATES_MAX];
        for (int i = 0; i < o->states.n; ++i)
            remembered[i] = bal_state_of(&o->states.at[i], tensor) + first * BAL_BLOCK_CODES;
        bal_tally_fill(o->tally, index, first, n, tally);
        n_flips += o->options.rule.kind->update(step, tensor, first * BAL_BLOCK_CODES,
                                                n * BAL_BLOCK_CODES, remembered, tally);
    }
    return n_flips;
}

void bal_optim_apply(bal_optim *o, int64_t step, const uint64_t *bits, int part, int n_parts,
                     uint32_t *flips)
{
    bal_measure measure = bal_measure_at(o->options.measure, step);
    bal_ballot_votes(o->options.ballot, bits, o->votes);
    bal_tally_load(o->tally, &measure, o->votes, o->tally_shift);
    const bal_rule *rule = o->options.rule.kind;
    bal_rule_step rule_step = {.options = &o->options,
                               .step = step,
                               .rate = o->rate,
                               .factor = o->factor,
                               .tally_unit = 1 << o->tally_shift};
    if (rule->begin != NULL) rule->begin(&rule_step);
    for (int index = 0; index < o->tensors->n; ++index) {
        flips[index] = 0;
        if (!measure.on_ballot[index]) continue;
        int64_t first, end;
        bal_tensor_slice(&o->tensors->at[index], part, n_parts, &first, &end);
        flips[index] = apply_to(o, &rule_step, index, first, end);
    }
}

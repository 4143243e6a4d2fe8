/* optim.c: a counted ballot to new codes, tensor by tensor, block by block. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim_impl.h"

enum { N_SPAN = BAL_SPAN_BLOCKS * BAL_BLOCK_CODES };

struct bal_optim {
    bal_tensors *tensors;
    bal_states states;
    bal_optim_options options;
    bal_tally *tally;
    int tally_shift;
    int8_t *votes;       /* [n_slots] */
    bal_book books[2];   /* of real numbers: any, and 0 or more */
    float *values;       /* [BAL_STATES_MAX - 1][SPAN codes], of rules of real numbers; else NULL */
    double rate, factor; /* of the steps to come, see bal_rule_step */
    double slope;        /* of the next, see bal_optim_set_slope */
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
    assert(rule->change == NULL || (states->n > 0 && states->at[0].kind == BAL_STATE_BYTES));
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
    if (rule->change != NULL) {
        bal_book_init(&o->books[0], true);
        bal_book_init(&o->books[1], false);
        o->values = bal_alloc((BAL_STATES_MAX - 1) * N_SPAN, sizeof *o->values);
    }
    if (o->votes == NULL || (rule->change != NULL && o->values == NULL)) goto done;
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
    free(o->values);
    free(o);
    *optim = NULL;
}

void bal_optim_set_rate(bal_optim *optim, double rate, double factor)
{
    optim->rate = rate;
    optim->factor = factor;
}

void bal_optim_set_slope(bal_optim *optim, double slope) { optim->slope = slope; }

/* The slope is a root mean square of normally distributed numbers, of which votes have the sizes.
 */
static double unit_of(const bal_optim *o)
{
    const double rms_of_mean = 1.2533141373155003; /* sqrt(pi / 2) */
    int64_t sum = 0;
    for (int slot = 0; slot < o->options.ballot.n_slots; ++slot) sum += abs(o->votes[slot]);
    bool known = o->slope > 0.0 && o->slope < 1e30 && sum > 0;
    return known ? o->slope / rms_of_mean / (double)sum : 0.0;
}

static const bal_book *book_of(const bal_optim *o, int state)
{
    return &o->books[o->states.at[state].kind == BAL_STATE_SQUARE];
}

/* A span by a rule of real numbers, of which the tensor has reals [states.n]. */
static uint32_t apply_reals(const bal_optim *o, bal_rule_step step, int index,
                            const bal_reals *reals, int64_t first, int64_t n, const int16_t *tally)
{
    const bal_states *states = &o->states;
    bal_tensor *tensor = &o->tensors->at[index];
    float *values[BAL_STATES_MAX];
    for (int i = 1; i < states->n; ++i) {
        values[i] = o->values + (i - 1) * N_SPAN;
        bal_reals_load(&reals[i], book_of(o, i), first, n, values[i]);
    }
    step.tensor = index;
    step.first = first;
    uint32_t n_flips = bal_real_update(
        &step, tensor, n, bal_state_of(&states->at[0], tensor) + first, values + 1, tally);
    for (int i = 1; i < states->n; ++i)
        bal_reals_store(&reals[i], book_of(o, i), first, n, values[i]);
    return n_flips;
}

/* A span by a rule of integers. */
static uint32_t apply_integers(const bal_optim *o, const bal_rule_step *step, int index,
                               int64_t first, int64_t n, int16_t *tally)
{
    bal_tensor *tensor = &o->tensors->at[index];
    int8_t *remembered[BAL_STATES_MAX];
    for (int i = 0; i < o->states.n; ++i)
        remembered[i] = bal_state_of(&o->states.at[i], tensor) + first;
    return o->options.rule.kind->update(step, tensor, first, n, remembered, tally);
}

/* Blocks first .. end - 1 of a tensor, a span at a time. @return codes that changed */
static uint32_t apply_to(const bal_optim *o, const bal_rule_step *step, int index, int64_t first,
                         int64_t end)
{
    enum { SPAN = BAL_SPAN_BLOCKS };
    bool real = o->options.rule.kind->change != NULL;
    bal_reals reals[BAL_STATES_MAX] = {0};
    for (int i = 1; real && i < o->states.n; ++i)
        reals[i] = bal_state_reals(&o->states.at[i], o->tensors, index);
    uint32_t n_flips = 0;
    for (int64_t n; first < end; first += n) {
        _Alignas(64) int16_t tally[N_SPAN];
        n = SPAN - first % SPAN < end - first ? SPAN - first % SPAN : end - first;
        int64_t at = first * BAL_BLOCK_CODES, n_codes = n * BAL_BLOCK_CODES;
        bal_tally_fill(o->tally, index, first, n, tally);
        n_flips += real ? apply_reals(o, *step, index, reals, at, n_codes, tally)
                        : apply_integers(o, step, index, at, n_codes, tally);
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
                               .unit = rule->takes_slope ? unit_of(o) : 0.0,
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

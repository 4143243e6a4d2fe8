/* branches.h: batches of questions with answers that branch off a prompt. */
#ifndef BALLOT_TEST_BRANCHES_H
#define BALLOT_TEST_BRANCHES_H

#include "toy.h"

#define N_ANSWERS 3
#define N_PROMPTS 2

/* Demonstrations, prompts that continue them, and answers of several lengths to each. */
static const int32_t common[] = {5, 80, 17}, prompts[N_PROMPTS][4] = {{3, 1, 4, 1}, {59, 26, 5, 3}},
                     answers[N_ANSWERS][4] = {{9}, {61, 2}, {64, 0, 70, 11}};
static const int64_t lengths[N_ANSWERS] = {1, 2, 4};

static inline bal_batch empty(void)
{
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, (bal_batch_size){16, 6 * TOY_CONTEXT, 8}), BAL_OK);
    return batch;
}

static inline bal_batch branched(bool continues)
{
    bal_batch batch = empty();
    int64_t root = continues ? -1 : bal_batch_sequence(&batch, -1, common, 3);
    for (int p = 0; p < N_PROMPTS; ++p) {
        int64_t prompt = bal_batch_sequence(&batch, root, prompts[p], 4);
        bal_batch_ask(&batch, prompt, N_ANSWERS, p, false);
        for (int a = 0; a < N_ANSWERS; ++a)
            bal_batch_answer(&batch, prompt, answers[a], lengths[a]);
    }
    return batch;
}

/* The same questions, a sequence from its first token to its last for each answer. */
static inline bal_batch written_out(void)
{
    bal_batch batch = empty();
    for (int p = 0; p < N_PROMPTS; ++p)
        for (int a = 0; a < N_ANSWERS; ++a) {
            for (int i = 0; i < 3; ++i) bal_batch_add(&batch, common[i], -1);
            for (int i = 0; i < 4; ++i)
                bal_batch_add(&batch, prompts[p][i], i < 3 ? -1 : answers[a][0]);
            for (int i = 1; i < lengths[a]; ++i)
                bal_batch_add(&batch, answers[a][i - 1], answers[a][i]);
            bal_batch_end(&batch);
        }
    return batch;
}

#endif

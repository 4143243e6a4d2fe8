/* samples.h: a small model and a snapshot of it, a function of a seed; and entries of a journal. */
#ifndef BALLOT_TEST_SAMPLES_H
#define BALLOT_TEST_SAMPLES_H

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/record.h"
#include "suite.h"

static const bal_model_config sample_shape = {.dim = 12,
                                              .hidden = 20,
                                              .n_layers = 1,
                                              .n_heads = 3,
                                              .n_kv_heads = 1,
                                              .head_dim = 4,
                                              .n_vocab = 70,
                                              .max_tokens = 32,
                                              .tied_head = true,
                                              .rope.pairs = BAL_ROPE_HALVES,
                                              .rope.base = 10000.0,
                                              .norm_eps = 1e-5};

/* Codes of -1, 0 and 1, which every format has. */
static inline bal_model *sample_model(uint64_t seed)
{
    bal_model *model = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_create(&sample_shape, &(bal_formats){.matrices = BAL_I8}, &model), BAL_OK);
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        bal_tensor *t = &bal_model_tensors(model)->at[i];
        int64_t n = bal_tensor_n(t);
        int16_t *codes = malloc((size_t)n * sizeof *codes);
        for (int64_t at = 0; at < n; ++at) {
            int code = (int)(bal_test_random(&seed) % 3) - 1;
            if (t->format == BAL_I16)
                codes[at] = (int16_t)code;
            else
                ((int8_t *)codes)[at] = (int8_t)code;
        }
        CU_ASSERT_EQUAL_FATAL(bal_tensor_set_codes(t, codes), BAL_OK);
        for (int64_t row = 0; row < t->n_rows; ++row) t->scale[row] = (float)(1 + row % 7);
        free(codes);
    }
    return model;
}

/* The tokens "t00", "t01", ... in the layout of llama2.c. */
static inline bal_files sample_files(void)
{
    bal_files files = {0};
    unsigned char bytes[4 + 70 * 11];
    const int32_t n_bytes = 3;
    memcpy(bytes, &n_bytes, 4);
    for (int id = 0; id < 70; ++id) {
        unsigned char *at = bytes + 4 + 11 * id;
        char text[16];
        const float score = (float)-id;
        snprintf(text, sizeof text, "t%02d", id);
        memcpy(at, &score, 4);
        memcpy(at + 4, &n_bytes, 4);
        memcpy(at + 8, text, 3);
    }
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "tokenizer.bin", bytes, sizeof bytes), BAL_OK);
    return files;
}

/* After `step` steps; to be cleared. */
static inline bal_snapshot sample_snapshot(int step)
{
    bal_snapshot s = {.step = step,
                      .id = {.seed = 1, .stream_version = 1, .n_slots = 64, .n_steps = 9},
                      .model = sample_model((uint64_t)step),
                      .files = sample_files(),
                      .job_text = strdup("[run]\nseed = 1\n"),
                      .isa = strdup("ref"),
                      .journal = calloc(1000, 1),
                      .journal_bytes = 1000,
                      .dev_loss_nats = 4.25};
    s.states = (bal_states){.n = 1, .at = {{.name = "carry"}}};
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&s.states, bal_model_tensors(s.model)), BAL_OK);
    s.fingerprint = bal_states_fingerprint(&s.states, bal_model_tensors(s.model));
    CU_ASSERT_EQUAL_FATAL(bal_metrics_create(".", bal_model_tensors(s.model)->n, &s.metrics),
                          BAL_OK);
    for (int row = 0; row < step; ++row)
        CU_ASSERT_EQUAL_FATAL(bal_metrics_put(s.metrics, &(bal_metrics_row){.step = row}), BAL_OK);
    return s;
}

enum { SLOTS = 100, WORDS = 4 };

static const bal_run_id sample_id = {
    .seed = 7, .stream_version = 1, .n_slots = SLOTS, .n_steps = 99};

static const bal_journal_form sample_form = {.n_bits = BAL_SIGN_BITS, .n_points = 2};

static inline bal_journal_entry sample_entry(int64_t step, uint64_t bits[WORDS])
{
    uint64_t state = 1000 + (uint64_t)step, last = ((uint64_t)1 << SLOTS % 64) - 1;
    for (int i = 0; i < WORDS; ++i)
        bits[i] = bal_test_random(&state) & (i % 2 == 0 ? UINT64_MAX : last);
    return (bal_journal_entry){.step = step,
                               .dev_loss = (int64_t)(bal_test_random(&state) >> 1),
                               .accused = -1,
                               .bits = bits};
}

/* Every entry of the journal is the one that was appended. */
static inline bool entries_are_right(bal_journal *journal)
{
    for (int64_t step = 0; step < bal_journal_n(journal); ++step) {
        uint64_t bits[WORDS];
        bal_journal_entry found, expected = sample_entry(step, bits);
        if (bal_journal_read(journal, step, &found) != BAL_OK || found.step != step ||
            found.dev_loss != expected.dev_loss || memcmp(found.bits, bits, sizeof bits) != 0)
            return false;
    }
    return true;
}

#endif

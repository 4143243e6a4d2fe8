/* record_checkpoint.c: a checkpoint gives back every number of a snapshot, or says that it cannot.
 */
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ballot/record.h"
#include "files.h"
#include "suite.h"

#define N_VOCAB 70

static const bal_model_config small = {.dim = 12,
                                       .hidden = 20,
                                       .n_layers = 2,
                                       .n_heads = 3,
                                       .n_kv_heads = 1,
                                       .head_dim = 4,
                                       .n_vocab = N_VOCAB,
                                       .max_tokens = 32,
                                       .tied_head = true,
                                       .rope.pairs = BAL_ROPE_HALVES,
                                       .rope.base = 10000.0,
                                       .norm_eps = 1e-5};

static bal_model *make_model(const bal_model_config *config, uint64_t seed)
{
    bal_model *model = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_model_create(config, &(bal_formats){.matrices = BAL_I8}, &model),
                          BAL_OK);
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        bal_tensor *t = &bal_model_tensors(model)->at[i];
        int64_t n = bal_tensor_n(t);
        int16_t *codes = malloc((size_t)n * sizeof *codes);
        int8_t *bytes = (int8_t *)codes;
        for (int64_t at = 0; at < n; ++at) {
            uint64_t range = 2 * (uint64_t)t->high + 1;
            int code = (int)(bal_test_random(&seed) % range) - t->high;
            if (t->format == BAL_I8)
                bytes[at] = (int8_t)code;
            else
                codes[at] = (int16_t)code;
        }
        CU_ASSERT_EQUAL_FATAL(bal_tensor_set_codes(t, codes), BAL_OK);
        for (int64_t row = 0; row < t->n_rows; ++row)
            t->scale[row] = 1e-6f * (float)(1 + bal_test_random(&seed) % 1000000);
        free(codes);
    }
    return model;
}

/* Two states of any bytes. */
static bal_states make_states(const bal_tensors *tensors, uint64_t seed)
{
    bal_states states = {.n = 2, .at = {{.name = "carry"}, {.name = "momentum"}}};
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&states, tensors), BAL_OK);
    for (int i = 0; i < tensors->n; ++i)
        for (int k = 0; k < states.n; ++k) {
            const bal_tensor *t = &tensors->at[i];
            int8_t *bytes = bal_alloc((size_t)bal_tensor_n(t), 1);
            CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
            for (int64_t at = 0; at < bal_tensor_n(t); ++at)
                bytes[at] = (int8_t)bal_test_random(&seed);
            bal_tensor_set_bytes(t, bytes, bal_state_of(&states.at[k], t));
            free(bytes);
        }
    return states;
}

/* Tokens "t00", "t01", ... in the layout of llama2.c, beside a file without bytes. */
static bal_files make_files(void)
{
    bal_files files = {0};
    unsigned char bytes[4 + N_VOCAB * 11];
    const int32_t longest = 3, n_bytes = 3;
    size_t at = sizeof longest;
    memcpy(bytes, &longest, sizeof longest);
    for (int id = 0; id < N_VOCAB; ++id) {
        char text[16];
        const float score = (float)-id;
        snprintf(text, sizeof text, "t%02d", id);
        memcpy(bytes + at, &score, 4);
        memcpy(bytes + at + 4, &n_bytes, 4);
        memcpy(bytes + at + 8, text, 3);
        at += 11;
    }
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "empty.json", NULL, 0), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "tokenizer.bin", bytes, at), BAL_OK);
    return files;
}

/* A snapshot after n_steps steps; bal_snapshot_clear frees it. */
static bal_snapshot make_snapshot(const bal_model_config *config, int64_t n_steps,
                                  size_t journal_bytes)
{
    uint64_t state = 99;
    bal_snapshot s = {.step = n_steps,
                      .id = {.seed = UINT64_MAX - 3,
                             .stream_version = 7,
                             .n_slots = 64,
                             .n_steps = 1000,
                             .job_hash = 1,
                             .base_hash = UINT64_MAX,
                             .data_hash = 3,
                             .task_hash = n_steps % 2 ? 4 : 0},
                      .model = make_model(config, 5),
                      .files = make_files(),
                      .job_text = strdup("[run]\nseed = 1 ; \xc3\xa9\n"),
                      .isa = strdup("avx512"),
                      .journal = malloc(journal_bytes + 1),
                      .journal_bytes = journal_bytes,
                      .dev_loss_nats = n_steps == 0 ? (double)NAN : 4.25};
    s.states = make_states(bal_model_tensors(s.model), 8);
    s.fingerprint = bal_states_fingerprint(&s.states, bal_model_tensors(s.model));
    int n_tensors = bal_model_tensors(s.model)->n;
    for (size_t i = 0; i < journal_bytes; ++i) s.journal[i] = (uint8_t)bal_test_random(&state);
    CU_ASSERT_EQUAL_FATAL(bal_metrics_create(".", n_tensors, &s.metrics), BAL_OK);
    uint32_t *flips = calloc((size_t)n_tensors, sizeof *flips);
    for (int64_t step = 0; step < n_steps; ++step) {
        bal_metrics_row row = {.step = step,
                               .loss_nats = 5.0 / (double)(step + 1),
                               .dev_loss_nats = step % 2 == 0 ? 4.0 : (double)NAN,
                               .dev_metric = 0.125 * (double)(step % 8),
                               .agreement = 0.5,
                               .slope = 0.25 / (double)(step + 1),
                               .share = step % 2 == 0 ? (double)NAN : 0.125,
                               .rise = step % 3 == 0 ? (double)NAN : -0.5,
                               .n_passes = 128 * (step + 1),
                               .flips = flips};
        for (int phase = 0; phase < BAL_N_PHASES; ++phase)
            row.seconds[phase] = 0.25 * phase + (double)step;
        for (int tensor = 0; tensor < n_tensors; ++tensor)
            flips[tensor] = (uint32_t)bal_test_random(&state);
        CU_ASSERT_EQUAL_FATAL(bal_metrics_put(s.metrics, &row), BAL_OK);
    }
    free(flips);
    return s;
}

static bool same_bytes(const void *a, const void *b, size_t n_bytes)
{
    return n_bytes == 0 || memcmp(a, b, n_bytes) == 0;
}

static bool same_tensor(const bal_tensor *a, const bal_tensor *b)
{
    size_t n_codes = (size_t)a->n_blocks * BAL_BLOCK_CODES;
    return strcmp(a->name, b->name) == 0 && a->n_rows == b->n_rows && a->n_cols == b->n_cols &&
           same_bytes(a->codes, b->codes, n_codes * (a->format == BAL_I8 ? 1 : 2)) &&
           same_bytes(a->scale, b->scale, (size_t)a->n_rows * sizeof *a->scale);
}

static bool same_states(const bal_snapshot *a, const bal_snapshot *b)
{
    size_t n_bytes = bal_states_bytes(&a->states, bal_model_tensors(a->model));
    bool same = a->states.n == b->states.n;
    for (int i = 0; same && i < a->states.n; ++i)
        same = strcmp(a->states.at[i].name, b->states.at[i].name) == 0;
    return same && (a->states.n == 0 ||
                    same_bytes(a->states.at[0].memory, b->states.at[0].memory, n_bytes));
}

static bool same_metrics(bal_metrics *a, bal_metrics *b, int n_tensors)
{
    bool same = bal_metrics_n(a) == bal_metrics_n(b);
    for (int64_t i = 0; same && i < bal_metrics_n(a); ++i) {
        bal_metrics_row x, y;
        CU_ASSERT_EQUAL_FATAL(bal_metrics_get(a, i, &x), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_metrics_get(b, i, &y), BAL_OK);
        same = same_bytes(&x, &y, offsetof(bal_metrics_row, flips)) &&
               same_bytes(x.flips, y.flips, (size_t)n_tensors * sizeof *x.flips);
    }
    return same;
}

static void check_same(const bal_snapshot *a, const bal_snapshot *b, bool with_states)
{
    const bal_model_config *x = bal_model_shape(a->model), *y = bal_model_shape(b->model);
    CU_ASSERT(a->step == b->step && a->fingerprint == b->fingerprint);
    CU_ASSERT(memcmp(&a->id, &b->id, sizeof a->id) == 0);
    CU_ASSERT(x->dim == y->dim && x->hidden == y->hidden && x->n_layers == y->n_layers &&
              x->n_heads == y->n_heads && x->n_kv_heads == y->n_kv_heads &&
              x->head_dim == y->head_dim && x->n_vocab == y->n_vocab &&
              x->max_tokens == y->max_tokens && x->tied_head == y->tied_head &&
              x->rope.pairs == y->rope.pairs);
    CU_ASSERT(same_bytes(&x->rope.base, &y->rope.base, 8) &&
              same_bytes(&x->norm_eps, &y->norm_eps, 8));
    CU_ASSERT_EQUAL_FATAL(bal_model_tensors(a->model)->n, bal_model_tensors(b->model)->n);
    for (int i = 0; i < bal_model_tensors(a->model)->n; ++i)
        CU_ASSERT(
            same_tensor(&bal_model_tensors(a->model)->at[i], &bal_model_tensors(b->model)->at[i]));
    CU_ASSERT(with_states ? same_states(a, b) : b->states.n == 0);
    CU_ASSERT_EQUAL_FATAL(a->files.n, b->files.n);
    for (int i = 0; i < a->files.n; ++i) {
        const bal_named_bytes *f = &a->files.at[i], *g = &b->files.at[i];
        CU_ASSERT_STRING_EQUAL(f->name, g->name);
        CU_ASSERT(f->n_bytes == g->n_bytes && same_bytes(f->bytes, g->bytes, f->n_bytes));
    }
    CU_ASSERT_STRING_EQUAL(a->job_text, b->job_text);
    CU_ASSERT_STRING_EQUAL(a->isa, b->isa);
    CU_ASSERT(a->journal_bytes == b->journal_bytes &&
              same_bytes(a->journal, b->journal, a->journal_bytes));
    CU_ASSERT(isnan(a->dev_loss_nats) ? isnan(b->dev_loss_nats)
                                      : same_bytes(&a->dev_loss_nats, &b->dev_loss_nats, 8));
}

/* dir [PATH_MAX] gets a new folder, path [2 * PATH_MAX] the checkpoint in it. */
static void make_paths(const char *name, char *dir, char *path)
{
    snprintf(dir, PATH_MAX, "%s", bal_test_dir(name));
    snprintf(path, 2 * PATH_MAX, "%s/step.h5", dir);
}

static void check_comes_back(const bal_model_config *config, int64_t n_steps, size_t journal_bytes)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    bal_snapshot written = make_snapshot(config, n_steps, journal_bytes), read;
    make_paths("round", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
    CU_ASSERT_EQUAL(count_entries(dir), 1);
    CU_ASSERT(bal_checkpoint_recognizes(path));
    CU_ASSERT_EQUAL(bal_checkpoint_verify(path), BAL_OK);
    for (int with_states = 0; with_states < 2; ++with_states) {
        bal_status status = bal_checkpoint_read(path, with_states != 0, &read);
        CU_ASSERT_EQUAL(status, BAL_OK);
        if (status != BAL_OK) {
            printf(" %s\n", bal_failure());
            continue;
        }
        check_same(&written, &read, with_states != 0);
        CU_ASSERT_PTR_NULL(read.metrics);
        int n_tensors = bal_model_tensors(read.model)->n;
        CU_ASSERT_EQUAL_FATAL(bal_metrics_create(dir, n_tensors, &read.metrics), BAL_OK);
        CU_ASSERT_EQUAL(bal_checkpoint_read_metrics(path, read.metrics), BAL_OK);
        CU_ASSERT(same_metrics(written.metrics, read.metrics, n_tensors));
        bal_snapshot_clear(&read);
    }
    bal_snapshot_clear(&written);
}

static void test_every_number_comes_back(void)
{
    check_comes_back(&small, 3, 1000);
    check_comes_back(&small, 0, 0);
    check_comes_back(&small, 70, 2500001);
    check_comes_back(&small, 1300, 0); /* more rows than are copied at once */
}

static void test_models_of_other_shapes_come_back(void)
{
    bal_model_config config = small;
    config.tied_head = false;
    config.rope.pairs = BAL_ROPE_ADJACENT;
    check_comes_back(&config, 1, 128);
    config.n_layers = 150; /* more than 64 KiB of tensor names */
    check_comes_back(&config, 1, 128);
    config = small;
    config.n_layers = config.n_heads = config.dim = config.hidden = 1;
    config.head_dim = 2;
    check_comes_back(&config, 1, 128);
    config.dim = 1100; /* codes of more than one chunk, the last not full */
    config.hidden = 1099;
    check_comes_back(&config, 1, 128);
}

static void test_weights_are_read_into_a_model_of_the_same_shape_alone(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    bal_snapshot written = make_snapshot(&small, 1, 10), read;
    bal_model_config config = small;
    make_paths("fill", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_checkpoint_outline(path, &read), BAL_OK);
    CU_ASSERT_PTR_NULL(bal_model_tensors(read.model)->at[0].codes); /* no memory is taken for it */
    CU_ASSERT_EQUAL(read.fingerprint, written.fingerprint);
    bal_model *same = make_model(&small, 12345); /* other weights */
    bal_tensors *tensors = bal_model_tensors(same);
    bal_states states = make_states(tensors, 54321);
    CU_ASSERT_EQUAL(bal_checkpoint_fill(path, tensors, &states), BAL_OK);
    CU_ASSERT_EQUAL(bal_states_fingerprint(&states, tensors), written.fingerprint);
    bal_states_clear(&states);
    ++config.n_vocab;
    bal_model *other = make_model(&config, 1);
    CU_ASSERT_EQUAL(bal_checkpoint_fill(path, bal_model_tensors(other), NULL), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "another shape"));
    bal_model_destroy(&same);
    bal_model_destroy(&other);
    bal_snapshot_clear(&read);
    bal_snapshot_clear(&written);
}

static void test_a_rule_gets_the_states_that_it_names_or_an_error(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    bal_snapshot written = make_snapshot(&small, 1, 10), read;
    bal_tensors *tensors = bal_model_tensors(written.model);
    size_t n_bytes = bal_states_bytes(&written.states, tensors) / 2; /* of each */
    bal_states one = {.n = 1, .at = {{.name = "momentum"}}};
    make_paths("states", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&one, tensors), BAL_OK);
    CU_ASSERT_EQUAL(bal_checkpoint_fill(path, tensors, &one), BAL_OK);
    CU_ASSERT(same_bytes(one.at[0].memory, written.states.at[1].memory, n_bytes));
    strcpy(one.at[0].name, "variance");
    CU_ASSERT_EQUAL(bal_checkpoint_fill(path, tensors, &one), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "has no /optimizer/variance"));
    bal_states_clear(&one);

    written.states.n = 0; /* a rule that remembers nothing */
    written.fingerprint = bal_tensors_fingerprint(tensors);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
    CU_ASSERT_EQUAL(bal_checkpoint_read(path, true, &read), BAL_OK);
    check_same(&written, &read, true);
    bal_snapshot_clear(&read);
    bal_snapshot_clear(&written);
}

/* A snapshot of a rule of real numbers, in 8 bits where that is allowed. */
static bal_snapshot make_reals(int group)
{
    bal_model_config wide = small;
    wide.hidden = 400; /* matrices of 4,800 codes; those of attention are small */
    bal_snapshot s = make_snapshot(&wide, 1, 10);
    const bal_tensors *tensors = bal_model_tensors(s.model);
    uint64_t state = 77;
    bal_states_clear(&s.states);
    s.states = (bal_states){.n = 3,
                            .at = {{.name = "carry"},
                                   {.name = "exp_avg", .kind = BAL_STATE_REAL},
                                   {.name = "exp_avg_sq", .kind = BAL_STATE_SQUARE}}};
    bal_states_set_group(&s.states, group);
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&s.states, tensors), BAL_OK);
    for (int k = 1; k < s.states.n; ++k)
        for (int i = 0; i < tensors->n; ++i) {
            const bal_tensor *t = &tensors->at[i];
            bal_reals reals = bal_state_reals(&s.states.at[k], tensors, i);
            float *row_major = bal_alloc((size_t)bal_tensor_n(t), sizeof *row_major);
            float *floats = bal_alloc((size_t)t->n_blocks * BAL_BLOCK_CODES, sizeof *floats);
            bal_book book;
            CU_ASSERT_FATAL(row_major != NULL && floats != NULL);
            for (int64_t at = 0; at < bal_tensor_n(t); ++at) {
                row_major[at] = (float)(bal_test_random(&state) % 2001) / 1000.0f;
                if (k == 1) row_major[at] -= 1.0f;
            }
            bal_tensor_set_floats(t, row_major, floats);
            bal_book_init(&book, k == 1);
            bal_reals_store(&reals, &book, 0, t->n_blocks * BAL_BLOCK_CODES, floats);
            free(row_major);
            free(floats);
        }
    s.fingerprint = bal_states_fingerprint(&s.states, tensors);
    return s;
}

static void test_real_numbers_come_back_in_8_bits_or_as_floats(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    make_paths("reals", dir, path);
    for (int group = 0; group <= 2048; group += group == 0 ? 256 : 1792) {
        bal_snapshot written = make_reals(group), read;
        bal_tensors *tensors = bal_model_tensors(written.model);
        CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_checkpoint_read(path, true, &read), BAL_OK);
        check_same(&written, &read, true);
        CU_ASSERT_EQUAL(read.states.at[2].kind, BAL_STATE_SQUARE);
        CU_ASSERT_EQUAL(read.states.at[2].group, group);
        CU_ASSERT_EQUAL(bal_states_fingerprint(&read.states, bal_model_tensors(read.model)),
                        written.fingerprint);
        bal_states other = read.states; /* as another run would have them */
        other.owned = NULL;
        bal_states_set_group(&other, group == 256 ? 0 : 256);
        CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&other, tensors), BAL_OK);
        CU_ASSERT_EQUAL(bal_checkpoint_fill(path, tensors, &other), BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "set [rule] states to what"));
        bal_states_clear(&other);
        bal_snapshot_clear(&read);
        bal_snapshot_clear(&written);
    }
}

static void test_real_numbers_must_be_finite_and_squares_not_below_0(void)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY, -1.0f};
    char dir[PATH_MAX], path[2 * PATH_MAX];
    make_paths("wrong", dir, path);
    for (int k = 0; k < 3 * 4; ++k) { /* in floats of both states, and in scales */
        bal_snapshot written = make_reals(256), read;
        bal_tensors *tensors = bal_model_tensors(written.model);
        int big = bal_tensors_find(tensors, "model.layers.1.mlp.up_proj.weight");
        bal_reals floats = bal_state_reals(&written.states.at[1 + k / 4 % 2], tensors, 0);
        bal_reals codes = bal_state_reals(&written.states.at[1], tensors, big);
        CU_ASSERT_FATAL(floats.floats != NULL && codes.scales != NULL);
        *(k < 8 ? &floats.floats[0] : &codes.scales[codes.n_scales - 1]) = wrong[k % 4];
        written.fingerprint = bal_states_fingerprint(&written.states, tensors);
        CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &written), BAL_OK);
        bal_status status = bal_checkpoint_read(path, true, &read);
        CU_ASSERT_EQUAL(status, k == 3 ? BAL_OK : BAL_ERR_INPUT);
        if (status == BAL_OK)
            bal_snapshot_clear(&read);
        else
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "a number that is not finite"));
        bal_snapshot_clear(&written);
    }
}

static void test_one_snapshot_gives_the_same_bytes_twice(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    size_t n_bytes, n_again;
    unsigned char *bytes;
    bal_snapshot s = make_snapshot(&small, 20, 5000);
    make_paths("twice", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
    bytes = read_file(path, &n_bytes);
    sleep(1); /* into another second */
    for (int filling = 0x11; filling < 0x100; filling += 0x77) {
        mallopt(M_PERTURB, filling); /* memory that was not set differs between the writes */
        CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
        unsigned char *again = read_file(path, &n_again);
        CU_ASSERT(n_again == n_bytes && memcmp(again, bytes, n_bytes) == 0);
        free(again);
    }
    mallopt(M_PERTURB, 0);
    free(bytes);
    bal_snapshot_clear(&s);
}

static void test_every_flipped_bit_and_every_cut_is_found(void)
{
    const uint64_t seed = 424242;
    uint64_t state = seed;
    char dir[PATH_MAX], path[2 * PATH_MAX];
    size_t n_bytes;
    bal_snapshot s = make_snapshot(&small, 3, 500), read;
    make_paths("damage", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
    bal_snapshot_clear(&s);
    unsigned char *bytes = read_file(path, &n_bytes);
    for (int trial = 0; trial < 1000; ++trial) {
        /* Every fourth in the user block, which is small. */
        size_t bit = bal_test_random(&state) % (8 * (trial % 4 == 0 ? 512 : n_bytes));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(path, bytes, n_bytes);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        bool found = bal_checkpoint_verify(path) == BAL_ERR_INPUT &&
                     bal_checkpoint_read(path, false, &read) == BAL_ERR_INPUT;
        CU_ASSERT(found);
        if (!found) printf(" seed %" PRIu64 ", trial %d, bit %zu\n", seed, trial, bit);
    }
    for (size_t kept = 0; kept < n_bytes; kept += kept < 600 ? 1 : 997) {
        write_file(path, bytes, kept);
        CU_ASSERT_EQUAL(bal_checkpoint_verify(path), BAL_ERR_INPUT);
        CU_ASSERT_EQUAL(bal_checkpoint_read(path, true, &read), BAL_ERR_INPUT);
        CU_ASSERT_EQUAL(bal_checkpoint_recognizes(path), kept >= 18);
    }
    bytes[n_bytes] = 0; /* read_file leaves room for one more */
    write_file(path, bytes, n_bytes + 1);
    CU_ASSERT_EQUAL(bal_checkpoint_verify(path), BAL_ERR_INPUT);
    write_file(path, bytes, n_bytes);
    CU_ASSERT_EQUAL(bal_checkpoint_verify(path), BAL_OK);
    free(bytes);
    CU_ASSERT_EQUAL(bal_checkpoint_verify("no such file"), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(bal_checkpoint_verify("."), BAL_ERR_INPUT);
    CU_ASSERT(!bal_checkpoint_recognizes("no such file"));
}

static void test_a_wrong_fingerprint_is_found(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    bal_snapshot s = make_snapshot(&small, 1, 10), read;
    make_paths("fingerprint", dir, path);
    s.fingerprint ^= 1;
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
    CU_ASSERT_EQUAL(bal_checkpoint_read(path, true, &read), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "fingerprint"));
    CU_ASSERT(read.model == NULL && read.job_text == NULL);
    CU_ASSERT_EQUAL(bal_checkpoint_read(path, false, &read), BAL_OK);
    CU_ASSERT_EQUAL(read.fingerprint, s.fingerprint);
    bal_snapshot_clear(&read);
    bal_snapshot_clear(&s);
}

static void test_impossible_scales_are_refused(void)
{
    const float scales[] = {0.0f, -1.0f, INFINITY, NAN};
    char dir[PATH_MAX], path[2 * PATH_MAX];
    make_paths("scales", dir, path);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; ++i) {
        bal_snapshot s = make_snapshot(&small, 1, 10), read;
        bal_tensor *t = &bal_model_tensors(s.model)->at[0];
        t->scale[t->n_rows - 1] = scales[i];
        s.fingerprint = bal_states_fingerprint(&s.states, bal_model_tensors(s.model));
        CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
        CU_ASSERT_EQUAL(bal_checkpoint_read(path, true, &read), BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "/scale/model.embed_tokens.weight"));
        bal_snapshot_clear(&s);
    }
}

static void test_a_full_disk_leaves_the_old_checkpoint(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    size_t n_bytes, n_left;
    bal_snapshot s = make_snapshot(&small, 2, 300000);
    unsigned char *left;
    make_paths("full", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
    unsigned char *bytes = read_file(path, &n_bytes);
    int n_open = count_entries("/proc/self/fd");
    s.step = 3;
    for (size_t room = 0; room < n_bytes; room += n_bytes / 40) {
        limit_files(room);
        bal_status status = bal_checkpoint_write(dir, "step.h5", &s);
        limit_files(RLIM_INFINITY);
        CU_ASSERT_EQUAL(status, BAL_ERR_IO);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "File too large"));
        if (strstr(bal_failure(), "File too large") == NULL)
            printf(" %zu: %s\n", room, bal_failure());
        CU_ASSERT_EQUAL(count_entries(dir), 1);
        left = read_file(path, &n_left);
        CU_ASSERT(n_left == n_bytes && memcmp(left, bytes, n_bytes) == 0);
        free(left);
    }
    CU_ASSERT_EQUAL(count_entries("/proc/self/fd"), n_open);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_OK);
    CU_ASSERT_EQUAL(bal_checkpoint_verify(path), BAL_OK);
    free(bytes);
    bal_snapshot_clear(&s);
}

static void test_a_folder_that_cannot_take_it_is_named(void)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    bal_snapshot s = make_snapshot(&small, 1, 10);
    make_paths("folder", dir, path);
    CU_ASSERT_EQUAL(bal_checkpoint_write("no such folder", "step.h5", &s), BAL_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "no such folder"));
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "No such file or directory"));
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0777), 0);
    CU_ASSERT_EQUAL(bal_checkpoint_write(dir, "step.h5", &s), BAL_ERR_IO);
    CU_ASSERT_EQUAL(count_entries(dir), 1); /* the folder in its place, no temporary file */
    bal_snapshot_clear(&s);
}

const char bal_suite_name[] = "record: checkpoint";
const bal_test bal_suite_tests[] = {
    {"every number comes back", test_every_number_comes_back},
    {"models of other shapes come back", test_models_of_other_shapes_come_back},
    {"weights are read into a model of the same shape alone",
     test_weights_are_read_into_a_model_of_the_same_shape_alone},
    {"a rule gets the states that it names, or an error",
     test_a_rule_gets_the_states_that_it_names_or_an_error},
    {"real numbers come back, in 8 bits or as floats",
     test_real_numbers_come_back_in_8_bits_or_as_floats},
    {"real numbers must be finite, and squares not below 0",
     test_real_numbers_must_be_finite_and_squares_not_below_0},
    {"one snapshot gives the same bytes twice", test_one_snapshot_gives_the_same_bytes_twice},
    {"every flipped bit and every cut is found", test_every_flipped_bit_and_every_cut_is_found},
    {"a wrong fingerprint is found", test_a_wrong_fingerprint_is_found},
    {"impossible scales are refused", test_impossible_scales_are_refused},
    {"a full disk leaves the old checkpoint", test_a_full_disk_leaves_the_old_checkpoint},
    {"a folder that cannot take it is named", test_a_folder_that_cannot_take_it_is_named},
    {NULL, NULL},
};

/* hub_families.c: every family against transformers' own class, see
 * tests/golden/families/README.md: the logits of floats, how close rounded models come, and that a
 * text can be read in any pieces. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/hub.h"
#include "suite.h"

#define N_SEQUENCES 3

static const char *const folders[] = {
    "opt-pre",      "opt-post",     "llama-tied", "llama3",         "llama3-tied",
    "llama-linear", "llama-bias",   "vicuna",     "mistral-window", "mistral-full",
    "gpt2",         "gpt2-old",     "gpt2-inner", "roberta",        "roberta-untied",
    "qwen2",        "qwen2-untied", "qwen3",      "qwen3-tied"};
#define N_FOLDERS (sizeof folders / sizeof *folders)

static const char *path_of(const char *folder, const char *file)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/families/%s%s%s", tests != NULL ? tests : "tests",
             folder, file[0] != 0 ? "/" : "", file);
    return path;
}

/* Sequences of logits.bin. */
typedef struct golden {
    bal_mapping file;
    int64_t n_vocab, n_tokens[N_SEQUENCES];
    int32_t *tokens[N_SEQUENCES];
    const float *logits[N_SEQUENCES];
} golden;

static golden open_golden(const char *folder)
{
    golden g = {0};
    int32_t head[2];
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path_of(folder, "logits.bin"), &g.file), BAL_OK);
    memcpy(head, g.file.data, sizeof head);
    CU_ASSERT_EQUAL_FATAL(head[0], N_SEQUENCES);
    g.n_vocab = head[1];
    const int32_t *from = (const int32_t *)(const void *)g.file.data + 2;
    for (int i = 0; i < N_SEQUENCES; ++i) {
        g.n_tokens[i] = *from++;
        g.tokens[i] = (int32_t *)(uintptr_t)from;
        from += g.n_tokens[i];
        g.logits[i] = (const float *)(const void *)from;
        from += g.n_tokens[i] * g.n_vocab;
    }
    CU_ASSERT_PTR_EQUAL_FATAL((const uint8_t *)from, g.file.data + g.file.n_bytes);
    return g;
}

static bal_bundle load(const char *folder, bal_format format, int group)
{
    bal_bundle bundle;
    bal_formats formats = {.matrices = format, .group = group};
    bal_status status = bal_hub_load(path_of(folder, ""), &formats, &bundle);
    if (status != BAL_OK) printf("\n    %s: %s", folder, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return bundle;
}

static bal_forward *forward_of(const bal_model *model, bal_isa isa, int64_t n)
{
    bal_forward *forward = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(isa), n, n, &forward), BAL_OK);
    return forward;
}

/* Logits of a sequence by a model, for free(). */
static float *logits_of(const bal_model *model, bal_isa isa, const golden *g, int i)
{
    float *logits = bal_alloc((size_t)(g->n_tokens[i] * g->n_vocab), sizeof *logits);
    bal_forward *forward = forward_of(model, isa, g->n_tokens[i]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(logits);
    CU_ASSERT_EQUAL(bal_forward_logits(forward, g->tokens[i], g->n_tokens[i], logits), BAL_OK);
    bal_forward_destroy(&forward);
    return logits;
}

/* Largest difference of a folder's float logits, as a share of the largest logit. */
static double difference(const char *folder)
{
    golden g = open_golden(folder);
    bal_bundle bundle = load(folder, BAL_F32, 0);
    double worst = 0.0, largest = 0.0;
    CU_ASSERT_EQUAL_FATAL(bal_model_shape(bundle.model)->n_vocab, g.n_vocab);
    for (int i = 0; i < N_SEQUENCES; ++i) {
        float *logits = logits_of(bundle.model, bal_isa_best(), &g, i);
        for (int64_t j = 0; j < g.n_tokens[i] * g.n_vocab; ++j) {
            worst = fmax(worst, fabs((double)logits[j] - (double)g.logits[i][j]));
            largest = fmax(largest, fabs((double)g.logits[i][j]));
        }
        free(logits);
    }
    bal_bundle_clear(&bundle);
    bal_mapping_close(&g.file);
    return worst / largest;
}

static void test_float_logits_are_those_of_transformers(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        double share = difference(folders[i]);
        printf("\n    %-15s %.1e of the largest logit", folders[i], share);
        CU_ASSERT(share < 1e-5); /* a wrong eps or gelu changes 1e-4 */
    }
}

/* Rounded models: the loss over the last sequence, and how many likeliest words stay. */
typedef struct rounded {
    double nats, same_top;
} rounded;

static int64_t top_of(const float *logits, int64_t n)
{
    int64_t top = 0;
    for (int64_t i = 1; i < n; ++i)
        if (logits[i] > logits[top]) top = i;
    return top;
}

/* Loss of the next token, or, of an encoder, of the token itself. */
static double nats_of(const bal_model *model, const golden *g)
{
    const int last = N_SEQUENCES - 1;
    bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
    int64_t n = g->n_tokens[last];
    bal_forward *forward = forward_of(model, bal_isa_best(), n);
    bal_losses losses = {0};
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(1, n)), BAL_OK);
    for (int64_t i = 0; i < n; ++i) {
        int32_t next = i + 1 < n ? g->tokens[last][i + 1] : -1;
        bal_batch_add(&batch, g->tokens[last][i], encoder ? g->tokens[last][i] : next);
    }
    bal_batch_end(&batch);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, &batch, NULL, &losses), BAL_OK);
    bal_batch_clear(&batch);
    bal_forward_destroy(&forward);
    return (double)losses.loss / BAL_LOSS_UNITS_PER_NAT / (double)(encoder ? n : n - 1);
}

static rounded round_to(const char *folder, bal_format format, int group)
{
    golden g = open_golden(folder);
    bal_bundle bundle = load(folder, format, group);
    rounded r = {.nats = nats_of(bundle.model, &g)};
    int64_t n = 0;
    for (int i = 0; i < N_SEQUENCES; ++i) {
        float *logits = logits_of(bundle.model, bal_isa_best(), &g, i);
        for (int64_t row = 0; row < g.n_tokens[i]; ++row, ++n)
            r.same_top += top_of(logits + row * g.n_vocab, g.n_vocab) ==
                          top_of(g.logits[i] + row * g.n_vocab, g.n_vocab);
        free(logits);
    }
    r.same_top /= (double)n;
    bal_bundle_clear(&bundle);
    bal_mapping_close(&g.file);
    return r;
}

/* Mean loss that transformers found, from losses.tsv. */
static double reference_nats(const char *folder)
{
    char line[256], name[64];
    FILE *file = fopen(path_of("losses.tsv", ""), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    double nats = NAN, found;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%63s %lf", name, &found) == 2 && strcmp(name, folder) == 0) nats = found;
    fclose(file);
    return nats;
}

/* Random weights are harder to round than trained ones: no redundancy makes up for it. */
static void test_rounded_models_come_close(void)
{
    printf("\n    %-15s %8s  %8s %5s  %8s %5s  %8s %5s", "", "float", "int8", "top", "int4:32",
           "top", "nf4:32", "top");
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        rounded f32 = round_to(folders[i], BAL_F32, 0), i8 = round_to(folders[i], BAL_I8, 0);
        rounded i4 = round_to(folders[i], BAL_I4, 32), nf4 = round_to(folders[i], BAL_NF4, 32);
        printf("\n    %-15s %8.4f  %+8.4f %3.0f %%  %+8.4f %3.0f %%  %+8.4f %3.0f %%", folders[i],
               f32.nats, i8.nats - f32.nats, 100 * i8.same_top, i4.nats - f32.nats,
               100 * i4.same_top, nf4.nats - f32.nats, 100 * nf4.same_top);
        CU_ASSERT(fabs(f32.nats - reference_nats(folders[i])) < 1e-4);
        CU_ASSERT(f32.same_top == 1.0);
        CU_ASSERT(fabs(i8.nats - f32.nats) < 0.1);
        CU_ASSERT(i8.same_top > 0.75);
        CU_ASSERT(fabs(i4.nats - f32.nats) < 1.0);
        CU_ASSERT(fabs(nf4.nats - f32.nats) < 1.0);
    }
}

static void test_rounded_logits_are_the_same_at_every_level(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i)
        for (int f = 0; f < 3; ++f) {
            static const bal_format formats[] = {BAL_I8, BAL_I4, BAL_NF4};
            golden g = open_golden(folders[i]);
            bal_bundle bundle = load(folders[i], formats[f], 32 << f);
            const int last = N_SEQUENCES - 1;
            size_t n = (size_t)(g.n_tokens[last] * g.n_vocab) * sizeof(float);
            float *ref = logits_of(bundle.model, BAL_ISA_REF, &g, last);
            for (int isa = BAL_ISA_REF + 1; isa <= (int)bal_isa_best(); ++isa) {
                float *logits = logits_of(bundle.model, (bal_isa)isa, &g, last);
                bool same = memcmp(logits, ref, n) == 0;
                CU_ASSERT(same);
                if (!same)
                    printf("\n    %s, %s: %s differs", folders[i], bal_format_name(formats[f]),
                           bal_kernels_at((bal_isa)isa)->name);
                free(logits);
            }
            free(ref);
            bal_bundle_clear(&bundle);
            bal_mapping_close(&g.file);
        }
}

/* A text read in pieces, with a work space smaller than some of them, has the logits of the whole
 * text to the last bit. */
static void check_pieces(const bal_model *model, const golden *g)
{
    const int last = N_SEQUENCES - 1;
    int64_t n = g->n_tokens[last], at = 0, piece = 1;
    float *whole = logits_of(model, bal_isa_best(), g, last);
    float *next = bal_alloc((size_t)g->n_vocab, sizeof *next);
    bal_cache *cache = NULL;
    bal_forward *forward = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(next);
    CU_ASSERT_EQUAL_FATAL(bal_cache_create(model, n, &cache), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()), 5, n, &forward),
                          BAL_OK);
    int n_bad = 0;
    for (; at < n; piece = piece % 7 + 1) {
        int64_t here = n - at < piece ? n - at : piece;
        CU_ASSERT_EQUAL(bal_forward_extend(forward, cache, g->tokens[last] + at, here, next),
                        BAL_OK);
        at += here;
        n_bad += memcmp(next, whole + (at - 1) * g->n_vocab, (size_t)g->n_vocab * 4) != 0;
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    bal_forward_destroy(&forward);
    bal_cache_destroy(&cache);
    free(next);
    free(whole);
}

static void test_a_text_read_in_pieces_has_the_logits_of_the_whole_text(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        golden g = open_golden(folders[i]);
        bal_bundle bundle = load(folders[i], i % 2 == 0 ? BAL_I8 : BAL_I4, 0);
        if ((bal_model_shape(bundle.model)->features & BAL_ENCODER) == 0) {
            check_pieces(bundle.model, &g);
        } else {
            bal_cache *cache = NULL;
            CU_ASSERT_EQUAL(bal_cache_create(bundle.model, 8, &cache), BAL_ERR_CONFIG);
        }
        bal_bundle_clear(&bundle);
        bal_mapping_close(&g.file);
    }
}

const char bal_suite_name[] = "hub_families";
const bal_test bal_suite_tests[] = {
    {"float logits are those of transformers", test_float_logits_are_those_of_transformers},
    {"rounded models come close", test_rounded_models_come_close},
    {"rounded logits are the same at every level", test_rounded_logits_are_the_same_at_every_level},
    {"a text read in pieces has the logits of the whole text",
     test_a_text_read_in_pieces_has_the_logits_of_the_whole_text},
    {NULL, NULL},
};

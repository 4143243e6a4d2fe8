/* model_logits.c: logits of an independent forward pass; int8 close to float. See
 * tests/golden/logits/README.md. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/hub.h"
#include "suite.h"

typedef struct golden {
    bal_mapping file;
    int32_t n_tokens, n_vocab;
    const int32_t *tokens;
    const float *logits;
} golden;

static const char *golden_path(const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    CU_ASSERT_PTR_NOT_NULL_FATAL(tests);
    snprintf(path, sizeof path, "%s/golden/logits/%s", tests, name);
    return path;
}

static golden open_golden(const char *name)
{
    golden g;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden_path(name), &g.file), BAL_OK);
    memcpy(&g.n_tokens, g.file.data, 4);
    memcpy(&g.n_vocab, g.file.data + 4, 4);
    CU_ASSERT_EQUAL_FATAL(g.file.n_bytes, 8 + 4 * (size_t)g.n_tokens * (1 + (size_t)g.n_vocab));
    g.tokens = (const int32_t *)(const void *)(g.file.data + 8);
    g.logits = (const float *)(const void *)(g.tokens + g.n_tokens);
    return g;
}

static bal_model *load(const char *path, bal_format format)
{
    bal_bundle bundle;
    bal_formats formats = {.matrices = format};
    bal_status status = bal_hub_load(path, &formats, &bundle);
    if (status != BAL_OK) printf("\n    %s", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    bal_model *model = bundle.model;
    bundle.model = NULL;
    bal_bundle_clear(&bundle);
    return model;
}

/* Largest difference to the golden logits, as a share of the largest logit. */
static double difference(const char *path, bal_format format, const char *name)
{
    golden g = open_golden(name);
    bal_model *model = load(path, format);
    bal_forward *forward = NULL;
    size_t n = (size_t)g.n_tokens * (size_t)g.n_vocab;
    float *logits = bal_alloc(n, sizeof *logits);
    double worst = 0.0, largest = 0.0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(logits);
    CU_ASSERT_EQUAL_FATAL(bal_model_shape(model)->n_vocab, g.n_vocab);
    CU_ASSERT_EQUAL_FATAL(
        bal_forward_create(model, bal_kernels_at(bal_isa_best()), g.n_tokens, g.n_tokens, &forward),
        BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_logits(forward, g.tokens, g.n_tokens, logits), BAL_OK);
    for (size_t i = 0; i < n; ++i) {
        worst = fmax(worst, fabs((double)logits[i] - (double)g.logits[i]));
        largest = fmax(largest, fabs((double)g.logits[i]));
    }
    printf("\n    %s, %s: %.2g of the largest logit", name, format == BAL_F32 ? "float" : "int8",
           worst / largest);
    free(logits);
    bal_forward_destroy(&forward);
    bal_model_destroy(&model);
    bal_mapping_close(&g.file);
    return worst / largest;
}

static const char *stories(void) { return bal_test_data("stories260k/stories260K.bin"); }

static void test_logits_of_a_llama2c_model_are_those_of_the_reference(void)
{
    CU_ASSERT(difference(stories(), BAL_F32, "stories260k-text.bin") < 1e-4);
    CU_ASSERT(difference(stories(), BAL_F32, "stories260k-random.bin") < 1e-4);
}

static void test_logits_of_a_hugging_face_model_are_those_of_the_reference(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", golden_path("tiny-llama"));
    CU_ASSERT(difference(path, BAL_F32, "tiny-llama.bin") < 1e-4);
}

static void test_int8_logits_are_close(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", golden_path("tiny-llama"));
    CU_ASSERT(difference(stories(), BAL_I8, "stories260k-text.bin") < 0.05);
    /* random weights: rounding them alone moves the logits by 4 % RMS, activations by 3 % */
    CU_ASSERT(difference(path, BAL_I8, "tiny-llama.bin") < 0.2);
}

/* The text of the golden file, each token predicting the next. */
static double nats(bal_format format, bal_isa isa, int64_t *units)
{
    golden g = open_golden("stories260k-text.bin");
    bal_model *model = load(stories(), format);
    bal_forward *forward = NULL;
    bal_losses losses = {0};
    bal_batch batch;
    int64_t n = g.n_tokens - 1;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(1, n)), BAL_OK);
    for (int64_t i = 0; i < n; ++i) bal_batch_add(&batch, g.tokens[i], g.tokens[i + 1]);
    bal_batch_end(&batch);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(isa), n, n, &forward), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, &batch, NULL, &losses), BAL_OK);
    *units = losses.loss;
    bal_forward_destroy(&forward);
    bal_model_destroy(&model);
    bal_batch_clear(&batch);
    bal_mapping_close(&g.file);
    return (double)losses.loss / (double)BAL_LOSS_UNITS_PER_NAT / (double)n;
}

static void test_the_int8_loss_is_close_to_the_float_loss_and_the_same_at_every_level(void)
{
    int64_t units, first = 0;
    double wanted = nats(BAL_F32, bal_isa_best(), &units);
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
        double found = nats(BAL_I8, (bal_isa)isa, &units);
        if (isa == BAL_ISA_REF) {
            first = units;
            printf("\n    float %.4f, int8 %.4f nats per token", wanted, found);
        }
        CU_ASSERT(fabs(found - wanted) < 0.02);
        CU_ASSERT_EQUAL(units, first);
    }
}

const char bal_suite_name[] = "model_logits";
const bal_test bal_suite_tests[] = {
    {"logits of a llama2.c model are those of the reference",
     test_logits_of_a_llama2c_model_are_those_of_the_reference},
    {"logits of a Hugging Face model are those of the reference",
     test_logits_of_a_hugging_face_model_are_those_of_the_reference},
    {"int8 logits are close", test_int8_logits_are_close},
    {"the int8 loss is close to the float loss and the same at every level",
     test_the_int8_loss_is_close_to_the_float_loss_and_the_same_at_every_level},
    {NULL, NULL},
};

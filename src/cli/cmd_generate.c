/* cmd_generate.c: ballot generate */
#include <stdlib.h>
#include <string.h>

#include "ballot/perturb.h"
#include "ballot/source.h"
#include "ballot/text.h"
#include "cli_impl.h"
#include "sample.h"

#define CHUNK 256 /* tokens of the prompt that are read at once */

typedef struct arguments {
    bal_common common;
    const char *model, *prompt;
    int64_t n_tokens, seed;
    bal_sampling sampling;
} arguments;

static const struct argp_option options[] = {
    {"tokens", 'n', "N", 0, "tokens to add at most (default: 100)", 0},
    {"temperature", 'T', "T", 0,
     "0 takes the likeliest token (default); 1 samples as the model predicts", 0},
    {"top-k", 'k', "K", 0, "sample from the K likeliest tokens (default: 0, all)", 0},
    {"top-p", 'p', "P", 0,
     "sample from the likeliest tokens with a total probability of P (default: 1, all)", 0},
    {"seed", 'e', "S", 0, "random seed of the sampling (default: 1)", 0},
    {0}};

static double real(struct argp_state *state, const char *option, const char *text, double max)
{
    double value = bal_real_of(text);
    if (!(value >= 0.0 && value <= max))
        argp_error(state, "--%s=%s: expected 0 to %g", option, text, max);
    return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'n':
            a->n_tokens = bal_take_int(state, "tokens", arg, 1, 1 << 20);
            return 0;
        case 'e':
            a->seed = bal_take_int(state, "seed", arg, 0, INT64_MAX);
            return 0;
        case 'T':
            a->sampling.temperature = real(state, "temperature", arg, 100.0);
            return 0;
        case 'k':
            a->sampling.top_k = bal_take_int(state, "top-k", arg, 0, INT32_MAX);
            return 0;
        case 'p':
            a->sampling.top_p = real(state, "top-p", arg, 1.0);
            return 0;
        case ARGP_KEY_ARG:
            if (a->model == NULL)
                a->model = arg;
            else if (a->prompt == NULL)
                a->prompt = arg;
            else
                argp_error(state, "more than a model and a prompt: %s (quote the prompt)", arg);
            return 0;
        case ARGP_KEY_END:
            if (a->model == NULL) argp_error(state, "a model is missing");
            if (a->prompt == NULL) a->prompt = "";
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

/* What a text starts with: the tokenizer's own, or a start token that is not the end token too, or
 * that one where the prompt is empty. */
static int64_t start_tokens(const bal_tokenizer *tokenizer, bool empty_prompt,
                            const int32_t **tokens, int32_t *bos)
{
    int64_t n;
    *tokens = bal_tokenizer_prefix(tokenizer, &n);
    if (n > 0) return n;
    *tokens = bos;
    *bos = bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS);
    return *bos >= 0 && (empty_prompt || *bos != bal_tokenizer_special(tokenizer, BAL_SPECIAL_EOS));
}

/* A text that grows. */
typedef struct text {
    int32_t *ids;
    int64_t n_start, n_prompt, n, n_max;
    double prompt_seconds, seconds; /* reading the prompt; adding tokens */
} text;

/* ids: start tokens and prompt, and room for those to come. */
static bal_status begin(const arguments *a, const bal_bundle *bundle, text *t)
{
    const int32_t *start;
    int32_t *prompt = NULL, bos;
    int64_t most = bal_model_shape(bundle->model)->max_tokens;
    t->n_start = start_tokens(bundle->tokenizer, a->prompt[0] == 0, &start, &bos);
    BAL_TRY(bal_tokenizer_encode(bundle->tokenizer, a->prompt, strlen(a->prompt), &prompt,
                                 &t->n_prompt));
    bal_status status = BAL_OK;
    t->n = t->n_start + t->n_prompt;
    t->n_max = t->n + a->n_tokens < most ? t->n + a->n_tokens : most;
    if (t->n > most)
        status =
            bal_fail(BAL_ERR_ARG,
                     "the prompt has %lld tokens; the model reads at most %lld: give a shorter one",
                     (long long)t->n_prompt, (long long)(most - t->n_start));
    else if (t->n == 0)
        status = bal_fail(BAL_ERR_ARG, "the vocabulary has no start token: give a prompt");
    else if ((t->ids = bal_alloc((size_t)t->n_max, sizeof *t->ids)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory for %lld tokens", (long long)t->n_max);
    if (status == BAL_OK && t->n_start > 0)
        memcpy(t->ids, start, (size_t)t->n_start * sizeof *start);
    if (status == BAL_OK && t->n_prompt > 0)
        memcpy(t->ids + t->n_start, prompt, (size_t)t->n_prompt * sizeof *prompt);
    free(prompt);
    return status;
}

/* Let the base, if the model has one, read the prompt but for its last token. */
static bal_status read_prompt(const arguments *a, const bal_bundle *bundle, const text *t,
                              bal_cache *cache, int64_t *read)
{
    bal_forward *forward = NULL;
    int64_t n = t->n - 1;
    if (bundle->base == NULL || n == 0) return BAL_OK;
    BAL_TRY(bal_forward_create(bundle->base, a->common.machine.kernels, n < CHUNK ? n : CHUNK,
                               t->n_max, &forward));
    bal_status status = bal_forward_extend(forward, cache, t->ids, n, NULL);
    bal_forward_destroy(&forward);
    *read = n;
    return status;
}

/* Add tokens until the end token or n_max. */
static bal_status extend(const arguments *a, const bal_bundle *bundle, text *t)
{
    const bal_kernels *kernels = a->common.machine.kernels;
    int64_t n_vocab = bal_model_shape(bundle->model)->n_vocab, read = 0;
    int32_t bos = bal_tokenizer_special(bundle->tokenizer, BAL_SPECIAL_BOS);
    bal_forward *forward = NULL;
    bal_cache *cache = NULL;
    bal_sampler *sampler = NULL;
    float *logits = bal_alloc((size_t)n_vocab, sizeof *logits);
    bal_status status =
        logits != NULL ? bal_sampler_create(&a->sampling, n_vocab, &sampler)
                       : bal_fail(BAL_ERR_MEMORY, "no memory for %lld logits", (long long)n_vocab);
    if (status == BAL_OK) status = bal_cache_create(bundle->model, t->n_max, &cache);
    if (status == BAL_OK)
        status = bal_forward_create(bundle->model, kernels, t->n_max < CHUNK ? t->n_max : CHUNK,
                                    t->n_max, &forward);
    double clock = bal_seconds();
    if (status == BAL_OK) status = read_prompt(a, bundle, t, cache, &read);
    while (status == BAL_OK && t->n < t->n_max) {
        uint32_t words[256];
        status = bal_forward_extend(forward, cache, t->ids + read, t->n - read, logits);
        *(read < t->n_start + t->n_prompt ? &t->prompt_seconds : &t->seconds) +=
            bal_seconds() - clock;
        clock = bal_seconds();
        read = t->n;
        if (status != BAL_OK) break;
        bal_draw_words(kernels, (uint64_t)a->seed, (uint32_t)t->n, 0, words);
        int32_t next = bal_sampler_choose(sampler, logits, words[0]);
        if (bal_tokenizer_ends(bundle->tokenizer, next) || next == bos) break;
        t->ids[t->n++] = next;
    }
    bal_forward_destroy(&forward);
    bal_cache_destroy(&cache);
    bal_sampler_destroy(&sampler);
    free(logits);
    return status;
}

static bal_status print(bal_context *context, const arguments *a, const bal_bundle *bundle,
                        const text *t)
{
    char *string = NULL;
    size_t n_bytes = 0;
    int64_t n_added = t->n - t->n_start - t->n_prompt;
    BAL_TRY(bal_tokenizer_decode(bundle->tokenizer, t->ids, t->n, &string, &n_bytes));
    bal_status status = BAL_OK;
    double speed = n_added > 1 ? (double)(n_added - 1) / t->seconds : 0.0; /* first: prompt's */
    if (a->common.json) {
        status = bal_print_json(
            context, json_pack("{s:o, s:o, s:I, s:f}", "model", bal_json_text(a->model), "text",
                               bal_json_bytes(string, n_bytes), "tokens", (json_int_t)n_added,
                               "tokens_per_second", speed));
    } else if (context->prints) {
        fwrite(string, 1, n_bytes, stdout);
        putchar('\n');
        bal_log(BAL_LOG_SAY, "%lld tokens of prompt in %.2f s, then %lld tokens, %.1f per second",
                (long long)(t->n_start + t->n_prompt), t->prompt_seconds, (long long)n_added,
                speed);
    }
    free(string);
    return status;
}

bal_status bal_command_generate(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "MODEL [PROMPT]",
        .doc = "Continue a text. MODEL is " BAL_MODEL_WORDS
               ".\v"
               "The same integer model, prompt, options and seed give the same text on every "
               "machine.",
    };
    arguments a = {
        .common = BAL_COMMON_DEFAULT, .n_tokens = 100, .seed = 1, .sampling = {.top_p = 1.0}};
    bal_parse(context, &argp, "iJfB", argc, argv, &a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    bal_bundle bundle = {0};
    text t = {0};
    bal_source_options how = bal_common_source(&a.common, NULL);
    bal_status status = bal_isa_check(&a.common);
    if (status == BAL_OK) status = bal_source_open(a.model, &how, &bundle);
    if (status == BAL_OK) status = begin(&a, &bundle, &t);
    if (status == BAL_OK) status = extend(&a, &bundle, &t);
    if (status == BAL_OK) status = print(context, &a, &bundle, &t);
    free(t.ids);
    bal_bundle_clear(&bundle);
    return status;
}

/* cmd_generate.c: ballot generate */
#include <stdlib.h>
#include <string.h>

#include "cli_impl.h"

typedef struct arguments {
    bal_common  common;
    const char *model, *prompt;
    int64_t     n_tokens, seed;
    double      temperature;
} arguments;

static const struct argp_option options[] = {
    {"tokens", 'n', "N", 0, "tokens to add at most (default: 100)", 0},
    {"temperature", 'T', "T", 0,
     "0 takes the likeliest token (default); 1 draws as the model predicts", 0},
    {"seed", 'e', "S", 0, "of the draws (default: 1)", 0},
    {0}};

static int64_t number(struct argp_state *state, const char *option, const char *text, int64_t min,
                      int64_t max)
{
    char     *end;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != 0 || value < min || value > max)
        argp_error(state, "--%s=%s: expected %lld to %lld", option, text, (long long)min,
                   (long long)max);
    return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    char      *end;
    switch (key) {
        case ARGP_KEY_INIT:
            for (int child = 0; child < 3; ++child) state->child_inputs[child] = &a->common;
            return 0;
        case 'n':
            a->n_tokens = number(state, "tokens", arg, 1, 1 << 20);
            return 0;
        case 'e':
            a->seed = number(state, "seed", arg, 0, INT64_MAX);
            return 0;
        case 'T':
            a->temperature = strtod(arg, &end);
            if (end == arg || *end != 0 || !(a->temperature >= 0.0 && a->temperature <= 100.0))
                argp_error(state, "--temperature=%s: expected 0 to 100", arg);
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

/* The likeliest token, or one drawn with exp(logit / temperature). */
static int32_t choose(const float *logits, int64_t n_vocab, double temperature, uint32_t random)
{
    int32_t top = 0;
    for (int64_t i = 1; i < n_vocab; ++i)
        if (logits[i] > logits[top]) top = (int32_t)i;
    if (temperature == 0.0) return top;
    double sum = 0.0;
    for (int64_t i = 0; i < n_vocab; ++i)
        sum += bal_math_exp(((double)logits[i] - (double)logits[top]) / temperature);
    double left = sum * ((double)random + 0.5) / 4294967296.0;
    for (int64_t i = 0; i < n_vocab; ++i) {
        left -= bal_math_exp(((double)logits[i] - (double)logits[top]) / temperature);
        if (left < 0.0) return (int32_t)i;
    }
    return top;
}

/* Extend ids, [n] of room for n_max, until the end token or n_max. */
static bal_status extend(const arguments *a, const bal_model *model, const bal_tokenizer *tokenizer,
                         int32_t *ids, int64_t *n, int64_t n_max)
{
    int64_t      n_vocab = bal_model_shape(model)->n_vocab;
    bal_forward *forward = NULL;
    float       *logits  = bal_alloc((size_t)n_vocab, sizeof *logits);
    bal_status   status =
        logits == NULL
              ? bal_fail(BAL_ERR_MEMORY, "no memory for %lld logits", (long long)n_vocab)
              : bal_forward_create(model, a->common.machine.kernels, n_max, n_max, &forward);
    while (status == BAL_OK && *n < n_max) {
        uint32_t words[256];
        bal_draw_words(a->common.machine.kernels, (uint64_t)a->seed, (uint32_t)*n, 0, words);
        status = bal_forward_next(forward, ids, *n, logits);
        if (status != BAL_OK) break;
        int32_t next = choose(logits, n_vocab, a->temperature, words[0]);
        if (next == bal_tokenizer_eos(tokenizer) || next == bal_tokenizer_bos(tokenizer)) break;
        ids[(*n)++] = next;
    }
    bal_forward_destroy(&forward);
    free(logits);
    return status;
}

bal_status bal_command_generate(bal_context *context, int argc, char **argv)
{
    const struct argp_child children[] = {{&bal_argp_isa, 0, NULL, 0},
                                          {&bal_argp_json, 0, NULL, 0},
                                          {&bal_argp_format, 0, NULL, 0},
                                          {0}};
    const struct argp       argp       = {
                    options,
                    parse,
                    "MODEL [PROMPT]",
                    "Continue a text. MODEL is a Hugging Face style folder, a llama2.c folder or file, or a "
                                "ballot checkpoint.",
                    children,
                    NULL,
                    NULL};
    arguments a = {.common = BAL_COMMON_DEFAULT, .n_tokens = 100, .seed = 1};
    bal_parse(context, &argp, argc, argv, &a);
    bal_model     *model     = NULL;
    bal_tokenizer *tokenizer = NULL;
    int32_t       *prompt = NULL, *ids = NULL;
    int64_t        n_prompt = 0, n = 0;
    char          *text    = NULL;
    size_t         n_bytes = 0;
    bal_status     status  = bal_isa_check(&a.common);
    if (status == BAL_OK)
        status = bal_model_open(a.model, a.common.format, false, &model, &tokenizer);
    if (status == BAL_OK)
        status = bal_tokenizer_encode(tokenizer, a.prompt, strlen(a.prompt), &prompt, &n_prompt);
    if (status != BAL_OK) goto done;
    int64_t most  = bal_model_shape(model)->max_tokens;
    int64_t first = bal_tokenizer_bos(tokenizer) >= 0; /* start token */
    int64_t n_max = first + n_prompt + a.n_tokens < most ? first + n_prompt + a.n_tokens : most;
    if (first + n_prompt > most) {
        status = bal_fail(BAL_ERR_ARG, "the prompt has %lld tokens; the model reads at most %lld",
                          (long long)n_prompt, (long long)(most - first));
        goto done;
    }
    ids = bal_alloc((size_t)n_max, sizeof *ids);
    if (ids == NULL) {
        status = bal_fail(BAL_ERR_MEMORY, "no memory for %lld tokens", (long long)n_max);
        goto done;
    }
    if (first > 0) ids[n++] = bal_tokenizer_bos(tokenizer);
    if (n_prompt > 0) memcpy(ids + n, prompt, (size_t)n_prompt * sizeof *ids);
    n += n_prompt;
    if (n == 0) {
        status = bal_fail(BAL_ERR_ARG, "the vocabulary has no start token: give a prompt");
        goto done;
    }
    status = extend(&a, model, tokenizer, ids, &n, n_max);
    if (status == BAL_OK) status = bal_tokenizer_decode(tokenizer, ids, n, &text, &n_bytes);
    if (status == BAL_OK && a.common.json)
        status = bal_print_json(
            context, json_pack("{s:s, s:s%, s:I}", "model", a.model, "text", text, n_bytes,
                               "tokens", (json_int_t)(n - first - n_prompt)));
    else if (status == BAL_OK && context->prints)
        printf("%s\n", text);
done:
    free(text);
    free(ids);
    free(prompt);
    bal_tokenizer_destroy(&tokenizer);
    bal_model_destroy(&model);
    return status;
}

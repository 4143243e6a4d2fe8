/* cmd_export.c: ballot export */
#include "ballot/hub.h"
#include "cli_impl.h"

typedef struct arguments {
    const char *model, *dir;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case ARGP_KEY_ARG:
            if (a->model == NULL)
                a->model = arg;
            else if (a->dir == NULL)
                a->dir = arg;
            else
                argp_error(state, "more than a model and a folder: %s", arg);
            return 0;
        case ARGP_KEY_END:
            if (a->dir == NULL) argp_error(state, "a model and a folder are needed");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

bal_status bal_command_export(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        NULL,
        parse,
        "CHECKPOINT DIR",
        "Write a model as a Hugging Face folder of LlamaForCausalLM: config.json, "
        "model.safetensors in F32, dequantized, and its tokenizer's file.",
        NULL,
        NULL,
        NULL};
    arguments a = {0};
    bal_parse(context, &argp, argc, argv, &a);
    if (!context->prints) return BAL_OK; /* no work for the other ranks */
    bal_model     *model     = NULL;
    bal_tokenizer *tokenizer = NULL;
    bal_format     format    = bal_checkpoint_recognizes(a.model) ? BAL_I8 : BAL_F32;
    bal_status     status    = bal_model_open(a.model, format, false, &model, &tokenizer);
    if (status == BAL_OK) status = bal_hub_export(model, tokenizer, a.dir);
    if (status == BAL_OK) bal_log(BAL_LOG_SAY, "%s: written from %s", a.dir, a.model);
    bal_tokenizer_destroy(&tokenizer);
    bal_model_destroy(&model);
    return status;
}

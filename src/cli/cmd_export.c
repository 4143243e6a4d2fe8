/* cmd_export.c: ballot export */
#include <string.h>

#include "ballot/hub.h"
#include "cli_impl.h"

typedef struct arguments {
    const char        *model, *to;
    bal_export_options options;
} arguments;

static const struct argp_option options[] = {
    {"dtype", 'd', "TYPE", 0, "of the weights: f32 (default), bf16 or f16", 0},
    {"base", 'b', "FOLDER", 0,
     "the folder that the checkpoint was quantized from: tensors that have not changed since are "
     "copied from it, byte for byte, with its names",
     0},
    {0}};

static bool parse_dtype(const char *text, bal_export_dtype *dtype)
{
    static const char *const names[] = {
        [BAL_EXPORT_F32] = "f32", [BAL_EXPORT_BF16] = "bf16", [BAL_EXPORT_F16] = "f16"};
    for (int i = 0; i < 3; ++i)
        if (strcmp(text, names[i]) == 0) {
            *dtype = (bal_export_dtype)i;
            return true;
        }
    return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'd':
            if (!parse_dtype(arg, &a->options.dtype))
                argp_error(state, "--dtype=%s: expected f32, bf16 or f16", arg);
            return 0;
        case 'b':
            a->options.base = arg;
            return 0;
        case ARGP_KEY_ARG:
            if (a->model == NULL)
                a->model = arg;
            else if (a->to == NULL)
                a->to = arg;
            else
                argp_error(state, "more than a model and a folder: %s", arg);
            return 0;
        case ARGP_KEY_END:
            if (a->to == NULL) argp_error(state, "a model and a folder are needed");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

bal_status bal_command_export(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        options,
        parse,
        "CHECKPOINT DIR",
        "Write a model as a Hugging Face folder of its family, which transformers loads: "
        "model.safetensors, dequantized, config.json and the tokenizer's files.",
        NULL,
        NULL,
        NULL};
    arguments a = {0};
    bal_parse(context, &argp, argc, argv, &a);
    if (!context->prints) return BAL_OK; /* no work for the other ranks */
    bal_bundle  bundle  = {0};
    bal_formats formats = {.matrices = bal_checkpoint_recognizes(a.model) ? BAL_I8 : BAL_F32};
    bal_status  status  = bal_bundle_open(a.model, &formats, false, &bundle);
    if (status == BAL_OK) status = bal_hub_export(&bundle, &a.options, a.to);
    if (status == BAL_OK) bal_log(BAL_LOG_SAY, "%s: written from %s", a.to, a.model);
    bal_bundle_clear(&bundle);
    return status;
}

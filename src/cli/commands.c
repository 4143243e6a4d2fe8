/* commands.c: all commands by name. */
#include "cli_impl.h"

const bal_command bal_commands[] = {
    {"train", "start a run or continue it", bal_command_train},
    {"eval", "loss, perplexity, bits per byte and accuracy of a model", bal_command_eval},
    {"generate", "continue a text", bal_command_generate},
    {"inspect", "what is in a checkpoint, journal or model folder; --verify", bal_command_inspect},
    {"config", "every option of a job, resolved, with its source", bal_command_config},
    {"replay", "rebuild the model of any step from base and journal", bal_command_replay},
    {"tune", "replay a run at other travels, and compare the models", bal_command_tune},
    {"quantize", "round a model to its lattice, with the error of each tensor",
     bal_command_quantize},
    {"export", "write a model as a Hugging Face folder or a GGUF file", bal_command_export},
    {"doctor", "whether this machine or cluster is fit for a run", bal_command_doctor},
    {"estimate", "what a run of a job takes: memory, bytes, hours", bal_command_estimate},
    {"bench", "how fast this machine does what a run is made of", bal_command_bench},
    {NULL, NULL, NULL},
};

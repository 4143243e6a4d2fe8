/* gguf_splits.c: how texts are cut into words before byte-level BPE, by the names that llama.cpp
 * has for it. Sources: github.com/ggml-org/llama.cpp, src/llama-vocab.cpp; the tokenizer.json of
 * the models that the names come from. */
#include <string.h>

#include "gguf.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The split of Llama 3; that of Qwen differs in how many digits stay together. */
#define WORDS_BEFORE "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define WORDS_AFTER "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const bal_gguf_split splits[] = {
    {"gpt-2", {GPT2}, false, false, false},
    {"llama-bpe", {WORDS_BEFORE "{1,3}" WORDS_AFTER}, false, true, true},
    {"qwen2", {WORDS_BEFORE WORDS_AFTER}, true, false, false},
    {"smollm", {"\\p{N}", GPT2}, false, false, false},
    {"default",
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"},
     false,
     false,
     false}};
enum { N_SPLITS = sizeof splits / sizeof *splits };

const bal_gguf_split *bal_gguf_split_of_name(const char *name)
{
    for (int i = 0; i < N_SPLITS; ++i)
        if (strcmp(splits[i].name, name) == 0) return &splits[i];
    return NULL;
}

void bal_gguf_split_list(char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < N_SPLITS && used < n_bytes; ++i)
        used += (size_t)snprintf(text + used, n_bytes - used, "%s%s",
                                 i == 0             ? ""
                                 : i + 1 < N_SPLITS ? ", "
                                                    : " or ",
                                 splits[i].name);
}

static const char *text_of(const json_t *part, const char *name)
{
    const char *text = json_string_value(json_object_get(part, name));
    return text != NULL ? text : "";
}

/* The pattern of a step; NULL: it cuts in another way. */
static const char *pattern_of(const json_t *step)
{
    const char *type = text_of(step, "type");
    bool isolated = strcmp(text_of(step, "behavior"), "Isolated") == 0 &&
                    !json_is_true(json_object_get(step, "invert"));
    if (strcmp(type, "Split") == 0 && isolated)
        return json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    if (strcmp(type, "Digits") == 0 && json_is_true(json_object_get(step, "individual_digits")))
        return "\\p{N}";
    if (strcmp(type, "ByteLevel") == 0 && !json_is_false(json_object_get(step, "use_regex")))
        return GPT2;
    return NULL;
}

/* Step i, the last of which turns bytes into letters; NULL: there is none. */
static const json_t *step_of(const json_t *part, size_t i)
{
    if (strcmp(text_of(part, "type"), "Sequence") == 0)
        return json_array_get(json_object_get(part, "pretokenizers"), i);
    return i == 0 && !json_is_null(part) ? part : NULL;
}

static bool is_split(const bal_gguf_split *split, const json_t *part)
{
    size_t i = 0;
    int n = 0;
    for (const json_t *step; (step = step_of(part, i)) != NULL; ++i) {
        const char *pattern = pattern_of(step);
        bool letters = strcmp(text_of(step, "type"), "ByteLevel") == 0;
        if (letters != (step_of(part, i + 1) == NULL)) return false;
        if (letters && pattern == NULL) continue; /* it cuts nothing */
        if (pattern == NULL || n == BAL_GGUF_PATTERNS_MAX || split->patterns[n] == NULL ||
            strcmp(pattern, split->patterns[n++]) != 0)
            return false;
    }
    return i > 0 && (n == BAL_GGUF_PATTERNS_MAX || split->patterns[n] == NULL);
}

const bal_gguf_split *bal_gguf_split_of_json(const json_t *pre_tokenizer)
{
    for (int i = 0; i < N_SPLITS; ++i)
        if (is_split(&splits[i], pre_tokenizer)) return &splits[i];
    return NULL;
}

/* That of GPT-2 is part of ByteLevel where it comes last. */
json_t *bal_gguf_split_json(const bal_gguf_split *split, bool prefix)
{
    json_t *steps = json_array();
    bool own = false;
    for (int i = 0; i < BAL_GGUF_PATTERNS_MAX && split->patterns[i] != NULL; ++i) {
        bool last = i + 1 == BAL_GGUF_PATTERNS_MAX || split->patterns[i + 1] == NULL;
        own = last && strcmp(split->patterns[i], GPT2) == 0;
        if (own) continue;
        json_array_append_new(
            steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                             split->patterns[i], "behavior", "Isolated", "invert", 0));
    }
    json_array_append_new(
        steps, json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                         (int)(own && prefix), "trim_offsets", 1, "use_regex", (int)own));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

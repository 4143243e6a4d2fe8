/* config_write.c: the shape of a model to the config.json of its family, by the table of families:
 * the reverse of config_json.c. */
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

static int set(json_t *json, const char *key, json_t *value)
{
    return key != NULL ? json_object_set_new(json, key, value) : (json_decref(value), 0);
}

static const char *activation_of(const bal_family *family, const bal_model_config *config)
{
    static const char *const names[] = {[BAL_ACT_RELU] = "relu",
                                        [BAL_ACT_GELU] = "gelu",
                                        [BAL_ACT_GELU_TANH] = "gelu_new",
                                        [BAL_ACT_SILU] = "silu"};
    return family->gate != NULL ? family->gate : names[config->activation];
}

/* null: positions are not scaled. */
static json_t *scaling_of(const bal_rope *rope)
{
    if (rope->kind == BAL_ROPE_PLAIN) return json_null();
    if (rope->kind == BAL_ROPE_LINEAR)
        return json_pack("{s:s, s:s, s:f}", "rope_type", "linear", "type", "linear", "factor",
                         rope->factor);
    return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", rope->factor,
                     "low_freq_factor", rope->low, "high_freq_factor", rope->high,
                     "original_max_position_embeddings", (json_int_t)rope->original);
}

static int set_positions(json_t *json, const bal_family *family, const bal_model_config *c)
{
    const char *window = family->window.key;
    int failed = set(json, window, c->window > 0 ? json_integer(c->window) : json_null());
    if (!family->rotary) return failed;
    failed |= set(json, "head_dim", json_integer(c->head_dim));
    failed |= set(json, "rope_theta", json_real(c->rope.base));
    return failed | set(json, "rope_scaling", scaling_of(&c->rope));
}

static int set_switches(json_t *json, const bal_family *family, unsigned features)
{
    int failed = 0;
    for (const bal_family_switch *s = family->switches; s != NULL && s->key != NULL; ++s) {
        bool on = (s->sets | s->drops) != 0 && (features & s->sets) == s->sets &&
                  (features & s->drops) == 0;
        failed |= set(json, s->key, json_boolean(on == s->when));
    }
    return failed;
}

json_t *bal_hub_config_json(const bal_model_config *c, const bal_family *family)
{
    const bal_family_keys *keys = family->keys;
    json_t *json =
        json_pack("{s:[s], s:s}", "architectures", family->class, "model_type", family->type);
    int failed = set(json, keys->activation, json_string(activation_of(family, c)));
    failed |= set(json, keys->dim, json_integer(c->dim));
    failed |= set(json, keys->hidden, json_integer(c->hidden));
    failed |= set(json, keys->n_layers, json_integer(c->n_layers));
    failed |= set(json, keys->n_heads, json_integer(c->n_heads));
    failed |= set(json, keys->n_kv_heads, json_integer(c->n_kv_heads));
    failed |= set(json, "vocab_size", json_integer(c->n_vocab));
    failed |= set(json, keys->max_tokens, json_integer(c->max_tokens));
    failed |= set(json, keys->norm_eps, json_real(c->norm_eps));
    failed |= set(json, "tie_word_embeddings", json_boolean(c->tied_head));
    failed |= set_positions(json, family, c);
    failed |= set_switches(json, family, c->features);
    if (failed == 0) return json;
    json_decref(json);
    return NULL;
}

/* 15 digits print 1e-05 as a person writes it; 17 are exact for all doubles. */
static size_t digits_for(double value)
{
    char text[32];
    for (int digits = 15; digits < 17; ++digits) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return (size_t)digits;
    }
    return 17;
}

/* The digits that make every number of a value exact. Recursion is bounded, as jansson bounds the
 * depth of what it parses. */
static size_t digits_of(const json_t *value)
{
    size_t most = json_is_real(value) ? digits_for(json_real_value(value)) : 15, at, here;
    json_t *part;
    const char *key;
    json_array_foreach((json_t *)(uintptr_t)value, at, part) if ((here = digits_of(part)) > most)
        most = here;
    json_object_foreach((json_t *)(uintptr_t)value, key, part) if ((here = digits_of(part)) > most)
        most = here;
    return most;
}

char *bal_hub_config_print(const json_t *config)
{
    char *text = bal_json_dump(config, JSON_INDENT(2) | JSON_REAL_PRECISION(digits_of(config))),
         *line = NULL;
    if (text != NULL && (line = realloc(text, strlen(text) + 2)) != NULL) strcat(line, "\n");
    if (line == NULL) free(text);
    return line;
}

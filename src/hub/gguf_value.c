/* gguf_value.c: the values of a GGUF file by their keys. Whatever is not as expected is named by
 * its key. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

void bal_gguf_key(const bal_gguf *file, const char *key, char text[BAL_GGUF_KEY_BYTES])
{
    snprintf(text, BAL_GGUF_KEY_BYTES, "%s%s", key[0] == '.' ? file->arch : "", key);
}

const bal_gguf_value *bal_gguf_find(const bal_gguf *file, const char *key)
{
    char text[BAL_GGUF_KEY_BYTES];
    bal_gguf_key(file, key, text);
    size_t n = strlen(text);
    for (int64_t i = 0; i < file->n_values; ++i)
        if (file->values[i].n_key == n && memcmp(file->values[i].key, text, n) == 0)
            return &file->values[i];
    return NULL;
}

bal_status bal_gguf_refuse(const bal_gguf *file, const char *key, const char *expected)
{
    char text[BAL_GGUF_KEY_BYTES], found[80] = "missing";
    bal_gguf_key(file, key, text);
    const bal_gguf_value *value = bal_gguf_find(file, key);
    double real;
    if (value != NULL) strcpy(found, "of another type");
    if (value != NULL && bal_gguf_real(value, &real)) snprintf(found, sizeof found, "%g", real);
    if (value != NULL && value->type == BAL_GGUF_STRING)
        snprintf(found, sizeof found, "\"%.*s\"", (int)(value->n < 60 ? value->n : 60),
                 (const char *)value->data);
    return bal_fail(BAL_ERR_INPUT, "%s: %s is %s; expected %s", file->origin, text, found,
                    expected);
}

static uint64_t bits_of(const bal_gguf_value *value)
{
    uint64_t bits = 0;
    for (size_t i = (size_t)value->n; i-- > 0;) bits = bits << 8 | value->data[i];
    return bits;
}

bool bal_gguf_integer(const bal_gguf_value *value, int64_t *integer)
{
    switch (value->type) {
        case BAL_GGUF_UINT64:
            *integer = (int64_t)bits_of(value);
            return *integer >= 0;
        case BAL_GGUF_INT8:
        case BAL_GGUF_INT16:
        case BAL_GGUF_INT32:
        case BAL_GGUF_INT64: {
            int unused = 64 - 8 * (int)value->n;
            *integer = (int64_t)(bits_of(value) << unused) >> unused;
            return true;
        }
        case BAL_GGUF_UINT8:
        case BAL_GGUF_UINT16:
        case BAL_GGUF_UINT32:
        case BAL_GGUF_BOOL:
            *integer = (int64_t)bits_of(value);
            return true;
        default:
            return false;
    }
}

float bal_gguf_float_at(const uint8_t *at)
{
    uint32_t bits =
        (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The shortest decimal number that is this float: files say 1e-05 in single precision. */
static double as_written(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; ++digits) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return strtod(text, NULL);
}

bool bal_gguf_real(const bal_gguf_value *value, double *real)
{
    int64_t integer;
    if (value->type == BAL_GGUF_FLOAT32) {
        *real = as_written(bal_gguf_float_at(value->data));
        return true;
    }
    if (value->type == BAL_GGUF_FLOAT64) {
        uint64_t bits = bits_of(value);
        memcpy(real, &bits, sizeof *real);
        return true;
    }
    if (!bal_gguf_integer(value, &integer)) return false;
    *real = (double)integer;
    return true;
}

bal_status bal_gguf_get_size(const bal_gguf *file, const char *key, int64_t highest,
                             int64_t fallback, int64_t *size)
{
    const bal_gguf_value *value = bal_gguf_find(file, key);
    char expected[64];
    *size = fallback;
    if (value == NULL && fallback > 0) return BAL_OK;
    if (value != NULL && bal_gguf_integer(value, size) && *size >= 1 && *size <= highest)
        return BAL_OK;
    snprintf(expected, sizeof expected, "an integer from 1 to %" PRId64, highest);
    return bal_gguf_refuse(file, key, expected);
}

bal_status bal_gguf_get_real(const bal_gguf *file, const char *key, double highest, double fallback,
                             double *real)
{
    const bal_gguf_value *value = bal_gguf_find(file, key);
    char expected[64];
    *real = fallback;
    if (value == NULL && fallback > 0.0) return BAL_OK;
    if (value != NULL && bal_gguf_real(value, real) && *real > 0.0 && *real <= highest)
        return BAL_OK;
    snprintf(expected, sizeof expected, "a number above 0, at most %g", highest);
    return bal_gguf_refuse(file, key, expected);
}

bal_status bal_gguf_get_flag(const bal_gguf *file, const char *key, bool fallback, bool *flag)
{
    const bal_gguf_value *value = bal_gguf_find(file, key);
    *flag = value == NULL ? fallback : value->n == 1 && value->data[0] != 0;
    return value == NULL || value->type == BAL_GGUF_BOOL
               ? BAL_OK
               : bal_gguf_refuse(file, key, "true or false");
}

bal_status bal_gguf_get_text(const bal_gguf *file, const char *key, const char *fallback,
                             char text[BAL_GGUF_KEY_BYTES])
{
    const bal_gguf_value *value = bal_gguf_find(file, key);
    bool good = value != NULL && value->type == BAL_GGUF_STRING && value->n < BAL_GGUF_KEY_BYTES &&
                bal_hub_is_plain((const char *)value->data, (size_t)value->n);
    text[0] = 0;
    if (value == NULL && fallback != NULL) good = true;
    if (!good) return bal_gguf_refuse(file, key, "a short word");
    if (value == NULL)
        snprintf(text, BAL_GGUF_KEY_BYTES, "%s", fallback);
    else
        snprintf(text, BAL_GGUF_KEY_BYTES, "%.*s", (int)value->n, (const char *)value->data);
    return BAL_OK;
}

bal_status bal_gguf_get_list(const bal_gguf *file, const char *key, bal_gguf_type element,
                             int64_t n, const bal_gguf_value **list)
{
    static const char *const words[] = {[BAL_GGUF_INT32] = "of integers",
                                        [BAL_GGUF_FLOAT32] = "of floats",
                                        [BAL_GGUF_STRING] = "of strings"};
    char expected[64];
    *list = bal_gguf_find(file, key);
    if (*list != NULL && (*list)->type == BAL_GGUF_ARRAY && (*list)->element == element &&
        (n < 0 || (*list)->n == (uint64_t)n))
        return BAL_OK;
    if (n < 0)
        snprintf(expected, sizeof expected, "an array %s", words[element]);
    else
        snprintf(expected, sizeof expected, "an array %s, %" PRId64 " of them", words[element], n);
    return bal_gguf_refuse(file, key, expected);
}

const char *bal_gguf_next(const uint8_t **at, size_t *n_bytes)
{
    uint64_t n = 0;
    for (int i = 8; i-- > 0;) n = n << 8 | (*at)[i];
    const char *text = (const char *)*at + 8;
    *n_bytes = (size_t)n;
    *at += 8 + n;
    return text;
}

/* json.c: what jansson allocates, and the numbers that it refuses. No allocation of a load
 * returns without memory: the load is left at once, and what it had allocated is freed here.
 * Elsewhere the lack is remembered. */
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/core.h"
#include "ballot/json.h"

static _Thread_local struct {
    bool active;
    jmp_buf leave;
    void **blocks; /* [n] allocated and not yet freed */
    size_t n, capacity;
} load;

static _Thread_local bool lacked;

static void *allocate(size_t n_bytes)
{
    void *memory = malloc(n_bytes);
    lacked = lacked || memory == NULL;
    return memory;
}

static void *allocate_in_load(size_t n_bytes)
{
    if (load.n == load.capacity) {
        size_t capacity = load.capacity == 0 ? 256 : 2 * load.capacity;
        void **larger = reallocarray(load.blocks, capacity, sizeof *larger);
        if (larger == NULL) longjmp(load.leave, 1);
        load.blocks = larger;
        load.capacity = capacity;
    }
    void *memory = malloc(n_bytes);
    if (memory == NULL) longjmp(load.leave, 1);
    return load.blocks[load.n++] = memory;
}

static void *json_allocate(size_t n_bytes)
{
    return load.active ? allocate_in_load(n_bytes) : allocate(n_bytes);
}

static void json_free(void *memory)
{
    size_t i = load.active ? load.n : 0;
    while (i > 0 && load.blocks[i - 1] != memory) --i; /* mostly one of the last */
    if (i > 0) load.blocks[i - 1] = load.blocks[--load.n];
    free(memory);
}

/* Before any JSON is made: jansson frees with what it was given last. */
__attribute__((constructor)) static void take_over(void)
{
    json_set_alloc_funcs(json_allocate, json_free);
}

static json_t *no_memory(json_error_t *error)
{
    *error = (json_error_t){.line = -1, .text = "no memory"};
    error->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory;
    return NULL;
}

static json_t *load_once(const void *bytes, size_t n_bytes, size_t flags, json_error_t *error)
{
    json_t *volatile root = NULL;
    load.active = true;
    if (setjmp(load.leave) == 0) {
        root = json_loadb(bytes, n_bytes, flags, error);
    } else {
        while (load.n > 0) free(load.blocks[--load.n]);
        root = no_memory(error);
    }
    free(load.blocks);
    load.blocks = NULL;
    load.n = 0;
    load.capacity = 0;
    load.active = false;
    return root;
}

#define DIGITS_MIN 19 /* of an integer that may be beyond 64 bits */

/* Is a word of digits, with perhaps a sign, an integer beyond 64 bits? */
static bool is_beyond(const char *word, size_t n)
{
    char number[24] = ""; /* what is cut off is beyond anyway */
    size_t sign = word[0] == '-';
    if (n < DIGITS_MIN || strspn(word + sign, "0123456789") < n - sign) return false;
    memcpy(number, word, n < sizeof number ? n : sizeof number - 1);
    errno = 0;
    strtoll(number, NULL, 10);
    return errno == ERANGE;
}

/* Spell the integers beyond 64 bits of a text, which ends with 0, as reals: 10...0 as 10...0.0.
 * @param wide  with room for 2 bytes more in every DIGITS_MIN @return its length. */
static size_t widen(const char *text, size_t n_bytes, char *wide)
{
    size_t n_wide = 0;
    bool in_string = false;
    for (size_t at = 0, n; at < n_bytes; at += n) {
        bool escape = in_string && text[at] == '\\' && at + 1 < n_bytes;
        size_t number = in_string ? 0 : strspn(text + at, "+-.0123456789eE");
        n = escape ? 2 : number > 0 ? number : 1;
        if (text[at] == '"') in_string = !in_string;
        memcpy(wide + n_wide, text + at, n);
        n_wide += n;
        if (number == 0 || !is_beyond(text + at, n)) continue;
        memcpy(wide + n_wide, ".0", 2);
        n_wide += 2;
    }
    return n_wide;
}

json_t *bal_json_load(const void *bytes, size_t n_bytes, size_t flags, json_error_t *error)
{
    json_t *root = load_once(bytes, n_bytes, flags, error);
    if (root != NULL || json_error_code(error) != json_error_numeric_overflow) return root;
    char *text = calloc(n_bytes + 1, 1), *wide = malloc(n_bytes + 2 * (n_bytes / DIGITS_MIN) + 2);
    if (text != NULL && wide != NULL) {
        memcpy(text, bytes, n_bytes);
        root = load_once(wide, widen(text, n_bytes, wide), flags, error);
    } else {
        root = no_memory(error);
    }
    free(text);
    free(wide);
    return root;
}

char *bal_json_dump(const json_t *object, size_t flags)
{
    char *text = object == NULL ? NULL : json_dumps(object, flags);
    if (!lacked) return text;
    free(text);
    return NULL;
}

json_t *bal_json_bytes(const char *bytes, size_t n_bytes)
{
    static const char unknown[] = "\xEF\xBF\xBD";
    char *text = allocate(3 * n_bytes + 1);
    size_t n = 0;
    if (text == NULL) return NULL;
    for (size_t i = 0, length; i < n_bytes; i += length) {
        int32_t character;
        length = bal_character(bytes + i, n_bytes - i, &character);
        bool has = character != BAL_NO_CHARACTER;
        memcpy(text + n, has ? bytes + i : unknown, has ? length : 3);
        n += has ? length : 3;
    }
    json_t *json = json_stringn(text, n);
    free(text);
    return json;
}

json_t *bal_json_text(const char *text) { return bal_json_bytes(text, strlen(text)); }

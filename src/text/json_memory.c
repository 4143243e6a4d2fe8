/* json_memory.c: what jansson allocates. No allocation of a load returns without memory: the load
 * is left at once, and what it had allocated is freed here. Elsewhere the lack is remembered. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/core.h"
#include "ballot/json.h"
#include "ballot/text.h"

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

json_t *bal_json_load(const void *bytes, size_t n_bytes, size_t flags, json_error_t *error)
{
    json_t *volatile root = NULL;
    load.active = true;
    if (setjmp(load.leave) == 0) {
        root = json_loadb(bytes, n_bytes, flags, error);
    } else {
        while (load.n > 0) free(load.blocks[--load.n]);
        *error = (json_error_t){.line = -1, .text = "no memory"};
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory;
    }
    free(load.blocks);
    load.blocks = NULL;
    load.n = 0;
    load.capacity = 0;
    load.active = false;
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

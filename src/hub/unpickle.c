/* unpickle.c: takes a pickle apart without executing it (opcodes: Python's pickletools, protocols 2
 * to 5). The machine has the opcodes that a dict of tensors needs and knows a few names. Calls are
 * recorded, never made. No value owns another, so nothing here recurses, and a cycle is only a
 * number. Every opcode takes a byte and adds at most a few values. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "pickle_impl.h"

static const struct {
    const char *module, *name;
} globals[BAL_HUB_N_GLOBALS] = {
    [BAL_HUB_ORDERED_DICT] = {"collections", "OrderedDict"},
    [BAL_HUB_REBUILD_TENSOR] = {"torch._utils", "_rebuild_tensor_v2"},
    [BAL_HUB_REBUILD_PARAMETER] = {"torch._utils", "_rebuild_parameter"},
    [BAL_HUB_FLOAT_STORAGE] = {"torch", "FloatStorage"},
    [BAL_HUB_HALF_STORAGE] = {"torch", "HalfStorage"},
    [BAL_HUB_BFLOAT16_STORAGE] = {"torch", "BFloat16Storage"},
    [BAL_HUB_DOUBLE_STORAGE] = {"torch", "DoubleStorage"},
    [BAL_HUB_LONG_STORAGE] = {"torch", "LongStorage"},
    [BAL_HUB_INT_STORAGE] = {"torch", "IntStorage"},
    [BAL_HUB_SHORT_STORAGE] = {"torch", "ShortStorage"},
    [BAL_HUB_CHAR_STORAGE] = {"torch", "CharStorage"},
    [BAL_HUB_BYTE_STORAGE] = {"torch", "ByteStorage"},
    [BAL_HUB_BOOL_STORAGE] = {"torch", "BoolStorage"},
};

typedef struct machine {
    bal_hub_pickle *pickle;
    size_t at;                /* next byte */
    bal_hub_pool stack, memo; /* of bal_hub_value */
} machine;

static bal_status refuse(const machine *m, const char *found)
{
    return bal_fail(BAL_ERR_INPUT,
                    "%s: pickle: %s before byte %zu of %zu; expected a dict of tensors",
                    m->pickle->origin, found, m->at, m->pickle->n_bytes);
}

static bal_status add(machine *m, bal_hub_pool *pool, const void *element, size_t n_bytes)
{
    if (!bal_grow(&pool->at, &pool->capacity, pool->n + 1, n_bytes))
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its pickle", m->pickle->origin);
    memcpy((char *)pool->at + pool->n++ * n_bytes, element, n_bytes);
    return BAL_OK;
}

static bal_status push(machine *m, bal_hub_value value)
{
    return add(m, &m->stack, &value, sizeof value);
}

static bal_hub_value *top(const machine *m)
{
    bal_hub_value *values = m->stack.at;
    return m->stack.n == 0 ? NULL : &values[m->stack.n - 1];
}

static bool top_is(const machine *m, bal_hub_value_kind kind)
{
    return m->stack.n > 0 && top(m)->kind == kind;
}

static bal_status pop(machine *m, bal_hub_value *value)
{
    *value = (bal_hub_value){0};
    if (m->stack.n == 0 || top_is(m, BAL_HUB_MARK)) return refuse(m, "an empty stack");
    *value = *top(m);
    --m->stack.n;
    return BAL_OK;
}

static bal_status take(machine *m, size_t n, const uint8_t **from)
{
    *from = m->pickle->bytes + m->at;
    if (n > m->pickle->n_bytes - m->at) return refuse(m, "the end");
    m->at += n;
    return BAL_OK;
}

/* A little-endian number of the pickle. */
static bal_status take_number(machine *m, size_t n, uint64_t *value)
{
    const uint8_t *from;
    BAL_TRY(take(m, n, &from));
    *value = 0;
    memcpy(value, from, n);
    *value = le64toh(*value);
    return BAL_OK;
}

static bal_status push_integer(machine *m, size_t n, bool is_signed)
{
    uint64_t value;
    if (n > sizeof value) return refuse(m, "an integer of more than 8 bytes");
    BAL_TRY(take_number(m, n, &value));
    if (is_signed && n > 0 && n < 8 && value >> (8 * n - 1) != 0) value |= UINT64_MAX << 8 * n;
    return push(m, (bal_hub_value){.kind = BAL_HUB_INTEGER, .at = (int64_t)value});
}

static bal_status push_text(machine *m, size_t n_length)
{
    uint64_t n;
    const uint8_t *from;
    BAL_TRY(take_number(m, n_length, &n));
    int64_t at = (int64_t)m->at;
    BAL_TRY(take(m, n, &from));
    return push(m, (bal_hub_value){.kind = BAL_HUB_TEXT, .n = (uint32_t)n, .at = at});
}

static bal_status push_global(machine *m, const char *module, size_t n_module, const char *name,
                              size_t n_name)
{
    for (int i = 0; i < BAL_HUB_N_GLOBALS; ++i)
        if (n_module == strlen(globals[i].module) && n_name == strlen(globals[i].name) &&
            memcmp(module, globals[i].module, n_module) == 0 &&
            memcmp(name, globals[i].name, n_name) == 0)
            return push(m, (bal_hub_value){.kind = BAL_HUB_GLOBAL, .at = i});
    if (n_module + n_name > 200 || !bal_hub_is_plain(module, n_module) ||
        !bal_hub_is_plain(name, n_name))
        return refuse(m, "a global whose name is long or not plain ASCII");
    return bal_fail(BAL_ERR_INPUT,
                    "%s: pickle: asks for %.*s.%.*s; expected tensors and nothing else: no code "
                    "that a file names is ever run",
                    m->pickle->origin, (int)n_module, module, (int)n_name, name);
}

/* Two lines of text. */
static bal_status push_named_global(machine *m)
{
    const char *text[2];
    size_t n[2];
    for (int i = 0; i < 2; ++i) {
        text[i] = (const char *)m->pickle->bytes + m->at;
        const char *end = memchr(text[i], '\n', m->pickle->n_bytes - m->at);
        if (end == NULL) return refuse(m, "the end in a name");
        n[i] = (size_t)(end - text[i]);
        m->at += n[i] + 1;
    }
    return push_global(m, text[0], n[0], text[1], n[1]);
}

static bal_status push_stack_global(machine *m)
{
    bal_hub_value name, module;
    BAL_TRY(pop(m, &name));
    BAL_TRY(pop(m, &module));
    if (name.kind != BAL_HUB_TEXT || module.kind != BAL_HUB_TEXT)
        return refuse(m, "a global without a name");
    const char *bytes = (const char *)m->pickle->bytes;
    return push_global(m, bytes + module.at, module.n, bytes + name.at, name.n);
}

/* How many values are above the last mark. Each caller pops them, so the total cost is linear. */
static bal_status count_to_mark(const machine *m, size_t *n)
{
    const bal_hub_value *values = m->stack.at;
    size_t at = m->stack.n;
    while (at > 0 && values[at - 1].kind != BAL_HUB_MARK) --at;
    *n = m->stack.n - at;
    if (at == 0) return refuse(m, "no mark");
    return BAL_OK;
}

/* Replace the last n values, none of them a mark, by one. */
static bal_status make_tuple(machine *m, size_t n)
{
    if (n > m->stack.n) return refuse(m, "an empty stack");
    bal_hub_value tuple = {
        .kind = BAL_HUB_TUPLE, .n = (uint32_t)n, .at = (int64_t)m->pickle->items.n};
    for (size_t i = 0; i < n; ++i) {
        const bal_hub_value *value = (const bal_hub_value *)m->stack.at + (m->stack.n - n + i);
        if (value->kind == BAL_HUB_MARK) return refuse(m, "a mark in a tuple");
        BAL_TRY(add(m, &m->pickle->items, value, sizeof *value));
    }
    m->stack.n -= n;
    return push(m, tuple);
}

static bal_status make_marked_tuple(machine *m)
{
    size_t n;
    BAL_TRY(count_to_mark(m, &n));
    BAL_TRY(make_tuple(m, n));
    bal_hub_value tuple = *top(m);
    m->stack.n -= 2; /* the value and the mark */
    return push(m, tuple);
}

static bal_status push_dict(machine *m)
{
    return push(m, (bal_hub_value){.kind = BAL_HUB_DICT, .at = m->pickle->n_dicts++});
}

/* Move the last n values of the stack, keys and values in turn, into the dict below them. */
static bal_status set_items(machine *m, size_t n, size_t n_marks)
{
    const bal_hub_value *values = m->stack.at;
    size_t from = m->stack.n - n, below = n + n_marks;
    if (n % 2 != 0 || m->stack.n <= below || values[m->stack.n - below - 1].kind != BAL_HUB_DICT)
        return refuse(m, "items without a dict");
    for (size_t i = 0; i < n; i += 2) {
        bal_hub_pair pair = {values[m->stack.n - below - 1].at, values[from + i],
                             values[from + i + 1]};
        if (pair.key.kind == BAL_HUB_MARK || pair.value.kind == BAL_HUB_MARK)
            return refuse(m, "a mark in a dict");
        BAL_TRY(add(m, &m->pickle->pairs, &pair, sizeof pair));
    }
    m->stack.n -= below;
    return BAL_OK;
}

static bal_status set_marked_items(machine *m)
{
    size_t n;
    BAL_TRY(count_to_mark(m, &n));
    return set_items(m, n, 1);
}

/* Record a call. Only an empty OrderedDict is also made. */
static bal_status reduce(machine *m)
{
    bal_hub_value arguments, function;
    BAL_TRY(pop(m, &arguments));
    BAL_TRY(pop(m, &function));
    if (function.kind != BAL_HUB_GLOBAL || function.at >= BAL_HUB_FLOAT_STORAGE ||
        arguments.kind != BAL_HUB_TUPLE)
        return refuse(m, "a call of what is no function");
    if (function.at == BAL_HUB_ORDERED_DICT)
        return arguments.n == 0 ? push_dict(m) : refuse(m, "an OrderedDict that is not empty");
    bal_hub_value call = {.kind = BAL_HUB_CALL, .n = 2, .at = (int64_t)m->pickle->items.n};
    BAL_TRY(add(m, &m->pickle->items, &function, sizeof function));
    BAL_TRY(add(m, &m->pickle->items, &arguments, sizeof arguments));
    return push(m, call);
}

/* Attributes of a state dict (_metadata: versions of modules) do not matter. */
static bal_status build(machine *m)
{
    bal_hub_value state;
    BAL_TRY(pop(m, &state));
    return state.kind == BAL_HUB_DICT && top_is(m, BAL_HUB_DICT)
               ? BAL_OK
               : refuse(m, "attributes of what is no dict");
}

static bal_status name_storage(machine *m)
{
    bal_hub_value id;
    BAL_TRY(pop(m, &id));
    if (id.kind != BAL_HUB_TUPLE || id.n != 5) return refuse(m, "a storage that is none");
    id.kind = BAL_HUB_STORAGE;
    return push(m, id);
}

/* Picklers number the memo in order. */
static bal_status remember(machine *m, uint64_t index)
{
    if (m->stack.n == 0 || top_is(m, BAL_HUB_MARK)) return refuse(m, "nothing to remember");
    if (index != m->memo.n) return refuse(m, "a memo out of order");
    return add(m, &m->memo, top(m), sizeof(bal_hub_value));
}

static bal_status recall(machine *m, size_t n_index)
{
    uint64_t index;
    BAL_TRY(take_number(m, n_index, &index));
    if (index >= m->memo.n) return refuse(m, "a memo that was never set");
    return push(m, ((const bal_hub_value *)m->memo.at)[index]);
}

static bal_status take_and_remember(machine *m, size_t n_index)
{
    uint64_t index;
    BAL_TRY(take_number(m, n_index, &index));
    return remember(m, index);
}

static bal_status skip_frame(machine *m)
{
    uint64_t n;
    BAL_TRY(take_number(m, 8, &n));
    return n <= m->pickle->n_bytes - m->at ? BAL_OK : refuse(m, "a frame longer than the rest");
}

static bal_status long_integer(machine *m)
{
    uint64_t n;
    BAL_TRY(take_number(m, 1, &n));
    return push_integer(m, n, true);
}

static bal_status push_flag(machine *m, bool flag)
{
    return push(m, (bal_hub_value){.kind = BAL_HUB_FLAG, .at = flag});
}

/* Opcodes that push a constant, an empty dictionary or a mark. */
static bal_status push_constant(machine *m, uint8_t opcode)
{
    char found[64];
    switch (opcode) {
        case '(': /* MARK */
            return push(m, (bal_hub_value){.kind = BAL_HUB_MARK});
        case 'N': /* NONE */
            return push(m, (bal_hub_value){.kind = BAL_HUB_NONE});
        case 0x88: /* NEWTRUE */
            return push_flag(m, true);
        case 0x89: /* NEWFALSE */
            return push_flag(m, false);
        case 'J': /* BININT */
            return push_integer(m, 4, true);
        case 'K': /* BININT1 */
            return push_integer(m, 1, false);
        case 'M': /* BININT2 */
            return push_integer(m, 2, false);
        case 0x8a: /* LONG1 */
            return long_integer(m);
        case 'X': /* BINUNICODE */
            return push_text(m, 4);
        case 0x8c: /* SHORT_BINUNICODE */
            return push_text(m, 1);
        case '}': /* EMPTY_DICT */
            return push_dict(m);
        default:
            snprintf(found, sizeof found, "opcode 0x%02x, which no tensor needs,", opcode);
            return refuse(m, found);
    }
}

static bal_status step(machine *m, uint8_t opcode)
{
    switch (opcode) {
        case 'c': /* GLOBAL */
            return push_named_global(m);
        case 0x93: /* STACK_GLOBAL */
            return push_stack_global(m);
        case ')': /* EMPTY_TUPLE */
            return make_tuple(m, 0);
        case 0x85: /* TUPLE1 */
            return make_tuple(m, 1);
        case 0x86: /* TUPLE2 */
            return make_tuple(m, 2);
        case 0x87: /* TUPLE3 */
            return make_tuple(m, 3);
        case 't': /* TUPLE */
            return make_marked_tuple(m);
        case 's': /* SETITEM */
            return set_items(m, 2, 0);
        case 'u': /* SETITEMS */
            return set_marked_items(m);
        case 'R': /* REDUCE */
            return reduce(m);
        case 'b': /* BUILD */
            return build(m);
        case 'Q': /* BINPERSID */
            return name_storage(m);
        case 'q': /* BINPUT */
            return take_and_remember(m, 1);
        case 'r': /* LONG_BINPUT */
            return take_and_remember(m, 4);
        case 0x94: /* MEMOIZE */
            return remember(m, m->memo.n);
        case 'h': /* BINGET */
            return recall(m, 1);
        case 'j': /* LONG_BINGET */
            return recall(m, 4);
        case 0x95: /* FRAME */
            return skip_frame(m);
        default:
            return push_constant(m, opcode);
    }
}

static bal_status run(machine *m)
{
    const uint8_t *from;
    BAL_TRY(take(m, 2, &from));
    if (from[0] != 0x80 || from[1] < 2 || from[1] > 5)
        return refuse(m, "no start of protocol 2 to 5");
    for (;;) {
        BAL_TRY(take(m, 1, &from));
        if (*from == '.') break;
        BAL_TRY(step(m, *from));
    }
    BAL_TRY(pop(m, &m->pickle->root));
    if (m->stack.n != 0 || m->at != m->pickle->n_bytes) return refuse(m, "more than one value");
    return BAL_OK;
}

bal_status bal_hub_unpickle(const uint8_t *bytes, size_t n_bytes, const char *origin,
                            bal_hub_pickle *pickle)
{
    *pickle = (bal_hub_pickle){.origin = origin, .bytes = bytes, .n_bytes = n_bytes};
    machine m = {.pickle = pickle};
    bal_status status = run(&m);
    free(m.stack.at);
    free(m.memo.at);
    return status;
}

void bal_hub_pickle_clear(bal_hub_pickle *pickle)
{
    free(pickle->items.at);
    free(pickle->pairs.at);
    *pickle = (bal_hub_pickle){0};
}

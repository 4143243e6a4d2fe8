/* store.c: what was computed of texts, in memory that processes may share. Nothing is ever taken
 * out or changed: an entry is written first and then named by its slot, so a reader needs no lock.
 * Two processes that write the same entry at once leave one of them unused.
 *
 * One in so many entries that are found is compared with its hash. If a fault of memory has changed
 * it, its slot is given up, and it will be written again elsewhere. */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "store.h"

#define BYTES_PER_SLOT 512 /* entries have some kilobytes at least */
#define LOOKS 64           /* slots that an entry may stand in */
#define CHECKED 7          /* so many; to hash all takes 6 % of a pair of passes over 64 rows */
#define GIVEN_UP 1         /* in a slot */

/* An entry: this, the tokens of its text, and the values, each aligned to 64 bytes. */
typedef struct entry {
    int64_t n_tokens, n_own, kind, n_values;
    uint64_t hash; /* of the values */
} entry;

struct bal_store {
    _Atomic uint64_t used, n_found; /* bytes of the memory; entries, so far */
    uint64_t n_bytes, n_slots;
    _Atomic uint64_t slots[]; /* offset of an entry; 0: none */
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share the slots");

static uint64_t aligned(uint64_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

static uint64_t tokens_at(void) { return aligned(sizeof(entry)); }

static uint64_t values_at(int64_t n_tokens)
{
    return tokens_at() + aligned((uint64_t)n_tokens * sizeof(int32_t));
}

static uint64_t header_bytes(uint64_t n_slots)
{
    return aligned(sizeof(bal_store) + n_slots * sizeof(uint64_t));
}

uint64_t bal_store_entry_bytes(int64_t n_tokens, int64_t n_values)
{
    return values_at(n_tokens) + aligned((uint64_t)n_values * sizeof(float));
}

bal_store *bal_store_empty(void *memory, size_t n_bytes)
{
    bal_store *store = memory;
    assert(n_bytes >= BAL_STORE_BYTES_MIN && (uintptr_t)memory % 64 == 0);
    store->n_bytes = n_bytes;
    store->n_slots = n_bytes / BYTES_PER_SLOT;
    memset((void *)store->slots, 0, store->n_slots * sizeof(uint64_t));
    atomic_store(&store->used, header_bytes(store->n_slots));
    atomic_store(&store->n_found, 0);
    return store;
}

static const entry *entry_at(const bal_store *store, uint64_t offset)
{
    return (const entry *)((const char *)store + offset);
}

static uint64_t hash_of(const void *values, int64_t n)
{
    return bal_hash(values, (size_t)n * sizeof(float), 0);
}

static bool is_of(const entry *e, const bal_text *text, int64_t n_values)
{
    return e->n_tokens == text->n && e->n_own == text->n_own && e->kind == text->kind &&
           e->n_values == n_values &&
           memcmp((const char *)e + tokens_at(), text->tokens,
                  (size_t)text->n * sizeof *text->tokens) == 0;
}

static uint64_t first_slot(const bal_store *store, const bal_text *text)
{
    uint64_t seed = (uint64_t)text->n_own << 1 | (uint64_t)text->kind;
    return bal_hash(text->tokens, (size_t)text->n * sizeof *text->tokens, seed) % store->n_slots;
}

const float *bal_store_find(bal_store *store, const bal_text *text, int64_t n_values)
{
    uint64_t slot = first_slot(store, text), offset;
    for (int look = 0; look < LOOKS; ++look, slot = (slot + 1) % store->n_slots) {
        offset = atomic_load_explicit(&store->slots[slot], memory_order_acquire);
        if (offset == 0) return NULL;
        const entry *e = entry_at(store, offset);
        if (offset == GIVEN_UP || !is_of(e, text, n_values)) continue;
        const void *values = (const char *)e + values_at(text->n);
        bool checks = atomic_fetch_add(&store->n_found, 1) % CHECKED == 0;
        if (!checks || e->hash == hash_of(values, n_values)) return values;
        atomic_store(&store->slots[slot], GIVEN_UP);
    }
    return NULL;
}

/* Bytes of the memory for an entry; 0: no room. */
static uint64_t take(bal_store *store, uint64_t n_bytes)
{
    uint64_t used = atomic_load(&store->used);
    do
        if (n_bytes > store->n_bytes - used) return 0;
    while (!atomic_compare_exchange_weak(&store->used, &used, used + n_bytes));
    return used;
}

void bal_store_add(bal_store *store, const bal_text *text, const float *values, int64_t n_values)
{
    uint64_t offset = take(store, bal_store_entry_bytes(text->n, n_values));
    if (offset == 0) return;
    char *at = (char *)store + offset;
    entry head = {text->n, text->n_own, text->kind, n_values, hash_of(values, n_values)};
    memcpy(at, &head, sizeof head);
    memcpy(at + tokens_at(), text->tokens, (size_t)text->n * sizeof *text->tokens);
    memcpy(at + values_at(text->n), values, (size_t)n_values * sizeof *values);
    uint64_t slot = first_slot(store, text);
    for (int look = 0; look < LOOKS; ++look, slot = (slot + 1) % store->n_slots) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&store->slots[slot], &none, offset,
                                                    memory_order_release, memory_order_relaxed))
            return;
    }
}

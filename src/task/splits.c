/* splits.c: which rows, as a function of a seed alone. */
#include "task_impl.h"

void bal_shuffle(int64_t *elements, int64_t n, uint64_t seed)
{
    for (int64_t i = n - 1; i > 0; --i) { /* Fisher-Yates */
        uint64_t random = bal_hash(&i, sizeof i, seed);
        int64_t j = (int64_t)((unsigned __int128)random * (uint64_t)(i + 1) >> 64);
        int64_t element = elements[i];
        elements[i] = elements[j];
        elements[j] = element;
    }
}

void bal_choose_balanced(int64_t *elements, int64_t *n, const int32_t *label, int n_labels,
                         int64_t n_wanted, int64_t *chosen)
{
    for (int64_t i = 0; *n > 0 && i < n_wanted; ++i) {
        int64_t at = 0;
        while (at < *n && label[elements[at]] != i % n_labels) ++at;
        if (at == *n) at = 0; /* none is left: any will do */
        chosen[i] = elements[at];
        --*n;
        for (int64_t j = at; j < *n; ++j) elements[j] = elements[j + 1];
    }
}

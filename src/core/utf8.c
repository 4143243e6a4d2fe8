/* utf8.c: reading UTF-8 characters. */
#include "ballot/core.h"

size_t bal_character(const char *text, size_t n_bytes, int32_t *character)
{
    const uint8_t *at = (const uint8_t *)text;
    if (at[0] < 0x80) {
        *character = at[0];
        return 1;
    }
    size_t n = at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (n > 0 && n <= n_bytes) {
        int32_t code = at[0] & (0x7f >> n);
        size_t i = 1;
        for (; i < n && (at[i] & 0xc0) == 0x80; ++i) code = code << 6 | (at[i] & 0x3f);
        static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (i == n && code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) {
            *character = code;
            return n;
        }
    }
    *character = BAL_NO_CHARACTER;
    return 1;
}

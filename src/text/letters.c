/* letters.c: the two spellings of a byte as a token: "<0xAB>", and one letter. */
#include <string.h>

#include "text_impl.h"

int bal_byte_token(const char *bytes, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(bytes, "<0x", 3) != 0 || bytes[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; ++i) {
        char c = bytes[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* Bytes that are visible characters of Latin-1 are written as themselves; the others, in order, as
 * the characters from 256 on. */
static bool is_visible(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

size_t bal_letter_of_byte(uint8_t byte, char *to)
{
    int32_t letter = byte;
    if (!is_visible(byte))
        letter = byte <= ' ' ? 256 + byte : byte < 0xad ? 256 + 33 + byte - 0x7f : 256 + 67;
    return bal_put_character(to, letter);
}

int bal_byte_of_letter(int32_t letter)
{
    if (letter < 256) return letter >= 0 && is_visible(letter) ? (int)letter : -1;
    int index = (int)letter - 256;
    if (index <= ' ') return index;
    if (index < 67) return index - 33 + 0x7f;
    return index == 67 ? 0xad : -1;
}

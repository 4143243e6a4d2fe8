/* letters.c: the two spellings of a byte as a token: "<0xAB>", and one letter. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

int bal_byte_token(const char *bytes, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(bytes, "<0x", 3) != 0 || bytes[5] != '>') return -1;
    const char digits[] = {bytes[3], bytes[4], 0};
    bool good = isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1]);
    return good ? (int)strtol(digits, NULL, 16) : -1;
}

/* Bytes that are visible characters of Latin-1 are written as themselves; the others, in order, as
 * the characters from 256 on. */
static bool is_visible(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

/* @return bytes written, 1 or 2 */
static size_t put_letter(uint8_t byte, char *to)
{
    int32_t letter = byte;
    if (!is_visible(byte))
        letter = byte <= ' ' ? 256 + byte : byte < 0xad ? 256 + 33 + byte - 0x7f : 256 + 67;
    return bal_put_character(to, letter);
}

bal_status bal_letters_add(const char *text, size_t n_bytes, bal_bytes *out)
{
    char letter[4];
    for (size_t i = 0; i < n_bytes; ++i)
        BAL_TRY(bal_bytes_add(out, letter, put_letter((uint8_t)text[i], letter)));
    return BAL_OK;
}

int bal_byte_of_letter(int32_t letter)
{
    if (letter < 256) return letter >= 0 && is_visible(letter) ? (int)letter : -1;
    int index = (int)letter - 256;
    if (index <= ' ') return index;
    if (index < 67) return index - 33 + 0x7f;
    return index == 67 ? 0xad : -1;
}

/* halves.c: floats in 16 bits, IEEE 754 half precision and bfloat16. */
#include <endian.h>
#include <math.h>
#include <string.h>

#include "export.h"

#define PIECE 16384 /* elements that are converted at a time */

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* bits >> n, to nearest, ties to even. */
static uint32_t shift(uint32_t bits, uint32_t n)
{
    uint32_t half = 1u << (n - 1), rest = bits & ((half << 1) - 1), kept = bits >> n;
    return kept + (rest > half || (rest == half && (kept & 1) != 0));
}

uint16_t bal_hub_f16_of(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (size >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and above: infinite */
    if (size >= 0x38800000u) /* 2^-14 and above: a carry into the exponent is right */
        return (uint16_t)(sign | (shift(size, 13) - (112u << 10)));
    uint32_t exponent = size >> 23, fraction = (size & 0x7FFFFFu) | 0x800000u;
    if (exponent < 102) return (uint16_t)sign;                 /* below 2^-25: 0 */
    return (uint16_t)(sign | shift(fraction, 126 - exponent)); /* in units of 2^-24 */
}

uint16_t bal_hub_bf16_of(float value)
{
    return isnan(value) ? 0x7FC0 : (uint16_t)shift(bits_of(value), 16);
}

static const struct {
    const char *name;
    float largest;
    uint16_t infinite;
} kinds[] = {
    [BAL_HUB_F16] = {"F16", 65504.0f, 0x7C00}, [BAL_HUB_BF16] = {"BF16", 0x1.fep127f, 0x7F80}};

static bal_status narrow(bal_hub_dtype dtype, const float *values, int64_t start, int64_t n,
                         const char *name, uint16_t *halves, const char *path)
{
    for (int64_t i = 0; i < n; ++i) {
        float value = values[start + i];
        uint16_t half = dtype == BAL_HUB_F16 ? bal_hub_f16_of(value) : bal_hub_bf16_of(value);
        if ((half & 0x7FFF) >= kinds[dtype].infinite)
            return bal_fail(BAL_ERR_NUMERIC,
                            "%s: tensor %s: element %lld is %.9g; expected at most %.9g, the "
                            "largest number of %s",
                            path, name, (long long)(start + i), (double)value,
                            (double)kinds[dtype].largest, kinds[dtype].name);
        halves[i] = htole16(half);
    }
    return BAL_OK;
}

bal_status bal_hub_write_floats(bal_hub_dtype dtype, const float *values, int64_t n,
                                const char *name, int fd, const char *path)
{
    uint32_t words[PIECE];
    uint16_t halves[PIECE];
    for (int64_t start = 0, here; start < n; start += here) {
        here = n - start < PIECE ? n - start : PIECE;
        if (dtype == BAL_HUB_F32) {
            for (int64_t i = 0; i < here; ++i) words[i] = htole32(bits_of(values[start + i]));
            BAL_TRY(bal_write_all(fd, words, (size_t)here * sizeof *words, path));
        } else {
            BAL_TRY(narrow(dtype, values, start, here, name, halves, path));
            BAL_TRY(bal_write_all(fd, halves, (size_t)here * sizeof *halves, path));
        }
    }
    return BAL_OK;
}

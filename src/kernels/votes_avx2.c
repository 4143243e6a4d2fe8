/* votes_avx2.c: random streams, directions, tallies and the update with AVX2. */
#include <immintrin.h>

#include "bits_avx2.h"
#include "votes_impl.h"

static inline __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }
static inline __m256i ones(uint32_t x) { return _mm256_set1_epi32((int)x); }
static inline __m256i swap(__m256i x) { return _mm256_shuffle_epi32(x, 0xB1); }
static inline __m256i xor3(__m256i x, __m256i y, __m256i z)
{
    return _mm256_xor_si256(_mm256_xor_si256(x, y), z);
}

/* 8 counters from first on, as 4 even and 4 odd ones. Each word is in the lower half of 64 bits,
 * where multiplications read it; the upper half is unspecified. */
static inline void philox_half_line(const philox_plan *plan, uint32_t first, uint8_t *out)
{
    const __m256i m0 = ones(PHILOX_M0), m1 = ones(PHILOX_M1);
    __m256i x0[2], x1[2], x2[2], x3[2];
    for (uint32_t i = 0; i < 2; ++i) {
        __m256i start = _mm256_add_epi32(_mm256_setr_epi64x(0, 2, 4, 6), ones(first + i));
        __m256i a = _mm256_mul_epu32(start, m0);
        __m256i b = _mm256_mul_epu32(_mm256_xor_si256(swap(a), ones(plan->start2)), m1);
        x0[i] = _mm256_xor_si256(swap(b), ones(plan->next0));
        x1[i] = b;
        x2[i] = _mm256_xor_si256(a, ones(plan->next2));
        x3[i] = ones(plan->next3);
    }
    for (int round = 2; round < 10; ++round)
        for (int i = 0; i < 2; ++i) {
            __m256i a = _mm256_mul_epu32(x0[i], m0), b = _mm256_mul_epu32(x2[i], m1);
            x0[i] = xor3(swap(b), x1[i], ones(plan->key[round][0]));
            x2[i] = xor3(swap(a), x3[i], ones(plan->key[round][1]));
            x1[i] = b;
            x3[i] = a;
        }
    store(out, _mm256_blend_epi32(x0[0], swap(x0[1]), 0xAA));
    store(out + 64, _mm256_blend_epi32(x1[0], swap(x1[1]), 0xAA));
    store(out + 128, _mm256_blend_epi32(x2[0], swap(x2[1]), 0xAA));
    store(out + 192, _mm256_blend_epi32(x3[0], swap(x3[1]), 0xAA));
}

static void philox(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out)
{
    philox_plan plan;
    philox_prepare(key, c1, c2, c3, &plan);
    for (int64_t half = 0; half < 2 * n_lines; ++half)
        philox_half_line(&plan, (uint32_t)(16 * first + 8 * half),
                         out + half / 2 * BAL_LINE_BYTES + half % 2 * 32);
}

/* Parities of 32 bytes and 8 windows, one bit per window. */
static inline __m256i parities(__m256i low_table, __m256i high_table, __m256i b)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble);
    return _mm256_xor_si256(_mm256_shuffle_epi8(low_table, _mm256_and_si256(b, nibble)),
                            _mm256_shuffle_epi8(high_table, high));
}

static inline __m256i table(uint64_t windows, int at)
{
    uint64_t entries[2];
    walsh_table(windows, at, entries);
    return _mm256_broadcastsi128_si256(
        _mm_set_epi64x((long long)entries[1], (long long)entries[0]));
}

static void walsh(int64_t n_pieces, uint8_t slot, const uint8_t *bytes, uint8_t *negative)
{
    uint64_t windows = walsh_windows(slot);
    __m256i lows[4], highs[4];
    for (int i = 0; i < 4; ++i) {
        lows[i] = table(windows, 8 * i);
        highs[i] = table(windows, 8 * i + 4);
    }
    for (int64_t piece = 0; piece < n_pieces; ++piece, bytes += BAL_PIECE_BYTES)
        for (int i = 0; i < 4; ++i, negative += 64)
            for (int half = 0; half < 2; ++half) { /* codes 0 .. 31 and 32 .. 63 of 8 runs */
                __m256i odd = parities(lows[i], highs[i], load(bytes + 32 * half));
                for (int run = 7; run >= 0; --run, odd = _mm256_add_epi8(odd, odd)) {
                    uint8_t *at = negative + 8 * run + 4 * half;
                    uint32_t flip;
                    memcpy(&flip, at, sizeof flip);
                    flip ^= (uint32_t)_mm256_movemask_epi8(odd);
                    memcpy(at, &flip, sizeof flip);
                }
            }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    for (int64_t i = 0; i < n; i += 32)
        store(z + i, _mm256_or_si256(spread_bits(bits + i / 8), _mm256_set1_epi8(1)));
}

/* Look 32 bytes up in a table of 256, cut into 16 tables of 16 bytes. b - 16 t is an index of table
 * t if it is below 16. Adding 0x70 sets the top bit of every other one, for which a shuffle
 * gives 0. */
static inline __m256i look_up(const __m256i tables[16], __m256i b)
{
    const __m256i sixteen = _mm256_set1_epi8(16), reach = _mm256_set1_epi8(0x70);
    __m256i found = _mm256_setzero_si256();
    for (int t = 0; t < 16; ++t, b = _mm256_sub_epi8(b, sixteen))
        found = _mm256_or_si256(found, _mm256_shuffle_epi8(tables[t], _mm256_adds_epu8(b, reach)));
    return found;
}

/* In GF(2^8). */
static inline __m256i times_x(__m256i b)
{
    __m256i high = _mm256_cmpgt_epi8(_mm256_setzero_si256(), b);
    return _mm256_xor_si256(_mm256_add_epi8(b, b), _mm256_and_si256(high, _mm256_set1_epi8(0x1B)));
}

static inline void load_tables(const uint8_t bytes[256], __m256i tables[16])
{
    for (int t = 0; t < 16; ++t)
        tables[t] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes + t));
}

/* sums += 2 half + odd, of 16 codes. */
static inline void add_twice(__m128i half, __m256i odd, int16_t *sums)
{
    __m256i value = _mm256_add_epi16(_mm256_slli_epi16(_mm256_cvtepi8_epi16(half), 1), odd);
    store(sums, _mm256_add_epi16(load(sums), value));
}

/* sums += a and b, or less those: the words of bytes 0 .. 7 and 16 .. 23, and those of 8 .. 15 and
 * 24 .. 31. */
static inline void add_signed(__m256i a, __m256i b, __m256i minus, int16_t *sums)
{
    __m256i sign = _mm256_unpacklo_epi8(minus, minus);
    a = _mm256_sub_epi16(_mm256_xor_si256(a, sign), sign);
    sign = _mm256_unpackhi_epi8(minus, minus);
    b = _mm256_sub_epi16(_mm256_xor_si256(b, sign), sign);
    store(sums, _mm256_add_epi16(load(sums), _mm256_permute2x128_si256(a, b, 0x20)));
    store(sums + 16, _mm256_add_epi16(load(sums + 16), _mm256_permute2x128_si256(a, b, 0x31)));
}

/* sums += the words of low and high bytes, or less those, of 32 codes. */
static inline void add_words(__m256i low, __m256i high, __m256i minus, int16_t *sums)
{
    add_signed(_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high), minus, sums);
}

/* For tables of any values: low bytes and high bytes are looked up separately. */
static void walsh_sums_wide(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                            const uint8_t *signs, int16_t *sums)
{
    uint8_t low[256], high[256];
    __m256i lows[16], highs[16];
    for (int b = 0; b < 256; ++b) {
        low[b] = (uint8_t)table[b];
        high[b] = (uint8_t)(table[b] >> 8);
    }
    load_tables(low, lows);
    load_tables(high, highs);
    for (int64_t part = 0; part < 2 * n_pieces; ++part) { /* half of the bytes of a piece */
        __m256i b = load(bytes + 32 * part);
        const uint8_t *sign = signs + part / 2 * BAL_LINE_BYTES + part % 2 * 4;
        int16_t *sum = sums + part / 2 * BAL_PIECE_CODES + part % 2 * 32;
        for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, sign += 8, sum += 64, b = times_x(b))
            add_words(look_up(lows, b), look_up(highs, b), spread_bits(sign), sum);
    }
}

/* The values of a table are sums of the same votes with different signs, so all are odd or all are
 * even. Their halves, (value - odd) / 2, fit a byte if all values lie in -255 .. 255. Tallies of
 * signs do, unless all 256 of a set agree. The half of -value is -half, or -half - 1 if odd. */
static void walsh_sums(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums)
{
    int odd = table[0] & 1;
    bool too_big = false;
    uint8_t halves[256];
    __m256i tables[16];
    for (int b = 0; b < 256; ++b) {
        too_big |= table[b] > 255 || table[b] < -255;
        halves[b] = (uint8_t)((table[b] - odd) >> 1);
    }
    if (too_big) {
        walsh_sums_wide(n_pieces, table, bytes, signs, sums);
        return;
    }
    load_tables(halves, tables);
    const __m256i odds = _mm256_set1_epi16((short)odd), even = _mm256_set1_epi8((char)(odd - 1));
    for (int64_t part = 0; part < 2 * n_pieces; ++part) { /* half of the bytes of a piece */
        __m256i b = load(bytes + 32 * part);
        const uint8_t *sign = signs + part / 2 * BAL_LINE_BYTES + part % 2 * 4;
        int16_t *sum = sums + part / 2 * BAL_PIECE_CODES + part % 2 * 32;
        for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, sign += 8, sum += 64) {
            __m256i minus = spread_bits(sign);
            __m256i half = _mm256_xor_si256(look_up(tables, b), minus);
            half = _mm256_sub_epi8(half, _mm256_and_si256(minus, even));
            add_twice(_mm256_castsi256_si128(half), odds, sum);
            add_twice(_mm256_extracti128_si256(half, 1), odds, sum + 16);
            b = times_x(b);
        }
    }
}

/* 16 values of a table, each at the index in a word. A gather reads two values and keeps the first.
 */
static inline __m256i gather(const int16_t *table, __m256i at)
{
    const int *base = (const int *)(const void *)table;
    __m256i even = _mm256_and_si256(at, _mm256_set1_epi32(0xFFFF)), odd = _mm256_srli_epi32(at, 16);
    odd = _mm256_slli_epi32(_mm256_i32gather_epi32(base, odd, 2), 16);
    return _mm256_blend_epi16(_mm256_i32gather_epi32(base, even, 2), odd, 0xAA);
}

static void walsh_wide_sums(int64_t n_pieces, int n_high, const int16_t *table, const uint8_t *low,
                            const uint8_t *high, const uint8_t *signs, int16_t *sums)
{
    const __m256i mask = _mm256_set1_epi8((char)(n_high - 1));
    for (int64_t part = 0; part < 2 * n_pieces; ++part) { /* half of the bytes of a piece */
        __m256i b = load(low + 32 * part), c = load(high + 32 * part);
        const uint8_t *sign = signs + part / 2 * BAL_LINE_BYTES + part % 2 * 4;
        int16_t *sum = sums + part / 2 * BAL_PIECE_CODES + part % 2 * 32;
        for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, sign += 8, sum += 64) {
            __m256i top = _mm256_and_si256(c, mask);
            add_signed(gather(table, _mm256_unpacklo_epi8(b, top)),
                       gather(table, _mm256_unpackhi_epi8(b, top)), spread_bits(sign), sum);
            b = times_x(b);
            c = times_x(c);
        }
    }
}

/* 128 + carry + increment of 16 codes: its upper byte is the move, its lower one 128 + what is
 * left. */
static inline __m256i fractions(const int16_t *tally, const int8_t *carries, __m256i multiplier,
                                __m128i shift)
{
    __m256i increment = _mm256_mulhrs_epi16(_mm256_sll_epi16(load(tally), shift), multiplier);
    __m256i before = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)carries));
    return _mm256_add_epi16(_mm256_add_epi16(before, _mm256_set1_epi16(128)), increment);
}

static uint32_t carry(int64_t n, int low, int high, int multiplier, int shift, const int16_t *tally,
                      uint8_t *codes, int8_t *carries)
{
    const __m256i factor = _mm256_set1_epi16((short)multiplier);
    const __m128i places = _mm_cvtsi32_si128(shift);
    const __m256i bottom = _mm256_set1_epi8((char)low), top = _mm256_set1_epi8((char)high);
    const __m256i bias = _mm256_set1_epi8(-128), fraction = _mm256_set1_epi16(255);
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; i += 32) {
        __m256i f = fractions(tally + i, carries + i, factor, places);
        __m256i g = fractions(tally + i + 16, carries + i + 16, factor, places);
        __m256i before = load(carries + i), old = _mm256_xor_si256(load(codes + i), bias);
        __m256i open =
            _mm256_and_si256(_mm256_cmpgt_epi8(old, bottom), _mm256_cmpgt_epi8(top, old));
        __m256i moves = _mm256_packs_epi16(_mm256_srai_epi16(f, 8), _mm256_srai_epi16(g, 8));
        __m256i left =
            _mm256_packus_epi16(_mm256_and_si256(f, fraction), _mm256_and_si256(g, fraction));
        moves = _mm256_permute4x64_epi64(moves, 0xD8); /* undoes packing by lanes */
        left = _mm256_xor_si256(_mm256_permute4x64_epi64(left, 0xD8), bias);
        __m256i code = _mm256_adds_epi8(old, moves);
        code = _mm256_max_epi8(_mm256_min_epi8(code, top), bottom);
        code = _mm256_blendv_epi8(old, code, open);
        store(carries + i, _mm256_blendv_epi8(before, left, open));
        store(codes + i, _mm256_xor_si256(code, bias));
        uint32_t same = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(code, old));
        n_flips += 32 - (uint32_t)__builtin_popcount(same);
    }
    return n_flips;
}

void bal_votes_add_avx2(bal_kernels *kernels)
{
    kernels->philox = philox;
    kernels->walsh = walsh;
    kernels->walsh_sums = walsh_sums;
    kernels->walsh_wide_sums = walsh_wide_sums;
    kernels->signs = signs;
    kernels->carry = carry;
}

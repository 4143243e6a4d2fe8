/* votes_avx512.c: random streams, directions, tallies and the update with AVX-512 F, BW, DQ, VL,
 * and VBMI where there is one. */
#include <immintrin.h>

#include "votes_impl.h"

#define INLINE static inline __attribute__((always_inline))
#define VBMI __attribute__((target("avx512vbmi")))
#define UNROLL _Pragma("GCC unroll 4")

INLINE __m512i load(const void *from) { return _mm512_loadu_si512(from); }
INLINE void store(void *to, __m512i x) { _mm512_storeu_si512(to, x); }
INLINE __m512i ones(uint32_t x) { return _mm512_set1_epi32((int)x); }
INLINE __m512i swap(__m512i x) { return _mm512_shuffle_epi32(x, _MM_PERM_CDAB); }
INLINE __m512i xor3(__m512i x, __m512i y, __m512i z)
{
    return _mm512_ternarylogic_epi32(x, y, z, 0x96);
}

/* n_sets times 8 counters. Each word is in the lower half of 64 bits, where multiplications read
 * it; the upper half is unspecified. Set 2 i has the even counters of line i, set 2 i + 1 the odd
 * ones. Several sets are computed at once, as each round waits for the one before. */
INLINE void philox_sets(int n_sets, const philox_plan *plan, uint32_t first, uint8_t *out)
{
    const __m512i m0 = ones(PHILOX_M0), m1 = ones(PHILOX_M1);
    const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    __m512i x0[4], x1[4], x2[4], x3[4];
    UNROLL for (int i = 0; i < n_sets; ++i)
    {
        __m512i start = _mm512_add_epi32(even, ones(first + (uint32_t)(i / 2 * 16 + i % 2)));
        __m512i a = _mm512_mul_epu32(start, m0);
        __m512i y2 = _mm512_xor_si512(swap(a), ones(plan->start2));
        __m512i b = _mm512_mul_epu32(y2, m1);
        x0[i] = _mm512_xor_si512(swap(b), ones(plan->next0));
        x1[i] = b;
        x2[i] = _mm512_xor_si512(a, ones(plan->next2));
        x3[i] = ones(plan->next3);
    }
    for (int round = 2; round < 10; ++round) {
        __m512i k0 = ones(plan->key[round][0]), k1 = ones(plan->key[round][1]);
        UNROLL for (int i = 0; i < n_sets; ++i)
        {
            __m512i a = _mm512_mul_epu32(x0[i], m0), b = _mm512_mul_epu32(x2[i], m1);
            x0[i] = xor3(swap(b), x1[i], k0);
            x2[i] = xor3(swap(a), x3[i], k1);
            x1[i] = b;
            x3[i] = a;
        }
    }
    UNROLL for (int i = 0; i < n_sets; i += 2)
    {
        uint8_t *line = out + i / 2 * BAL_LINE_BYTES;
        store(line, _mm512_mask_shuffle_epi32(x0[i], 0xAAAA, x0[i + 1], _MM_PERM_CDAB));
        store(line + 64, _mm512_mask_shuffle_epi32(x1[i], 0xAAAA, x1[i + 1], _MM_PERM_CDAB));
        store(line + 128, _mm512_mask_shuffle_epi32(x2[i], 0xAAAA, x2[i + 1], _MM_PERM_CDAB));
        store(line + 192, _mm512_mask_shuffle_epi32(x3[i], 0xAAAA, x3[i + 1], _MM_PERM_CDAB));
    }
}

static void philox(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out)
{
    philox_plan plan;
    philox_prepare(key, c1, c2, c3, &plan);
    uint32_t lane = (uint32_t)(16 * first);
    for (; n_lines > 0; n_lines -= 2, lane += 32, out += 2 * BAL_LINE_BYTES) {
        /* keep the plan in memory: gcc 12 would load it into registers and spill those */
        __asm__ volatile("" : "+m"(plan));
        if (n_lines > 1)
            philox_sets(4, &plan, lane, out);
        else
            philox_sets(2, &plan, lane, out);
    }
}

INLINE uint64_t load_mask(const uint8_t *from)
{
    uint64_t mask;
    memcpy(&mask, from, sizeof mask);
    return mask;
}

static inline __m512i table(uint64_t windows, int at)
{
    uint64_t entries[2];
    walsh_table(windows, at, entries);
    return _mm512_broadcast_i32x4(_mm_set_epi64x((long long)entries[1], (long long)entries[0]));
}

static void walsh(int64_t n_pieces, uint8_t slot, const uint8_t *bytes, uint8_t *negative)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    uint64_t windows = walsh_windows(slot);
    __m512i lows[4], highs[4];
    for (int i = 0; i < 4; ++i) {
        lows[i] = table(windows, 8 * i);
        highs[i] = table(windows, 8 * i + 4);
    }
    for (int64_t piece = 0; piece < n_pieces; ++piece, bytes += BAL_PIECE_BYTES) {
        __m512i b = load(bytes), low = _mm512_and_si512(b, nibble);
        __m512i high = _mm512_and_si512(_mm512_srli_epi16(b, 4), nibble);
        UNROLL for (int i = 0; i < 4; ++i)
        {
            __m512i odd = _mm512_xor_si512(_mm512_shuffle_epi8(lows[i], low),
                                           _mm512_shuffle_epi8(highs[i], high));
            _Pragma("GCC unroll 8") for (int run = 0; run < 8; ++run, negative += 8)
            {
                uint64_t flip = load_mask(negative);
                flip ^= _mm512_test_epi8_mask(odd, _mm512_set1_epi8((char)(1 << run)));
                memcpy(negative, &flip, sizeof flip);
            }
        }
    }
}

/* In GF(2^8). */
INLINE __m512i times_x(__m512i b)
{
    __m512i low = _mm512_maskz_mov_epi8(_mm512_movepi8_mask(b), _mm512_set1_epi8(0x1B));
    return _mm512_xor_si512(_mm512_add_epi8(b, b), low);
}

/* A piece's bytes: bytes 2 i and 2 i + 1 of the result belong to codes i and 32 + i of a run. */
INLINE __m512i first_run(const uint8_t *bytes)
{
    __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)bytes));
    __m512i high = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(bytes + 32)));
    return _mm512_or_si512(low, _mm512_slli_epi16(high, 8));
}

INLINE void add_signed(__m512i value, uint64_t minus, int16_t *sums)
{
    __m512i sum = load(sums);
    sum = _mm512_mask_sub_epi16(_mm512_add_epi16(sum, value), (__mmask32)minus, sum, value);
    store(sums, sum);
}

/* Values of a table of 256, each at the index in bits 0 .. 7 of a word. */
INLINE __m512i look_up_values(const __m512i values[8], __m512i at)
{
    __mmask32 second = _mm512_test_epi16_mask(at, _mm512_set1_epi16(0x40));
    __mmask32 upper = _mm512_test_epi16_mask(at, _mm512_set1_epi16(0x80));
    __m512i low = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(values[0], at, values[1]), second,
                                        _mm512_permutex2var_epi16(values[2], at, values[3]));
    __m512i high =
        _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(values[4], at, values[5]), second,
                              _mm512_permutex2var_epi16(values[6], at, values[7]));
    return _mm512_mask_mov_epi16(low, upper, high);
}

/* For tables of any values. */
static void walsh_sums_wide(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                            const uint8_t *signs, int16_t *sums)
{
    __m512i values[8];
    for (int i = 0; i < 8; ++i) values[i] = load(table + 32 * i);
    for (int64_t piece = 0; piece < n_pieces; ++piece, bytes += BAL_PIECE_BYTES) {
        __m512i b = first_run(bytes);
        for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, signs += 8, sums += 64) {
            uint64_t minus = load_mask(signs);
            add_signed(look_up_values(values, b), minus, sums);
            add_signed(look_up_values(values, _mm512_srli_epi16(b, 8)), minus >> 32, sums + 32);
            b = times_x(b);
        }
    }
}

/* A table as 256 bytes. Its values are sums of the same votes with different signs, so all are odd
 * or all are even. half = (value - odd) / 2 fits a byte if value lies in -256 .. 255. Tallies of
 * signs do, unless all 256 of a set agree. */
typedef struct halved {
    __m512i half[4];
    __m512i odd; /* 0 or 1 in each word */
} halved;

/* @return whether all values fit */
INLINE bool halve(const int16_t *table, halved *h)
{
    uint32_t too_big = 0;
    h->odd = _mm512_set1_epi16((short)(table[0] & 1));
    for (int i = 0; i < 8; ++i) {
        __m512i value = load(table + 32 * i);
        __m256i bytes = _mm512_cvtepi16_epi8(_mm512_srai_epi16(value, 1));
        too_big |= _mm512_test_epi16_mask(_mm512_add_epi16(value, _mm512_set1_epi16(256)),
                                          _mm512_set1_epi16((short)0xFE00));
        h->half[i / 2] = i % 2 == 0 ? _mm512_castsi256_si512(bytes)
                                    : _mm512_inserti64x4(h->half[i / 2], bytes, 1);
    }
    return too_big == 0;
}

/* Halves for the bytes of 64 codes, even bytes and odd bytes apart: each in the upper byte of a
 * word, whose lower byte is unspecified. A 16-bit look-up by bits 1 .. 7 finds a pair of halves. */
INLINE void look_up_pairs(const halved *h, __m512i b, __m512i *even, __m512i *odd)
{
    __m512i at = _mm512_srli_epi16(b, 1), at_odd = _mm512_srli_epi16(b, 9);
    __mmask32 high = _mm512_test_epi16_mask(b, _mm512_set1_epi16(0x80));
    __mmask32 first = _mm512_testn_epi16_mask(b, _mm512_set1_epi16(1));
    *even = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(h->half[0], at, h->half[1]), high,
                                  _mm512_permutex2var_epi16(h->half[2], at, h->half[3]));
    *even = _mm512_mask_slli_epi16(*even, first, *even, 8);
    first = _mm512_testn_epi16_mask(b, _mm512_set1_epi16(0x100));
    *odd = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(h->half[0], at_odd, h->half[1]),
                                 _mm512_movepi16_mask(b),
                                 _mm512_permutex2var_epi16(h->half[2], at_odd, h->half[3]));
    *odd = _mm512_mask_slli_epi16(*odd, first, *odd, 8);
}
VBMI INLINE void look_up_bytes(const halved *h, __m512i b, __m512i *even, __m512i *odd)
{
    *odd = _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(h->half[0], b, h->half[1]),
                                _mm512_movepi8_mask(b),
                                _mm512_permutex2var_epi8(h->half[2], b, h->half[3]));
    *even = _mm512_slli_epi16(*odd, 8);
}

/* 2 half + odd. */
INLINE __m512i twice(const halved *h, __m512i half)
{
    return _mm512_ternarylogic_epi32(_mm512_srai_epi16(half, 7), _mm512_set1_epi16(1), h->odd,
                                     0xBA);
}

#define DEFINE_WALSH_SUMS(kind, name, look_up)                                             \
    kind void name(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,           \
                   const uint8_t *signs, int16_t *sums)                                    \
    {                                                                                      \
        halved h;                                                                          \
        if (!halve(table, &h)) {                                                           \
            walsh_sums_wide(n_pieces, table, bytes, signs, sums);                          \
            return;                                                                        \
        }                                                                                  \
        for (int64_t piece = 0; piece < n_pieces; ++piece, bytes += BAL_PIECE_BYTES) {     \
            __m512i b = first_run(bytes);                                                  \
            for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, signs += 8, sums += 64) { \
                __m512i even, odd;                                                         \
                uint64_t minus = load_mask(signs);                                         \
                look_up(&h, b, &even, &odd);                                               \
                add_signed(twice(&h, even), minus, sums);                                  \
                add_signed(twice(&h, odd), minus >> 32, sums + 32);                        \
                b = times_x(b);                                                            \
            }                                                                              \
        }                                                                                  \
    }
DEFINE_WALSH_SUMS(, bal_walsh_sums_bw, look_up_pairs)
DEFINE_WALSH_SUMS(VBMI static, walsh_sums_vbmi, look_up_bytes)

/* 32 values of a table, each at the index in a word. A gather reads two values and keeps the first.
 */
INLINE __m512i gather(const int16_t *table, __m512i at)
{
    __m512i even = _mm512_and_si512(at, ones(0xFFFF)), odd = _mm512_srli_epi32(at, 16);
    odd = _mm512_slli_epi32(_mm512_i32gather_epi32(odd, table, 2), 16);
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_i32gather_epi32(even, table, 2), odd);
}

static void walsh_wide_sums(int64_t n_pieces, int n_high, const int16_t *table, const uint8_t *low,
                            const uint8_t *high, const uint8_t *signs, int16_t *sums)
{
    const __m512i mask = _mm512_set1_epi8((char)(n_high - 1));
    const __mmask64 upper = 0xAAAAAAAAAAAAAAAA; /* bytes */
    for (int64_t piece = 0; piece < n_pieces; ++piece) {
        __m512i b = first_run(low + piece * BAL_PIECE_BYTES);
        __m512i c = first_run(high + piece * BAL_PIECE_BYTES);
        for (int run = 0; run < BAL_PIECE_CODES / 64; ++run, signs += 8, sums += 64) {
            __m512i top = _mm512_and_si512(c, mask);
            __m512i first = _mm512_mask_blend_epi8(upper, b, _mm512_slli_epi16(top, 8));
            __m512i second = _mm512_mask_blend_epi8(upper, _mm512_srli_epi16(b, 8), top);
            uint64_t minus = load_mask(signs);
            add_signed(gather(table, first), minus, sums);
            add_signed(gather(table, second), minus >> 32, sums + 32);
            b = times_x(b);
            c = times_x(c);
        }
    }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    const __m512i one = _mm512_set1_epi8(1);
    for (int64_t i = 0; i < n; i += 64)
        store(z + i,
              _mm512_mask_sub_epi8(one, load_mask(bits + i / 8), _mm512_setzero_si512(), one));
}

/* 128 + carry + increment of 32 codes: its upper byte is the move, its lower one 128 + what is
 * left. */
INLINE __m512i fractions(const int16_t *tally, const int8_t *carries, __m512i multiplier,
                         __m512i shift)
{
    __m512i increment = _mm512_mulhrs_epi16(_mm512_sllv_epi16(load(tally), shift), multiplier);
    __m512i before = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)carries));
    return _mm512_add_epi16(_mm512_add_epi16(before, _mm512_set1_epi16(128)), increment);
}

/* How many codes ahead codes and carries are prefetched: those of the next call, if calls have 8192
 * codes. */
#define AHEAD 8192

static uint32_t carry(int64_t n, int low, int high, int multiplier, int shift, const int16_t *tally,
                      uint8_t *codes, int8_t *carries)
{
    const __m512i factor = _mm512_set1_epi16((short)multiplier);
    const __m512i places = _mm512_set1_epi16((short)shift);
    const __m512i bottom = _mm512_set1_epi8((char)low), top = _mm512_set1_epi8((char)high);
    const __m512i bias = _mm512_set1_epi8(-128), fraction = _mm512_set1_epi16(255);
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7); /* undoes packing by lanes */
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; i += 64) {
        _mm_prefetch(codes + i + AHEAD, _MM_HINT_T0);
        _mm_prefetch(carries + i + AHEAD, _MM_HINT_T0);
        __m512i f = fractions(tally + i, carries + i, factor, places);
        __m512i g = fractions(tally + i + 32, carries + i + 32, factor, places);
        __m512i old = _mm512_xor_si512(load(codes + i), bias);
        __mmask64 open = _mm512_mask_cmplt_epi8_mask(_mm512_cmplt_epi8_mask(bottom, old), old, top);
        __m512i moves = _mm512_packs_epi16(_mm512_srai_epi16(f, 8), _mm512_srai_epi16(g, 8));
        __m512i left =
            _mm512_packus_epi16(_mm512_and_si512(f, fraction), _mm512_and_si512(g, fraction));
        moves = _mm512_permutexvar_epi64(order, moves);
        left = _mm512_xor_si512(_mm512_permutexvar_epi64(order, left), bias);
        __m512i code = _mm512_adds_epi8(old, moves);
        code = _mm512_max_epi8(_mm512_min_epi8(code, top), bottom);
        _mm512_mask_storeu_epi8(carries + i, open, left);
        _mm512_mask_storeu_epi8(codes + i, open, _mm512_xor_si512(code, bias));
        n_flips += (uint32_t)__builtin_popcountll(_mm512_mask_cmpneq_epi8_mask(open, code, old));
    }
    return n_flips;
}

void bal_votes_add_avx512(bal_kernels *kernels)
{
    kernels->philox = philox;
    kernels->walsh = walsh;
    kernels->walsh_sums =
        __builtin_cpu_supports("avx512vbmi") ? walsh_sums_vbmi : bal_walsh_sums_bw;
    kernels->walsh_wide_sums = walsh_wide_sums;
    kernels->signs = signs;
    kernels->carry = carry;
}

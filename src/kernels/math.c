/* math.c: transcendental functions of doubles, made of +, -, *, / alone. So tables made with them
 * (rotary angles, gain factors) have the same bits on every machine. Not for inner loops. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "ballot/kernels.h"

#define LN2_HIGH 6.93147180369123816490e-01 /* ln 2 in two parts: the first has 32 bits */
#define LN2_LOW 1.90821492927058770002e-10
#define HALF_PI_HIGH 1.57079632673412561417e+00 /* pi / 2 likewise */
#define HALF_PI_LOW 6.07710050650619224932e-11

double bal_math_exp(double x)
{
    if (!(x > -700.0)) return x != x ? x : 0.0;
    if (x > 700.0) return INFINITY;
    double n = rint(x / (LN2_HIGH + LN2_LOW));
    double r = (x - n * LN2_HIGH) - n * LN2_LOW; /* |r| <= ln 2 / 2 */
    double sum = 1.0;
    for (int k = 16; k >= 1; --k) sum = 1.0 + r * sum / k; /* Taylor; r^17 / 17! < 1e-22 */
    int64_t bits = ((int64_t)n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

double bal_math_log(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFF) | (int64_t)1023 << 52;
    double m; /* x = m 2^exponent, m in [1, 2) */
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        ++exponent;
    }
    double t = (m - 1.0) / (m + 1.0), square = t * t, sum = 0.0; /* ln m = 2 atanh t, |t| < 0.172 */
    for (int k = 21; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return (double)exponent * LN2_HIGH + (2.0 * t * sum + (double)exponent * LN2_LOW);
}

void bal_math_sincos(double x, double *sine, double *cosine)
{
    double n = rint(x / (HALF_PI_HIGH + HALF_PI_LOW));
    double r = (x - n * HALF_PI_HIGH) - n * HALF_PI_LOW; /* |r| <= pi / 4 */
    double square = r * r, s = 1.0, c = 1.0;
    for (int k = 18; k >= 2; k -= 2) { /* Taylor */
        s = 1.0 - square * s / (k * (k + 1));
        c = 1.0 - square * c / (k * (k - 1));
    }
    s *= r;
    switch ((int64_t)n & 3) {
        case 0:
            *sine = s, *cosine = c;
            break;
        case 1:
            *sine = c, *cosine = -s;
            break;
        case 2:
            *sine = -s, *cosine = -c;
            break;
        default:
            *sine = -c, *cosine = s;
            break;
    }
}

/* lanes_add.h: the float kernels of one level, for its table. */
#include "lanes_attention.h"
#include "lanes_loss.h"
#include "lanes_norm.h"
#include "lanes_rotate.h"
#include "lanes_swiglu.h"

void LANES_ADD(bal_kernels *kernels)
{
    kernels->quantize      = quantize;
    kernels->rms_norm_i8   = rms_norm_i8;
    kernels->rms_norm      = rms_norm;
    kernels->rotate        = rotate;
    kernels->attention     = attention;
    kernels->swiglu        = swiglu;
    kernels->exp_sums      = exp_sums;
    kernels->cross_entropy = cross_entropy;
}

/* lanes_add.h: the float kernels of one level, for its table. */
#include "lanes_activate.h"
#include "lanes_attention.h"
#include "lanes_loss.h"
#include "lanes_norm.h"
#include "lanes_rotate.h"

void LANES_ADD(bal_kernels *kernels)
{
    kernels->quantize = quantize;
    kernels->rms_norm_i8 = rms_norm_i8;
    kernels->rms_norm = rms_norm;
    kernels->layer_norm = layer_norm;
    kernels->rotate = rotate;
    kernels->attention = attention;
    kernels->activate = activate;
    kernels->swiglu = swiglu;
    kernels->exp_sums = exp_sums;
    kernels->cross_entropy = cross_entropy;
}

/* lanes_add.h: the float kernels of one level, for its table. */
#include "lanes_activate.h"
#include "lanes_attention.h"
#include "lanes_loss.h"
#include "lanes_norm.h"
#include "lanes_rotate.h"

void LANES_ADD(bal_kernels *kernels)
{
    kernels->lanes.quantize = quantize;
    kernels->lanes.rms_norm_i8 = rms_norm_i8;
    kernels->lanes.rms_norm = rms_norm;
    kernels->lanes.layer_norm = layer_norm;
    kernels->lanes.rotate = rotate;
    kernels->lanes.attention = attention;
    kernels->lanes.activate = activate;
    kernels->lanes.swiglu = swiglu;
    kernels->lanes.exp_sums = exp_sums;
    kernels->lanes.cross_entropy = cross_entropy;
}

/* product_f32.c: the float product of the plain reference model. */
#include <cblas.h>

#include "ballot/kernels.h"

void bal_product_f32(int64_t n, int64_t n_in, int64_t n_out, const float *x, const float *w,
                     bool adds, float *y)
{
    openblas_set_num_threads(1); /* each rank is one thread */
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n_out, (int)n_in, 1.0f, x,
                (int)n_in, w, (int)n_in, adds ? 1.0f : 0.0f, y, (int)n_out);
}

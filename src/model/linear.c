/* linear.c: what a part makes of rows of activations; its matrix and its vectors are moved by the
 * direction where there is one. */
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

static const bal_tensor *tensor_at(const bal_forward *f, int index)
{
    return &f->model->tensors.at[index];
}

/* z of blocks of a tensor in f->moved.z, zeros at the code itself. At - it is there from +.
 * @return what it is multiplied by at this sign */
static int fill_z(bal_forward *f, int index, int64_t first_block, int64_t n_blocks, int sign)
{
    const bal_direction *direction = f->pass.direction;
    if (direction == NULL) {
        memset(f->moved.z, 0, (size_t)(n_blocks * BAL_BLOCK_CODES));
        return 1;
    }
    if (sign == 1 && direction->n_one_sided == 0) return -1;
    bal_direction at = *direction;
    at.slot += (uint32_t)sign;
    bal_direction_fill(&at, index, first_block, n_blocks, f->moved.z);
    return 1;
}

/* A code of a vector or gain moved by z where it may move. */
static int moved(const bal_tensor *tensor, int64_t at, int z)
{
    int code = bal_tensor_code(tensor, at);
    return code - abs(z) < tensor->low || code + abs(z) > tensor->high ? code : code + z;
}

/* n values of a vector from block first on, at each sign, in f->moved.vector[which]. */
static void fill_vector(bal_forward *f, int which, int index, int64_t first, int64_t n)
{
    const bal_tensor *vector = tensor_at(f, index);
    int64_t from = first * BAL_BLOCK_CODES;
    if (vector->format == BAL_F32) {
        memcpy(f->moved.vector[which][0], (const float *)vector->codes + from,
               (size_t)n * sizeof(float));
        return;
    }
    for (int sign = 0; sign < f->pass.n_signs; ++sign) {
        int side = fill_z(f, index, first, (n + BAL_BLOCK_CODES - 1) / BAL_BLOCK_CODES, sign);
        for (int64_t i = 0; i < n; ++i)
            f->moved.vector[which][sign][i] =
                vector->scale[0] * (float)moved(vector, from + i, side * f->moved.z[i]);
    }
}

/* f->moved.row_scale: per sign and row of a strip, its scale times its gain. A strip is n_rows rows
 * from row on, whole panels, that share a block of gains. */
static void fill_row_scales(bal_forward *f, const bal_part *part, int64_t row, int64_t n_rows)
{
    const bal_tensor *matrix = tensor_at(f, part->weight), *gain = tensor_at(f, part->gain);
    const int8_t *z = f->moved.z + row % BAL_BLOCK_CODES;
    for (int sign = 0; sign < f->pass.n_signs; ++sign) {
        int side = fill_z(f, part->gain, row / BAL_BLOCK_CODES, 1, sign);
        for (int64_t r = 0; r < n_rows; ++r)
            f->moved.row_scale[sign][r] =
                matrix->scale[row + r] * bal_gain_factor(moved(gain, row + r, side * z[r]));
    }
}

/* The panel that starts at a row, not moved. */
static bal_panel panel_at(const bal_tensor *matrix, int64_t row)
{
    static const bal_panel_format formats[BAL_N_FORMATS] = {
        [BAL_I8] = BAL_PANEL_I8, [BAL_I4] = BAL_PANEL_I4, [BAL_NF4] = BAL_PANEL_NF4};
    int64_t blocks = (matrix->n_cols + 3) / 4, block = row / BAL_PANEL_ROWS * blocks;
    int64_t bytes = bal_format_is_nibbles(matrix->format) ? BAL_BLOCK_CODES / 2 : BAL_BLOCK_CODES;
    bal_panel panel = {.format = formats[matrix->format],
                       .n_blocks = blocks,
                       .codes = (const uint8_t *)matrix->codes + block * bytes};
    if (matrix->factors != NULL) {
        panel.factors = matrix->factors + bal_tensor_factor_at(matrix, row, 0);
        panel.factor_blocks = matrix->group / 4;
    }
    return panel;
}

/* After the strip that comes now, those of a matrix are read, from a row on; after its last one,
 * those of the next matrix in the list. The product prefetches one strip. */
static void set_next(bal_forward *f, int index, int64_t row)
{
    const bal_tensors *all = &f->model->tensors;
    f->moved.next_bytes = 0;
    for (; index < all->n; ++index, row = 0) {
        const bal_tensor *matrix = &all->at[index];
        if (matrix->role != BAL_MATRIX || row >= matrix->n_rows) continue;
        bal_panel panel = panel_at(matrix, row);
        int64_t codes = bal_strip_rows(matrix->n_rows, panel.n_blocks, row) * 4 * panel.n_blocks;
        f->moved.next = panel.codes;
        f->moved.next_bytes = bal_format_is_nibbles(matrix->format) ? codes / 2 : codes;
        return;
    }
}

/* The direction that moves a matrix; NULL: none does, and it is the same at each sign. */
static const bal_direction *direction_of(const bal_forward *f, int weight)
{
    const bal_direction *direction = f->pass.direction;
    return direction != NULL && direction->measure.on_ballot[weight] ? direction : NULL;
}

/* A panel moved by a direction, at each sign. */
static void move_panel(bal_forward *f, int index, int64_t row, int64_t to)
{
    const bal_direction *direction = f->pass.direction;
    bal_panel panel = panel_at(tensor_at(f, index), row);
    int64_t blocks = panel.n_blocks, first = row / BAL_PANEL_ROWS * blocks;
    bool two_slots = direction->n_one_sided == 2;
    uint8_t *plus = f->moved.strip[0] + to, *minus = f->moved.strip[1] + to;
    if (direction->measure.options.kind == BAL_DIRECTIONS_UNIFORM) {
        panel.z = f->moved.z;
        fill_z(f, index, first, blocks, 0);
        f->kernels->move_panel(&panel, plus, direction->n_one_sided == 0 ? minus : NULL);
        if (two_slots) fill_z(f, index, first, blocks, 1);
        if (two_slots) f->kernels->move_panel(&panel, minus, NULL);
        return;
    }
    bal_direction_bits(direction, index, first, blocks, f->moved.negative, f->moved.moves);
    panel.negative = f->moved.negative;
    panel.moves = f->moved.moves;
    if (two_slots) panel.other = f->moved.negative + blocks * BAL_BLOCK_CODES / 8;
    f->kernels->move_panel(&panel, plus, f->pass.n_signs == 2 ? minus : NULL);
}

/* A strip at each sign, as the product reads it, and its row scales. */
static void fill_strip(bal_forward *f, const bal_part *part, int64_t row, int64_t n_rows,
                       const uint8_t *strip[N_SIGNS_MAX])
{
    const bal_tensor *matrix = tensor_at(f, part->weight);
    const bal_direction *direction = direction_of(f, part->weight);
    int64_t blocks = (matrix->n_cols + 3) / 4;
    fill_row_scales(f, part, row, n_rows);
    strip[0] = f->moved.strip[0];
    strip[1] = direction != NULL ? f->moved.strip[1] : strip[0];
    if (direction == NULL && matrix->format == BAL_I8) {
        strip[0] = strip[1] = panel_at(matrix, row).codes; /* which are what the product reads */
        return;
    }
    for (int64_t at = 0; at < n_rows; at += BAL_PANEL_ROWS) {
        bal_panel panel = panel_at(matrix, row + at);
        if (direction != NULL)
            move_panel(f, part->weight, row + at, at * 4 * blocks);
        else
            f->kernels->move_panel(&panel, f->moved.strip[0] + at * 4 * blocks, NULL);
    }
}

/* Rows for parts to read. */
static void set_input(bal_forward *f, const float *x, int64_t n_cols)
{
    bal_input *in = &f->input;
    in->floats = x;
    if (bal_model_is_integer(f->model))
        f->kernels->lanes.quantize(f->pass.n_signs * f->pass.n_tokens, n_cols, x, in->codes,
                                   in->stride, in->scale, in->sum);
}

void bal_forward_norm(bal_forward *f, const bal_norm *norm, int64_t n_rows, const float *x,
                      float *y)
{
    int64_t dim = tensor_at(f, norm->weight)->n_cols;
    float eps = (float)f->model->config.norm_eps;
    fill_vector(f, 0, norm->weight, 0, dim);
    if (norm->bias >= 0) fill_vector(f, 1, norm->bias, 0, dim);
    for (int sign = 0; sign < f->pass.n_signs; ++sign, x += n_rows * dim, y += n_rows * dim)
        if (norm->bias >= 0)
            f->kernels->lanes.layer_norm(n_rows, dim, x, f->moved.vector[0][sign],
                                         f->moved.vector[1][sign], eps, y);
        else
            f->kernels->lanes.rms_norm(n_rows, dim, x, f->moved.vector[0][sign], eps, y);
}

/* Add the squares of the rows that a matrix reads to sums of its columns. */
static void add_squares(const bal_forward *f, int64_t n_cols, double *sums)
{
    const bal_input *in = &f->input;
    for (int64_t row = 0; row < f->pass.n_signs * f->pass.n_tokens; ++row)
        for (int64_t col = 0; col < n_cols; ++col) {
            double x = (double)in->scale[row] * in->codes[row * in->stride + col];
            sums[col] += x * x;
        }
}

void bal_forward_read(bal_forward *f, const bal_part *part, const float *x)
{
    const bal_norm *norm = &part->before;
    const bal_input *in = &f->input;
    int64_t n = f->pass.n_tokens, dim = tensor_at(f, part->weight)->n_cols;
    if (norm->weight < 0) {
        set_input(f, x, dim);
    } else if (norm->bias >= 0 || !bal_model_is_integer(f->model)) {
        bal_forward_norm(f, norm, n, x, f->h);
        set_input(f, f->h, dim);
    } else {
        fill_vector(f, 0, norm->weight, 0, dim);
        for (int64_t sign = 0; sign < f->pass.n_signs; ++sign)
            f->kernels->lanes.rms_norm_i8(n, dim, x + sign * n * dim, f->moved.vector[0][sign],
                                          (float)f->model->config.norm_eps,
                                          in->codes + sign * n * in->stride, in->stride,
                                          in->scale + sign * n, in->sum + sign * n);
    }
    if (in->squares != NULL && in->squares[part->weight] != NULL)
        add_squares(f, dim, in->squares[part->weight]);
}

/* y = bias, or y + that, for outputs row .. row + n_rows - 1 in n rows of each sign. */
static void add_bias(bal_forward *f, int index, int64_t row, int64_t n_rows, int64_t n, bool adds,
                     float *y, int64_t y_stride)
{
    const bal_tensor *vector = tensor_at(f, index);
    int64_t from = row % BAL_BLOCK_CODES;
    const float *bias[] = {f->moved.vector[0][0] + from, f->moved.vector[0][1] + from};
    if (vector->format == BAL_F32)
        bias[0] = (const float *)vector->codes + row;
    else
        fill_vector(f, 0, index, row / BAL_BLOCK_CODES, from + n_rows);
    for (int sign = 0; sign < f->pass.n_signs; ++sign)
        for (int64_t t = 0; t < n; ++t, y += y_stride)
            for (int64_t r = 0; r < n_rows; ++r) y[r] = adds ? y[r] + bias[sign][r] : bias[sign][r];
}

/* y = x w^T, or y + that, of integers, see fill_part. */
static void strip_product(bal_forward *f, const bal_part *part, int64_t row, int64_t n_rows,
                          bool adds, float *y, int64_t y_stride)
{
    const bal_tensor *matrix = tensor_at(f, part->weight);
    const bal_input *in = &f->input;
    int64_t blocks = (matrix->n_cols + 3) / 4, n = f->pass.n_tokens;
    const uint8_t *strip[N_SIGNS_MAX];
    bal_weights_u8 w = {.n_blocks = blocks, .n_rows = n_rows};
    fill_strip(f, part, row, n_rows, strip);
    for (int sign = 0; sign < f->pass.n_signs; ++sign) {
        int64_t from = sign * n;
        bal_rows_i8 rows = {n, in->stride, in->codes + from * in->stride, in->scale + from,
                            in->sum + from};
        w.entries = strip[sign];
        w.scale = f->moved.row_scale[sign];
        w.next = f->moved.next;
        w.next_bytes = sign == f->pass.n_signs - 1 ? f->moved.next_bytes : 0;
        f->kernels->product_i8(&w, &rows, adds, y + sign * n * y_stride, y_stride);
    }
}

/* Outputs row .. row + n_rows - 1 of a part, a strip or all of a matrix of floats, or y + those: to
 * rows of y that lie y_stride apart, those of - after those of +. */
static void fill_part(bal_forward *f, const bal_part *part, int64_t row, int64_t n_rows, bool adds,
                      float *y, int64_t y_stride)
{
    const bal_tensor *matrix = tensor_at(f, part->weight);
    int64_t n_cols = matrix->n_cols, n = f->pass.n_tokens;
    if (part->bias >= 0) {
        add_bias(f, part->bias, row, n_rows, n, adds, y, y_stride);
        adds = true;
    }
    if (matrix->format != BAL_F32)
        strip_product(f, part, row, n_rows, adds, y, y_stride);
    else
        bal_product_f32(n, n_cols, n_rows, f->input.floats,
                        (const float *)matrix->codes + row * n_cols, adds, y);
}

/* Outputs that fill_part makes at once, from row on. */
static int64_t rows_at_once(const bal_tensor *matrix, int64_t row, int64_t end)
{
    if (matrix->format == BAL_F32) return end - row;
    return bal_strip_rows(end, (matrix->n_cols + 3) / 4, row);
}

void bal_forward_apply(bal_forward *f, const bal_part *part, bool adds, float *y)
{
    const bal_tensor *matrix = tensor_at(f, part->weight);
    int64_t n = f->pass.n_tokens, width = matrix->n_rows;
    for (int64_t row = 0, n_rows; row < width; row += n_rows) {
        n_rows = rows_at_once(matrix, row, width);
        set_next(f, part->weight, row + n_rows);
        fill_part(f, part, row, n_rows, adds, y + row, width);
    }
    if (part->after.weight < 0) return;
    int64_t per_row = width / tensor_at(f, part->after.weight)->n_cols; /* heads, or 1 */
    bal_forward_norm(f, &part->after, n * per_row, y, y);
}

/* Strip by strip while it is near. */
void bal_forward_gated(bal_forward *f, const bal_layer *layer)
{
    const bal_tensor *gate = tensor_at(f, layer->gate.weight);
    int64_t n = f->pass.n_tokens, width = gate->n_rows;
    for (int64_t row = 0, n_rows; row < width; row += n_rows) {
        n_rows = rows_at_once(gate, row, width);
        set_next(f, layer->up.weight, row);
        fill_part(f, &layer->gate, row, n_rows, false, f->gate + row, width);
        set_next(f, row + n_rows < width ? layer->gate.weight : layer->up.weight, row + n_rows);
        fill_part(f, &layer->up, row, n_rows, false, f->up, n_rows);
        f->kernels->lanes.swiglu(f->pass.n_signs * n, n_rows, f->gate + row, width, f->up, n_rows);
    }
}

void bal_forward_fill_logits(bal_forward *f, int64_t word, int64_t n_words)
{
    const bal_part *head = &f->model->head;
    for (int64_t end = word + n_words, row = word, n_rows; row < end; row += n_rows) {
        n_rows = rows_at_once(tensor_at(f, head->weight), row, end);
        set_next(f, head->weight, row + n_rows);
        fill_part(f, head, row, n_rows, false, f->out.logits + row - word, n_words);
    }
}

/* One row of a strip as floats: its scale times its entries, to y, or added to it. */
static void embed_row(const uint8_t *entries, float scale, int64_t dim, bool adds, float *y)
{
    for (int64_t i = 0; i < dim; ++i) {
        float value = scale * (float)(entries[i / 4 * BAL_BLOCK_CODES + i % 4] - 128);
        y[i] = adds ? y[i] + value : value;
    }
}

void bal_forward_embed(bal_forward *f, const bal_part *part, const int32_t *ids, int64_t stride,
                       bool adds, float *y)
{
    const bal_tensor *table = tensor_at(f, part->weight);
    int64_t dim = table->n_cols, n = f->pass.n_tokens;
    for (int64_t t = 0; t < n && table->format == BAL_F32; ++t)
        for (int64_t i = 0; i < dim; ++i) {
            float value = ((const float *)table->codes)[ids[t] * dim + i];
            y[t * dim + i] = adds ? y[t * dim + i] + value : value;
        }
    if (table->format == BAL_F32) return;
    for (int64_t first = 0; first < table->n_rows; first += BAL_PANEL_ROWS) {
        int64_t n_rows =
            table->n_rows - first < BAL_PANEL_ROWS ? table->n_rows - first : BAL_PANEL_ROWS;
        const uint8_t *panel[N_SIGNS_MAX];
        bool filled = false;
        for (int64_t row = 0; row < f->pass.n_signs * n; ++row) {
            int sign = row >= n;
            int64_t id = ids[sign * stride + row - sign * n] - first;
            if (id < 0 || id >= n_rows) continue;
            if (!filled) fill_strip(f, part, first, n_rows, panel);
            filled = true;
            embed_row(panel[sign] + 4 * id, f->moved.row_scale[sign][id], dim, adds, y + row * dim);
        }
    }
}

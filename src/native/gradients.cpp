// Products of gradients of single examples: sparse ones of tables, outer products of a few places.
//
// T is float or double. The sums may be taken in any order.
#include "dot.h"

namespace whence {

// Add the inner products of two sets of gradients of one table, by the rows that both touch.
//
// owner, index: [N], example and row of the table of each entry of the first set; values: [N, C];
// offsets: [n_rows + 1], entries of the second set, sorted by row of the table, with other_owner
// [M] and other_values [M, C]; out: [n, m], added to.
template <class T>
WIDE static void join_rows(Vector<const int64_t> owner, Vector<const int64_t> index,
                           Matrix<const T> values, Vector<const int64_t> offsets,
                           Vector<const int64_t> other_owner, Matrix<const T> other_values,
                           Matrix<T> out) {
    for (int64_t entry = 0; entry < owner.size; ++entry) {
        const T* mine = values[entry].data;
        T* line = out[owner[entry]].data;
        const int64_t end = offsets[index[entry] + 1];
        for (int64_t other = offsets[index[entry]]; other < end; ++other)
            line[other_owner[other]] += dot(mine, other_values[other].data, values.columns);
    }
}

// Add the squared norm of each example's gradient of a table to out [n].
//
// offsets: [n + 1], entries of the examples; index: [N], row of the table of each entry, which
// entries of one example may share; values: [N, C].
template <class T>
WIDE static void row_norms(Vector<const int64_t> offsets, Vector<const int64_t> index,
                           Matrix<const T> values, Vector<double> out) {
    for (int64_t example = 0; example < out.size; ++example) {
        const int64_t end = offsets[example + 1];
        for (int64_t a = offsets[example]; a < end; ++a) {
            for (int64_t b = a; b < end; ++b) {
                if (index[a] != index[b]) continue;
                const T total = dot(values[a].data, values[b].data, values.columns);
                out[example] += a == b ? total : 2 * total;
            }
        }
    }
}

// Add the dot products of rows to the examples that they belong to.
//
// left, right: [T * n, R], row t * n + b belongs to example b; out: [n].
template <class T>
WIDE static void add_dots(Matrix<const T> left, Matrix<const T> right, int64_t n,
                          Vector<double> out) {
    for (int64_t row = 0, example = 0; row < left.rows; ++row) {
        out[example] += dot(left[row].data, right[row].data, left.columns);
        if (++example == n) example = 0;
    }
}

// Add the dot products of entries of a table's gradient with the rows of a table.
//
// owner, index: [N]; values: [N, C]; table: [n_rows, C]; out: [n].
template <class T>
WIDE static void add_dots_with_rows(Vector<const int64_t> owner, Vector<const int64_t> index,
                                    Matrix<const T> values, Matrix<const T> table,
                                    Vector<double> out) {
    for (int64_t entry = 0; entry < owner.size; ++entry)
        out[owner[entry]] += dot(values[entry].data, table[index[entry]].data, values.columns);
}

// Write out sums of a few outer products, for which calls of BLAS are too small.
//
// left: [n, T, R]; right: [n, T, C]; add: to what is there; out: [n, C, R].
template <class T>
WIDE static void write_products(Cube<const T> left, Cube<const T> right, bool add, Slices<T> out) {
    const int64_t width = left.columns;
    for (int64_t example = 0; example < left.planes; ++example) {
        for (int64_t c = 0; c < right.columns; ++c) {
            T* __restrict line = out.row(example, c);
            for (int64_t t = 0; t < left.rows; ++t) {
                const T* vector = &left(example, t, 0);
                const T factor = right(example, t, c);
                if (t == 0 && !add)
                    for (int64_t r = 0; r < width; ++r) line[r] = factor * vector[r];
                else
                    for (int64_t r = 0; r < width; ++r) line[r] += factor * vector[r];
            }
        }
    }
}

// Add the sums of the rows of scores [m, Q] to out [m].
template <class T>
WIDE static void add_row_sums(Matrix<const T> scores, Vector<double> out) {
    for (int64_t row = 0; row < scores.rows; ++row) {
        const T* line = scores[row].data;
        double total = 0.0;
        for (int64_t k = 0; k < scores.columns; ++k) total += line[k];
        out[row] += total;
    }
}

template <class T>
static void bind_gradients_of(nb::module_& module) {
    kernel(module, "join_rows", join_rows<T>);
    kernel(module, "row_norms", row_norms<T>);
    kernel(module, "add_dots", add_dots<T>);
    kernel(module, "add_dots_with_rows", add_dots_with_rows<T>);
    kernel(module, "write_products", write_products<T>);
    kernel(module, "add_row_sums", add_row_sums<T>);
}

}  // namespace whence

void bind_gradients(nb::module_& module) {
    whence::bind_gradients_of<float>(module);
    whence::bind_gradients_of<double>(module);
}

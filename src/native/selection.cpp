// The best entries of rows.
#include "ranking.h"

namespace whence {

// The k largest positive entries of each row of a CSR matrix.
//
// indptr: [R + 1]; indices, data: [nnz]; excluded: [R], one column per row that is left out, -1 for
// none. Returns columns [R, k] by (value descending, column ascending), filled up with -1, and
// their values, with 0.
static std::tuple<Grid<int32_t>, Grid<double>> top_of_rows(Vector<const int64_t> indptr,
                                                           Vector<const int32_t> indices,
                                                           Vector<const double> data,
                                                           Vector<const int32_t> excluded,
                                                           int64_t k) {
    Grid<int32_t> columns(indptr.size - 1, k, -1);
    Grid<double> values(columns.rows, k, 0.0);
    for (int64_t row = 0; row < columns.rows; ++row) {
        int64_t n = 0;
        for (int64_t place = indptr[row]; place < indptr[row + 1]; ++place)
            if (data[place] > 0.0 && indices[place] != excluded[row])
                n = keep_best(indices[place], data[place], n, columns[row], values[row]);
    }
    return {std::move(columns), std::move(values)};
}

// The k largest entries above a floor of each row of scores [R, C].
//
// Returns columns [R, k] by (score descending, column ascending), filled up with -1, and their
// scores, with 0.
template <class T>
static std::tuple<Grid<int32_t>, Grid<double>> top_of_scores(Matrix<const T> scores, double floor,
                                                             int64_t k) {
    Grid<int32_t> columns(scores.rows, k, -1);
    Grid<double> values(scores.rows, k, 0.0);
    for (int64_t row = 0; row < scores.rows && k > 0; ++row) {
        const Vector<double> best = values[row];
        double bar = floor;
        int64_t n = 0;
        for (int64_t column = 0; column < scores.columns; ++column) {
            const double value = scores(row, column);
            // Columns ascend, so that an equal score never displaces an earlier one.
            if (value <= bar) continue;
            n = keep_best(static_cast<int32_t>(column), value, n, columns[row], best);
            if (n == k) bar = best[k - 1];
        }
    }
    return {std::move(columns), std::move(values)};
}

}  // namespace whence

void bind_selection(nb::module_& module) {
    whence::kernel(module, "top_of_rows", whence::top_of_rows);
    whence::kernel(module, "top_of_scores", whence::top_of_scores<float>);
    whence::kernel(module, "top_of_scores", whence::top_of_scores<double>);
}

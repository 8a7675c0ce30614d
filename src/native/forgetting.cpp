// Merging of lists of the most similar items.
#include "arrays.h"

namespace whence {

// Put the new similarities of some items into the lists of all others.
//
// Lists are by column; their order of rank is (value descending, column ascending).
// old_*: rows of the lists as they are, of at most k entries, the best of all; new_*: of each row,
// the similarities to the items lost, by their place in `lost` [D], ascending; is_lost: [n_items].
// Returns indptr, columns and values of the new lists (those of the items lost, and those that are
// open, are empty), and is_open [n_items]: lists that lost entries that something unknown may take
// the place of.
static std::tuple<Array<int64_t>, Array<int32_t>, Array<double>, Array<bool>> merged_lists(
    Vector<const int64_t> old_indptr, Vector<const int32_t> old_columns,
    Vector<const double> old_values, Vector<const int64_t> new_indptr,
    Vector<const int32_t> new_places, Vector<const double> new_values, Vector<const int32_t> lost,
    Vector<const bool> is_lost, int64_t k) {
    const int64_t n_rows = old_indptr.size - 1;
    Array<int64_t> indptr(n_rows + 1, 0);
    Array<int32_t> columns(old_columns.size + new_places.size);
    Array<double> values(columns.size);
    Array<bool> is_open(n_rows, false);
    for (int64_t row = 0; row < n_rows; ++row) {
        const int64_t start = indptr[row];
        indptr[row + 1] = start;
        if (is_lost[row]) continue;
        int64_t one = old_indptr[row], two = new_indptr[row];
        const int64_t one_end = old_indptr[row + 1], two_end = new_indptr[row + 1];
        const bool is_full = one_end - one == k;
        double last_value = 0.0;
        int32_t last_column = -1;
        if (is_full) {
            last_value = std::numeric_limits<double>::infinity();
            for (int64_t place = one; place < one_end; ++place)
                if (old_values[place] <= last_value)
                    last_value = old_values[place], last_column = old_columns[place];
        }
        int64_t n = start;
        while (one < one_end || two < two_end) {
            int32_t column;
            double value;
            if (two == two_end || (one < one_end && old_columns[one] < lost[new_places[two]])) {
                column = old_columns[one], value = old_values[one];
                ++one;
                if (is_lost[column]) continue;
            } else {
                column = lost[new_places[two]], value = new_values[two];
                if (one < one_end && old_columns[one] == column) ++one;
                ++two;
                const bool behind =
                    value < last_value || (value == last_value && column > last_column);
                if (value <= 0.0 || (is_full && behind)) continue;
            }
            columns[n] = column, values[n] = value;
            ++n;
        }
        if (is_full && n - start < k) {
            is_open[row] = true;
            continue;
        }
        while (n - start > k) {  // drop the last in rank
            int64_t worst = start;
            for (int64_t place = start + 1; place < n; ++place)
                if (values[place] <= values[worst]) worst = place;
            for (int64_t place = worst; place < n - 1; ++place)
                columns[place] = columns[place + 1], values[place] = values[place + 1];
            --n;
        }
        indptr[row + 1] = n;
    }
    const int64_t n = indptr[n_rows];
    return {std::move(indptr), std::move(columns).shortened(n), std::move(values).shortened(n),
            std::move(is_open)};
}

}  // namespace whence

void bind_forgetting(nb::module_& module) {
    whence::kernel(module, "merged_lists", whence::merged_lists);
}

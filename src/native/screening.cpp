// Screening of pairs: columns chosen and rounded, bounds, and the pairs near a limit.
//
// The sums may be taken in any order.
#include "dot.h"

namespace whence {

// Columns whose squares are added in single precision.
constexpr int64_t LONGEST_RUN = 2048;

// Copy the chosen columns of rows, rounded if wanted, and say what that does to them.
//
// values: [n, K]; runs: [R, 3], first and last (exclusive) of some columns, at most LONGEST_RUN,
// and the column of the copy that they begin at, -1 for those that are left out; together they are
// all columns; vector: [K]; halves: round to the nearest bfloat16, and write its 16 bits. Written:
// out, [n, C], or of any size if `halves`; bits_out, [n, C], or of any size if not `halves`;
// lengths: [3, n], norms of what is copied, of what is rounded off, and of what is left out; dots:
// [n], inner products of the rows with `vector`.
WIDE static void condense(Matrix<const float> values, Matrix<const int64_t> runs,
                          Vector<const float> vector, bool halves, Matrix<float> out,
                          Matrix<int16_t> bits_out, Matrix<double> lengths, Vector<double> dots) {
    for (int64_t row = 0; row < values.rows; ++row) {
        double copied = 0.0, residue = 0.0, missed = 0.0, product = 0.0;
        for (int64_t run = 0; run < runs.rows; ++run) {
            const int64_t first = runs(run, 0), size = runs(run, 1) - first, place = runs(run, 2);
            const float *line = &values(row, first), *other = &vector[first];
            const double squares = dot(line, line, size);
            product += dot(line, other, size);
            if (place < 0) {
                missed += squares;
                continue;
            }
            copied += squares;
            if (!halves) {
                std::copy(line, line + size, &out(row, place));
                continue;
            }
            int16_t* __restrict target = &bits_out(row, place);
            float errors = 0;
            for (int64_t k = 0; k < size; ++k) {
                // To the nearest; halfway to the even one.
                uint32_t bits;
                std::memcpy(&bits, line + k, sizeof bits);
                const uint32_t whole = bits + 0x7FFF + ((bits >> 16) & 1);
                const uint32_t kept = whole & 0xFFFF0000;
                float back;
                std::memcpy(&back, &kept, sizeof back);
                target[k] = static_cast<int16_t>(whole >> 16);
                errors += (line[k] - back) * (line[k] - back);
            }
            residue += errors;
        }
        lengths(0, row) = std::sqrt(copied), lengths(1, row) = std::sqrt(residue);
        lengths(2, row) = std::sqrt(missed), dots[row] = product;
    }
}

// Find the pairs whose score may be at least `top`, or at most minus `bottom`.
//
// The score of a pair is product + kept, off by at most lengths · reach + relative * |product|.
// product, kept: [n, Q]; lengths: [3, n]; reach: [3, Q]; top, bottom: [Q]; sums: [n], the rows of
// `kept` are added. Returns the rows and the columns of the pairs, [P] each, by row.
WIDE static std::pair<Array<int64_t>, Array<int64_t>> bounded(
    Matrix<const float> product, Matrix<const float> kept, Matrix<const float> lengths,
    Matrix<const float> reach, float relative, Vector<const float> top, Vector<const float> bottom,
    Vector<double> sums) {
    const int64_t n_queries = product.columns;
    std::vector<int64_t> rows, columns;
    std::vector<float> room(n_queries);
    float* __restrict above = room.data();
    const float *a = reach[0].data, *b = reach[1].data, *c = reach[2].data;
    const float *high = top.data, *low = bottom.data;
    for (int64_t row = 0; row < product.rows; ++row) {
        const float *given = product[row].data, *rest = kept[row].data;
        const float x = lengths(0, row), y = lengths(1, row), z = lengths(2, row);
        int32_t n_near = 0;
        for (int64_t query = 0; query < n_queries; ++query) {
            const float slack =
                x * a[query] + y * b[query] + z * c[query] + relative * std::abs(given[query]);
            const float score = given[query] + rest[query];
            const float over = score - high[query], under = -score - low[query];
            above[query] = slack + (over > under ? over : under);
            n_near += above[query] >= 0;
        }
        double total = 0.0;
        for (int64_t query = 0; query < n_queries; ++query) total += rest[query];
        sums[row] += total;
        if (n_near == 0) continue;
        for (int64_t query = 0; query < n_queries; ++query)
            if (above[query] >= 0) rows.push_back(row), columns.push_back(query);
    }
    Array<int64_t> of_rows(rows.size()), of_columns(rows.size());
    std::copy(rows.begin(), rows.end(), of_rows.begin());
    std::copy(columns.begin(), columns.end(), of_columns.begin());
    return {std::move(of_rows), std::move(of_columns)};
}

// Scores of some pairs: inner products, and what is known of them, [P].
//
// rows, columns: [P], of `left` [n, K] and of `right` [Q, K]; kept: [n, Q].
WIDE static Array<float> dots_of_pairs(Vector<const int64_t> rows, Vector<const int64_t> columns,
                                       Matrix<const float> left, Matrix<const float> right,
                                       Matrix<const float> kept) {
    Array<float> out(rows.size);
    for (int64_t pair = 0; pair < rows.size; ++pair) {
        const float *a = left[rows[pair]].data, *b = right[columns[pair]].data;
        double total = kept(rows[pair], columns[pair]);
        for (int64_t first = 0; first < left.columns; first += LONGEST_RUN)
            total += dot(a + first, b + first, std::min(LONGEST_RUN, left.columns - first));
        out[pair] = static_cast<float>(total);
    }
    return out;
}

}  // namespace whence

void bind_screening(nb::module_& module) {
    module.attr("LONGEST_RUN") = whence::LONGEST_RUN;
    whence::kernel(module, "condense", whence::condense);
    whence::kernel(module, "bounded_pairs", whence::bounded);
    whence::kernel(module, "dots_of_pairs", whence::dots_of_pairs);
}

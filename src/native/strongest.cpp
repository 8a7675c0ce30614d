// Running lists of the largest scores of each query.
//
// best: [Q, n], heaps of scores times `sign` (1 for the largest, -1 for the smallest): the one that
// leaves first is at place 0; minus infinity where there is none yet. numbers: [Q, n], their
// examples. Among equal scores the earliest example stays.
#include "arrays.h"

namespace whence {

// Replace what leaves a heap first by a score that is later than all in it.
static void replace_least(Vector<double> heap, Vector<int64_t> who, double score, int64_t number) {
    int64_t place = 0;
    while (true) {
        int64_t child = 2 * place + 1;
        if (child >= heap.size) break;
        // Of equal scores the later example is nearer to leaving.
        if (child + 1 < heap.size &&
            (heap[child + 1] < heap[child] ||
             (heap[child + 1] == heap[child] && who[child + 1] > who[child])))
            ++child;
        if (heap[child] >= score) break;
        heap[place] = heap[child], who[place] = who[child];
        place = child;
    }
    heap[place] = score, who[place] = number;
}

// Take a block of scores [m, Q] of the examples first, ..., first + m - 1 into the lists.
//
// They are later ones than all before.
template <class T>
static void keep_largest(Matrix<const T> scores, double sign, int64_t first, Matrix<double> best,
                         Matrix<int64_t> numbers) {
    Array<double> limits(best.rows);
    double* __restrict least = limits.begin();
    for (int64_t query = 0; query < best.rows; ++query) least[query] = best(query, 0);
    for (int64_t row = 0; row < scores.rows; ++row) {
        const T* line = scores[row].data;
        for (int64_t query = 0; query < scores.columns; ++query) {
            const double score = sign * line[query];
            if (!(score > least[query])) continue;
            replace_least(best[query], numbers[query], score, first + row);
            least[query] = best(query, 0);
        }
    }
}

// Take the scores of some pairs into the lists; see keep_largest.
//
// rows, columns: [P], example, less `first`, and query of each pair, by example; values: [P].
template <class T>
static void keep_largest_of_pairs(Vector<const int64_t> rows, Vector<const int64_t> columns,
                                  Vector<const T> values, double sign, int64_t first,
                                  Matrix<double> best, Matrix<int64_t> numbers) {
    for (int64_t pair = 0; pair < rows.size; ++pair) {
        const int64_t query = columns[pair];
        const double score = sign * values[pair];
        if (score > best(query, 0))
            replace_least(best[query], numbers[query], score, first + rows[pair]);
    }
}

}  // namespace whence

void bind_strongest(nb::module_& module) {
    using namespace whence;
    kernel(module, "keep_largest", keep_largest<float>);
    kernel(module, "keep_largest", keep_largest<double>);
    kernel(module, "keep_largest_of_pairs", keep_largest_of_pairs<float>);
    kernel(module, "keep_largest_of_pairs", keep_largest_of_pairs<double>);
}

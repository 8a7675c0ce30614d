// The recommendation lists of one query for any coalitions of its candidates, from scratch.
#include "ranking.h"

namespace whence {

// The list that the model gives where only some of the candidates are there.
//
// Of those present, the m most recent are the pool, and the k best of the pool the neighbours. The
// score of an item is the sum of their values, plus the own value times their number (at least
// once). present: [B, n], by rank in the order of preference; by_age: [n], ranks of the candidates
// from the most recent on; offsets, items, values: [n + 1], [E], rows of local items; own, numbers:
// [L], own value and number of each local item. lists: [B, K], filled with -1, written.
static void coalition_lists(Matrix<const bool> present, Vector<const int64_t> by_age, int64_t m,
                            int64_t k, Vector<const int64_t> offsets, Vector<const int64_t> items,
                            Vector<const int64_t> values, Vector<const int64_t> own,
                            Vector<const int32_t> numbers, Matrix<int32_t> lists) {
    const int64_t n = by_age.size, n_local = numbers.size;
    std::vector<int32_t> is_in_pool(n);
    std::vector<int64_t> scores(n_local);
    Array<int64_t> best(lists.columns);
    for (int64_t row = 0; row < present.rows; ++row) {
        std::fill(is_in_pool.begin(), is_in_pool.end(), 0);
        int64_t room = m;
        for (int64_t place = 0; place < n && room > 0; ++place) {
            if (!present(row, by_age[place])) continue;
            is_in_pool[by_age[place]] = 1;
            --room;
        }
        std::fill(scores.begin(), scores.end(), 0);
        int64_t n_neighbours = 0;
        for (int64_t candidate = 0; candidate < n && n_neighbours < k; ++candidate) {
            if (!is_in_pool[candidate]) continue;
            ++n_neighbours;
            for (int64_t e = offsets[candidate]; e < offsets[candidate + 1]; ++e)
                scores[items[e]] += values[e];
        }
        int64_t n_best = 0;
        for (int64_t i = 0; i < n_local; ++i) {
            const int64_t score = scores[i] + std::max<int64_t>(n_neighbours, 1) * own[i];
            if (score > 0) n_best = keep_best(numbers[i], score, n_best, lists[row], best);
        }
    }
}

}  // namespace whence

void bind_coalition_lists(nb::module_& module) {
    whence::kernel(module, "coalition_lists", whence::coalition_lists);
}

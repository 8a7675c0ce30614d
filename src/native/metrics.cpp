// Lists of recommendations into values of metrics.
//
// What the numbers mean is said in whence.evaluation.metrics. lists: [Q, K], recommended items,
// best first; -1 ends a list, another negative number is an item that no target can equal.
// items: [n], targets of all queries, those of query q from start[q] to end[q]; negative numbers
// are distinct items unknown to the training. lowest, highest: bounds (inclusive) of every target
// and every non-negative recommended item.
#include "arrays.h"
#include "modes.h"

namespace whence {

// Which items are targets of the query at hand, yet to be hit or not.
//
// Per item: 2q + 1 while it is a target of query q yet to be hit, 2q + 2 once it has been hit.
// Nothing needs clearing between queries, and a repeated recommendation is credited once.
class Targets {
  public:
    Targets(int64_t lowest, int64_t highest) : mark_(highest - lowest + 1, 0), lowest_(lowest) {}

    void begin(int64_t q) { mine_ = 2 * q + 1; }
    // Whether the item is new among the targets.
    bool add(int32_t item) {
        if (mark_[item - lowest_] == mine_) return false;
        mark_[item - lowest_] = mine_;
        return true;
    }
    // Whether a recommended item is a target that has not been hit before.
    bool hit(int32_t item) {
        if (item < 0 || mark_[item - lowest_] != mine_) return false;
        mark_[item - lowest_] = mine_ + 1;
        return true;
    }

  private:
    Array<int64_t> mark_;
    int64_t lowest_, mine_ = 0;
};

// Metric of each list before the per-query factor, and the number of distinct targets, each [Q].
//
// first_only: whether only the first target counts; gains: [K + 1], of a hit at rank 1 .. K, not
// used by AVERAGE_PRECISION.
static std::pair<Array<double>, Array<int64_t>> rank_values(
    Matrix<const int32_t> lists, Vector<const int32_t> items, Vector<const int64_t> start,
    Vector<const int64_t> end, int64_t lowest, int64_t highest, bool first_only, int mode,
    Vector<const double> gains) {
    Array<double> values(lists.rows);
    Array<int64_t> distinct(lists.rows, 0);
    Targets targets(lowest, highest);
    for (int64_t q = 0; q < lists.rows; ++q) {
        targets.begin(q);
        const int64_t last = first_only ? std::min(end[q], start[q] + 1) : end[q];
        for (int64_t place = start[q]; place < last; ++place)
            distinct[q] += targets.add(items[place]);
        int64_t hits = 0;
        double value = 0.0;
        for (int64_t rank = 1; rank <= lists.columns; ++rank) {
            const int32_t item = lists(q, rank - 1);
            if (item == -1) break;
            if (!targets.hit(item)) continue;
            ++hits;
            if (mode == ADDITIVE)
                value += gains[rank];
            else if (mode == BEST)
                value = std::max(value, gains[rank]);
            else
                value += static_cast<double>(hits) / static_cast<double>(rank);
        }
        values[q] = value;
    }
    return {std::move(values), std::move(distinct)};
}

// Discounted ratings of each list, and of the targets in the best order, each [Q].
//
// ratings: [n], of each target; of a repeated one the last counts. discounts: [K + 1], factor of
// the rating at rank 1 .. K; ranks of the best order go as far.
static std::pair<Array<double>, Array<double>> graded_values(
    Matrix<const int32_t> lists, Vector<const int32_t> items, Vector<const double> ratings,
    Vector<const int64_t> start, Vector<const int64_t> end, int64_t lowest, int64_t highest,
    Vector<const double> discounts) {
    Array<double> values(lists.rows, 0.0), best(lists.rows, 0.0);
    Targets targets(lowest, highest);
    Array<double> rating(highest - lowest + 1);
    std::vector<double> own;
    for (int64_t q = 0; q < lists.rows; ++q) {
        targets.begin(q);
        own.clear();
        for (int64_t place = end[q] - 1; place >= start[q]; --place) {
            if (!targets.add(items[place])) continue;
            rating[items[place] - lowest] = ratings[place];
            own.push_back(ratings[place]);
        }
        std::sort(own.begin(), own.end(), std::greater<double>());
        const int64_t ranks = std::min<int64_t>(own.size(), discounts.size - 1);
        for (int64_t rank = 1; rank <= ranks; ++rank) best[q] += own[rank - 1] * discounts[rank];
        for (int64_t rank = 1; rank <= lists.columns; ++rank) {
            const int32_t item = lists(q, rank - 1);
            if (item == -1) break;
            if (targets.hit(item)) values[q] += rating[item - lowest] * discounts[rank];
        }
    }
    return {std::move(values), std::move(best)};
}

// Number of targets that are in the history of their query.
//
// history: [m], known items, those of query q from history_start[q] to history_end[q];
// targets: [n], with start and end; negative ones are in no history. n_items: more than any number
// in `history`.
static int64_t count_seen(Vector<const int32_t> history, Vector<const int64_t> history_start,
                          Vector<const int64_t> history_end, Vector<const int32_t> targets,
                          Vector<const int64_t> start, Vector<const int64_t> end, int64_t n_items) {
    int64_t count = 0, stamp = 0, first = -1, last = -1;
    Array<int64_t> mark(n_items, 0);
    for (int64_t q = 0; q < start.size; ++q) {
        // The beginnings of a session grow, so that only what is new is marked.
        if (history_start[q] != first || history_end[q] < last || stamp == 0) {
            first = last = history_start[q];
            ++stamp;
        }
        for (int64_t place = last; place < history_end[q]; ++place) mark[history[place]] = stamp;
        last = history_end[q];
        for (int64_t place = start[q]; place < end[q]; ++place) {
            const int32_t item = targets[place];
            count += item >= 0 && item < n_items && mark[item] == stamp;
        }
    }
    return count;
}

// Sustainable items of each list over its length, [Q]; 0 for an empty list.
static Array<double> sustainable_shares(Matrix<const int32_t> lists,
                                        Vector<const bool> sustainable) {
    Array<double> shares(lists.rows, 0.0);
    for (int64_t q = 0; q < lists.rows; ++q) {
        int64_t length = 0, count = 0;
        for (const int32_t item : lists[q]) {
            if (item == -1) break;
            ++length;
            count += item >= 0 && sustainable[item];
        }
        if (length > 0) shares[q] = static_cast<double>(count) / static_cast<double>(length);
    }
    return shares;
}

}  // namespace whence

void bind_metrics(nb::module_& module) {
    whence::kernel(module, "rank_values", whence::rank_values);
    whence::kernel(module, "graded_values", whence::graded_values);
    whence::kernel(module, "count_seen", whence::count_seen);
    whence::kernel(module, "sustainable_shares", whence::sustainable_shares);
}

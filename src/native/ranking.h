// Orders and lists of the best.
#pragma once

#include "arrays.h"

namespace whence {

// Write into `order` [n] what sorts keys [n] ascending, ties as they come.
inline void stable_argsort(Vector<const int64_t> keys, Vector<int64_t> order) {
    for (int64_t i = 0; i < order.size; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [keys](int64_t a, int64_t b) { return keys[a] < keys[b]; });
}

// Insert an item into the n best so far, by (score descending, item ascending).
//
// items, scores: [K], updated. Returns how many are kept now, at most K.
template <class Score>
int64_t keep_best(int32_t item, Score score, int64_t n, Vector<int32_t> items,
                  std::common_type_t<Vector<Score>> scores) {
    int64_t place = n;
    if (n == items.size) {
        if (n == 0 || score < scores[n - 1] || (score == scores[n - 1] && item > items[n - 1]))
            return n;
        --place;
    } else {
        ++n;
    }
    while (place > 0 &&
           (scores[place - 1] < score || (scores[place - 1] == score && items[place - 1] > item))) {
        scores[place] = scores[place - 1], items[place] = items[place - 1];
        --place;
    }
    scores[place] = score, items[place] = item;
    return n;
}

// Whole-numbered scores of one query after the other, which do not depend on the order of sums.
class ItemScores {
  public:
    explicit ItemScores(int64_t n_items) : scores_(n_items, 0) {}

    void add(int32_t item, int64_t amount) {
        if (amount == 0) return;
        if (scores_[item] == 0) touched_.push_back(item);
        scores_[item] += amount;
    }

    // Write the best with a score above 0, as `value` says them, and forget all.
    template <class F>
    void move_best(Vector<int32_t> items, Vector<double> values, F value) {
        best_.resize(items.size);
        const Vector<int64_t> best(best_.data(), items.size);
        int64_t n = 0;
        for (const int32_t item : touched_) {
            if (scores_[item] > 0) n = keep_best(item, scores_[item], n, items, best);
            scores_[item] = 0;
        }
        for (int64_t rank = 0; rank < n; ++rank) values[rank] = value(best[rank]);
        touched_.clear();
    }

    // Write the scores of all items but those of 0, as `value` says them, and forget them.
    template <class F>
    void move_all(Vector<double> values, F value) {
        for (const int32_t item : touched_) {
            if (scores_[item] != 0) values[item] = value(scores_[item]);
            scores_[item] = 0;
        }
        touched_.clear();
    }

  private:
    std::vector<int64_t> scores_;
    std::vector<int32_t> touched_;
    std::vector<int64_t> best_;
};

}  // namespace whence

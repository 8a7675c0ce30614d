// The list of one query and small changes of its scores: what the list is then worth.
#pragma once

#include "queries.h"
#include "ranking.h"

namespace whence {

// The whole-numbered scores of all items for the query at hand.
//
// A change is logged and can be undone. Only where an item of the list has another score, or an
// item outside would enter it, is the list made anew, and then from the changed items and the best
// of the others (the front) as far as they suffice.
class Board {
  public:
    Board(const QueryArrays& queries, const Utility& utility, int64_t n_items)
        : queries_(queries),
          utility_(utility),
          cells_(n_items),
          front_items_(utility.length + RESERVE),
          best_items_(utility.length),
          front_scores_(utility.length + RESERVE),
          best_scores_(utility.length) {}

    // Forget the query before; `forbidden` is an item that can never be listed, or -1.
    void begin(int64_t query, int32_t forbidden) {
        query_ = query;
        ++stamp_, ++change_;
        touched_.clear(), changed_.clear();
        if (utility_.mode == NO_RANKS) return;
        const int64_t end = queries_.last_target(query, utility_.first_only);
        for (int64_t e = queries_.target_start[query]; e < end; ++e) {
            const int32_t item = queries_.target_items[e];
            if (item >= 0 && item != forbidden) cells_[item].target = stamp_;
        }
    }

    int64_t score(int32_t item) const { return cells_[item].score; }

    // Add to the score of an item; logged, until `settle` or `undo`.
    void change(int32_t item, int64_t amount) {
        Cell& cell = cells_[item];
        if (cell.touched != stamp_) {
            cell.touched = stamp_;
            cell.score = 0;
            touched_.push_back(item);
        }
        if (cell.change != change_) {
            cell.change = change_;
            cell.before = cell.score;
            changed_.push_back(item);
        }
        cell.score += amount;
    }

    // Set every score to 0; logged as changes.
    void clear() {
        for (const int32_t item : touched_) change(item, -cells_[item].score);
    }

    // Take back the changes since the last call.
    void undo() {
        for (const int32_t item : changed_) cells_[item].score = cells_[item].before;
        changed_.clear();
        ++change_;
    }

    // Make the scores the ones that changes are compared with; returns the value of their list.
    double settle() {
        n_front_ = 0;
        for (const int32_t item : touched_)
            if (cells_[item].score > 0)
                n_front_ = keep_best(item, cells_[item].score, n_front_, front_items_.view(),
                                     front_scores_.view());
        for (int64_t i = 0; i < n_front_; ++i) cells_[front_items_[i]].in_front = stamp_;
        for (const int32_t item : list()) cells_[item].listed = stamp_;
        changed_.clear();
        ++change_;
        return settled_ = value_of(list());
    }

    // The settled list.
    Vector<const int32_t> list() const {
        return front_items_.view().slice(0, std::min(n_front_, best_items_.size));
    }

    // Value of the list after the changes.
    double value_after() {
        const int64_t length = best_items_.size;
        const bool is_full = n_front_ >= length;
        const int64_t bar = is_full ? front_scores_[length - 1] : 1;
        const int64_t bar_item = is_full ? front_items_[length - 1] : cells_.size();
        for (const int32_t item : changed_) {
            const Cell& cell = cells_[item];
            if (cell.score != cell.before && (cell.listed == stamp_ || cell.score > bar ||
                                              (cell.score == bar && item < bar_item)))
                return value_of(best_items_.slice(0, list_from_front()));
        }
        return settled_;
    }

  private:
    // The front has this many items more than the list.
    static constexpr int64_t RESERVE = 24;

    struct Cell {
        int64_t score = 0, before = 0;
        // The last query that touched, listed, put in front and wants the item; and the last
        // change.
        int64_t touched = 0, listed = 0, in_front = 0, target = 0, change = 0;
    };

    void keep(int32_t item, int64_t& n) {
        if (cells_[item].score > 0)
            n = keep_best(item, cells_[item].score, n, best_items_.view(), best_scores_.view());
    }

    // Make the list from the front and the changed items; from all, where that may not do.
    int64_t list_from_front() {
        int64_t n = 0;
        for (int64_t i = 0; i < n_front_; ++i) keep(front_items_[i], n);
        for (const int32_t item : changed_)
            if (cells_[item].in_front != stamp_) keep(item, n);
        const int64_t last = front_items_.size - 1;
        if (n_front_ <= last) return n;  // everything was in front
        if (n == best_items_.size) {
            const int64_t bar = front_scores_[last], score = best_scores_[n - 1];
            if (score > bar || (score == bar && best_items_[n - 1] <= front_items_[last]))
                return n;  // what is not in front is behind its last
        }
        n = 0;
        for (const int32_t item : touched_) keep(item, n);
        return n;
    }

    // Value of a list by the definitions.
    double value_of(Vector<const int32_t> items) const {
        double ranks = 0.0;
        int64_t hits = 0, sustainable = 0;
        for (int64_t i = 0; i < items.size; ++i) {
            if (utility_.sustainable_factor != 0.0) sustainable += utility_.sustainable[items[i]];
            if (utility_.mode == NO_RANKS || cells_[items[i]].target != stamp_) continue;
            ++hits;
            if (utility_.mode == ADDITIVE)
                ranks += utility_.gains[i + 1];
            else if (utility_.mode == BEST)
                ranks = std::max(ranks, utility_.gains[i + 1]);
            else if (utility_.mode == AVERAGE_PRECISION)
                ranks += static_cast<double>(hits) / static_cast<double>(i + 1);
        }
        double value = utility_.rank_factors[query_] * ranks;
        if (sustainable > 0)
            value += utility_.sustainable_factor *
                     (static_cast<double>(sustainable) / static_cast<double>(items.size));
        return value;
    }

    const QueryArrays& queries_;
    const Utility& utility_;
    int64_t query_ = -1, stamp_ = 0, change_ = 0;  // the query and its number, the change's number
    std::vector<Cell> cells_;                      // by item
    std::vector<int32_t> touched_, changed_;  // items with an entry in this query, in this change
    // The best items without a change, best first, and the list after it.
    Array<int32_t> front_items_, best_items_;
    Array<int64_t> front_scores_, best_scores_;
    int64_t n_front_ = 0;
    double settled_ = 0.0;
};

}  // namespace whence

// Which items are targets of a query, and which are local items of its game.
#pragma once

#include "game.h"

namespace whence {

// Marks by item, made once for a block of queries: an item has a mark where it holds the number of
// the query.
class ItemMarks {
  public:
    explicit ItemMarks(int64_t n_items)
        : target_of_(n_items, -1), local_of_(n_items, -1), local_(n_items) {}

    // Mark the items that count as targets of a query; `forbidden` can never be listed.
    void mark_targets(int64_t query, const QueryArrays& queries, const Utility& utility,
                      int32_t forbidden) {
        if (utility.mode == NO_RANKS) return;
        const int64_t end = queries.last_target(query, utility.first_only);
        for (int64_t e = queries.target_start[query]; e < end; ++e) {
            const int32_t item = queries.target_items[e];
            if (item >= 0 && item != forbidden) target_of_[item] = query;
        }
    }
    bool is_target(int32_t item, int64_t query) const { return target_of_[item] == query; }
    bool is_local(int32_t item, int64_t query) const { return local_of_[item] == query; }

    // The number of a local item of a query's game, which a draft gets where it is new.
    int32_t local(int32_t item, int64_t query, const Utility& utility, int64_t empty_score,
                  Draft& draft) {
        if (is_local(item, query)) return local_[item];
        local_of_[item] = query;
        local_[item] = static_cast<int32_t>(draft.numbers.size());
        draft.numbers.push_back(item);
        draft.empty_scores.push_back(empty_score);
        const bool is_sustainable = utility.sustainable_factor != 0.0 && utility.sustainable[item];
        draft.flags.push_back(static_cast<uint8_t>((is_target(item, query) ? IS_TARGET : 0) |
                                                   (is_sustainable ? IS_SUSTAINABLE : 0)));
        return local_[item];
    }
    int32_t local(int32_t item) const { return local_[item]; }

  private:
    std::vector<int64_t> target_of_, local_of_;
    std::vector<int32_t> local_;
};

}  // namespace whence

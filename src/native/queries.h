// Queries, and what their lists are worth, as Python hands them over.
#pragma once

#include "arrays.h"
#include "modes.h"

namespace whence {

// See whence.evaluation.queries.QueryArrays.
struct QueryArrays {
    Vector<const int32_t> history_items;
    Vector<const int64_t> history_start, history_end;
    Vector<const int32_t> target_items;
    Vector<const int64_t> target_start, target_end;
    Vector<const int32_t> users;
    FIELDS(history_items, history_start, history_end, target_items, target_start, target_end, users)

    // Where the targets that count end.
    int64_t last_target(int64_t query, bool first_only) const {
        const int64_t end = target_end[query];
        return first_only ? std::min(end, target_start[query] + 1) : end;
    }
};

// See whence.evaluation.utility.Utility.
struct Utility {
    int64_t mode;
    int64_t length;
    bool first_only;
    Vector<const double> gains;
    Vector<const double> rank_factors;
    double sustainable_factor;
    Vector<const uint8_t> sustainable;
    FIELDS(mode, length, first_only, gains, rank_factors, sustainable_factor, sustainable)
};

}  // namespace whence

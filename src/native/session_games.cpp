// Games of VMIS-kNN queries: elements are sessions.
#include "marks.h"
#include "sessions.h"
#include "solving.h"

namespace whence {
namespace {

// A fitted VMISKNN; see whence.valuation.games.Sessions.
struct Sessions {
    SessionIndex train;
    bool use_idf;
    int64_t k, m, limit;
    bool one_out;
    FIELDS(train, use_idf, k, m, limit, one_out)
};

// See solving.h.
class SessionGames {
  public:
    std::vector<int32_t> sources, others;

    SessionGames(const QueryArrays& queries, const Sessions& sessions, const Utility& utility)
        : queries_(queries),
          sessions_(sessions),
          utility_(utility),
          marks_(sessions.train.n_items()),
          seen_(sessions.train.n_items(), -1) {}

    int64_t user_of(int64_t) const { return -1; }

    bool make(int64_t query, Game& game) {
        const SessionIndex& index = sessions_.train;
        const int64_t start = queries_.history_start[query], end = queries_.history_end[query];
        const int64_t length = end - start;
        items_.resize(length), recency_.resize(length);
        const int64_t n_distinct =
            distinct_recent(queries_.history_items, start, end, {seen_.data(), index.n_items()},
                            query, {items_.data(), length}, {recency_.data(), length});
        found_.gather({items_.data(), n_distinct}, {recency_.data(), n_distinct}, length, index,
                      sessions_.limit);
        last_ = length > 0 ? queries_.history_items[end - 1] : -1;
        marks_.mark_targets(query, queries_, utility_, last_);
        int64_t n = found_.size();
        if (utility_.sustainable_factor == 0.0 && !reaches_target(query)) n = 0;
        n = choose(n);

        const int64_t n_all = n;
        int64_t pool = sessions_.m, extra = -1;
        if (sessions_.one_out && n > sessions_.k + 1) {
            // Without one of the pool, the neighbours are among the k + 1 best of it and the next.
            n = pool = sessions_.k + 1;
            for (int64_t rank = 0; rank < n; ++rank)
                if (found_.order[rank] == sessions_.m) extra = rank, pool = n - 1;
        }
        const int64_t shift = sessions_.use_idf ? idf_shift(length, sessions_.k) : 0;
        draft_.clear(), sources.clear(), others.clear();
        for (int64_t rank = 0; rank < n; ++rank) {
            sources.push_back(index.source_of[found_.found[found_.order[rank]]]);
            add_row(query, found_.order[rank], shift);
            draft_.end_row();
        }
        // Candidates were found most recent first.
        age_.clear();
        if (extra >= 0) {
            for (int64_t rank = n; rank < n_all; ++rank)
                others.push_back(index.source_of[found_.found[found_.order[rank]]]);
            for (int64_t rank = 0; rank < n; ++rank)
                age_.push_back(
                    static_cast<int32_t>(rank == extra ? n - 1 : (rank < extra ? rank : rank - 1)));
        } else if (n > pool) {
            age_.assign(found_.order.begin(), found_.order.begin() + n);
        }
        game.finish(query, sessions_.k, pool, draft_,
                    {age_.data(), static_cast<int64_t>(age_.size())}, utility_);
        return true;
    }

  private:
    const QueryArrays& queries_;
    const Sessions& sessions_;
    const Utility& utility_;
    ItemMarks marks_;
    std::vector<int64_t> seen_;
    std::vector<int32_t> items_, recency_, age_;
    Candidates found_;
    Draft draft_;
    int32_t last_ = -1;

    // Whether any candidate could bring a target into the list; else all values are 0.
    bool reaches_target(int64_t query) const {
        for (int64_t c = 0; c < found_.size(); ++c)
            if (found_.weights[c] > 0)
                for (const int32_t item : sessions_.train.items_of(found_.found[c]))
                    if (marks_.is_target(item, query)) return true;
        return false;
    }

    // Order the first n candidates, or those of them that can matter; how many there are.
    int64_t choose(int64_t n) {
        if (n > sessions_.k) {
            found_.rank(n);
            return n;
        }
        // Without competition a session that gives no item any weight changes nothing.
        found_.order.clear();
        for (int64_t c = 0; c < n; ++c) {
            const auto row = sessions_.train.items_of(found_.found[c]);
            const bool only_last = row.size == 1 && row[0] == last_;
            if (found_.weights[c] > 0 && !only_last)
                found_.order.push_back(static_cast<int32_t>(c));
        }
        return static_cast<int64_t>(found_.order.size());
    }

    // Add what a candidate gives to the items of its session.
    void add_row(int64_t query, int32_t candidate, int64_t shift) {
        const int64_t weight = found_.weights[candidate];
        if (weight <= 0) return;
        for (const int32_t item : sessions_.train.items_of(found_.found[candidate])) {
            if (item == last_) continue;
            int64_t value = weight;
            if (sessions_.use_idf) value *= sessions_.train.idf_of(item, shift);
            if (value == 0) continue;
            draft_.row_items.push_back(marks_.local(item, query, utility_, 0, draft_));
            draft_.row_values.push_back(value);
        }
    }
};

std::pair<int64_t, int64_t> solve_sessions(int64_t first, int64_t last, const QueryArrays& queries,
                                           const Sessions& sessions, const Utility& utility,
                                           const Plan& plan, const Weights& weights,
                                           bool by_subsets, Vector<const int64_t> starts,
                                           Vector<const int64_t> units, Sums& sums) {
    return solve(SessionGames(queries, sessions, utility), first, last, plan, weights, by_subsets,
                 starts, units, sums);
}

void leave_out_sessions(int64_t first, int64_t last, const QueryArrays& queries,
                        const Sessions& sessions, const Utility& utility, const Plan& plan,
                        Sums& sums) {
    leave_out(SessionGames(queries, sessions, utility), first, last, plan, sums);
}

}  // namespace
}  // namespace whence

void bind_session_games(nb::module_& module) {
    whence::note_layout<whence::Sessions>("Sessions");
    whence::kernel(module, "solve_sessions", whence::solve_sessions);
    whence::kernel(module, "leave_out_sessions", whence::leave_out_sessions);
}

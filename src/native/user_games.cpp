// Games of TIFU-kNN queries: elements are users.
#include "baskets.h"
#include "marks.h"
#include "solving.h"

namespace whence {
namespace {

// See solving.h.
//
// Of n neighbours, item j has the score of their entries plus n times the own entry; so a row holds
// a neighbour's entries plus the own ones. Items that can never be listed are left out: the mean
// entry of any neighbours is at most the largest, and K own items may be above it.
class UserGames {
  public:
    std::vector<int32_t> sources;
    const std::vector<int32_t> others;

    UserGames(const QueryArrays& queries, const Users& users, const Utility& utility)
        : queries_(queries),
          users_(users),
          utility_(utility),
          marks_(users.train.n_items()),
          seen_(users.train.n_items(), -1),
          own_(users.train.n_items(), 0),
          largest_(users.train.n_items(), 0),
          shared_(users.train.n_users(), 0.0),
          distance_(users.train.n_users()),
          nearest_(users.limit) {}

    int64_t user_of(int64_t query) const { return queries_.users[query]; }

    bool make(int64_t query, Game& game) {
        const UserVectors& vectors = users_.train.vectors;
        const auto own_items = users_.own.items_of(query);
        const auto own_weights = users_.own.own_of(query);
        if (own_items.size == 0) return false;
        const int64_t n = nearest_users(
            own_items, users_.own.values_of(query), user_of(query), users_.euclidean, users_.train,
            {shared_.data(), users_.train.n_users()}, {distance_.data(), users_.train.n_users()},
            {nearest_.data(), users_.limit});
        marks_.mark_targets(query, queries_, utility_, -1);
        sources.assign(nearest_.begin(), nearest_.begin() + n);

        // Own items come first.
        items_.assign(own_items.begin(), own_items.end());
        for (int64_t e = 0; e < own_items.size; ++e) {
            own_[own_items[e]] = own_weights[e];
            largest_[own_items[e]] = 0;
            seen_[own_items[e]] = query;
        }
        for (const int32_t user : sources)
            for (int64_t e = vectors.offsets[user]; e < vectors.offsets[user + 1]; ++e) {
                const int32_t item = vectors.items[e];
                if (seen_[item] != query) {
                    seen_[item] = query;
                    items_.push_back(item);
                    own_[item] = largest_[item] = 0;
                }
                largest_[item] = std::max(largest_[item], vectors.neighbour[e]);
            }
        draft_.clear();
        const int64_t bar = kth_largest(own_weights, utility_.length);
        int64_t n_own = 0;
        for (const int32_t item : items_) {
            const int64_t most = own_[item] + largest_[item];
            if (most < bar || most == 0) continue;
            marks_.local(item, query, utility_, own_[item], draft_);
            if (own_[item] > 0) n_own = static_cast<int64_t>(draft_.numbers.size());
        }
        for (const int32_t user : sources) add_row(query, user, n_own);
        game.finish(query, users_.k, n, draft_, {}, utility_);
        return true;
    }

  private:
    const QueryArrays& queries_;
    const Users& users_;
    const Utility& utility_;
    ItemMarks marks_;
    std::vector<int64_t> seen_, own_, largest_;
    std::vector<double> shared_, distance_;
    std::vector<int32_t> nearest_, items_;
    std::vector<int64_t> sorted_;
    Draft draft_;

    // -1 where there are fewer than k.
    int64_t kth_largest(Vector<const int64_t> values, int64_t k) {
        if (values.size < k) return -1;
        sorted_.assign(values.begin(), values.end());
        std::nth_element(sorted_.begin(), sorted_.end() - k, sorted_.end());
        return sorted_[values.size - k];
    }

    // Add the own entries and those of a neighbour.
    void add_row(int64_t query, int32_t user, int64_t n_own) {
        const UserVectors& vectors = users_.train.vectors;
        const size_t first = draft_.row_items.size();
        for (int32_t i = 0; i < n_own; ++i) draft_.row_items.push_back(i);
        draft_.row_values.insert(draft_.row_values.end(), draft_.empty_scores.begin(),
                                 draft_.empty_scores.begin() + n_own);
        for (int64_t e = vectors.offsets[user]; e < vectors.offsets[user + 1]; ++e) {
            const int32_t item = vectors.items[e];
            if (!marks_.is_local(item, query) || vectors.neighbour[e] == 0) continue;
            const int32_t local = marks_.local(item);
            if (local < n_own) {
                draft_.row_values[first + local] += vectors.neighbour[e];
            } else {
                draft_.row_items.push_back(local);
                draft_.row_values.push_back(vectors.neighbour[e]);
            }
        }
        draft_.end_row();
    }
};

std::pair<int64_t, int64_t> solve_users(int64_t first, int64_t last, const QueryArrays& queries,
                                        const Users& users, const Utility& utility,
                                        const Plan& plan, const Weights& weights, bool by_subsets,
                                        Vector<const int64_t> starts, Vector<const int64_t> units,
                                        Sums& sums) {
    return solve(UserGames(queries, users, utility), first, last, plan, weights, by_subsets, starts,
                 units, sums);
}

void leave_out_users(int64_t first, int64_t last, const QueryArrays& queries, const Users& users,
                     const Utility& utility, const Plan& plan, Sums& sums) {
    leave_out(UserGames(queries, users, utility), first, last, plan, sums);
}

}  // namespace
}  // namespace whence

void bind_user_games(nb::module_& module) {
    whence::note_layout<whence::Users>("Users");
    whence::kernel(module, "solve_users", whence::solve_users);
    whence::kernel(module, "leave_out_users", whence::leave_out_users);
}

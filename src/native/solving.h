// From the games of a block of queries to contributions of sources, whatever the model.
//
// What makes the games of a model's queries is a class with
//     bool make(int64_t query, Game& game)   false where a query has nothing to value
//     std::vector<int32_t> sources, others   of the game: the source of each element; and sources
//                                            that make room for the next candidate when they are
//                                            removed, but are no elements
//     int64_t user_of(int64_t query)         whose own history the list depends on, or -1
#pragma once

#include "sums.h"
#include "walks.h"

namespace whence {

// See whence.valuation.weights.Weights.
struct Weights {
    Vector<const int64_t> size_starts;
    Vector<const double> sizes;
    Vector<const int64_t> sample_starts;
    Vector<const double> samples;
    FIELDS(size_starts, sizes, sample_starts, samples)
};

// Kinds of interchangeable players where enumeration is affordable, else none.
Kinds exact_kinds(const Game& game, const Players& players, int64_t limit, const Weights& weights);

// In the first round: note the extreme values, and solve exactly what can be. Returns whether there
// is nothing left to sample.
bool begin_query(int64_t query, Game& game, const Players& players, const Plan& plan,
                 const Weights& weights, Sums& sums);

// Add a sample's mean contributions, and the variances of the means.
void add_sample(Draw draw, const Players& players, const Walker& walker, double work, Sums& sums);

// Add the leave-one-out values of one query's players; others: see above.
void leave_out_of_query(int64_t query, Game& game, const Players& players,
                        const std::vector<int32_t>& others, Sums& sums);

// Semivalues of queries [first, last), from permutations or subsets where they are sampled.
//
// starts, units: [Q], the number of the first replicate of a query, and how many. Returns `last`
// and 0; or the query for whose number of players the weights have no row yet, and that number.
template <class Games>
std::pair<int64_t, int64_t> solve(Games&& games, int64_t first, int64_t last, const Plan& plan,
                                  const Weights& weights, bool by_subsets,
                                  Vector<const int64_t> starts, Vector<const int64_t> units,
                                  Sums& sums) {
    Game game;
    Players players;
    Walker walker;
    for (int64_t query = first; query < last; ++query) {
        if (!plan.fresh && units[query] == 0) continue;
        if (!games.make(query, game)) {
            sums.note_status(query, CONSTANT);
            continue;
        }
        players.form(games.sources, plan.own_player ? games.user_of(query) : -1, plan.group_of);
        const int64_t n = players.size();
        if (weights.sample_starts[n] < 0) return {query, n};
        if (begin_query(query, game, players, plan, weights, sums) || units[query] == 0) continue;
        const double* const factors = weights.samples.data + weights.sample_starts[n];
        const Draw draw{query, starts[query], units[query]};
        const auto sample = by_subsets ? &Walker::sample_subsets : &Walker::sample_permutations;
        add_sample(draw, players, walker, (walker.*sample)(game, players, factors, plan, draw),
                   sums);
    }
    return {last, 0};
}

// Leave-one-out values of queries [first, last).
template <class Games>
void leave_out(Games&& games, int64_t first, int64_t last, const Plan& plan, Sums& sums) {
    Game game;
    Players players;
    for (int64_t query = first; query < last; ++query) {
        if (!games.make(query, game)) {
            sums.note_status(query, CONSTANT);
            continue;
        }
        players.form(games.sources, games.user_of(query), plan.group_of);
        leave_out_of_query(query, game, players, games.others, sums);
    }
}

}  // namespace whence

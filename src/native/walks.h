// Walks over the coalitions of one query's game: permutations, subsets, all of them.
//
// *Players* are what is credited: single elements of the game, or groups of them. A semivalue is
// two rows of numbers by size of the coalition (see whence.valuation.weights): the probability of
// one coalition, where all are visited, and the factor of a contribution, where some are drawn.
#pragma once

#include "random.h"
#include "reading.h"

namespace whence {

// See whence.valuation.games.Plan.
struct Plan {
    int64_t exact_limit;
    uint64_t seed;
    bool antithetic, shared;
    Vector<const int32_t> group_of;
    bool own_player, fresh;
    FIELDS(exact_limit, seed, antithetic, shared, group_of, own_player, fresh)
};

// Who is credited in one query.
struct Players {
    std::vector<int64_t> ids;               // what each player is called
    std::vector<int64_t> offsets, members;  // elements of each player
    int64_t owner = -1;                     // the player without whom the value is 0, or -1
    bool singles = true;                    // whether player j is element j

    int64_t size() const { return static_cast<int64_t>(ids.size()); }
    int64_t size_of(int64_t player) const { return offsets[player + 1] - offsets[player]; }
    // Form players from the elements of a game.
    //
    // sources: [n], source of each element; owner_source: that is a player though no element, -1
    // for none; group_of: group of each source, or empty.
    void form(const std::vector<int32_t>& sources, int64_t owner_source,
              Vector<const int32_t> group_of);
};

// Kinds of interchangeable players: how many there are of each, and the players kind by kind. None
// where they are too many to enumerate.
struct Kinds {
    std::vector<int64_t> counts, players;
};

// Which replicates to draw of a query.
struct Draw {
    int64_t query, first, units;
};

// Walks over one game after the other, in the same memory.
class Walker {
  public:
    // By player: sums over replicates of the mean contribution of a replicate, and of its square.
    std::vector<double> sums, squares;

    // Sample permutations and add up the marginal contributions of the players.
    //
    // weights: [P], factor of a contribution by size of the coalition. A replicate is one
    // permutation in which all contributions are read `READINGS` times; or, where the game is no
    // such, as many permutations in which each is met once; and their reverses where the plan is
    // antithetic. Returns the work done: about steps and row entries.
    double sample_permutations(Game& game, const Players& players, const double* weights,
                               const Plan& plan, Draw draw);
    // Sample subsets; in each, every player's effect of joining or leaving is read off. Where the
    // plan is antithetic, a replicate is a subset and its complement.
    double sample_subsets(Game& game, const Players& players, const double* weights,
                          const Plan& plan, Draw draw);

  private:
    Reader reader_;
    std::vector<double> gained_;
    std::vector<uint32_t> order_;
    std::vector<uint8_t> flips_;

    double read(const Game& game, const double* weights, const Plan& plan, Draw draw);
    void begin(int64_t n_players);
    void draw_order(const Players& players, const Plan& plan, int64_t query, int64_t number);
    void walk(Game& game, const Players& players, const std::vector<uint8_t>& relevant,
              const double* weights);
    void walk_subset(Game& game, const Players& players, const double* weights);
    void close_replicate(int64_t passes);
};

// Kinds of the elements of a game without competition, by equal rows; none if they have more than
// `limit` combinations.
Kinds group_identical(const Game& game, int64_t limit);

// Exact semivalues [P] by visiting every combination of the kinds of players once.
//
// Players of one kind are interchangeable, so only how many of each kind are present matters. The
// combinations are visited in the reflected mixed-radix Gray order, one player at a time. weights:
// [P], probability of one coalition by size.
std::vector<double> exact_semivalue(Game& game, const Players& players, const double* weights,
                                    const Kinds& kinds);

// Effect of removing each player from the full training data: values [P], the value with everyone
// minus that without the player. Elements beyond the pool, or beyond the k nearest, are those that
// take a place set free. Returns the value with everyone.
double leave_each_out(Game& game, const Players& players, std::vector<double>& values);

}  // namespace whence

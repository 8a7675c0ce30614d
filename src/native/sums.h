// What a block of queries adds up, by player, and finds out, by query.
#pragma once

#include "arrays.h"

namespace whence {

// What became of a query; see whence.valuation.accumulation.
enum Status : uint8_t { SAMPLED = 0, EXACT = 1, CONSTANT = 2 };

// By player as a neighbour and in the player's own queries: sums over queries of exact values, of
// estimates, and of the variances of the estimates. In how many queries the player is a candidate.
struct PlayerSums {
    double exact[2], means[2], variances[2];
    int64_t appearances;
};

// Players get a row as they are met, so that a block takes memory in proportion to those it meets.
class Sums {
  public:
    // Of queries [first, last).
    Sums(int64_t n_players, int64_t first, int64_t last)
        : first_(first),
          row_of_(n_players, -1),
          status_(last - first),
          spread_(last - first),
          work_(last - first),
          value_all_(last - first),
          value_nothing_(last - first) {}

    PlayerSums& operator[](int64_t player) {
        int32_t& row = row_of_[player];
        if (row < 0) {
            row = static_cast<int32_t>(rows_.size());
            players_.push_back(player);
            rows_.emplace_back();
        }
        return rows_[row];
    }

    // Fate of a query.
    void note_status(int64_t query, Status status) { status_[query - first_] = status; }
    // Values with everyone and with nobody.
    void note_values(int64_t query, double value_all, double value_nothing) {
        value_all_[query - first_] = value_all;
        value_nothing_[query - first_] = value_nothing;
    }
    // Trace of the variance of one replicate, and work of all.
    void note_sample(int64_t query, double spread, double work) {
        spread_[query - first_] = spread;
        work_[query - first_] = work;
    }

    // For games that are solved in Python; column: 1 for a player's own query, else 0.
    void count(Vector<const int64_t> players) {
        for (const int64_t player : players) ++(*this)[player].appearances;
    }
    void add_exact(Vector<const int64_t> players, Vector<const int64_t> columns,
                   Vector<const double> values) {
        for (int64_t i = 0; i < players.size; ++i)
            (*this)[players[i]].exact[columns[i]] += values[i];
    }
    void add_estimates(Vector<const int64_t> players, Vector<const int64_t> columns,
                       Vector<const double> means, Vector<const double> variances) {
        for (int64_t i = 0; i < players.size; ++i) {
            (*this)[players[i]].means[columns[i]] += means[i];
            (*this)[players[i]].variances[columns[i]] += variances[i];
        }
    }

    // Players [p], and of each exact values, means and variances [p, 2], and appearances [p].
    std::tuple<Array<int64_t>, Grid<double>, Grid<double>, Grid<double>, Array<int64_t>> by_player()
        const {
        const auto n = static_cast<int64_t>(rows_.size());
        Array<int64_t> appearances(n);
        Grid<double> exact(n, 2), means(n, 2), variances(n, 2);
        for (int64_t row = 0; row < n; ++row) {
            appearances[row] = rows_[row].appearances;
            for (int64_t column = 0; column < 2; ++column) {
                exact(row, column) = rows_[row].exact[column];
                means(row, column) = rows_[row].means[column];
                variances(row, column) = rows_[row].variances[column];
            }
        }
        return {copied(players_), std::move(exact), std::move(means), std::move(variances),
                std::move(appearances)};
    }

    // Status, spread, work, value_all and value_nothing, each [q].
    std::tuple<Array<uint8_t>, Array<double>, Array<double>, Array<double>, Array<double>>
    by_query() const {
        return {copied(status_), copied(spread_), copied(work_), copied(value_all_),
                copied(value_nothing_)};
    }

  private:
    int64_t first_;
    std::vector<int32_t> row_of_;
    std::vector<int64_t> players_;
    std::vector<PlayerSums> rows_;
    std::vector<uint8_t> status_;
    std::vector<double> spread_, work_, value_all_, value_nothing_;
};

}  // namespace whence

// What a block of queries adds up, by player, and finds out, by query.
#pragma once

#include "random.h"

namespace whence {

// What became of a query; see whence.valuation.accumulation.
enum Status : uint8_t { SAMPLED = 0, EXACT = 1, CONSTANT = 2 };

// Of a player as a neighbour, or in the player's own queries: sums over queries of exact values, of
// estimates, and of the variances of the estimates. In how many queries the player is a candidate.
struct PlayerSums {
    double exact, mean, variance;
    int64_t appearances;
};

// Players get a row as they are met, so that a block takes memory in proportion to those it meets.
class Sums {
  public:
    // Of queries [first, last).
    Sums(int64_t first, int64_t last)
        : first_(first),
          status_(last - first),
          spread_(last - first),
          work_(last - first),
          value_all_(last - first),
          value_nothing_(last - first),
          table_(64, -1) {}

    // Sums of a player; column: 1 for own queries, else 0.
    PlayerSums& at(int64_t player, int64_t column = 0) {
        const int64_t cell = 2 * player + column;
        int32_t& row = table_[place_of(cell)];
        if (row >= 0) return rows_[row];
        row = static_cast<int32_t>(rows_.size());
        cells_.push_back(cell);
        rows_.emplace_back();
        if (2 * rows_.size() > table_.size()) enlarge();
        return rows_.back();
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

    // For games that are solved in Python.
    void count(Vector<const int64_t> players) {
        for (const int64_t player : players) ++at(player).appearances;
    }
    void add_exact(Vector<const int64_t> players, Vector<const int64_t> columns,
                   Vector<const double> values) {
        for (int64_t i = 0; i < players.size; ++i) at(players[i], columns[i]).exact += values[i];
    }
    void add_estimates(Vector<const int64_t> players, Vector<const int64_t> columns,
                       Vector<const double> means, Vector<const double> variances) {
        for (int64_t i = 0; i < players.size; ++i) {
            PlayerSums& own = at(players[i], columns[i]);
            own.mean += means[i];
            own.variance += variances[i];
        }
    }

    // Cells of a table [n_players, 2], and of each exact value, mean, variance and appearances,
    // each [p].
    std::tuple<Array<int64_t>, Array<double>, Array<double>, Array<double>, Array<int64_t>>
    by_cell() const {
        const auto n = static_cast<int64_t>(rows_.size());
        Array<double> exact(n), means(n), variances(n);
        Array<int64_t> appearances(n);
        for (int64_t row = 0; row < n; ++row) {
            exact[row] = rows_[row].exact, means[row] = rows_[row].mean;
            variances[row] = rows_[row].variance, appearances[row] = rows_[row].appearances;
        }
        return {copied(cells_), std::move(exact), std::move(means), std::move(variances),
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
    std::vector<uint8_t> status_;
    std::vector<double> spread_, work_, value_all_, value_nothing_;
    std::vector<int64_t> cells_;
    std::vector<PlayerSums> rows_;
    std::vector<int32_t> table_;  // row of each cell, by hashing; -1 where there is none

    size_t place_of(int64_t cell) const {
        const size_t mask = table_.size() - 1;
        size_t place = mix(static_cast<uint64_t>(cell)) & mask;
        while (table_[place] >= 0 && cells_[table_[place]] != cell) place = (place + 1) & mask;
        return place;
    }
    void enlarge() {
        table_.assign(2 * table_.size(), -1);
        for (size_t row = 0; row < cells_.size(); ++row)
            table_[place_of(cells_[row])] = static_cast<int32_t>(row);
    }
};

// Add values to some cells of a table.
template <class T>
void add_to_cells(Vector<T> table, Vector<const int64_t> cells, Vector<const T> values) {
    for (int64_t i = 0; i < cells.size; ++i) table[cells[i]] += values[i];
}

}  // namespace whence

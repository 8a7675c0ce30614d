// The game of one query: who is present, which list results, what it is worth.
//
// The *elements* of a game are training sessions or users, numbered by rank in the model's strict
// order of preference: 0 is the best neighbour. Of those present, the `m` most recent form the
// pool, and the best `k` of the pool are the neighbours. Each neighbour adds a *row* of integers to
// the keys of the *local items*, the items that any element could bring into the list.
//
// A key is `step * score + tie`, where `tie` is twice the count of tracked items with a larger
// number, and one more for a tracked item; so comparing the key of any item with that of a tracked
// item compares (score, item number) exactly, and they are never equal. *Tracked* items are those
// whose rank matters: the targets that can be reached and, for sustainability metrics, the
// sustainable items. For each the count of items above it is kept.
#pragma once

#include "queries.h"

namespace whence {

// What a tracked item is.
constexpr uint8_t IS_TARGET = 1, IS_SUSTAINABLE = 2;

// Rows and items of a game before they are ranked.
struct Draft {
    // Rows of the elements, [n + 1] and [E]: local items, and what is added to their scores.
    std::vector<int64_t> offsets;
    std::vector<int32_t> row_items;
    std::vector<int64_t> row_values;
    // By local item: its number, its score when nobody is present, and what it is, 0 where its
    // rank does not matter.
    std::vector<int32_t> numbers;
    std::vector<int64_t> empty_scores;
    std::vector<uint8_t> flags;

    void clear();
    void end_row() { offsets.push_back(static_cast<int64_t>(row_items.size())); }
    // Leave out the items that can never stand above a target that is listed.
    void drop_harmless();
};

// How ranks become a value: rank_factor * ranks + sustainable_factor * sustainable share of the
// list; gains: [length + 1], by rank. And the value when no element is present.
struct Scoring {
    int64_t mode, length;
    double rank_factor, sustainable_factor, empty_value;
    Vector<const double> gains;
};

// One query's game, made anew for every query of a block in the same memory.
class Game {
  public:
    int64_t n = 0, k = 0, m = 0;  // elements, neighbours, size of the pool (m >= n: all are in it)
    int64_t step = 0;             // keys of at least this belong to items with a score above 0
    Scoring scoring{};
    // Rows, [n + 1] and [E]: local items, and what an element adds to their keys.
    std::vector<int64_t> offsets;
    std::vector<int32_t> row_items;
    std::vector<int64_t> row_values;
    // By element: whether the row touches a tracked item.
    std::vector<int32_t> relevant;
    // By local item: key without any row, and index of the tracked item or -1.
    std::vector<int64_t> base;
    std::vector<int32_t> tracked_of;
    // By tracked item: the local item, and what it is.
    std::vector<int32_t> tracked_items;
    std::vector<uint8_t> flags;
    // Since it was made: row entries walked over. Since it was last set to false: whether the value
    // may have changed.
    int64_t work = 0;
    bool changed = false;
    int64_t n_present = 0;

    // Take over a draft; age: place in time of each element, empty where all are in the pool.
    void finish(int64_t query, int64_t k, int64_t m, Draft& draft, Vector<const int32_t> age,
                const Utility& utility);

    int64_t n_tracked() const { return static_cast<int64_t>(tracked_items.size()); }
    int64_t n_local() const { return static_cast<int64_t>(base.size()); }

    // Nobody is present.
    void reset();
    // Make an absent element present, and a present one absent.
    void insert(int64_t element);
    void remove(int64_t element);
    // Insert elements none of which touches a tracked item, from an empty start.
    void insert_irrelevant(const uint32_t* order, int64_t n_first);
    // Value of the list with the elements now present.
    double value() const;
    // Make every element present, from the start, and return the value.
    double value_of_all();

  private:
    bool is_counting_ = false;  // whether the number of items with a score above 0 is kept
    // By element: present; by place in time: present, and the element; place in time (0: latest).
    std::vector<int32_t> present_, in_time_, by_age_, age_;
    std::vector<int64_t> keys_;                  // by local item
    std::vector<int64_t> tracked_keys_, above_;  // by tracked item
    std::vector<int64_t> before_, after_;        // keys of the row that is added
    // In the pool: how many, the worst neighbour, the oldest (by age); items with a score above 0.
    int64_t n_pool_ = 0, worst_ = -1, oldest_ = -1, n_positive_ = 0;

    bool has_one_target() const { return tracked_items.size() == 1 && !is_counting_; }
    double value_of_many() const;
    double value_of_nobody(const std::vector<int64_t>& scores);
    void recount(int64_t t);
    void recount_row(int64_t element);
    void add_row(int64_t element, int64_t sign);
    int64_t add_row_past_one(int64_t element, int64_t sign, int64_t key);
    void add_row_past_many(int64_t element, int64_t sign);
    void change_neighbours(int64_t entering, int64_t leaving);
    void enter_pool(int64_t element);
    void leave_pool(int64_t element);
    void insert_recent(int64_t element);
    void remove_recent(int64_t element);
};

}  // namespace whence

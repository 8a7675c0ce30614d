// Contributions of all players to one coalition, read off at once, along permutations.
//
// For the most frequent games: single sources, and room for all in the pool. A permutation fills up
// a coalition, and at a few sizes everybody's effect of joining or leaving it is read off without
// changing anything. That is quicker than letting one player after the other join and asking what
// changed. And the sizes can be chosen: most of the variance is in small coalitions, where who
// brings the target first decides.
//
// A player's semivalue is the mean over sizes t of the mean contribution to coalitions of t others,
// so a reading counts by its factor over the chance of being made (`factors`).
//
// Players compare with two *states* of the keys: that which a newcomer meets (`JOIN`; who makes
// room is gone), and that which one who leaves leaves behind, save for the own row (`LEAVE`; who
// takes the place is there). In each, every item has its *room*: how far its key may move before it
// passes a target, or the end of the list. Where no entry of a row leaves its room, nothing needs
// counting; so only rows that have an item with little room are looked at.
#pragma once

#include "game.h"

namespace whence {

// Readings of each permutation, on average.
constexpr int64_t READINGS = 4;

// A game laid out for reading.
class Reader {
  public:
    // Lay out a game; weights: [n], factor of a contribution by size of the coalition.
    void lay_out(const Game& game, const double* weights);
    // Whether an element can have an effect.
    bool counts(int64_t element) const;
    // What is found when all are present.
    double value_of_everyone();
    // Let players join in order, and read at some sizes; add to what they gained.
    //
    // order: [n]; point: from 0 to 1, where on the sum of the chances the first reading falls, the
    // others at distances of 1 from it; gained: [n], weighted contributions, added to. Returns the
    // work done: about steps and row entries.
    int64_t read_permutation(const uint32_t* order, double point, double* gained);

    double empty_value() const { return empty_value_; }

  private:
    enum State { JOIN = 0, LEAVE = 1 };
    // Where the list ends: the least key of it, the key below which an item of it leaves it, how
    // many sustainable items it has and how many in all; whether the item of the least key is
    // sustainable, and that which would follow if one left, or -1; how many items of other kinds
    // there are at the end of a full list, who may make room, or behind it, who may move up.
    struct End {
        int64_t least, lower, n_sustainable, n_listed, at_least, at_lower, n_calm;
        double share() const {
            return n_sustainable > 0
                       ? static_cast<double>(n_sustainable) / static_cast<double>(n_listed)
                       : 0.0;
        }
    };
    // What an element without an effect of its own gains; and the value of the coalition.
    struct Comparison {
        double value, joined, left;
    };

    int64_t n_, k_, step_, length_, mode_, width_, n_targets_;
    double sustainable_factor_, empty_value_;
    bool quiet_;  // whether a coalition is worth nothing without anybody who brings a target
    bool even_;   // whether there is nothing that every row adds
    // What a target adds to the value by the number of items above it, [length + 1].
    std::vector<double> worth_;
    // Sums of the chances to read a size, and what a contribution counts that was read, by size.
    std::vector<double> passed_, factors_;

    // By element: whether present, and whether the row touches a target. Elements by rank, those
    // who bring a target, beyond what all add, and the others.
    std::vector<int32_t> present_, relevant_, bringers_, others_;
    // Rows, without what everybody adds, [n + 1] and [E]; and the blocks of four they would fill,
    // which is what their work is counted in.
    std::vector<int64_t> offsets_, blocks_;
    std::vector<int32_t> row_items_;
    std::vector<int64_t> row_values_;
    // What the bringers add to targets, by their place: [bringers + 1], and targets and values.
    std::vector<int64_t> brought_;
    std::vector<int32_t> brought_targets_;
    std::vector<int64_t> brought_values_;
    // Rows of the others by item, [width + 1], their elements ascending; and the largest value.
    std::vector<int64_t> postings_;
    std::vector<int32_t> posting_elements_;
    std::vector<int64_t> posting_values_, largest_;

    // By local item: keys without neighbours, and of those present without what all add; what all
    // add; whether sustainable; number of the target, or -1; keys and room by state.
    std::vector<int64_t> empty_, keys_, shared_, sustainable_;
    std::vector<int32_t> sustainable_items_;
    std::vector<int32_t> target_of_;
    std::vector<int64_t> state_keys_[2], room_[2];
    // Room up to the end of the list, of items that are not sustainable.
    std::vector<int64_t> end_room_[2];
    // By target: the item; key and items above by state, and of what is tried; the key that was
    // counted for last by state, and the count.
    std::vector<int32_t> target_items_;
    std::vector<int64_t> target_keys_[2], above_[3], last_keys_[2], last_counts_[2];
    End ends_[3];

    // Of one reading: items with little room, elements to look at closely, and when each of these
    // was last among them.
    std::vector<int32_t> tight_, chosen_;
    std::vector<int64_t> chosen_at_;
    int64_t n_readings_ = 0;

    bool is_sustainable() const { return sustainable_factor_ != 0.0; }
    void lay_out_rows(const Game& game);
    void lay_out_postings();
    void set_chances(const double* weights);
    void add_row(int64_t element, int64_t sign, std::vector<int64_t>& keys) const;
    int64_t fill(const uint32_t* order, int64_t from, int64_t to, int64_t worst);
    int64_t read(int64_t size, int64_t worst, bool quietly, double join_factor, double leave_factor,
                 double* gained);
    Comparison compare(int64_t size, int64_t worst, bool quietly);
    double settle(int state, int near);
    void make_room(int state);
    int64_t count_calm(int state) const;
    double ranks_worth(const std::vector<int64_t>& above) const;
    int64_t count_again(int64_t key, int state, int64_t target);
    void choose_others(int state, int64_t end, const std::vector<int64_t>& room, int64_t longer);
    double worth_with_one_target(int64_t element, int64_t bringer);
    double worth_with_many_targets(int64_t element, int64_t bringer);
    double share_with(int64_t element);
    int64_t nth_largest(const std::vector<int64_t>& keys, int64_t n) const;
    void measure_list(const std::vector<int64_t>& keys, int64_t least, bool tried, End& end) const;
    void note_boundary(const std::vector<int64_t>& keys, End& end) const;
};

}  // namespace whence

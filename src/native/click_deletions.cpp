// VMIS-kNN without one click, or without one item: exactly what refitting gives.
#include "board.h"
#include "sessions.h"
#include "sums.h"

namespace whence {

// A fitted VMISKNN and its clicks by session; see whence.valuation._deletions.Clicks.
struct Clicks {
    SessionIndex train;
    bool use_idf;
    int64_t k, m;
    Vector<const int64_t> keys, row_offsets;
    Vector<const int32_t> row_items;
    Vector<const int64_t> row_numbers;
    Vector<const bool> row_repeated;
    Vector<const int64_t> row_keys;
    Vector<const int32_t> time_items;
    Vector<const int64_t> time_keys;
    FIELDS(train, use_idf, k, m, keys, row_offsets, row_items, row_numbers, row_repeated, row_keys,
           time_items, time_keys)
};

namespace {

// Similarity times U, and weight, of a session.
struct Strength {
    int64_t similarity, weight;
};

class ClickDeletions {
  public:
    ClickDeletions(const QueryArrays& queries, const Clicks& clicks, const Utility& utility)
        : queries_(queries),
          clicks_(clicks),
          board_(queries, utility, clicks.train.n_items()),
          seen_(clicks.train.n_items(), -1),
          recency_of_(clicks.train.n_items()),
          again_(clicks.train.n_items(), -1) {}

    // Ask a query, and return the value of its list.
    double ask(int64_t query) {
        query_ = query;
        const int64_t start = queries_.history_start[query], end = queries_.history_end[query];
        length_ = end - start;
        items_.resize(length_), recency_.resize(length_);
        n_distinct_ = distinct_recent(queries_.history_items, start, end, seen_, query,
                                      {items_.data(), length_}, {recency_.data(), length_});
        for (int64_t j = 0; j < n_distinct_; ++j) recency_of_[items_[j]] = recency_[j];
        last_ = length_ > 0 ? queries_.history_items[end - 1] : -1;
        shift_ = clicks_.use_idf ? idf_shift(length_, clicks_.k) : 0;
        near_.gather({items_.data(), n_distinct_}, {recency_.data(), n_distinct_}, length_,
                     clicks_.train, clicks_.m + 1);
        board_.begin(query, last_);
        n_pool_ = std::min(near_.size(), clicks_.m);
        n_near_ = std::min(n_pool_, clicks_.k);
        near_.rank(n_pool_);
        for (int64_t rank = 0; rank < n_near_; ++rank) change(near_.order[rank], 1);
        return value_ = board_.settle();
    }

    // Add what the query's value loses without each click.
    void without_clicks(Sums& sums) {
        is_near_.assign(n_pool_, false);
        for (int64_t rank = 0; rank < n_near_; ++rank) is_near_[near_.order[rank]] = true;
        // Who takes a place set free among the candidates, and among the neighbours.
        const bool has_next = near_.size() > n_pool_, has_second = n_pool_ > n_near_;
        const int64_t next = n_pool_, second = has_second ? near_.order[n_near_] : 0;
        const int64_t worst = n_near_ > 0 ? near_.order[n_near_ - 1] : 0;
        const bool next_wins = has_next && near_.sims[next] > near_.sims[worst];
        for (int64_t c = 0; c < n_pool_; ++c) {
            if (!is_near_[c] && !next_wins) continue;
            const int32_t session = near_.found[c];
            for (int64_t row = clicks_.row_offsets[session]; row < clicks_.row_offsets[session + 1];
                 ++row) {
                const Strength left = without_click(row, c);
                const int64_t key = clicks_.row_keys[row];
                const bool stays = left.similarity > 0 && (!has_next || key < key_of(next));
                if (!is_near_[c]) {
                    if (stays) continue;
                    change(worst, -1);
                    change(next, 1);
                } else {
                    bool second_wins = has_second;
                    if (has_second && stays)
                        second_wins =
                            near_.sims[second] > left.similarity ||
                            (near_.sims[second] == left.similarity && key_of(second) < key);
                    else if (has_second && has_next)
                        second_wins = near_.sims[second] >= near_.sims[next];
                    const int32_t gone = clicks_.row_repeated[row] ? -1 : clicks_.row_items[row];
                    const bool is_same = stays && !second_wins && left.weight == near_.weights[c];
                    if (is_same && (gone < 0 || gone == last_)) continue;
                    change(c, -1);
                    if (second_wins)
                        change(second, 1);
                    else if (stays)
                        add(session, left.weight, gone);
                    else if (has_next)
                        change(next, 1);
                }
                note_loss(clicks_.row_numbers[row], sums);
            }
        }
    }

    // Add what the query's value loses without all clicks on each item.
    void without_items(Sums& sums) {
        if (n_pool_ == 0) return;
        // Items without which the candidates are others, or in another order.
        std::vector<int32_t>& again = again_items_;
        again.assign(items_.begin(), items_.begin() + n_distinct_);
        for (const int32_t item : again) again_[item] = query_;
        if (near_.size() > n_near_) {
            for (int64_t c = 0; c < std::min(n_pool_, near_.size() - 1); ++c) {
                const int32_t item = clicks_.time_items[near_.found[c]];
                if (item < 0 || again_[item] == query_) continue;
                if (clicks_.time_keys[near_.found[c]] > key_of(c + 1)) {
                    again.push_back(item);
                    again_[item] = query_;
                }
            }
        }
        for (const int32_t item : again) {
            board_.clear();
            add_neighbours_without(item);
            note_loss(item, sums);
        }
        // Without any of the others, only the item itself is missing from the list.
        for (const int32_t item : board_.list()) {
            if (again_[item] == query_) continue;
            board_.change(item, -board_.score(item));
            note_loss(item, sums);
        }
    }

  private:
    int64_t key_of(int64_t candidate) const { return clicks_.keys[near_.found[candidate]]; }

    // Add a candidate's weight to the scores of its items, or take it away.
    void change(int64_t candidate, int64_t sign) {
        add(near_.found[candidate], sign * near_.weights[candidate], -1);
    }

    // Add a weight to the scores of a session's items, but for the one left out.
    void add(int32_t session, int64_t weight, int32_t left_out) {
        if (weight == 0) return;
        for (const int32_t item : clicks_.train.items_of(session))
            if (item != last_ && item != left_out)
                board_.change(
                    item, clicks_.use_idf ? weight * clicks_.train.idf_of(item, shift_) : weight);
    }

    // Add what the value of the list has lost by the changes, and undo them.
    void note_loss(int64_t player, Sums& sums) {
        const double loss = value_ - board_.value_after();
        if (loss != 0.0) sums.at(player).exact += loss;
        board_.undo();
    }

    // A candidate without one of its clicks; of similarity 0 where it is none any more.
    Strength without_click(int64_t row, int64_t candidate) const {
        const int32_t session = near_.found[candidate], item = clicks_.row_items[row];
        if (clicks_.row_offsets[session + 1] - clicks_.row_offsets[session] == 1) return {0, 0};
        int64_t similarity = near_.sims[candidate];
        if (clicks_.row_repeated[row] || seen_[item] != query_)
            return {similarity, near_.weights[candidate]};
        similarity -= length_ - recency_of_[item];
        int64_t newest = length_;
        for (const int32_t other : clicks_.train.items_of(session))
            if (other != item && seen_[other] == query_)
                newest = std::min(newest, recency_of_[other]);
        return {similarity, weight_of(similarity, newest)};
    }

    // Add the neighbours that the query has where an item is in no session.
    void add_neighbours_without(int32_t item) {
        other_items_.clear(), other_recency_.clear();
        for (int64_t j = 0; j < n_distinct_; ++j) {
            if (items_[j] == item) continue;
            other_items_.push_back(items_[j]);
            other_recency_.push_back(recency_[j]);
        }
        const int64_t n_items = static_cast<int64_t>(other_items_.size());
        // Sessions may move back in time, so as many as that are wanted beyond the m most recent.
        int64_t n_moved;
        for (int64_t limit = clicks_.m;; limit = std::max(clicks_.m + n_moved, limit + 1)) {
            others_.gather({other_items_.data(), n_items}, {other_recency_.data(), n_items},
                           length_, clicks_.train, limit);
            n_moved = 0;
            for (const int32_t session : others_.found)
                n_moved += clicks_.time_items[session] == item;
            if (others_.size() < limit || others_.size() - n_moved >= clicks_.m) break;
        }
        if (n_moved > 0) {
            keys_.clear();
            for (const int32_t session : others_.found)
                keys_.push_back(clicks_.time_items[session] == item ? clicks_.time_keys[session]
                                                                    : clicks_.keys[session]);
            others_.reorder({keys_.data(), others_.size()});
        }
        const int64_t n_pool = std::min(others_.size(), clicks_.m);
        others_.rank(n_pool);
        for (int64_t rank = 0; rank < std::min(n_pool, clicks_.k); ++rank) {
            const int32_t c = others_.order[rank];
            add(others_.found[c], others_.weights[c], item);
        }
    }

    const QueryArrays& queries_;
    const Clicks& clicks_;
    Board board_;
    // By item: the last query that had it, its recency there, and the last query that is asked
    // again without it.
    Array<int64_t> seen_, recency_of_, again_;
    // The query: its number, length, last item, distinct items and their recency, value.
    int64_t query_ = -1, length_ = 0, n_distinct_ = 0, shift_ = 0;
    int32_t last_ = -1;
    double value_ = 0.0;
    std::vector<int32_t> items_, recency_;
    // Its candidates and the next one after them, of whom so many are in the pool and neighbours.
    Candidates near_;
    int64_t n_pool_ = 0, n_near_ = 0;
    std::vector<bool> is_near_;
    // Without an item.
    Candidates others_;
    std::vector<int32_t> again_items_, other_items_, other_recency_;
    std::vector<int64_t> keys_;
};

}  // namespace

// Effect of deleting each click on queries [first, last): value with it minus value without it.
static void leave_out_clicks(int64_t first, int64_t last, const QueryArrays& queries,
                             const Clicks& clicks, const Utility& utility, Sums& sums) {
    ClickDeletions deletions(queries, clicks, utility);
    for (int64_t query = first; query < last; ++query) {
        sums.note_values(query, deletions.ask(query), 0.0);
        deletions.without_clicks(sums);
    }
}

// Effect of deleting all clicks on each item on queries [first, last).
static void leave_out_items(int64_t first, int64_t last, const QueryArrays& queries,
                            const Clicks& clicks, const Utility& utility, Sums& sums) {
    ClickDeletions deletions(queries, clicks, utility);
    for (int64_t query = first; query < last; ++query) {
        sums.note_values(query, deletions.ask(query), 0.0);
        deletions.without_items(sums);
    }
}

}  // namespace whence

void bind_click_deletions(nb::module_& module) {
    whence::note_layout<whence::Clicks>("Clicks");
    whence::kernel(module, "leave_out_clicks", whence::leave_out_clicks);
    whence::kernel(module, "leave_out_items", whence::leave_out_items);
}

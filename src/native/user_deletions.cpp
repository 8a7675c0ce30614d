// TIFU-kNN without one interaction, or without one item: exactly what refitting gives.
//
// What a deletion makes of a user is a *variant* of them: some entries of the vector have other
// values, and one may be gone. Vectors are whole numbers, so sums and distances of variants are
// exact whatever the order in which they are put together.
#include "baskets.h"
#include "board.h"
#include "sums.h"

namespace whence {

// Users after a deletion; see whence.valuation._deletions.Variants.
struct Variants {
    Vector<const int64_t> offsets, credited, entry_offsets, entries;
    Vector<const double> values;
    Vector<const int64_t> own, neighbour, gone;
    Vector<const double> norms;
    FIELDS(offsets, credited, entry_offsets, entries, values, own, neighbour, gone, norms)
};

namespace {

constexpr double INFINITE = std::numeric_limits<double>::infinity();

// A user's vector: items, values for distances, and what they add to the user's own scores.
struct OwnVector {
    Vector<const int32_t> items;
    Vector<const double> values;
    Vector<const int64_t> weights;
};

class UserDeletions {
  public:
    UserDeletions(const QueryArrays& queries, const Users& users, const Variants& variants,
                  const Utility& utility)
        : queries_(queries),
          users_(users),
          index_(users.train),
          vectors_(users.train.vectors),
          variants_(variants),
          board_(queries, utility, index_.n_items()),
          shared_(index_.n_users(), 0.0),
          distance_(index_.n_users(), 0.0),
          before_(index_.n_users(), 0.0),
          nearest_(index_.n_users()),
          others_(index_.n_users()),
          near_of_(index_.n_users(), -1),
          deleted_from_(index_.n_users(), -1),
          chosen_(index_.n_users(), -1),
          owned_(index_.n_items(), -1),
          own_value_(index_.n_items(), 0.0) {}

    bool has_history(int64_t query) const { return users_.own.size_of(query) > 0; }

    // Add what a query's value loses without each row.
    void without_rows(int64_t query, Sums& sums) {
        open(query, std::min(users_.k + 1, index_.n_users()), sums);
        for (int32_t other = 0; other < index_.n_users(); ++other)
            if (other != user_) without_rows_of(other, sums);
        std::fill(shared_.begin(), shared_.end(), 0.0);
        if (user_ < 0) return;
        for (int64_t variant = variants_.offsets[user_]; variant < variants_.offsets[user_ + 1];
             ++variant)
            if (is_another(variant)) {
                become(variant);
                note_loss(variants_.credited[variant], 1, sums);
            }
    }

    // Add what a query's value loses without all rows with each item. The variants are the entries
    // of the vectors: the user without the item of the entry.
    void without_items(int64_t query, Sums& sums) {
        open(query, index_.n_users(), sums);
        for (int32_t item = 0; item < index_.n_items(); ++item)
            if (owned_[item] != query_) without_item_of_others(item, sums);
        std::fill(shared_.begin(), shared_.end(), 0.0);
        for (int64_t place = 0; place < own_.items.size; ++place) {
            without_own_item(place);
            note_loss(own_.items[place], user_ >= 0 ? 1 : 0, sums);
        }
    }

  private:
    // Find the nearest users of a query, settle the scores and measure the overlaps.
    void open(int64_t query, int64_t limit, Sums& sums) {
        query_ = query;
        user_ = queries_.users[query];
        own_ = {users_.own.items_of(query), users_.own.values_of(query), users_.own.own_of(query)};
        board_.begin(query, -1);
        found_ = find_nearest(own_, limit);
        near_ = std::min(found_, users_.k);
        add_own(own_, std::max<int64_t>(near_, 1));
        for (int64_t j = 0; j < near_; ++j) {
            near_of_[nearest_[j]] = query;
            add_user(nearest_[j], 1);
        }
        mark_own(own_);
        value_ = board_.settle();
        sums.note_values(query, value_, 0.0);
        norm_ = measure_overlaps(own_);
    }

    // Add what the value has lost by the changes, and undo them.
    void note_loss(int64_t player, int64_t column, Sums& sums) {
        const double loss = value_ - board_.value_after();
        if (loss != 0.0) sums.at(player, column).exact += loss;
        board_.undo();
    }

    int64_t find_nearest(const OwnVector& own, int64_t limit) {
        return nearest_users(own.items, own.values, user_, users_.euclidean, index_, shared_,
                             distance_, nearest_.slice(0, limit));
    }

    void mark_own(const OwnVector& own) {
        for (int64_t e = 0; e < own.items.size; ++e) {
            owned_[own.items[e]] = query_;
            own_value_[own.items[e]] = own.values[e];
        }
    }

    // Add up in `shared_` what every user has in common with a vector; returns its squared norm.
    double measure_overlaps(const OwnVector& own) {
        double norm = 0.0;
        for (int64_t e = 0; e < own.items.size; ++e) {
            const double value = own.values[e];
            norm += value * value;
            const int64_t end = index_.posting_offsets[own.items[e] + 1];
            for (int64_t p = index_.posting_offsets[own.items[e]]; p < end; ++p)
                shared_[index_.postings[p]] +=
                    users_.euclidean ? value * vectors_.values[index_.entries[p]] : 1.0;
        }
        return norm;
    }

    // Distance of a user's variant from a vector of the query's user, of n_own items; infinite
    // where they are no neighbour. `shared_` holds the overlap with the user as they were.
    double variant_distance(int32_t user, int64_t variant, int64_t n_own, double norm) const {
        double shared = shared_[user];
        const int64_t gone = variants_.gone[variant];
        const int64_t size = vectors_.size_of(user) - (gone >= 0);
        if (users_.euclidean) {
            if (size == 0) return INFINITE;
            for (int64_t e = variants_.entry_offsets[variant];
                 e < variants_.entry_offsets[variant + 1]; ++e) {
                const int64_t entry = variants_.entries[e];
                const int32_t item = vectors_.items[entry];
                if (owned_[item] == query_)
                    shared += own_value_[item] * (variants_.values[e] - vectors_.values[entry]);
            }
            return norm + variants_.norms[variant] - 2.0 * shared;
        }
        if (gone >= 0 && owned_[vectors_.items[gone]] == query_) shared -= 1.0;
        if (shared <= 0) return INFINITE;
        return -shared / (static_cast<double>(n_own + size) - shared);
    }

    // Whether a user at some distance comes after another at theirs.
    bool comes_after(double distance, int32_t user, int32_t other) const {
        return distance > distance_[other] || (distance == distance_[other] && user > other);
    }

    bool is_another(int64_t variant) const {
        return variants_.entry_offsets[variant] < variants_.entry_offsets[variant + 1];
    }

    // Add a user's vector to the scores, or take it away.
    void add_user(int32_t user, int64_t sign) {
        for (int64_t e = vectors_.offsets[user]; e < vectors_.offsets[user + 1]; ++e)
            board_.change(vectors_.items[e], sign * vectors_.neighbour[e]);
    }

    // Change the scores as a neighbour becomes their variant.
    void replace_by(int64_t variant) {
        for (int64_t e = variants_.entry_offsets[variant]; e < variants_.entry_offsets[variant + 1];
             ++e) {
            const int64_t entry = variants_.entries[e];
            board_.change(vectors_.items[entry],
                          variants_.neighbour[e] - vectors_.neighbour[entry]);
        }
    }

    // Add a vector of the query's own user some times.
    void add_own(const OwnVector& own, int64_t times) {
        if (times == 0) return;
        for (int64_t e = 0; e < own.items.size; ++e)
            board_.change(own.items[e], times * own.weights[e]);
    }

    // The query's user after a deletion.
    OwnVector own_variant(int64_t variant) {
        const int64_t start = vectors_.offsets[user_], gone = variants_.gone[variant];
        const Vector<const int32_t> items = vectors_.items_of(user_);
        const Vector<const double> values = vectors_.values_of(user_);
        const Vector<const int64_t> weights = vectors_.own_of(user_);
        variant_items_.assign(items.begin(), items.end());
        variant_values_.assign(values.begin(), values.end());
        variant_weights_.assign(weights.begin(), weights.end());
        for (int64_t e = variants_.entry_offsets[variant]; e < variants_.entry_offsets[variant + 1];
             ++e) {
            variant_values_[variants_.entries[e] - start] = variants_.values[e];
            variant_weights_[variants_.entries[e] - start] = variants_.own[e];
        }
        if (gone >= 0) {
            variant_items_.erase(variant_items_.begin() + (gone - start));
            variant_values_.erase(variant_values_.begin() + (gone - start));
            variant_weights_.erase(variant_weights_.begin() + (gone - start));
        }
        const auto n = static_cast<int64_t>(variant_items_.size());
        return {
            {variant_items_.data(), n}, {variant_values_.data(), n}, {variant_weights_.data(), n}};
    }

    // Add what the query's value loses without each row of another user.
    void without_rows_of(int32_t other, Sums& sums) {
        const int64_t n_own = own_.items.size;
        const bool is_near = near_of_[other] == query_;
        if (!is_near) {
            const double shared = shared_[other];
            const int64_t size = vectors_.size_of(other);
            if (size == 0 || (!users_.euclidean && shared == 0)) return;
            // The nearest that a user can come is by losing an item that the query's user has not.
            if (!users_.euclidean &&
                (shared == static_cast<double>(size) ||
                 comes_after(-shared / (static_cast<double>(n_own + size - 1) - shared), other,
                             nearest_[near_ - 1])))
                return;
        }
        for (int64_t variant = variants_.offsets[other]; variant < variants_.offsets[other + 1];
             ++variant) {
            if (!is_another(variant)) continue;
            const double distance = variant_distance(other, variant, n_own, norm_);
            if (!is_near) {
                if (comes_after(distance, other, nearest_[near_ - 1])) continue;
                add_user(nearest_[near_ - 1], -1);
                add_user(other, 1);
                replace_by(variant);
            } else if (distance == INFINITE ||
                       (found_ > near_ && comes_after(distance, other, nearest_[near_]))) {
                add_user(other, -1);
                if (found_ > near_)
                    add_user(nearest_[near_], 1);
                else
                    add_own(own_, std::max<int64_t>(near_ - 1, 1) - std::max<int64_t>(near_, 1));
            } else {
                replace_by(variant);
            }
            note_loss(variants_.credited[variant], 0, sums);
        }
    }

    // Change the scores as the query's own user becomes a variant.
    void become(int64_t variant) {
        if (variants_.gone[variant] < 0 && !users_.euclidean) {
            // The same items, so the same neighbours.
            for (int64_t e = variants_.entry_offsets[variant];
                 e < variants_.entry_offsets[variant + 1]; ++e) {
                const int64_t entry = variants_.entries[e];
                board_.change(vectors_.items[entry], std::max<int64_t>(near_, 1) *
                                                         (variants_.own[e] - vectors_.own[entry]));
            }
            return;
        }
        const OwnVector own = own_variant(variant);
        board_.clear();
        if (own.items.size == 0) return;
        const int64_t n = find_nearest(own, std::min(users_.k, index_.n_users()));
        add_own(own, std::max<int64_t>(n, 1));
        for (int64_t j = 0; j < n; ++j) add_user(nearest_[j], 1);
    }

    // Add what the value loses where nobody has an item, which the query's user has not anyway.
    void without_item_of_others(int32_t item, Sums& sums) {
        ++deletion_;
        const int64_t first = index_.posting_offsets[item], last = index_.posting_offsets[item + 1];
        bool is_affected = false, are_others = false;
        for (int64_t p = first; p < last; ++p) {
            const int32_t other = index_.postings[p];
            const bool is_near = near_of_[other] == query_;
            if (other == user_ || !(is_near || users_.euclidean || shared_[other] > 0)) continue;
            const double distance =
                variant_distance(other, index_.entries[p], own_.items.size, norm_);
            is_affected |= is_near;
            if (near_ > 0)
                are_others |= is_near == comes_after(distance, other, nearest_[near_ - 1]);
        }
        if (are_others) {
            change_neighbours(item);
        } else if (is_affected) {
            for (int64_t p = first; p < last; ++p)
                if (near_of_[index_.postings[p]] == query_) replace_by(index_.entries[p]);
        } else {
            return;
        }
        note_loss(item, 0, sums);
    }

    // Change the scores where without an item the neighbours may be others: they are among the
    // nearest of those without the item, and those with it.
    void change_neighbours(int32_t item) {
        const int64_t first = index_.posting_offsets[item], last = index_.posting_offsets[item + 1];
        for (int64_t p = first; p < last; ++p) {
            const int32_t other = index_.postings[p];
            deleted_from_[other] = deletion_;
            before_[other] = distance_[other];
            distance_[other] =
                other == user_ ? INFINITE
                               : variant_distance(other, index_.entries[p], own_.items.size, norm_);
        }
        int64_t n = 0;
        for (int64_t j = 0; j < found_ && n < users_.k; ++j)
            if (deleted_from_[nearest_[j]] != deletion_) others_[n++] = nearest_[j];
        std::reverse(others_.begin(), others_.begin() + n);  // farthest first, they are a heap
        for (int64_t p = first; p < last; ++p)
            if (distance_[index_.postings[p]] < INFINITE) n = push(index_.postings[p], n);
        for (int64_t j = 0; j < n; ++j) {
            chosen_[others_[j]] = deletion_;
            if (near_of_[others_[j]] != query_) add_user(others_[j], 1);
        }
        for (int64_t j = 0; j < near_; ++j)
            if (chosen_[nearest_[j]] != deletion_) add_user(nearest_[j], -1);
        for (int64_t p = first; p < last; ++p) {
            if (chosen_[index_.postings[p]] == deletion_) replace_by(index_.entries[p]);
            distance_[index_.postings[p]] = before_[index_.postings[p]];
        }
        add_own(own_, std::max<int64_t>(n, 1) - std::max<int64_t>(near_, 1));
    }

    // Push a user onto the heap `others_` of the k nearest so far.
    int64_t push(int32_t user, int64_t n) {
        return push_nearest(user, n, {others_.begin(), users_.k}, Nearer{distance_});
    }

    // Change the scores where nobody has an item that the query's user has. A user never seen in
    // training, whose history is in the query, keeps it.
    void without_own_item(int64_t place) {
        ++deletion_;
        const int32_t item = own_.items[place];
        const OwnVector own = user_ < 0 ? own_ : own_variant(vectors_.offsets[user_] + place);
        board_.clear();
        if (own.items.size == 0) return;
        for (const int32_t other : own_.items) owned_[other] = -1;
        mark_own(own);
        const double norm = measure_overlaps(own);
        const int64_t n = nearest_without(item, own.items.size, norm);
        std::fill(shared_.begin(), shared_.end(), 0.0);
        add_own(own, std::max<int64_t>(n, 1));
        for (int64_t j = 0; j < n; ++j) {
            chosen_[others_[j]] = deletion_;
            add_user(others_[j], 1);
        }
        for (int64_t p = index_.posting_offsets[item]; p < index_.posting_offsets[item + 1]; ++p)
            if (chosen_[index_.postings[p]] == deletion_) replace_by(index_.entries[p]);
    }

    // Find the k nearest vectors, in `others_`, where nobody has an item; returns how many.
    int64_t nearest_without(int32_t item, int64_t n_own, double norm) {
        for (int64_t p = index_.posting_offsets[item]; p < index_.posting_offsets[item + 1]; ++p) {
            const int32_t other = index_.postings[p];
            deleted_from_[other] = deletion_;
            distance_[other] = variant_distance(other, index_.entries[p], n_own, norm);
        }
        int64_t n = 0;
        for (int32_t other = 0; other < index_.n_users(); ++other) {
            const int64_t size = vectors_.size_of(other);
            const double shared = shared_[other];
            if (other == user_ || size == 0) continue;
            if (deleted_from_[other] != deletion_) {
                if (users_.euclidean)
                    distance_[other] = norm + index_.squared_norms[other] - 2.0 * shared;
                else if (shared > 0)
                    distance_[other] = -shared / (static_cast<double>(n_own + size) - shared);
                else
                    continue;
            }
            if (distance_[other] < INFINITE) n = push(other, n);
        }
        return n;
    }

    const QueryArrays& queries_;
    const Users& users_;
    const UserIndex& index_;
    const UserVectors& vectors_;
    const Variants& variants_;
    Board board_;
    // The query: its number, its user in the training data (-1 if unseen) and their vector with its
    // squared norm, and the value with everything.
    int64_t query_ = -1;
    int32_t user_ = -1;
    OwnVector own_;
    double norm_ = 0.0, value_ = 0.0;
    int64_t found_ = 0, near_ = 0;  // users in `nearest_`, and how many of them are neighbours
    // By user: overlap with the query (0 between queries), distance, and distance kept aside.
    Array<double> shared_, distance_, before_;
    Array<int32_t> nearest_, others_;
    // By user: the last query whose neighbour they are; the last deletion that they are a variant
    // in, and a neighbour after.
    Array<int64_t> near_of_, deleted_from_, chosen_;
    int64_t deletion_ = -1;
    // By item: the last query whose user has it, and the value.
    Array<int64_t> owned_;
    Array<double> own_value_;
    std::vector<int32_t> variant_items_;
    std::vector<double> variant_values_;
    std::vector<int64_t> variant_weights_;
};

}  // namespace

// Effect of deleting each row on queries [first, last): value with it minus value without it, as a
// row of another user and as one of the query's own.
static void leave_out_interactions(int64_t first, int64_t last, const QueryArrays& queries,
                                   const Users& users, const Variants& variants,
                                   const Utility& utility, Sums& sums) {
    UserDeletions deletions(queries, users, variants, utility);
    for (int64_t query = first; query < last; ++query)
        if (deletions.has_history(query)) deletions.without_rows(query, sums);
}

// Effect of deleting all rows with each item on queries [first, last), of users who do not have the
// item and of those who do.
static void leave_out_items_of_users(int64_t first, int64_t last, const QueryArrays& queries,
                                     const Users& users, const Variants& variants,
                                     const Utility& utility, Sums& sums) {
    UserDeletions deletions(queries, users, variants, utility);
    for (int64_t query = first; query < last; ++query)
        if (deletions.has_history(query)) deletions.without_items(query, sums);
}

}  // namespace whence

void bind_user_deletions(nb::module_& module) {
    whence::note_layout<whence::Variants>("Variants");
    whence::kernel(module, "leave_out_interactions", whence::leave_out_interactions);
    whence::kernel(module, "leave_out_items_of_users", whence::leave_out_items_of_users);
}

// Nearest neighbours of users by the vectors of their baskets.
#pragma once

#include "ranking.h"

namespace whence {

// See whence.models.knn.tifu.UserVectors.
struct UserVectors {
    Vector<const int64_t> offsets;
    Vector<const int32_t> items;
    Vector<const double> values;
    Vector<const int64_t> own, neighbour;
    FIELDS(offsets, items, values, own, neighbour)

    int64_t size_of(int64_t row) const { return offsets[row + 1] - offsets[row]; }
    Vector<const int32_t> items_of(int64_t row) const {
        return items.slice(offsets[row], offsets[row + 1]);
    }
    Vector<const double> values_of(int64_t row) const {
        return values.slice(offsets[row], offsets[row + 1]);
    }
    Vector<const int64_t> own_of(int64_t row) const {
        return own.slice(offsets[row], offsets[row + 1]);
    }
};

// See whence.models.knn.tifu.UserIndex.
struct UserIndex {
    UserVectors vectors;
    Vector<const double> squared_norms;
    Vector<const int64_t> posting_offsets;
    Vector<const int32_t> postings;
    Vector<const int64_t> entries;
    FIELDS(vectors, squared_norms, posting_offsets, postings, entries)

    int64_t n_users() const { return vectors.offsets.size - 1; }
    int64_t n_items() const { return posting_offsets.size - 1; }
};

// A fitted TIFUKNN and the users asked about; see whence.valuation.games.Users.
struct Users {
    UserVectors own;
    UserIndex train;
    bool euclidean;
    int64_t k;
    int64_t limit;
    FIELDS(own, train, euclidean, k, limit)
};

// Users by nearness: smaller distance, then smaller number. Heaps of it have the farthest on top.
struct Nearer {
    Vector<const double> distance;

    bool operator()(int32_t a, int32_t b) const {
        return distance[a] < distance[b] || (distance[a] == distance[b] && a < b);
    }
};

// Push a user onto a heap of the n nearest so far, heap.size at most. Returns how many it holds.
inline int64_t push_nearest(int32_t user, int64_t n, Vector<int32_t> heap, const Nearer& nearer) {
    int32_t* const first = heap.data;
    if (n < heap.size) {
        first[n++] = user;
        std::push_heap(first, first + n, nearer);
    } else if (n > 0 && nearer(user, first[0])) {
        std::pop_heap(first, first + n, nearer);
        first[n - 1] = user;
        std::push_heap(first, first + n, nearer);
    }
    return n;
}

// The users nearest to a user vector, nearest first, ties by user number.
//
// own_items, own_values: the vector; own_user: number of its user, who is no neighbour of their
// own, -1 if unseen; `euclidean`, else by the Jaccard similarity of the item sets, above 0.
// shared, distance: [n_users], scratch; shared is all zero and left so. nearest: of as many as are
// wanted, written. Returns how many there are.
inline int64_t nearest_users(Vector<const int32_t> own_items, Vector<const double> own_values,
                             int64_t own_user, bool euclidean, const UserIndex& index,
                             Vector<double> shared, Vector<double> distance,
                             Vector<int32_t> nearest) {
    const UserVectors& vectors = index.vectors;
    double own_norm = 0.0;
    for (int64_t e = 0; e < own_items.size; ++e) {
        const double value = own_values[e];
        own_norm += value * value;
        const int64_t end = index.posting_offsets[own_items[e] + 1];
        for (int64_t p = index.posting_offsets[own_items[e]]; p < end; ++p)
            shared[index.postings[p]] += euclidean ? value * vectors.values[index.entries[p]] : 1.0;
    }
    const Nearer nearer{distance};
    int64_t n = 0;
    for (int64_t user = 0; user < index.n_users(); ++user) {
        const int64_t size = vectors.size_of(user);
        const double common = shared[user];
        shared[user] = 0.0;
        if (user == own_user || size == 0) continue;
        if (euclidean)
            distance[user] = own_norm + index.squared_norms[user] - 2.0 * common;
        else if (common > 0)
            distance[user] = -common / (static_cast<double>(own_items.size + size) - common);
        else
            continue;
        n = push_nearest(static_cast<int32_t>(user), n, nearest, nearer);
    }
    std::sort_heap(nearest.begin(), nearest.begin() + n, nearer);
    return n;
}

}  // namespace whence

// Sequential nearest neighbours: the sessions that a query has something in common with.
//
// Sessions are numbered by position: 0 is the most recent, by (last timestamp, session number).
#pragma once

#include "queries.h"
#include "ranking.h"

namespace whence {

// Weights of a query's items are (9 - recency) of their sessions' similarity, from 9 to 1.
constexpr int64_t RECENT_EVENTS = 9;

// See whence.models.knn.vmis.SessionIndex.
struct SessionIndex {
    Vector<const int32_t> source_of;
    Vector<const int64_t> session_offsets;
    Vector<const int32_t> session_items;
    Vector<const int64_t> posting_offsets;
    Vector<const int32_t> postings;
    Vector<const double> idf;
    FIELDS(source_of, session_offsets, session_items, posting_offsets, postings, idf)

    int64_t n_items() const { return posting_offsets.size - 1; }
    Vector<const int32_t> items_of(int64_t session) const {
        return session_items.slice(session_offsets[session], session_offsets[session + 1]);
    }
    // idf of an item in fixed point.
    int64_t idf_of(int64_t item, int64_t shift) const {
        return std::llrint(idf[item] * static_cast<double>(int64_t{1} << shift));
    }
};

// Distinct items of history[start:end] with the recency of their last occurrence, the most recent
// first.
//
// last_seen: [n_items], scratch, where `stamp` marks this query; items, recency: of at least
// (end - start), written. Returns the number of distinct items, U.
inline int64_t distinct_recent(Vector<const int32_t> history, int64_t start, int64_t end,
                               Vector<int64_t> last_seen, int64_t stamp, Vector<int32_t> items,
                               Vector<int32_t> recency) {
    int64_t n = 0;
    for (int64_t position = end - 1; position >= start; --position) {
        const int32_t item = history[position];
        if (last_seen[item] == stamp) continue;
        last_seen[item] = stamp;
        items[n] = item;
        recency[n++] = static_cast<int32_t>(end - 1 - position);
    }
    return n;
}

// Bits of fixed point for idf weights, so that no sum overflows 64 bits.
inline int64_t idf_shift(int64_t length, int64_t k) {
    int64_t bits = 0;
    for (int64_t bound = RECENT_EVENTS * length * (length + 1) / 2 * k; bound > 0; bound >>= 1)
        ++bits;
    return std::max<int64_t>(8, std::min<int64_t>(30, 46 - bits));
}

// Weight of a session: (10 - p) times its similarity, where its newest item of the query is the
// p-th from the end.
inline int64_t weight_of(int64_t similarity, int64_t newest) {
    return newest < RECENT_EVENTS ? (RECENT_EVENTS - newest) * similarity : 0;
}

// The most recent sessions that share an item with a query, one query after the other.
class Candidates {
  public:
    std::vector<int32_t> found;    // positions, ascending: the most recent first
    std::vector<int64_t> sims;     // similarity times U
    std::vector<int64_t> weights;  // (10 - p) * similarity times U
    std::vector<int32_t> order;    // the candidate at each rank, after `rank`

    int64_t size() const { return static_cast<int64_t>(found.size()); }

    // Merge the posting lists of a query's items into its `limit` most recent sessions.
    //
    // items, recency: [U], the distinct items and their recency; length: of the query.
    void gather(Vector<const int32_t> items, Vector<const int32_t> recency, int64_t length,
                const SessionIndex& index, int64_t limit) {
        constexpr int32_t END = std::numeric_limits<int32_t>::max();
        found.clear(), sims.clear(), weights.clear();
        heads_.resize(items.size);  // the next session of each item
        places_.resize(items.size);
        for (int64_t j = 0; j < items.size; ++j) {
            places_[j] = index.posting_offsets[items[j]];
            heads_[j] = head(places_[j], items[j], index);
        }
        while (size() < limit) {
            int32_t best = END;
            for (int64_t j = 0; j < items.size; ++j) best = std::min(best, heads_[j]);
            if (best == END) break;
            int64_t similarity = 0, newest = length;
            for (int64_t j = 0; j < items.size; ++j) {
                if (heads_[j] != best) continue;
                similarity += length - recency[j];
                newest = std::min<int64_t>(newest, recency[j]);
                heads_[j] = head(++places_[j], items[j], index);
            }
            found.push_back(best);
            sims.push_back(similarity);
            weights.push_back(weight_of(similarity, newest));
        }
    }

    // Put them in the order of other keys [n], ascending.
    void reorder(Vector<const int64_t> keys) {
        Array<int64_t> places(size());
        stable_argsort(keys, places);
        const Candidates as_found = *this;
        for (int64_t i = 0; i < size(); ++i) {
            found[i] = as_found.found[places[i]];
            sims[i] = as_found.sims[places[i]];
            weights[i] = as_found.weights[places[i]];
        }
    }

    // Order the first n by (similarity descending, more recent first), a strict total order.
    void rank(int64_t n) {
        order.resize(n);
        const int64_t largest = n > 0 ? *std::max_element(sims.begin(), sims.begin() + n) : 0;
        if (largest > 4096) {
            for (int64_t c = 0; c < n; ++c) order[c] = static_cast<int32_t>(c);
            std::stable_sort(order.begin(), order.end(),
                             [this](int32_t a, int32_t b) { return sims[a] > sims[b]; });
            return;
        }
        counts_.assign(largest + 2, 0);  // sort by counting
        for (int64_t c = 0; c < n; ++c) ++counts_[largest - sims[c] + 1];
        for (int64_t value = 1; value <= largest; ++value) counts_[value] += counts_[value - 1];
        for (int64_t c = 0; c < n; ++c)
            order[counts_[largest - sims[c]]++] = static_cast<int32_t>(c);
    }

  private:
    static int32_t head(int64_t place, int32_t item, const SessionIndex& index) {
        return place < index.posting_offsets[item + 1] ? index.postings[place]
                                                       : std::numeric_limits<int32_t>::max();
    }

    std::vector<int32_t> heads_;
    std::vector<int64_t> places_;
    std::vector<int32_t> counts_;
};

}  // namespace whence

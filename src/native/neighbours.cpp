// Recommendations of nearest neighbours: VMIS-kNN of sessions, TIFU-kNN of baskets.
#include "baskets.h"
#include "sessions.h"

namespace whence {

// VMIS-kNN: call `take(query, scores, unit)` with the scores of each query, the sums over its k
// neighbours of weight by item, and the value of a score of 1.
template <class F>
static void ask_sessions(const QueryArrays& queries, const SessionIndex& index, bool use_idf,
                         int64_t m, int64_t k, F take) {
    ItemScores scores(index.n_items());
    Array<int64_t> seen(index.n_items(), -1);
    std::vector<int32_t> items, recency;
    Candidates candidates;
    for (int64_t query = 0; query < queries.history_start.size; ++query) {
        const int64_t start = queries.history_start[query], end = queries.history_end[query];
        const int64_t length = end - start;
        if (length == 0) continue;
        items.resize(length), recency.resize(length);
        const int64_t n = distinct_recent(queries.history_items, start, end, seen, query,
                                          {items.data(), length}, {recency.data(), length});
        candidates.gather({items.data(), n}, {recency.data(), n}, length, index, m);
        candidates.rank(candidates.size());
        const int64_t shift = use_idf ? idf_shift(length, k) : 0;
        const int32_t last = queries.history_items[end - 1];
        for (int64_t rank = 0; rank < std::min(k, candidates.size()); ++rank) {
            const int64_t weight = candidates.weights[candidates.order[rank]];
            if (weight == 0) continue;
            for (const int32_t item : index.items_of(candidates.found[candidates.order[rank]]))
                if (item != last)
                    scores.add(item, use_idf ? weight * index.idf_of(item, shift) : weight);
        }
        const double denominator = static_cast<double>(int64_t{1} << shift);
        take(query, scores, 1.0 / (10.0 * static_cast<double>(n) * denominator));
    }
}

// Recommend for all queries: items [Q, length], filled up with -1, and their scores, with 0.
static std::tuple<Grid<int32_t>, Grid<double>> vmis_recommend(QueryArrays queries,
                                                              SessionIndex index, bool use_idf,
                                                              int64_t m, int64_t k,
                                                              int64_t length) {
    Grid<int32_t> lists(queries.history_start.size, length, -1);
    Grid<double> list_scores(lists.rows, length, 0.0);
    ask_sessions(
        queries, index, use_idf, m, k, [&](int64_t query, ItemScores& scores, double unit) {
            scores.move_best(lists[query], list_scores[query],
                             [unit](int64_t score) { return static_cast<double>(score) * unit; });
        });
    return {std::move(lists), std::move(list_scores)};
}

// Score every item for all queries; out: [Q, n_items], zero, written.
static void vmis_score_all(QueryArrays queries, SessionIndex index, bool use_idf, int64_t m,
                           int64_t k, Matrix<double> out) {
    ask_sessions(
        queries, index, use_idf, m, k, [&](int64_t query, ItemScores& scores, double unit) {
            scores.move_all(out[query],
                            [unit](int64_t score) { return static_cast<double>(score) * unit; });
        });
}

// The candidates of one query: positions [n], most recent first, their weights, and
// the candidate at each rank. `limit`: how many are wanted at most.
static std::tuple<Array<int32_t>, Array<int64_t>, Array<int32_t>> session_candidates(
    int64_t query, QueryArrays queries, SessionIndex index, int64_t limit) {
    const int64_t start = queries.history_start[query], end = queries.history_end[query];
    const int64_t length = end - start;
    Array<int64_t> seen(index.n_items(), -1);
    Array<int32_t> items(length), recency(length);
    const int64_t n =
        distinct_recent(queries.history_items, start, end, seen, query, items, recency);
    Candidates candidates;
    candidates.gather(items.slice(0, n), recency.slice(0, n), length, index, limit);
    candidates.rank(candidates.size());
    return {copied(candidates.found), copied(candidates.weights), copied(candidates.order)};
}

// TIFU-kNN: call `take(query, scores, divisor)` with the scores of each query, the k neighbours'
// vectors plus as many times the own one, in steps of 2**-40 / divisor.
//
// own: vectors of the queries; users: [Q], their numbers, -1 if unseen.
template <class F>
static void ask_users(const UserVectors& own, Vector<const int32_t> users, bool euclidean,
                      int64_t k, const UserIndex& index, F take) {
    ItemScores scores(index.n_items());
    Array<double> shared(index.n_users(), 0.0), distance(index.n_users());
    Array<int32_t> nearest(std::min(k, index.n_users()));
    for (int64_t query = 0; query < users.size; ++query) {
        if (own.size_of(query) == 0) continue;
        const int64_t n = nearest_users(own.items_of(query), own.values_of(query), users[query],
                                        euclidean, index, shared, distance, nearest);
        const int64_t divisor = std::max<int64_t>(n, 1);
        for (int64_t e = own.offsets[query]; e < own.offsets[query + 1]; ++e)
            scores.add(own.items[e], divisor * own.own[e]);
        const UserVectors& vectors = index.vectors;
        for (int64_t j = 0; j < n; ++j)
            for (int64_t e = vectors.offsets[nearest[j]]; e < vectors.offsets[nearest[j] + 1]; ++e)
                scores.add(vectors.items[e], vectors.neighbour[e]);
        take(query, scores, divisor);
    }
}

// Recommend for all queries: items [Q, length], filled up with -1, and their scores, with 0.
// unit: value of one step of fixed point.
static std::tuple<Grid<int32_t>, Grid<double>> tifu_recommend(UserVectors own,
                                                              Vector<const int32_t> users,
                                                              bool euclidean, int64_t k,
                                                              UserIndex index, double unit,
                                                              int64_t length) {
    Grid<int32_t> lists(users.size, length, -1);
    Grid<double> list_scores(users.size, length, 0.0);
    ask_users(own, users, euclidean, k, index,
              [&](int64_t query, ItemScores& scores, int64_t divisor) {
                  scores.move_best(lists[query], list_scores[query], [=](int64_t score) {
                      return static_cast<double>(score) * unit / static_cast<double>(divisor);
                  });
              });
    return {std::move(lists), std::move(list_scores)};
}

// Score every item for all queries; out: [Q, n_items], zero, written.
static void tifu_score_all(UserVectors own, Vector<const int32_t> users, bool euclidean, int64_t k,
                           UserIndex index, double unit, Matrix<double> out) {
    ask_users(own, users, euclidean, k, index,
              [&](int64_t query, ItemScores& scores, int64_t divisor) {
                  scores.move_all(out[query], [=](int64_t score) {
                      return static_cast<double>(score) * unit / static_cast<double>(divisor);
                  });
              });
}

// The `limit` users nearest to a user vector, nearest first; see nearest_users.
static Array<int32_t> nearest_users_of(Vector<const int32_t> own_items,
                                       Vector<const double> own_values, int64_t own_user,
                                       bool euclidean, UserIndex index, int64_t limit) {
    Array<double> shared(index.n_users(), 0.0), distance(index.n_users());
    Array<int32_t> nearest(std::min(limit, index.n_users()));
    const int64_t n =
        nearest_users(own_items, own_values, own_user, euclidean, index, shared, distance, nearest);
    return std::move(nearest).shortened(n);
}

}  // namespace whence

void bind_neighbours(nb::module_& module) {
    using namespace whence;
    note_layout<QueryArrays>("QueryArrays");
    note_layout<Utility>("Utility");
    note_layout<SessionIndex>("SessionIndex");
    note_layout<UserVectors>("UserVectors");
    note_layout<UserIndex>("UserIndex");
    kernel(module, "vmis_recommend", vmis_recommend);
    kernel(module, "vmis_score_all", vmis_score_all);
    kernel(module, "session_candidates", session_candidates);
    kernel(module, "idf_shift", idf_shift);
    kernel(module, "tifu_recommend", tifu_recommend);
    kernel(module, "tifu_score_all", tifu_score_all);
    kernel(module, "nearest_users", nearest_users_of);
}

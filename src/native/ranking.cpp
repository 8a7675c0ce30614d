// Scores into lists, and into areas under the curve.
//
// What the numbers mean is said in whence.evaluation.ranking. A list holds items with a score
// above `floor` only, in the order (score descending, items that are no target before targets,
// item number ascending), so that a tie is never in the model's favour; it is padded with -1.
#include "arrays.h"

namespace whence {

namespace {

constexpr double INFINITE = std::numeric_limits<double>::infinity();

struct Candidate {
    double score;
    bool wanted;
    int32_t item;

    bool is_after(const Candidate& other) const {
        if (score != other.score) return score < other.score;
        if (wanted != other.wanted) return wanted;
        return item > other.item;
    }
};

// The best k candidates that were offered: a heap, whose root is the last of them.
class Best {
  public:
    explicit Best(int64_t k) : heap_(k) {}

    // Whether a score is too low, whatever else the candidate is.
    bool is_beyond(double score) const { return size_ == heap_.size && score < heap_[0].score; }

    void offer(const Candidate& candidate) {
        if (size_ < heap_.size) {
            int64_t place = size_++;
            while (place > 0) {
                const int64_t parent = (place - 1) / 2;
                if (!candidate.is_after(heap_[parent])) break;
                heap_[place] = heap_[parent];
                place = parent;
            }
            heap_[place] = candidate;
        } else if (size_ > 0 && heap_[0].is_after(candidate)) {
            replace_last(candidate);
        }
    }

    // Write the items into a row, best first; nothing is left.
    void drain(Vector<int32_t> row) {
        while (size_ > 0) {
            --size_;
            row[size_] = heap_[0].item;
            replace_last(heap_[size_]);
        }
    }

  private:
    void replace_last(const Candidate candidate) {
        int64_t place = 0;
        while (true) {
            int64_t child = 2 * place + 1;
            if (child >= size_) break;
            if (child + 1 < size_ && heap_[child + 1].is_after(heap_[child])) ++child;
            if (!heap_[child].is_after(candidate)) break;
            heap_[place] = heap_[child];
            place = child;
        }
        heap_[place] = candidate;
    }

    Array<Candidate> heap_;
    int64_t size_ = 0;
};

}  // namespace

// The best k items of each row of scores [Q, n_items], [Q, k].
//
// targets: [n], of all queries, those of query q from start[q] to end[q]; negative numbers are
// items that cannot be found. Items with a score of `floor` or below are left out.
template <class T>
static Grid<int32_t> best_lists(Matrix<const T> scores, Vector<const int32_t> targets,
                                Vector<const int64_t> start, Vector<const int64_t> end,
                                double floor, int64_t k) {
    Grid<int32_t> lists(scores.rows, k, -1);
    Array<int64_t> mark(scores.columns, 0);
    Best best(k);
    for (int64_t q = 0; q < scores.rows; ++q) {
        for (int64_t place = start[q]; place < end[q]; ++place)
            if (targets[place] >= 0) mark[targets[place]] = q + 1;
        const T* row = scores[q].data;
        for (int64_t item = 0; item < scores.columns; ++item) {
            const double score = row[item];
            // Most items end here: below the floor, or below the worst of a full list.
            if (!(score > floor) || best.is_beyond(score)) continue;
            best.offer({score, mark[item] == q + 1, static_cast<int32_t>(item)});
        }
        best.drain(lists[q]);
    }
    return lists;
}

// The best k of a target and its negatives, for each target, [E, k]; and the share of the negatives
// that may be recommended and that the target is scored above, ties counting half, [E]: 0 for a
// target that must not be recommended.
//
// owner: [E], row of `scores` [Q, n_items] of each target; target: [E], item number, negative for
// an item that cannot be found; negatives: [n], those of target e from start[e] to end[e],
// distinct and not the target.
template <class T>
static std::pair<Grid<int32_t>, Array<double>> best_candidates(
    Matrix<const T> scores, Vector<const int64_t> owner, Vector<const int32_t> target,
    Vector<const int32_t> negatives, Vector<const int64_t> start, Vector<const int64_t> end,
    double floor, int64_t k) {
    Grid<int32_t> lists(owner.size, k, -1);
    Array<double> above(owner.size, 0.0);
    Best best(k);
    for (int64_t e = 0; e < owner.size; ++e) {
        const T* row = scores[owner[e]].data;
        double own = -INFINITE;
        if (target[e] >= 0) {
            own = std::max<double>(floor, row[target[e]]);
            if (own > floor) best.offer({own, true, target[e]});
        }
        int64_t others = 0, twice = 0;
        for (int64_t place = start[e]; place < end[e]; ++place) {
            const double score = std::max<double>(floor, row[negatives[place]]);
            if (score > floor) best.offer({score, false, negatives[place]});
            if (score > -INFINITE) {
                ++others;
                twice += 2 * (own > score) + (own == score);
            }
        }
        if (others > 0) above[e] = static_cast<double>(twice) / static_cast<double>(2 * others);
        best.drain(lists[e]);
    }
    return {std::move(lists), std::move(above)};
}

// Area under the ROC curve of each row, [Q]: how often a target is scored above another item; 0
// where there is nothing to compare.
//
// Items that must not be recommended are left out; targets among them lose every comparison. With
// a finite `floor` the items at or below it tie with each other, those of the history apart, which
// must not be recommended. history: [m], known items, those of query q from history_start[q] to
// history_end[q]; the others as in best_lists.
template <class T>
static Array<double> areas_under_curve(Matrix<const T> scores, Vector<const int32_t> targets,
                                       Vector<const int64_t> start, Vector<const int64_t> end,
                                       Vector<const int32_t> history,
                                       Vector<const int64_t> history_start,
                                       Vector<const int64_t> history_end, double floor) {
    const int64_t n_items = scores.columns;
    int64_t lowest = 0;
    for (int64_t q = 0; q < scores.rows; ++q)
        for (int64_t place = start[q]; place < end[q]; ++place)
            lowest = std::min<int64_t>(lowest, targets[place]);
    Array<int64_t> mark(n_items - lowest, 0);
    Array<double> values(scores.rows, 0.0);
    std::vector<double> found;
    for (int64_t q = 0; q < scores.rows; ++q) {
        const int64_t seen = 2 * q + 1, wanted = 2 * q + 2;
        const T* row = scores[q].data;
        for (int64_t place = history_start[q]; place < history_end[q]; ++place)
            mark[history[place]] = seen;
        int64_t distinct = 0;
        found.clear();
        for (int64_t place = start[q]; place < end[q]; ++place) {
            const int32_t item = targets[place];
            int64_t& state = mark[item >= 0 ? item : n_items - 1 - item];
            const int64_t before = state;
            if (before == wanted) continue;
            state = wanted;
            ++distinct;
            if (item < 0) continue;
            const double score = row[item];
            if (score > floor || (floor > -INFINITE && before != seen))
                found.push_back(std::max(floor, score));
        }
        std::sort(found.begin(), found.end());
        int64_t others = 0, twice = 0;
        for (int64_t item = 0; item < n_items; ++item) {
            if (mark[item] == wanted) continue;
            double score = row[item];
            if (!(score > floor)) {
                if (floor == -INFINITE || mark[item] == seen) continue;
                score = floor;
            }
            ++others;
            const auto [below, up_to] = std::equal_range(found.begin(), found.end(), score);
            twice += 2 * (found.end() - up_to) + (up_to - below);
        }
        if (others > 0 && distinct > 0)
            values[q] = static_cast<double>(twice) /
                        (2.0 * static_cast<double>(distinct) * static_cast<double>(others));
    }
    return values;
}

}  // namespace whence

void bind_ranking(nb::module_& module) {
    using namespace whence;
    kernel(module, "best_lists", best_lists<float>);
    kernel(module, "best_lists", best_lists<double>);
    kernel(module, "best_candidates", best_candidates<float>);
    kernel(module, "best_candidates", best_candidates<double>);
    kernel(module, "areas_under_curve", areas_under_curve<float>);
    kernel(module, "areas_under_curve", areas_under_curve<double>);
}

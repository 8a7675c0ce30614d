// Negatives that a target is ranked among; see whence.evaluation.negatives.
//
// excluded: [m], items not to be drawn, those of query q from start[q] to end[q]; negative ones are
// none.
#include "random.h"

namespace whence {

// Number of items that negatives may be drawn from, [Q].
static Array<int64_t> count_drawable(Vector<const int32_t> excluded, Vector<const int64_t> start,
                                     Vector<const int64_t> end, int64_t n_items) {
    Array<int64_t> mark(n_items, 0), left(start.size, n_items);
    for (int64_t q = 0; q < start.size; ++q) {
        for (int64_t place = start[q]; place < end[q]; ++place) {
            const int32_t item = excluded[place];
            if (item < 0 || mark[item] == q + 1) continue;
            mark[item] = q + 1;
            --left[q];
        }
    }
    return left;
}

// Number from 0 to bound - 1: multiply-shift of 32 bits, uniform to within bound / 2^32.
static int64_t below(uint64_t state, int64_t bound) {
    return static_cast<int64_t>(((mix(state) >> 32) * static_cast<uint64_t>(bound)) >> 32);
}

// n items drawn uniformly, without replacement, for each target of each query, [targets, n].
//
// At least n items are left for each query. counts: [Q], number of targets of each query; first:
// number of the first target; each target is keyed by (stream, its number).
static Grid<int32_t> draw_negatives(Vector<const int32_t> excluded, Vector<const int64_t> start,
                                    Vector<const int64_t> end, Vector<const int64_t> counts,
                                    int64_t first, int64_t n_items, int64_t n, uint64_t stream) {
    int64_t n_targets = 0;
    for (const int64_t count : counts) n_targets += count;
    Grid<int32_t> drawn(n_targets, n);
    Array<int64_t> mark(n_items, 0);
    Array<int32_t> allowed(n_items);
    int64_t stamp = 0, target = 0;
    for (int64_t q = 0; q < start.size; ++q) {
        const int64_t closed = ++stamp;
        int64_t left = n_items;
        for (int64_t place = start[q]; place < end[q]; ++place) {
            const int32_t item = excluded[place];
            if (item < 0 || mark[item] == closed) continue;
            mark[item] = closed;
            --left;
        }
        for (const int64_t last = target + counts[q]; target < last; ++target) {
            uint64_t state = mix(stream + GOLDEN * (first + target + 1));
            if (2 * n > left) {
                // Hardly an item would be new: shuffle all that are allowed, as far as needed.
                int64_t size = 0;
                for (int64_t item = 0; item < n_items; ++item)
                    if (mark[item] != closed) allowed[size++] = static_cast<int32_t>(item);
                for (int64_t place = 0; place < n; ++place) {
                    const int64_t other = place + below(state += GOLDEN, left - place);
                    std::swap(allowed[place], allowed[other]);
                    drawn(target, place) = allowed[place];
                }
            } else {
                ++stamp;
                for (int64_t size = 0; size < n;) {
                    const int64_t item = below(state += GOLDEN, n_items);
                    if (mark[item] == closed || mark[item] == stamp) continue;
                    mark[item] = stamp;
                    drawn(target, size++) = static_cast<int32_t>(item);
                }
            }
        }
    }
    return drawn;
}

}  // namespace whence

void bind_negatives(nb::module_& module) {
    whence::kernel(module, "count_drawable", whence::count_drawable);
    whence::kernel(module, "draw_negatives", whence::draw_negatives);
}

// Assembly of batches: padded windows, and negatives that depend on no order.
#include "random.h"

namespace whence {

// The last `length` items before each end, left-aligned.
//
// items: [N]; start, end: [B], windows into `items`, of which at most the last `length` are taken;
// `padding` fills the places after the end. Returns windows [B, length] and their lengths [B].
static std::tuple<Grid<int64_t>, Array<int64_t>> padded_windows(Vector<const int32_t> items,
                                                                Vector<const int64_t> start,
                                                                Vector<const int64_t> end,
                                                                int64_t length, int64_t padding) {
    Grid<int64_t> windows(start.size, length, padding);
    Array<int64_t> lengths(start.size);
    for (int64_t row = 0; row < start.size; ++row) {
        const int64_t first = std::max(start[row], end[row] - length);
        lengths[row] = end[row] - first;
        for (int64_t place = 0; place < lengths[row]; ++place)
            windows(row, place) = items[first + place];
    }
    return {std::move(windows), std::move(lengths)};
}

// Whether an item is among some that ascend; without branches, which would be guessed wrongly half
// of the time.
static bool contains(const int32_t* items, int64_t n, int64_t item) {
    if (n == 0) return false;
    while (n > 1) {
        const int64_t half = n / 2;
        items += half * (items[half - 1] < item);
        n -= half;
    }
    return *items == item;
}

// Items that a source does not have, uniformly, with replacement.
//
// A draw is a function of (seed, epoch, example, place), so it is the same in any batch.
// numbers: [B], of the examples; sources: [B], whose items are not negatives; offsets: windows of
// the sources in `owned`, the distinct items of each, ascending. Returns [B, n_negatives].
static Grid<int64_t> sample_negatives(uint64_t seed, uint64_t epoch, Vector<const int64_t> numbers,
                                      Vector<const int64_t> sources, Vector<const int64_t> offsets,
                                      Vector<const int32_t> owned, int64_t n_items,
                                      int64_t n_negatives) {
    Grid<int64_t> out(numbers.size, n_negatives);
    const uint64_t stream = mix((mix(seed + GOLDEN) ^ epoch) + GOLDEN);
    for (int64_t row = 0; row < numbers.size; ++row) {
        const int32_t* own = owned.data + offsets[sources[row]];
        const int64_t n_own = offsets[sources[row] + 1] - offsets[sources[row]];
        uint64_t state = mix((stream ^ static_cast<uint64_t>(numbers[row])) + GOLDEN);
        for (int64_t place = 0; place < n_negatives; ++place) {
            int64_t item;
            do {
                state += GOLDEN;
                const uint64_t high = mix(state + GOLDEN) >> 32;
                item = static_cast<int64_t>((high * static_cast<uint64_t>(n_items)) >> 32);
            } while (contains(own, n_own, item));
            out(row, place) = item;
        }
    }
    return out;
}

// Numbers from [0, 1), [B, n], that depend on (seed, epoch, example, place) alone.
//
// numbers: [B], of the examples.
static Grid<float> uniforms(uint64_t seed, uint64_t epoch, Vector<const int64_t> numbers,
                            int64_t n) {
    Grid<float> out(numbers.size, n);
    const uint64_t stream = mix((mix(seed + GOLDEN) ^ epoch) + GOLDEN);
    for (int64_t row = 0; row < numbers.size; ++row) {
        uint64_t state = mix((stream ^ static_cast<uint64_t>(numbers[row])) + GOLDEN);
        for (int64_t place = 0; place < n; ++place) {
            state += GOLDEN;
            out(row, place) = static_cast<float>(mix(state + GOLDEN) >> 40) * 0x1p-24f;
        }
    }
    return out;
}

}  // namespace whence

void bind_training(nb::module_& module) {
    whence::kernel(module, "padded_windows", whence::padded_windows);
    whence::kernel(module, "sample_negatives", whence::sample_negatives);
    whence::kernel(module, "uniforms", whence::uniforms);
}

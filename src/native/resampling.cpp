// Resampling of differences; see whence.evaluation.comparison.
#include "random.h"

namespace whence {

// Means of n resamples, with replacement, of groups of paired differences, [n].
//
// sums, sizes: [G], sum of the differences of each group, and how many there are in it. Each
// resample is keyed by (seed, its number).
static Array<double> bootstrap_means(Vector<const double> sums, Vector<const double> sizes,
                                     uint64_t seed, int64_t n) {
    Array<double> means(n);
    const uint64_t groups = sums.size;
    for (int64_t replicate = 0; replicate < n; ++replicate) {
        uint64_t state = mix(seed + GOLDEN * (replicate + 1));
        double total = 0.0, size = 0.0;
        for (int64_t draw = 0; draw < sums.size; ++draw) {
            state += GOLDEN;
            // Multiply-shift of the upper 32 bits: uniform to within G / 2^32.
            const uint64_t group = ((mix(state) >> 32) * groups) >> 32;
            total += sums[group];
            size += sizes[group];
        }
        means[replicate] = total / size;
    }
    return means;
}

// The value, or minus the value where the lowest bit is 0, without a branch on what is random.
static double signed_by(uint64_t bit, double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits ^= (~bit & 1) << 63;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

// Sums of n random sign flips of the group sums [G], each keyed by (seed, its number), [n].
static Array<double> sign_flip_sums(Vector<const double> sums, uint64_t seed, int64_t n) {
    Array<double> flipped(n);
    for (int64_t replicate = 0; replicate < n; ++replicate) {
        uint64_t state = mix(seed + GOLDEN * (replicate + 1));
        uint64_t bits = 0;
        double total = 0.0;
        for (int64_t group = 0; group < sums.size; ++group) {
            if (group % 64 == 0) bits = mix(state += GOLDEN);
            total += signed_by(bits, sums[group]);
            bits >>= 1;
        }
        flipped[replicate] = total;
    }
    return flipped;
}

// Sums of every sign flip of the group sums [G], for few groups, [2 ** G].
static Array<double> all_sign_flip_sums(Vector<const double> sums) {
    Array<double> flipped(int64_t{1} << sums.size);
    flipped[0] = 0.0;
    for (int64_t group = 0; group < sums.size; ++group) {
        const int64_t n = int64_t{1} << group;
        for (int64_t pattern = 0; pattern < n; ++pattern) {
            flipped[n + pattern] = flipped[pattern] + sums[group];
            flipped[pattern] -= sums[group];
        }
    }
    return flipped;
}

}  // namespace whence

void bind_resampling(nb::module_& module) {
    whence::kernel(module, "bootstrap_means", whence::bootstrap_means);
    whence::kernel(module, "sign_flip_sums", whence::sign_flip_sums);
    whence::kernel(module, "all_sign_flip_sums", whence::all_sign_flip_sums);
}

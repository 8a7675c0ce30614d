// Random numbers keyed by what they are for, never by thread.
#pragma once

#include "arrays.h"

namespace whence {

constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ULL;

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): 64 bits in, 64 scrambled bits out.
inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

// Start of the random stream of one replicate of one query.
inline uint64_t stream(uint64_t seed, uint64_t query, uint64_t replicate) {
    return mix(mix(mix(seed + GOLDEN) + query * GOLDEN + GOLDEN) + replicate * GOLDEN + GOLDEN);
}

// Permute `order` in place, by Fisher and Yates, from a stream.
template <class T>
void shuffle(Vector<T> order, uint64_t state) {
    constexpr uint64_t LOW = 0xFFFFFFFFULL;
    for (int64_t last = order.size - 1; last > 0; --last) {
        state += GOLDEN;
        const uint64_t bits = mix(state);
        // Two draws from each 64 bits; the bias of multiply-and-shift is below 2**-32 * n.
        std::swap(order[last], order[((bits & LOW) * (last + 1)) >> 32]);
        if (--last > 0) std::swap(order[last], order[((bits >> 32) * (last + 1)) >> 32]);
    }
}

// Fill `flips` with fair 0 and 1 from a stream.
inline void coin_flips(Vector<uint8_t> flips, uint64_t state) {
    uint64_t bits = 0;
    for (int64_t i = 0; i < flips.size; ++i) {
        if (i % 64 == 0) bits = mix(state += GOLDEN);
        flips[i] = bits & 1;
        bits >>= 1;
    }
}

}  // namespace whence

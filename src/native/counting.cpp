#include "counting.h"

namespace whence {

WIDE int64_t count_above(const int64_t* keys, int64_t n, int64_t key) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += keys[i] > key;
    return count;
}

WIDE int64_t count_passing(const int64_t* before, const int64_t* after, int64_t n, int64_t key) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += int64_t{after[i] > key} - int64_t{before[i] > key};
    return count;
}

}  // namespace whence

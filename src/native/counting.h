// Counting what is above a key, which most of the time of a game goes to.
#pragma once

#include "arrays.h"

namespace whence {

// Number of keys above one.
int64_t count_above(const int64_t* keys, int64_t n, int64_t key);

// By how many more keys are above one after n of them moved.
int64_t count_passing(const int64_t* before, const int64_t* after, int64_t n, int64_t key);

}  // namespace whence

// Inner products, for files that may be compiled to add in any order.
#pragma once

#include "arrays.h"

namespace whence {

template <class T>
INLINED T dot(const T* a, const T* b, int64_t n) {
    T total = 0;
    for (int64_t k = 0; k < n; ++k) total += a[k] * b[k];
    return total;
}

}  // namespace whence

// Factor models as the kernels see them, and their terms.
//
// A term is one scalar function φ(x) of a difference of scores, x = s(u, i) - s(u, j), or of one
// score where j is -1. With s(u, i) = μ + b_u + c_i + p_u·q_i, the parameters of a user and of an
// item are one row each, the bias last. Shapes: T terms, R directions, D factors, K = D + 1 with
// biases, else D. user, item, other: [T], u, i and j of each term.
#pragma once

#include "arrays.h"

namespace whence {

// users: [n_users, K]; items: [n_items, K]; dim: D.
struct Factors {
    Matrix<const double> users, items;
    int64_t dim;
    FIELDS(users, items, dim)

    int64_t width() const { return users.columns; }
    bool biased() const { return users.columns > dim; }
};

using Codes = Vector<const int64_t>;

}  // namespace whence

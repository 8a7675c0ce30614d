// Products of the factors of users and items, and their gradient.
#include "arrays.h"

namespace whence {

// Scalar product, summed in lanes, so that the processor's vectors can be used.
template <class T>
static INLINED T product(const T* a, const T* b, int64_t n) {
    constexpr int64_t LANES = 8;
    T sums[LANES] = {};
    int64_t d = 0;
    for (; d + LANES <= n; d += LANES)
        for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += a[d + lane] * b[d + lane];
    T rest = 0;
    for (; d < n; ++d) rest += a[d] * b[d];
    for (int64_t half = LANES / 2; half > 0; half /= 2)
        for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0] + rest;
}

// Scalar products of each user with each of its items.
//
// user_factors: [n_users, D]; item_factors: [n_items, D]; users: [B]; items: [B, n]. Returns
// [B, n].
template <class T>
WIDE static Grid<T> pair_products(Matrix<const T> user_factors, Matrix<const T> item_factors,
                                  Vector<const int64_t> users, Matrix<const int64_t> items) {
    Grid<T> products(items.rows, items.columns);
    for (int64_t row = 0; row < items.rows; ++row) {
        const Vector<const T> own = user_factors[users[row]];
        for (int64_t place = 0; place < items.columns; ++place)
            products(row, place) =
                product(own.data, item_factors[items(row, place)].data, own.size);
    }
    return products;
}

// Add the gradient with respect to the factors, given that with respect to the products [B, n].
//
// user_factors, item_factors, users, items: as above; user_gradient: [n_users, D] and
// item_gradient: [n_items, D], added to.
template <class T>
WIDE static void add_gradients(Matrix<const T> user_factors, Matrix<const T> item_factors,
                               Vector<const int64_t> users, Matrix<const int64_t> items,
                               Matrix<const T> gradient, Matrix<T> user_gradient,
                               Matrix<T> item_gradient) {
    for (int64_t row = 0; row < items.rows; ++row) {
        const T* __restrict own = user_factors[users[row]].data;
        T* __restrict own_gradient = user_gradient[users[row]].data;
        for (int64_t place = 0; place < items.columns; ++place) {
            const T* __restrict other = item_factors[items(row, place)].data;
            T* __restrict other_gradient = item_gradient[items(row, place)].data;
            const T weight = gradient(row, place);
            for (int64_t d = 0; d < user_factors.columns; ++d) {
                own_gradient[d] += weight * other[d];
                other_gradient[d] += weight * own[d];
            }
        }
    }
}

}  // namespace whence

void bind_factors(nb::module_& module) {
    using namespace whence;
    kernel(module, "pair_products", pair_products<float>);
    kernel(module, "pair_products", pair_products<double>);
    kernel(module, "add_gradients", add_gradients<float>);
    kernel(module, "add_gradients", add_gradients<double>);
}

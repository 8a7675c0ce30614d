// Derivatives of factor models: gradients, curvature and its products, over all terms.
//
// The sums may be taken in any order.
#include "dot.h"
#include "factor_terms.h"

namespace whence {

// Score of the item, less that of the other one: x, [T]. mean: μ.
WIDE static Array<double> score_differences(Factors factors, double mean, Codes user, Codes item,
                                            Codes other) {
    const int64_t dim = factors.dim;
    const bool biased = factors.biased();
    Array<double> x(item.size);
    for (int64_t t = 0; t < item.size; ++t) {
        const double *p = factors.users[user[t]].data, *q = factors.items[item[t]].data;
        double total = dot(p, q, dim);
        if (biased) total += q[dim];
        if (other[t] >= 0) {
            const double* o = factors.items[other[t]].data;
            total -= dot(p, o, dim);
            if (biased) total -= o[dim];
        } else {
            if (biased) total += p[dim];
            total += mean;
        }
        x[t] = total;
    }
    return x;
}

// Add Σ_t weight_t ∇x_t to two tables like the users' and the items'. weight: [T].
WIDE static void add_term_gradients(Factors factors, Codes user, Codes item, Codes other,
                                    Vector<const double> weight, Matrix<double> user_out,
                                    Matrix<double> item_out) {
    const int64_t dim = factors.dim;
    const bool biased = factors.biased();
    for (int64_t t = 0; t < item.size; ++t) {
        const double w = weight[t];
        const double *p = factors.users[user[t]].data, *q = factors.items[item[t]].data;
        double* __restrict p_out = user_out[user[t]].data;
        double* __restrict q_out = item_out[item[t]].data;
        for (int64_t d = 0; d < dim; ++d) {
            p_out[d] += w * q[d];
            q_out[d] += w * p[d];
        }
        if (biased) q_out[dim] += w;
        if (other[t] >= 0) {
            const double* o = factors.items[other[t]].data;
            double* __restrict o_out = item_out[other[t]].data;
            for (int64_t d = 0; d < dim; ++d) {
                p_out[d] -= w * o[d];
                o_out[d] -= w * p[d];
            }
            if (biased) o_out[dim] -= w;
        } else if (biased) {
            p_out[dim] += w;
        }
    }
}

// Derivative of p·q + bias of the item along a direction.
static INLINED double along(const double* p, const double* q, const double* p_way,
                            const double* q_way, int64_t dim, bool biased) {
    double total = 0.0;
    for (int64_t d = 0; d < dim; ++d) total += p_way[d] * q[d] + p[d] * q_way[d];
    return biased ? total + q_way[dim] : total;
}

// Add weight_t ∇x_t · direction to the example of each term.
//
// weight, example: [T]; user_way: [R, n_users, K]; item_way: [R, n_items, K]; out: [R, E].
WIDE static void add_term_slopes(Factors factors, Codes user, Codes item, Codes other,
                                 Vector<const double> weight, Codes example,
                                 Cube<const double> user_way, Cube<const double> item_way,
                                 Matrix<double> out) {
    const int64_t dim = factors.dim;
    const bool biased = factors.biased();
    for (int64_t t = 0; t < item.size; ++t) {
        const int64_t u = user[t], i = item[t], j = other[t];
        const double *p = factors.users[u].data, *q = factors.items[i].data;
        for (int64_t r = 0; r < out.rows; ++r) {
            const double* p_way = user_way[r][u].data;
            double total = along(p, q, p_way, item_way[r][i].data, dim, biased);
            if (j >= 0)
                total -= along(p, factors.items[j].data, p_way, item_way[r][j].data, dim, biased);
            else if (biased)
                total += p_way[dim];
            out(r, example[t]) += weight[t] * total;
        }
    }
}

// Add the products of the Hessian Σ_t (second_t ∇x_t ∇x_tᵀ + first_t ∇²x_t) with directions.
//
// first, second: [T], derivatives of φ, weighted; user_way, user_out: [R, n_users, K]; item_way,
// item_out: [R, n_items, K].
WIDE static void add_term_curvature(Factors factors, Codes user, Codes item, Codes other,
                                    Vector<const double> first, Vector<const double> second,
                                    Cube<const double> user_way, Cube<const double> item_way,
                                    Cube<double> user_out, Cube<double> item_out) {
    const int64_t dim = factors.dim;
    const bool biased = factors.biased();
    for (int64_t t = 0; t < item.size; ++t) {
        const int64_t u = user[t], i = item[t], j = other[t];
        const double a = first[t];
        const double *p = factors.users[u].data, *q = factors.items[i].data;
        const double* o = j >= 0 ? factors.items[j].data : nullptr;
        for (int64_t r = 0; r < user_way.planes; ++r) {
            const double *p_way = user_way[r][u].data, *q_way = item_way[r][i].data;
            const double* o_way = j >= 0 ? item_way[r][j].data : nullptr;
            double* __restrict p_out = user_out[r][u].data;
            double slope = along(p, q, p_way, q_way, dim, biased);
            if (j >= 0)
                slope -= along(p, o, p_way, o_way, dim, biased);
            else if (biased)
                slope += p_way[dim];
            const double s = second[t] * slope;
            double* __restrict q_out = item_out[r][i].data;
            for (int64_t d = 0; d < dim; ++d) {
                p_out[d] += s * q[d] + a * q_way[d];
                q_out[d] += s * p[d] + a * p_way[d];
            }
            if (biased) q_out[dim] += s;
            if (j >= 0) {
                double* __restrict o_out = item_out[r][j].data;
                for (int64_t d = 0; d < dim; ++d) {
                    p_out[d] -= s * o[d] + a * o_way[d];
                    o_out[d] -= s * p[d] + a * p_way[d];
                }
                if (biased) o_out[dim] -= s;
            } else if (biased) {
                p_out[dim] += s;
            }
        }
    }
}

// Add w ∇x ∇xᵀ, of the parameters of one row, to a block [K, K].
static INLINED void add_square(const double* slope, double w, Matrix<double> block) {
    for (int64_t a = 0; a < block.rows; ++a) {
        double* __restrict line = block[a].data;
        const double factor = w * slope[a];
        for (int64_t b = 0; b < block.columns; ++b) line[b] += factor * slope[b];
    }
}

// Add Σ_t second_t ∇x ∇xᵀ of each user's own parameters to out [n_users, K, K].
WIDE static void add_user_blocks(Factors factors, Codes user, Codes item, Codes other,
                                 Vector<const double> second, Cube<double> out) {
    const int64_t dim = factors.dim;
    std::vector<double> slope(factors.width());
    for (int64_t t = 0; t < item.size; ++t) {
        const double* q = factors.items[item[t]].data;
        const double* o = other[t] >= 0 ? factors.items[other[t]].data : nullptr;
        for (int64_t d = 0; d < dim; ++d) slope[d] = o ? q[d] - o[d] : q[d];
        if (factors.biased()) slope[dim] = o ? 0.0 : 1.0;
        add_square(slope.data(), second[t], out[user[t]]);
    }
}

// Add Σ_t second_t ∇x ∇xᵀ of each item's own parameters to out [n_items, K, K].
WIDE static void add_item_blocks(Factors factors, Codes user, Codes item, Codes other,
                                 Vector<const double> second, Cube<double> out) {
    std::vector<double> slope(factors.width(), 1.0);
    for (int64_t t = 0; t < item.size; ++t) {
        const double* p = factors.users[user[t]].data;
        std::copy(p, p + factors.dim, slope.begin());
        add_square(slope.data(), second[t], out[item[t]]);
        if (other[t] >= 0) add_square(slope.data(), second[t], out[other[t]]);
    }
}

// Add the products of the Hessian with users eliminated, S = C - Bᵀ A⁻¹ B, with directions.
//
// A is the part of the users (one block each), C that of the items, B between them. Terms are
// sorted by user; starts: [n_users + 1]; inverses: [n_users, K, K], A⁻¹ by user; item_way,
// item_out: [R, n_items, K].
WIDE static void add_reduced_curvature(Factors factors, Codes starts, Codes item, Codes other,
                                       Vector<const double> first, Vector<const double> second,
                                       Cube<const double> inverses, Cube<const double> item_way,
                                       Cube<double> item_out) {
    const int64_t dim = factors.dim, width = factors.width();
    const bool biased = factors.biased();
    std::vector<double> slopes, across(width), solved(width), still(width, 0.0);
    for (int64_t u = 0; u < starts.size - 1; ++u) {
        const int64_t begin = starts[u], end = starts[u + 1];
        const double* p = factors.users[u].data;
        slopes.resize(end - begin);
        for (int64_t r = 0; r < item_way.planes; ++r) {
            double* __restrict sum = across.data();
            std::fill(sum, sum + width, 0.0);
            for (int64_t t = begin; t < end; ++t) {
                const double a = first[t];
                const double *q = factors.items[item[t]].data, *q_way = item_way[r][item[t]].data;
                double slope = along(p, q, still.data(), q_way, dim, biased);
                const double *o = nullptr, *o_way = nullptr;
                if (other[t] >= 0) {
                    o = factors.items[other[t]].data, o_way = item_way[r][other[t]].data;
                    slope -= along(p, o, still.data(), o_way, dim, biased);
                }
                slopes[t - begin] = slope;
                const double s = second[t] * slope;
                for (int64_t d = 0; d < dim; ++d) sum[d] += s * q[d] + a * q_way[d];
                if (o)
                    for (int64_t d = 0; d < dim; ++d) sum[d] -= s * o[d] + a * o_way[d];
                else if (biased)
                    sum[dim] += s;
            }
            for (int64_t a = 0; a < width; ++a)
                solved[a] = dot(&inverses(u, a, 0), across.data(), width);
            const double* back_way = solved.data();
            for (int64_t t = begin; t < end; ++t) {
                const double a = first[t];
                const double* q = factors.items[item[t]].data;
                const double* o = other[t] >= 0 ? factors.items[other[t]].data : nullptr;
                double back = dot(back_way, q, dim);
                if (o)
                    back -= dot(back_way, o, dim);
                else if (biased)
                    back += back_way[dim];
                const double s = second[t] * (slopes[t - begin] - back);
                double* __restrict q_out = item_out[r][item[t]].data;
                for (int64_t d = 0; d < dim; ++d) q_out[d] += s * p[d] - a * back_way[d];
                if (biased) q_out[dim] += s;
                if (o) {
                    double* __restrict o_out = item_out[r][other[t]].data;
                    for (int64_t d = 0; d < dim; ++d) o_out[d] -= s * p[d] - a * back_way[d];
                    if (biased) o_out[dim] -= s;
                }
            }
        }
    }
}

}  // namespace whence

void bind_factor_models(nb::module_& module) {
    using namespace whence;
    kernel(module, "score_differences", score_differences);
    kernel(module, "add_term_gradients", add_term_gradients);
    kernel(module, "add_term_slopes", add_term_slopes);
    kernel(module, "add_term_curvature", add_term_curvature);
    kernel(module, "add_user_blocks", add_user_blocks);
    kernel(module, "add_item_blocks", add_item_blocks);
    kernel(module, "add_reduced_curvature", add_reduced_curvature);
}

// Losses of the terms of factor models, and Fast Influence Analysis: the block of one user and one
// or two items for each outcome.
#include "factor_terms.h"

namespace whence {

constexpr int SQUARED = 0;

// φ of each term and its first two derivatives, [T] each.
//
// x, target: [T]; kind: SQUARED, (x - y)², or logistic, log(1 + exp(x)) - y x, with y a label from
// 0 to 1.
static std::tuple<Array<double>, Array<double>, Array<double>> term_losses(
    Vector<const double> x, Vector<const double> target, int kind) {
    Array<double> value(x.size), first(x.size), second(x.size);
    for (int64_t t = 0; t < x.size; ++t) {
        const double y = target[t];
        if (kind == SQUARED) {
            const double error = x[t] - y;
            value[t] = error * error, first[t] = 2.0 * error, second[t] = 2.0;
        } else {
            const double small = std::exp(-std::abs(x[t])), whole = 1.0 + small;
            const double likely = x[t] > 0 ? 1.0 / whole : small / whole;
            value[t] = std::log1p(small) + std::max(x[t], 0.0) - y * x[t];
            first[t] = likely - y;
            second[t] = small / (whole * whole);
        }
    }
    return {std::move(value), std::move(first), std::move(second)};
}

// Add φ'² ‖∇x‖² of each term to its example: exact where an example has one term.
//
// first: [T], φ'; example: [T]; out: [E].
static void add_squared_term_norms(Factors factors, Codes user, Codes item, Codes other,
                                   Vector<const double> first, Codes example, Vector<double> out) {
    for (int64_t t = 0; t < item.size; ++t) {
        const double *p = factors.users[user[t]].data, *q = factors.items[item[t]].data;
        const double* o = other[t] >= 0 ? factors.items[other[t]].data : nullptr;
        const double sides = o ? 2.0 : 1.0;
        double total = 0.0;
        for (int64_t d = 0; d < factors.dim; ++d) {
            const double slope = o ? q[d] - o[d] : q[d];
            total += slope * slope + sides * (p[d] * p[d]);
        }
        if (factors.biased()) total += 2.0;
        out[example[t]] += first[t] * first[t] * total;
    }
}

// Terms of the training examples, sorted by user; see the named tuple.
struct TrainingTerms {
    Codes starts, user, item, other, example;
    Vector<const double> first, second, slope;
    Codes item_starts, item_terms;
    FIELDS(starts, user, item, other, example, first, second, slope, item_starts, item_terms)
};

// Terms of the outcomes; see the named tuple.
struct OutcomeTerms {
    Codes user, item, other;
    Vector<const double> weight;
    Codes row;
    FIELDS(user, item, other, weight, row)
};

// The parameters that one outcome depends on: the rows of its user and of its one or two items.
struct Block {
    const Factors& factors;
    int64_t u, i, j;

    int64_t n_items() const { return j < 0 ? 1 : 2; }

    // +1 or -1 where an item of a term is the block's item of that side, else 0.
    double sign(int64_t side, int64_t term_item, int64_t term_other) const {
        const int64_t k = side == 0 ? i : j;
        return term_item == k ? 1.0 : term_other == k ? -1.0 : 0.0;
    }

    // ∇x of a term of user v, restricted to the block, into `own`.
    void slope(int64_t v, int64_t term_item, int64_t term_other, Vector<double> own) const {
        const int64_t dim = factors.dim, width = factors.width();
        own.fill(0.0);
        if (v == u) {
            const double* q = factors.items[term_item].data;
            std::copy(q, q + dim, own.data);
            if (term_other >= 0) {
                const double* o = factors.items[term_other].data;
                for (int64_t d = 0; d < dim; ++d) own[d] -= o[d];
            } else if (factors.biased()) {
                own[dim] = 1.0;
            }
        }
        const double* p = factors.users[v].data;
        for (int64_t side = 0; side < n_items(); ++side) {
            const double s = sign(side, term_item, term_other);
            if (s == 0.0) continue;
            double* part = own.data + width * (1 + side);
            for (int64_t d = 0; d < dim; ++d) part[d] = s * p[d];
            if (factors.biased()) part[dim] = s;
        }
    }

    // Add what a term adds to the Hessian outside the diagonal blocks.
    void add_cross(Matrix<double> hessian, Vector<const double> own, double second, double first,
                   int64_t term_item, int64_t term_other) const {
        const int64_t width = factors.width(), size = width * (1 + n_items());
        for (int64_t a = 0; a < size; ++a) {
            const int64_t begin = a / width * width, end = begin + width;
            const double factor = second * own[a];
            for (int64_t b = 0; b < begin; ++b) hessian(a, b) += factor * own[b];
            for (int64_t b = end; b < size; ++b) hessian(a, b) += factor * own[b];
        }
        for (int64_t side = 0; side < n_items(); ++side) {
            const double bend = sign(side, term_item, term_other) * first;
            const int64_t start = width * (1 + side);
            for (int64_t d = 0; d < factors.dim; ++d) {
                hessian(d, start + d) += bend;
                hessian(start + d, d) += bend;
            }
        }
    }
};

// Equations of the blocks of outcome terms: their Hessians and ∇x, written where zeros are.
//
// The Hessian is that of the parameters of the block alone, over the training terms that touch
// them. user_blocks, item_blocks: [n, K, K], diagonal blocks of the Hessian of all; hessians:
// [N, S, S], of the size of the largest block: a smaller one gets ones on the rest of its diagonal;
// slopes: [N, S].
static void write_outcome_blocks(const Factors& factors, Cube<const double> user_blocks,
                                 Cube<const double> item_blocks, const TrainingTerms& training,
                                 const OutcomeTerms& outcome, Cube<double> hessians,
                                 Matrix<double> slopes) {
    const int64_t width = factors.width();
    for (int64_t n = 0; n < outcome.user.size; ++n) {
        const Block block{factors, outcome.user[n], outcome.item[n], outcome.other[n]};
        const int64_t i = block.i, j = block.j;
        const Matrix<double> hessian = hessians[n];
        const Vector<double> own = slopes[n];
        for (int64_t part = 0; part <= block.n_items(); ++part) {
            const Matrix<const double> given =
                part == 0 ? user_blocks[block.u] : item_blocks[part == 1 ? i : j];
            for (int64_t a = 0; a < width; ++a)
                std::copy(given[a].begin(), given[a].end(),
                          &hessian(part * width + a, part * width));
        }
        for (int64_t a = width * (1 + block.n_items()); a < hessian.rows; ++a) hessian(a, a) = 1.0;
        for (int64_t t = training.starts[block.u]; t < training.starts[block.u + 1]; ++t) {
            const int64_t one = training.item[t], two = training.other[t];
            if (one != i && one != j && (two < 0 || (two != i && two != j))) continue;
            block.slope(block.u, one, two, own);
            block.add_cross(hessian, own, training.second[t], training.first[t], one, two);
        }
        if (j >= 0) {
            for (int64_t place = training.item_starts[i]; place < training.item_starts[i + 1];
                 ++place) {
                const int64_t t = training.item_terms[place], v = training.user[t];
                const int64_t one = training.item[t], two = training.other[t];
                if (v == block.u || (one != j && two != j)) continue;
                block.slope(v, one, two, own);
                block.add_cross(hessian, own, training.second[t], 0.0, one, two);
            }
        }
        block.slope(block.u, i, j, own);
    }
}

// Credit training terms with their influence on outcome terms, by the block of each outcome term.
//
// solved: [N, S], H⁻¹ ∇x of each outcome term; only_own: credit the training terms of the same
// user only; out: [R, E], added to: minus ∇outcomeᵀ H⁻¹ ∇l over Z.
static void credit_outcome_blocks(const Factors& factors, const TrainingTerms& training,
                                  const OutcomeTerms& outcome, Matrix<const double> solved,
                                  bool only_own, Matrix<double> out) {
    Array<double> own(solved.columns);
    for (int64_t n = 0; n < outcome.user.size; ++n) {
        const Block block{factors, outcome.user[n], outcome.item[n], outcome.other[n]};
        const auto credit = [&](int64_t t) {
            block.slope(training.user[t], training.item[t], training.other[t], own);
            double effect = 0.0;
            for (int64_t a = 0; a < own.size; ++a) effect += own[a] * solved(n, a);
            out(outcome.row[n], training.example[t]) -=
                outcome.weight[n] * training.slope[t] * effect;
        };
        for (int64_t t = training.starts[block.u]; t < training.starts[block.u + 1]; ++t) credit(t);
        if (only_own) continue;
        for (int64_t side = 0; side < block.n_items(); ++side) {
            const int64_t k = side == 0 ? block.i : block.j;
            for (int64_t place = training.item_starts[k]; place < training.item_starts[k + 1];
                 ++place) {
                const int64_t t = training.item_terms[place];
                // A term that touches both items is met twice, and one of the user was counted.
                const bool again =
                    side == 1 && (training.item[t] == block.i || training.other[t] == block.i);
                if (training.user[t] != block.u && !again) credit(t);
            }
        }
    }
}

}  // namespace whence

void bind_factor_blocks(nb::module_& module) {
    using namespace whence;
    note_layout<Factors>("Factors");
    note_layout<TrainingTerms>("TrainingTerms");
    note_layout<OutcomeTerms>("OutcomeTerms");
    kernel(module, "term_losses", term_losses);
    kernel(module, "add_squared_term_norms", add_squared_term_norms);
    kernel(module, "write_outcome_blocks", write_outcome_blocks);
    kernel(module, "credit_outcome_blocks", credit_outcome_blocks);
}

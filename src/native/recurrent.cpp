// Steps through the gates of recurrent layers: back, and along a direction.
//
// T is float or double; B examples, H units. The gates of an LSTM stand in the order input, forget,
// cell, output; those of a GRU in the order reset, update, new; both after their non-linearities.
// One loop for each result: compilers give up on loops over as many arrays at once.
#include "arrays.h"

namespace whence {

// One step back through the gates of an LSTM.
//
// gates: [B, 4H]; before: [B, H], state of the cell before the step; squashed: [B, H], tanh of the
// state of the cell after it; grad_state: [B, H], gradient of the step's output; grad_cell: [B, H],
// gradient of the cell, from the step after, overwritten by that for the step before; grad_gates:
// [B, 4H], written: gradient before the non-linearities.
template <class T>
WIDE static void lstm_step_back(Matrix<const T> gates, Matrix<const T> before,
                                Matrix<const T> squashed, Matrix<const T> grad_state,
                                Matrix<T> grad_cell, Matrix<T> grad_gates) {
    const int64_t width = before.columns;
    std::vector<T> kept(width);
    T* __restrict whole = kept.data();
    for (int64_t row = 0; row < before.rows; ++row) {
        const T* i = gates[row].data;
        const T *f = i + width, *g = f + width, *o = g + width;
        T* __restrict d = grad_gates[row].data;
        T *d_i = d, *d_f = d + width, *d_g = d + 2 * width, *d_o = d + 3 * width;
        const T *c = before[row].data, *s = squashed[row].data, *dh = grad_state[row].data;
        T* __restrict dc = grad_cell[row].data;
        for (int64_t k = 0; k < width; ++k) whole[k] = dc[k] + dh[k] * o[k] * (1 - s[k] * s[k]);
        for (int64_t k = 0; k < width; ++k) d_o[k] = dh[k] * s[k] * o[k] * (1 - o[k]);
        for (int64_t k = 0; k < width; ++k) d_i[k] = whole[k] * g[k] * i[k] * (1 - i[k]);
        for (int64_t k = 0; k < width; ++k) d_f[k] = whole[k] * c[k] * f[k] * (1 - f[k]);
        for (int64_t k = 0; k < width; ++k) d_g[k] = whole[k] * i[k] * (1 - g[k] * g[k]);
        for (int64_t k = 0; k < width; ++k) dc[k] = whole[k] * f[k];
    }
}

// Derivative of the cell of an LSTM along a direction.
//
// gates: [B, 4H]; along: [B, 4H], derivatives before the non-linearities, overwritten by those
// after them; before: [B, H], state of the cell before the step; cell_along: [B, H], derivative of
// the cell before the step, overwritten by that after it.
template <class T>
WIDE static void lstm_cell_along(Matrix<const T> gates, Matrix<T> along, Matrix<const T> before,
                                 Matrix<T> cell_along) {
    const int64_t width = before.columns;
    for (int64_t row = 0; row < before.rows; ++row) {
        const T* gate = gates[row].data;
        T* __restrict d = along[row].data;
        for (int64_t k = 0; k < 2 * width; ++k) d[k] *= gate[k] * (1 - gate[k]);
        for (int64_t k = 2 * width; k < 3 * width; ++k) d[k] *= 1 - gate[k] * gate[k];
        for (int64_t k = 3 * width; k < 4 * width; ++k) d[k] *= gate[k] * (1 - gate[k]);
        const T *i = gate, *f = gate + width, *g = gate + 2 * width;
        const T *d_i = d, *d_f = d + width, *d_g = d + 2 * width;
        const T* c = before[row].data;
        T* __restrict dc = cell_along[row].data;
        for (int64_t k = 0; k < width; ++k) dc[k] = f[k] * dc[k] + d_f[k] * c[k];
        for (int64_t k = 0; k < width; ++k) dc[k] += i[k] * d_g[k] + d_i[k] * g[k];
    }
}

// Derivative of the output of an LSTM along a direction.
//
// gates, along: [B, 4H], as lstm_cell_along leaves them; squashed: [B, H], tanh of the state of
// the cell after the step; cell_along: [B, H], derivative of that state; state_along: [B, H],
// written.
template <class T>
WIDE static void lstm_state_along(Matrix<const T> gates, Matrix<const T> along,
                                  Matrix<const T> squashed, Matrix<const T> cell_along,
                                  Matrix<T> state_along) {
    const int64_t width = squashed.columns;
    for (int64_t row = 0; row < squashed.rows; ++row) {
        const T *o = gates[row].data + 3 * width, *d_o = along[row].data + 3 * width;
        const T *s = squashed[row].data, *dc = cell_along[row].data;
        T* __restrict dh = state_along[row].data;
        for (int64_t k = 0; k < width; ++k)
            dh[k] = d_o[k] * s[k] + o[k] * (1 - s[k] * s[k]) * dc[k];
    }
}

// One step back through the gates of a GRU.
//
// gates: [B, 3H]; hidden_new: [B, H], the state's share of the new gate, before the reset gate is
// applied; before: [B, H], state before the step; grad_state: [B, H], gradient of the state after
// the step, overwritten by its direct share for the one before; grad_in, grad_hidden: [B, 3H],
// written: gradients of what comes from the input and from the state.
template <class T>
WIDE static void gru_step_back(Matrix<const T> gates, Matrix<const T> hidden_new,
                               Matrix<const T> before, Matrix<T> grad_state, Matrix<T> grad_in,
                               Matrix<T> grad_hidden) {
    const int64_t width = before.columns;
    for (int64_t row = 0; row < before.rows; ++row) {
        const T* r = gates[row].data;
        const T *z = r + width, *fresh = z + width;
        const T *share = hidden_new[row].data, *h = before[row].data;
        T *x_r = grad_in[row].data, *x_z = x_r + width;
        T* __restrict x_n = x_z + width;
        T* __restrict back = grad_hidden[row].data;
        T* __restrict dh = grad_state[row].data;
        for (int64_t k = 0; k < width; ++k) x_n[k] = dh[k] * (1 - z[k]) * (1 - fresh[k] * fresh[k]);
        for (int64_t k = 0; k < width; ++k) x_z[k] = dh[k] * (h[k] - fresh[k]) * z[k] * (1 - z[k]);
        for (int64_t k = 0; k < width; ++k) x_r[k] = x_n[k] * share[k] * r[k] * (1 - r[k]);
        for (int64_t k = 0; k < width; ++k) back[2 * width + k] = x_n[k] * r[k];
        for (int64_t k = 0; k < width; ++k) dh[k] = dh[k] * z[k];
        std::copy(x_r, x_n, back);
    }
}

template <class T>
static void bind_recurrent_of(nb::module_& module) {
    kernel(module, "lstm_step_back", lstm_step_back<T>);
    kernel(module, "lstm_cell_along", lstm_cell_along<T>);
    kernel(module, "lstm_state_along", lstm_state_along<T>);
    kernel(module, "gru_step_back", gru_step_back<T>);
}

}  // namespace whence

void bind_recurrent(nb::module_& module) {
    whence::bind_recurrent_of<float>(module);
    whence::bind_recurrent_of<double>(module);
}

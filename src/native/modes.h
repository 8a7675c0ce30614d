// How the ranks of the hits become a value, by the numbers of whence/evaluation/_modes.py.
#pragma once

namespace whence {

constexpr int NO_RANKS = 0, ADDITIVE = 1, BEST = 2, AVERAGE_PRECISION = 3;

}  // namespace whence

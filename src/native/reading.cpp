#include "reading.h"

#include "counting.h"

namespace whence {
namespace {

constexpr int64_t MOST = std::numeric_limits<int64_t>::max();
// More items above than there can be: the item is not in the list.
constexpr int64_t UNLISTED = int64_t{1} << 24;
// Of the arrays by state, that of what is tried.
constexpr int TRIED = 2;

WIDE int64_t largest_below(const int64_t* keys, int64_t n, int64_t bound) {
    uint64_t nearest = static_cast<uint64_t>(MOST);
    for (int64_t i = 0; i < n; ++i) {
        const uint64_t distance = static_cast<uint64_t>(bound - 1 - keys[i]);
        nearest = distance < nearest ? distance : nearest;
    }
    return std::max<int64_t>(-1, bound - 1 - static_cast<int64_t>(nearest));
}

WIDE int64_t smallest_from(const int64_t* keys, int64_t n, int64_t bound) {
    uint64_t nearest = static_cast<uint64_t>(MOST);
    for (int64_t i = 0; i < n; ++i) {
        const uint64_t distance = static_cast<uint64_t>(keys[i] - bound);
        nearest = distance < nearest ? distance : nearest;
    }
    return nearest == static_cast<uint64_t>(MOST) ? MOST : bound + static_cast<int64_t>(nearest);
}

// Sum of some numbers where a key is from `first` to `last`.
WIDE int64_t sum_within(const int64_t* numbers, const int64_t* keys, int64_t n, int64_t first,
                        int64_t last) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += keys[i] >= first && keys[i] <= last ? numbers[i] : 0;
    return sum;
}

WIDE void add_multiple(int64_t* sums, const int64_t* numbers, const int64_t* steps, int64_t times,
                       int64_t n) {
    for (int64_t i = 0; i < n; ++i) sums[i] = numbers[i] + times * steps[i];
}

// Room of items that may rise up to a target's key, or fall to it, at most what it was.
WIDE void narrow(int64_t* room, const int64_t* keys, int64_t key, bool rising, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const int64_t left = rising ? key - keys[i] : keys[i] - key;
        const int64_t counted = left > 0 ? left : MOST, before = room[i];
        room[i] = counted < before ? counted : before;
    }
}

// Room of items up to the end of the list. An item whose key is the least of a full list is in it,
// or as good as in it.
WIDE void limit_by_end(int64_t* room, const int64_t* keys, bool joins, int64_t least, int64_t lower,
                       int64_t step, int64_t n) {
    const int64_t bar = least == step ? least - 1 : least;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t key = keys[i];
        const int64_t left = joins ? bar - key : key - lower;
        room[i] = (key < least) == joins ? left : MOST;
    }
}

// Find the numbers larger than others; how many there are.
WIDE int64_t find_larger(const int64_t* numbers, const int64_t* others, int64_t n, int32_t* found) {
    constexpr int64_t BLOCK = 16;
    int64_t n_found = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = std::min(n, start + BLOCK);
        int64_t count = 0;
        for (int64_t i = start; i < end; ++i) count += numbers[i] > others[i];
        if (count == 0) continue;
        for (int64_t i = start; i < end; ++i) {
            found[n_found] = static_cast<int32_t>(i);
            n_found += numbers[i] > others[i];
        }
    }
    return n_found;
}

// The numbers of items above targets, after an item's key moved.
WIDE void move_past(int64_t* above, const int64_t* target_keys, int64_t n, int64_t before,
                    int64_t after) {
    for (int64_t t = 0; t < n; ++t)
        above[t] += int64_t{after > target_keys[t]} - int64_t{before > target_keys[t]};
}

}  // namespace

void Reader::lay_out(const Game& game, const double* weights) {
    n_ = game.n, k_ = std::min(game.k, game.n), step_ = game.step;
    width_ = game.n_local();
    mode_ = game.scoring.mode, length_ = game.scoring.length;
    sustainable_factor_ = game.scoring.sustainable_factor;
    empty_value_ = game.scoring.empty_value;
    empty_ = game.base;
    relevant_ = game.relevant;

    // What every row adds to each key.
    shared_.assign(width_, 0);
    std::vector<int64_t> times(width_, 0);
    for (int64_t e = 0; e < game.offsets[n_]; ++e) {
        const int32_t item = game.row_items[e];
        const int64_t value = game.row_values[e];
        shared_[item] = times[item]++ == 0 ? value : std::min(shared_[item], value);
    }
    for (int64_t i = 0; i < width_; ++i)
        if (times[i] < n_) shared_[i] = 0;
    even_ = std::count(shared_.begin(), shared_.end(), 0) == width_;

    quiet_ = !is_sustainable() && empty_value_ == 0.0;
    target_of_.assign(width_, -1), sustainable_.assign(width_, 0);
    target_items_.clear(), sustainable_items_.clear();
    for (int64_t t = 0; t < game.n_tracked(); ++t) {
        const int32_t item = game.tracked_items[t];
        if (game.flags[t] & IS_TARGET) {
            target_of_[item] = static_cast<int32_t>(target_items_.size());
            target_items_.push_back(item);
            quiet_ &= shared_[item] == 0;
        }
        if (game.flags[t] & IS_SUSTAINABLE) {
            sustainable_[item] = 1;
            sustainable_items_.push_back(item);
        }
    }
    n_targets_ = static_cast<int64_t>(target_items_.size());
    for (auto& above : above_) above.resize(n_targets_);
    for (int state : {JOIN, LEAVE}) {
        state_keys_[state].resize(width_), room_[state].resize(width_);
        end_room_[state].resize(width_);
        target_keys_[state].resize(n_targets_);
        last_keys_[state].resize(n_targets_), last_counts_[state].resize(n_targets_);
    }
    worth_.assign(length_ + 1, 0.0);
    for (int64_t above = 0; above < length_; ++above) {
        const double gain = mode_ == AVERAGE_PRECISION ? 1.0 / static_cast<double>(above + 1)
                                                       : game.scoring.gains[above + 1];
        worth_[above] = game.scoring.rank_factor * gain;
    }
    keys_.resize(width_), present_.resize(n_), tight_.resize(width_ + 1);
    chosen_at_.assign(n_, 0), n_readings_ = 0;
    lay_out_rows(game);
    lay_out_postings();
    set_chances(weights);
}

void Reader::lay_out_rows(const Game& game) {
    offsets_.assign(1, 0), blocks_.assign(1, 0), brought_.assign(1, 0);
    row_items_.clear(), row_values_.clear();
    bringers_.clear(), others_.clear();
    brought_targets_.clear(), brought_values_.clear();
    for (int64_t element = 0; element < n_; ++element) {
        for (int64_t e = game.offsets[element]; e < game.offsets[element + 1]; ++e) {
            const int32_t item = game.row_items[e];
            const int64_t value = game.row_values[e] - shared_[item];
            if (value == 0) continue;
            row_items_.push_back(item), row_values_.push_back(value);
            if (target_of_[item] < 0) continue;
            brought_targets_.push_back(target_of_[item]), brought_values_.push_back(value);
        }
        const int64_t start = offsets_.back(), end = static_cast<int64_t>(row_items_.size());
        offsets_.push_back(end);
        blocks_.push_back(blocks_.back() + (end - start + 3) / 4);
        const auto n_brought = static_cast<int64_t>(brought_targets_.size());
        const bool brings = n_brought > brought_.back();
        (brings ? bringers_ : others_).push_back(static_cast<int32_t>(element));
        if (brings) brought_.push_back(n_brought);
    }
}

void Reader::lay_out_postings() {
    postings_.assign(width_ + 1, 0), largest_.assign(width_, 0);
    for (const int32_t element : others_)
        for (int64_t e = offsets_[element]; e < offsets_[element + 1]; ++e) {
            int64_t& largest = largest_[row_items_[e]];
            largest = std::max(largest, row_values_[e]);
            ++postings_[row_items_[e] + 1];
        }
    for (int64_t i = 0; i < width_; ++i) postings_[i + 1] += postings_[i];
    posting_elements_.resize(postings_[width_]), posting_values_.resize(postings_[width_]);
    std::vector<int64_t> next(postings_.begin(), postings_.end() - 1);
    for (const int32_t element : others_)
        for (int64_t e = offsets_[element]; e < offsets_[element + 1]; ++e) {
            const int64_t place = next[row_items_[e]]++;
            posting_elements_[place] = element, posting_values_[place] = row_values_[e];
        }
}

// How often each size of coalition is read, for each permutation, on average: in proportion to the
// root of the variance there, as is best at equal cost: about the number of players who bring a
// target, and one, to the power -3/4 (measured); times the semivalue's factor. A player is read in
// a coalition of t others if t are present and the player is not, or t + 1 are and the player is.
void Reader::set_chances(const double* weights) {
    const double n = static_cast<double>(n_);
    std::vector<double> chances(n_ + 1);
    double mean = 0.0;
    for (int64_t size = 0; size < n_; ++size) mean += weights[size] / n;
    double total = 0.0;
    for (int64_t size = 0; size <= n_; ++size) {
        const auto members = static_cast<double>(size);
        const auto rising = static_cast<double>(static_cast<int64_t>(bringers_.size()) * size);
        const double root = std::sqrt(1.0 + rising / n);
        double weight = 0.05 * mean;
        if (size < n_) weight += weights[size] * (n - members) / n;
        if (size > 0) weight += weights[size - 1] * members / n;
        chances[size] = weight / (root * std::sqrt(root));
        total += chances[size];
    }
    passed_.resize(n_ + 1), factors_.resize(n_);
    double passed = 0.0;
    for (int64_t size = 0; size <= n_; ++size) {
        chances[size] *= static_cast<double>(READINGS) / total;
        passed_[size] = passed += chances[size];
    }
    for (int64_t size = 0; size < n_; ++size) {
        // The chance of a reading, times n.
        const double often = chances[size] * static_cast<double>(n_ - size) +
                             chances[size + 1] * static_cast<double>(size + 1);
        factors_[size] = weights[size] / often;
    }
}

bool Reader::counts(int64_t element) const {
    return k_ < n_ || !even_ || offsets_[element] < offsets_[element + 1];
}

void Reader::add_row(int64_t element, int64_t sign, std::vector<int64_t>& keys) const {
    int64_t* const sums = keys.data();
    const int64_t end = offsets_[element + 1];
    for (int64_t e = offsets_[element]; e < end; ++e) sums[row_items_[e]] += sign * row_values_[e];
}

double Reader::value_of_everyone() {
    add_multiple(state_keys_[JOIN].data(), empty_.data(), shared_.data(), k_, width_);
    for (int64_t element = 0; element < k_; ++element) add_row(element, 1, state_keys_[JOIN]);
    return settle(JOIN, -1);
}

// Ranking part of the value, from the items above each target.
double Reader::ranks_worth(const std::vector<int64_t>& above) const {
    double ranks = 0.0;
    if (mode_ != BEST && mode_ != AVERAGE_PRECISION) {
        for (int64_t t = 0; t < n_targets_; ++t) ranks += worth_[std::min(above[t], length_)];
        return ranks;
    }
    int64_t best = length_;
    for (int64_t t = 0; t < n_targets_; ++t) {
        if (above[t] >= length_) continue;
        best = std::min(best, above[t]);
        if (mode_ == BEST) continue;
        int64_t hits = 0;
        for (int64_t u = 0; u < n_targets_; ++u) hits += above[u] <= above[t];
        ranks += static_cast<double>(hits) * worth_[above[t]];
    }
    return mode_ == BEST ? worth_[best] : ranks;
}

// Find where the list ends, and count its sustainable items.
//
// Items with equal keys are not sustainable, so it does not matter which of them are in the list.
// least: near the least key of the list, at least `step`; tried: whether only the counts are
// wanted.
void Reader::measure_list(const std::vector<int64_t>& keys, int64_t least, bool tried,
                          End& end) const {
    const int64_t* const at = keys.data();
    int64_t count = count_above(at, width_, least - 1);
    while (count > length_) {
        least = smallest_from(at, width_, least);
        const int64_t fewer = count_above(at, width_, least);
        if (fewer < length_) break;
        ++least;
        count = fewer;
    }
    while (count < length_) {
        const int64_t largest = largest_below(at, width_, least);
        if (largest < step_) break;
        least = largest;
        count = count_above(at, width_, least - 1);
    }
    end.least = count < length_ ? step_ : least;
    end.lower = count > length_ ? least : step_;
    end.at_lower = count > length_ ? 0 : -1;
    if (count == length_ && !tried) {
        const int64_t largest = largest_below(at, width_, least);
        end.lower = std::max(largest, step_);
        end.at_lower = largest >= step_ ? 0 : -1;
        end.least = smallest_from(at, width_, least);
    }
    end.n_sustainable = sum_within(sustainable_.data(), at, width_, least, MOST);
    end.n_listed = std::min(count, length_);
}

// Write `at_least` and `at_lower`, of which it is known whether there is such an item.
void Reader::note_boundary(const std::vector<int64_t>& keys, End& end) const {
    const int64_t* const at = sustainable_.data();
    end.at_least = sum_within(at, keys.data(), width_, end.least, end.least);
    if (end.at_lower == 0) end.at_lower = sum_within(at, keys.data(), width_, end.lower, end.lower);
}

// The n-th largest key, or `step` where fewer reach it.
int64_t Reader::nth_largest(const std::vector<int64_t>& keys, int64_t n) const {
    int64_t low = step_, high = std::max(step_, largest_below(keys.data(), width_, MOST) + 1);
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        (count_above(keys.data(), width_, middle - 1) >= n ? low : high) = middle;
    }
    return low;
}

// Count for every target in a state, and measure the list; what it is worth.
//
// near: a state whose list ends near, or -1.
double Reader::settle(int state, int near) {
    const std::vector<int64_t>& keys = state_keys_[state];
    for (int64_t t = 0; t < n_targets_; ++t) {
        const int64_t key = keys[target_items_[t]];
        const bool listed = key >= step_;
        target_keys_[state][t] = listed ? key : MOST;
        above_[state][t] = listed ? count_above(keys.data(), width_, key) : UNLISTED;
    }
    double value = ranks_worth(above_[state]);
    if (is_sustainable()) {
        const int64_t least = near >= 0 ? ends_[near].least : nth_largest(keys, length_);
        measure_list(keys, least, false, ends_[state]);
        note_boundary(keys, ends_[state]);
        value += sustainable_factor_ * ends_[state].share();
    }
    return value;
}

// See `End`. As long as no more items than these move there, and no sustainable one passes the end
// of the list, as many sustainable ones are in it.
int64_t Reader::count_calm(int state) const {
    const int64_t* const keys = state_keys_[state].data();
    const End& end = ends_[state];
    if (end.n_listed < length_) return 0;
    if (state == JOIN) {
        int64_t last = MOST;
        for (const int32_t i : sustainable_items_)
            if (keys[i] >= end.least) last = std::min(last, keys[i]);
        return last == MOST ? MOST : length_ - 1 - count_above(keys, width_, last);
    }
    int64_t next = step_ - 1;
    for (const int32_t i : sustainable_items_)
        if (keys[i] < end.least) next = std::max(next, keys[i]);
    return count_above(keys, width_, next) - length_;
}

// How far each item may move in a state.
void Reader::make_room(int state) {
    const int64_t* const keys = state_keys_[state].data();
    int64_t* const room = room_[state].data();
    std::fill(room, room + width_, MOST);
    if (is_sustainable()) {
        End& end = ends_[state];
        end.n_calm = count_calm(state);
        limit_by_end(end_room_[state].data(), keys, state == JOIN, end.least, end.lower, step_,
                     width_);
        for (const int32_t i : sustainable_items_)
            room[i] = std::exchange(end_room_[state][i], MOST);
    }
    for (int64_t t = 0; t < n_targets_; ++t) {
        const int64_t key = target_keys_[state][t];
        if (key == MOST || (state == JOIN && above_[state][t] >= length_)) continue;
        narrow(room, keys, key, state == JOIN, width_);
    }
}

// Number of keys of a state above one of a target; who is alike often comes together.
int64_t Reader::count_again(int64_t key, int state, int64_t target) {
    if (key != last_keys_[state][target]) {
        last_keys_[state][target] = key;
        last_counts_[state][target] = count_above(state_keys_[state].data(), width_, key);
    }
    return last_counts_[state][target];
}

// Lay out the states for the players to compare with; quietly: whether only newcomers matter.
Reader::Comparison Reader::compare(int64_t size, int64_t worst, bool quietly) {
    std::vector<int64_t>&join = state_keys_[JOIN], &leave = state_keys_[LEAVE];
    for (int state : {JOIN, LEAVE})
        std::fill(last_keys_[state].begin(), last_keys_[state].end(), -1);
    const auto add_shared = [this](auto& sums, const auto& keys, int64_t times) {
        if (even_ || times == 0)
            std::copy(keys.begin(), keys.end(), sums.begin());
        else
            add_multiple(sums.data(), keys.data(), shared_.data(), times, width_);
    };
    add_shared(leave, keys_, std::min(size, k_));
    Comparison found{empty_value_, 0.0, empty_value_};
    if (size > 0) found.value = quietly ? 0.0 : settle(LEAVE, -1);
    if (size < n_) {
        add_shared(join, leave, size < k_);
        if (size >= k_) add_row(worst, -1, join);
        if (even_ && 0 < size && size < k_ && !quietly) {
            found.joined = found.value;
            target_keys_[JOIN] = target_keys_[LEAVE];
            above_[JOIN] = above_[LEAVE];
            ends_[JOIN] = ends_[LEAVE];
        } else {
            found.joined = settle(JOIN, size > 0 && !quietly ? LEAVE : -1);
        }
        make_room(JOIN);
    }
    if (size > 0 && !quietly) {
        if (size > k_) {
            int64_t after = worst + 1;
            while (!present_[after]) ++after;
            add_row(after, 1, leave);
        } else if (size > 1 && !even_) {
            add_multiple(leave.data(), leave.data(), shared_.data(), -1, width_);
        }
        if (size > 1) found.left = size > k_ || !even_ ? settle(LEAVE, LEAVE) : found.value;
        make_room(LEAVE);
    }
    return found;
}

// Choose of those who bring no target, in a state and before `end`, whose row is longer than
// `longer`, who has an entry beyond room.
void Reader::choose_others(int state, int64_t end, const std::vector<int64_t>& room,
                           int64_t longer) {
    const int64_t n_tight = find_larger(largest_.data(), room.data(), width_, tight_.data());
    for (int64_t t = 0; t < n_tight; ++t) {
        const int32_t i = tight_[t];
        for (int64_t place = postings_[i]; place < postings_[i + 1]; ++place) {
            const int32_t element = posting_elements_[place];
            if (element >= end) break;
            if (present_[element] != state || posting_values_[place] <= room[i] ||
                chosen_at_[element] == n_readings_ ||
                offsets_[element + 1] - offsets_[element] <= longer)
                continue;
            chosen_at_[element] = n_readings_;
            chosen_.push_back(element);
        }
    }
}

// What the list is worth after an element changed sides; bringer: its place among them, or -1.
double Reader::worth_with_one_target(int64_t element, int64_t bringer) {
    const int state = present_[element];
    const int64_t sign = state == LEAVE ? -1 : 1;
    const int64_t* const keys = state_keys_[state].data();
    int64_t key = target_keys_[state][0], above = above_[state][0];
    if (bringer >= 0) {
        key = keys[target_items_[0]] + sign * brought_values_[brought_[bringer]];
        if (key < step_) return worth_[length_];
        above = count_again(key, state, 0);
    }
    const int64_t end = offsets_[element + 1];
    for (int64_t e = offsets_[element]; e < end; ++e) {
        const int64_t before = keys[row_items_[e]], after = before + sign * row_values_[e];
        above += int64_t{after > key} - int64_t{before > key};
    }
    return worth_[std::min(above, length_)];
}

// As `worth_with_one_target`. Other targets than those it brings are passed by items beyond room.
double Reader::worth_with_many_targets(int64_t element, int64_t bringer) {
    const int state = present_[element];
    const int64_t sign = state == LEAVE ? -1 : 1;
    const int64_t start = offsets_[element], end = offsets_[element + 1];
    const int64_t *const keys = state_keys_[state].data(), *const room = room_[state].data();
    std::vector<int64_t>& tried = above_[TRIED];
    std::copy(above_[state].begin(), above_[state].end(), tried.begin());
    for (int64_t e = start; e < end; ++e) {
        if (row_values_[e] <= room[row_items_[e]]) continue;
        const int64_t before = keys[row_items_[e]];
        move_past(tried.data(), target_keys_[state].data(), n_targets_, before,
                  before + sign * row_values_[e]);
    }
    if (bringer >= 0) {
        for (int64_t b = brought_[bringer]; b < brought_[bringer + 1]; ++b) {
            const int32_t target = brought_targets_[b];
            const int64_t key = keys[target_items_[target]] + sign * brought_values_[b];
            int64_t above = UNLISTED;
            if (key >= step_) {
                above = count_again(key, state, target);
                for (int64_t e = start; e < end; ++e) {
                    const int64_t before = keys[row_items_[e]];
                    const int64_t after = before + sign * row_values_[e];
                    above += int64_t{after > key} - int64_t{before > key};
                }
            }
            tried[target] = above;
        }
    }
    const double ranks = ranks_worth(tried);
    return is_sustainable() ? ranks + sustainable_factor_ * share_with(element) : ranks;
}

// Sustainable share of the list after an element changed sides.
double Reader::share_with(int64_t element) {
    const int state = present_[element];
    const int64_t sign = state == LEAVE ? -1 : 1;
    std::vector<int64_t>& keys = state_keys_[state];
    const End& end = ends_[state];
    const int64_t bound = state == LEAVE ? end.lower : end.least;
    int64_t crossing = 0, sustainable = 0, moving = 0;
    bool touches = false;
    for (int64_t e = offsets_[element]; e < offsets_[element + 1]; ++e) {
        const int32_t item = row_items_[e];
        const int64_t before = keys[item], after = before + sign * row_values_[e];
        const bool crosses = state == LEAVE ? before >= end.least && after < end.lower
                                            : before < end.least && after >= end.least;
        touches |= before == bound;
        moving += crosses || (state == LEAVE ? before < end.least : after >= end.least);
        crossing += crosses;
        sustainable += crosses && sustainable_[item] != 0;
    }
    if (crossing == 0 || (sustainable == 0 && moving <= end.n_calm)) return end.share();
    End tried = end;
    const bool full = end.n_listed == length_;
    const bool one_for_one = full && !(state == LEAVE && end.at_lower < 0);
    if (crossing == 1 && one_for_one && !touches) {
        // The item at the end makes room for one that joins, or that which follows takes the place
        // of one that leaves, as it does not move itself.
        tried.n_sustainable +=
            state == LEAVE ? end.at_lower - sustainable : sustainable - end.at_least;
    } else if (one_for_one || (state == JOIN && end.n_listed + crossing > length_)) {
        add_row(element, sign, keys);
        measure_list(keys, end.least, true, tried);
        add_row(element, -sign, keys);
    } else {
        tried.n_sustainable += sign * sustainable;
        tried.n_listed += sign * crossing;
    }
    return tried.share();
}

// Add everybody's weighted effect of joining or leaving the coalition present; the work done.
int64_t Reader::read(int64_t size, int64_t worst, bool quietly, double join_factor,
                     double leave_factor, double* gained) {
    const Comparison found = compare(size, worst, quietly);
    const double join_gain = join_factor * (found.joined - found.value);
    const double leave_gain = leave_factor * (found.value - found.left);
    // Who is not among the neighbours, and would not be, has no effect.
    const int64_t end = size < k_ ? n_ : worst + 1;
    const int64_t width = width_ + 4;
    int64_t work = width * (4 + 3 * n_targets_ + (is_sustainable() ? 30 : 0)) / 8;
    const bool one_target = n_targets_ == 1 && !is_sustainable();
    const auto gain = [&](int64_t element, int64_t bringer) {
        const double value = one_target ? worth_with_one_target(element, bringer)
                                        : worth_with_many_targets(element, bringer);
        const double factor = present_[element] ? -leave_factor : join_factor;
        gained[element] += factor * (value - found.value);
    };
    ++n_readings_;
    chosen_.clear();
    if (!quietly) {
        for (int state : {JOIN, LEAVE}) {
            if (state == JOIN ? size == n_ : size <= 1) continue;
            choose_others(state, end, room_[state], 0);
            if (is_sustainable()) choose_others(state, end, end_room_[state], ends_[state].n_calm);
        }
        for (const int32_t element : chosen_) gain(element, -1);
        if (join_gain != 0.0 || leave_gain != 0.0) {
            for (const int32_t element : others_) {
                if (element >= end) break;
                if (chosen_at_[element] != n_readings_)
                    gained[element] += present_[element] ? leave_gain : join_gain;
            }
        }
        work += end + 4 * blocks_[end];
    }
    auto n_looked_at = static_cast<int64_t>(chosen_.size());
    for (int64_t bringer = 0; bringer < static_cast<int64_t>(bringers_.size()); ++bringer) {
        const int32_t element = bringers_[bringer];
        if (element >= end) break;
        if (present_[element] && size == 1) {
            gained[element] += leave_gain;
        } else {
            gain(element, bringer);
            ++n_looked_at;
        }
    }
    return work + n_looked_at * (4 + width / 16 + 2 * n_targets_);
}

// From the first `from` of an order to the first `to`: make them present, and add the rows of the
// neighbours to the keys. worst: of the neighbours before. Returns the worst of them after.
int64_t Reader::fill(const uint32_t* order, int64_t from, int64_t to, int64_t worst) {
    for (; from < std::min(to, k_); ++from) {
        const int64_t element = order[from];
        present_[element] = 1;
        worst = std::max(worst, element);
        add_row(element, 1, keys_);
    }
    // Beyond k, every one who is better than the worst drives one out.
    int64_t n_better = 0;
    for (int64_t j = from; j < to; ++j) {
        present_[order[j]] = 2;
        n_better += order[j] < worst;
    }
    for (; n_better > 0; --n_better) {
        if (present_[worst] == 1) add_row(worst, -1, keys_);
        while (!present_[--worst]) continue;
    }
    for (int64_t j = from; j < to; ++j) {
        present_[order[j]] = 1;
        if (order[j] <= worst) add_row(order[j], 1, keys_);
    }
    return worst;
}

int64_t Reader::read_permutation(const uint32_t* order, double point, double* gained) {
    std::copy(empty_.begin(), empty_.end(), keys_.begin());
    std::fill(present_.begin(), present_.end(), 0);
    int64_t here = 0, worst = 0, inside = 0, work = 0;
    while (point < static_cast<double>(READINGS)) {
        const int64_t size =
            std::upper_bound(passed_.begin() + here, passed_.end(), point) - passed_.begin();
        if (size > n_) return work + 2 * n_;
        worst = fill(order, here, size, worst);
        for (; here < size; ++here) inside += relevant_[order[here]];
        double times = 0.0;
        for (; point < passed_[size]; point += 1.0) times += 1.0;
        const double join_factor = size < n_ ? times * factors_[size] : 0.0;
        const double leave_factor = size > 0 ? times * factors_[size - 1] : 0.0;
        work += read(size, worst, quiet_ && inside == 0, join_factor, leave_factor, gained);
    }
    return work + 2 * here;
}

}  // namespace whence

#include "game.h"

#include "counting.h"

namespace whence {

void Draft::clear() {
    offsets.assign(1, 0);
    row_items.clear(), row_values.clear();
    numbers.clear(), empty_scores.clear(), flags.clear();
}

// A target is listed with at least the least that one row gives it; an item whose rows together
// give less (or as much, with a larger number) never stands above it.
void Draft::drop_harmless() {
    const int64_t n = static_cast<int64_t>(offsets.size()) - 1;
    const int64_t n_local = static_cast<int64_t>(numbers.size());
    std::vector<int64_t> totals(empty_scores);
    int64_t least = int64_t{1} << 62, number = -1;
    for (int64_t e = 0; e < offsets[n]; ++e) {
        const int32_t item = row_items[e];
        totals[item] += row_values[e];
        if (flags[item] == 0 || row_values[e] <= 0) continue;
        if (row_values[e] < least)
            least = row_values[e], number = numbers[item];
        else if (row_values[e] == least)
            number = std::max<int64_t>(number, numbers[item]);
    }
    for (int64_t i = 0; i < n_local; ++i)
        if (flags[i] != 0 && 0 < empty_scores[i] && empty_scores[i] <= least)
            least = empty_scores[i], number = int64_t{1} << 31;
    std::vector<int32_t> new_of(n_local, -1);
    int32_t n_left = 0;
    for (int64_t i = 0; i < n_local; ++i) {
        if (flags[i] == 0 && totals[i] <= least && (totals[i] != least || numbers[i] >= number))
            continue;
        new_of[i] = n_left;
        numbers[n_left] = numbers[i];
        empty_scores[n_left] = empty_scores[i];
        flags[n_left++] = flags[i];
    }
    numbers.resize(n_left), empty_scores.resize(n_left), flags.resize(n_left);
    int64_t n_entries = 0, start = offsets[0];
    for (int64_t element = 0; element < n; ++element) {
        const int64_t end = offsets[element + 1];
        for (int64_t e = start; e < end; ++e) {
            const int32_t item = new_of[row_items[e]];
            if (item < 0) continue;
            row_items[n_entries] = item;
            row_values[n_entries++] = row_values[e];
        }
        start = end;
        offsets[element + 1] = n_entries;
    }
    row_items.resize(n_entries), row_values.resize(n_entries);
}

void Game::finish(int64_t query, int64_t neighbours, int64_t pool, Draft& draft,
                  Vector<const int32_t> age, const Utility& utility) {
    k = neighbours, m = pool, n = static_cast<int64_t>(draft.offsets.size()) - 1;
    is_counting_ = utility.sustainable_factor != 0.0;
    if (!is_counting_) draft.drop_harmless();
    const int64_t n_local = static_cast<int64_t>(draft.numbers.size());
    tracked_items.clear(), flags.clear();
    tracked_of.assign(n_local, -1);
    for (int64_t i = 0; i < n_local; ++i) {
        if (draft.flags[i] == 0) continue;
        tracked_of[i] = static_cast<int32_t>(tracked_items.size());
        tracked_items.push_back(static_cast<int32_t>(i));
        flags.push_back(draft.flags[i]);
    }
    step = 2 * n_tracked() + 2;
    std::vector<int32_t> tracked_numbers;
    for (const int32_t i : tracked_items) tracked_numbers.push_back(draft.numbers[i]);
    std::sort(tracked_numbers.begin(), tracked_numbers.end());
    base.resize(n_local);
    for (int64_t i = 0; i < n_local; ++i) {
        const auto larger =
            tracked_numbers.end() -
            std::upper_bound(tracked_numbers.begin(), tracked_numbers.end(), draft.numbers[i]);
        base[i] = 2 * larger + (draft.flags[i] != 0);
    }
    std::swap(offsets, draft.offsets);
    std::swap(row_items, draft.row_items);
    std::swap(row_values, draft.row_values);
    for (int64_t& value : row_values) value *= step;
    relevant.assign(n, 0);
    for (int64_t element = 0; element < n; ++element)
        for (int64_t e = offsets[element]; e < offsets[element + 1]; ++e)
            if (tracked_of[row_items[e]] >= 0) relevant[element] = 1;
    age_.assign(age.begin(), age.end());
    by_age_.resize(age.size);
    for (int64_t element = 0; element < age.size; ++element)
        by_age_[age[element]] = static_cast<int32_t>(element);
    keys_.resize(n_local);
    tracked_keys_.resize(n_tracked()), above_.resize(n_tracked());
    present_.resize(n), in_time_.resize(n);
    work = 0;
    scoring = {
        utility.mode, utility.length, utility.rank_factors[query], utility.sustainable_factor,
        0.0,          utility.gains};
    scoring.empty_value = value_of_nobody(draft.empty_scores);
}

double Game::value_of_nobody(const std::vector<int64_t>& scores) {
    n_positive_ = 0;
    for (int64_t i = 0; i < n_local(); ++i) {
        keys_[i] = base[i] + step * scores[i];
        n_positive_ += scores[i] > 0;
    }
    if (n_positive_ == 0) return 0.0;
    for (int64_t t = 0; t < n_tracked(); ++t) recount(t);
    return value_of_many();
}

void Game::reset() {
    std::copy(base.begin(), base.end(), keys_.begin());
    for (int64_t t = 0; t < n_tracked(); ++t) {
        tracked_keys_[t] = base[tracked_items[t]];
        above_[t] = 0;
    }
    std::fill(present_.begin(), present_.end(), 0);
    std::fill(in_time_.begin(), in_time_.end(), 0);
    n_pool_ = n_present = n_positive_ = 0;
    worst_ = oldest_ = -1;
    changed = false;
}

// Value of the ranks of the tracked items, and of the sustainable share.
double Game::value_of_many() const {
    const int64_t length = scoring.length, n_tracked = this->n_tracked();
    double ranks = 0.0;
    int64_t best = length, sustainable = 0;
    for (int64_t t = 0; t < n_tracked; ++t) {
        const int64_t above = above_[t];
        if (tracked_keys_[t] < step || above >= length) continue;
        if (flags[t] & IS_TARGET) {
            if (scoring.mode == ADDITIVE) {
                ranks += scoring.gains[above + 1];
            } else if (scoring.mode == BEST) {
                best = std::min(best, above);
            } else if (scoring.mode == AVERAGE_PRECISION) {
                // Hits at or above this rank, itself included, over the rank.
                int64_t found = 0;
                for (int64_t u = 0; u < n_tracked; ++u)
                    found += (flags[u] & IS_TARGET) != 0 && tracked_keys_[u] >= step &&
                             above_[u] <= above;
                ranks += static_cast<double>(found) / static_cast<double>(above + 1);
            }
        }
        sustainable += (flags[t] & IS_SUSTAINABLE) != 0;
    }
    if (scoring.mode == BEST && best < length) ranks = scoring.gains[best + 1];
    double value = scoring.rank_factor * ranks;
    if (sustainable > 0)
        value += scoring.sustainable_factor * (static_cast<double>(sustainable) /
                                               static_cast<double>(std::min(length, n_positive_)));
    return value;
}

double Game::value() const {
    if (n_present == 0) return scoring.empty_value;
    if (!has_one_target() || scoring.mode == AVERAGE_PRECISION) return value_of_many();
    if (tracked_keys_[0] < step || above_[0] >= scoring.length) return 0.0;
    return scoring.rank_factor * scoring.gains[above_[0] + 1];
}

double Game::value_of_all() {
    reset();
    for (int64_t element = 0; element < n; ++element) insert(element);
    return value();
}

// Count the items above tracked item t afresh.
void Game::recount(int64_t t) {
    const int64_t key = keys_[tracked_items[t]];
    tracked_keys_[t] = key;
    if (key < step) return;
    above_[t] = count_above(keys_.data(), n_local(), key);
}

// Count afresh for the tracked items that a row touches.
void Game::recount_row(int64_t element) {
    for (int64_t e = offsets[element]; e < offsets[element + 1]; ++e)
        if (tracked_of[row_items[e]] >= 0) recount(tracked_of[row_items[e]]);
}

// Add (sign 1) or take away (-1) a row, without counting.
void Game::add_row(int64_t element, int64_t sign) {
    int64_t* const keys = keys_.data();
    for (int64_t e = offsets[element]; e < offsets[element + 1]; ++e)
        keys[row_items[e]] += sign * row_values[e];
}

// The same; the change of the number of items above a key.
int64_t Game::add_row_past_one(int64_t element, int64_t sign, int64_t key) {
    int64_t* const keys = keys_.data();
    int64_t above = 0;
    for (int64_t e = offsets[element]; e < offsets[element + 1]; ++e) {
        int64_t& own = keys[row_items[e]];
        above -= own > key;
        own += sign * row_values[e];
        above += own > key;
    }
    return above;
}

// The same where several items are tracked, which need a recount after if the row touches them.
void Game::add_row_past_many(int64_t element, int64_t sign) {
    int64_t* const keys = keys_.data();
    const int64_t start = offsets[element], n_entries = offsets[element + 1] - start;
    before_.resize(n_entries), after_.resize(n_entries);
    for (int64_t e = 0; e < n_entries; ++e) {
        int64_t& key = keys[row_items[start + e]];
        before_[e] = key;
        after_[e] = key += sign * row_values[start + e];
    }
    n_positive_ += count_passing(before_.data(), after_.data(), n_entries, step - 1);
    for (int64_t t = 0; t < n_tracked(); ++t)
        above_[t] += count_passing(before_.data(), after_.data(), n_entries, tracked_keys_[t]);
}

// One element becomes a neighbour and one stops being one; -1 for none.
void Game::change_neighbours(int64_t entering, int64_t leaving) {
    if (entering >= 0) work += offsets[entering + 1] - offsets[entering];
    if (leaving >= 0) work += offsets[leaving + 1] - offsets[leaving];
    const bool entering_matters = entering >= 0 && relevant[entering];
    const bool leaving_matters = leaving >= 0 && relevant[leaving];
    if (!has_one_target()) {
        if (entering >= 0) add_row_past_many(entering, 1);
        if (leaving >= 0) add_row_past_many(leaving, -1);
        if (entering_matters) recount_row(entering);
        if (leaving_matters) recount_row(leaving);
        changed = true;
        return;
    }
    // The common case, one target: its own key moves only with rows that touch it.
    const bool moves = entering_matters || leaving_matters;
    const int64_t key = tracked_keys_[0];
    if (moves || key < step) {
        if (entering >= 0) add_row(entering, 1);
        if (leaving >= 0) add_row(leaving, -1);
        if (moves) {
            recount(0);
            changed = true;
        }
        return;
    }
    int64_t above = 0;
    if (entering >= 0) above += add_row_past_one(entering, 1, key);
    if (leaving >= 0) above += add_row_past_one(leaving, -1, key);
    above_[0] += above;
    changed |= above != 0;
}

// An element joins the pool; at most one neighbour makes room for it.
void Game::enter_pool(int64_t element) {
    present_[element] = 1;
    if (++n_pool_ <= k) {
        worst_ = std::max(worst_, element);
        change_neighbours(element, -1);
    } else if (element < worst_) {
        const int64_t leaving = worst_;
        while (!present_[--worst_]) continue;
        change_neighbours(element, leaving);
    }
}

// An element leaves the pool; the next best takes its place among the neighbours.
void Game::leave_pool(int64_t element) {
    present_[element] = 0;
    --n_pool_;
    if (element > worst_) return;
    int64_t entering = -1;
    if (n_pool_ >= k) {
        while (!present_[++worst_]) continue;
        entering = worst_;
    } else if (element == worst_) {
        while (--worst_ >= 0 && !present_[worst_]) continue;
    }
    change_neighbours(entering, element);
}

// Insert where the pool holds the m most recent only.
void Game::insert_recent(int64_t element) {
    const int64_t age = age_[element];
    in_time_[age] = 1;
    if (++n_present > m) {
        if (age > oldest_) return;
        leave_pool(by_age_[oldest_]);
        while (!in_time_[--oldest_]) continue;
    } else {
        oldest_ = std::max(oldest_, age);
    }
    enter_pool(element);
}

// Remove where the pool holds the m most recent only.
void Game::remove_recent(int64_t element) {
    const int64_t age = age_[element];
    in_time_[age] = 0;
    --n_present;
    if (age > oldest_) return;
    leave_pool(element);
    if (n_present >= m) {
        while (!in_time_[++oldest_]) continue;
        enter_pool(by_age_[oldest_]);
    } else if (age == oldest_) {
        while (--oldest_ >= 0 && !in_time_[oldest_]) continue;
    }
}

void Game::insert(int64_t element) {
    if (m < n) return insert_recent(element);
    ++n_present;
    enter_pool(element);
}

void Game::remove(int64_t element) {
    if (m < n) return remove_recent(element);
    --n_present;
    leave_pool(element);
}

// The value stays 0 meanwhile, so only the keys of the final neighbours are needed.
void Game::insert_irrelevant(const uint32_t* order, int64_t n_first) {
    if (m < n) {
        for (int64_t j = 0; j < n_first; ++j) insert_recent(order[j]);
        return;
    }
    for (int64_t j = 0; j < n_first; ++j) present_[order[j]] = 1;
    n_pool_ = n_present = n_first;
    int64_t neighbours = std::min(n_first, k);
    for (int64_t element = 0; neighbours > 0; ++element) {
        if (!present_[element]) continue;
        --neighbours;
        worst_ = element;
        work += offsets[element + 1] - offsets[element];
        for (int64_t e = offsets[element]; e < offsets[element + 1]; ++e) {
            int64_t& key = keys_[row_items[e]];
            n_positive_ -= key >= step;
            key += row_values[e];
            n_positive_ += key >= step;
        }
    }
}

}  // namespace whence

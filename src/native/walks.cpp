#include "walks.h"

#include "ranking.h"

namespace whence {

void Players::form(const std::vector<int32_t>& sources, int64_t owner_source,
                   Vector<const int32_t> group_of) {
    const auto n = static_cast<int64_t>(sources.size());
    singles = group_of.size == 0;
    owner = -1;
    ids.clear();
    offsets.assign(1, 0);
    members.resize(n);
    for (int64_t element = 0; element < n; ++element) members[element] = element;
    if (singles) {
        ids.assign(sources.begin(), sources.end());
        for (int64_t element = 0; element < n; ++element) offsets.push_back(element + 1);
    } else {
        std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
            return group_of[sources[a]] < group_of[sources[b]];
        });
        for (int64_t place = 0; place < n; ++place) {
            const int64_t group = group_of[sources[members[place]]];
            if (ids.empty() || ids.back() != group) {
                ids.push_back(group);
                offsets.push_back(place);
            }
            offsets.back() = place + 1;
        }
    }
    if (owner_source < 0) return;
    const int64_t id = singles ? owner_source : group_of[owner_source];
    const auto found = singles ? ids.end() : std::find(ids.begin(), ids.end(), id);
    owner = found - ids.begin();
    if (found == ids.end()) {
        ids.push_back(id);
        offsets.push_back(n);
    }
}

namespace {

void join(Game& game, const Players& players, int64_t player) {
    for (int64_t place = players.offsets[player]; place < players.offsets[player + 1]; ++place)
        game.insert(players.members[place]);
}

void leave(Game& game, const Players& players, int64_t player) {
    for (int64_t place = players.offsets[player]; place < players.offsets[player + 1]; ++place)
        game.remove(players.members[place]);
}

bool same_row(const Game& game, int64_t a, int64_t b) {
    const int64_t length = game.offsets[a + 1] - game.offsets[a];
    if (game.offsets[b + 1] - game.offsets[b] != length) return false;
    const auto are_equal = [&](const auto& row) {
        const auto start = row.begin() + game.offsets[a];
        return std::equal(start, start + length, row.begin() + game.offsets[b]);
    };
    return are_equal(game.row_items) && are_equal(game.row_values);
}

}  // namespace

Kinds group_identical(const Game& game, int64_t limit) {
    std::vector<int64_t> kind_of(game.n), first, counts;
    double combinations = 1.0;
    for (int64_t element = 0; element < game.n; ++element) {
        size_t kind = 0;
        while (kind < first.size() && !same_row(game, first[kind], element)) ++kind;
        if (kind == first.size()) first.push_back(element), counts.push_back(0);
        kind_of[element] = static_cast<int64_t>(kind);
        const auto count = static_cast<double>(++counts[kind]);
        combinations *= (count + 1.0) / count;
        if (combinations > static_cast<double>(limit) + 0.5) return {};
    }
    std::vector<int64_t> players(game.n);
    stable_argsort(Vector<const int64_t>(kind_of.data(), game.n), {players.data(), game.n});
    return {std::move(counts), std::move(players)};
}

std::vector<double> exact_semivalue(Game& game, const Players& players, const double* weights,
                                    const Kinds& kinds) {
    const std::vector<int64_t>& counts = kinds.counts;
    const size_t n_kinds = counts.size();
    const int64_t n_players = players.size(), owner = players.owner;
    std::vector<int64_t> first(n_kinds + 1, 0), taken(n_kinds, 0), direction(n_kinds, 1);
    for (size_t j = 0; j < n_kinds; ++j) first[j + 1] = first[j] + counts[j];
    std::vector<double> credit(n_kinds, 0.0), combinations(n_kinds, 1.0);
    int64_t size = 0;
    bool awake = owner < 0;
    game.reset();
    while (true) {
        const double value = awake ? game.value() : 0.0;
        if (value != 0.0) {
            double multiplicity = 1.0;
            for (const double some : combinations) multiplicity *= some;
            const double joined = size > 0 ? weights[size - 1] * multiplicity * value : 0.0;
            const double missed = size < n_players ? weights[size] * multiplicity * value : 0.0;
            for (size_t j = 0; j < n_kinds; ++j)
                credit[j] += joined * static_cast<double>(taken[j]) -
                             missed * static_cast<double>(counts[j] - taken[j]);
        }
        size_t j = 0;
        for (; j < n_kinds; ++j) {
            const int64_t next = taken[j] + direction[j];
            if (0 <= next && next <= counts[j]) break;
            direction[j] = -direction[j];
        }
        if (j == n_kinds) break;
        const bool joins = direction[j] > 0;
        if (!joins) --taken[j], --size;
        const double less = static_cast<double>(counts[j] - taken[j]);
        const double more = static_cast<double>(taken[j] + 1);
        combinations[j] *= joins ? less / more : more / less;
        const int64_t player = kinds.players[first[j] + taken[j]];
        if (joins) ++taken[j], ++size;
        if (player == owner) awake = joins;
        (joins ? join : leave)(game, players, player);
    }
    std::vector<double> values(n_players);
    for (size_t j = 0; j < n_kinds; ++j)
        for (int64_t i = first[j]; i < first[j + 1]; ++i)
            values[kinds.players[i]] = credit[j] / static_cast<double>(counts[j]);
    return values;
}

double leave_each_out(Game& game, const Players& players, std::vector<double>& values) {
    const double full = game.value_of_all();
    values.assign(players.size(), 0.0);
    for (int64_t player = 0; player < players.size(); ++player) {
        if (player == players.owner) {
            values[player] = full;
            continue;
        }
        game.changed = false;
        leave(game, players, player);
        if (game.changed || game.n_present == 0) values[player] = full - game.value();
        join(game, players, player);
    }
    return full;
}

void Walker::begin(int64_t n_players) {
    sums.assign(n_players, 0.0), squares.assign(n_players, 0.0);
    gained_.assign(n_players, 0.0);
    order_.resize(n_players);
}

// Add what the players gained, mean over the passes, and its square; and forget it.
void Walker::close_replicate(int64_t passes) {
    for (size_t player = 0; player < gained_.size(); ++player) {
        const double mean = gained_[player] / static_cast<double>(passes);
        sums[player] += mean;
        squares[player] += mean * mean;
        gained_[player] = 0.0;
    }
}

// Draw a permutation of players: of each query its own, or one of all players, by their ids.
void Walker::draw_order(const Players& players, const Plan& plan, int64_t query, int64_t number) {
    const int64_t n = players.size();
    for (int64_t j = 0; j < n; ++j) order_[j] = static_cast<uint32_t>(j);
    if (!plan.shared)
        return shuffle(Vector<uint32_t>(order_.data(), n), stream(plan.seed, query, number));
    const uint64_t start = stream(plan.seed, 0, number);
    const auto key = [&](uint32_t player) {
        return mix(start + static_cast<uint64_t>(players.ids[player] + 1)) >> 1;
    };
    std::stable_sort(order_.begin(), order_.end(),
                     [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
}

// One permutation: add the weighted marginal contributions to what was gained.
void Walker::walk(Game& game, const Players& players, const std::vector<uint8_t>& relevant,
                  const double* weights) {
    const int64_t n = players.size(), owner = players.owner;
    game.reset();
    double value = owner < 0 ? game.scoring.empty_value : 0.0;
    int64_t here = 0;
    if (players.singles && owner < 0) {
        // As long as no tracked item can appear, the value stays what it is.
        while (here < n && !relevant[order_[here]]) ++here;
        if (here == n) return;
        game.insert_irrelevant(order_.data(), here);
    }
    bool awake = owner < 0;
    for (int64_t j = here; j < n; ++j) {
        const int64_t player = order_[j];
        game.changed = false;
        if (player == owner) awake = game.changed = true;
        join(game, players, player);
        if (!awake || !(game.changed || j == 0)) continue;
        const double now = game.value();
        gained_[player] += weights[j] * (now - value);
        value = now;
    }
}

// As `sample_permutations`, where the game can be read.
double Walker::read(const Game& game, const double* weights, const Plan& plan, Draw draw) {
    const int64_t n = game.n, passes = plan.antithetic ? 2 : 1;
    reader_.lay_out(game, weights);
    std::vector<uint8_t> active(n);
    int64_t n_active = 0;
    for (int64_t j = 0; j < n; ++j) n_active += active[j] = reader_.counts(j);
    const double everyone =
        static_cast<double>(passes) * (reader_.value_of_everyone() - reader_.empty_value());
    const bool efficient = std::all_of(weights, weights + n, [](double w) { return w == 1.0; });
    int64_t work = 0;
    for (int64_t replicate = draw.first; replicate < draw.first + draw.units; ++replicate) {
        const uint64_t start = stream(plan.seed, draw.query, replicate);
        for (int64_t j = 0; j < n; ++j) order_[j] = static_cast<uint32_t>(j);
        shuffle(Vector<uint32_t>(order_.data(), n), start);
        double point = static_cast<double>(mix(start) >> 11) / 0x1p53;
        for (int64_t pass = 0; pass < passes; ++pass) {
            work += reader_.read_permutation(order_.data(), point, gained_.data());
            std::reverse(order_.begin(), order_.end());
            point += point < 0.5 ? 0.5 : -0.5;
        }
        if (efficient) {
            // Spread what the gains lack of a sum known beforehand evenly.
            double missing = everyone;
            for (const double gain : gained_) missing -= gain;
            const double part = missing / static_cast<double>(n_active);
            for (int64_t j = 0; j < n; ++j)
                if (active[j]) gained_[j] += part;
        }
        close_replicate(passes);
    }
    return static_cast<double>(work);
}

double Walker::sample_permutations(Game& game, const Players& players, const double* weights,
                                   const Plan& plan, Draw draw) {
    const int64_t n = players.size(), passes = plan.antithetic ? 2 : 1;
    begin(n);
    if (players.singles && players.owner < 0 && game.m >= game.n && !plan.shared)
        return read(game, weights, plan, draw);
    std::vector<uint8_t> relevant(n, 0);
    for (int64_t j = 0; j < n; ++j)
        for (int64_t e = players.offsets[j]; e < players.offsets[j + 1]; ++e)
            if (game.relevant[players.members[e]]) relevant[j] = 1;
    for (int64_t replicate = draw.first; replicate < draw.first + draw.units; ++replicate) {
        for (int64_t turn = 0; turn < READINGS; ++turn) {
            draw_order(players, plan, draw.query, replicate * READINGS + turn);
            for (int64_t pass = 0; pass < passes; ++pass) {
                walk(game, players, relevant, weights);
                std::reverse(order_.begin(), order_.end());
            }
        }
        close_replicate(READINGS * passes);
    }
    return static_cast<double>(game.work) +
           static_cast<double>(n) * static_cast<double>(draw.units) *
               static_cast<double>(READINGS) * static_cast<double>(passes);
}

// One subset: add every player's weighted effect to what was gained.
void Walker::walk_subset(Game& game, const Players& players, const double* weights) {
    const int64_t n = players.size(), owner = players.owner;
    game.reset();
    int64_t size = 0;
    for (int64_t player = 0; player < n; ++player) {
        size += flips_[player];
        if (flips_[player]) join(game, players, player);
    }
    const bool awake = owner < 0 || flips_[owner] == 1;
    const double value = awake ? game.value() : 0.0;
    for (int64_t player = 0; player < n; ++player) {
        if (!awake && player != owner) continue;
        const bool is_in = flips_[player] == 1;
        const bool alone = game.n_present <= players.size_of(player);
        game.changed = false;
        (is_in ? leave : join)(game, players, player);
        double other = value;
        if (player == owner && awake)
            other = 0.0;
        else if (player == owner || game.changed || alone)
            other = game.value();
        gained_[player] += weights[size - is_in] * (is_in ? value - other : other - value);
        (is_in ? join : leave)(game, players, player);
    }
}

double Walker::sample_subsets(Game& game, const Players& players, const double* weights,
                              const Plan& plan, Draw draw) {
    const int64_t n = players.size(), passes = plan.antithetic ? 2 : 1;
    begin(n);
    flips_.resize(n);
    for (int64_t replicate = draw.first; replicate < draw.first + draw.units; ++replicate) {
        coin_flips(Vector<uint8_t>(flips_.data(), n), stream(plan.seed, draw.query, replicate));
        for (int64_t pass = 0; pass < passes; ++pass) {
            walk_subset(game, players, weights);
            for (uint8_t& flip : flips_) flip = 1 - flip;
        }
        close_replicate(passes);
    }
    return static_cast<double>(game.work) +
           static_cast<double>(n) * static_cast<double>(draw.units) * static_cast<double>(passes);
}

}  // namespace whence

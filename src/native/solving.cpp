#include "solving.h"

namespace whence {

Kinds exact_kinds(const Game& game, const Players& players, int64_t limit, const Weights& weights) {
    const int64_t n = players.size();
    if (n >= weights.size_starts.size) return {};
    if (n < 62 && (int64_t{1} << n) <= limit) {
        Kinds kinds{std::vector<int64_t>(n, 1), std::vector<int64_t>(n)};
        for (int64_t player = 0; player < n; ++player) kinds.players[player] = player;
        return kinds;
    }
    if (!players.singles || game.n > game.k || game.n > game.m) return {};
    Kinds kinds = group_identical(game, players.owner >= 0 ? limit / 2 : limit);
    if (players.owner >= 0 && !kinds.counts.empty()) {
        kinds.counts.push_back(1);
        kinds.players.push_back(players.owner);
    }
    return kinds;
}

bool begin_query(int64_t query, Game& game, const Players& players, const Plan& plan,
                 const Weights& weights, Sums& sums) {
    if (!plan.fresh) return false;
    const int64_t n = players.size();
    sums.note_values(query, game.value_of_all(),
                     players.owner < 0 ? game.scoring.empty_value : 0.0);
    for (int64_t player = 0; player < n; ++player)
        if (player != players.owner) ++sums.at(players.ids[player]).appearances;
    if (game.n_tracked() == 0 || n == 0) {
        sums.note_status(query, CONSTANT);
        return true;
    }
    const Kinds kinds = exact_kinds(game, players, plan.exact_limit, weights);
    if (kinds.counts.empty()) return false;
    const double* const sizes = weights.sizes.data + weights.size_starts[n];
    const std::vector<double> values = exact_semivalue(game, players, sizes, kinds);
    for (int64_t player = 0; player < n; ++player)
        sums.at(players.ids[player], player == players.owner).exact += values[player];
    sums.note_status(query, EXACT);
    return true;
}

void add_sample(Draw draw, const Players& players, const Walker& walker, double work, Sums& sums) {
    const auto units = static_cast<double>(draw.units);
    double spread = 0.0;
    for (int64_t player = 0; player < players.size(); ++player) {
        PlayerSums& own = sums.at(players.ids[player], player == players.owner);
        const double mean = walker.sums[player] / units;
        own.mean += mean;
        if (draw.units > 1) {
            const double variance =
                std::max(0.0, walker.squares[player] - units * mean * mean) / (units - 1.0);
            own.variance += variance / units;
            spread += variance;
        }
    }
    sums.note_sample(draw.query, spread, work);
}

void leave_out_of_query(int64_t query, Game& game, const Players& players,
                        const std::vector<int32_t>& others, Sums& sums) {
    const double nothing = players.owner >= 0 ? 0.0 : game.scoring.empty_value;
    if (game.n_tracked() == 0) {
        sums.note_status(query, CONSTANT);
        sums.note_values(query, 0.0, nothing);
        return;
    }
    std::vector<double> values;
    const double everyone = leave_each_out(game, players, values);
    sums.note_status(query, EXACT);
    sums.note_values(query, everyone, nothing);
    for (int64_t player = 0; player < players.size(); ++player)
        sums.at(players.ids[player], player == players.owner).exact += values[player];
    if (others.empty()) return;
    game.m = game.n;  // room for all
    const double change = everyone - game.value_of_all();
    for (const int32_t source : others) sums.at(source).exact += change;
}

}  // namespace whence

void bind_valuation(nb::module_& module) {
    using namespace whence;
    note_layout<Plan>("Plan");
    note_layout<Weights>("Weights");
    module.attr("READINGS") = READINGS;
    kernel(module, "add_to_cells", add_to_cells<double>);
    nb::class_<Sums>(module, "Sums", "What a block of queries adds up, and finds out.")
        .def(nb::init<int64_t, int64_t>(), nb::arg("first"), nb::arg("last"))
        .def("note_status",
             [](Sums& sums, int64_t query, int64_t status) {
                 sums.note_status(query, static_cast<Status>(status));
             })
        .def("note_values", &Sums::note_values)
        .def("note_sample", &Sums::note_sample)
        .def("count", &Sums::count)
        .def("add_exact", &Sums::add_exact)
        .def("add_estimates", &Sums::add_estimates)
        .def("by_cell", &Sums::by_cell,
             "Cells of a table [n_players, 2], exact values, means, variances, appearances [p].")
        .def("by_query", &Sums::by_query,
             "Status, spread, work, value_all and value_nothing, each [q].");
}

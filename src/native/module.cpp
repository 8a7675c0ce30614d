// The extension module `whence._native`: what each room's kernels bind, under one roof.
#include "arrays.h"

void bind_click_deletions(nb::module_& module);
void bind_coalition_lists(nb::module_& module);
void bind_factor_blocks(nb::module_& module);
void bind_factor_models(nb::module_& module);
void bind_factors(nb::module_& module);
void bind_forgetting(nb::module_& module);
void bind_gradients(nb::module_& module);
void bind_metrics(nb::module_& module);
void bind_negatives(nb::module_& module);
void bind_neighbours(nb::module_& module);
void bind_ranking(nb::module_& module);
void bind_recurrent(nb::module_& module);
void bind_resampling(nb::module_& module);
void bind_screening(nb::module_& module);
void bind_selection(nb::module_& module);
void bind_session_games(nb::module_& module);
void bind_strongest(nb::module_& module);
void bind_training(nb::module_& module);
void bind_user_deletions(nb::module_& module);
void bind_user_games(nb::module_& module);
void bind_valuation(nb::module_& module);

NB_MODULE(_native, module) {
    module.doc() = "Compiled kernels.";
    bind_click_deletions(module);
    bind_coalition_lists(module);
    bind_factor_blocks(module);
    bind_factor_models(module);
    bind_factors(module);
    bind_forgetting(module);
    bind_gradients(module);
    bind_metrics(module);
    bind_negatives(module);
    bind_neighbours(module);
    bind_ranking(module);
    bind_recurrent(module);
    bind_resampling(module);
    bind_screening(module);
    bind_selection(module);
    bind_session_games(module);
    bind_strongest(module);
    bind_training(module);
    bind_user_deletions(module);
    bind_user_games(module);
    bind_valuation(module);
    module.def(
        "layouts",
        [] {
            nb::dict known;
            for (const auto& [name, fields] : whence::layouts()) known[name] = fields;
            return known;
        },
        "Names of the fields of each struct, as C++ has them, by the name of the named tuple.");
}

// ${…} inside string values: at load from the environment, at spawn for what differs per instance.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace greensup {

/// What went wrong in a text, and at which byte of it.
struct VariableMistake {
    std::size_t at = 0;
    std::string message;
    std::string hint;
};

struct Expanded {
    std::string text;
    std::vector<VariableMistake> mistakes;
};

/// Replaces ${NAME}, ${NAME:-default}, ${NAME:?text}; $$ is a dollar; a $ before anything else is
/// itself. Names with a dot are built-ins and come from `built_in`. ${instance.…} and $$ are
/// left as they are if `keep_instance`, for expand_instance at spawn time.
/// An empty variable counts as not set for :- and :?.
Expanded expand(std::string_view text, const std::map<std::string, std::string>& variables,
                const std::map<std::string, std::string>& built_in, bool keep_instance);

/// The values that only a single instance knows.
struct InstanceVariables {
    int index = 0;
    int count = 1;
    unsigned long long generation = 0;
};

/// Second half: replaces ${instance.index}, ${instance.count}, ${instance.generation}, and $$ by $.
std::string expand_instance(std::string_view text, const InstanceVariables& instance);

}  // namespace greensup

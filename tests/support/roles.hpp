#pragma once
// A test program is its own helper process: GREEN_TEST_ROLE(name) { ... return exit_code; } is run
// by `self() --role=name arguments...`.

#include <optional>
#include <string>
#include <vector>

namespace tests {

using Arguments = std::vector<std::string>;
using Role = int (*)(const Arguments& arguments);

/// Asked first by main(): whether the program was started as something else, and then its code.
using Beginning = std::optional<int> (*)(int argc, char** argv);
bool register_beginning(Beginning beginning);
std::optional<int> begin_otherwise(int argc, char** argv);

int play_role(const std::string& name, const Arguments& arguments);
bool register_role(const char* name, Role role);

/// Path of this program.
std::string self();

}  // namespace tests

#define GREEN_TEST_ROLE(name)                                                               \
    static int role_##name(const ::tests::Arguments& arguments);                            \
    static const bool role_##name##_is_known = ::tests::register_role(#name, &role_##name); \
    static int role_##name([[maybe_unused]] const ::tests::Arguments& arguments)

#include "support/roles.hpp"

#include <cstdio>
#include <filesystem>
#include <map>

namespace tests {
namespace {

std::map<std::string, Role>& roles() {
    static std::map<std::string, Role> all;
    return all;
}

std::vector<Beginning>& beginnings() {
    static std::vector<Beginning> all;
    return all;
}

}  // namespace

bool register_beginning(Beginning beginning) {
    beginnings().push_back(beginning);
    return true;
}

std::optional<int> begin_otherwise(int argc, char** argv) {
    for (const Beginning beginning : beginnings()) {
        if (const std::optional<int> code = beginning(argc, argv)) return code;
    }
    return std::nullopt;
}

bool register_role(const char* name, Role role) { return roles().emplace(name, role).second; }

int play_role(const std::string& name, const Arguments& arguments) {
    const auto found = roles().find(name);
    if (found == roles().end()) {
        std::fprintf(stderr, "this test program has no role \"%s\"\n", name.c_str());
        return 2;
    }
    return found->second(arguments);
}

std::string self() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

}  // namespace tests

#define CATCH_CONFIG_RUNNER
#include <cstring>

#include <catch2/catch.hpp>

#include "support/roles.hpp"

// Beside its cases, each test program can be told to play a helper process: --role=NAME
// ARGUMENTS...
int main(int argc, char** argv) {
    constexpr const char* flag = "--role=";
    if (argc > 1 && std::strncmp(argv[1], flag, std::strlen(flag)) == 0) {
        return tests::play_role(argv[1] + std::strlen(flag), {argv + 2, argv + argc});
    }
    return Catch::Session().run(argc, argv);
}

// Catch itself, which is compiled once and is not what we look for mistakes in.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

#include <catch2/catch.hpp>

namespace tests {

int run_cases(int argc, char** argv) { return Catch::Session().run(argc, argv); }

}  // namespace tests

#pragma once

namespace tests {

/// What Catch's own main() does.
int run_cases(int argc, char** argv);

}  // namespace tests

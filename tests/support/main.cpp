#include <cstring>

#include "sched/sanitizer.hpp"
#include "support/catch.hpp"
#include "support/roles.hpp"

#if GREEN_THREAD_SANITIZER
// It counts our stacks as threads, and ends a child of a fork that starts one although there were
// several. Such a child must get as far as greensup's own answer.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

// The holders of an exception are counted in libstdc++, which is not instrumented: the sanitizer
// does not see that whoever drops the last hold comes after all that the others did with it.
extern "C" const char* __tsan_default_suppressions() {
    return "race:std::__exception_ptr::exception_ptr::_M_release\n"
           "race:std::logic_error::~logic_error\n"
           "race:std::runtime_error::~runtime_error\n";
}
#endif

// Beside its cases, each test program can be told to play a helper process: --role=NAME
// ARGUMENTS...
int main(int argc, char** argv) {
    if (const auto code = tests::begin_otherwise(argc, argv)) return *code;
    constexpr const char* flag = "--role=";
    if (argc > 1 && std::strncmp(argv[1], flag, std::strlen(flag)) == 0) {
        return tests::play_role(argv[1] + std::strlen(flag), {argv + 2, argv + argc});
    }
    return tests::run_cases(argc, argv);
}

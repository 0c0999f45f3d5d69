#include "sched/stack_pool.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/hub.hpp>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"

namespace gd = green::detail;

TEST_CASE("stack pool: hands out the stack that came back last, and all different ones",
          "[core][stack]") {
    gd::StackPool pool{64 * 1024};
    std::set<gd::Stack*> taken;
    for (int i = 0; i < 100; ++i) {
        gd::Stack& stack = pool.take();
        std::memset(stack.low, 1, stack.size());
        CHECK(taken.insert(&stack).second);
    }
    gd::Stack& last = **taken.begin();
    pool.give_back(last);
    CHECK(&pool.take() == &last);
    CHECK(pool.taken() == 100);
    for (gd::Stack* stack : taken) pool.give_back(*stack);
    CHECK(pool.taken() == 0);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_CASE("stack pool: the address sanitizer knows nothing of stacks that are gone",
          "[core][stack]") {
    std::optional<gd::StackPool> pool{std::size_t{64 * 1024}};
    gd::Stack& stack = pool->take();
    const char* low = stack.low;
    __asan_poison_memory_region(low, 256);  // a frame that never returned
    pool->give_back(stack);
    pool.reset();
    CHECK_FALSE(__asan_address_is_poisoned(low));
}
#endif

TEST_CASE("stack pool: without guard pages of the new kind it uses the old kind", "[core][stack]") {
    const tests::FailNth no_guards{1, EINVAL, green::sys::Call::madvise,
                                   true};  // the first says: no huge pages
    gd::StackPool pool{64 * 1024};
    const gd::Stack& stack = pool.take();
    CHECK(pool.guard() == gd::StackPool::Guard::protect);
    CHECK(pool.overflowed(stack.low - 1) == &stack);
    CHECK(pool.overflowed(stack.low) == nullptr);
}

namespace {

// Runs the body in a child and gives what it wrote to stderr and how it ended.
struct Death {
    int status = 0;
    std::string text;
};
Death die_in_child(const std::function<void()>& body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        body();
        ::_exit(0);
    }
    ::close(ends[1]);
    Death death;
    char buffer[4096];
    for (ssize_t size; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
        death.text.append(buffer, static_cast<std::size_t>(size));
    }
    ::close(ends[0]);
    REQUIRE(::waitpid(child, &death.status, 0) == child);
    return death;
}

[[gnu::noinline]] int recurse(int depth) {
    volatile char frame[1024];
    frame[0] = static_cast<char>(depth);
    return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

}  // namespace

TEST_CASE("stack pool: without any guard pages an overflow is noticed when the stack comes back",
          "[core][stack]") {
    const Death death = die_in_child([] {
        const tests::FailNth no_guards{1, EINVAL, green::sys::Call::madvise, true};
        struct NoProtect : green::sys::Injector {
            Injector* inner = nullptr;
            int before(green::sys::Call call, int fd) noexcept override {
                return call == green::sys::Call::mprotect ? ENOMEM : inner->before(call, fd);
            }
        } no_protect;
        no_protect.inner = green::sys::set_injector(&no_protect);
        gd::StackPool pool{64 * 1024};
        gd::Stack& stack = pool.take();
        stack.low[-1] = 0;
        pool.give_back(stack);
    });
    CHECK(WIFSIGNALED(death.status));
    CHECK(WTERMSIG(death.status) == SIGABRT);
    CHECK(death.text.find("overflowed") != std::string::npos);
}

TEST_CASE("stack pool: a stack overflow names the greenlet and where it was spawned",
          "[core][stack]") {
    const Death death = die_in_child([] {
        auto greenlet = green::spawn([] { return recurse(1'000'000); });
        greenlet.set_name("the deep one");
        greenlet.join();
    });
    INFO(death.text);
    CHECK_FALSE((WIFEXITED(death.status) && WEXITSTATUS(death.status) == 0));
    CHECK(death.text.find("stack overflow in greenlet") != std::string::npos);
    CHECK(death.text.find("the deep one") != std::string::npos);
    CHECK(death.text.find("spawned at") != std::string::npos);
}

TEST_CASE(
    "stack pool: callbacks have room on the hub's stack, however small those of greenlets are",
    "[core][stack]") {
    tests::run_green(
        [](tests::VirtualReactor&) {
            int sum = 0;
            green::HubRef{}.post([&] { sum = recurse(150); });  // of 1 KiB each
            green::sleep(std::chrono::milliseconds(1));
            CHECK(sum > 0);
            CHECK(green::hub_figures().stacks == 0);
        },
        {.stack_size = 32UL * 1024});
}

TEST_CASE("stack pool: an overflow of the hub's stack is told too", "[core][stack]") {
    const Death death = die_in_child([] {
        green::HubRef{}.post([] { (void)recurse(1'000'000); });
        green::sleep(std::chrono::milliseconds(1));
    });
    INFO(death.text);
    CHECK_FALSE((WIFEXITED(death.status) && WEXITSTATUS(death.status) == 0));
    CHECK(death.text.find("stack overflow in greenlet") != std::string::npos);
    CHECK(death.text.find("that is hub") != std::string::npos);
}

TEST_CASE("stack pool: where there is no room for many stacks there is one", "[core][stack]") {
    // The first mappings of a slab are refused, down to that of a single stack.
    const int room_for = GENERATE(8, 1, 0);
    struct NoRoom : green::sys::Injector {
        NoRoom() : outer{green::sys::set_injector(this)} {}
        ~NoRoom() override { (void)green::sys::set_injector(outer); }
        int before(green::sys::Call call, int) noexcept override {
            return call == green::sys::Call::mmap && refused-- > 0 ? ENOMEM : 0;
        }
        Injector* outer;
        int refused = 0;
    } no_room;
    for (int count = 16; count > room_for; count /= 2) ++no_room.refused;
    gd::StackPool pool{64 * 1024};
    if (room_for == 0) {
        CHECK(tests::error_of([&] { (void)pool.take(); }) == ENOMEM);
        CHECK(pool.taken() == 0);
    }
    std::set<gd::Stack*> taken;
    for (int i = 0; i < 100; ++i) {
        gd::Stack& stack = pool.take();
        std::memset(stack.low, 1, stack.size());
        CHECK(taken.insert(&stack).second);
        CHECK(pool.overflowed(stack.low - 1) == &stack);
    }
    CHECK(pool.taken() == 100);
    for (gd::Stack* stack : taken) pool.give_back(*stack);
    CHECK(pool.taken() == 0);
}

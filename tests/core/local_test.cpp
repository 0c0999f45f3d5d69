#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/group.hpp>
#include <green/hub.hpp>
#include <green/local.hpp>
#include <green/process.hpp>
#include <green/timeout.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/sanitizer.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/schedules.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

namespace {

using Log = std::vector<std::string>;

/// Says in a log when it goes.
struct Noted {
    Log* log;
    std::string name;
    Noted(Log& into, std::string its_name) : log{&into}, name{std::move(its_name)} {}
    Noted(const Noted&) = delete;
    Noted& operator=(const Noted&) = delete;
    ~Noted() { log->push_back(name); }
};

green::GreenletLocal<Noted> noting(Log& log, const std::string& name) {
    return green::GreenletLocal<Noted>{[&log, name] { return Noted{log, name}; }};
}

}  // namespace

TEST_CASE("local: each greenlet has a value of its own, main and the hub too", "[core][local]") {
    run_green([] {
        green::GreenletLocal<int> local;
        *local = 1;
        auto child = green::spawn([&] {
            CHECK_FALSE(local.has_value());  // nothing is inherited
            *local += 10;
            green::yield();
            auto grandchild = green::spawn([&] { return *local; });
            CHECK(grandchild.get() == 0);
            return *local;
        });
        int in_hub = -1;
        green::HubRef{}.post([&] { *local = 5; });
        green::yield();
        settle();
        green::HubRef{}.post([&] { in_hub = *local; });
        settle();
        CHECK(in_hub == 5);
        CHECK(child.get() == 10);
        CHECK(*local == 1);
    });
}

TEST_CASE("local: a value is made when it is first used, by the factory, in its own greenlet",
          "[core][local]") {
    run_green([] {
        int made = 0;
        green::GreenletLocal<std::string> local{[&] {
            green::yield();  // a factory may wait
            ++made;
            return green::current().name();
        }};
        CHECK_FALSE(local.has_value());
        CHECK(made == 0);
        auto child = green::spawn([&] {
            CHECK(local->size() == local.get().size());
            return *local;
        });
        child.set_name("child");
        CHECK(child.get() == "child");
        CHECK(made == 1);
        CHECK(*local == "main");
        CHECK(made == 2);
        local.reset();
        CHECK_FALSE(local.has_value());
        local.reset();  // nothing to free
        CHECK(*local == "main");
        CHECK(made == 3);
        CHECK_THROWS_AS(green::GreenletLocal<int>{std::function<int()>{}}, green::UsageError);
    });
}

TEST_CASE("local: a factory that fails has made nothing", "[core][local]") {
    run_green([] {
        bool fails = true;
        green::GreenletLocal<int> local{[&] {
            if (fails) throw std::runtime_error("no luck");
            return 3;
        }};
        CHECK_THROWS_WITH(local.get(), "no luck");
        CHECK_FALSE(local.has_value());
        fails = false;
        CHECK(*local == 3);
    });
}

TEST_CASE("local: values are freed at the end, the newest first, before anybody learns of it",
          "[core][local]") {
    run_green([] {
        Log log;
        auto first = noting(log, "first");
        auto second = noting(log, "second");
        auto third = noting(log, "third");
        auto captured = std::make_shared<Noted>(log, "captured");
        auto greenlet = green::spawn([&, owned = std::move(captured)] {
            (void)second.get();
            (void)first.get();
            (void)third.get();
            const Noted automatic{log, "automatic"};
            green::yield();
        });
        const auto link =
            greenlet.link([&](const green::AnyGreenlet&) { log.emplace_back("link"); });
        auto joiner = green::spawn([&] {
            greenlet.join();
            log.emplace_back("joined");
        });
        joiner.join();
        settle();
        CHECK(log == Log{"automatic", "third", "first", "second", "captured", "link", "joined"});
        CHECK(greenlet.ready());  // the handle lives, the values do not
    });
}

TEST_CASE("local: values are freed however the greenlet ends", "[core][local]") {
    run_green([] {
        const tests::Errors errors;
        Log log;
        auto local = noting(log, "value");
        auto killed = green::spawn([&] {
            (void)local.get();
            green::sleep(1h);
        });
        auto failed = green::spawn([&] {
            (void)local.get();
            throw std::runtime_error("boom");
        });
        auto late = green::spawn([&] {
            const green::TimeoutScope limit{10ms};
            (void)local.get();
            green::sleep(1h);
        });
        green::yield();
        CHECK(log.size() == 1);
        killed.kill();
        CHECK(log.size() == 2);
        late.join();
        CHECK(log.size() == 3);
        auto unborn = green::spawn([&] { (void)local.get(); });
        unborn.kill();
        CHECK(log.size() == 3);
        CHECK(errors.count() == 2);
    });
}

TEST_CASE("local: a local that goes takes its values along, and only those", "[core][local]") {
    run_green([] {
        Log log;
        auto stays = noting(log, "stays");
        std::optional<green::GreenletLocal<Noted>> goes;
        goes.emplace([&log] { return Noted{log, "goes"}; });
        std::vector<green::Greenlet<void>> users;
        for (int i = 0; i < 3; ++i) {
            users.push_back(green::spawn([&] {
                (void)stays.get();
                (void)goes->get();
                (void)stays.get();
                green::sleep(1s);
            }));
        }
        (void)goes->get();
        green::yield();
        goes.reset();
        CHECK(log == Log(4, "goes"));
        // A new one in the same place knows nothing of the old one's values.
        goes.emplace([&log] { return Noted{log, "new"}; });
        CHECK_FALSE(goes->has_value());
        for (const auto& user : users) user.join();
        CHECK(log.size() == 7);
        CHECK(log.back() == "stays");
    });
}

TEST_CASE("local: a destructor may wait, and no kill appears in it", "[core][local]") {
    run_green([] {
        bool destroyed = false;
        struct Waits {
            bool* done = nullptr;
            explicit Waits(bool& its) : done{&its} {}
            Waits(const Waits&) = delete;
            Waits& operator=(const Waits&) = delete;
            ~Waits() {
                green::sleep(20ms);
                *done = true;
            }
        };
        green::GreenletLocal<Waits> local{[&] { return Waits{destroyed}; }};
        auto greenlet = green::spawn([&] {
            (void)local.get();
            return 7;
        });
        green::yield();
        CHECK_FALSE(greenlet.ready());
        CHECK(greenlet.kill());  // arrives while the destructor sleeps
        CHECK(destroyed);
        CHECK(greenlet.successful());
        CHECK(greenlet.get() == 7);
    });
}

TEST_CASE("local: what a destructor makes anew is freed as well", "[core][local]") {
    run_green([] {
        Log log;
        auto late = noting(log, "late");
        struct Uses {
            green::GreenletLocal<Noted>* other;
            explicit Uses(green::GreenletLocal<Noted>& its) : other{&its} {}
            Uses(const Uses&) = delete;
            Uses& operator=(const Uses&) = delete;
            ~Uses() { (void)other->get(); }
        };
        green::GreenletLocal<Uses> user{[&] { return Uses{late}; }};
        auto greenlet = green::spawn([&, captured = std::make_unique<Uses>(late)] {
            (void)user.get();
            (void)late.get();
        });
        greenlet.join();
        // Its own, the one of user's destructor, and the one of what was captured.
        CHECK(log == Log{"late", "late", "late"});
    });
}

TEST_CASE("local: main's values go with the hub, after its greenlets", "[core][local]") {
    Log log;
    auto local = noting(log, "main");
    auto in_hub = noting(log, "hub");
    {
        green::detail::Hub hub{green::detail::make_ev_reactor()};
        (void)local.get();
        green::HubRef{}.post([&] { (void)in_hub.get(); });
        auto greenlet = green::spawn([&] {
            const Noted mine{log, "greenlet"};
            green::sleep(1h);
        });
        green::sleep(1ms);
        CHECK(log.empty());
    }
    CHECK(log == Log{"greenlet", "main", "hub"});
}

TEST_CASE("local: a destructor of main's value that starts a greenlet leaves nothing behind",
          "[core][local]") {
    Log log;
    struct Starts {
        Log* log;
        explicit Starts(Log& its) : log{&its} {}
        Starts(const Starts&) = delete;
        Starts& operator=(const Starts&) = delete;
        ~Starts() {
            green::spawn([owned = std::make_shared<Noted>(*log, "never ran")] {});
        }
    };
    green::GreenletLocal<Starts> local{[&] { return Starts{log}; }};
    {
        green::detail::Hub hub{green::detail::make_ev_reactor()};
        (void)local.get();
    }
    CHECK(log == Log{"never ran"});
}

TEST_CASE("local: greenlets of several threads share one, and keep what they have when it goes",
          "[core][local]") {
    run_green([] {
        Log log;
        auto local = std::make_unique<green::GreenletLocal<Noted>>([&log] {
            return Noted{log, "value"};
        });
        (void)local->get();
        std::binary_semaphore used{0};
        std::binary_semaphore gone{0};
        std::size_t freed_with_thread = 0;
        std::thread other{[&] {
            {
                green::detail::Hub hub{green::detail::make_ev_reactor()};
                CHECK_FALSE(local->has_value());
                (void)local->get();
                auto greenlet = green::spawn([&] { (void)local->get(); });
                greenlet.join();
                used.release();
                gone.acquire();
                freed_with_thread = log.size();
            }
            freed_with_thread = log.size() - freed_with_thread;
        }};
        used.acquire();
        CHECK(log.size() == 1);  // the other thread's greenlet has ended
        local.reset();
        CHECK(log.size() == 2);  // this thread's main has lost its value
        gone.release();
        other.join();
        CHECK(freed_with_thread == 1);
        CHECK(log.size() == 3);
    });
}

#if !GREEN_ADDRESS_SANITIZER  // what stays behind is a leak, as it must be
TEST_CASE("local: what a greenlet that outlived its hub has is not freed by another hub",
          "[core][local]") {
    static std::vector<green::AnyGreenlet> left;  // so that what is left is not lost
    static int freed = 0;
    struct Value {
        ~Value() { ++freed; }
    };
    std::optional<green::detail::Hub> hub{std::in_place, std::make_unique<tests::VirtualReactor>()};
    std::optional<green::GreenletLocal<Value>> local{std::in_place};
    left.push_back(green::spawn([&] {
        (void)local->get();
        for (;;) {
            try {
                green::yield();
            } catch (const green::GreenletExit&) {  // once more
            }
        }
    }));
    green::yield();
    freed = 0;
    hub.emplace(std::make_unique<tests::VirtualReactor>());  // at the same address
    local.reset();
    CHECK(freed == 0);
}
#endif

TEST_CASE("local: a thread without a hub has no values and gets no hub by asking",
          "[core][local]") {
    green::GreenletLocal<int> local;
    std::thread{[&] {
        CHECK_FALSE(local.has_value());
        local.reset();
        CHECK(green::detail::Hub::current_or_null() == nullptr);
    }}.join();
}

GREEN_TEST_ROLE(exits_in_a_greenlet) {
    struct Last {
        ~Last() { ::_exit(7); }
    };
    static green::GreenletLocal<Last> local;
    (void)local.get();
    green::spawn([] { std::exit(0); });
    green::sleep(1h);
    return 1;
}

TEST_CASE("local: main's values are freed at an exit from another greenlet too", "[core][local]") {
    tests::run_green_for_real([] {
        auto child = green::Process::start({.argv = {tests::self(), "--role=exits_in_a_greenlet"}});
        CHECK(child.join()->text() == "exited with 7");
    });
}

// --- random lives ---

namespace {

struct Counts {
    int made = 0;
    int freed = 0;
};

struct Counted {
    Counts* counts;
    explicit Counted(Counts& its) : counts{&its} { ++counts->made; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { ++counts->freed; }
};

/// Trees of greenlets that use locals, wait, end, throw and are killed; locals come and go.
class Lives {
 public:
    explicit Lives(std::uint64_t seed) : random_{seed} {
        for (auto& local : locals_) renew(local);
    }

    void run() {
        {
            green::Group group;
            for (int i = 0; i < 4; ++i) players_.push_back(group.spawn([this] { live(4); }));
            for (int i = 0; i < 12; ++i) {
                if (below(3) == 0) players_[static_cast<std::size_t>(below(4))].kill_soon();
                if (below(4) == 0) renew(locals_[static_cast<std::size_t>(below(3))]);
                green::sleep(std::chrono::milliseconds(below(3)));
            }
        }
        settle();
        for (auto& local : locals_) {
            if (below(2) == 0) local->reset();
        }
        for (auto& local : locals_) local.reset();
        CHECK(counts_.made == counts_.freed);
        made += counts_.made;
    }

    static inline int made = 0;

 private:
    int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

    void renew(std::optional<green::GreenletLocal<Counted>>& local) {
        local.emplace([this] { return Counted{counts_}; });
    }

    void live(int depth) {
        green::Group children;
        for (int i = below(6); i > 0; --i) {
            auto& local = locals_[static_cast<std::size_t>(below(3))];
            switch (below(6)) {
                case 0:
                    (void)local->get();
                    break;
                case 1:
                    local->reset();
                    break;
                case 2:
                    if (depth > 0) children.spawn([this, depth] { live(depth - 1); });
                    break;
                case 3:
                    (void)green::with_timeout(1ms, [&] {
                        (void)local->get();
                        green::sleep(std::chrono::milliseconds(below(3)));
                    });
                    break;
                case 4:
                    green::yield();
                    break;
                default:
                    if (below(8) == 0) throw std::runtime_error("an end of its own");
                    green::sleep(std::chrono::milliseconds(below(3)));
                    break;
            }
        }
        if (below(2) == 0) children.join();
    }

    std::mt19937_64 random_;
    Counts counts_;
    std::optional<green::GreenletLocal<Counted>> locals_[3];
    std::vector<green::Greenlet<void>> players_;
};

}  // namespace

TEST_CASE("local: in random lives as many values are freed as were made",
          "[core][local][schedules]") {
    run_green([] {
        const tests::Errors errors;
        const std::uint64_t lives = tests::for_each_schedule(
            tests::share::locals, [](std::uint64_t seed) { Lives{seed}.run(); });
        if (lives >= 100) CHECK(Lives::made > static_cast<int>(lives));
    });
}

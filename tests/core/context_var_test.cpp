#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <green/context.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using green::Context;
using green::ContextVar;
using tests::run_green;
using tests::settle;

TEST_CASE("context: a variable has its initial value until it is bound, and again afterwards",
          "[core][context]") {
    run_green([] {
        const ContextVar<std::string> user{"user", "nobody"};
        const ContextVar<int> level{"level"};
        CHECK(user.name() == "user");
        CHECK(user.get() == "nobody");
        CHECK(level.get() == 0);
        {
            const ContextVar<std::string>::Scope outer{user, "ada"};
            const ContextVar<int>::Scope other{level, 3};
            CHECK(user.get() == "ada");
            {
                const ContextVar<std::string>::Scope inner{user, "grace"};
                CHECK(user.get() == "grace");
                CHECK(level.get() == 3);
            }
            CHECK(user.get() == "ada");
        }
        CHECK(user.get() == "nobody");
        CHECK(level.get() == 0);
    });
}

TEST_CASE("context: a child inherits what is bound when it is made, and changes nothing above",
          "[core][context]") {
    run_green([] {
        const ContextVar<int> depth{"depth"};
        std::vector<int> seen;
        std::optional<ContextVar<int>::Scope> scope;
        scope.emplace(depth, 1);
        auto child = green::spawn([&] {
            seen.push_back(depth.get());
            const ContextVar<int>::Scope mine{depth, 2};
            auto grandchild = green::spawn([&] {
                seen.push_back(depth.get());
                const ContextVar<int>::Scope its{depth, 3};
                green::yield();
                seen.push_back(depth.get());
            });
            green::yield();
            seen.push_back(depth.get());
            grandchild.join();
        });
        auto made_now_started_later = green::deferred([&] { return depth.get(); });
        scope.reset();
        CHECK(depth.get() == 0);
        green::yield();
        CHECK(depth.get() == 0);
        child.join();
        made_now_started_later.start();
        CHECK(made_now_started_later.get() == 1);
        CHECK(seen == std::vector{1, 2, 2, 3});
    });
}

TEST_CASE("context: one that was taken along can be entered elsewhere", "[core][context]") {
    run_green([] {
        const ContextVar<int> trace{"trace"};
        Context taken;
        {
            const ContextVar<int>::Scope scope{trace, 7};
            taken = Context::current();
        }
        CHECK(trace.get(taken) == 7);
        CHECK(trace.get(Context{}) == 0);
        CHECK(trace.get(taken.with(trace, 8)) == 8);
        CHECK(trace.get(taken) == 7);  // is never changed
        const ContextVar<int>::Scope here{trace, 1};
        {
            const Context::Scope scope{taken};
            CHECK(trace.get() == 7);
            CHECK(green::spawn([&] { return trace.get(); }).get() == 7);
            const Context::Scope nothing{Context{}};
            CHECK(trace.get() == 0);
        }
        CHECK(trace.get() == 1);

        int in_hub = -1;
        green::HubRef{}.post([&] {
            CHECK(trace.get() == 0);  // callbacks have nobody's
            const Context::Scope scope{taken};
            in_hub = trace.get();
        });
        settle();
        CHECK(in_hub == 7);
    });
}

TEST_CASE("context: a link runs under the context in which it was made", "[core][context]") {
    run_green([] {
        const ContextVar<int> maker{"maker"};
        std::vector<int> seen;
        const auto note = [&](const green::AnyGreenlet&) { seen.push_back(maker.get()); };
        const ContextVar<int>::Scope spawner{maker, 1};
        auto ends = green::spawn([&] {
            const ContextVar<int>::Scope own{maker, 2};
            green::yield();
        });
        auto never_runs = green::spawn([] {});
        std::optional<green::Link> links[3];
        {
            const ContextVar<int>::Scope scope{maker, 3};
            links[0] = ends.link(note);
            links[1] = never_runs.link(note);
        }
        const ContextVar<int>::Scope killer{maker, 4};
        never_runs.kill();
        ends.join();
        settle();
        {
            const ContextVar<int>::Scope late{maker, 5};
            links[2] = ends.link(note);
        }
        settle();
        CHECK(seen == std::vector{3, 3, 5});
    });
}

TEST_CASE("context: a value is freed with the last who can see it", "[core][context]") {
    run_green([] {
        const ContextVar<std::shared_ptr<int>> variable{"variable"};
        auto token = std::make_shared<int>(1);
        auto greenlet = green::deferred([] { green::yield(); });
        {
            const ContextVar<std::shared_ptr<int>>::Scope scope{variable, token};
            CHECK(token.use_count() == 2);
            greenlet = green::deferred([&] {
                CHECK(variable.get() == token);
                const ContextVar<std::shared_ptr<int>>::Scope over{variable, nullptr};
                green::yield();
            });
        }
        CHECK(token.use_count() == 2);  // the child's
        greenlet.start();
        green::yield();
        CHECK(token.use_count() == 2);
        green::yield();
        CHECK(greenlet.ready());
        CHECK(token.use_count() == 1);  // though its handle lives

        auto unborn = [&] {
            const ContextVar<std::shared_ptr<int>>::Scope scope{variable, token};
            return green::spawn([] {});
        }();
        CHECK(token.use_count() == 2);
        unborn.kill();
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("context: a chain of children does not keep what was bound over", "[core][context]") {
    run_green([] {
        const ContextVar<std::shared_ptr<int>> latest{"latest"};
        const ContextVar<int> root{"root"};
        std::vector<std::weak_ptr<int>> all;
        std::size_t reached = 0;
        std::function<void()> descend = [&] {
            if (++reached == 2000) {
                CHECK(root.get() == 42);
                std::size_t alive = 0;
                for (const auto& value : all) alive += !value.expired();
                CHECK(alive <= 2);  // this greenlet's, and its parent's that has not ended yet
                return;
            }
            auto mine = std::make_shared<int>(1);
            all.push_back(mine);
            const ContextVar<std::shared_ptr<int>>::Scope scope{latest, std::move(mine)};
            green::spawn(descend);
        };
        const ContextVar<int>::Scope scope{root, 42};
        green::spawn(descend);
        settle();
        CHECK(reached == 2000);
    });
}

TEST_CASE("context: a thread without a hub sees what is initial and gets no hub by asking",
          "[core][context]") {
    const ContextVar<int> variable{"variable", 9};
    std::thread{[&] {
        CHECK(variable.get() == 9);
        CHECK(green::ambient_deadline().is_never());
        CHECK(Context::current().deadline().is_never());
        CHECK(green::detail::Hub::current_or_null() == nullptr);
    }}.join();
}

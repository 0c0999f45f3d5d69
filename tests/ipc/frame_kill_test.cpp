// Whoever is in the middle of a frame is cut off there: each time one wait later, until what he
// does comes to its end first. Whatever was cut off, the next frame starts where a frame starts,
// and all ends.

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>
#include <green/trace.hpp>

#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "frames/descriptors.hpp"
#include "frames/frame_header.hpp"
#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::in_little_memory;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_pipes;
using tests::Pair;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
using tests::uncoalesced;
namespace ipc = green::ipc;

namespace {

const int numbers[] = {STDIN_FILENO};

Pair uncoalesced_over_a_socket() {
    auto [a, b] = green::Stream::pair();
    return {ipc::FrameStream{std::move(a.fd()), {.coalesce = false}},
            ipc::FrameStream{std::move(b.fd())}};
}

/// A hub that may end before what was used in it.
struct OwnHub {
    green::detail::Hub hub{green::detail::make_ev_reactor()};
};

/// What cuts off.
enum class By { kill, reason, shutdown, hub };

void cut_off(const green::Greenlet<bool>& work, By by) {
    if (by == By::kill) work.kill();
    if (by == By::reason) work.kill(std::make_exception_ptr(std::runtime_error("enough")));
}

/// Runs it in a greenlet, and lets `others` go on after each of its waits, until it has ended or
/// has waited `nth` times and stands in the next one. Returns whether it does.
template <class Work, class Others>
bool stands_in_wait(unsigned nth, std::optional<green::Greenlet<bool>>& work, Work&& does,
                    Others&& others) {
    unsigned runs = 0;
    work.emplace(green::spawn(std::forward<Work>(does)));
    green::set_trace_hook([&](green::TraceEvent event, const green::AnyGreenlet& greenlet) {
        if (event == green::TraceEvent::entered && greenlet == *work) ++runs;
    });
    while (!work->ready() && runs <= nth) {
        if (runs > 0) others();
        green::yield();
    }
    green::set_trace_hook({});
    return !work->ready();
}

/// Puts until nothing goes any more; what it has put stands behind `sent`.
void fill_up(ipc::FrameStream& end, std::vector<std::string>& sent) {
    for (const std::size_t size : {700, 0}) {  // so full that not even a header has room
        const std::string text = pattern(size, 1);
        sent.insert(sent.end(), static_cast<std::size_t>(tests::fill(end, text)), text);
    }
}

/// What one frame is, and what stands before it.
struct Cut {
    MakePair make;
    By by;
    std::size_t size;
    bool with_descriptor;
    bool is_full;
    bool is_draft;
};

/// Returns whether it was cut off, in its `nth` wait.
bool cut_put(const Cut& cut, unsigned nth) {
    const tests::Errors errors;
    const std::string text = pattern(cut.size, 2);
    auto [left, right] = cut.make();
    std::vector<std::string> sent;
    std::vector<std::string> got;
    std::vector<std::size_t> descriptors;
    const auto take = [&](const ipc::Frame& frame) {
        got.push_back(text_of(frame));
        descriptors.push_back(frame.descriptors.size());
    };
    std::optional<green::Greenlet<bool>> putter;
    bool is_cut = false;
    {
        std::optional<OwnHub> hub;
        if (cut.by == By::hub) hub.emplace();
        if (cut.is_full) fill_up(left, sent);
        is_cut = stands_in_wait(
            nth, putter,
            [&, &end = left] {
                const auto with = cut.with_descriptor ? std::span{numbers} : std::span<const int>{};
                if (!cut.is_draft) return end.put(bytes_of(text), with);
                auto draft = end.prepare(text.size());
                std::memcpy(draft->memory().data(), text.data(), text.size());
                return draft->put(text.size(), with);
            },
            [&, &end = right] {
                if (const auto frame = end.next(green::Deadline::passed())) take(*frame);
            });
        if (is_cut) cut_off(*putter, cut.by);
        if (cut.by == By::shutdown) {
            left.shutdown();
            if (is_cut) CHECK_THROWS_AS(putter->get(1h), green::Closed);
        }
    }
    CHECK(putter->ready());
    CHECK((putter->outcome() == green::Outcome::returned) == !is_cut);
    std::optional<green::Greenlet<void>> last;
    if (cut.by != By::shutdown) {
        last = green::spawn([&end = left] {
            end.put(bytes_of("next"), numbers);
            end.close_write();
        });
    }
    while (const auto frame = right.next(1h)) take(*frame);
    CHECK(right.at_end());
    const bool arrived = got.size() == sent.size() + 1 + last.has_value();
    CHECK((arrived || is_cut));  // what was accepted
    const std::size_t of_its = arrived && cut.with_descriptor ? 1 : 0;
    if (arrived) sent.push_back(text);
    if (last) sent.push_back("next");
    CHECK((got == sent));  // not to be printed
    std::vector<std::size_t> wanted(sent.size());
    if (last) wanted.back() = 1;
    if (of_its > 0) wanted[wanted.size() - 1 - last.has_value()] = 1;
    CHECK((descriptors == wanted));
    if (last) {
        last->get();
        right.put(bytes_of("back"));
        CHECK(text_of(left.get(1h)) == "back");
    }
    return is_cut;
}

/// The same of who gets. What it has read of a frame is there for who gets next.
bool cut_get(const Cut& cut, unsigned nth) {
    const tests::Errors errors;
    const std::vector<std::string> sent{pattern(cut.size, 2), "next"};
    auto [left, right] = cut.make();
    std::vector<std::string> got;
    std::vector<std::size_t> descriptors;
    const auto take = [&, &end = right] {
        const auto frame = end.next(1h);
        if (!frame) return false;
        got.push_back(text_of(*frame));
        descriptors.push_back(frame->descriptors.size());
        return true;
    };
    std::optional<green::Greenlet<bool>> getter;
    std::optional<green::Greenlet<void>> putter;
    const bool is_cut = stands_in_wait(nth, getter, take, [&, &end = left] {
        if (putter) return;
        putter = green::spawn([&] {
            const auto with = cut.with_descriptor ? std::span{numbers} : std::span<const int>{};
            end.put(bytes_of(sent[0]), with);
            end.put(bytes_of(sent[1]));
            end.close_write();
        });
    });
    if (is_cut) cut_off(*getter, cut.by);
    CHECK(getter->ready());
    CHECK((getter->outcome() == green::Outcome::returned) == !is_cut);
    if (!putter) left.shutdown();  // cut off before anything came
    while (take()) {
    }
    CHECK(right.at_end());
    if (putter) {
        putter->get(1h);
        CHECK((got == sent));  // not to be printed
        CHECK((descriptors == std::vector<std::size_t>{cut.with_descriptor ? 1U : 0U, 0U}));
    }
    return is_cut;
}

/// Cuts off in one wait after the other. Returns how many there are.
template <class CutOne>
unsigned cut_each_wait(const Cut& cut, CutOne cut_one) {
    for (unsigned waits = 0;; ++waits) {
        CAPTURE(waits);
        REQUIRE(waits < 500);
        if (!cut_one(cut, waits)) return waits;
    }
}

}  // namespace

TEST_CASE("frame kills: who puts can be cut off in each of his waits", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &uncoalesced,
                                   &uncoalesced_over_a_socket, &in_little_memory);
    const By by = GENERATE(By::kill, By::reason, By::shutdown);
    const std::size_t size = GENERATE(10, 3000, 3'000'000);
    const bool with_descriptor = GENERATE(false, true);
    const bool is_full = GENERATE(false, true);
    const bool is_draft = GENERATE(false, true);
    CAPTURE(static_cast<int>(by), size, with_descriptor, is_full, is_draft);
    const auto before = tests::open_descriptors();
    run_green_for_real([&] {
        const unsigned waits =
            cut_each_wait({make, by, size, with_descriptor, is_full, is_draft}, cut_put);
        const bool is_coalesced = make == &over_pipes || make == &over_a_socket;
        if (is_full && !is_coalesced) CHECK(waits >= 1);
        if (make != &in_little_memory && size > 1'000'000 && (!is_coalesced || !is_draft))
            CHECK(waits >= 1);
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame kills: who gets can be cut off in each of his waits", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
    const By by = GENERATE(By::kill, By::reason);
    const std::size_t size = GENERATE(10, 3000, 3'000'000);
    const bool with_descriptor = GENERATE(false, true);
    CAPTURE(static_cast<int>(by), size, with_descriptor);
    const auto before = tests::open_descriptors();
    run_green_for_real([&] {
        const unsigned waits =
            cut_each_wait({make, by, size, with_descriptor, false, false}, cut_get);
        CHECK(waits >= 1);
        if (make != &in_little_memory && size > 1'000'000) CHECK(waits >= 2);
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame kills: an end that outlives its hub goes on in the next one", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &uncoalesced,
                                   &uncoalesced_over_a_socket, &in_little_memory);
    const auto [size, wait] =
        GENERATE(table<std::size_t, unsigned>({{10, 0}, {9'000'000, 0}, {9'000'000, 1}}));
    const bool with_descriptor = GENERATE(false, true);
    CAPTURE(size, wait, with_descriptor);
    run_green_for_real([&, size = size, wait = wait] {
        cut_put({make, By::hub, size, with_descriptor, true, false}, wait);
    });
}

// Of the greenlet that finishes what was begun.
TEST_CASE("frame kills: what was accepted goes on after the hub in which it was", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    // Whether it has run before its hub ends.
    const bool has_run = GENERATE(false, true);
    const int what = GENERATE(0, 1, 2, 3);
    CAPTURE(has_run, what);
    const auto before = tests::open_descriptors();
    run_green_for_real([&] {
        std::vector<std::string> sent;
        auto [left, right] = make();
        {
            const OwnHub first;
            fill_up(left, sent);
            if (has_run) green::sleep(1ms);
        }
        std::optional<green::Greenlet<bool>> user;
        if (what == 0) {
            left.close_write();
        } else if (what == 1) {
            left.shutdown();
        } else if (what == 2) {
            user = green::spawn([&end = left] {
                const bool has_put = end.put(bytes_of("next"));
                return has_put && end.next().has_value();
            });
            sent.push_back("next");
        } else {
            user = green::spawn([&end = left] { return end.next().has_value(); });
        }
        std::vector<std::string> got;
        while (got.size() < sent.size()) {
            const auto frame = right.next(1h);
            if (!frame) break;
            got.push_back(text_of(*frame));
        }
        CHECK((got == sent));
        if (what <= 1) {
            CHECK_FALSE(right.next(1h));
            CHECK(right.at_end());
        }
        if (user) {
            right.put(bytes_of("answer"));
            CHECK(user->get(1h));
        }
    });
    CHECK(tests::open_descriptors() == before);
}

// Of two processes at the ends of a pipe one is killed, at any instruction, in the middle of
// messages as well as between them. The other one reads whole messages in their order, and
// then the end; or is told that nobody reads any more. GREENSUP_SEED repeats the choices (not the
// timing); GREENSUP_KILLS sets how many kills there are. `scripts/test --soak` makes it a long run.

#include <chrono>
#include <cstring>
#include <deque>
#include <system_error>

#include <green/errors.hpp>
#include <green/ipc/frame_stream.hpp>

#include "frame_pairs.hpp"
#include "kills.hpp"
#include "shm_children.hpp"
#include "shm_support.hpp"
#include "support/faults.hpp"

using namespace shm_test;
namespace ipc = green::ipc;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr unsigned default_kills = 150;
#else
constexpr unsigned default_kills = 1000;
#endif

/// What both ends have done so far.
struct Progress {
    std::atomic<std::uint64_t> begun, sent, read, large;
};

enum Verdict : int { good = 0, torn = 10, out_of_turn, cut_off, unexpected };

bool is_ring = false;
std::mt19937_64 dice;

/// Mostly small; now and then one that a ring has no room for, or that a socket takes in pieces.
std::size_t random_size() {
    if (dice() % 64 == 0) return 2500 + dice() % 500'000;
    return 8 + dice() % (dice() % 8 == 0 ? 1900 : 60);
}
std::size_t descriptors_of(std::uint64_t number) { return number % 16 == 0 ? 1 : 0; }

/// Until the reader is gone.
int write(ipc::FrameStream& end, Progress& progress) {
    std::vector<std::byte> message;
    for (std::uint64_t number = 0;; ++number) {
        message.resize(random_size());
        write_message(message, number);
        const int own[] = {STDERR_FILENO};
        progress.begun = number + 1;
        try {
            if (!end.put(message, std::span{own}.first(descriptors_of(number)))) return unexpected;
        } catch (const std::system_error& error) {
            return error.code().value() == EPIPE || error.code().value() == ECONNRESET ? good
                                                                                       : unexpected;
        }
        progress.sent = number + 1;
    }
}

/// Until the writer is gone. Lets go of what it has read in any order, and late.
int read(ipc::FrameStream& end, Progress& progress) {
    std::deque<ipc::Frame> kept;
    for (std::uint64_t number = 0;; ++number) {
        try {
            std::optional<ipc::Frame> frame = end.next(green::Deadline::passed());
            if (!frame) {
                kept.clear();  // who waits and keeps what he has read holds the writer up
                frame = end.next();
            }
            if (!frame) return end.at_end() ? good : unexpected;
            if (!is_whole(frame->bytes())) return torn;
            if (id_of(frame->bytes()) != number) return out_of_turn;
            if (frame->descriptors.size() != descriptors_of(number)) return unexpected;
            if (frame->size > 2048) ++progress.large;
            kept.push_back(std::move(*frame));
        } catch (const green::ProtocolError& error) {
            // A stream tells an end inside a frame from one between two; in a ring there is none.
            const bool is_cut = std::strstr(error.what(), "in the middle of a frame") != nullptr;
            return is_cut && !is_ring ? cut_off : unexpected;
        }
        progress.read = number + 1;
        if (kept.size() < 4 && dice() % 2 == 0) continue;
        std::swap(kept[dice() % kept.size()], kept.back());
        kept.pop_back();
    }
}

tests::Pair pair() {
    is_ring = dice() % 4 != 0;
    if (!is_ring) return dice() % 2 == 0 ? tests::over_pipes() : tests::over_a_socket();
    const std::size_t capacity = std::size_t{4096} << (dice() % 3 * 2);
    if (dice() % 2 == 0) return ipc::ring_pipe({.capacity = capacity});
    return ipc::ring_pair({.capacity = capacity});
}

/// A child that does it with its own end. One that hangs is ended, and that is a failure.
template <class Work>
pid_t begin(ipc::FrameStream& own, ipc::FrameStream& others, Progress& progress, Work work) {
    const std::uint64_t start = dice();
    return fork_child([&, start] {
        ::alarm(60);
        dice.seed(start);
        others.shutdown();
        ipc::FrameStream end = ipc::FrameStream::unpack(std::move(own).pack());
        ::_exit(work(end, progress));
    });
}

bool has_ended(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid != 0;
}

struct Sum {
    std::uint64_t writers = 0, readers = 0, cut_off = 0, sent = 0, lost = 0, large = 0;
};

void kill_one(Sum& sum) {
    Common<Progress> progress;
    auto [reading, writing] = pair();
    const pid_t reader = begin(reading, writing, *progress, read);
    const pid_t writer = begin(writing, reading, *progress, write);
    reading.shutdown();
    writing.shutdown();

    const std::uint64_t until = dice() % 200;
    while (progress->begun < until && !has_ended(reader) && !has_ended(writer)) ::sched_yield();
    for (std::uint64_t spin = dice() % 4096; spin > 0; --spin) (void)progress->begun.load();
    const bool writer_dies = dice() % 2 == 0;
    ::kill(writer_dies ? writer : reader, SIGKILL);
    const int writers_end = reap(writer);
    const int readers_end = reap(reader);

    INFO((is_ring ? "ring" : "stream") << ", begun " << progress->begun << ", sent "
                                       << progress->sent << ", read " << progress->read);
    UNSCOPED_INFO("writer " << writers_end << ", reader " << readers_end);
    sum.sent += progress->sent;
    sum.large += progress->large;
    if (!writer_dies) {
        ++sum.readers;
        REQUIRE(readers_end == SIGKILL);
        REQUIRE(writers_end == good);
        sum.lost += progress->sent - progress->read;
        return;
    }
    ++sum.writers;
    REQUIRE(writers_end == SIGKILL);
    if (readers_end == 1000 + cut_off) {
        ++sum.cut_off;
    } else {
        REQUIRE(readers_end == good);
    }
    REQUIRE(progress->read <= progress->begun);
    // What was put into a ring stands there; a socket may be given what was put a little later.
    if (is_ring) REQUIRE(progress->read >= progress->sent);
}

}  // namespace

TEST_CASE("pipe kills: whoever is left reads whole messages, each in its turn, and then the end",
          "[ipc][frame][soak]") {
    const unsigned wanted = tests::kills_wanted(default_kills);
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    dice.seed(start);
    const auto before = tests::open_descriptors();
    const tests::Pace pace;
    Sum sum;
    for (unsigned kills = 0; kills < wanted; ++kills) kill_one(sum);
    CHECK(tests::open_descriptors() == before);
    WARN("GREENSUP_SEED=" << start << ": " << sum.writers << " writers and " << sum.readers
                          << " readers killed, " << pace.of(wanted) << "\n"
                          << sum.sent << " messages sent, " << sum.large << " large ones read; "
                          << sum.cut_off << " streams ended inside a frame; " << sum.lost
                          << " messages sent to readers that were killed before they read them");
}

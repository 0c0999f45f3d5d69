// Which descriptors a child has that runs a function, and by which numbers.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>

#include "ipc/process_entries.hpp"
#include "support/commands.hpp"
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::make_counters;
using tests::Pipe;
using tests::read_counters;
using tests::run_and_reap;
using tests::start_way;

namespace {

const Entry counts_descriptors{"descriptors", [](Fd, std::vector<Fd> more) {
                                   int open = 0;
                                   for (int fd = 0; fd < 1000; ++fd)
                                       open += sys::fcntl(fd, F_GETFD).ok();
                                   return open * 10 + static_cast<int>(more.size());
                               }};
const Entry counts_all{"all", [] { return static_cast<int>(tests::open_descriptors()); }};
const Entry reads_counters{"counters",
                           [](const std::vector<Fd>& all) { return read_counters(all); }};

}  // namespace

TEST_CASE("start_process: the child has no other descriptors than it was given", "[ipc][process]") {
    run_and_reap([] {
        const Pipe unlisted;
        Pipe pipe;
        const int naked = ::dup(unlisted.writer.number());  // not close-on-exec
        std::vector<Fd> more;
        more.push_back(std::move(pipe.reader));
        const int way = GENERATE(0, 1, 2);
        INFO(way);
        ipc::Process child =
            way < 2 ? start_way(way, counts_descriptors, std::move(pipe.writer), std::move(more))
                    : start_process(
                          [](Fd, const std::vector<Fd>& given) {
                              int open = 0;
                              for (int fd = 0; fd < 1000; ++fd)
                                  open += sys::fcntl(fd, F_GETFD).ok();
                              return open * 10 + static_cast<int>(given.size());
                          },
                          std::move(pipe.writer), std::move(more));
        ::close(naked);
        CHECK(child.join()->code() == 61);  // 0, 1, 2, the two, and what it speaks to us over
    });
}

TEST_CASE("start_process: however many descriptors the parent has left open, no child has them",
          "[ipc][process]") {
    run_and_reap([] {
        const tests::DescriptorLimit limit{4096};
        const int count = std::min(1000, limit.get() / 2);  // all there may be are not many
        std::vector<Fd> naked;  // not close-on-exec, and some far above the others
        for (int i = 0; i < count; ++i) naked.emplace_back(::dup(STDERR_FILENO));
        const int far = limit.get() - 1;
        for (const int number : {far - 100, far - 1, far}) naked.emplace_back(::dup2(2, number));
        REQUIRE(std::all_of(naked.begin(), naked.end(), [](const Fd& fd) { return fd.is_open(); }));
        CHECK(start_process(counts_all).join()->code() == 4);
        CHECK(start_process("all").join()->code() == 4);
        CHECK(start_process([] { return static_cast<int>(tests::open_descriptors()); })
                  .join()
                  ->code() == 4);
        // 0, 1, 2, and the one that reads the directory.
        CHECK(tests::output_of(tests::shell("for each in /proc/self/fd/*; do echo x; done")) ==
              "x\nx\nx\nx\n");
    });
}

TEST_CASE("start_process: a child can have as many descriptors as its parent", "[ipc][process]") {
    run_and_reap([] {
        // Nothing goes over a socket, where the system counts what is on its way.
        const tests::FailNth too_many{0, ETOOMANYREFS, sys::Call::sendmsg, true};
        const int way = GENERATE(0, 1);
        CHECK(start_way(way, reads_counters, make_counters(0)).join()->code() == 100);
        CHECK(start_way(way, reads_counters, make_counters(300)).join()->code() == 100);
        CHECK(start_process(
                  [](std::vector<Fd> given) {
                      return start_process(reads_counters, std::move(given)).join()->code();
                  },
                  make_counters(301))
                  .join()
                  ->code() == 101);
        CHECK_FALSE(too_many.fired());
    });
}

TEST_CASE("start_process: a child is given what has the highest number there may be",
          "[ipc][process]") {
    run_and_reap([] {
        const tests::DescriptorLimit limit{512};
        std::vector<Fd> counters = make_counters(3);
        for (Fd& counter : counters) {
            const int copy = ::fcntl(counter.number(), F_DUPFD_CLOEXEC, limit.get() - 3);
            REQUIRE(copy >= limit.get() - 3);
            counter = Fd{copy};
        }
        Command command{.argv = {tests::self()}};
        SECTION("by its own number") {}
        SECTION("while the command wants this for another") {
            for (const Fd& counter : counters)
                command.descriptors.push_back({STDERR_FILENO, counter.number()});
        }
        SECTION("while the command wants all the low ones, too") {
            for (int number = 3; number < 100; ++number)
                command.descriptors.push_back({STDERR_FILENO, number});
            command.descriptors.push_back({counters[1].number(), limit.get() - 1});
        }
        CHECK(start_process(command, "counters", std::move(counters)).join()->code() == 103);
    });
}

TEST_CASE("start_process: no number that a descriptor has is in the way", "[ipc][process]") {
    run_and_reap([] {
        std::vector<Fd> counters = make_counters(4);
        Command command{.argv = {tests::self()}};
        SECTION("the command wants its number for another") {
            for (const Fd& counter : counters)
                command.descriptors.push_back({STDERR_FILENO, counter.number()});
            command.descriptors.push_back({counters[1].number(), 200});
        }
        SECTION("all are wanted") {
            for (int number = 3; number < 40; ++number)
                command.descriptors.push_back({STDERR_FILENO, number});
        }
        CHECK(start_process(command, "counters", std::move(counters)).join()->code() == 104);
    });
    run_and_reap([] {
        // In a child, which can do without its standard input.
        CHECK(start_process([] {
                  ::close(STDIN_FILENO);
                  std::vector<Fd> counters = make_counters(2);
                  if (counters.front().number() != STDIN_FILENO) return 1;
                  return start_process(reads_counters, std::move(counters)).join()->code();
              })
                  .join()
                  ->code() == 102);
    });
}

#ifndef __SANITIZE_ADDRESS__  // whose checks take a descriptor now and then
TEST_CASE("start_process: a process with no descriptor left is told, and loses none",
          "[ipc][process]") {
    run_and_reap([] {
        const int way = GENERATE(0, 1, 2);
        INFO(way);
        // In a child, whose limit is its own. The answer: how many it takes to start another.
        const auto needs = [way] {
            // What is made once is made now.
            ipc::Process first = start_process([] { sleep(1h); });
            (void)first.join(1ms);
            (void)first.kill();
            (void)first.join();
            const std::size_t before = tests::open_descriptors();
            for (rlim_t spare = 0; spare < 10; ++spare) {
                auto given = make_counters(8);
                int code = 0;
                try {
                    std::optional<tests::FewMoreDescriptors> few{spare};
                    ipc::Process child = way < 2 ? start_way(way, reads_counters, std::move(given))
                                                 : start_process(read_counters, std::move(given));
                    few.reset();
                    code = child.join()->code();
                } catch (const std::system_error& error) {
                    if (error.code().value() != EMFILE) return 1;
                }
                given.clear();
                tests::until_reaped();
                if (tests::open_descriptors() != before || !tests::no_children()) return 2;
                if (code != 0) return code == 108 ? static_cast<int>(10 + spare) : 3;
            }
            return 4;
        };
        const int code = start_process(needs).join()->code();
        CHECK(code > 10);
        CHECK(code < 20);
    });
}
#endif

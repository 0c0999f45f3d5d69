// Children that run a function, by fork and by exec. What a child finds wrong it says by its code.

#include <csignal>
#include <map>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>
#include <green/simulation.hpp>

#include "document.capnp.h"
#include "ipc/process_entries.hpp"
#include "support/commands.hpp"
#include "support/faults.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::gives;
using tests::make_counters;
using tests::Pipe;
using tests::read_all;
using tests::read_counters;
using tests::run_and_reap;
using tests::start_way;
using tests::thrown_by;
using tests::write_to;

namespace {

enum class Colour : std::uint8_t { red, green };

const Entry says{"says", [](Fd to, const std::string& text, int number, double half, Colour colour,
                            bool yes, std::vector<std::byte> bytes, std::vector<int> numbers) {
                     std::string all = text + " " + std::to_string(number) + " " +
                                       std::to_string(half) +
                                       (colour == Colour::green ? " green " : " red ") +
                                       (yes ? "yes " : "no ") + std::to_string(bytes.size());
                     for (const int each : numbers) all += " " + std::to_string(each);
                     write_to(to, all);
                 }};
const Entry throws{"throws", [](const std::string& text) { throw std::runtime_error(text); }};
const Entry exits{"exits", [] { throw GreenletExit{}; }};
const Entry sleeps{"sleeps", [](Fd ready) {
                       write_to(ready, "x");
                       sleep(1h);
                   }};
const Entry reads_document{"document", [](ipc::Message<Document> document) {
                               const bool right = document->getName() == "a name";
                               return right ? static_cast<int>(document->getBody().size()) : 0;
                           }};
const Entry reads_attached{"attached", [](ipc::Message<Document> document) {
                               return read_counters(document.descriptors());
                           }};
const Entry measures{"measures", [](const std::string& text) {
                         const bool right = text == std::string(text.size(), 'x');
                         return right ? static_cast<int>(text.size() >> 20) : 0;
                     }};

}  // namespace

TEST_CASE("start_process: what it is given arrives, and the parent has it no more",
          "[ipc][process]") {
    run_and_reap([] {
        Pipe out;
        std::string heard;
        const std::vector<std::byte> bytes(7);
        const std::vector<int> numbers{4, 5};
        SECTION("by exec, typed") {
            ipc::Process child = start_process(says, std::move(out.writer), "text", -3, 0.5,
                                               Colour::green, true, bytes, numbers);
            CHECK(out.writer.number() == -1);
            heard = read_all(out.reader);
            CHECK(child.join()->text() == "exited with 0");
        }
        SECTION("by exec, named") {
            ipc::Process child = start_process("says", std::move(out.writer), std::string("text"),
                                               -3, 0.5, Colour::green, true, bytes, numbers);
            CHECK(out.writer.number() == -1);
            heard = read_all(out.reader);
            CHECK(child.join()->success());
        }
        SECTION("by fork") {
            const std::map<int, std::string> anything{{1, "text"}};
            ipc::Process child = start_process(
                [](Fd to, std::map<int, std::string> texts, auto last) {
                    write_to(to, texts.at(1) + " -3 0.500000 green yes 7 4 " + last);
                },
                std::move(out.writer), anything, "5");
            CHECK(out.writer.number() == -1);
            heard = read_all(out.reader);
            CHECK(child.join()->success());
        }
        CHECK(heard == "text -3 0.500000 green yes 7 4 5");
    });
}

TEST_CASE("start_process: messages are arguments, and large arguments too", "[ipc][process]") {
    run_and_reap([] {
        capnp::MallocMessageBuilder builder;
        auto document = builder.initRoot<Document>();
        document.setName("a name");
        document.initBody(9);
        CHECK(start_process(reads_document, document).join()->code() == 9);
        CHECK(start_process("document", document.asReader()).join()->code() == 9);
        CHECK(start_process([](auto reader) { return static_cast<int>(reader.getBody().size()); },
                            document.asReader())
                  .join()
                  ->code() == 9);
        CHECK(start_process(measures, std::string(5 << 20, 'x')).join()->code() == 5);
    });
}

TEST_CASE("start_process: a message is passed with its descriptors, if it has all of them",
          "[ipc][process]") {
    run_and_reap([] {
        auto [left, right] = ipc::frame_pair();
        const auto receive = [&, &end = right, &peer = left] {
            const std::vector<Fd> counters = make_counters(3);
            ipc::put<Document>(peer, [&](Document::Builder, ipc::Attachments& attachments) {
                for (const Fd& counter : counters) attachments.attach(counter);
            });
            return ipc::get<Document>(end);
        };
        CHECK(start_process(reads_attached, receive()).join()->code() == 103);
        CHECK(start_process("attached", receive()).join()->code() == 103);
        CHECK(start_process([](auto message) { return read_counters(message.descriptors()); },
                            receive())
                  .join()
                  ->code() == 103);

        const std::string refusal =
            "descriptor 1 of a message was taken: the message cannot be passed on";
        for (const int way : {0, 1, 2}) {
            auto message = receive();
            const Fd taken = message.take_descriptor(1);
            CHECK(thrown_by([&] {
                      if (way == 2) (void)start_process([](auto) {}, std::move(message));
                      (void)start_way(way, reads_attached, std::move(message));
                  }) == refusal);
        }
        auto emptied = receive();
        emptied.descriptors()[2].close();
        CHECK(thrown_by([&] {
                  (void)start_process(reads_attached, std::move(emptied));
              }).starts_with("descriptor 2 of a message was taken"));

        // Nor can it be sent, and the stream is as it was.
        auto message = receive();
        const Fd taken = message.take_descriptor(0);
        CHECK(thrown_by([&, &end = left] {
                  ipc::put<Document>(end, [&](Document::Builder, ipc::Attachments& attachments) {
                      attachments.attach(message.descriptors()[1]);
                      attachments.attach(message.descriptors()[0]);
                  });
              }) == "descriptor 1 of a message is closed, or was taken already");
        CHECK(receive().descriptors().size() == 3);
    });
}

TEST_CASE("start_process: how a child ended is told, with what it threw", "[ipc][process]") {
    run_and_reap([] {
        const int way = GENERATE(0, 1);
        CHECK(start_way(way, gives, 0).join()->code() == 0);
        CHECK(start_way(way, gives, 7).join()->text() == "exited with 7");
        CHECK(start_way(way, exits).join()->text() == "exited with 0");
        const auto failed = start_way(way, throws, "boom").join();
        CHECK(failed->code() == 1);
        CHECK(failed->text() == "exited with 1: std::runtime_error: boom");
        CHECK(start_way(way, throws, std::string(100'000, 'x')).join()->error.size() > 10'000);
    });
    run_and_reap([] {
        const auto failed = start_process([] { throw std::runtime_error("boom"); }).join();
        CHECK(failed->text() == "exited with 1: std::runtime_error: boom");
        CHECK(start_process([] { throw GreenletExit{}; }).join()->success());
        CHECK(start_process([] { ::raise(SIGKILL); }).join()->code() == -SIGKILL);
    });
}

TEST_CASE("start_process: a handle can be closed when the child has ended, and then only that",
          "[ipc][process]") {
    run_and_reap([] {
        const int way = GENERATE(0, 1);
        Pipe ready;
        ipc::Process child = way == 0 ? start_process(sleeps, std::move(ready.writer))
                                      : start_process(
                                            [](Fd to) {
                                                write_to(to, "x");
                                                sleep(1h);
                                            },
                                            std::move(ready.writer));
        ready.reader.wait_readable();
        CHECK_FALSE(child.join(1ms));
        CHECK_FALSE(child.end());
        CHECK(child.is_alive());
        CHECK_THROWS_AS(child.close(), UsageError);
        CHECK(child.terminate());
        CHECK(child.join()->code() == -SIGTERM);
        CHECK_FALSE(child.terminate());
        CHECK_FALSE(child.kill());
        CHECK_FALSE(child.is_alive());
        CHECK(child.join()->text() == "killed by SIGTERM");
        child.close();
        child.close();
        CHECK_THROWS_AS(child.is_alive(), Closed);
        CHECK_THROWS_AS(child.join(), Closed);
        CHECK_THROWS_AS(child.pid(), Closed);
        CHECK_THROWS_AS(child.terminate(), Closed);
        ipc::Process none;
        CHECK_THROWS_AS(none.join(), UsageError);
    });
}

TEST_CASE("start_process: a child that is destroyed while it runs is killed", "[ipc][process]") {
    run_and_reap([] {
        Pipe ready;
        {
            const ipc::Process child = start_process(sleeps, std::move(ready.writer));
            ready.reader.wait_readable();
        }
        CHECK(read_all(ready.reader) == "x");  // to its end
    });
}

TEST_CASE("start_process: a handle may go while somebody waits for the child", "[ipc][process]") {
    run_and_reap([] {
        std::optional<ipc::Process> child = start_process([] { sleep(1h); });
        auto waits = spawn([&] { return child->join()->text(); });
        auto waits_too = spawn([&] { return child->join()->text(); });
        yield();
        SECTION("destroyed") { child.reset(); }
        SECTION("replaced") {
            *child = start_process([] {});
        }
        CHECK(waits.get() == "killed by SIGKILL");
        CHECK(waits_too.get() == "killed by SIGKILL");
    });
}

TEST_CASE("start_process: who waits hears how it ended, also when another one closes the handle",
          "[ipc][process]") {
    run_and_reap([] {
        const auto heard_beside_close = [](ipc::Process child) {
            auto waits = spawn([&] { return child.join()->text(); });
            yield();
            pollfd end{child.process().pidfd(), POLLIN, 0};
            REQUIRE(::poll(&end, 1, -1) == 1);  // who waits is not resumed meanwhile
            CHECK_FALSE(child.is_alive());
            child.close();
            return waits.get();
        };
        const std::string boom = "exited with 1: std::runtime_error: boom";
        CHECK(heard_beside_close(start_process(gives, 0)) == "exited with 0");
        CHECK(heard_beside_close(start_process(throws, "boom")) == boom);
        CHECK(heard_beside_close(start_process([] { throw std::runtime_error("boom"); })) == boom);
    });
}

TEST_CASE("start_process: a child whose status somebody else took did not end well",
          "[ipc][process]") {
    run_and_reap([] {
        const int way = GENERATE(0, 1);
        ipc::Process child = start_way(way, gives, 0);
        REQUIRE(::waitpid(child.pid(), nullptr, 0) == child.pid());
        const auto end = child.join();
        CHECK(end->status.kind == ExitStatus::Kind::lost);
        CHECK_FALSE(end->success());
        CHECK(end->code() == 255);
    });
}

TEST_CASE("start_process: what a forked child threw is told from a small stack, too",
          "[ipc][process]") {
    std::string told;
    std::thread{[&] {
        configure_hub({.stack_size = 32UL * 1024});
        told = spawn([] {
                   return start_process([] { throw std::runtime_error("boom"); }).join()->text();
               }).get();
    }}.join();
    CHECK(told == "exited with 1: std::runtime_error: boom");
}

TEST_CASE("start_process: what a child has said is its parent's to hear, not another child's",
          "[ipc][process]") {
    run_and_reap([] {
        ipc::Process child = start_process(throws, "boom");
        child.process().await_end();
        CHECK(fork_process([&] {
                  const auto end = child.join();
                  return end->status.kind == ExitStatus::Kind::lost && end->error.empty() ? 0 : 1;
              })
                  .join()
                  ->success());
        CHECK(child.join()->text() == "exited with 1: std::runtime_error: boom");
    });
}

TEST_CASE("start_process: whichever system call fails, nothing is left behind", "[ipc][process]") {
    run_and_reap([] {
        const int way = GENERATE(0, 1);
        const std::size_t before = tests::open_descriptors();
        std::size_t failed = 0;
        const std::size_t calls = tests::for_each_failure(EIO, [&](const tests::FailNth& failure) {
            {
                try {
                    Pipe out;
                    ipc::Process child = way == 0 ? start_process(gives, 3)
                                                  : start_process([](const Fd&) { return 3; },
                                                                  std::move(out.reader));
                    const auto end = child.join();
                    // The note of how it went may be lost, never the code: what failed was no more
                    // than the parent's part in that, or what came behind it.
                    CHECK((end->code() == 3 || end->code() == 127));
                } catch (const std::system_error& error) {
                    CAPTURE(error.what());
                    // Memory that is still mapped cannot be sealed.
                    const bool in_the_way = failure.call() == green::sys::Call::munmap;
                    CHECK(error.code().value() == (in_the_way ? EBUSY : EIO));
                    ++failed;
                }
            }
            tests::until_reaped();
            CHECK(tests::no_children());
            CHECK(tests::open_descriptors() == before);
        });
        CHECK(calls > 8);
        CHECK(failed > 5);
    });
}

TEST_CASE("start_process: ten at once, of both kinds", "[ipc][process]") {
    run_and_reap([] {
        Group all;
        int right = 0;
        for (int i = 0; i < 10; ++i) {
            all.spawn([&right, i] {
                right += start_process(gives, i).join()->code() == i;
                right +=
                    start_process([i] { return spawn([i] { return i; }).get(); }).join()->code() ==
                    i;
            });
        }
        all.join();
        CHECK(right == 20);
    });
}

TEST_CASE("start_process: a simulation has no processes", "[ipc][process]") {
    const Simulation world{1};
    CHECK_THROWS_AS(start_process(gives, 3), UsageError);
    CHECK_THROWS_AS(start_process([] {}), UsageError);
}

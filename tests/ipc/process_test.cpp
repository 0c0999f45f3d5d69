// Children that run a function, by fork and by exec. What a child finds wrong it says by its code.

#include <csignal>
#include <functional>
#include <map>
#include <stdexcept>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>
#include <green/simulation.hpp>

#include "document.capnp.h"
#include "support/commands.hpp"
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/roles.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;

namespace {

constexpr std::string_view forgetful = "--role=forgets_entries";
const bool entries_are_run = tests::register_beginning([](int argc, char** argv) {
    return argc > 1 && argv[1] == forgetful ? std::nullopt : ipc::run_entry(argc, argv);
});

void write_to(const Fd& to, std::string_view text) {
    sys::must(sys::write(to.number(), text.data(), text.size()), "write");
}

/// Whether they hold 1, 2, 3, ..., and nothing that is started here would inherit them.
int read_counters(const std::vector<Fd>& counters) {
    for (std::uint64_t i = 0; i < counters.size(); ++i) {
        const int number = counters[i].number();
        std::uint64_t value = 0;
        if (sys::read(number, &value, sizeof value).value != sizeof value) return 1;
        if (value != i + 1) return 2;
        if (number <= 2 || sys::fcntl(number, F_GETFD).value != FD_CLOEXEC) return 3;
    }
    return static_cast<int>(counters.size() % 100) + 100;
}

// --- the entries ---

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
const Entry gives{"gives", [](int code) { return code; }};
const Entry throws{"throws", [](const std::string& text) { throw std::runtime_error(text); }};
const Entry exits{"exits", [] { throw GreenletExit{}; }};
const Entry sleeps{"sleeps", [](Fd ready) {
                       write_to(ready, "x");
                       sleep(1h);
                   }};
const Entry counts_descriptors{"descriptors", [](Fd, std::vector<Fd> more) {
                                   int open = 0;
                                   for (int fd = 0; fd < 1000; ++fd)
                                       open += sys::fcntl(fd, F_GETFD).ok();
                                   return open * 10 + static_cast<int>(more.size());
                               }};
const Entry counts_all{"all", [] { return static_cast<int>(tests::open_descriptors()); }};
const Entry shows_itself{"shows", [](Fd to) {
                             std::string all;
                             for (const char* path : {"/proc/self/cmdline", "/proc/self/environ"}) {
                                 Fd file{sys::open(path, O_RDONLY).as_int()};
                                 char block[65'536];
                                 const auto got = sys::read(file.number(), block, sizeof(block));
                                 all.append(block, got.as_size());
                             }
                             write_to(to, all);
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
const Entry reads_counters{"counters",
                           [](const std::vector<Fd>& all) { return read_counters(all); }};
const Entry twice{"twice", [] {}};
const Entry twice_again{"twice", [](int) {}};

std::string thrown_by(const std::function<void()>& call) {
    try {
        call();
    } catch (const UsageError& error) {
        return error.what();
    }
    return "nothing";
}

std::vector<Fd> make_counters(unsigned count) {
    std::vector<Fd> counters;
    for (unsigned i = 1; i <= count; ++i)
        counters.emplace_back(static_cast<int>(sys::must(sys::eventfd(i), "eventfd")));
    return counters;
}

/// The two ways to start the same.
template <class E, class... Arguments>
ipc::Process start_way(int way, const E& entry, Arguments&&... arguments) {
    if (way == 0) return start_process(entry, std::forward<Arguments>(arguments)...);
    return start_process(entry.name(), std::forward<Arguments>(arguments)...);
}

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

TEST_CASE("start_process: neither command line nor environment shows what is passed",
          "[ipc][process]") {
    run_and_reap([] {
        Pipe out;
        ipc::Process child = start_process(shows_itself, std::move(out.writer));
        const std::string seen = read_all(out.reader);
        CHECK(child.join()->success());
        std::string words = seen.substr(0, seen.find("shows") + 6);
        std::replace(words.begin(), words.end(), '\0', ' ');
        const std::string before = std::string(program_invocation_name) + " --greensup-entry=";
        REQUIRE(words.starts_with(before));
        words.erase(0, before.size());
        CHECK(words.substr(words.find_first_not_of("0123456789")) == ":shows ");
        CHECK(seen.find("GREENSUP") == std::string::npos);
    });
}

TEST_CASE("start_process: a name is refused that is unknown, twice there, or takes something else",
          "[ipc][process]") {
    run_and_reap([] {
        CHECK(thrown_by([] {
                  (void)start_process("render");
              }).starts_with("there is no entry render in this program, but: "));
        CHECK(thrown_by([] { (void)start_process("twice"); }) ==
              "there is more than one entry twice");
        CHECK(thrown_by([] { (void)start_process("gives", "7"); }) ==
              "the entry gives takes (int), and was given (std::__cxx11::basic_string<char, "
              "std::char_traits<char>, std::allocator<char> >)");
        CHECK(thrown_by([] { (void)start_process("gives", 7L); }) ==
              "the entry gives takes (int), and was given (long)");
        CHECK(tests::no_children());
    });
}

TEST_CASE("start_process: a captured variable keeps a function from being an entry",
          "[ipc][process]") {
    const auto free = [](int) {};
    int variable = 0;
    const auto captures = [&variable](int value) { variable = value; };
    const auto can_be_entry = []<class F>(const F& function) {
        return requires { Entry("name", function); };
    };
    CHECK(can_be_entry(free));
    CHECK_FALSE(can_be_entry(captures));
    CHECK(std::invocable<decltype(captures), int>);  // but it can be forked
}

TEST_CASE("start_process: the entry can be that of another program", "[ipc][process]") {
    run_and_reap([] {
        CHECK(start_process(Command{.argv = {tests::self()}}, "gives", 6).join()->code() == 6);
        const auto unknown = start_process(Command{.argv = {tests::self()}}, "render", 6).join();
        CHECK(unknown->text().starts_with(
            "exited with 2: green::UsageError: there is no entry render in this program"));
        const auto wrong = start_process(Command{.argv = {tests::self()}}, "gives", 6L).join();
        CHECK(wrong->text() ==
              "exited with 2: green::UsageError: the entry gives takes (int), and was given "
              "(long)");
        CHECK(start_process(Command{.argv = {"/bin/true"}}, "gives", 6).join()->text() ==
              "exited with 0: it never came to its entry: its main() has to call "
              "green::ipc::run_entry()");
        CHECK_THROWS_AS(start_process(Command{.argv = {"/no/such/program"}}, "gives", 6),
                        SpawnError);
        // By hand.
        const std::string by_hand = " --greensup-entry=3:gives 3</dev/null 2>/dev/null";
        CHECK(Process::start(tests::shell("exec " + tests::self() + by_hand)).join()->code == 2);
        CHECK(Process::start(tests::shell(tests::self() + " --greensup-entry=gives 2>&1"))
                  .join()
                  ->code == 2);
    });
}

// forgets_entries: a main() that does not call run_entry(), although it starts entries.
GREEN_TEST_ROLE(forgets_entries) {
    try {
        (void)start_process(gives, 3).join();
    } catch (const UsageError& error) {
        return std::string_view{error.what()}.find("run_entry") != std::string_view::npos ? 9 : 1;
    }
    return 2;
}

TEST_CASE("start_process: a main() that forgets run_entry() does not start itself for ever",
          "[ipc][process]") {
    run_and_reap([] {
        const Command command{.argv = {tests::self(), std::string(forgetful)}};
        CHECK(start_process(command, "gives", 3).join()->code() == 9);
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
                rlimit usual{};
                (void)::getrlimit(RLIMIT_NOFILE, &usual);
                const auto next = static_cast<rlim_t>(Fd{::dup(STDERR_FILENO)}.number());
                const rlimit tight{next + spare, usual.rlim_max};
                (void)::setrlimit(RLIMIT_NOFILE, &tight);
                int code = 0;
                try {
                    ipc::Process child = way < 2 ? start_way(way, reads_counters, std::move(given))
                                                 : start_process(read_counters, std::move(given));
                    (void)::setrlimit(RLIMIT_NOFILE, &usual);
                    code = child.join()->code();
                } catch (const std::system_error& error) {
                    (void)::setrlimit(RLIMIT_NOFILE, &usual);
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

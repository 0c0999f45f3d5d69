// How a program finds the entry that it was started for.

#include "ipc/process_entries.hpp"

#include <algorithm>
#include <concepts>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>

#include "support/commands.hpp"
#include "support/roles.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::gives;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;
using tests::thrown_by;
using tests::write_to;

namespace {

constexpr std::string_view forgetful = "--role=forgets_entries";
const bool entries_are_run = tests::register_beginning([](int argc, char** argv) {
    return argc > 1 && argv[1] == forgetful ? std::nullopt : ipc::run_entry(argc, argv);
});

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
const Entry twice{"twice", [] {}};
const Entry twice_again{"twice", [](int) {}};

}  // namespace

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

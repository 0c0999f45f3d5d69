// Programs that cannot be executed: what the error says of them.

#include <cstring>
#include <fcntl.h>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "core/fork_ends.hpp"
#include "support/commands.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using tests::end_of;
using tests::exited;
using tests::no_children;
using tests::run_and_reap;

namespace {

/// Nothing when it started.
std::optional<std::string> refusal_of(const Command& command) {
    try {
        Process started = Process::start(command);
        started.join();
        return std::nullopt;
    } catch (const SpawnError& error) {
        CHECK(error.stage() == SpawnStage::exec);
        return error.what();
    }
}
std::optional<std::string> refusal_of(const std::string& program, const std::string& cwd = "") {
    return refusal_of(Command{.argv = {program}, .cwd = cwd});
}
/// Of a program without a slash.
std::optional<std::string> refusal_by(const std::string& path, const std::string& program) {
    return refusal_of(Command{.argv = {program}, .environment = {{"PATH=" + path}}});
}

std::string write(const tests::TempDir& directory, const std::string& name, const std::string& text,
                  mode_t mode) {
    std::string path = directory.write(name, text);
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    return path;
}

const std::string missing = ": No such file or directory";
const std::string denied = ": Permission denied";
const std::string needs = ", which is there, but needs another program to run it that is not";
const std::string wants = ", which has to be a file that may be executed (chmod +x)";

}  // namespace

TEST_CASE("process: a program that cannot be executed is named, with what it wants", "[core][os]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string home = directory.path().string();
        const std::string alone = write(directory, "alone", "#!/no/such/interpreter\n", 0755);
        CHECK(refusal_of(alone) == "exec of " + alone + needs + missing);
        CHECK(refusal_of("./alone", home) == "exec of ./alone in " + home + needs + missing);
        CHECK(refusal_of("./nobody", home) == "exec of ./nobody in " + home + missing);

        const std::string text = write(directory, "text", "just words", 0644);
        CHECK(refusal_of(text) == "exec of " + text + wants + denied);
        CHECK(refusal_of(home) == "exec of " + home + wants + denied);
        const std::string reader = write(directory, "reader", "#!" + text + "\n", 0755);
        CHECK(refusal_of(reader) ==
              "exec of " + reader +
                  ", which needs another program to run it that may not be executed" + denied);
        REQUIRE(::chmod(text.c_str(), 0755) == 0);
        CHECK(refusal_of(text) == "exec of " + text +
                                      ", which is no program of this machine and has no \"#!\" in "
                                      "front: Exec format error");

        const std::string busy = write(directory, "busy", "#!/bin/sh\n", 0755);
        const Fd writer{static_cast<int>(sys::must(sys::open(busy.c_str(), O_RDWR), "open"))};
        // Some kernels let it begin all the same (6.11 and 6.12).
        CHECK(refusal_of(busy).value_or("exec of " + busy +
                                        ", which somebody still has open for writing: Text file "
                                        "busy") ==
              "exec of " + busy + ", which somebody still has open for writing: Text file busy");
        CHECK(no_children());
    });
}

TEST_CASE("process: arguments that are too long are told of with the limit that they met",
          "[core][os]") {
    run_and_reap([] {
        const auto limit = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) * 32;
        const std::size_t all = std::strlen("/bin/true") + 1 + limit + 1;
        const std::string longest = *refusal_of({.argv = {"/bin/true", std::string(limit, 'x')}});
        CHECK(longest.starts_with("exec of /bin/true with " + std::to_string(all) +
                                  " bytes of arguments, of which one may have " +
                                  std::to_string(limit / 1024) + " KiB, "));
        CHECK(longest.ends_with("a quarter of ulimit -s: Argument list too long"));
    });
}

TEST_CASE("process: of the places in PATH that one is told of where the program is", "[core][os]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string home = directory.path().string();
        const std::string alone = write(directory, "alone", "#!/no/such/interpreter\n", 0755);
        const std::string text = write(directory, "text", "just words", 0644);
        const std::string nowhere = ", which is in no place of its PATH";
        CHECK(refusal_by("/none:" + home, "nobody") == "exec of nobody" + nowhere + missing);
        for (const std::string& path : {home + ":/none", "/none:" + home, home + ":" + text}) {
            INFO(path);
            CHECK(refusal_by(path, "alone") == "exec of alone (" + alone + ")" + needs + missing);
            CHECK(refusal_by(path, "text") == "exec of text (" + text + ")" + wants + denied);
        }
        // The first, and what a shell would find behind it is run.
        const tests::TempDir other;
        write(other, "alone", "just words", 0644);
        const std::string both = home + ":" + other.path().string();
        CHECK(refusal_by(both, "alone") == "exec of alone (" + alone + ")" + needs + missing);
        write(other, "alone", "#!/bin/sh\n", 0755);
        CHECK_FALSE(refusal_by(both, "alone").has_value());
    });
}

TEST_CASE("process: a directory that cannot be looked into is told of as that", "[core][os]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string locked = directory / "locked";
        REQUIRE(::mkdir(locked.c_str(), 0) == 0);
        const auto looks = [&] {
            constexpr uid_t nobody = 65'534;
            if (::geteuid() == 0 && ::setresuid(nobody, nobody, nobody) != 0) return 77;
            const std::string barred =
                "exec of no-such-program, which is in no place of its PATH "
                "that can be looked into (" +
                locked + " cannot)" + denied;
            if (refusal_by("/none:" + locked + ":/usr/bin", "no-such-program") != barred) return 1;
            const std::string inside = locked + "/program";
            if (refusal_of(inside) !=
                "exec of " + inside + ", in a directory that cannot be looked into" + denied) {
                return 2;
            }
            return refusal_by(locked + ":/usr/bin:/bin", "true").has_value() ? 3 : 0;
        };
        const ExitStatus status = end_of(looks);
        if (status != exited(77))  // root, who may not become anybody else
            CHECK(status == exited(0));
        CHECK(::chmod(locked.c_str(), 0700) == 0);  // so that it can be removed
    });
}

// Programs that cannot be executed: what the error says of them.

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <optional>
#include <string>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
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

namespace {

/// Answers the exec of each path in `dead` by the error, while it lives. For a process that ends
/// with the test: what it has set up stays.
class DeadPlaces {
 public:
    DeadPlaces(std::string dead, int error) : dead_{std::move(dead)}, error_{error} {
        std::array<sock_filter, 4> rules{{
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        }};
        const sock_fprog filter{static_cast<unsigned short>(rules.size()), rules.data()};
        (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        listener_ = static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                               SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
        if (works()) std::thread{[this] { answer(); }}.detach();
    }
    [[nodiscard]] bool works() const noexcept { return listener_ >= 0; }

 private:
    // Whoever calls exec shares our memory.
    void answer() const noexcept {
        for (;;) {
            seccomp_notif asked{};
            if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
            const auto* path = reinterpret_cast<const char*>(asked.data.args[0]);
            const bool is_dead = path == dead_;
            seccomp_notif_resp answer{};
            answer.id = asked.id;
            answer.error = is_dead ? -error_ : 0;
            answer.flags = is_dead ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
            (void)::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        }
    }

    std::string dead_;
    int error_;
    int listener_ = -1;
};

}  // namespace

TEST_CASE("process: a place in PATH whose file system does not answer is passed by", "[core][os]") {
    run_and_reap([] {
        const int error = GENERATE(ESTALE, ENODEV, ETIMEDOUT);
        const auto looks = [error] {
            static const DeadPlaces places{"/dead/true", error};
            if (!places.works()) return tests::left_out;
            if (refusal_by("/none:/dead:/usr/bin:/bin", "true").has_value()) return 1;
            const std::string told = std::string(": ") + std::strerror(error);
            return refusal_by("/none:/dead", "true") ==
                           "exec of true, which is in no place of its PATH that can be looked "
                           "into (/dead cannot)" +
                               told
                       ? 0
                       : 2;
        };
        const ExitStatus status = end_of(looks);
        if (status == exited(tests::left_out))
            WARN("left out: nobody may answer for the kernel here (seccomp)");
        else
            CHECK(status == exited(0));
    });
}

TEST_CASE("process: a directory that cannot be looked into is told of as that", "[core][os]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string locked = directory / "locked";
        REQUIRE(::mkdir(locked.c_str(), 0) == 0);
        const auto looks = [&] {
            constexpr uid_t nobody = 65'534;
            if (::geteuid() == 0 && ::setresuid(nobody, nobody, nobody) != 0)
                return tests::left_out;
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
        if (status == exited(tests::left_out))
            WARN("left out: this root may not become anybody else");
        else
            CHECK(status == exited(0));
        CHECK(::chmod(locked.c_str(), 0700) == 0);  // so that it can be removed
    });
}

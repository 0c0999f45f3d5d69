// The parent's side of a start: everything that may allocate or fail in an ordinary way happens
// here, before the child is there.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <sched.h>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "os/child.hpp"
#include "os/signals_blocked.hpp"
#include "os/spawn_child.hpp"

namespace green::detail {
namespace {

const std::string& program_of(const Command& command) {
    return command.program.empty() ? command.argv.front() : command.program;
}

std::size_t bytes_of(const std::vector<std::string>& texts) noexcept {
    std::size_t bytes = 0;
    for (const std::string& text : texts) bytes += text.size() + 1;
    return bytes;
}

bool is_looked_up(const Command& command) noexcept {
    return program_of(command).find('/') == std::string::npos;
}

/// What an exec wants that was refused, where the system's word for it says too little.
std::string wish(const SpawnPlan& plan, const Command& command) {
    const auto place = std::filesystem::path{command.cwd} / plan.place;
    std::error_code unknown;
    switch (plan.error) {
        case ENOENT:
        case ENOTDIR:
            if (plan.is_there)
                return ", which is there, but needs another program to run it that is not";
            return is_looked_up(command) ? ", which is in no place of its PATH" : "";
        case ESTALE:
        case ENODEV:
        case ETIMEDOUT:
            if (plan.is_there) return "";
            [[fallthrough]];
        case EACCES:
            if (!plan.is_there) {
                const std::string directory = std::filesystem::path{plan.place}.parent_path();
                return is_looked_up(command)
                           ? ", which is in no place of its PATH that can be looked into (" +
                                 directory + " cannot)"
                           : ", in a directory that cannot be looked into";
            }
            if (::faccessat(AT_FDCWD, place.c_str(), X_OK, AT_EACCESS) == 0 &&
                !std::filesystem::is_directory(place, unknown)) {
                return ", which needs another program to run it that may not be executed";
            }
            return ", which has to be a file that may be executed (chmod +x)";
        case ENOEXEC:
            return ", which is no program of this machine and has no \"#!\" in front";
        case ETXTBSY:
            return ", which somebody still has open for writing";
        case E2BIG:
            return " with " + std::to_string(bytes_of(command.argv)) +
                   " bytes of arguments, of which one may have " +
                   std::to_string(::sysconf(_SC_PAGESIZE) * 32 / 1024) +
                   " KiB, and all with the environment a quarter of ulimit -s";
        default:
            return "";
    }
}

std::string in_cwd(const Command& command) {
    return command.cwd.empty() ? "" : " in " + command.cwd;
}

[[noreturn]] void fail(SpawnStage stage, int error, const Command& command) {
    const std::string& program = program_of(command);
    if (stage == SpawnStage::cwd) {
        throw SpawnError(stage, error, "cwd " + command.cwd + " for " + program);
    }
    throw SpawnError(stage, error, name(stage) + (" for " + program) + in_cwd(command));
}

[[noreturn]] void fail(const SpawnPlan& plan, const Command& command) {
    if (plan.stage != SpawnStage::exec) fail(plan.stage, plan.error, command);
    std::string text = "exec of " + program_of(command);
    if (is_looked_up(command) && plan.is_there) text += " (" + std::string(plan.place) + ")";
    throw SpawnError(plan.stage, plan.error, text + in_cwd(command) + wish(plan, command));
}

std::intptr_t must(sys::Outcome outcome, SpawnStage stage, const Command& command) {
    if (!outcome.ok()) fail(stage, outcome.error, command);
    return outcome.value;
}

void check(const Command& command) {
    const auto whole = [](const std::string& text) {
        if (text.find('\0') != std::string::npos) throw UsageError("a NUL inside a Command");
    };
    if (command.argv.empty()) throw UsageError("a Command needs an argv[0]");
    if (program_of(command).empty()) throw UsageError("a Command needs a program");
    std::for_each(command.argv.begin(), command.argv.end(), whole);
    if (command.environment)
        std::for_each(command.environment->begin(), command.environment->end(), whole);
    whole(command.program);
    whole(command.cwd);
}

// --- what to run ---

std::string_view path_of(char* const* environment) {
    for (; environment != nullptr && *environment != nullptr; ++environment) {
        const std::string_view entry = *environment;
        if (entry.starts_with("PATH=")) return entry.substr(5);
    }
    return "/bin:/usr/bin";
}

std::vector<std::string> places_of(const std::string& program, std::string_view path) {
    if (program.find('/') != std::string::npos) return {program};
    std::vector<std::string> places;
    for (;;) {
        const std::size_t colon = path.find(':');
        const std::string_view directory = path.substr(0, colon);
        places.push_back(directory.empty() ? "./" + program
                                           : std::string(directory) + "/" + program);
        if (colon == std::string_view::npos) return places;
        path.remove_prefix(colon + 1);
    }
}

// For execve, which promises to leave the texts alone.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> list;
    list.reserve(texts.size() + 1);
    for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
    list.push_back(nullptr);
    return list;
}

// --- descriptors ---

struct Descriptors {
    std::vector<Command::Handover> list;
    std::vector<Fd> spares;  // ours, for the length of the start
};

Descriptors arrange(const Command& command) {
    Descriptors all{command.descriptors, {}};
    if (command.null_stdin) {
        all.spares.emplace_back(static_cast<int>(
            must(sys::open("/dev/null", O_RDONLY), SpawnStage::descriptors, command)));
        all.list.push_back({all.spares.back().number(), STDIN_FILENO});
    }
    std::sort(all.list.begin(), all.list.end(),
              [](const auto& a, const auto& b) { return a.theirs < b.theirs; });
    const auto target = [&](int number) {
        const auto found =
            std::lower_bound(all.list.begin(), all.list.end(), number,
                             [](const auto& it, int wanted) { return it.theirs < wanted; });
        return found != all.list.end() && found->theirs == number ? found : all.list.end();
    };
    const auto is_target = [&](int number) { return target(number) != all.list.end(); };
    for (auto it = all.list.begin(); it != all.list.end(); ++it) {
        if (it->theirs < 0 || target(it->theirs) != it) {
            throw UsageError("descriptor " + std::to_string(it->theirs) +
                             " of a child, listed twice or negative");
        }
    }
    // One that another would overwrite is moved out of the way, to the lowest number that is free
    // here and none of the child's: there may be few above those.
    int from = STDERR_FILENO + 1;
    for (auto& it : all.list) {
        if (it.ours == it.theirs || !is_target(it.ours)) continue;
        Fd moved;
        do {
            while (is_target(from)) ++from;
            const sys::Outcome copy = sys::fcntl(it.ours, F_DUPFD_CLOEXEC, from);
            moved = Fd{static_cast<int>(must(copy, SpawnStage::descriptors, command))};
            from = moved.number() + 1;
        } while (is_target(moved.number()));
        it.ours = moved.number();
        all.spares.push_back(std::move(moved));
    }
    return all;
}

// --- the moment itself ---

/// Memory for the child's few frames, with a guard below.
class ChildStack {
 public:
    explicit ChildStack(const Command& command) {
        const sys::Outcome mapped = sys::mmap(nullptr, size + guard, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        // NOLINTNEXTLINE(performance-no-int-to-ptr): mmap's value is the address
        low_ = reinterpret_cast<std::byte*>(must(mapped, SpawnStage::clone, command));
        (void)sys::mprotect(low_, guard, PROT_NONE);
    }
    ChildStack(const ChildStack&) = delete;
    ChildStack& operator=(const ChildStack&) = delete;
    ~ChildStack() { (void)sys::munmap(low_, size + guard); }
    [[nodiscard]] void* top() const noexcept { return low_ + guard + size; }

 private:
    static constexpr std::size_t size = 0x8000;
    static constexpr std::size_t guard = 0x10000;  // whole pages everywhere
    std::byte* low_;
};

}  // namespace

std::shared_ptr<Child> Child::start(const Command& command) {
    check(command);
    std::vector<char*> environment;
    if (command.environment) environment = pointers(*command.environment);
    const Descriptors descriptors = arrange(command);

    SpawnPlan plan;
    plan.environment = command.environment ? environment.data() : environ;
    const std::vector<std::string> places =
        places_of(program_of(command), path_of(plan.environment));
    const std::vector<char*> paths = pointers(places);
    const std::vector<char*> argv = pointers(command.argv);
    plan.paths = paths.data();
    plan.argv = argv.data();
    plan.cwd = command.cwd.empty() ? nullptr : command.cwd.c_str();
    plan.descriptors = descriptors.list.data();
    plan.descriptor_count = descriptors.list.size();
    plan.limits = command.limits.data();
    plan.limit_count = command.limits.size();
    plan.new_session = command.new_session;
    plan.parent_death_signal = command.parent_death_signal.value_or(0);
    plan.parent = ::getpid();
    if (command.umask) plan.umask = static_cast<int>(*command.umask);

    auto child = std::make_shared<Child>(command.new_session);  // now, for later nothing may fail
    const ChildStack stack{command};
    int pidfd = -1;
    sys::Outcome cloned;
    {
        const SignalsBlocked quiet;  // no handler of ours may run in the child
        must(quiet.outcome(), SpawnStage::clone, command);
        cloned = sys::clone(&run_child, stack.top(), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                            &plan, &pidfd);
    }
    child->pid_ = static_cast<pid_t>(must(cloned, SpawnStage::clone, command));
    child->pidfd_ = Fd{pidfd};
    if (plan.error != 0) {
        child->doomed_ = true;  // it ends by itself; its last holder, we, reaps it
        fail(plan, command);
    }
    return child;
}

}  // namespace green::detail

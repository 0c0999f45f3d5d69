#pragma once
// Children that run a function, with arguments that are moved to them: pipe ends, descriptors,
// values. docs/explanation/processes.md compares the two ways.
//
//     auto [reader, writer] = green::ipc::pipe<Job>();
//     auto child = green::ipc::start_process("render", std::move(reader), 640);
//     writer.put(...);
//     child.join();

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <green/fork.hpp>
#include <green/ipc/entry.hpp>
#include <green/process.hpp>

namespace green::ipc {

/// How a child ended.
struct ProcessEnd {
    ExitStatus status;
    std::string error{};  // what its function threw; why an entry was not run

    [[nodiscard]] bool success() const noexcept { return status.success(); }
    /// What it returned, or minus the signal that killed it; 255 when somebody else reaped it.
    [[nodiscard]] int code() const noexcept {
        return status.kind == ExitStatus::Kind::signaled ? -status.code : status.code;
    }
    /// "exited with 1: std::runtime_error: boom"
    [[nodiscard]] std::string text() const;
};

/// Owns a child that start_process() has started. As green::Process: destroying a running one kills
/// it. After close() every call throws Closed, save close() and empty().
class Process {
 public:
    Process() noexcept = default;
    Process(green::Process process, Fd channel, bool tells_that_it_began);
    Process(Process&&) noexcept = default;
    Process& operator=(Process&& other) noexcept;
    ~Process();

    [[nodiscard]] bool empty() const noexcept { return state_ == nullptr; }
    [[nodiscard]] pid_t pid() const { return process().pid(); }
    [[nodiscard]] bool is_alive() const { return !process().poll(); }
    /// Waits until it has ended. Switches, unless it has. Any number may wait. Returns nothing once
    /// `deadline` has passed.
    std::optional<ProcessEnd> join(Deadline deadline = Deadline::never());
    /// How it ended, if it has.
    [[nodiscard]] std::optional<ProcessEnd> end() { return join(Deadline::passed()); }
    /// SIGTERM. Returns false, and does nothing, when it has ended.
    bool terminate();
    /// SIGKILL. The same.
    bool kill();
    /// For all else that can be done with one. Throws UsageError when this is empty, and Closed.
    [[nodiscard]] green::Process& process() const;
    /// Nobody is interested in it any more. Silent when closed. Throws UsageError while it runs.
    void close();

 private:
    struct State;
    void abandon() noexcept;

    std::shared_ptr<State> state_;  // shared with those who wait
};

namespace passing {

/// Both ends of what a child says about itself.
struct Channel {
    Channel();
    Fd ours;
    Fd childs;
};

/// In a child.
void tell_failure(int channel, const std::exception_ptr& error) noexcept;

[[nodiscard]] std::vector<int> numbers_of(const Channel& channel, const Parcel& parcel);
[[nodiscard]] Process start_entry(const AnyEntry& entry, const std::type_info& arguments,
                                  Packer packer);
[[nodiscard]] Process start_program(const Command& command, std::string_view entry,
                                    const std::type_info& arguments, Packer packer);

template <class T, class A>
void pack(Packer& packer, A&& argument) {
    using Given = PassedAs<A>;
    if constexpr (std::is_same_v<Given, T>) {
        Passing<T>::pack(packer, std::forward<A>(argument));
    } else {
        static_assert(std::is_convertible_v<A, T>, "the entry takes something else");
        T converted = std::forward<A>(argument);
        Passing<T>::pack(packer, std::move(converted));
    }
}

template <class... Arguments>
Packer packed(Arguments&&... arguments) {
    Packer packer;
    (pack<PassedAs<Arguments>>(packer, std::forward<Arguments>(arguments)), ...);
    return packer;
}

/// What a forked child gets of an argument: the parent must not keep descriptors that it has given
/// away, and only those that were given away stay open there. All else is in the child's memory.
template <class T>
class Kept {
    // What owns something that is not passed, a socket for instance, would arrive without it.
    static_assert(std::is_copy_constructible_v<T>,
                  "an argument of a forked child has to be passable, or to be copied");

 public:
    template <class A>
    Kept(Packer&, A&& argument) : value_(std::forward<A>(argument)) {}
    T take(Unpacker&) { return std::move(value_); }

 private:
    T value_;
};
template <class T>
concept HoldsDescriptors = Passing<T>::holds_descriptors;
template <HoldsDescriptors T>
class Kept<T> {
 public:
    template <class A>
    Kept(Packer& packer, A&& argument) {
        Passing<T>::pack(packer, std::forward<A>(argument));
    }
    T take(Unpacker& unpacker) { return Passing<T>::unpack(unpacker); }
};

}  // namespace passing

/// Starts a child that runs the function with the arguments in the way of fork_process(): it
/// begins with a copy of our memory, and has no other descriptors than 0, 1, 2 and those in
/// the arguments.
/// The arguments are moved or copied, and gone when this throws, too. Never switches. Throws
/// SpawnError, std::system_error, and what packing an argument throws.
template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
[[nodiscard]] Process start_process(Function&& function, Arguments&&... arguments) {
    Packer packer;
    std::tuple<passing::Kept<std::decay_t<Arguments>>...> kept{
        passing::Kept<std::decay_t<Arguments>>{packer, std::forward<Arguments>(arguments)}...};
    Parcel parcel = std::move(packer).take();
    passing::Channel channel;
    const ForkOptions options{.descriptors = passing::numbers_of(channel, parcel)};
    green::Process child = fork_process(
        [&]() -> int {
            try {
                Unpacker unpacker{std::move(parcel)};
                std::tuple<std::decay_t<Arguments>...> own = std::apply(
                    [&](auto&... each) {
                        return std::tuple<std::decay_t<Arguments>...>{each.take(unpacker)...};
                    },
                    kept);
                std::decay_t<Function> call(std::forward<Function>(function));
                if constexpr (std::is_void_v<std::invoke_result_t<std::decay_t<Function>,
                                                                  std::decay_t<Arguments>...>>) {
                    std::apply(std::move(call), std::move(own));
                    return 0;
                } else {
                    return std::apply(std::move(call), std::move(own));
                }
            } catch (...) {
                passing::tell_failure(channel.childs.number(), std::current_exception());
                throw;
            }
        },
        options);
    return Process{std::move(child), std::move(channel.ours), false};
}

/// Starts a child that runs the entry: this program anew, which comes to it by run_entry() in its
/// main(). The arguments are inherited, so that neither the command line nor the environment shows
/// them; besides them, the socket by which the child says how it ended, 0, 1 and 2 nothing stays
/// open there.
/// The arguments are moved or copied, and gone when this throws, too. Never switches. Returns when
/// the child has become the program: whether it comes to its entry, join() tells. Throws
/// SpawnError, std::system_error, what packing an argument throws, and UsageError in a program that
/// was started for an entry and has not called run_entry().
template <class Result, class... Parameters, class... Arguments>
[[nodiscard]] Process start_process(const Entry<Result(Parameters...)>& entry,
                                    Arguments&&... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                  "the entry takes another number of arguments");
    Packer packer;
    (passing::pack<std::decay_t<Parameters>>(packer, std::forward<Arguments>(arguments)), ...);
    return passing::start_entry(entry, entry.arguments(), std::move(packer));
}

/// The same for the entry of the name, which may be in a part of the program that is not seen here.
/// Throws UsageError as well when there is none, or more than one, and when it takes other
/// arguments: their types must be the same.
template <class... Arguments>
requires(Passable<PassedAs<Arguments>>&&...) [[nodiscard]] Process
    start_process(const std::string& entry, Arguments&&... arguments) {
    const AnyEntry& found = AnyEntry::find(entry);
    return passing::start_entry(found, typeid(void(PassedAs<Arguments>...)),
                                passing::packed(std::forward<Arguments>(arguments)...));
}

/// The same for the entry of another program, which gets `--greensup-entry=...` behind the other
/// words of its command line. What is wrong with the entry or the arguments is in the child's
/// ProcessEnd.
template <class... Arguments>
requires(Passable<PassedAs<Arguments>>&&...) [[nodiscard]] Process
    start_process(const Command& command, const std::string& entry, Arguments&&... arguments) {
    return passing::start_program(command, entry, typeid(void(PassedAs<Arguments>...)),
                                  passing::packed(std::forward<Arguments>(arguments)...));
}

}  // namespace green::ipc

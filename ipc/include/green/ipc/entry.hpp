#pragma once
// Functions that a child process can be started at by name: the child is this program, run anew, or
// another one that has such an entry.
//
//     void render(green::ipc::Reader<Job> jobs, int width);
//     const green::ipc::Entry render_entry{"render", render};
//
//     int main(int argc, char** argv) {
//         if (const auto code = green::ipc::run_entry(argc, argv)) return *code;
//         auto child = green::ipc::start_process(render_entry, std::move(jobs), 640);
//
// An entry is a static object. A function that has captured something cannot be one: what it has
// captured is not there in a program that has just begun.

#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <green/ipc/passing.hpp>

namespace green::ipc {

class AnyEntry {
 public:
    AnyEntry(const AnyEntry&) = delete;
    AnyEntry& operator=(const AnyEntry&) = delete;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// void(Arguments...), of what it takes.
    [[nodiscard]] const std::type_info& arguments() const noexcept { return *arguments_; }
    virtual int run(Unpacker unpacker) const = 0;

    /// Throws UsageError when none has the name, or more than one.
    static const AnyEntry& find(const std::string& name);

 protected:
    AnyEntry(std::string name, const std::type_info& arguments);
    virtual ~AnyEntry();

 private:
    std::string name_;
    const std::type_info* arguments_;
    AnyEntry* next_;
};

template <class Signature>
class Entry;

/// A function that gives an exit code or nothing, and its name. Every argument is Passable.
template <class Result, class... Parameters>
class Entry<Result(Parameters...)> final : public AnyEntry {
    static_assert(std::is_void_v<Result> || std::convertible_to<Result, int>,
                  "an entry returns an exit code or nothing");
    static_assert((Passable<std::decay_t<Parameters>> && ...),
                  "an entry takes what can be passed to another process");

 public:
    using Function = Result (*)(Parameters...);
    Entry(std::string name, Function function)
        : AnyEntry{std::move(name), typeid(void(std::decay_t<Parameters>...))},
          function_{function} {}

    int run(Unpacker unpacker) const override {
        if constexpr (std::is_void_v<Result>) {
            std::apply(function_, unpack(std::move(unpacker)));
            return 0;
        } else {
            return std::apply(function_, unpack(std::move(unpacker)));
        }
    }

 private:
    static std::tuple<std::decay_t<Parameters>...> unpack(Unpacker unpacker) {
        // Braces: from left to right.
        std::tuple<std::decay_t<Parameters>...> arguments{
            Passing<std::decay_t<Parameters>>::unpack(unpacker)...};
        unpacker.check_end();
        return arguments;
    }

    Function function_;
};

template <class Result, class... Parameters>
Entry(const char*, Result (*)(Parameters...)) -> Entry<Result(Parameters...)>;
/// A lambda that captures nothing.
template <class Function>
requires std::is_function_v<std::remove_pointer_t<decltype(+std::declval<Function>())>> Entry(
    const char*, Function)
->Entry<std::remove_pointer_t<decltype(+std::declval<Function>())>>;

/// To be called first in main(): runs the entry that this process was started for by
/// start_process(), and gives the exit code that main() is to return; nothing in a process that was
/// started otherwise. Switches, as far as the entry does. An error that the entry throws is told on
/// stderr and to the parent, and the code is 1; it is 2 when the entry could not be called.
[[nodiscard]] std::optional<int> run_entry(int argc, char** argv);

}  // namespace green::ipc

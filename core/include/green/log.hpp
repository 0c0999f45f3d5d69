#pragma once
// One line per event, for people and programs alike:
//
//     log::info("worker.ready", {{"pool", "web"}, {"pid", 12}});
//     2026-11-20T09:14:22.113Z info worker.ready pool=web pid=12
//
// Never waits and never switches: what cannot be written now stays in memory and is written when
// there is room; what does not fit there is counted, and the count is logged. Lines may come from
// any thread. Whatever a value holds, no control character of it reaches the terminal.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include <green/deadline.hpp>

namespace green::log {

enum class Level : std::uint8_t { debug, info, warning, error, off };
enum class Format : std::uint8_t { logfmt, json };

/// A value of a field. Borrows texts until the call returns.
class Value {
    template <std::integral T>
    using Wide = std::conditional_t<
        std::same_as<T, bool>, bool,
        std::conditional_t<std::unsigned_integral<T>, std::uint64_t, std::int64_t>>;

 public:
    template <class T>
    requires std::convertible_to<const T&, std::string_view> Value(const T& text)
    noexcept  // NOLINT(google-explicit-constructor): written inside braces
        : value_{std::string_view(text)} {}
    Value(std::floating_point auto number) noexcept  // NOLINT(google-explicit-constructor)
        : value_{static_cast<double>(number)} {}
    template <std::integral T>
    Value(T number) noexcept  // NOLINT(google-explicit-constructor)
        : value_{static_cast<Wide<T>>(number)} {}

    using Kinds = std::variant<std::string_view, bool, double, std::int64_t, std::uint64_t>;
    [[nodiscard]] const Kinds& kinds() const noexcept { return value_; }

 private:
    Kinds value_;
};

struct Field {
    std::string_view key;
    Value value;
};
using Fields = std::span<const Field>;

/// Logs one event. `event` is a constant word or two with dots; what varies is for the fields.
void write(Level level, std::string_view event, Fields fields) noexcept;

inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) noexcept {
    write(Level::debug, event, {fields.begin(), fields.size()});
}
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) noexcept {
    write(Level::info, event, {fields.begin(), fields.size()});
}
inline void warning(std::string_view event, std::initializer_list<Field> fields = {}) noexcept {
    write(Level::warning, event, {fields.begin(), fields.size()});
}
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) noexcept {
    write(Level::error, event, {fields.begin(), fields.size()});
}

/// Lines below the level are not made. Default: info.
void set_level(Level level) noexcept;
[[nodiscard]] Level level() noexcept;
void set_format(Format format) noexcept;
/// Fields that come first in every line from now on: who is speaking.
void set_fields(std::initializer_list<Field> fields);

/// Where lines go from now on; 2 when nothing is said. Lends us the descriptor: we write to a
/// duplicate of it, without changing its flags. What waits for the old one is written to the new.
/// In a forked child that does not keep it, or for which its number was closed, they go to 2.
void set_descriptor(int fd) noexcept;
/// Bytes of lines that may wait. Default: 1 MiB.
void set_capacity(std::size_t bytes) noexcept;

/// Writes what waits, blocking the thread while there is no room. For the end of a program, where
/// it happens by itself with a limit of one second.
/// Returns false once `deadline` has passed.
bool flush(Deadline deadline) noexcept;

/// Writes a text to descriptor 2 at once, past everything else, with nothing but write(2): for
/// signal handlers and for dying. Control characters become '?', a newline is added.
void write_raw(std::string_view text) noexcept;

struct Figures {
    std::size_t waiting = 0;    // bytes
    std::uint64_t dropped = 0;  // lines, since the start
};
[[nodiscard]] Figures figures() noexcept;

}  // namespace green::log

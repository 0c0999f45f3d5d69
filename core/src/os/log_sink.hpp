#pragma once
// A descriptor that lines are written to without ever waiting for it, although the open file
// behind it is shared with other processes: its O_NONBLOCK is not ours to set.

#include <cstddef>
#include <string_view>

#include <green/sys.hpp>

namespace green::log::detail {

class Sink {
 public:
    Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;
    ~Sink() { close(); }

    /// Begins to write to what `fd` is open for, by a number of its own.
    void open(int fd) noexcept;
    /// Its descriptor was closed by others; the number may be somebody else's by now.
    void lose() noexcept {
        owned_ = false;
        close();
    }
    [[nodiscard]] bool is_open() const noexcept { return manner_ != Manner::closed; }
    [[nodiscard]] int number() const noexcept { return number_; }

    /// Writes a beginning of the text: of what another process writes too, whole lines as long as
    /// they are not longer than PIPE_BUF. An outcome that would block says: not now.
    sys::Outcome write(std::string_view text) noexcept;

 private:
    enum class Manner {
        closed,
        plain,        // a file: writing does not wait for anybody
        nonblocking,  // a pipe or a terminal, opened once more for us alone
        socket,       // has a flag for the single call
        careful,      // could not be opened once more: asked each time whether it would wait
    };

    void close() noexcept;
    [[nodiscard]] sys::Outcome write_pipe(std::string_view piece) const noexcept;

    Manner manner_ = Manner::closed;
    int number_ = -1;
    bool owned_ = false;
};

/// In a forked child, with the lock of the log held: what waits is the parent's to write.
void forget_parents_lines() noexcept;
/// In a forked child that is about to close all that it was not given: the number that was lent to
/// the log may be another file's by now, which the child was given for something else.
void check_parents_target() noexcept;
/// In a forked child that has closed all that it was not given: the log opens its descriptor anew,
/// or standard error, when it was not given that.
void forget_parents_sink() noexcept;

}  // namespace green::log::detail

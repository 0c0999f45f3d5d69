// Where a stream may be cut, so that a new writer or a new reader starts where a message starts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config_schema.hpp"

namespace greensup {

/// What travels: the three framings of the configuration, and the frames of hub workers.
enum class Cut { bytes, lines, capnp, frames };
Cut cut_of(const PipeConfig& pipe);
/// Why what lies in a pipe could not go on its way if its configuration changed so: it would be cut
/// at other places, or each reader has a copy and one would do, or the other way round. Nothing if
/// it could.
std::optional<KeyChange> obstacle(const PipeConfig& before, const PipeConfig& after);

/// The first message in a text that starts where one starts.
struct FirstMessage {
    enum class Is {
        part,     // its length is not known yet
        known,    // it has `size` bytes; they need not be there yet
        nonsense  // no message starts like this
    };
    Is is = Is::part;
    std::uint64_t size = 0;
};
FirstMessage first_message(Cut cut, std::string_view text);

/// The end of the last message that ends within the first `limit` bytes of the text.
std::size_t last_end(Cut cut, std::string_view text, std::size_t limit);
/// The end of the first message that ends at `from` or behind it; text.size() if none does.
std::size_t next_end(Cut cut, std::string_view text, std::size_t from);

/// Takes what one writer writes and gives whole messages. Those that it cannot pass on it counts.
class FrameCutter {
 public:
    /// `largest`: of one message, in bytes.
    FrameCutter(Cut cut, std::size_t largest) noexcept : cut_{cut}, largest_{largest} {}

    /// Appends to `into` what has become whole.
    void take(std::string_view bytes, std::string& into);
    /// The writer is gone. Without the end of a line, what he wrote last is a line if he left in
    /// peace, and the torn part of one otherwise; of other messages a part is a part.
    void finish(bool in_peace, std::string& into);

    /// He wrote what cannot be: nobody knows where his next message starts.
    [[nodiscard]] bool is_broken() const noexcept { return is_broken_; }
    /// What he said that he sends, as the frame that says it; empty if he has not.
    [[nodiscard]] const std::string& hello() const noexcept { return hello_; }
    /// Bytes of a message of which the rest is still to come.
    [[nodiscard]] std::size_t held() const noexcept { return part_.size(); }
    [[nodiscard]] std::uint64_t torn() const noexcept { return torn_; }
    /// Messages that were too large, or had descriptors, which a pipe between pools cannot carry.
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
    bool skip(std::string_view& bytes);
    /// Moves messages from the beginning of `part_` to `into`. Returns how far it came.
    std::size_t move_whole(std::string& into);

    Cut cut_;
    std::size_t largest_;
    std::string part_;
    std::uint64_t to_skip_ = 0;  // bytes of a message that was refused
    bool skips_line_ = false;    // up to its end, wherever that is
    bool is_broken_ = false;
    std::string hello_;
    std::uint64_t torn_ = 0;
    std::uint64_t refused_ = 0;
};

}  // namespace greensup

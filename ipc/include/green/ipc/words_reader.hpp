#pragma once
// Reads a Cap'n Proto message where its words lie.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include <capnp/message.h>
#include <capnp/serialize.h>

namespace green::ipc {

/// How far a reader may follow pointers in its whole life, in which one may look at the same field
/// again and again: never less than Cap'n Proto's own 64 MiB, which are walked in milliseconds.
[[nodiscard]] inline capnp::ReaderOptions reader_limits(std::size_t message_words) noexcept {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = std::max<std::uint64_t>(8 << 20, 4 * message_words);
    options.nestingLimit = 64;
    return options;
}

/// As capnp::FlatArrayMessageReader, but quicker with a message of one segment, as most are.
/// Borrows the words. Throws kj::Exception.
class WordsReader final : public capnp::MessageReader {
 public:
    explicit WordsReader(std::span<const capnp::word> words)
        : MessageReader{reader_limits(words.size())} {
        // The segment table: how many there are behind the first one, and how long that is.
        std::uint32_t table[2] = {1, 0};
        if (!words.empty()) std::memcpy(table, words.data(), sizeof table);
        if (table[0] == 0 && table[1] < words.size()) [[likely]] {
            only_ = kj::arrayPtr(words.data() + 1, table[1]);
        } else {
            several_.emplace(kj::arrayPtr(words.data(), words.size()), getOptions());
        }
    }
    kj::ArrayPtr<const capnp::word> getSegment(capnp::uint number) override {
        if (several_) [[unlikely]]
            return several_->getSegment(number);
        return number == 0 ? only_ : nullptr;
    }

 private:
    kj::ArrayPtr<const capnp::word> only_;
    std::optional<capnp::FlatArrayMessageReader> several_;
};

}  // namespace green::ipc

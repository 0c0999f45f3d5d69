#pragma once
// Payloads too large for a ring: files in memory that both ends keep mapped and use again and
// again. A file that is made, mapped and given back for each payload costs ten times as much as
// what is written to it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <capnp/common.h>
#include <kj/array.h>

#include <green/detail/counted.hpp>
#include <green/detail/home.hpp>
#include <green/fd.hpp>

#include "frames/payload_owner.hpp"
#include "shm/word.hpp"

namespace green::ipc {

/// Is told when a payload has gone that it was lent.
class Borrower {
 public:
    virtual void file_came_free() noexcept = 0;

 protected:
    ~Borrower() = default;
};

/// One of them, as one of both ends has it mapped. A word in it says who has it: the writer takes
/// it, and gives it back when nothing is sent; else the reader does, when the payload goes.
class LentFile : public green::detail::Counted, private PayloadOwner<LentFile> {
 public:
    /// All of its memory is there when this returns. In use. Throws std::system_error.
    [[nodiscard]] static green::detail::CountedPtr<LentFile> create(std::size_t bytes);
    /// What the other end made, of at most so many bytes. Borrows the descriptor: see own(). Throws
    /// std::system_error, and ProtocolError when its maker could still cut it off under our feet.
    [[nodiscard]] static green::detail::CountedPtr<LentFile> adopt(const Fd& fd, std::size_t most);
    ~LentFile() override;
    void own(Fd fd) noexcept { fd_ = std::move(fd); }

    [[nodiscard]] std::byte* memory() const noexcept { return base_ + header_bytes; }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_ - header_bytes; }
    [[nodiscard]] Fd& fd() noexcept { return fd_; }

    enum State : std::uint64_t {
        free = 0,
        sent = 1,  // or being written
        read = 2,  // the reader has taken it
    };
    [[nodiscard]] std::uint64_t state() const noexcept { return header().state.load(); }
    void take() noexcept { header().state.poke(sent); }
    void give_back() noexcept { header().state.store(free); }
    /// Its first bytes, in whole words, until the array goes, with which it is given back.
    /// The borrower stays until it is told; it is the same one each time.
    [[nodiscard]] kj::Array<capnp::word> lend(std::size_t bytes, Borrower& to) noexcept;

 private:
    friend PayloadOwner<LentFile>;
    static constexpr std::size_t header_bytes = 4096;
    struct Header {
        std::uint64_t magic;
        shm::Word state;
    };

    LentFile(int fd, std::size_t bytes);
    [[nodiscard]] Header& header() const noexcept { return *reinterpret_cast<Header*>(base_); }
    void payload_gone(void* first, std::size_t bytes) const noexcept;

    Fd fd_;
    std::size_t bytes_;
    std::byte* base_;
    Borrower* borrower_ = nullptr;
    green::detail::Home home_;
};

/// Those that one end has made, each in a place, by whose number the other end knows it.
class Depot {
 public:
    static constexpr std::size_t places = 4;
    static constexpr std::size_t largest = std::size_t{8} << 20;  // bytes that are kept for later

    /// One for so many bytes, in use from now on; nothing when it would be too large to be kept, or
    /// when all are in use and one of them is still on its way: that is worth waiting for. Of those
    /// that the reader has taken and keeps, another one takes the place. Throws std::system_error.
    [[nodiscard]] std::optional<std::uint8_t> take(std::size_t bytes);
    /// A number that is another one when one of them has changed hands.
    [[nodiscard]] std::uint64_t states() const noexcept;
    [[nodiscard]] LentFile& at(std::uint8_t place) noexcept { return *places_[place].file; }
    /// The other end has not got it yet.
    [[nodiscard]] bool is_new(std::uint8_t place) const noexcept { return !places_[place].sent; }
    void note_sent(std::uint8_t place) noexcept;
    void clear() noexcept { places_ = {}; }

 private:
    struct Place {
        green::detail::CountedPtr<LentFile> file;
        bool sent = false;
    };
    std::array<Place, places> places_;
    std::size_t last_replaced_ = 0;
};

}  // namespace green::ipc

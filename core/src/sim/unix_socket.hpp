#pragma once
// Unix stream sockets of a simulation: what is written is there at once, and so is its end.

#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "sim/bytes.hpp"
#include "sim/socket.hpp"

namespace green::sim {

class UnixSocket final : public Socket {
 public:
    explicit UnixSocket(Kernel& kernel) noexcept : Socket{kernel, AF_UNIX} {}
    [[nodiscard]] static std::pair<std::shared_ptr<UnixSocket>, std::shared_ptr<UnixSocket>> pair(
        Kernel& kernel);

    sys::Outcome bind(const Endpoint& at) override;
    sys::Outcome listen(int backlog) override;
    Accepted accept() override;
    sys::Outcome connect(const Endpoint& to) override;
    sys::Outcome shutdown(int how) override;
    sys::Outcome receive(std::span<const iovec> into, bool peek) override;
    sys::Outcome send(std::span<const iovec> from) override;
    [[nodiscard]] Endpoint local() const override;
    [[nodiscard]] std::optional<Endpoint> peer() const override;
    [[nodiscard]] std::uint32_t events() override;
    void closed() override;
    [[nodiscard]] bool listens() const noexcept override { return backlog_.has_value(); }

 private:
    int take_error() override { return std::exchange(error_, 0); }
    /// What one write put there at a time: its memory is free again when all of it was read.
    struct Piece {
        std::size_t size;
        std::size_t left;
    };
    [[nodiscard]] bool writable() const noexcept;
    void add(std::string_view bytes);
    void join(UnixSocket& other);
    void shut(bool reading, bool writing);
    /// Takes bytes off the inbox; true when memory is free again, of which the writer is told.
    bool drop(std::size_t count);

    std::optional<Endpoint> name_;
    bool holds_ = false;  // name_, among the names
    std::optional<std::size_t> backlog_;
    std::deque<std::shared_ptr<UnixSocket>> waiting_;  // servers' ends, to be accepted

    // Connected:
    bool connected_ = false;
    UnixSocket* peer_ = nullptr;  // none: gone
    std::optional<Endpoint> peer_name_;
    ByteQueue inbox_;
    std::deque<Piece> pieces_;  // of it
    std::size_t held_ = 0;      // bytes of all pieces, as long as they are not read to their end
    std::size_t capacity_ = 0;  // how much of the peer's memory what is sent may hold
    bool read_shut_ = false;
    bool write_shut_ = false;
    int error_ = 0;
};

/// What open(2) with O_PATH gives of a socket's file: good for fstat() only.
class SocketFile final : public File {
 public:
    using File::File;
    sys::Outcome read(std::span<const iovec>) override { return failed(EBADF); }
    sys::Outcome write(std::span<const iovec>) override { return failed(EBADF); }
    [[nodiscard]] std::uint32_t events() override;
    [[nodiscard]] mode_t type() const noexcept override { return S_IFSOCK; }
};

}  // namespace green::sim

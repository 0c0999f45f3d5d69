#pragma once
// One TCP connection of a simulation: two ends and what is on the way between them.
//
//  T1  What an end sends arrives in order, each packet at a time of its own. Without a delay it
//      arrives within the call, as on a loopback interface.
//  T2  An end accepts as many bytes as its buffer has room for. Room comes back when the peer has
//      read them and the news of it has arrived.
//  T3  recv() returns less than was asked for only if nothing is left, which callers may rely on.
//      There is no urgent data, at which it would stop.
//  T4  An end that is closed while bytes for it are unread, or that gets some afterwards, answers
//      with a reset. A reset takes nothing from those bytes that have arrived, and all from the
//      others.
//  T5  The descriptor of an end may be closed before what it sent has arrived; the connection lives
//      until then.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <green/deadline.hpp>
#include <green/endpoint.hpp>

#include "sim/bytes.hpp"
#include "sim/file.hpp"
#include "sim/sharing.hpp"

namespace green::sim {

class TcpSocket;

class TcpConnection final : public std::enable_shared_from_this<TcpConnection> {
 public:
    enum Side : std::size_t { client, server };

    TcpConnection(Kernel& kernel, const Endpoint& from, const Endpoint& to);
    TcpConnection(const TcpConnection&) = delete;
    TcpConnection& operator=(const TcpConnection&) = delete;
    ~TcpConnection() { leave_backlog(); }

    /// Begins the handshake; `socket` is told when it is over.
    void open(TcpSocket& socket);
    /// The server's end belongs to this socket from now on.
    void accepted(File& socket) noexcept { ends_[server].socket = &socket; }

    sys::Outcome send(Side side, std::span<const iovec> from);
    sys::Outcome receive(Side side, std::span<const iovec> into, bool peek);
    [[nodiscard]] std::uint32_t events(Side side);
    sys::Outcome shutdown(Side side, int how);
    /// Its socket is gone. A hard close breaks the connection.
    void close(Side side, bool hard);
    [[nodiscard]] int take_error(Side side) noexcept;

    [[nodiscard]] bool opening(Side side) const noexcept {
        return ends_[side].phase == Phase::opening;
    }
    [[nodiscard]] bool dead(Side side) const noexcept { return ends_[side].phase == Phase::dead; }
    [[nodiscard]] const Endpoint& address(Side side) const noexcept { return addresses_[side]; }
    /// It has the address of its end although no socket does that was bound or has connected.
    [[nodiscard]] bool keeps_address(Side side) const noexcept {
        const End& end = ends_[side];
        return end.phase == Phase::open && (side == server || end.socket == nullptr);
    }
    [[nodiscard]] Sharing sharing(Side side) const noexcept { return ends_[side].sharing; }

    // For the network.
    /// The address is that of one of the ends, or of the listener.
    [[nodiscard]] bool concerned(const Endpoint& where) const;
    /// Whether what is sent waits.
    void hold(bool held);
    /// Both ends are broken at once.
    void tear();

 private:
    enum class Kind : std::uint8_t { syn, syn_ack, ack, bytes, room, fin, fin_ack, reset };
    struct Packet {
        Kind kind;
        std::string bytes{};
        std::size_t count = 0;  // of bytes that were read
        TimePoint due{};
    };
    enum class Phase : std::uint8_t { opening, open, dead };
    struct End {
        Phase phase = Phase::opening;
        File* socket = nullptr;  // none: not accepted yet, or closed
        bool closed = false;
        bool sent_fin = false;
        bool fin_acked = false;
        bool got_fin = false;
        bool ended_first = false;  // or at the same time
        bool read_shut = false;
        bool wants_room = false;  // found its buffer full: tell it when there is room
        int error = 0;
        Sharing sharing;
        ByteQueue inbox;
        std::size_t capacity = 0;
        std::size_t room = 0;  // of `capacity`
        std::deque<Packet> flying;
        TimePoint last_due{};
        bool awaits_answer = false;  // for what is held; it gives up after a while
    };

    [[nodiscard]] static Side other(Side side) noexcept { return side == client ? server : client; }
    void tell(End& end) {
        if (end.socket != nullptr) end.socket->changed();
    }
    [[nodiscard]] static bool writable(const End& end) noexcept {
        return end.room * 3 >= end.capacity;  // the kernel's rule: a third
    }

    void transmit(Side from, Packet packet);
    void schedule(Side from, TimePoint when);
    void deliver_due(Side from);
    void arrive(Side at, Packet& packet);
    void syn_arrived();
    void ack_arrived();
    void bytes_arrived(Side at, std::string_view bytes);
    void reset_arrived(Side at);
    /// Both have said that they send no more, and know it of each other.
    void end_if_finished(Side side);
    /// Nothing can come of the server's end any more, if it is not open yet: its listener has the
    /// place for another one.
    void leave_backlog() noexcept;
    /// The end is no more; the peer learns nothing.
    void die(Side side, int error);
    void ask_again(int times);
    void await_answer(Side side);

    Kernel& kernel_;
    Endpoint addresses_[2];
    End ends_[2];
    std::weak_ptr<TcpSocket> listener_;  // while it is not accepted
    Endpoint listening_at_;
    bool held_ = false;
    std::uint64_t holds_ = 0;  // counts the changes of held_
};

}  // namespace green::sim

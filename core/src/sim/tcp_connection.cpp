#include "sim/tcp_connection.hpp"

#include <algorithm>
#include <chrono>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include "sim/kernel.hpp"
#include "sim/tcp_socket.hpp"

namespace green::sim {
namespace {

using namespace std::chrono_literals;

// Linux sends a SYN seven times, a second apart and then twice as long each time, and gives up as
// long after the last one; anything else it repeats for about this long (tcp(7)).
constexpr int most_syns = 7;
constexpr Duration give_up_after = 924s;

}  // namespace

TcpConnection::TcpConnection(Kernel& kernel, const Endpoint& from, const Endpoint& to)
    : kernel_{kernel}, addresses_{from, to}, listening_at_{to} {
    for (End& end : ends_) end.room = end.capacity = kernel.buffer_size();
}

// --- what the sockets ask ---

void TcpConnection::open(TcpSocket& socket) {
    ends_[client].socket = &socket;
    ends_[client].sharing = socket.sharing();
    held_ = kernel_.tcp().is_cut(*this);
    transmit(client, {Kind::syn});
    ask_again(1);
}

void TcpConnection::ask_again(int times) {
    kernel_.at(kernel_.now() + Duration{1s} * (1 << (times - 1)), [weak = weak_from_this(), times] {
        const auto self = weak.lock();
        if (self == nullptr || !self->opening(client)) return;
        if (times == most_syns) {
            self->die(client, ETIMEDOUT);
            self->tell(self->ends_[client]);
            return;
        }
        if (self->ends_[client].flying.empty()) self->transmit(client, {Kind::syn});
        self->ask_again(times + 1);
    });
}

sys::Outcome TcpConnection::send(Side side, std::span<const iovec> from) {
    End& end = ends_[side];
    if (end.phase == Phase::opening) return failed(EAGAIN);
    if (end.error != 0) return failed(std::exchange(end.error, 0));
    if (end.sent_fin || end.phase == Phase::dead) return failed(EPIPE);
    const std::size_t size = total_size(from);
    if (size == 0) return done();
    if (end.room == 0 || kernel_.stumbles()) {
        end.wants_room = true;
        if (end.room > 0) tell(end);
        return failed(EAGAIN);
    }
    const std::size_t possible = std::min(size, end.room);
    const std::size_t moved = kernel_.moved(possible);
    if (moved < size) end.wants_room = true;
    if (moved < possible) tell(end);
    end.room -= moved;
    std::string bytes = gathered(from, moved);
    while (!bytes.empty()) {
        const std::size_t piece = kernel_.moved(bytes.size());
        transmit(side, {Kind::bytes, bytes.substr(0, piece)});
        bytes.erase(0, piece);
    }
    return done(moved);
}

sys::Outcome TcpConnection::receive(Side side, std::span<const iovec> into, bool peek) {
    End& end = ends_[side];
    if (!end.inbox.empty()) {
        if (kernel_.stumbles()) {
            tell(end);
            return failed(EAGAIN);
        }
        const std::size_t got = end.inbox.peek(into, end.inbox.size());
        if (!peek && got > 0) {
            end.inbox.drop(got);
            if (end.phase == Phase::open) transmit(side, {Kind::room, {}, got});
        }
        return done(got);
    }
    if (end.got_fin) return done();
    if (end.error != 0) return failed(std::exchange(end.error, 0));
    if (end.phase == Phase::dead || end.read_shut) return done();
    return failed(EAGAIN);
}

std::uint32_t TcpConnection::events(Side side) {
    End& end = ends_[side];
    if (end.phase == Phase::opening) return 0;
    const bool dead = end.phase == Phase::dead;
    const bool no_more_reads = dead || end.got_fin || end.read_shut;
    const bool no_more_writes = dead || end.sent_fin;
    std::uint32_t events = 0;
    if (no_more_reads) events |= POLLIN | POLLRDHUP;
    if (no_more_reads && no_more_writes) events |= POLLHUP;
    if (!end.inbox.empty()) events |= POLLIN;
    if (end.error != 0) events |= POLLERR;
    if (no_more_writes || writable(end)) {
        events |= POLLOUT;
    } else {
        end.wants_room = true;
    }
    return events;
}

sys::Outcome TcpConnection::shutdown(Side side, int how) {
    End& end = ends_[side];
    tell(end);  // in any case, as the kernel does
    if (end.phase != Phase::open) return failed(ENOTCONN);
    if (how != SHUT_WR) end.read_shut = true;
    if (how != SHUT_RD && !std::exchange(end.sent_fin, true)) transmit(side, {Kind::fin});
    return done();
}

void TcpConnection::close(Side side, bool hard) {
    End& end = ends_[side];
    end.socket = nullptr;
    end.closed = true;
    if (end.phase != Phase::open) {
        end.phase = Phase::dead;  // an answer to the SYN will be answered with a reset
        return;
    }
    if (hard || !end.inbox.empty()) {
        // What is on the way may be overtaken by the end.
        const std::size_t kept = end.flying.empty() ? 0 : kernel_.moved(end.flying.size());
        end.flying.erase(end.flying.begin() + static_cast<std::ptrdiff_t>(kept), end.flying.end());
        end.phase = Phase::dead;
        transmit(side, {Kind::reset});
    } else if (!std::exchange(end.sent_fin, true)) {
        transmit(side, {Kind::fin});
    }
}

int TcpConnection::take_error(Side side) noexcept { return std::exchange(ends_[side].error, 0); }

// --- the way between them ---

void TcpConnection::transmit(Side from, Packet packet) {
    End& end = ends_[from];
    const TimePoint now = kernel_.now();
    packet.due = std::max(end.last_due, now + kernel_.tcp().delay(*this));
    end.last_due = packet.due;
    if (end.flying.empty() && !held_ && packet.due <= now) {
        arrive(other(from), packet);
        return;
    }
    const TimePoint due = packet.due;
    end.flying.push_back(std::move(packet));
    if (held_) {
        await_answer(from);
    } else {
        schedule(from, due);
    }
}

void TcpConnection::schedule(Side from, TimePoint when) {
    kernel_.at(when, [self = shared_from_this(), from] { self->deliver_due(from); });
}

void TcpConnection::deliver_due(Side from) {
    std::deque<Packet>& flying = ends_[from].flying;
    while (!held_ && !flying.empty() && flying.front().due <= kernel_.now()) {
        Packet packet = std::move(flying.front());
        flying.pop_front();
        arrive(other(from), packet);
    }
}

void TcpConnection::hold(bool held) {
    if (std::exchange(held_, held) == held) return;
    ++holds_;
    for (const Side side : {client, server}) {
        End& end = ends_[side];
        end.awaits_answer = false;
        end.last_due = {};
        for (Packet& packet : end.flying) {
            packet.due = end.last_due =
                std::max(end.last_due, kernel_.now() + kernel_.tcp().delay(*this));
            if (!held) schedule(side, packet.due);
        }
        if (held) await_answer(side);
    }
}

void TcpConnection::await_answer(Side side) {
    End& end = ends_[side];
    const bool needs = std::any_of(end.flying.begin(), end.flying.end(), [](const Packet& packet) {
        return packet.kind == Kind::bytes || packet.kind == Kind::fin;
    });
    if (!needs || end.phase != Phase::open || std::exchange(end.awaits_answer, true)) return;
    kernel_.at(kernel_.now() + give_up_after, [weak = weak_from_this(), side, holds = holds_] {
        const auto self = weak.lock();
        if (self == nullptr || self->holds_ != holds || self->dead(side)) return;
        self->die(side, ETIMEDOUT);
        self->tell(self->ends_[side]);
    });
}

// --- what arrives ---

void TcpConnection::arrive(Side at, Packet& packet) {
    End& end = ends_[at];
    switch (packet.kind) {
        case Kind::syn:
            syn_arrived();
            break;
        case Kind::syn_ack:
            if (end.phase == Phase::dead) {
                transmit(client, {Kind::reset});
            } else if (end.phase == Phase::opening) {
                end.phase = Phase::open;
                tell(end);
                transmit(client, {Kind::ack});
            }
            break;
        case Kind::ack:
            ack_arrived();
            break;
        case Kind::bytes:
            bytes_arrived(at, packet.bytes);
            break;
        case Kind::room:
            end.room += packet.count;
            if (end.wants_room && writable(end)) {
                end.wants_room = false;
                tell(end);
            }
            break;
        case Kind::fin:
            if (end.phase == Phase::dead) {
                transmit(at, {Kind::reset});
            } else {
                end.got_fin = true;
                end.ended_first = end.sent_fin;
                end_if_finished(at);
                tell(end);
                transmit(at, {Kind::fin_ack});
            }
            break;
        case Kind::fin_ack:
            end.fin_acked = true;
            end_if_finished(at);
            tell(end);
            break;
        case Kind::reset:
            reset_arrived(at);
            break;
    }
}

void TcpConnection::syn_arrived() {
    if (listener_.lock() != nullptr || ends_[server].phase != Phase::opening) return;
    const std::shared_ptr<TcpSocket> listener = kernel_.tcp().listener_at(addresses_[server]);
    if (listener == nullptr) {
        transmit(server, {Kind::reset});
        return;
    }
    if (!listener->expect()) return;  // dropped: the client asks again
    listener_ = listener;
    listening_at_ = listener->local();
    transmit(server, {Kind::syn_ack});
}

void TcpConnection::ack_arrived() {
    End& end = ends_[server];
    if (end.phase != Phase::opening) return;
    const std::shared_ptr<TcpSocket> listener = listener_.lock();
    if (listener == nullptr || !listener->listens()) {
        leave_backlog();
        transmit(server, {Kind::reset});
        return;
    }
    end.phase = Phase::open;
    end.sharing = listener->sharing();
    listener->arrived(shared_from_this());
}

void TcpConnection::bytes_arrived(Side at, std::string_view bytes) {
    End& end = ends_[at];
    const bool unwanted = end.closed || (end.sent_fin && end.read_shut);
    if (end.phase == Phase::open && !unwanted) {
        end.inbox.append(bytes);
        tell(end);
        return;
    }
    if (end.phase == Phase::open) {
        end.phase = Phase::dead;  // what it sent before goes on
        end.error = ECONNRESET;
        tell(end);
    }
    transmit(at, {Kind::reset});
}

void TcpConnection::reset_arrived(Side at) {
    End& end = ends_[at];
    if (end.phase == Phase::dead) return;
    const bool opening = end.phase == Phase::opening;
    leave_backlog();
    const bool after_its_end = end.got_fin && !end.sent_fin;
    die(at, opening ? ECONNREFUSED : after_its_end ? EPIPE : ECONNRESET);
    tell(end);
}

void TcpConnection::end_if_finished(Side side) {
    End& end = ends_[side];
    if (end.phase != Phase::open || !end.got_fin || !end.fin_acked) return;
    end.phase = Phase::dead;
    if (end.ended_first) kernel_.tcp().linger(addresses_[side], end.sharing);
}

void TcpConnection::leave_backlog() noexcept {
    if (!opening(server)) return;
    ends_[server].phase = Phase::dead;
    if (const auto listener = listener_.lock()) listener->unexpect();
}

void TcpConnection::die(Side side, int error) {
    End& end = ends_[side];
    end.phase = Phase::dead;
    end.error = error;
    end.flying.clear();
    if (side == client) leave_backlog();  // with the answer that it waited for
}

void TcpConnection::tear() {
    for (const Side side : {client, server}) {
        if (ends_[side].phase == Phase::open) reset_arrived(side);
    }
}

bool TcpConnection::concerned(const Endpoint& where) const {
    const Endpoint plain = as_v4(where);  // as a socket of IPv6 names its end of one of IPv4
    return plain == addresses_[client] || plain == addresses_[server] || where == listening_at_;
}

}  // namespace green::sim

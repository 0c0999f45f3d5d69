#include "loop/level_set.hpp"

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <green/sys.hpp>

namespace green::detail {
namespace {

epoll_event event_for(int fd, std::uint32_t generation, std::uint32_t mask) noexcept {
    epoll_event event{};
    event.events = mask;
    event.data.u64 = static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
    return event;
}

}  // namespace

LevelSet::Item::~Item() {
    if (!is_at_home()) {
        forget();
    } else if (linked()) {
        set->remove(*this);
    }
}

void LevelSet::Item::tell(std::uint32_t events) const {
    const Readiness ready{(events & mask & EPOLLIN) != 0, (events & mask & EPOLLOUT) != 0};
    if (ready.readable || ready.writable) report(ready);
}

void LevelSet::close() noexcept {
    if (epoll_ >= 0) (void)sys::close(std::exchange(epoll_, -1));
}

int LevelSet::descriptor() {
    if (epoll_ < 0) {
        epoll_ = static_cast<int>(sys::must(sys::epoll_create1(), "epoll_create1"));
    }
    return epoll_;
}

std::unique_ptr<Watch> LevelSet::add(int fd, Readiness wanted,
                                     std::function<void(Readiness)> report) {
    const std::uint32_t mask = (wanted.readable ? std::uint32_t{EPOLLIN} : 0) |
                               (wanted.writable ? std::uint32_t{EPOLLOUT} : 0);
    auto item = std::make_unique<Item>();
    item->set = this;
    item->fd = fd;
    item->mask = mask;
    item->report = std::move(report);
    Entry& entry = entries_[fd];
    if (const int error = apply(fd, entry, entry.mask | mask)) {
        if (entry.items.empty()) entries_.erase(fd);
        sys::fail(error, "watching fd " + std::to_string(fd));
    }
    entry.items.push_back(*item);
    return item;
}

// The number may have been closed, and even given out again, since it was registered: the kernel
// forgets a descriptor by itself when nothing refers to the open file any more.
int LevelSet::apply(int fd, Entry& entry, std::uint32_t mask) noexcept {
    if (mask == 0) {
        (void)sys::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
        entry.mask = 0;
        return 0;
    }
    const auto attempt = [&](int operation, std::uint32_t generation) {
        epoll_event event = event_for(fd, generation, mask);
        const int error = sys::epoll_ctl(epoll_, operation, fd, &event).error;
        if (error == 0) {
            entry.mask = mask;
            entry.generation = generation;
        }
        return error;
    };
    int error = ENOENT;
    if (entry.mask != 0) error = attempt(EPOLL_CTL_MOD, entry.generation);
    if (error == ENOENT) error = attempt(EPOLL_CTL_ADD, ++next_generation_);
    if (error == EEXIST) error = attempt(EPOLL_CTL_MOD, next_generation_);
    return error;
}

void LevelSet::remove(Item& item) noexcept {
    item.unlink();
    const auto place = entries_.find(item.fd);
    Entry& entry = place->second;
    std::uint32_t left = 0;
    entry.items.for_each([&left](const Item& other) { left |= other.mask; });
    if (left != entry.mask) (void)apply(item.fd, entry, left);
    if (entry.items.empty()) entries_.erase(place);
}

bool LevelSet::collect() noexcept {
    std::array<epoll_event, 64> batch;
    const sys::Outcome got =
        sys::epoll_wait(epoll_, batch.data(), static_cast<int>(batch.size()), 0);
    bool stale = false;
    for (std::intptr_t i = 0; i < got.value; ++i) {
        const epoll_event& event = batch[static_cast<std::size_t>(i)];
        const auto place = entries_.find(static_cast<int>(event.data.u64 & 0xffff'ffff));
        if (place == entries_.end() ||
            place->second.generation != static_cast<std::uint32_t>(event.data.u64 >> 32)) {
            stale = true;
            continue;
        }
        // The end and the failure of a connection make both a read and a write worth trying.
        const bool broken = (event.events & (EPOLLHUP | EPOLLERR)) != 0;
        const std::uint32_t events = event.events | (broken ? EPOLLIN | EPOLLOUT : 0);
        place->second.items.for_each([events](const Item& item) { item.tell(events); });
    }
    return stale;
}

bool LevelSet::renew() noexcept {
    const sys::Outcome fresh = sys::epoll_create1();
    if (!fresh.ok()) return false;
    for (const auto& [fd, entry] : entries_) {
        epoll_event event = event_for(fd, entry.generation, entry.mask);
        const int error = sys::epoll_ctl(fresh.as_int(), EPOLL_CTL_ADD, fd, &event).error;
        // Any other error: it was closed behind our back, and stays silent.
        if (error == ENOSPC || error == ENOMEM) {
            (void)sys::close(fresh.as_int());
            return false;
        }
    }
    (void)sys::close(std::exchange(epoll_, fresh.as_int()));
    return true;
}

}  // namespace green::detail

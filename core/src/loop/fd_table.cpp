#include "loop/fd_table.hpp"

#include <cerrno>
#include <string>

#include <green/sys.hpp>

#include "sched/hub.hpp"

namespace green::detail {

void FdEntry::lose_waiters() noexcept {
    for (Side& side : sides) {
        if (FdNode* waiter = std::exchange(side.waiter, nullptr)) waiter->lose_source();
    }
}

FdEntry& FdTable::entry(int fd) {
    const auto index = static_cast<std::size_t>(fd);
    if (index / page_size >= pages_.size()) pages_.resize(index / page_size + 1);
    std::unique_ptr<Page>& page = pages_[index / page_size];
    if (!page) page = std::make_unique<Page>();
    return (*page)[index % page_size];
}

FdEntry* FdTable::find(int fd) noexcept {
    const auto index = static_cast<std::size_t>(fd);
    if (index / page_size >= pages_.size() || !pages_[index / page_size]) return nullptr;
    return &(*pages_[index / page_size])[index % page_size];
}

void FdTable::end() noexcept {
    for (const std::unique_ptr<Page>& page : pages_) {
        if (!page) continue;
        for (FdEntry& it : *page) it.lose_waiters();
    }
}

void FdTable::open(int fd) {
    FdEntry& it = entry(fd);
    ++it.generation;
    it.open = true;
    it.watched = it.more_behind = false;
    it.sides[0] = it.sides[1] = {};
}

void FdTable::close(int fd) noexcept {
    FdEntry* const found = find(fd);
    if (found == nullptr || !found->open) return;
    FdEntry& it = *found;
    if (it.watched) reactor_->unwatch(fd);
    it.open = it.watched = false;
    ++it.generation;  // reports that are on their way speak of the past
    it.lose_waiters();
}

void FdTable::watch(int fd, FdEntry& it) {
    if (it.watched) return;
    if (const int error = reactor_->watch(fd, it.generation)) {
        sys::fail(error, "waiting for fd " + std::to_string(fd));
    }
    it.watched = true;
}

void FdTable::on_ready(int fd, std::uint32_t generation, Readiness readiness) noexcept {
    FdEntry* const found = find(fd);
    if (found == nullptr || found->generation != generation) return;
    FdEntry& it = *found;
    it.more_behind |= readiness.hung_up || readiness.urgent;
    const bool ready[] = {readiness.readable, readiness.writable};
    for (std::size_t i = 0; i < 2; ++i) {
        if (!ready[i]) continue;
        it.sides[i].worth_trying = true;
        if (FdNode* waiter = std::exchange(it.sides[i].waiter, nullptr)) waiter->fire();
    }
}

FdNode::FdNode(int fd, Direction direction, Reach reach)
    : WaitNode{reach},
      fd_{fd},
      direction_{direction},
      entry_{&Hub::current().fds().entry(fd)},
      generation_{entry_->generation} {}

bool FdNode::arm() {
    check_open();
    FdEntry::Side& side = entry_->side(direction_);
    if (side.worth_trying) return true;
    check_alone();
    Hub::current().fds().watch(fd_, *entry_);
    side.waiter = this;
    return false;
}

void FdNode::disarm() noexcept {
    FdEntry::Side& side = entry_->side(direction_);
    if (side.waiter == this) side.waiter = nullptr;
}

void FdNode::hold() {
    check_alone();
    entry_->side(direction_).holder = this;
    holds_ = true;
}

void FdNode::check_alone() const {
    const FdEntry::Side& side = entry_->side(direction_);
    if (side.waiter == nullptr && (side.holder == nullptr || side.holder == this)) return;
    throw ConcurrentUse("another greenlet waits for fd " + std::to_string(fd_) + " already");
}

void FdNode::check_open() const {
    if (!entry_->open || entry_->generation != generation_) throw_lost();
}

void FdNode::throw_lost() const {
    sys::fail(EBADF, "fd " + std::to_string(fd_) + " was closed by another greenlet");
}

void FdNode::describe(std::string& into) const {
    into +=
        "fd " + std::to_string(fd_) + (direction_ == Direction::read ? " readable" : " writable");
}

}  // namespace green::detail

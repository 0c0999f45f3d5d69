#include <mutex>

#include <green/detail/local.hpp>

#include "os/process_locks.hpp"
#include "sched/hub.hpp"

namespace green::detail {
namespace {

void leave_local(LocalCell& cell) noexcept {
    const std::lock_guard lock{process_locks.locals};
    cell.unlink();
}

}  // namespace

LocalCell* LocalKey::find() const noexcept {
    Hub* hub = Hub::current_or_null();
    if (hub == nullptr) return nullptr;
    LocalCell* cell = hub->running().locals;
    while (cell != nullptr && cell->key_ != id_) cell = cell->older_;
    return cell;
}

LocalCell& LocalKey::keep(std::unique_ptr<LocalCell> made) {
    Task& task = current_task();
    LocalCell& cell = *made.release();
    cell.key_ = id_;
    cell.task_ = &task;
    cell.older_ = std::exchange(task.locals, &cell);
    const std::lock_guard lock{process_locks.locals};
    cells_.push_back(cell);
    return cell;
}

void LocalKey::take_from_task(LocalCell& cell) noexcept {
    LocalCell** place = &cell.task_->locals;
    while (*place != &cell) place = &(*place)->older_;
    *place = cell.older_;
}

void LocalKey::drop() noexcept {
    LocalCell* cell = find();
    if (cell == nullptr) return;
    leave_local(*cell);
    take_from_task(*cell);
    delete cell;
}

LocalKey::~LocalKey() {
    IntrusiveList<LocalCell> ours;
    {
        const std::lock_guard lock{process_locks.locals};
        while (!cells_.empty()) {
            LocalCell& cell = cells_.front();
            cell.unlink();
            if (cell.task_->hub_is_here()) ours.push_back(cell);
        }
    }
    // A destructor that waits may let other greenlets end, whose values leave the list by
    // themselves.
    while (!ours.empty()) {
        LocalCell& cell = ours.front();
        leave_local(cell);
        take_from_task(cell);
        delete &cell;
    }
}

void free_values(Task& task) noexcept {
    while (LocalCell* cell = task.locals) {
        task.locals = cell->older_;
        leave_local(*cell);
        delete cell;
    }
}

}  // namespace green::detail

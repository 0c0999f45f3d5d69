// The context that greenlets inherit.

#include <algorithm>
#include <memory>

#include <green/context.hpp>

#include "sched/hub.hpp"

namespace green {
namespace detail {
namespace {

std::unique_ptr<ContextMap> copy_of(const ContextMap* base, std::size_t room) {
    auto map = std::make_unique<ContextMap>();
    if (base != nullptr) {
        map->bindings.reserve(base->bindings.size() + room);
        map->bindings = base->bindings;
        map->deadline = base->deadline;
    }
    return map;
}

}  // namespace

const ContextMap* current_map() noexcept {
    Hub* hub = Hub::current_or_null();
    return hub != nullptr ? hub->running().inherited.get() : nullptr;
}

ContextPtr with_binding(const ContextMap* base, std::uint64_t variable,
                        CountedPtr<const Counted> value) {
    auto map = copy_of(base, 1);
    const auto found =
        std::find_if(map->bindings.begin(), map->bindings.end(),
                     [&](const ContextMap::Binding& b) { return b.variable == variable; });
    if (found != map->bindings.end()) {
        found->value = std::move(value);
    } else {
        map->bindings.push_back({variable, std::move(value)});
    }
    return ContextPtr{map.release()};
}

ContextPtr with_deadline(const ContextMap* base, Deadline deadline) {
    auto map = copy_of(base, 0);
    map->deadline = deadline;
    return ContextPtr{map.release()};
}

void Hub::run_in_context(void* its) {
    auto& task = *static_cast<Task*>(its);
    if (task.inherited->deadline.is_never()) {
        task.run();
        return;
    }
    const TimeoutScope inherited{task.inherited->deadline};
    task.run();
}

}  // namespace detail

Context Context::current() noexcept {
    const detail::ContextMap* map = detail::current_map();
    if (map != nullptr) map->retain();
    return Context{detail::ContextPtr{map}};
}

Context Context::with_deadline(Deadline earliest) const {
    if (earliest >= deadline()) return *this;
    return Context{detail::with_deadline(map_.get(), earliest)};
}

Context Context::without_deadline() const {
    if (deadline().is_never()) return *this;
    return Context{detail::with_deadline(map_.get(), Deadline::never())};
}

Context::Scope::Scope(Context context) : task_{&detail::current_task()} {
    const Deadline own = task_->inherited ? task_->inherited->deadline : Deadline::never();
    if (context.deadline() < own) limit_.emplace(context.deadline());
    outer_ = std::exchange(task_->inherited, std::move(context.map_));
}

Context::Scope::~Scope() { task_->inherited = std::move(outer_); }

}  // namespace green

#include <green/detail/owner.hpp>

#include "sched/hub.hpp"

namespace green::detail {

bool Owner::is_current() const {
    const Task& me = current_task();
    return task_ == &me && id_ == me.id && hub_ == me.hub_number;
}

void Owner::become_current() {
    const Task& me = current_task();
    task_ = &me;
    id_ = me.id;
    hub_ = me.hub_number;
}

void Owner::describe(std::string& into) const {
    if (task_ == nullptr) return;
    Hub& here = Hub::current();
    into += " held by " + here.name_of(hub_ == here.number() ? task_ : nullptr, id_);
}

}  // namespace green::detail

#include <green/detail/owner.hpp>

#include "sched/hub.hpp"

namespace green::detail {

bool Owner::is_current() const {
    const Task& me = current_task();
    return task_ == &me && id_ == me.id;
}

void Owner::become_current() {
    const Task& me = current_task();
    task_ = &me;
    id_ = me.id;
}

void Owner::describe(std::string& into) const {
    if (task_ != nullptr) into += " held by " + Hub::current().name_of(task_, id_);
}

}  // namespace green::detail
